"""A drive whose newest version nobody can read any more; and how long its versions are kept."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from node.drive import service as module
from node.drive.keeping import renew_at
from node.drive.known import change_known, read_known
from node.drive.service import LEASE_SECONDS
from node.drive.tree import put
from node.drive.versions import ends
from node.errors import IntegrityFailure, NetworkError, NodeError, NotFoundError
from node.names.reading import resolve
from node.progress import Progress
from protocol.drive import Drive
from protocol.drivecache import CachedDrive
from tests.network.archipelago import Archipelago, archipelago, failure
from tests.network.naming import bendable
from tests.network.swarm import wall_clock
from tests.network.test_drive import Machine, entry, machine

LOST = patch.object(module, "read_contents", side_effect=IntegrityFailure("have 2 of 8 chunks"))


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


async def _head(who: Machine):  # type: ignore[no-untyped-def]  # a Shown
    return await resolve(who.user.client, who.service.keys.reader, who.service.seen)


async def test_a_version_lives_as_long_as_its_record(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        cached = await one.add("a")
        assert ends(cached.drive) >= (await _head(one)).expiry > wall_clock() + LEASE_SECONDS - 100
        assert LEASE_SECONDS == 400 * 86_400


async def test_a_drive_whose_record_ends_soon_is_published_anew(
    autojump_clock: MockClock, islands: Archipelago
) -> None:
    async with machine(islands, "one") as one:
        cached = await one.add("a")
        await trio.sleep(1000)
        fresh = patch.object(module, "FRESH_SECONDS", LEASE_SECONDS - 500)
        with fresh, patch.object(module, "ends", return_value=ends(cached.drive) + 1000):
            assert (await one.service.keep()).sequence == cached.sequence + 1


async def test_a_lost_drive_is_given_up_only_if_asked(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two, machine(islands, "three") as three:
        await one.add("a")
        await two.add("b")
        with LOST:
            error = await failure(one.add("c"))
            assert str(error) == "the drive's newest version cannot be read: have 2 of 8 chunks"
            assert "--forget-lost" in (error.hint or "")
            assert (await _head(three)).number == 2
            lost = await one.service.replace_lost()
            assert str(lost) == str(error)
        assert await three.names() == ["a", "c"]
        assert not one.cached().unsent
        await two.add("d")
        assert await three.names() == ["a", "b", "c", "d"], "who knew more brings it back"


async def test_a_lost_fork_is_not_taken_for_no_version(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("a")
        other = replace(await _head(one), replaced=True)
        lost = patch.object(module, "read_contents", side_effect=NotFoundError("have 2 of 8 chunks"))
        with lost, patch.object(module, "resolve", return_value=other):
            for work in (one.add("b"), one.service.keep()):
                with pytest.raises(NotFoundError, match="newest version cannot be read"):
                    await work
        assert one.cached().unsent


async def test_nothing_is_given_up_that_can_be_read(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        assert await one.service.replace_lost() is None
        assert await two.names() == ["a", "b"]


async def test_a_record_that_is_gone_for_good(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 8) as islands, machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        with LOST, pytest.raises(IntegrityFailure):
            await one.service.read()
        stores.bend(shows=lambda name, truth: ())
        error = await failure(one.add("c"))
        assert isinstance(error, NotFoundError)
        assert "--forget-lost" in (error.hint or "")
        lost = await one.service.replace_lost()
        assert isinstance(lost, NotFoundError)
        stores.bend(shows=None)
        assert (await _head(one)).sequence == 3


async def test_renewing_all_after_a_loss(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        with LOST:
            renewal = await renew_at(one.service, [], 1000, Progress())
            assert isinstance(renewal.known.why, IntegrityFailure)
            renewal = await renew_at(one.service, [], 1000, Progress(), forget_lost=True)
        assert isinstance(renewal.lost, IntegrityFailure)
        assert renewal.known.why is None
        assert [done.entry.path for done in renewal.done] == [b"a"]


async def test_no_network_is_no_loss(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("a")
        before = one.cached()
        with patch.object(module, "resolve", side_effect=NetworkError("down")), pytest.raises(NodeError, match="down"):
            await one.service.replace_lost()
        assert one.cached() == before


async def test_a_drive_that_was_begun_beside_another(autojump_clock: MockClock, islands: Archipelago) -> None:
    """Its first keepers were away, and are back: all that either has is in it."""
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        known = await change_known(one.service, lambda drive, now_ms: put(drive, entry("a"), now_ms))
        assert known.begun, "which is told"
        await one.add("b")
        apart = CachedDrive(drive=Drive.of([entry("c")]), sequence=1, seen=int(wall_clock()))
        two.service.cache.save(apart)
        assert await two.names() == ["a", "b", "c"]
        assert two.cached().unsent
        known = await read_known(two.service)
        assert not known.begun
        assert await one.names() == ["a", "b", "c"]
