"""What axe-core finds in the views: nothing serious, in light and in dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.islands import Islands
from tests.browser.ownpage import Somebody, drop, finished, page_of, press, row

VIEWS = ("", "drive", "transfers", "network", "operator")


def serious(page: Page) -> list[tuple[str, list[str]]]:
    found = Axe().run(page).response["violations"]
    return [
        (issue["id"], [node["html"] for node in issue["nodes"]])
        for issue in found
        if issue["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views(chromium: Browser, ada: Somebody, scheme: str) -> None:
    with page_of(chromium, ada) as page:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        expect(page.get_by_role("heading", name="Everything in one place")).to_be_visible()
        drop(page, f"{scheme}.txt", "seen by everybody")
        finished(page, f"{scheme}.txt")
        for view in VIEWS:
            page.goto(f"{ada.url}/#/{view}")
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            assert serious(page) == [], view
        page.goto(f"{ada.url}/#/drive")
        row(page, f"{scheme}.txt").press("s")
        press(page, "Make the link")
        expect(page.get_by_role("dialog").locator("code")).to_have_count(2)
        assert serious(page) == []


def test_the_forms_of_an_account(chromium: Browser, islands: Islands) -> None:
    with page_of(chromium, islands.start()) as page:
        page.get_by_label("Passphrase", exact=True).fill("weak")
        assert serious(page) == []
        press(page, "Restore from 24 words")
        assert serious(page) == []
