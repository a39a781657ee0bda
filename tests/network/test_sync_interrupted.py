"""A sync that is killed at any moment: nothing is lost, and the next one completes it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.progress import Progress
from protocol.manifest import Kind
from tests.network.archipelago import archipelago, uneven
from tests.network.executioner import Executioner, Killed
from tests.network.machines import Drive, Machine, machine

MIB = 1 << 20
BESIDE = "both (from the drive, 1970-01-24).txt"
WANTED = {
    "theirs.txt": b"new theirs.txt",
    "mine.txt": b"new mine.txt",
    "both.txt": b"bob's both",
    BESIDE: b"new both.txt",
    "turned": Kind.FOLDER,
    "turned/in": b"in",
    "deep": Kind.FOLDER,
    "deep/x": b"old deep/x",
    "full": b"a file now",
    "link": Path("mine.txt"),
}


def change(alice: Machine, bob: Machine) -> None:
    """What a sync of Bob's has to bring together."""
    for one, name in ((alice, "theirs.txt"), (alice, "both.txt"), (bob, "mine.txt")):
        one.write(name, "new " + name, time=2_000_000)
    bob.write("both.txt", "bob's both", time=3_000_000)
    (alice.folder / "gone.txt").unlink()
    (alice.folder / "turned").unlink()
    alice.write("turned/in", "in")
    (alice.folder / "full/y").unlink()
    (alice.folder / "full").rmdir()
    alice.write("full", "a file now")
    (alice.folder / "link").symlink_to("mine.txt")


def copy_of(bob: Machine, base: Path, number: int) -> Machine:
    """A machine in the same state."""
    agreed = bob.state.read(bob.mark)
    assert agreed is not None
    folder = base / f"bob-{number}" / "B"
    shutil.copytree(bob.folder, folder, symlinks=True)
    copy = replace(bob, drive=Drive(bob.drive.link), folder=folder, published=[])
    copy.state.write(copy.mark, agreed)
    return copy


async def test_killed_at_any_step_it_is_completed_by_the_next(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5) as islands, islands.user("alice") as one, islands.user("bob") as two:
        drive = Drive()
        alice, bob = machine(islands, one, drive, "alice", "A"), machine(islands, two, drive, "bob", "B")
        alice.folder.mkdir(parents=True)
        bob.folder.parent.mkdir()
        for name in ("gone.txt", "theirs.txt", "mine.txt", "both.txt", "turned", "deep/x", "full/y"):
            alice.write(name, "old " + name)
        await alice.sync()
        await bob.sync()
        change(alice, bob)
        await alice.sync()
        everything = Executioner()
        calm = copy_of(bob, base, 0)
        with everything.at_work(calm):
            await calm.sync()
        assert calm.tree == WANTED
        names = everything.names
        assert {*names} == {"bring_to_disk", "move", "exchange", "unlink", "mkdir", "rmdir", "write", "publish"}
        assert names.index("bring_to_disk") < min(names.index("move"), names.index("exchange"))
        for number in range(1, everything.steps + 1):
            victim = copy_of(bob, base, number)
            executioner = Executioner(number)
            with executioner.at_work(victim), pytest.raises(Killed):
                await victim.sync()
            assert {b"bob's both", b"new mine.txt", b"old deep/x"} <= set(victim.tree.values())
            await victim.sync()
            assert victim.tree == WANTED
            assert not (await victim.sync()).published
            assert victim.work == {"id"}


async def test_what_had_come_down_does_not_come_again(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6, delay=uneven) as islands, islands.user("alice") as one, islands.user("bob") as two:
        drive = Drive()
        alice, bob = machine(islands, one, drive, "alice", "A"), machine(islands, two, drive, "bob", "B")
        alice.folder.mkdir(parents=True)
        bob.folder.parent.mkdir()
        for number in range(4):
            alice.write(f"{number}", Random(number).randbytes(MIB))
        await alice.sync()
        scope = trio.CancelScope()

        def stop(progress: Progress) -> None:
            if progress.total is not None and progress.done >= 2 * MIB:
                scope.cancel()

        with scope:
            await bob.sync(stop)
        assert scope.cancelled_caught
        assert set(os.listdir(bob.folder)) == {".archipel-sync"}
        before = bob.progress.done
        assert before >= 2 * MIB
        await bob.sync()
        assert bob.tree == alice.tree
        assert bob.progress.done == 4 * MIB
        assert bob.progress.moved < 3 * MIB
