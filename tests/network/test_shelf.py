"""Deposits opened by link and kept for a while, on real nodes."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import ConfigError, NetworkError, NotFoundError
from node.home import Home
from node.names.seen import Seen
from node.names.writing import publish_version
from node.reading import shelf as shelves
from node.reading.opened import FIRST_PIECE_BYTES, MOST_PIECE_BYTES
from node.reading.shelf import NAME_SECONDS, Shelf
from node.reading.slots import WAIT_SECONDS, Slots
from node.reading.tree import find
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, NameLink
from protocol.segment import SEALED_BLOCK_BYTES, SEGMENT_BYTES
from tests.network.archipelago import NETWORK, Archipelago, User, archipelago, failure
from tests.network.naming import KEYS, in_days

SIZE = SEGMENT_BYTES + 3_000_000


async def publish(islands: Archipelago, user: User, name: str, size: int) -> tuple[Link, bytes]:
    source = islands.file(name, size)
    return (await user.publish(source)).link, source.read_bytes()


async def test_a_file_is_read_and_streamed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link, content = await publish(islands, alice, "film", SIZE)
        shelf = Shelf(Home(base / "home-bob"))
        opened = await shelf.open(bob.client, link)
        index = find(opened.manifest, b"film")
        assert index == 0
        for start, stop in ((0, 10), (5, 5), (SEGMENT_BYTES - 5, SEGMENT_BYTES + 5), (SIZE - 1, SIZE + 9), (-3, 2)):
            assert await opened.read(bob.client, index, start, stop) == content[max(0, start) : stop]
        for start in (0, 1_234_567, SIZE - 1):
            async with opened.stream(bob.client, index, start, SIZE) as stream:
                parts = [bytes(part) async for part in stream]
            assert b"".join(parts) == content[start:]
            assert max(map(len, parts)) <= MOST_PIECE_BYTES
            assert len(parts[0]) <= FIRST_PIECE_BYTES

        before = opened.received_bytes
        async with opened.stream(bob.client, index, 0, SIZE) as stream:
            await anext(stream)
            await trio.sleep(60)
        assert opened.received_bytes - before < 8 * MOST_PIECE_BYTES, "who reads no further gets no further"
        assert (await shelf.open(bob.client, link)) is opened
        assert repr(link.key) not in repr(opened)


async def test_a_deposit_is_fetched_once_and_few_are_kept(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "MOST_KEPT", 2)
    async with archipelago(base, 12) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        links = [(await publish(islands, alice, f"file-{number}", 1_000 + number))[0] for number in range(3)]
        shelf = Shelf(Home(base / "home-bob"))
        found = []

        async def ask(link: Link) -> None:
            found.append(await shelf.open(bob.client, link))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, links[0])
        assert all(opened is found[0] for opened in found)
        assert found[0].received_bytes <= SEALED_BLOCK_BYTES
        content = await found[0].read(bob.client, 0, 0, 99_999)
        assert len(content) == 1_000, "it came with the table of contents"
        await ask(links[1])
        await ask(links[0])
        await ask(links[2])
        assert (await shelf.open(bob.client, links[0])) is found[0], "it was used after the second"
        assert (await shelf.open(bob.client, links[1])) is not found[4]

        monkeypatch.setattr(shelves, "MOST_WEIGHT", 1)
        await ask(links[2])
        assert len(shelf._deposits) == 1


async def test_what_cannot_be_opened(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link, _ = await publish(islands, alice, "file", 100)
        shelf = Shelf(Home(base / "home-bob"))
        assert isinstance(await failure(shelf.open(bob.client, link.verify_link())), ConfigError)
        nowhere = Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))
        assert isinstance(await failure(shelf.open(bob.client, nowhere)), NotFoundError)
        assert not shelf._deposits


async def test_a_name_leads_to_what_was_published_last(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        seen = Seen(base / "home-alice" / "names.sqlite", NETWORK.id)
        shelf = Shelf(Home(base / "home-bob"))
        name = NameLink(KEYS.reader.key, KEYS.reader.read_key)
        for number in (1, 2):
            link, content = await publish(islands, alice, f"version-{number}", number)
            await publish_version(alice.client, KEYS, seen, link, in_days(9))
            if number > 1:
                assert (await shelf.open(bob.client, name)).entry(0).size == number - 1, "asked a moment ago"
                await trio.sleep(NAME_SECONDS)
            opened = await shelf.open(bob.client, name)
            assert await opened.read(bob.client, 0, 0, 99) == content


async def test_only_so_many_are_opened_at_once(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link, _ = await publish(islands, alice, "file", 100)
        shelf = Shelf(Home(base / "home-bob"))
        shelf._room = Slots(1, "opening deposits")
        async with shelf._room.taken():
            began = trio.current_time()
            full = await failure(shelf.open(bob.client, link))
            assert isinstance(full, NetworkError)
            assert "opening deposits" in str(full)
            assert trio.current_time() - began == WAIT_SECONDS
        assert (await shelf.open(bob.client, link)).entry(0).size == 100
