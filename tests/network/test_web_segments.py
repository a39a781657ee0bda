"""Sealed segments by HTTP: ranges, what is not changed, what is refused, clients that go away, and uploads."""

import json
from pathlib import Path
from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

from node.web.api import names, segments
from node.web.sealed.gather import SealedSegments
from node.web.sealed.receiving import SealedUploads
from node.web.sealed.room import ROOM_BYTES
from protocol.ids import SegmentId
from protocol.names import open_record
from protocol.sealedsegment import MAX_HEAD_BYTES, MAX_UPLOAD_BYTES, Head
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES
from tests.network.archipelago import NETWORK, User, archipelago
from tests.network.asgi import Answer, Browser, application
from tests.network.naming import KEYS, Machine, link
from tests.network.sealing import Stored, published
from tests.network.test_sealed_uploads import DAY, Page

BLOCKS = 32
OVERHEAD = 60_000


def sites(user: User, days: int = 400) -> tuple[Browser, SealedSegments]:
    """The calls about segments of a node that is ``user``."""
    sealed = SealedSegments(user.client)
    uploads = SealedUploads(user.client, sealed.room)
    calls = [
        *segments.calls(sealed, lambda scope: str(scope["client"][0])),
        *segments.upload_calls(uploads, days * DAY, segments.nobody_else, private=False),
        *names.calls(user.client),
    ]
    return Browser(application(calls)), sealed


def whole(film: Stored) -> bytes:
    return Head(film.descriptor, film.hashes).encode() + b"".join(film.blocks)


def told(answer: Answer) -> Any:
    return json.loads(answer.body)


async def test_any_range(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, BLOCKS * BLOCK_BYTES - 5)
        true, path = whole(film), f"/v1/segments/{film.id.hex()}"
        size, head = len(true), len(Head(film.descriptor, film.hashes).encode())
        async with islands.user() as user:
            browser, sealed = sites(user)
            all_of_it = await browser.ask(path)
            assert (all_of_it.status, all_of_it.body) == (200, true)
            assert all_of_it.headers["content-length"] == str(size)
            assert all_of_it.headers["etag"] == f'"{film.id.hex()}"'
            assert "immutable" in all_of_it.headers["cache-control"]
            block = head + 5 * SEALED_BLOCK_BYTES
            for asked, start, stop in (
                ("0-0", 0, 1),
                (f"0-{MAX_HEAD_BYTES - 1}", 0, head),  # the head alone
                (f"7-{MAX_HEAD_BYTES}", 7, MAX_HEAD_BYTES + 1),
                (f"{block}-{block + SEALED_BLOCK_BYTES - 1}", block, block + SEALED_BLOCK_BYTES),
                (f"{block - 1}-{block}", block - 1, block + 1),
                (f"{size - 3}-", size - 3, size),
                ("-10", size - 10, size),
                (f"-{10 * size}", 0, size),
                (f"100-{10 * size}", 100, size),
            ):
                answer = await browser.ask(path, range=f"bytes={asked}")
                assert (answer.status, answer.body) == (206, true[start:stop]), asked
                assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
                assert answer.headers["content-length"] == str(stop - start)
            for ignored in ("bytes=1-2,5-6", "bytes=5-4", "bytes=-", "blocks=1-2", "bytes=x-2", "bytes=1"):
                assert (await browser.ask(path, range=ignored)).body == true, ignored
            other = await browser.ask(path, range="bytes=1-2", if_range='"another"')
            assert (other.status, other.body) == (200, true)
            for beyond in (f"{size}-", f"{size + 5}-{size + 9}", "-0"):
                answer = await browser.ask(path, range=f"bytes={beyond}")
                assert answer.status == 416
                assert answer.headers["content-range"] == f"bytes */{size}"
            assert sealed.room.free == ROOM_BYTES


async def test_what_moves_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, BLOCKS * BLOCK_BYTES)
        path = f"/v1/segments/{film.id.hex()}"
        async with islands.user() as user:
            browser, _ = sites(user)
            for tags in (f'"{film.id.hex()}"', f'"x", W/"{film.id.hex()}"'):
                answer = await browser.ask(path, if_none_match=tags)
                assert (answer.status, answer.body) == (304, b"")
            assert not user.meter.received
            answer = await browser.ask(path, "HEAD")
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers["content-length"] == str(len(whole(film)))
            answer = await browser.ask(path, range=f"bytes=0-{MAX_HEAD_BYTES - 1}")
            assert answer.status == 206
            assert Head.decode(answer.body, film.id).hashes == film.hashes
            assert sum(user.meter.received.values()) < OVERHEAD
            for bad in ("x", "0" * 63, "g" * 64):
                answer = await browser.ask(f"/v1/segments/{bad}")
                assert (answer.status, told(answer)["error"]["exit"]) == (400, 2)


async def test_a_small_segment_comes_with_its_head(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, 70_000)
        async with islands.user() as user:
            browser, _ = sites(user)
            answer = await browser.ask(f"/v1/segments/{film.id.hex()}", range=f"bytes=0-{MAX_HEAD_BYTES - 1}")
            assert answer.body == whole(film)[:MAX_HEAD_BYTES]


