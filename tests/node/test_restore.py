"""Writing what was fetched to disk, and going on after an interruption (node/fetching/restore.py)."""

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from node.errors import ConfigError, MachineError, RefusedError
from node.fetching.reader import Wanted, plan_steps
from node.fetching.restore import Restore, Target, choose_target
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.manifest import Entry, Kind, Manifest, SegmentRef
from protocol.segment import BLOCK_BYTES
from tests.trees import tree

LINK = Link(LinkKind.READ, SegmentId(b"r" * 32), b"k" * 32)
SIZES = {b"top/a": 100_000, b"top/b": 3 * BLOCK_BYTES, b"top/sub/c": 50_000, b"top/z": 0}
MAGIC = b"archipel fetch 1\n"
HEAD_BYTES = len(MAGIC) + 32
CUTS = (150_000, 300_000, 50_000)
"""Lengths of all segments but the last: they cut files anywhere."""


@dataclass
class Deposit:
    """A manifest, and the plaintext of its segments."""

    manifest: Manifest
    segments: list[bytes] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)
    """Steps that were asked for."""

    @property
    def everything(self) -> list[int]:
        return list(range(len(self.manifest.entries)))

    def wanted(self, chosen: Sequence[int]) -> list[Wanted]:
        entries = self.manifest.entries
        return [(i, 0, entries[i].size) for i in chosen if entries[i].kind is Kind.FILE and entries[i].size]

    def content(self, path: bytes) -> bytes:
        """Of a file."""
        stream = b"".join(self.segments) or self.manifest.inline
        starts = [0]
        for segment in self.segments:
            starts.append(starts[-1] + len(segment))
        (entry,) = (entry for entry in self.manifest.entries if entry.path == path)
        begin = starts[entry.segment] + entry.offset
        return stream[begin : begin + entry.size]


def deposit(seed: int = 0) -> Deposit:
    """A small tree with a symbolic link, an empty folder and an empty file."""
    entries = [
        Entry(path=b"top", kind=Kind.FOLDER, mtime_ns=1_000_000_000_000_000_001),
        Entry(path=b"top/empty", kind=Kind.FOLDER, mtime_ns=1_100_000_000_000_000_002),
        Entry(path=b"top/link", kind=Kind.SYMLINK, target=b"sub/c", mtime_ns=1_200_000_000_000_000_003),
        Entry(path=b"top/sub", kind=Kind.FOLDER, mtime_ns=1_300_000_000_000_000_004),
    ]
    stream = Random(seed).randbytes(sum(SIZES.values()))
    bounds = [0]
    for length in CUTS:
        bounds.append(bounds[-1] + length)
    bounds.append(len(stream))
    segments = [stream[start:stop] for start, stop in pairwise(bounds)]
    position = 0
    for path, size in SIZES.items():
        number = max(i for i, bound in enumerate(bounds[:-1]) if bound <= position) if size else 0
        entries.append(
            Entry(
                path=path,
                kind=Kind.FILE,
                size=size,
                executable=path == b"top/b",
                mtime_ns=1_400_000_000_000_000_005 + size,
                segment=number,
                offset=position - bounds[number] if size else 0,
            )
        )
        position += size
    refs = tuple(
        SegmentRef(id=SegmentId(bytes([number]) * 32), length=len(segment), key=bytes(32))
        for number, segment in enumerate(segments)
    )
    manifest = Manifest(entries=tuple(sorted(entries, key=lambda entry: entry.path)), segments=refs)
    return Deposit(Manifest.decode(manifest.encode()), segments)


class Interrupted(Exception):
    """The process was killed."""


