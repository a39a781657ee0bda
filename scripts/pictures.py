"""Pictures of the page: each view as it is on a local network, in light, in dark, and on a phone."""

import argparse
import base64
import os
import random
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, expect, sync_playwright

from tests.browser.conftest import PROGRAMS
from tests.browser.islands import PageNode
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, finished, press, row, transfer, upload
from tests.browser.views import LETTER
from tests.e2e.world import Net, Nodes, local_network

SCREEN, PHONE = ViewportSize(width=1180, height=760), ViewportSize(width=360, height=720)
LOOKS = (("", SCREEN, "light"), ("-dark", SCREEN, "dark"), ("-phone", PHONE, "light"))
MOST_BYTES = 60_000
TRAFFIC_MS = 7_000
"""For a curve to be seen."""
QUALITY = 62
COUNTRIES = "FR,DE,NZ,IS,BR,CA"
SMALL = ("Letters.txt", "Tide table.csv", "Recipes.md")
FILM_BYTES, PIECE_BYTES = 256 << 20, 1 << 20
FOLDERS = """async () => {
  const { post } = await import("/parts/api.js");
  for (const path of ["Charts", "Logbook"]) await post("/v1/drive/folders", { path });
}"""
SLOWER = """async (rate) => {
  const { patch } = await import("/parts/api.js");
  await patch("/v1/operator/limits", { up_bytes_per_second: rate });
}"""
"""So that an upload is still under way when its pictures are taken."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/pictures"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="archipel-pictures-") as place, sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, PROGRAMS)))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            with local_network(Path(place), nodes=12, countries=COUNTRIES) as net:
                _all(browser, net, Path(place), folder)
        finally:
            browser.close()


def _all(browser: Browser, net: Net, place: Path, folder: Path) -> None:
    nodes = Nodes(place, net.network)
    try:
        own, other = (_node(nodes, net, place / name) for name in ("ada", "bob"))
        with browser.new_context(locale="en-GB", viewport=SCREEN, reduced_motion="reduce") as context:
            _Camera(context.new_page(), folder).take_all(own, other, place, net)
    finally:
        nodes.end()


def _node(nodes: Nodes, net: Net, home: Path) -> PageNode:
    home.mkdir()
    options = ("--http", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--gateway-uploads", "--home", str(home))
    return PageNode(nodes.start(home.name, *options, "--country", "FR", join=net.join), home)


class _Camera:
    """A page of which pictures are taken."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page, self._folder = page, folder
        self._wire: CDPSession = page.context.new_cdp_session(page)

    def take_all(self, own: PageNode, other: PageNode, place: Path, net: Net) -> None:
        page = self._page
        page.goto(own.url)
        expect(page.get_by_label("Name of this device")).to_be_visible()
        self._take("home")
        page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
        link = _fill(page, own, place, net)
        page.goto(f"{other.gateway}/#{link}")
        expect(page.get_by_role("button", name="Download as .zip")).to_be_visible(timeout=30_000)
        self._take("link")
        page.goto(other.gateway)
        expect(page.locator("main .card.drop")).to_be_visible()
        self._take("gateway")
        page.goto(f"{own.url}/#/drive")
        expect(page.locator(".health .badge.good")).to_have_count(5, timeout=60_000)
        self._take("drive")
        row(page, SMALL[0]).press("s")
        press(page, "Make the link")
        page.get_by_role("dialog").get_by_role("button", name="QR code").first.click()
        expect(page.get_by_role("img", name="QR code: For a browser")).to_be_visible()
        self._take("share")
        page.keyboard.press("Escape")
        page.goto(f"{own.url}/#/network")
        page.locator("main table").get_by_role("button", name="Iceland").click(timeout=30_000)
        expect(page.get_by_text("asking").or_(page.locator("main .spinner"))).to_have_count(0, timeout=60_000)
        self._take("network", "scrollTo(0, innerWidth < 600 ? document.querySelector('.atlas').offsetTop - 70 : 0)")
        self._transfers(own, place)
        page.goto(f"{own.url}/#/operator")
        expect(page.locator("main .rate strong").first).not_to_have_text("–", timeout=30_000)
        page.wait_for_timeout(TRAFFIC_MS)
        self._take("operator")

    def _transfers(self, own: PageNode, place: Path) -> None:
        """One that is done, and one under way."""
        page, film = self._page, place / "Lagoon.mp4"
        with film.open("wb") as handle:
            for _ in range(FILM_BYTES // PIECE_BYTES):
                handle.write(os.urandom(PIECE_BYTES))
        page.evaluate(SLOWER, FILM_BYTES // 20)
        page.goto(f"{own.url}/#/drive")
        upload(page, film)
        page.get_by_role("link", name="Transfers").first.click()
        bar = transfer(page, film.name).get_by_role("progressbar").last.element_handle()
        page.wait_for_function("(bar) => Number(bar.ariaValueNow) >= 20", arg=bar, timeout=120_000)
        self._take("transfers")

    def _take(self, name: str, scroll: str = "scrollTo(0, 0)") -> None:
        """In every look, scrolled by a script. Raises SystemExit: a picture is too large for the repository."""
        for suffix, size, scheme in LOOKS:
            self._page.set_viewport_size(size)
            self._page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            self._page.evaluate(scroll)
            self._page.wait_for_timeout(300)  # the map, and what follows the window's size
            taken = self._wire.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
            data = base64.b64decode(taken["data"])
            (self._folder / f"{name}{suffix}.webp").write_bytes(data)
            print(f"{name}{suffix}.webp: {len(data)} bytes", flush=True)
            if len(data) > MOST_BYTES:
                raise SystemExit(f"{name}{suffix}.webp has more than {MOST_BYTES} bytes")
        self._page.set_viewport_size(SCREEN)


def _fill(page: Page, own: PageNode, place: Path, net: Net) -> str:
    """Put things into the drive; the word of a link to a folder."""
    for number, name in enumerate(SMALL):
        (place / name).write_text(LETTER * (30 + 40 * number))
    atlas = place / "Atlas of islands"
    (atlas / "charts").mkdir(parents=True)
    noise = random.Random(6)
    for number, name in enumerate(("Lagoon.tif", "Reef.tif", "North cape.tif", "charts/Soundings.csv", "Index.md")):
        (atlas / name).write_bytes(noise.randbytes(700_000 + 910_000 * number))
    (place / "Lighthouse.flac").write_bytes(noise.randbytes(14_000_000))
    person = net.person(own.home)
    page.goto(f"{own.url}/#/drive")
    page.evaluate(FOLDERS)
    for name in (*SMALL, "Lighthouse.flac"):
        page.goto(f"{own.url}/#/drive")
        upload(page, place / name)
        finished(page, name)
    return str(person.publish(atlas)["link"]).partition(":")[2]


if __name__ == "__main__":
    main()
