"""The page: a large file uploaded by the page of one node, and downloaded through the link view of another."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts.benchmarks.large import LargeFile
from scripts.benchmarks.localnet import Localnet, same
from scripts.benchmarks.machine import memory_mb
from scripts.benchmarks.table import Table
from tests.browser.conftest import PROGRAMS
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, press, transfer, upload
from tests.e2e.world import NodeProcess, Nodes

MOST_SECONDS = 900.0
"""For an upload, or a download."""
_LINK = """async (path) => (await (await import("/parts/api.js")).post("/v1/drive/link", { path })).link"""


def page_transfers(table: Table, net: Localnet, file: LargeFile) -> None:
    """Upload and download ``file``. Raises SystemExit: there is no Chromium, or what came back is something else."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SystemExit("no Chromium on the PATH")
    nodes = Nodes(net.folder, net.network)
    try:
        own, other = (_node(nodes, net, name) for name in ("page-own", "page-other"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            link = _upload(table, browser, own, file)
            _download(table, browser, other, file, link, net.folder / "page-copy")
            browser.close()
    finally:
        nodes.end()


def _node(nodes: Nodes, net: Localnet, name: str) -> NodeProcess:
    home = net.folder / f"{name}-home"
    home.mkdir()
    return nodes.start(name, "--http", "127.0.0.1:0", "--home", str(home), join=net.join)


def _upload(table: Table, browser: Browser, node: NodeProcess, file: LargeFile) -> str:
    """Its link."""
    url = f"http://{node.said['http']}"

    def work(page: Page) -> None:
        upload(page, file.source)
        page.get_by_role("link", name="Transfers").first.click()
        done = transfer(page, file.source.name).get_by_text("Done", exact=True)
        expect(done).to_be_visible(timeout=MOST_SECONDS * 1000)

    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.goto(url)
        page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
        page.goto(f"{url}/#/drive")
        _measure(table, f"the page's upload of {file.name}", node, file, lambda: work(page))
        return str(page.evaluate(_LINK, file.source.name))


def _download(table: Table, browser: Browser, node: NodeProcess, file: LargeFile, link: str, copy: Path) -> None:
    with browser.new_context(locale="en-GB", accept_downloads=True) as context:
        page = context.new_page()
        page.goto(f"http://{node.said['http']}/#{link}")
        expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible(timeout=60_000)

        def work() -> None:
            with page.expect_download(timeout=MOST_SECONDS * 1000) as begun:
                press(page, "Download")
            begun.value.save_as(copy)

        _measure(table, f"a link's download of {file.name}", node, file, work)
    same(file.source, copy)
    copy.unlink()


def _measure(table: Table, what: str, node: NodeProcess, file: LargeFile, work: Callable[[], None]) -> None:
    for pid in (node.process.pid, *_renderers()):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # what it took for a passphrase is no part of this
    began = time.monotonic()
    work()
    table.add(what, file.mb / (time.monotonic() - began), "MB/s", "file to file, browser, node and 12 nodes here")
    table.add("  peak memory of the renderer", max(memory_mb(pid, "VmHWM") for pid in _renderers()), "MB")
    table.add("  peak memory of the node that serves it", memory_mb(node.process.pid, "VmHWM"), "MB")


def _renderers() -> list[int]:
    """What runs pages in the browser that this process has started; that of a closed context is gone."""
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    found = []
    for pid in parents:
        above = pid
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        with suppress(OSError):
            if above == os.getpid() and b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