def fetch(
    found: Deposit,
    dest: Path,
    *,
    chosen: Sequence[int] | None = None,
    wanted: Sequence[Wanted] | None = None,
    link: Link = LINK,
    force: bool = False,
    steps: int = 1000,
) -> int:
    """What node.fetching.restore.restore does, without a network; returns the bytes that were there already.

    Args:
        steps: How many steps are fetched before it is interrupted.
    """
    chosen = found.everything if chosen is None else chosen
    wanted = found.wanted(chosen) if wanted is None else wanted
    target = choose_target(found.manifest, chosen, dest, link.root, force=force)
    work = Restore(link, found.manifest, wanted, chosen, target)
    try:
        work.begin()
        done = work.finished_before(plan_steps(found.manifest, wanted))
        kept = sum(done.values())
        work.make_places(work.size - kept)
        if not found.manifest.segments:
            work.write_inline()
            work.finish(force=force)
            return 0
        for step in plan_steps(found.manifest, wanted):
            if step.number in done:
                continue
            if not steps:
                raise Interrupted
            steps -= 1
            found.fetched.append(step.number)
            plaintext = found.segments[found.manifest.segments.index(step.ref)]
            begin = step.first * BLOCK_BYTES
            work.write(step, memoryview(plaintext)[begin : begin + step.count * BLOCK_BYTES])
        work.finish(force=force)
        return kept
    finally:
        work.close()


def interrupted(found: Deposit, dest: Path, steps: int, **more: object) -> None:
    with pytest.raises(Interrupted):
        fetch(found, dest, steps=steps, **more)  # type: ignore[arg-type]
    found.fetched.clear()


def assert_whole(found: Deposit, place: Path) -> None:
    there = tree(place)
    expected: dict[str, tuple[object, ...]] = {}
    for entry in found.manifest.entries:
        name = os.fsdecode(entry.path).replace("top", place.name, 1)
        if entry.kind is Kind.FILE:
            expected[name] = ("file", found.content(entry.path), entry.executable, entry.mtime_ns)
        elif entry.kind is Kind.FOLDER:
            expected[name] = ("folder", entry.mtime_ns)
        else:
            expected[name] = ("link", Path(os.fsdecode(entry.target)), entry.mtime_ns)
    assert there == expected
    assert sorted(path.name for path in place.parent.iterdir()) == [place.name]


def test_a_tree_is_written_as_it_was(tmp_path: Path) -> None:
    found = deposit()
    assert len(found.segments) == 4
    assert fetch(found, tmp_path / "copy") == 0
    assert_whole(found, tmp_path / "copy")


@pytest.mark.parametrize("steps", range(5))
def test_it_goes_on_where_it_was(tmp_path: Path, steps: int) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", min(steps, 3))
    assert not (tmp_path / "copy").exists()
    kept = fetch(found, tmp_path / "copy")
    assert found.fetched == list(range(min(steps, 3), 4))
    assert kept == sum(CUTS[: min(steps, 3)])
    assert_whole(found, tmp_path / "copy")


def test_again_and_again_interrupted(tmp_path: Path) -> None:
    found = deposit()
    for _ in range(3):
        interrupted(found, tmp_path / "copy", 1)
    fetch(found, tmp_path / "copy")
    assert found.fetched == [3]
    assert_whole(found, tmp_path / "copy")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_part_that_was_tampered_with_is_fetched_again(tmp_path: Path) -> None:
    """The first step holds all of a and the beginning of b, the third the end of b and the beginning of c."""
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    content = tmp_path / "copy.part/content/top"
    _flip(content / "a", 99_999)
    (content / "sub/c").unlink()
    assert fetch(found, tmp_path / "copy") == CUTS[1]
    assert found.fetched == [0, 2, 3]
    assert_whole(found, tmp_path / "copy")


