"""The drive on a network: changed on two machines, offline, at once, and kept (docs/spec/drive.md)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from node.client import Client
from node.drive import service as module
from node.drive.service import LEASE_SECONDS, DriveService, open_drive
from node.drive.tree import put
from node.drive.versions import ends
from node.errors import NetworkError, NotFoundError, RefusedError
from node.home import Home
from node.names.reading import resolve
from node.names.seen import Seen
from node.names.writing import Written
from protocol.account import AccountKeys
from protocol.datagrams import ANY_SEQUENCE
from protocol.drive import Content, Drive, EntryKind, deposit_entry, listed
from protocol.drivecache import CachedDrive
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, link_payload
from protocol.names import NameKeys, NameValue, name_id
from tests.network.archipelago import NETWORK, Archipelago, User, archipelago

ACCOUNT = AccountKeys(b"a" * 32)


@dataclass
class Machine:
    """One home of the account, on the network."""

    user: User
    service: DriveService

    async def add(self, name: str) -> CachedDrive:
        """A deposit of that name is in the drive."""
        return await self.service.change(lambda drive, now_ms: put(drive, entry(name, now_ms), now_ms))

    async def names(self) -> list[str]:
        return shown((await self.service.read()).drive)

    def cached(self) -> CachedDrive:
        return self.service.cache.load()


def entry(name: str, now_ms: int = 0, link: Link | None = None):  # type: ignore[no-untyped-def]  # a DriveEntry
    link = link or Link(LinkKind.READ, SegmentId(name.encode().ljust(32, b".")), b"k" * 32)
    content = Content(link=link_payload(link), size=1)
    return deposit_entry(EntryKind.DEPOSIT, name.encode().ljust(16, b"."), name.encode(), content, now_ms)


def shown(drive: Drive) -> list[str]:
    return [path.decode() for path in listed(drive)]


@asynccontextmanager
async def machine(islands: Archipelago, name: str, clock_error: float = 0.0) -> AsyncIterator[Machine]:
    async with islands.user(name, clock_error=clock_error) as user:
        yield Machine(user, open_drive(user.client, Home(islands.base / f"home-{name}"), ACCOUNT, user.journal))


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


async def test_what_one_machine_adds_another_sees(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        with pytest.raises(NotFoundError, match="nobody has this name"):
            await two.service.read()
        await one.add("photos")
        assert await two.names() == ["photos"]
        await two.add("films")
        assert await one.names() == ["films", "photos"]
        assert not one.cached().unsent
    async with machine(islands, "one") as again:
        assert shown(again.cached().drive) == ["films", "photos"], "its last copy, which needs no network"


async def test_two_machines_that_write_at_once_lose_nothing(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two, machine(islands, "three") as three:
        await one.add("first")
        for number in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.add, f"one {number}")
                nursery.start_soon(two.add, f"two {number}")
        assert len(await three.names()) == 7
        await three.add("last")
        everything = await one.names()
        assert len(everything) == 8
        assert everything == await two.names() == await three.names()


async def test_two_commands_of_one_home_at_once(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "one") as same:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.add, "a")
            nursery.start_soon(same.add, "b")
        assert await one.names() == ["a", "b"]


async def test_a_change_that_cannot_be_sent_goes_with_the_next(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("before")
        apart = one.user.host.ip
        islands.net.partition = lambda source, other: apart in (source, other)
        islands.net.changed()
        with pytest.raises((NetworkError, NotFoundError)):
            await one.add("meanwhile")
        assert one.cached().unsent
        assert shown(one.cached().drive) == ["before", "meanwhile"]
    islands.net.partition = lambda source, other: False
    islands.net.changed()
    async with machine(islands, "two") as two:
        await two.add("elsewhere")
    async with machine(islands, "one") as one:
        await one.add("after")
        assert not one.cached().unsent
    async with machine(islands, "two") as two:
        assert await two.names() == ["after", "before", "elsewhere", "meanwhile"]


async def test_a_change_that_is_refused_changes_nothing(autojump_clock: MockClock, islands: Archipelago) -> None:
    def refuse(drive: Drive, now_ms: int) -> Drive:
        raise RefusedError("no")

    async with machine(islands, "one") as one:
        await one.add("photos")
        before = one.cached()
        with pytest.raises(RefusedError, match="no"):
            await one.service.change(refuse)
        assert one.cached() == before


async def test_only_the_newest_versions_are_kept(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        roots = []
        for number in range(6):
            who = (one, one, two, one, two, two)[number]
            await who.add(f"{number}")
            found = await resolve(one.user.client, one.service.keys.reader, one.service.seen)
            roots.append(found.link.root.hex())
        assert islands.holders().keys() == set(roots[-2:]), "the newest, and the one before it for who reads just now"
        versions = [item for item in one.service.cache.load().drive.entries if item.kind is EntryKind.DRIVE]
        assert len(versions) == 2, "one entry for each home, however often it wrote"


async def _put_as_second(client: Client, keys: NameKeys, seen: Seen, link: Link, expiry: int, **_: object) -> Written:
    """A second version, whatever else has been published meanwhile."""
    value = NameValue(number=2, kind=1, root=link.root, key=link.key, time=0, previous=bytes(32))
    data = keys.sign(NETWORK.id, value, sequence=2, expiry=expiry, nonce=bytes(16))
    records = await client.dht.get_records(name_id(keys.identity.key))
    await client.dht.put_record(data, ANY_SEQUENCE, records)
    return Written(value, 2, expiry, 0, 0, ())


async def test_a_fork_that_nobody_mended_is_read_whole(autojump_clock: MockClock, islands: Archipelago) -> None:
    """Two machines wrote at once, and both died before they could try again."""
    async with machine(islands, "one") as one, machine(islands, "two") as two, machine(islands, "three") as three:
        await one.add("first")
        with patch.object(module, "publish_version", _put_as_second):
            await one.add("one's")
            head = await resolve(three.user.client, three.service.keys.reader, three.service.seen)
            with patch.object(module, "resolve", side_effect=NotFoundError("it knows of no other")):
                await two.add("two's")
        assert (await resolve(three.user.client, three.service.keys.reader, three.service.seen)).forks
        assert head.number == 2
        assert await three.names() == ["first", "one's", "two's"]
        await three.add("after")
        found = await resolve(one.user.client, one.service.keys.reader, one.service.seen)
        assert (found.number, found.forks) == (3, ())
        assert await one.names() == ["after", "first", "one's", "two's"]


async def test_it_is_kept_while_somebody_looks_at_it(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("photos")
        before = await one.service.keep()
        assert before.sequence == 1, "nothing had to be done"
        await trio.sleep(1000)
        assert (await one.service.keep()).sequence == before.sequence
        with patch.object(module, "FRESH_SECONDS", LEASE_SECONDS - 500):
            after = await two.service.keep()
        assert ends(after.drive) >= ends(before.drive) + 1000
        assert shown(after.drive) == ["photos"]
        head = await resolve(two.user.client, two.service.keys.reader, two.service.seen)
        assert head.number == 2


async def test_a_large_drive(autojump_clock: MockClock, islands: Archipelago) -> None:
    """Beyond what fits into a table of contents."""
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        wanted = [f"folder/{number:04}" for number in range(1000)]
        everything = Drive.of(entry(name) for name in wanted)
        await one.service.change(lambda drive, now_ms: drive.merge(everything))
        assert await two.names() == wanted
