"""Files by link over HTTP, from real nodes: what curl, players and browsers ask."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from starlette.applications import Starlette
from starlette.types import ASGIApp
from trio.testing import MockClock

from node.home import Home
from node.names.seen import Seen
from node.names.writing import publish_version
from node.reading import served as serving
from node.reading.served import Served
from node.reading.shelf import Shelf
from node.reading.slots import WAIT_SECONDS, Slots
from node.reading.tree import find
from node.web.api.files import calls
from node.web.http.guard import Guard
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, NameLink, seal_link
from protocol.segment import SEALED_BLOCK_BYTES
from tests.e2e.trees import write
from tests.network.archipelago import NETWORK, Archipelago, archipelago
from tests.network.asking import Answered, ask
from tests.network.naming import KEYS, in_days
from tests.strategies import STRANGER

SIZE = 5_000_000
MTIME = 1_700_000_000


@dataclass
class Site:
    """A node's file calls, and what lies behind one link."""

    app: ASGIApp
    served: Served
    link: Link
    film: bytes
    islands: Archipelago

    @property
    def word(self) -> str:
        return str(self.link).removeprefix("archipel:")

    async def get(self, path: str, **more: Any) -> Answered:
        """A path in the deposit, percent-encoded; with its slash."""
        return await ask(self.app, f"/v1/files/{self.word}{path}", **more)

    @property
    def received(self) -> int:
        return sum(opened.received_bytes for opened in self.served.shelf._deposits.values())


@asynccontextmanager
async def site(base: Path) -> AsyncIterator[Site]:
    async with archipelago(base, 5) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        film = islands.file("film.mp4", SIZE)
        top = base / "top"
        write(top / "page.html", b"<script>alert(1)</script>", mtime_ns=MTIME * 10**9 + 5)
        write(top / "empty", b"")
        write(top / "été", b"summer")
        write(top / "sub" / "x.txt", b"x")
        film.rename(top / "film.mp4")
        (top / "link").symlink_to("sub/x.txt")
        (top / "astray").symlink_to("sub")
        link = (await alice.publish(top)).link
        served = Served(bob.client, Shelf(Home(base / "home-bob")))
        app = Guard(Starlette(routes=[call.route(lambda _: None) for call in calls(served)]), {"127.0.0.1:8420"})
        yield Site(app, served, link, (top / "film.mp4").read_bytes(), islands)