def test_some_files_of_a_segment_and_not_those_between(tmp_path: Path) -> None:
    """What was written for a step is noted, and found again, whether its files are neighbours or not."""
    content = Random(2).randbytes(1_000)
    files = [
        Entry(path=b"f%d" % number, kind=Kind.FILE, size=100, offset=100 * number)
        for number in range(len(content) // 100)
    ]
    refs = (SegmentRef(id=SegmentId(b"s" * 32), length=len(content), key=bytes(32)),)
    found = Deposit(Manifest(entries=tuple(files), segments=refs), [content])
    chosen = [1, 2, 3, 5, 9]
    target = choose_target(found.manifest, chosen, tmp_path / "copy", LINK.root, force=False)
    for before, flipped in (({}, False), ({0: 500}, False), ({}, True)):
        if flipped:
            _flip(tmp_path / "copy.part/content/f5", 99)
        work = Restore(LINK, found.manifest, found.wanted(chosen), chosen, target)
        work.begin()
        (step,) = plan_steps(found.manifest, found.wanted(chosen))
        assert work.finished_before([step]) == before
        work.write(step, memoryview(content))
        work.close()
    fetch(found, tmp_path / "copy", chosen=chosen)
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == {
        f"f{number}": content[100 * number :][:100] for number in chosen
    }


def test_a_file_without_its_folder(tmp_path: Path) -> None:
    """The folder it has in the deposit was not chosen, and is made for it beside the destination alone."""
    found = deposit()
    for path in (b"top/sub/c", b"top/z"):
        index = next(number for number, entry in enumerate(found.manifest.entries) if entry.path == path)
        fetch(found, tmp_path / "copy", chosen=[index], force=True)
        assert (tmp_path / "copy").read_bytes() == found.content(path)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_was_cut_off_is_fetched_again(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    os.truncate(tmp_path / "copy.part/content/top/b", 60_000)
    fetch(found, tmp_path / "copy")
    assert found.fetched == [1, 2, 3]
    assert_whole(found, tmp_path / "copy")


def test_what_was_added_is_cut_off(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    for name in ("a", "z"):
        with (tmp_path / "copy.part/content/top" / name).open("ab") as handle:
            handle.write(b"more")
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")


def test_what_was_cut_short_is_not_filled_with_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = deposit()
    finish = Restore.finish

    def cut_and_finish(work: Restore, *, force: bool) -> None:
        os.truncate(tmp_path / "copy.part/content/top/b", 60_000)
        finish(work, force=force)

    with monkeypatch.context() as patch:
        patch.setattr(Restore, "finish", cut_and_finish)
        with pytest.raises(MachineError, match="cut short"):
            fetch(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")


@pytest.mark.parametrize("damage", [b"", b"x" * 31, b"x" * 32, b"\xff" * 500])
def test_a_damaged_state_file_means_to_begin_anew(tmp_path: Path, damage: bytes) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    (tmp_path / "copy.part/state").write_bytes(MAGIC + damage)
    assert fetch(found, tmp_path / "copy") == 0
    assert found.fetched == [0, 1, 2, 3]
    assert_whole(found, tmp_path / "copy")


def test_records_that_make_no_sense_are_ignored(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 2)
    state = tmp_path / "copy.part/state"
    first, second = state.read_bytes()[HEAD_BYTES:][:36], state.read_bytes()[HEAD_BYTES + 36 :]
    rubbish = b"\xff\xff\xff\xff" + bytes(32) + (1).to_bytes(4, "big") + first[4:]
    state.write_bytes(state.read_bytes()[:HEAD_BYTES] + rubbish + first + second + second[:20])
    assert fetch(found, tmp_path / "copy") == CUTS[0] + CUTS[1]
    assert_whole(found, tmp_path / "copy")


def test_anothers_part_is_thrown_away(tmp_path: Path) -> None:
    """The same destination, but another link, or another part of the same one."""
    found, other = deposit(), deposit(seed=1)
    interrupted(other, tmp_path / "copy", 3, link=Link(LinkKind.READ, SegmentId(b"o" * 32), b"k" * 32))
    (tmp_path / "copy.part/content/top/stranger").write_bytes(b"left over")
    assert fetch(found, tmp_path / "copy") == 0
    assert_whole(found, tmp_path / "copy")
    index = next(i for i, entry in enumerate(found.manifest.entries) if entry.path == b"top/b")
    interrupted(found, tmp_path / "part", 1, chosen=[index], wanted=[(index, 0, 300_000)])
    found.fetched.clear()
    fetch(found, tmp_path / "part", chosen=[index], wanted=[(index, 10, 300_001)])
    assert (tmp_path / "part").read_bytes() == found.content(b"top/b")[10:300_001]


def test_two_at_once(tmp_path: Path) -> None:
    found = deposit()
    target = choose_target(found.manifest, found.everything, tmp_path / "copy", LINK.root, force=False)
    first = Restore(LINK, found.manifest, found.wanted(found.everything), found.everything, target)
    first.begin()
    with pytest.raises(RefusedError, match="another fetch is writing"):
        fetch(found, tmp_path / "copy")
    first.close()
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_is_replaced_unless_forced(tmp_path: Path, there: str) -> None:
    found, place = deposit(), tmp_path / "copy"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"mine")
    match there:
        case "file":
            place.write_bytes(b"mine")
        case "folder":
            place.mkdir()
            (place / "file").write_bytes(b"mine")
        case "link":
            place.symlink_to("precious")
    before = tree(place)
    with pytest.raises(RefusedError, match="exists"):
        fetch(found, place)
    assert tree(place) == before
    assert not found.fetched
    fetch(found, place, force=True)
    assert (precious / "file").read_bytes() == b"mine"
    (precious / "file").unlink()
    precious.rmdir()
    assert_whole(found, place)


def fill(found: Deposit, staging: Path) -> None:
    """Bring what is in ``staging`` to its full size, as if all had come."""
    for entry in found.manifest.entries:
        if entry.kind is Kind.FILE and entry.size:
            path = staging / "content" / os.fsdecode(entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, entry.size)


def test_a_destination_that_appears_meanwhile(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    target = choose_target(found.manifest, found.everything, tmp_path / "copy", LINK.root, force=False)
    (tmp_path / "copy").write_bytes(b"mine")
    work = Restore(LINK, found.manifest, found.wanted(found.everything), found.everything, target)
    work.begin()
    fill(found, tmp_path / "copy.part")
    with pytest.raises(RefusedError, match="exists") as caught:
        work.finish(force=False)
    assert "appeared during the fetch" in str(caught.value.hint)
    work.close()
    assert (tmp_path / "copy").read_bytes() == b"mine"
    assert (tmp_path / "copy.part/state").exists()


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """In the folder of what came so far, somebody put a link where a file belongs."""
    found = deposit()
    interrupted(found, tmp_path / "copy", 0)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "copy.part/content/top/a").symlink_to(secret)
    with pytest.raises(MachineError):
        fetch(found, tmp_path / "copy")
    assert secret.read_bytes() == b"secret"


def test_no_link_of_a_deposit_leads_out(tmp_path: Path) -> None:
    """A manifest with such a link cannot be made or read; one that dangles inside is written as it is."""
    for target in (b"../outside", b"/etc/passwd", b"x/../../outside"):
        entries = (Entry(path=b"top", kind=Kind.FOLDER), Entry(path=b"top/l", kind=Kind.SYMLINK, target=target))
        with pytest.raises(Exception, match="link target"):
            Manifest(entries=entries).encode()
    beneath = (
        Entry(path=b"top", kind=Kind.FOLDER),
        Entry(path=b"top/l", kind=Kind.SYMLINK, target=b"."),
        Entry(path=b"top/l/x", kind=Kind.FILE),
    )
    with pytest.raises(Exception, match="stands in no folder"):
        Manifest(entries=beneath).encode()


@pytest.mark.parametrize("mtime", [1, -1, -1_000_000_000_000_000_001, 4_000_000_000_123_456_789])
def test_any_time(tmp_path: Path, mtime: int) -> None:
    manifest = Manifest(entries=(Entry(path=b"f", kind=Kind.FILE, size=3, mtime_ns=mtime),), inline=b"abc")
    fetch(Deposit(manifest), tmp_path / "f")
    assert (tmp_path / "f").stat().st_mtime_ns == mtime
    assert (tmp_path / "f").read_bytes() == b"abc"


@pytest.mark.parametrize("mtime", [2**63 - 1, -(2**63)])
def test_a_time_the_disk_cannot_hold(tmp_path: Path, mtime: int) -> None:
    """Whatever it does about it, the content is there."""
    manifest = Manifest(entries=(Entry(path=b"f", kind=Kind.FILE, size=3, mtime_ns=mtime),), inline=b"abc")
    fetch(Deposit(manifest), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_what_has_no_time_gets_none(tmp_path: Path) -> None:
    manifest = Manifest(entries=(Entry(path=b"f", kind=Kind.FILE, size=3),), inline=b"abc")
    fetch(Deposit(manifest), tmp_path / "f")
    assert (tmp_path / "f").stat().st_mtime_ns > 10**18


def _targets(dest: Path | None, *tops: bytes, force: bool = False) -> Target:
    entries = tuple(Entry(path=top, kind=Kind.FILE) for top in sorted(tops))
    return choose_target(Manifest(entries=entries), range(len(tops)), dest, LINK.root, force=force)


def test_where_things_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _targets(None, b"a") == Target(Path("a.part"), ((b"a", Path("a")),))
    assert _targets(Path("x"), b"a") == Target(Path("x.part"), ((b"a", Path("x")),))
    assert _targets(Path("x"), b"a", b"b") == Target(Path("x.part"), ((b"a", Path("x/a")), (b"b", Path("x/b"))))
    assert _targets(None, b"a", b"b").staging == Path("archipel-72727272.part")
    paths = {b"top": Kind.FOLDER, b"top/sub": Kind.FOLDER, b"top/sub/c": Kind.FILE, b"top/z": Kind.FILE}
    inner = Manifest(entries=tuple(Entry(path=path, kind=kind) for path, kind in paths.items()))
    chosen = [i for i, entry in enumerate(inner.entries) if entry.path.startswith(b"top/sub")]
    assert choose_target(inner, chosen, None, LINK.root, force=False).moves == ((b"top/sub", Path("sub")),)
    with pytest.raises(MachineError, match="does not exist"):
        _targets(Path("no/such/x"), b"a")
    for bad in (Path("/"), Path("..") / "..", Path()):
        with pytest.raises((ConfigError, RefusedError)):
            _targets(bad, b"a")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(RefusedError, match="exists"):
        _targets(Path("dangling"), b"a")


def test_several_trees(tmp_path: Path) -> None:
    entries = (Entry(path=b"a", kind=Kind.FILE, size=2), Entry(path=b"b", kind=Kind.FILE, size=1, offset=2))
    fetch(Deposit(Manifest(entries=entries, inline=b"xyz")), tmp_path / "both")
    assert (tmp_path / "both/a").read_bytes() == b"xy"
    assert (tmp_path / "both/b").read_bytes() == b"z"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both"]


def test_the_disk_says_no(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 0)
    shutil.rmtree(tmp_path / "copy.part/content/top/sub")
    (tmp_path / "copy.part/content/top/sub").write_bytes(b"a file where the folder belongs")
    with pytest.raises(MachineError, match="cannot write"):
        fetch(found, tmp_path / "copy")
    with pytest.raises(MachineError, match="File name too long"):
        fetch(found, tmp_path / ("x" * 256))
    assert not found.fetched


def _plant(staging: Path, what: str) -> None:
    """Something at the place of the staging folder that is somebody else's."""
    elsewhere = staging.with_name("elsewhere")
    elsewhere.mkdir()
    if what == "a file":
        staging.write_bytes(b"mine")
    elif what == "a link":
        staging.symlink_to(elsewhere)
    else:
        staging.mkdir()
        (elsewhere / "file").write_bytes(MAGIC + b"mine")
    match what:
        case "a folder":
            (staging / "content").mkdir()
            (staging / "content/file").write_bytes(b"mine")
        case "their state":
            (staging / "state").write_bytes(b"mine")
        case "an empty state, and content":
            (staging / "state").write_bytes(b"")
            (staging / "content").mkdir()
        case "a state elsewhere":
            (staging / "state").symlink_to(elsewhere / "file")
        case "a folder for a state":
            (staging / "state").mkdir()
        case "our state, and more":
            (staging / "state").write_bytes(MAGIC)
            (staging / "file").write_bytes(b"mine")
        case "our state, and content elsewhere":
            (staging / "state").write_bytes(MAGIC)
            (staging / "content").symlink_to(elsewhere)


STRANGERS = (
    "a file",
    "a link",
    "a folder",
    "their state",
    "an empty state, and content",
    "a state elsewhere",
    "a folder for a state",
    "our state, and more",
    "our state, and content elsewhere",
)


@pytest.mark.parametrize("what", STRANGERS)
def test_a_strangers_folder_is_left_alone(tmp_path: Path, what: str) -> None:
    _plant(tmp_path / "copy.part", what)
    before = tree(tmp_path)
    with pytest.raises(RefusedError, match="no fetch made it") as caught:
        fetch(deposit(), tmp_path / "copy")
    assert caught.value.exit_code == 4
    assert "move it away" in str(caught.value.hint)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("killed", ["before the state", "before its first byte"])
def test_a_folder_of_a_fetch_that_had_just_begun(tmp_path: Path, killed: str) -> None:
    found = deposit()
    (tmp_path / "copy.part").mkdir()
    if killed == "before its first byte":
        (tmp_path / "copy.part/state").touch()
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")


def test_what_appears_beside_the_content_stays(tmp_path: Path) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 3)
    target = choose_target(found.manifest, found.everything, tmp_path / "copy", LINK.root, force=False)
    work = Restore(LINK, found.manifest, found.wanted(found.everything), found.everything, target)
    work.begin()
    fill(found, tmp_path / "copy.part")
    (target.staging / "file").write_bytes(b"mine")
    work.finish(force=False)
    work.close()
    assert list(tree(target.staging)) == ["copy.part", "copy.part/file"]
    assert (tmp_path / "copy/a").exists() or (tmp_path / "copy/sub").exists()


def test_the_other_fetch_finished_between_open_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = deposit()
    interrupted(found, tmp_path / "copy", 0)

    def finish(state: int, how: int) -> None:
        (tmp_path / "copy.part/state").unlink()

    monkeypatch.setattr("fcntl.flock", finish)
    with pytest.raises(RefusedError, match="another fetch"):
        fetch(found, tmp_path / "copy")


def _one_file(content: bytes) -> Deposit:
    return Deposit(Manifest(entries=(Entry(path=b"f", kind=Kind.FILE, size=len(content)),), inline=content))


@pytest.mark.parametrize("there", ["file", "link"])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    """There is no moment at which neither is there: the old one is never moved away."""
    place = tmp_path / "f"
    if there == "file":
        place.write_bytes(b"old")
    else:
        place.symlink_to("nowhere")

    def refuse(*paths: object) -> None:
        raise OSError(errno.EIO, "moved in two steps")

    monkeypatch.setattr(os, "rename", refuse)
    fetch(_one_file(b"new"), place, force=True)
    assert place.read_bytes() == b"new"
    assert not place.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_folder_that_cannot_be_replaced_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    found, place, rename, calls = deposit(), tmp_path / "copy", os.rename, 0
    place.mkdir()
    (place / "file").write_bytes(b"old")
    before = tree(place)

    def failing(source: str | bytes | Path, to: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fails:
            raise OSError(errno.EIO, "no")
        rename(source, to)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(MachineError, match="cannot write"):
            fetch(found, place, force=True)
    assert calls == (1 if fails == 1 else 3)
    assert tree(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "copy.part"]
    fetch(found, place, force=True)
    assert_whole(found, place)


@pytest.mark.parametrize("there", ["file", "folder"])
def test_a_folder_for_a_file_and_a_file_for_a_folder(tmp_path: Path, there: str) -> None:
    place = tmp_path / "copy"
    if there == "file":
        place.write_bytes(b"old")
        fetch(deposit(), place, force=True)
        assert_whole(deposit(), place)
    else:
        place.mkdir()
        fetch(_one_file(b"new"), place, force=True)
        assert place.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


@pytest.mark.parametrize(
    "name",
    [b"x" * 250, b"x" * 251, b"x" * 255, "é".encode() * 127, b"y" + "é".encode() * 127, b"\xff" * 255, b"\x80" * 255],
)
def test_a_name_as_long_as_can_be(tmp_path: Path, name: bytes) -> None:
    place = tmp_path / os.fsdecode(name)
    found = deposit()
    interrupted(found, place, 3)
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part")
    assert name.startswith(os.fsencode(part.name)[:200])
    assert b"\xff" in name or b"\x80" * 2 in name or part.name.isprintable(), "no character is cut in two"
    fetch(found, place)
    assert found.fetched == [3]
    assert_whole(found, place)
    fetch(found, place, force=True)
    assert_whole(found, place)


def test_long_names_that_begin_alike(tmp_path: Path) -> None:
    assert _targets(tmp_path / ("x" * 254 + "a"), b"f").staging != _targets(tmp_path / ("x" * 254 + "b"), b"f").staging


def _deep(levels: int) -> Manifest:
    paths = [b"/".join([b"d"] * level) for level in range(1, levels)]
    folders = [Entry(path=path, kind=Kind.FOLDER) for path in paths]
    return Manifest(entries=(*folders, Entry(path=paths[-1] + b"/f", kind=Kind.FILE, size=1)), inline=b"x")


def test_the_deepest_tree(tmp_path: Path) -> None:
    found = Deposit(Manifest.decode(_deep(256).encode()))
    place = tmp_path / "copy"
    for force in (False, True):
        fetch(found, place, force=force)
        assert sum(len(files) for _, _, files in os.walk(place)) == 1
    with pytest.raises(Exception, match="256 components"):
        _deep(257).encode()


def test_a_tree_too_deep_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced may be of any depth, since it did not come from a deposit."""
    place = tmp_path / "copy"
    place.mkdir()

    def too_deep(path: Path) -> None:
        raise RecursionError

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", too_deep)
        with pytest.raises(MachineError, match="too deep in each other"):
            fetch(deposit(), place, force=True)
    assert (place / "a").exists()


def _free(monkeypatch: pytest.MonkeyPatch, free: int, *, blocks: int = 1000) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=blocks))


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, size = deposit(), sum(SIZES.values())
    _free(monkeypatch, size - 1)
    with pytest.raises(MachineError, match=f"{size} bytes are to be fetched, but .* has room for {size - 1}$"):
        fetch(found, tmp_path / "copy")
    assert not found.fetched
    assert not list(tmp_path.iterdir())
    _free(monkeypatch, size)
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")


def test_one_segment_named_again_and_again_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = SegmentRef(id=SegmentId(bytes(32)), length=BLOCK_BYTES, key=bytes(32))
    entry = Entry(path=b"bomb", kind=Kind.FILE, size=1000 * BLOCK_BYTES)
    manifest = Manifest.decode(Manifest(entries=(entry,), segments=(ref,) * 1000).encode())
    found = Deposit(manifest, [bytes(BLOCK_BYTES)])
    _free(monkeypatch, 10 * BLOCK_BYTES)
    with pytest.raises(MachineError, match=f"{1000 * BLOCK_BYTES} .* {10 * BLOCK_BYTES}$"):
        fetch(found, tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_only_the_rest_has_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, rest = deposit(), sum(SIZES.values()) - sum(CUTS)
    interrupted(found, tmp_path / "copy", 3)
    _free(monkeypatch, rest - 1)
    with pytest.raises(MachineError, match="has room for"):
        fetch(found, tmp_path / "copy")
    _free(monkeypatch, rest)
    assert fetch(found, tmp_path / "copy") == sum(CUTS)
    assert_whole(found, tmp_path / "copy")


def test_a_file_system_that_does_not_know_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = deposit()
    _free(monkeypatch, 0, blocks=0)
    fetch(found, tmp_path / "copy")
    assert_whole(found, tmp_path / "copy")