async def test_errors_are_those_of_the_command_line(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, BLOCKS * BLOCK_BYTES)
        async with islands.user() as user:
            browser, sealed = sites(user)
            for tags in ("", "*"):
                answer = await browser.ask(f"/v1/segments/{SegmentId(bytes(32)).hex()}", if_none_match=tags)
                assert (answer.status, told(answer)["error"]["exit"]) == (404, 3)
            await sealed.head(film.id)
            for index in range(5):
                film.holders[index].kill()
            answer = await browser.ask(f"/v1/segments/{film.id.hex()}")
            assert answer.status == 404
            assert "have 7 of 8 chunks" in told(answer)["error"]["text"]
            assert sealed.room.free == ROOM_BYTES


async def test_a_client_that_goes_away_or_does_not_read_gives_memory_back(
    autojump_clock: MockClock, base: Path
) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, BLOCKS * BLOCK_BYTES)
        path = f"/v1/segments/{film.id.hex()}"
        async with islands.user() as user:
            browser, sealed = sites(user)
            for index in range(5):
                film.holders[index].host.freeze()
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(browser.ask, path)
                await trio.sleep(6)
                assert sealed.room.free < ROOM_BYTES
                browser.gone.set()
            assert trio.current_time() - began < 6.1
            assert sealed.room.free == ROOM_BYTES
            for index in range(5):
                film.holders[index].host.freeze(False)
            await trio.sleep(31)
            slow = Browser(browser.app, pause=30.0)
            began = trio.current_time()
            answer = await slow.ask(path)
            seconds = segments.SEND_SECONDS + len(whole(film)) / segments.SEND_BYTES_PER_SECOND
            assert trio.current_time() - began < seconds + 10
            assert len(answer.body) < len(whole(film))
            assert sealed.room.free == ROOM_BYTES


async def test_holders_are_counted(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, BLOCKS * BLOCK_BYTES)
        film.holders[2].kill()
        film.holders[4].host.freeze()
        film.holders[7].chunk_file((film.id.hex(), 7)).unlink()
        async with islands.user() as user:
            browser, _ = sites(user)
            began = trio.current_time()
            found = told(await browser.ask(f"/v1/segments/{film.id.hex()}/holders"))
            assert trio.current_time() - began < 10.1
            assert (found["k"], found["n"]) == (8, 12)
            assert [holder["index"] for holder in found["holders"]] == list(range(12))
            assert {holder["index"] for holder in found["holders"] if not holder["live"]} >= {2, 4}
            assert all(holder["country"] == film.holders[holder["index"]].country for holder in found["holders"])
            assert (await browser.ask(f"/v1/segments/{'00' * 32}/holders")).status == 404


async def test_an_upload(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 14) as islands:
        page = Page(9 * BLOCK_BYTES)
        async with islands.user() as user:
            browser, sealed = sites(user)
            answer = await browser.ask("/v1/segments", "POST", page.body())
            assert answer.status == 201
            found = told(answer)
            assert (found["placed"], found["n"], found["nodes"]) == (found["n"], found["k"] + 4, found["n"])
            assert sum(found["countries"].values()) == found["n"]
            read = await browser.ask(f"/v1/segments/{page.sealed.id.hex()}")
            assert read.body.endswith(page.blocks)
            assert sealed.room.free == ROOM_BYTES


async def test_uploads_that_are_refused_change_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5) as islands, islands.user() as user:
        page = Page(3 * BLOCK_BYTES)
        browser, sealed = sites(user, days=29)
        good = page.body()
        for status, body, length in (
            (400, good, len(good)),  # a lease of 30 days
            (400, b"x" * 5000, 5000),
            (411, good, ""),
            (411, good, "-1"),
            (413, good, MAX_UPLOAD_BYTES + 1),
        ):
            answer = await browser.ask("/v1/segments", "POST", body, content_length=str(length))
            assert answer.status == status
            assert set(told(answer)["error"]) == {"exit", "text", "hint"}
        generous, _ = sites(user)
        answer = await generous.ask("/v1/segments", "POST", good, cut=True)
        assert answer.status == 400
        assert "cut short" in told(answer)["error"]["text"]
        assert not user.meter.sent
        assert not islands.holders()
        assert sealed.room.free == ROOM_BYTES


async def test_the_records_of_a_name(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user() as user:
        browser, _ = sites(user)
        path = f"/v1/names/{KEYS.identity.key.hex()}"
        assert told(await browser.ask(path)) == {"records": [], "network": NETWORK.id.hex()}
        await Machine.of(islands, user, "alice").publish(5)
        (record,) = told(await browser.ask(path))["records"]
        value = KEYS.reader.open(open_record(bytes.fromhex(record), NETWORK.id))
        assert (value.number, value.root) == (1, link(5).root)
        assert (await browser.ask("/v1/names/xyz")).status == 400
