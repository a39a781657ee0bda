"""A home's copy of the drive: opened once, and changed in one step (node/drive/cache.py)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.drive import cache as module
from node.drive.cache import DriveCache
from node.errors import RefusedError
from protocol.drive import Drive, folder_entry
from protocol.drivecache import CachedDrive
from protocol.ids import NetworkId

NETWORK = NetworkId(bytes(32))


def drive(*names: str) -> Drive:
    return Drive.of(folder_entry(name.encode(), 1) for name in names)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], DriveCache]:
    count = iter(range(100))
    return lambda: DriveCache(
        tmp_path / "drives" / "drive", b"k" * 32, NETWORK, lambda size: bytes([next(count)]) * size
    )


def test_the_same_file_is_opened_once(make: Callable[[], DriveCache]) -> None:
    one, other = make(), make()
    one.save(CachedDrive(drive=drive("a")))
    with patch.object(module, "open_cache", side_effect=AssertionError("opened")):
        assert one.load().drive == drive("a")
    assert other.load().drive == drive("a")
    other.save(CachedDrive(drive=drive("a", "b")))
    assert one.load().drive == drive("a", "b"), "what another process has written"
    with patch.object(module, "open_cache", side_effect=AssertionError("opened")):
        assert one.load() is one.load()


async def test_a_step_that_fails_changes_nothing(autojump_clock: MockClock, make: Callable[[], DriveCache]) -> None:
    def refuse(cached: CachedDrive) -> CachedDrive:
        raise RefusedError("no")

    cache = make()
    cache.save(CachedDrive(drive=drive("a")))
    with pytest.raises(RefusedError, match="no"):
        await cache.update(InlineBlocking(), refuse)
    assert make().load().drive == drive("a")
    assert (await cache.update(InlineBlocking(), lambda cached: replace(cached, sequence=7))).sequence == 7
    assert make().load() == CachedDrive(drive=drive("a"), sequence=7)
    with patch.object(cache, "save", side_effect=AssertionError("written")):
        await cache.update(InlineBlocking(), lambda cached: replace(cached, sequence=7))


async def test_a_full_drive_is_refused(autojump_clock: MockClock, make: Callable[[], DriveCache]) -> None:
    cache = make()
    cache.save(CachedDrive(drive=drive("a")))
    with patch("protocol.drive.MAX_ENTRIES", 2), pytest.raises(RefusedError, match="the drive is full"):
        await cache.update(InlineBlocking(), lambda cached: replace(cached, drive=drive("a", "b", "c")))
    assert make().load().drive == drive("a")


async def test_another_command_is_waited_for(autojump_clock: MockClock, make: Callable[[], DriveCache]) -> None:
    """One that sends keeps nobody from changing it here."""
    one, other = make(), make()
    async with one.sending():
        await other.update(InlineBlocking(), lambda cached: replace(cached, drive=drive("a")))
        with pytest.raises(RefusedError, match="another command is sending the drive"):
            async with other.sending():
                pass
    async with other.sending():
        assert one.load().drive == drive("a")
