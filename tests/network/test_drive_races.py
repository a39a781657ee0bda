"""Commands and machines that read and change one drive at the same time; machines that stop in the middle."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from node.drive import service as module
from node.drive.cache import PATIENCE_SECONDS
from node.drive.known import Known
from node.errors import NetworkError, NotFoundError, RefusedError
from node.fetching.reader import read_contents
from node.names.reading import resolve
from node.names.writing import NameConflictError
from node.publishing.publish import publish_run
from protocol import drive as protocol_drive
from protocol.drive import Drive
from tests.network.archipelago import Archipelago, archipelago
from tests.network.naming import bendable
from tests.network.test_drive import entry, machine, shown


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


class Halt:
    """Stops whoever fetches first, until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go = trio.Event(), trio.Event()
        self._real = read_contents

    async def __call__(self, *args: object) -> object:
        found = await self._real(*args)  # type: ignore[arg-type]  # as they are
        if not self.reached.is_set():
            self.reached.set()
            await self.go.wait()
        return found


async def test_a_slow_read_keeps_what_is_changed_meanwhile(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "one") as same, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        halt = Halt()
        with patch.object(module, "read_contents", halt):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(same.service.read)
                await halt.reached.wait()
                with patch.object(module, "resolve", side_effect=NetworkError("down")), pytest.raises(NetworkError):
                    await one.add("offline")
                halt.go.set()
        assert shown(one.cached().drive) == ["a", "b", "offline"]
        assert one.cached().unsent
        await one.service.keep()
        assert await two.names() == ["a", "b", "offline"]


async def test_a_slow_read_while_a_change_is_sent(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "one") as same, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        halt, over = Halt(), trio.Event()

        async def reading() -> None:
            await same.service.read()
            over.set()

        async def resolve_after(*args: object) -> object:
            if halt.reached.is_set() and not over.is_set():
                halt.go.set()
                await over.wait()
            return await resolve(*args)  # type: ignore[arg-type]  # as they are

        with patch.object(module, "read_contents", halt):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reading)
                await halt.reached.wait()
                with patch.object(module, "resolve", resolve_after):
                    assert shown((await one.add("new")).drive) == ["a", "b", "new"]
        assert await two.names() == ["a", "b", "new"]


async def test_a_version_that_was_seen_and_never_read_is_not_replaced(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 8) as islands, machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        failing = patch.object(module, "read_contents", side_effect=NetworkError("unreachable"))
        with failing, pytest.raises(NetworkError, match="unreachable"):
            await one.service.read()
        stores.bend(shows=lambda name, truth: ())
        with pytest.raises(NotFoundError, match="this machine saw version 2"):
            await one.add("c")
        assert one.cached().unsent
        stores.bend(shows=None)
        await one.service.keep()
        assert await two.names() == ["a", "b", "c"]


async def test_a_change_that_another_command_holds_up_is_remembered(
    autojump_clock: MockClock, islands: Archipelago
) -> None:
    async with machine(islands, "one") as one, machine(islands, "one") as same:
        await one.add("a")

        async def stalls(*args: object) -> object:
            await trio.sleep(PATIENCE_SECONDS + 10)
            return await publish_run(*args)  # type: ignore[arg-type]  # as they are

        with patch.object(module, "publish_run", stalls):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.add, "first")
                await trio.sleep(1)
                with pytest.raises(RefusedError, match="another command is sending the drive"):
                    await same.add("second")
        assert shown(one.cached().drive) == ["a", "first", "second"]
        assert one.cached().unsent
        told = {item.path for item in Known(one.cached()).unsent}
        assert b"second" in told
        assert b"drive" not in told, "its own version is nothing that somebody changed"
        await same.service.keep()
        assert not one.cached().unsent


async def test_four_machines_at_once(autojump_clock: MockClock, islands: Archipelago) -> None:
    """Whoever is quicker: all come through, and nothing but the last versions is kept."""
    async with AsyncExitStack() as stack:
        machines = [await stack.enter_async_context(machine(islands, f"m{number}")) for number in range(4)]
        await machines[0].add("first")
        for turn in range(2):
            async with trio.open_nursery() as nursery:
                for number, who in enumerate(machines):
                    nursery.start_soon(who.add, f"{turn} of {number}")
        assert len(await machines[0].names()) == 9
        for who in machines:  # each ends the leases of what it stored in vain
            await who.add("last")
        assert len(islands.holders()) == 2