async def test_a_file_and_its_parts(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it:
        whole = await it.get("/top/film.mp4")
        assert (whole.status, whole.content, whole.whole) == (200, it.film, True)
        tag = whole.headers["etag"]
        assert tag.startswith('"')
        assert {name: whole.headers[name] for name in ("content-type", "content-length", "accept-ranges")} == {
            "content-type": "video/mp4",
            "content-length": str(SIZE),
            "accept-ranges": "bytes",
        }
        before = it.received
        part = await it.get("/top/film.mp4", headers={"Range": "bytes=3000000-3000009"})
        assert (part.status, part.content) == (206, it.film[3_000_000:3_000_010])
        assert part.headers["content-range"] == f"bytes 3000000-3000009/{SIZE}"
        assert part.headers["content-length"] == "10"
        assert part.headers["etag"] == tag
        assert it.received - before == SEALED_BLOCK_BYTES, "it takes the block it lies in"
        last = await it.get("/top/film.mp4", headers={"Range": "bytes=-5"})
        assert last.content == it.film[-5:]

        before = it.received
        head = await it.get("/top/film.mp4", method="HEAD")
        assert (head.status, head.content) == (200, b"")
        assert {n: v for n, v in head.headers.items() if n != "date"} == whole.headers
        assert it.received == before

        beyond = await it.get("/top/film.mp4", headers={"Range": f"bytes={SIZE}-"})
        assert beyond.status == 416
        assert beyond.headers["content-range"] == f"bytes */{SIZE}"
        assert json.loads(beyond.content)["error"]["exit"] == 2


async def test_what_a_client_has_already(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it:
        head = (await it.get("/top/page.html", method="HEAD")).headers
        tag, changed = head["etag"], head["last-modified"]
        assert changed == "Tue, 14 Nov 2023 22:13:20 GMT"
        for known in ({"If-None-Match": tag}, {"If-None-Match": f'"other", W/{tag}'}, {"If-Modified-Since": changed}):
            same = await it.get("/top/page.html", headers=known)
            assert (same.status, same.content) == (304, b"")
            assert same.headers["etag"] == tag
        old = {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}
        for unknown in (old, {"If-None-Match": '"other"'}, {"If-None-Match": '"x"', "If-Modified-Since": changed}):
            assert (await it.get("/top/page.html", headers=unknown)).status == 200
        ranged = {"Range": "bytes=0-3"}
        for valid in (tag, changed):
            assert (await it.get("/top/page.html", headers=ranged | {"If-Range": valid})).status == 206
        for other in ('"other"', f"W/{tag}", "nonsense", "Tue, 14 Nov 2023 22:13:21 GMT"):
            assert (await it.get("/top/page.html", headers=ranged | {"If-Range": other})).status == 200


async def test_what_a_browser_would_run_it_is_not_given_to_run(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it:
        page = await it.get("/top/page.html")
        assert page.content == b"<script>alert(1)</script>"
        assert page.headers["content-disposition"].startswith("attachment")
        assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        summer = await it.get(f"/top/{quote('été')}")
        assert summer.content == b"summer"
        assert summer.headers["content-disposition"].endswith("filename*=UTF-8''%C3%A9t%C3%A9")
        empty = await it.get("/top/empty")
        assert (empty.status, empty.content, empty.headers["content-length"]) == (200, b"", "0")


async def test_folders_and_symbolic_links(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it:
        assert [entry["name"] for entry in json.loads((await it.get("")).content)["entries"]] == ["top"]
        for path in ("/top", "/top/", "/top//"):
            entries = json.loads((await it.get(path)).content)["entries"]
            told = {entry["name"]: (entry["kind"], entry["size"], entry.get("target")) for entry in entries}
            assert told == {
                "astray": ("symlink", 0, "sub"),
                "empty": ("file", 0, None),
                "film.mp4": ("file", SIZE, None),
                "link": ("symlink", 0, "sub/x.txt"),
                "page.html": ("file", 25, None),
                "sub": ("folder", 0, None),
                "été": ("file", 6, None),
            }
        assert (await it.get("/top/link")).content == b"x"
        assert (await it.get("/top/link")).headers["content-disposition"].startswith('attachment; filename="link"')
        assert (await it.get("/top/astray")).status == 404
        assert (
            json.loads((await ask(it.app, f"/v1/files/archipel:{it.word}/top/sub")).content)["entries"][0]["size"] == 1
        )


async def test_a_link_of_one_file_and_a_name(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it, it.islands.user("carol") as carol:
        single = base / "one.txt"
        single.write_bytes(b"alone")
        link = (await carol.publish(single)).link
        seen = Seen(base / "home-carol" / "names.sqlite", NETWORK.id)
        await publish_version(carol.client, KEYS, seen, link, in_days(9))
        name = NameLink(KEYS.reader.key, KEYS.reader.read_key)
        for leads in (link, name):
            word = str(leads).removeprefix("archipel:")
            assert (await ask(it.app, f"/v1/files/{word}")).content == b"alone"
            assert (await ask(it.app, f"/v1/files/{word}/one.txt")).content == b"alone"
            assert len(json.loads((await ask(it.app, f"/v1/files/{word}/")).content)["entries"]) == 1


async def test_errors_are_those_of_the_api(
    autojump_clock: MockClock, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(base) as it:
        nowhere = str(Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32)))
        sealed = str(seal_link(it.link, STRANGER.key, bytes(32)))
        for path, status in {
            f"/v1/files/{it.word}/top/nothing": 404,
            f"/v1/files/{it.word}/top/film.mp4/below": 404,
            f"/v1/files/{nowhere}/x": 404,
            f"/v1/files/{it.word[:-1]}": 400,
            "/v1/files/%ff%00": 400,
            f"/v1/files/{it.link.verify_link()}": 400,
            f"/v1/files/{sealed}": 400,
        }.items():
            found = await ask(it.app, path)
            assert found.status == status, path
            error = json.loads(found.content)["error"]
            assert error["text"]
            assert it.word not in found.content.decode()
        assert (await it.get("/top/film.mp4", method="POST")).status == 405
        assert not caplog.records


async def test_who_goes_away_or_does_not_read_costs_little(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STREAMS", 1)
    async with site(base) as it:
        it.served._room = Slots(1, "reading files")
        await it.get("/top/empty")
        before = it.received
        gone = await it.get("/top/film.mp4", gone_after=10)
        assert not gone.whole
        assert it.received - before < 3 * (2 << 20) + (2 << 20)
        for start in range(0, SIZE, 1_000_000):  # as a player does that is dragged along
            assert not (await it.get("/top/film.mp4", headers={"Range": f"bytes={start}-"}, gone_after=5)).whole

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: it.get("/top/film.mp4", stalls_after=5))
            await trio.sleep(1)
            began = trio.current_time()
            full = await it.get("/top/film.mp4")
            assert full.status == 503
            assert trio.current_time() - began == pytest.approx(WAIT_SECONDS)
            assert "reading files" in json.loads(full.content)["error"]["text"]
        assert (await it.get("/top/film.mp4")).content == it.film


async def test_who_goes_away_leaves_memory_to_the_next(autojump_clock: MockClock, base: Path) -> None:
    """Python's collector finds what cancelled tasks held only much later."""
    async with site(base) as it:
        took = Counter[bool]()  # what was there; what came new from the system
        opened = await it.served.open(it.word)
        index = find(opened.manifest, b"top/film.mp4")
        assert index is not None
        lend = it.served.buffers.take

        def take(size: int) -> memoryview:
            kept = {id(buffer) for buffer in it.served.buffers._kept}
            room = lend(size)
            took[id(room.obj) in kept] += size
            return room

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(it.served.buffers, "take", take)
            for _ in range(12):
                async with it.served.stream(opened, index, 0, SIZE) as parts:
                    await anext(parts)
                    await trio.sleep(1)
        assert took[True] > 3 * took[False]


def kill_all(islands: Archipelago) -> None:
    for node in islands.nodes:
        node.kill()


async def test_what_cannot_be_had_is_told(autojump_clock: MockClock, base: Path) -> None:
    async with site(base) as it:
        await it.get("/top/empty")
        kill_all(it.islands)
        lost = await it.get("/top/film.mp4", headers={"Range": "bytes=5-9"})
        assert lost.status in (404, 503)
        assert "content-range" not in lost.headers
        assert json.loads(lost.content)["error"]["hint"]


async def test_what_is_lost_in_the_middle_is_cut_short(autojump_clock: MockClock, base: Path) -> None:
    """The length was told by then: the connection ends before, and no client takes it for the whole."""
    async with site(base) as it, it.islands.user("carol") as carol:
        link = (await carol.publish(it.islands.file("long", 12_000_000))).link
        path = f"/v1/files/{link}"
        await ask(it.app, path, method="HEAD")
        cut = await ask(it.app, path, then=lambda: kill_all(it.islands))
        assert (cut.status, cut.headers["content-length"], cut.whole) == (200, "12000000", False)
        assert 0 < len(cut.body) < 12_000_000
