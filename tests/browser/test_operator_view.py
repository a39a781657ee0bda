"""The views of the network and of the node, in a real browser: a country is chosen, a limit changed, and kept."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.islands import Islands, PageNode


@pytest.fixture(scope="module")
def node(islands: Islands) -> Iterator[PageNode]:
    """A node of somebody's own."""
    deny = islands.nodes.folder / "denied"
    deny.write_text("")
    started = islands.start("--country", "IS", "--deny", str(deny))
    yield started
    started.node.kill()


@pytest.fixture
def page(chromium: Browser, node: PageNode) -> Iterator[Page]:
    with chromium.new_context(locale="en-GB") as context:
        opened, errors = context.new_page(), list[str]()
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(node.url)
        yield opened
        assert errors == []


def test_the_network_on_a_map(page: Page, node: PageNode) -> None:
    page.goto(f"{node.url}/#/network")
    mark = page.get_by_role("button", name=re.compile(r"Iceland \(claimed\): \d+ nodes"))  # other tests start some, too
    expect(mark).to_be_visible()
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What if Iceland vanished?")).to_be_visible()
    expect(mark).to_have_attribute("aria-pressed", "true")
    for country in ("DE Germany", "FR France", "IS Iceland", "NZ New Zealand"):
        expect(page.get_by_role("button", name=country)).to_be_visible()
    row = page.get_by_role("button", name="FR France")
    row.click()
    expect(page.get_by_role("heading", name="What if France vanished?")).to_be_visible()
    expect(page.get_by_text("Without an account there is no drive").first).to_be_visible()
    row.click()
    expect(page.get_by_role("heading", name="What if France vanished?")).to_have_count(0)


def test_limits_are_changed_and_kept(page: Page, node: PageNode) -> None:
    page.goto(f"{node.url}/#/operator")
    quota, up = page.get_by_role("textbox", name="Quota"), page.get_by_label("Sends at most, a second")
    expect(quota).to_have_value("50 GB")
    save = page.get_by_role("button", name="Save")
    up.fill("3 kB")
    expect(page.get_by_text("At least 16 KiB a second")).to_be_visible()
    expect(save).to_be_disabled()
    up.fill("2,5 MB/s")
    quota.fill("1.5 GiB")
    save.click()
    expect(page.get_by_text("The limits are in force")).to_be_visible()
    page.reload()
    expect(quota).to_have_value("1.5 GiB")
    expect(up).to_have_value("2.5 MB")
    expect(page.get_by_text("1.6 GB").first).to_be_visible()


def test_somebody_is_refused_and_nobody_leaves_by_mistake(page: Page, node: PageNode) -> None:
    page.goto(f"{node.url}/#/operator")
    page.get_by_role("button", name="Refuse or admit somebody").click()
    page.get_by_label("Public key").fill("ab" * 32)
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("1 depositor · 0 segments")).to_be_visible()
    page.get_by_role("button", name="Leave …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("00000000")
    dialog.get_by_role("button", name="Leave").click()
    expect(dialog.get_by_text("These are not the digits")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Taking chunks")).to_be_visible()
