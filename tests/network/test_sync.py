"""A folder synced by two machines through the drive: both have the same in the end, and nothing is lost on the way."""

import os
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.errors import MachineError, NotFoundError, RefusedError
from node.progress import Progress
from node.publishing.source import Source
from node.syncing.sync import sync
from protocol.links import Link
from protocol.manifest import Kind
from tests.network.archipelago import archipelago, failure
from tests.network.machines import Drive, machine, two_machines

MIB = 1 << 20


async def test_a_new_folder_goes_up_and_comes_down_elsewhere(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as first, islands.user("bob") as second:
        drive = Drive()
        alice = machine(islands, first, drive, "alice", "Photos")
        alice.folder.mkdir(parents=True)
        alice.write("sub/large", os.urandom(MIB + 5))
        alice.write("run", "#!").chmod(0o755)
        (alice.folder / "empty").mkdir()
        (alice.folder / "sub/link").symlink_to("../run")
        done = await alice.sync()
        assert done.published
        assert set(done.up) == {b"sub", b"sub/large", b"sub/link", b"run", b"empty"}
        bob = machine(islands, second, drive, "bob", "Bilder")
        bob.folder.parent.mkdir()
        done = await bob.sync()
        assert not done.published
        assert done.link == drive.link
        assert set(done.down) == {b"sub/large", b"sub/link", b"run"}
        assert bob.progress.total == bob.progress.done == MIB + 7
        assert bob.tree == alice.tree
        for name in ("sub/large", "run"):
            mine, theirs = ((one.folder / name).stat() for one in (alice, bob))
            assert (mine.st_mtime_ns, mine.st_mode) == (theirs.st_mtime_ns, theirs.st_mode)


async def test_again_it_does_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        before = (alice.drive.link, alice.tree)
        for one in (alice, bob, alice, bob):
            done = await one.sync()
            assert not (done.published or done.up or done.removed_there or done.down or done.removed_here or done.kept)
        assert (alice.drive.link, alice.tree) == before == (bob.drive.link, bob.tree)


async def test_changes_travel_both_ways_and_only_they(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("a.txt", "a new", time=2_000_000)
        alice.write("big", os.urandom(MIB), time=2_000_000)
        await alice.sync()
        bob.write("b.txt", "b new", time=2_000_000)
        bob.write("sub/new/d.txt", "d")
        (bob.folder / "sub/c.txt").chmod(0o755)
        done = await bob.sync()
        assert done.down == [b"a.txt", b"big"]
        assert done.up == (b"b.txt", b"sub/c.txt", b"sub/new", b"sub/new/d.txt")
        assert not done.kept
        done = await alice.sync()
        assert done.down == [b"b.txt", b"sub/c.txt", b"sub/new/d.txt"]
        assert not done.published
        assert alice.tree == bob.tree
        assert alice.tree["a.txt"] == b"a new"
        assert os.access(alice.folder / "sub/c.txt", os.X_OK)
        alice.write("small", "x")
        await alice.sync()
        assert alice.published[-1].sent_bytes < MIB  # the large file lies in the network


async def test_what_both_changed_is_kept_twice(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("a.txt", "alice", time=2_000_000)
        await alice.sync()
        bob.write("a.txt", "bob's", time=3_000_000)
        done = await bob.sync()
        beside = "a (from the drive, 1970-01-24).txt"
        assert done.kept == {b"a.txt": beside.encode()}
        assert bob.tree["a.txt"] == b"bob's"
        assert bob.tree[beside] == b"alice"
        await alice.sync()
        assert alice.tree == bob.tree
        assert not (await bob.sync()).published


async def test_one_file_with_two_times_is_not_kept_twice(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("photo", "the same", time=2_000_000)
        alice.write("other", "of 1 size", time=2_000_000)
        await alice.sync()
        bob.write("photo", "the same", time=3_000_000)
        bob.write("other", "as before", time=3_000_000)
        done = await bob.sync()
        assert done.kept == {b"other": b"other (from the drive, 1970-01-24)"}
        assert done.down == [b"other (from the drive, 1970-01-24)"]
        await alice.sync()
        assert alice.tree == bob.tree
        assert len(bob.tree) == 7
        assert (alice.folder / "photo").stat().st_mtime == 3_000_000


async def test_deletions_travel_but_never_over_a_change(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("rest", "")
        (alice.folder / "a.txt").unlink()
        (alice.folder / "b.txt").unlink()
        (alice.folder / "sub/c.txt").unlink()
        (alice.folder / "sub").rmdir()
        done = await alice.sync()
        assert set(done.removed_there) == {b"a.txt", b"b.txt", b"sub", b"sub/c.txt"}
        bob.write("b.txt", "still wanted", time=2_000_000)
        done = await bob.sync()
        assert set(done.removed_here) == {b"a.txt", b"sub", b"sub/c.txt"}
        assert done.up == (b"b.txt",)
        await alice.sync()
        assert alice.tree == bob.tree == {"b.txt": b"still wanted", "rest": b""}
        alice.write("b.txt", "changed", time=3_000_000)
        await alice.sync()
        (bob.folder / "b.txt").unlink(missing_ok=True)
        assert (await bob.sync()).down == [b"b.txt"]
        assert bob.tree == {"b.txt": b"changed", "rest": b""}


async def test_files_become_folders_and_the_reverse(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        (alice.folder / "a.txt").unlink()
        alice.write("a.txt/in", "in")
        (alice.folder / "sub/c.txt").unlink()
        (alice.folder / "sub").rmdir()
        alice.write("sub", "a file now")
        (alice.folder / "b.txt").unlink()
        (alice.folder / "b.txt").symlink_to("sub")
        await alice.sync()
        await bob.sync()
        assert bob.tree == alice.tree
        assert set(bob.tree) == {"a.txt", "a.txt/in", "b.txt", "sub"}


async def test_a_file_edited_between_scan_and_write_is_kept(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        for name in ("a.txt", "b.txt", "new.txt"):
            alice.write(name, "alice's " + name, time=2_000_000)
        (alice.folder / "sub/c.txt").unlink()
        await alice.sync()

        def edit(progress: Progress) -> None:
            """While it comes down, after the scan."""
            if progress.total is None:
                return
            bob.write("a.txt", "!", time=1_000_000)  # of the same size and time: only the system's own time tells
            (bob.folder / "b.txt").unlink(missing_ok=True)
            bob.write("new.txt", "bob's new")
            bob.write("sub/c.txt", "bob's c", time=3_000_000)

        done = await bob.sync(edit)
        beside = "{} (from the drive, 1970-01-24).txt"
        assert bob.tree == {
            "a.txt": b"!",
            beside.format("a"): b"alice's a.txt",
            "b.txt": b"alice's b.txt",
            "new.txt": b"bob's new",
            beside.format("new"): b"alice's new.txt",
            "sub": Kind.FOLDER,
            "sub/c.txt": b"bob's c",
        }
        assert done.kept == {name + b".txt": name + b" (from the drive, 1970-01-24).txt" for name in (b"a", b"new")}
        await alice.sync()
        assert alice.tree == bob.tree


async def test_a_folder_that_became_a_link_meanwhile_leads_nowhere(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("sub/c.txt", "new", time=2_000_000)
        alice.write("sub/d.txt", "d")
        await alice.sync()
        outside = base / "outside"
        outside.mkdir()
        (outside / "c.txt").write_text("not yours")

        def replace(progress: Progress) -> None:
            if progress.total is not None and not (bob.folder / "sub").is_symlink():
                (bob.folder / "sub").rename(base / "moved")
                (bob.folder / "sub").symlink_to(outside)

        error = await failure(bob.sync(replace))
        assert isinstance(error, MachineError)
        assert "changed while it was being synced" in str(error)
        assert [path.name for path in outside.iterdir()] == ["c.txt"]
        assert (outside / "c.txt").read_text() == "not yours"
        error = await failure(bob.sync())
        assert isinstance(error, RefusedError)
        assert "leads out of the folder" in str(error)
        (bob.folder / "sub").unlink()
        (base / "moved").rename(bob.folder / "sub")
        await bob.sync()
        assert bob.tree == alice.tree


async def test_without_its_base_nothing_is_deleted(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        (alice.folder / "a.txt").unlink()
        alice.write("b.txt", "alice's", time=2_000_000)
        await alice.sync()
        bob.state.path.write_bytes(bob.state.path.read_bytes()[:-1] + b"?")
        done = await bob.sync()
        assert not done.removed_here
        assert bob.tree["a.txt"] == b"a"
        assert bob.tree["b.txt"] == b"b"
        assert bob.tree["b (from the drive, 1970-01-24).txt"] == b"alice's"
        await alice.sync()
        assert alice.tree == bob.tree


async def test_an_empty_folder_in_its_place_empties_no_drive(autojump_clock: MockClock, base: Path) -> None:
    """As a disk that is not mounted leaves."""
    async with two_machines(base) as (alice, bob):
        bob.folder.rename(base / "unmounted")
        error = await failure(bob.sync())
        assert isinstance(error, RefusedError)
        assert "is gone" in str(error)
        bob.folder.mkdir()
        done = await bob.sync()
        assert not done.removed_there
        assert bob.tree == alice.tree


async def test_of_two_machines_at_once_the_second_runs_again(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        for one, time in ((alice, 2_000_000), (bob, 3_000_000)):
            one.write("a.txt", one.folder.name, time=time)
            one.write(one.folder.name, "only here")
        (alice.folder / "b.txt").unlink()
        bob.seen = bob.drive.link

        async def too_late(source: Source) -> Link:
            await alice.sync()
            return await bob.publish_first(source)

        error = await failure(sync(bob.user.client, bob.seen, bob.state, too_late, Progress()))
        assert isinstance(error, RefusedError)
        assert set(bob.tree) == {"a.txt", "b.txt", "sub", "sub/c.txt", "Bilder"}
        await bob.sync()
        await alice.sync()
        assert alice.tree == bob.tree
        assert set(bob.tree) == {
            "a.txt",
            "a (from the drive, 1970-01-24).txt",
            "sub",
            "sub/c.txt",
            "Bilder",
            "Photos",
        }


@pytest.mark.parametrize("when", ["before the scan", "after the fetch"])
async def test_a_folder_that_is_replaced_during_the_sync_empties_no_drive(
    autojump_clock: MockClock, base: Path, when: str
) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("a.txt", "new", time=2_000_000)
        if when == "after the fetch":
            await alice.sync()

        def replace(progress: Progress) -> None:
            if (progress.done or when == "before the scan") and not (base / "unmounted").exists():
                bob.folder.rename(base / "unmounted")
                bob.folder.mkdir()

        link = bob.drive.link
        assert isinstance(await failure(bob.sync(replace)), MachineError)
        assert not list(bob.folder.iterdir())
        assert bob.drive.link == link


async def test_two_syncs_of_one_folder_do_not_meet(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (_, bob):
        errors = []

        async def meanwhile(source: Source) -> Link:
            errors.append(await failure(bob.sync()))
            return await bob.publish(source)

        bob.write("b.txt", "new", time=2_000_000)
        await sync(bob.user.client, bob.drive.link, bob.state, meanwhile, Progress())
        assert "another sync" in str(errors[0])
        assert bob.work == {"id"}


async def test_what_cannot_be_published_does_not_pass_for_deleted(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, _):
        os.mkfifo(alice.folder / "pipe")
        done = await alice.sync()
        assert done.skipped == ("Photos/pipe: neither a file, a folder nor a symbolic link",)
        (alice.folder / "a.txt").unlink()
        (alice.folder / "a.txt").symlink_to("/etc/passwd")
        link = alice.drive.link
        error = await failure(alice.sync())
        assert isinstance(error, RefusedError)
        assert "a.txt" in str(error)
        assert alice.drive.link == link


async def test_a_deposit_that_is_no_folder_is_refused(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        file = base / "single"
        file.write_bytes(b"x")
        bob.drive.link = (await alice.user.publish(file)).link
        before = bob.tree
        assert "not one folder" in str(await failure(bob.sync()))
        assert bob.tree == before


async def test_what_is_called_as_our_working_folder_does_not_come_down(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        trap = base / "trap/Photos"
        (trap / ".archipel-sync/tree/Photos").mkdir(parents=True)
        (trap / ".archipel-sync/tree/Photos/a.txt").write_text("a trap")
        (trap / "a.txt").write_text("new")
        bob.drive.link = (await alice.user.publish(trap)).link
        await bob.sync()
        assert bob.tree["a.txt"] == b"a"
        assert b"a trap" not in bob.tree.values()
        assert bob.work == {"id"}


async def test_what_the_network_lost_changes_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (alice, bob):
        alice.write("a.txt", os.urandom(MIB), time=2_000_000)
        (alice.folder / "b.txt").unlink()
        await alice.sync()
        before = bob.tree
        link = bob.drive.link
        assert link is not None
        for node in alice.islands.nodes:
            for segment, index in node.chunks():
                if segment != link.root.hex():
                    node.chunk_file((segment, index)).unlink()
        error = await failure(bob.sync())
        assert isinstance(error, NotFoundError)
        assert bob.tree == before
        assert bob.drive.link == link
