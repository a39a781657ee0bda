"""The drive in the page: uploads that arrive, what is done with things, by mouse and by keyboard alone."""

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.ownpage import Somebody, drop, finished, page_of, press, row, upload


def test_an_upload(chromium: Browser, ada: Somebody, tmp_path: Path) -> None:
    """Its figures are the network's: it ends confirmed by nodes, and stands in the drive with its health."""
    (tmp_path / "film.bin").write_bytes(bytes(range(256)) * 60_000)
    with page_of(chromium, ada, "drive") as page:
        upload(page, tmp_path / "film.bin")
        done = finished(page, "film.bin")
        bars = done.get_by_role("progressbar")
        assert [bars.nth(n).get_attribute("aria-valuenow") for n in range(3)] == ["100", "100", "100"]
        expect(done.get_by_text("In claimed countries:").or_(done.get_by_text("in claimed countries:"))).to_be_visible()
        done.get_by_role("link", name="Show in the drive").click()
        expect(row(page, "film.bin")).to_contain_text("15.4 MB")
        expect(row(page, "film.bin").locator(".health .badge.good")).to_be_visible(timeout=15_000)
        not_counted = {"items": {}, "waiting": ["00"]}
        page.route("**/v1/drive/health*", lambda route: route.fulfill(json=not_counted))
        page.get_by_role("link", name="Home").first.click()
        expect(page.get_by_text(re.compile(r"\d+ not counted yet"))).to_be_visible()  # not: all whole


def test_a_folder(chromium: Browser, ada: Somebody, tmp_path: Path) -> None:
    """Small files go as one; each is what it was, and the folder is opened under its name in the drive."""
    shells = {f"{'deep/' * (number % 2)}shell-{number:02}": bytes([number]) * (number * 997) for number in range(24)}
    for path, content in shells.items():
        place = tmp_path / "Shells" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    with page_of(chromium, ada, "drive") as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
        press(page, "Add")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("menuitem", name="Upload a folder").click()
        chooser.value.set_files(tmp_path / "Shells")
        finished(page, "Shells")
        assert len(sent) == 1
        page.goto(f"{ada.url}/#/drive")
        row(page, "Shells").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Shells")
        assert "archipel" not in page.url and page.title() == "Shells · Archipel"
        page.get_by_role("button", name="deep", exact=True).click()
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download shell-07").click()
        assert waiting.value.path().read_bytes() == shells["deep/shell-07"]


def test_by_keyboard(chromium: Browser, ada: Somebody) -> None:
    """A thing is dropped, renamed, moved, found and deleted without a mouse."""
    with page_of(chromium, ada, "drive") as page:
        expect(page.get_by_role("button", name="Add")).to_be_visible()
        drop(page, "letter.txt", "written on an island")
        finished(page, "letter.txt")
        page.goto(f"{ada.url}/#/drive")
        press(page, "Add")
        page.get_by_role("menuitem", name="New folder").focus()
        page.keyboard.press("Enter")
        page.keyboard.type("Letters")
        page.keyboard.press("Enter")
        expect(row(page, "Letters")).to_be_focused()
        page.keyboard.press("End")
        while "letter.txt" not in (page.evaluate("document.activeElement.dataset.path") or ""):
            page.keyboard.press("ArrowUp")
        page.keyboard.press("F2")
        page.keyboard.type("first")
        page.keyboard.press("Enter")
        expect(row(page, "first.txt")).to_be_focused()
        page.keyboard.press("m")
        page.get_by_role("menuitem", name="Move").focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Letters").press("Enter")
        page.get_by_role("button", name="Move to Letters").press("Enter")
        expect(row(page, "first.txt")).to_have_count(0)
        expect(page.locator("tbody tr:focus")).to_have_count(1)  # the one beside it
        page.get_by_role("searchbox").fill("FIRST")
        row(page, "first.txt").press("Delete")
        expect(page.get_by_role("dialog")).to_contain_text("that copy stays")
        page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
        expect(page.get_by_text("Nothing is called")).to_be_visible(timeout=15_000)
        assert page.evaluate("document.activeElement !== document.body")
        drop_elsewhere(page, ada.url)


def drop_elsewhere(page: Page, url: str) -> None:
    """What falls on a view that has no place for it goes to the top of the drive, and the page stays."""
    page.goto(f"{url}/#/network")
    expect(page.get_by_role("heading", name="Network")).to_be_visible()
    drop(page, "flotsam.txt", "washed ashore")
    expect(page.get_by_text("1 thing is on its way")).to_be_visible()
    finished(page, "flotsam.txt")


def test_sharing(chromium: Browser, ada: Somebody) -> None:
    """A link is a secret: it shows when it is asked for, and only then; only an account's key takes a sealed one."""
    with page_of(chromium, ada, "drive") as page:
        expect(page.get_by_role("button", name="Add")).to_be_visible()
        drop(page, "gift.txt", "for you")
        finished(page, "gift.txt")
        page.goto(f"{ada.url}/#/drive")
        row(page, "gift.txt").press("s")
        dialog = page.get_by_role("dialog")
        press(page, "Make the link")
        links = dialog.locator("code")
        expect(links).to_have_count(2)
        expect(links.first).to_be_hidden()
        dialog.get_by_role("button", name="Show").first.click()
        expect(links.first).to_have_text(f"{ada.url}/#{(links.nth(1).text_content() or '').removeprefix('archipel:')}")
        dialog.get_by_role("button", name="QR code").first.click()
        expect(dialog.get_by_role("img", name="QR code: For a browser")).to_be_visible()
        press(page, "To one account")
        page.get_by_label("The account’s key").fill("nobody")
        press(page, "Seal the link")
        expect(dialog.locator(".notice.bad")).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
