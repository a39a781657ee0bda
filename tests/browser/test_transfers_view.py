"""Transfers in the page: an upload that goes on after the page, or the node, was gone."""

import os
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from tests.browser.islands import Islands
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, Somebody, page_of, press, transfer, upload

SLICE = 8 << 20


def test_loaded_anew(chromium: Browser, ada: Somebody, tmp_path: Path) -> None:
    """The line breaks, the page is loaded again: the same file goes on where the node has it, another one does not."""
    film = tmp_path / "long.bin"
    film.write_bytes(os.urandom(SLICE + 1000))
    with page_of(chromium, ada, "drive") as page:

        def cut(route: Route) -> None:
            if route.request.headers.get("upload-offset") == "0":
                route.continue_()
            else:
                route.abort()

        page.route("**/v1/uploads/*/files/*", cut)
        upload(page, film)
        page.get_by_role("link", name="Transfers").first.click()
        shown = transfer(page, "long.bin")
        expect(shown.get_by_text("The page tries again in")).to_be_visible(timeout=15_000)
        expect(shown.get_by_text("Interrupted")).to_be_visible()
        second = page.context.new_page()
        second.goto(page.url)
        expect(transfer(second, "long.bin").get_by_text("Another tab hands it over")).to_be_visible()
        expect(second.get_by_role("button", name="Choose again")).to_have_count(0)
        second.close()
        page.on("dialog", lambda dialog: dialog.accept())  # the browser asks before files are left behind
        page.unroute_all()
        page.reload()
        expect(shown.get_by_text("Needs the files")).to_be_visible()
        other = tmp_path / "other"
        other.mkdir()
        (other / "long.bin").write_bytes(os.urandom(SLICE + 1000))
        for place, answer in ((other, "Not the same files"), (tmp_path, None)):
            with page.expect_file_chooser() as chooser:
                press(page, "Choose again")
            chooser.value.set_files(place / "long.bin")
            if answer:
                expect(page.get_by_role("dialog")).to_contain_text(answer)
                page.keyboard.press("Escape")
        expect(shown.get_by_text("Done", exact=True)).to_be_visible(timeout=30_000)


def test_a_folder_of_one_file_deep_in_it(chromium: Browser, ada: Somebody, tmp_path: Path) -> None:
    """After a reload it is the folder that is asked for, and that goes on."""
    (tmp_path / "Chest" / "deep").mkdir(parents=True)
    (tmp_path / "Chest" / "deep" / "coin").write_bytes(b"one of eight")
    with page_of(chromium, ada, "drive") as page:
        page.route("**/v1/uploads/*/files/*", lambda route: route.abort())
        press(page, "Add")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("menuitem", name="Upload a folder").click()
        chooser.value.set_files(tmp_path / "Chest")
        page.get_by_role("link", name="Transfers").first.click()
        shown = transfer(page, "Chest")
        expect(shown.get_by_text("Interrupted")).to_be_visible(timeout=15_000)
        page.on("dialog", lambda dialog: dialog.accept())
        page.unroute_all()
        page.reload()
        expect(shown.get_by_text("Choose the folder Chest again")).to_be_visible()
        with page.expect_file_chooser() as chooser:
            press(page, "Choose again")
        chooser.value.set_files(tmp_path / "Chest")
        expect(shown.get_by_text("Done", exact=True)).to_be_visible(timeout=30_000)


def test_the_node_was_gone(chromium: Browser, islands: Islands) -> None:
    """The page says so, and shows by itself what there is once the node is back."""
    own = islands.start()
    with page_of(chromium, own, "transfers") as page:
        page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
        own.node.kill()
        expect(page.get_by_text("The node does not answer")).to_be_visible()
        again = islands.start(home=own.home, http=own.url.removeprefix("http://"))
        assert again.url == own.url
        expect(page.get_by_text("The node does not answer")).to_be_hidden(timeout=15_000)
        expect(page.get_by_role("heading", name="Nothing is on its way")).to_be_visible()
        expect(page.get_by_text("Once your node has all of a file, it goes on")).to_be_visible()
