"""WebDAV from real nodes: a deposit by its link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from starlette.applications import Starlette
from starlette.types import ASGIApp
from trio.testing import MockClock

from node.home import Home
from node.reading.served import Served
from node.reading.shelf import Shelf
from node.web.dav.mount import Dav
from node.web.http.guard import Guard
from protocol.links import Link
from protocol.segment import SEALED_BLOCK_BYTES
from tests.e2e.trees import random_bytes, write
from tests.network.archipelago import archipelago
from tests.network.asking import Answered, ask

SIZE = 3_000_000


@dataclass
class Mount:
    """A node's WebDAV, and a deposit."""

    app: ASGIApp
    served: Served
    link: Link
    film: bytes

    @property
    def top(self) -> str:
        return f"/dav/link/{str(self.link).removeprefix('archipel:')}"

    async def ask(self, path: str, method: str, headers: dict[str, str] | None = None, **more: Any) -> Answered:
        return await ask(self.app, self.top + path, method=method, headers=headers, **more)

    async def names(self, path: str, depth: str = "1") -> list[str]:
        """What is told of, beneath the link."""
        found = await self.ask(path, "PROPFIND", {"Depth": depth})
        assert found.status == 207
        hrefs = [element.text or "" for element in ElementTree.fromstring(found.content).iter("{DAV:}href")]
        assert all(href.startswith(self.top) for href in hrefs)
        return [unquote(href.removeprefix(self.top)) for href in hrefs]


@asynccontextmanager
async def mount(base: Path) -> AsyncIterator[Mount]:
    async with archipelago(base, 5) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        top = base / "top"
        write(top / "film.mp4", film := random_bytes(1, SIZE))
        write(top / "été" / "x.txt", b"x")
        (top / "link").symlink_to("été/x.txt")
        (top / "astray").symlink_to("été")
        link = (await alice.publish(top)).link
        served = Served(bob.client, Shelf(Home(base / "home-bob")))
        app = Guard(Starlette(routes=[Dav(served, None, None).route()]), {"127.0.0.1:8420"})
        yield Mount(app, served, link, film)


async def test_folders_are_walked(autojump_clock: MockClock, base: Path) -> None:
    async with mount(base) as it:
        assert await it.names("/") == ["/", "/top/"]
        assert await it.names("", "0") == ["/"]
        assert await it.names("/top") == ["/top/", "/top/film.mp4", "/top/link", "/top/été/"]
        assert await it.names("/top/%C3%A9t%C3%A9/") == ["/top/été/", "/top/été/x.txt"]
        assert await it.names("/top/film.mp4") == ["/top/film.mp4"]
        told = await it.ask("/top/link", "PROPFIND", {"Depth": "0"})
        assert ElementTree.fromstring(told.content).findtext(".//{DAV:}getcontentlength") == "1"
        for depth in ({}, {"Depth": "infinity"}, {"Depth": "2"}):
            whole = await it.ask("/", "PROPFIND", depth)
            assert whole.status == 403
            assert b"propfind-finite-depth" in whole.content
        assert (await it.ask("/top/nothing", "PROPFIND", {"Depth": "1"})).status == 404
        assert (await it.ask("/top/astray", "PROPFIND", {"Depth": "1"})).status == 404


async def test_files_are_read(autojump_clock: MockClock, base: Path) -> None:
    async with mount(base) as it:
        whole = await it.ask("/top/film.mp4", "GET")
        assert whole.content == it.film
        (opened,) = it.served.shelf._deposits.values()
        before = opened.received_bytes
        part = await it.ask("/top/film.mp4", "GET", {"Range": "bytes=7-9"})
        assert (part.status, part.content) == (206, it.film[7:10])
        assert opened.received_bytes - before == SEALED_BLOCK_BYTES
        told = await it.ask("/top/film.mp4", "PROPFIND", {"Depth": "0"})
        tag = ElementTree.fromstring(told.content).findtext(".//{DAV:}getetag")
        assert tag == whole.headers["etag"]
        assert (await it.ask("/top/film.mp4", "HEAD")).headers["content-length"] == str(SIZE)
        assert (await it.ask("/top/link", "GET")).content == b"x"
        of_a_folder = await it.ask("/top/", "GET")
        assert (of_a_folder.status, of_a_folder.headers["allow"]) == (405, "OPTIONS, PROPFIND")


async def test_nothing_can_be_changed_or_asked_for_ever(autojump_clock: MockClock, base: Path) -> None:
    async with mount(base) as it:
        options = await it.ask("/top/film.mp4", "OPTIONS")
        assert (options.headers["dav"], options.headers["allow"]) == ("1", "OPTIONS, GET, HEAD, PROPFIND")
        for method in ("PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "UNLOCK", "POST", "PATCH"):
            refused = await it.ask("/top/film.mp4", method, body=b"x")
            assert refused.status == 405, method
            assert "PROPFIND" in refused.headers["allow"]
        long = await it.ask("/", "PROPFIND", {"Depth": "1"}, body=b" " * 20_000)
        assert long.status == 413
        assert (await it.ask("/", "PROPFIND", {"Depth": "1"}, body=b"<x/>")).status == 400
        for path in ("/dav/", "/dav/link/", "/dav/link", "/dav/drive/", "/dav/else/x"):
            assert (await ask(it.app, path, method="PROPFIND", headers={"Depth": "1"})).status == 404, path
        assert (await ask(it.app, it.top[:-1] + "/", method="PROPFIND", headers={"Depth": "1"})).status == 400
