"""An account in the page: made, with the words asked for again; locked and unlocked; brought back on another node."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.islands import Islands
from tests.browser.ownpage import PASSPHRASE, Somebody, page_of, press, serious

AT_HOME = "Everything in one place"
FOUR_MORE_DRAFTS = """async () => {
  const { post } = await import("/parts/api.js");
  for (let made = 0; made < 4; made += 1) await post("/v1/account/words");
}"""
"""After these a node has forgotten the words that it showed before."""


def give_passphrase(page: Page, again: str = PASSPHRASE) -> None:
    page.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    page.get_by_label("The same again").fill(again)


def test_an_account_is_made(chromium: Browser, islands: Islands) -> None:
    """Words that the node has forgotten are no account's; a drive goes from the screen when another tab locks it."""
    with page_of(chromium, islands.start()) as page:
        page.get_by_label("Name of this device").fill("Ada's laptop")
        give_passphrase(page, again="something else")
        expect(page.get_by_text("Strength: Good.")).to_be_visible()
        press(page, "Continue")
        expect(page.get_by_text("The two passphrases differ")).to_be_visible()
        assert serious(page) == []
        give_passphrase(page)
        press(page, "Continue")
        expect(page.locator(".words li")).to_have_count(24)
        press(page, "I have written them down")
        expect(page.locator(".words")).to_have_count(0)
        press(page, "Français")
        expect(page.get_by_role("dialog")).to_contain_text("begins anew in another language")
        page.keyboard.press("Escape")
        page.evaluate(FOUR_MORE_DRAFTS)
        for field in page.locator(".places input").all():
            field.fill("zebra")
        press(page, "Create the account")
        expect(page.get_by_role("alert").first).to_contain_text("not known here any more")
        expect(page.get_by_label("Name of this device")).to_have_value("Ada's laptop")
        give_passphrase(page)
        press(page, "Continue")
        expect(page.locator(".words li")).to_have_count(24)
        words = [item.inner_text() for item in page.locator(".words li span:last-child").all()]
        press(page, "I have written them down")
        asked = page.locator(".places input").all()
        for field in asked:
            field.fill("zebra")
        press(page, "Create the account")
        expect(page.locator("form .notice.bad")).to_be_visible()
        for field in asked:
            field.fill(words[int(field.get_attribute("name") or 0) - 1])
        press(page, "Create the account")
        expect(page.get_by_role("heading", name=AT_HOME)).to_be_visible(timeout=20_000)
        page.get_by_role("link", name="Drive").first.click()
        expect(page.get_by_role("heading", name="Your drive is empty")).to_be_visible()
        other = page.context.new_page()
        other.goto(page.url)
        press(other, "Lock")
        expect(page.get_by_role("heading", name="Your drive is locked")).to_be_visible()
        page.get_by_role("link", name="Unlock").first.click()
        page.get_by_label("Passphrase").fill("not the passphrase")
        press(page, "Unlock")
        expect(page.locator("form .notice.bad")).to_contain_text("passphrase")
        page.get_by_label("Passphrase").fill(PASSPHRASE)
        press(page, "Unlock")
        expect(page.get_by_role("heading", name=AT_HOME)).to_be_visible(timeout=20_000)


def test_it_comes_back_elsewhere(chromium: Browser, islands: Islands, ada: Somebody) -> None:
    """On another node, from the words alone; so does its drive."""
    words = ada.words
    with page_of(chromium, ada, "drive") as page:
        press(page, "Add")
        page.get_by_role("menuitem", name="New folder").click()
        page.get_by_label("Name", exact=True).fill("Lagoon")
        press(page, "Create")
        expect(page.get_by_role("link", name="Lagoon")).to_be_visible()
    other = islands.start()
    with page_of(chromium, other) as page:
        press(page, "Restore from 24 words")
        assert serious(page) == []
        page.get_by_label("The 24 words, in order").fill(" ".join(reversed(words)))
        page.get_by_label("Name of this device").fill("Other")
        give_passphrase(page)
        press(page, "Restore the account")
        expect(page.locator("form .notice.bad")).to_be_visible()
        page.get_by_label("The 24 words, in order").fill("\n".join(words).upper())
        press(page, "Restore the account")
        expect(page.get_by_role("heading", name=AT_HOME)).to_be_visible(timeout=20_000)
        page.goto(f"{other.url}/#/drive")
        expect(page.get_by_role("link", name="Lagoon")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize(
    ("passphrase", "level"),
    [
        ("", 0),
        ("password", 0),
        ("abcdefgh1234", 0),
        ("aaaaaaaaaaaa", 0),
        ("Soleil2024!", 0),
        (PASSPHRASE, 3),
        ("harbor kelp violin " * 2 + "7 osprey quartz meadow", 4),
    ],
)
def test_what_is_easy_to_guess(page: Page, passphrase: str, level: int) -> None:
    found = page.evaluate("async (it) => (await import('/parts/strength.js')).strength(it)", passphrase)
    assert found["level"] == level, found