async def test_who_is_never_quick_enough_is_told(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("a")
        late = patch.object(module, "publish_version", side_effect=NameConflictError("another was quicker"))
        with late, pytest.raises(NameConflictError, match=r"other machines changed the drive .* 5 times") as caught:
            await one.add("b")
        assert "name log" not in (caught.value.hint or ""), "a drive has no earlier versions to be shown"
        assert one.cached().unsent
        await one.add("c")
        assert len(islands.holders()) == 2, "what was stored in vain is gone"


class StoppedError(BaseException):
    """The machine is gone."""


@pytest.mark.parametrize("step", ["publish_version", "delete_root"])
async def test_what_a_stopped_machine_left_is_ended_later(
    autojump_clock: MockClock, islands: Archipelago, step: str
) -> None:
    async with machine(islands, "one") as one:
        for number in range(3):
            await one.add(f"{number}")
        for number in range(3):
            with patch.object(module, step, side_effect=StoppedError), pytest.raises(StoppedError):
                await one.add(f"stopped {number}")
        assert len(islands.holders()) > 3
        await one.add("after")
        assert len(islands.holders()) == 2
        assert len(await one.names()) == 7


async def test_versions_of_a_machine_whose_clock_is_ahead(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one", clock_error=3600.0) as one, machine(islands, "two") as two:
        for number in range(7):
            await (one if number == 0 else two).add(f"{number}")
        assert len(islands.holders()) == 2


async def test_what_was_removed_long_ago_stays_removed(autojump_clock: MockClock, islands: Archipelago) -> None:
    """A machine that was away for longer than removals are remembered."""
    async with machine(islands, "one") as one, machine(islands, "old") as old:
        await one.add("plans")
        await one.add("x")
        await trio.sleep(2)
        assert await old.names() == ["plans", "x"]
        with patch.object(module, "resolve", side_effect=NetworkError("down")), pytest.raises(NetworkError):
            await old.add("unsent")
        with (
            patch.object(protocol_drive, "REMOVED_MS", 1000),
            patch("node.drive.versions.REMOVED_MS", 1000),
        ):
            await one.service.change(
                lambda drive, now: Drive.of(
                    item.removed(now) if item.path == b"plans" else item for item in drive.entries
                )
            )
            await trio.sleep(5)
            await one.add("y")
            await old.add("z")
            assert await one.names() == ["unsent", "x", "y", "z"]


async def test_a_full_drive(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("a")
        before = one.cached()
        too_many = Drive.of(entry(f"{number:06}") for number in range(65_537))
        with pytest.raises(RefusedError, match="the drive is full"):
            await one.service.change(lambda drive, now_ms: drive.merge(too_many))
        assert one.cached() == before


async def test_forks_of_machines_with_different_clocks(autojump_clock: MockClock, islands: Archipelago) -> None:
    """Each version is told by the home that wrote it."""
    async with machine(islands, "one", clock_error=3600.0) as one, machine(islands, "two") as two:
        await one.add("a")
        await two.add("b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.add, "c")
            nursery.start_soon(two.add, "d")
        for number in range(3):
            await two.add(f"{number}")
        await one.add("e")
        head = await resolve(two.user.client, two.service.keys.reader, two.service.seen)
        assert head.link.root.hex() in islands.holders()
        assert len(islands.holders()) == 2


_WHOLE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def assert_unclaimed(home: Path) -> None:
    """Another process may publish whatever it likes."""
    subprocess.run([sys.executable, "-c", _WHOLE, home / "publishing.lock"], check=True)


async def test_a_journal_that_stays_open_stops_nobody(autojump_clock: MockClock, islands: Archipelago) -> None:
    """As a node's does, which keeps its account's drive."""
    home = islands.base / "home-one"
    async with machine(islands, "one") as one:
        await one.add("a")
        assert_unclaimed(home)
        failing = patch("node.publishing.publish.Run.finish", side_effect=NetworkError("down"))
        with failing, pytest.raises(NetworkError, match="down"):
            await one.add("b")
        assert_unclaimed(home)
        failing = patch.object(module, "encode_drive", side_effect=RefusedError("full"))
        with failing, pytest.raises(RefusedError, match="full"):
            await one.add("c")
        assert_unclaimed(home)
        await one.user.publish(islands.file("film", 5000))
        assert_unclaimed(home)
