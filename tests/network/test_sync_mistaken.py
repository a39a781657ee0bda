"""What a sync could take for a deletion, or for unchanged, and must not."""

import os
import shutil
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.errors import RefusedError
from node.publishing.source import Source
from node.syncing import folder as folder_module
from node.syncing.plan import Item
from node.syncing.state import Base, SyncState
from node.syncing.swap import Place
from node.syncing.workfolder import MARK_BYTES
from tests.network.archipelago import failure
from tests.network.machines import SECOND, two_machines


async def test_a_folder_made_anew_empties_no_drive(autojump_clock: MockClock, base: Path) -> None:
    """A file system gives the number of what was removed to what is made next."""
    async with two_machines(base) as (alice, bob):
        inode = bob.folder.stat().st_ino
        shutil.rmtree(bob.folder)
        bob.folder.mkdir()
        agreed = SyncState.read

        def same_inode(state: SyncState, mark: bytes | None) -> Base | None:
            return agreed(state, None if mark is None else mark[:MARK_BYTES] + inode.to_bytes(8, "big"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SyncState, "read", same_inode)
            done = await bob.sync()
        assert not done.removed_there
        assert bob.tree == alice.tree
        assert not (await alice.sync()).removed_here


async def test_a_folder_that_lost_everything_empties_no_drive(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (_, bob):
        for path in bob.folder.iterdir():
            if path.name == "sub":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        link = bob.drive.link
        error = await failure(bob.sync())
        assert isinstance(error, RefusedError)
        assert "is empty, and was not" in str(error)
        assert bob.drive.link == link


def rewrite(path: Path, content: str) -> None:
    """Give a file other bytes of the same size, and its old time."""
    before = path.stat()
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_other_bytes_of_one_size_and_time_go_up(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        rewrite(bob.folder / "a.txt", "A")
        done = await bob.sync()
        assert done.up == (b"a.txt",)
        assert (await alice.sync()).down == [b"a.txt"]
        assert alice.tree == bob.tree
        assert alice.tree["a.txt"] == b"A"
        for one in (alice, bob):
            done = await one.sync()
            assert not (done.published or done.down or done.kept)


async def test_other_bytes_of_one_size_and_time_are_not_replaced(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("a.txt", "alice's", time=2_000_000)
        (alice.folder / "b.txt").unlink()
        await alice.sync()
        rewrite(bob.folder / "a.txt", "A")
        rewrite(bob.folder / "b.txt", "B")
        done = await bob.sync()
        assert done.kept == {b"a.txt": b"a (from the drive, 1970-01-24).txt"}
        assert not done.removed_here
        await alice.sync()
        assert alice.tree == bob.tree
        assert (alice.tree["a.txt"], alice.tree["b.txt"]) == (b"A", b"B")


async def test_what_both_rewrote_at_one_size_and_time_is_kept_twice(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        for one, content in ((alice, "A"), (bob, "B")):
            rewrite(one.folder / "a.txt", content)
            rewrite(one.folder / "b.txt", "same")
        await alice.sync()
        done = await bob.sync()
        assert list(done.kept) == [b"a.txt"]
        await alice.sync()
        assert alice.tree == bob.tree


async def test_a_file_that_was_only_touched_stays_as_it_is(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (_, bob):
        rewrite(bob.folder / "a.txt", "a")
        (bob.folder / "b.txt").chmod(0o600)
        assert not (await bob.sync()).published


async def test_times_that_the_file_system_cannot_keep_stay_as_they_are_in_the_drive(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_machines(base) as (alice, bob):
        os.utime(alice.write("odd", "odd"), ns=(0, 3_000_000_001))
        await alice.sync()
        make_ready = folder_module._make_ready

        def coarsely(staged: Place, item: Item, replaced: os.stat_result | None) -> None:
            make_ready(staged, item, replaced)
            os.utime(staged.name, ns=(0, item.mtime_ns // (2 * SECOND) * 2 * SECOND), dir_fd=staged.folder)

        with monkeypatch.context() as patch:
            patch.setattr(folder_module, "_make_ready", coarsely)
            done = await bob.sync()
        assert done.down == [b"odd"]
        assert (bob.folder / "odd").stat().st_mtime_ns == 2 * SECOND
        assert not done.published
        assert not (await bob.sync()).published
        bob.write("new", "new")
        await bob.sync()
        assert (await alice.sync()).down == [b"new"]


async def test_what_was_made_without_ours_deletes_nothing_of_it(autojump_clock: MockClock, base: Path) -> None:
    """Two machines published at the same time, and neither was told."""
    async with two_machines(base) as (alice, bob):
        before = bob.drive.link
        bob.write("bob's", "only here")
        (bob.folder / "b.txt").unlink()
        await bob.sync()
        winner, bob.drive.link = bob.drive.link, before
        alice.write("alice's", "only here")
        await alice.sync()
        alice.drive.link = winner
        assert not (await alice.sync()).removed_here
        await bob.sync()
        assert alice.tree == bob.tree
        assert {"alice's", "bob's", "a.txt", "b.txt"} <= set(alice.tree)
        (alice.folder / "b.txt").unlink()
        await alice.sync()
        assert (await bob.sync()).removed_here == [b"b.txt"]


async def test_a_machine_that_missed_some_versions_deletes_what_they_did(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        for number in range(3):
            alice.write("n", f"{number}", time=number)
            await alice.sync()
        (alice.folder / "b.txt").unlink()
        await alice.sync()
        done = await bob.sync()
        assert done.removed_here == [b"b.txt"]
        assert not done.published


async def test_files_that_are_written_to_all_the_time_stop_nothing_else(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_machines(base) as (alice, bob):
        for name in ("b.txt", "log", "new"):
            alice.write(name, name * 3, time=2_000_000)
        alice.write("sub/c.txt", "longer", time=2_000_000)
        read_into = Source.read_into

        def busy(source: Source, number: int, offset: int, target: memoryview) -> None:
            if source.location(source.entries[number].path).endswith((b"/Photos/b.txt", b"/log")):
                with open(source.location(source.entries[number].path), "ab") as file:
                    file.write(b"more")
            read_into(source, number, offset, target)

        with monkeypatch.context() as patch:
            patch.setattr(Source, "read_into", busy)
            done = await alice.sync()
            assert done.up == (b"new", b"sub/c.txt")
            why = "it is being written to, and goes up another time"
            assert set(done.skipped) == {f"Photos/{name}: {why}" for name in ("b.txt", "log")}
            link = alice.drive.link
            assert not (await alice.sync()).published
            assert alice.drive.link == link
        assert alice.work == {"id"}
        await bob.sync()
        assert (bob.tree["b.txt"], bob.tree["new"], "log" in bob.tree) == (b"b", b"newnewnew", False)
        assert (await alice.sync()).up == (b"b.txt", b"log")
        await bob.sync()
        assert alice.tree == bob.tree
