"""Which blocks of which segments hold which bytes of which files (node/fetching/reader.py)."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ConfigError, NotFoundError
from node.fetching.reader import WholeFiles, plan_steps, runs_of, select, single_file
from protocol.ids import SegmentId
from protocol.manifest import Entry, Kind, Manifest, SegmentRef
from protocol.segment import BLOCK_BYTES


def manifest_of(lengths: list[int], sizes: list[int]) -> Manifest:
    """Files of these sizes one behind the other in segments of these lengths, as far as they reach."""
    starts = [0, *accumulate(lengths)]
    position, entries = 0, [Entry(path=b"r", kind=Kind.FOLDER)]
    for number, wish in enumerate(sizes):
        size = min(wish, starts[-1] - position)
        segment = max((i for i, start in enumerate(starts[:-1]) if start <= position), default=0) if size else 0
        offset = position - starts[segment] if size else 0
        entries.append(Entry(path=b"r/%04d" % number, kind=Kind.FILE, size=size, segment=segment, offset=offset))
        position += size
    refs = tuple(
        SegmentRef(id=SegmentId(number.to_bytes(32, "big")), length=length, key=bytes(32))
        for number, length in enumerate(lengths)
    )
    manifest = Manifest(entries=tuple(entries), segments=refs)
    manifest.encode()
    return manifest


lengths = st.lists(st.integers(1, 5 * BLOCK_BYTES), min_size=1, max_size=6)
sizes = st.lists(st.integers(0, 3 * BLOCK_BYTES), min_size=1, max_size=12)


@given(lengths, sizes, st.data())
def test_every_byte_wanted_is_planned_once(found: list[int], files: list[int], data: st.DataObject) -> None:
    """Filling each step with the bytes of a stream gives back the runs asked for, in order."""
    manifest = manifest_of(found, files)
    stream = bytes(i * 7 % 251 for i in range(sum(found)))
    starts = [0, *accumulate(found)]
    wanted = []
    for number, entry in enumerate(manifest.entries):
        if entry.size and data.draw(st.booleans()):
            start = data.draw(st.integers(0, entry.size - 1))
            wanted.append((number, start, data.draw(st.integers(start + 1, entry.size))))
    got: dict[int, bytes] = {number: b"" for number, _, _ in wanted}
    steps = list(plan_steps(manifest, wanted))
    assert [step.number for step in steps] == list(range(len(steps)))
    for step in steps:
        assert step.size == sum(item.size for item in step.slices)
        position = manifest.segments.index(step.ref)
        assert step.first >= 0
        assert (step.first + step.count - 1) * BLOCK_BYTES < step.ref.length
        begin = starts[position] + step.first * BLOCK_BYTES
        blocks = stream[begin : min(begin + step.count * BLOCK_BYTES, starts[position + 1])]
        for run in runs_of(step, memoryview(blocks)):
            (asked,) = (item for item in wanted if item[0] == run.entry)
            assert run.at == asked[1] + len(got[run.entry])
            got[run.entry] += run.data
    for number, start, stop in wanted:
        entry = manifest.entries[number]
        begin = starts[entry.segment] + entry.offset
        assert got[number] == stream[begin + start : begin + stop]
    assert len({step.ref.id for step in steps}) == len(steps)


def test_no_more_blocks_than_needed() -> None:
    manifest = manifest_of([4 * BLOCK_BYTES], [4 * BLOCK_BYTES])
    (step,) = plan_steps(manifest, [(1, BLOCK_BYTES, BLOCK_BYTES + 1)])
    assert (step.first, step.count) == (1, 1)
    (step,) = plan_steps(manifest, [(1, BLOCK_BYTES - 1, BLOCK_BYTES + 1)])
    assert (step.first, step.count) == (0, 2)
    assert not list(plan_steps(manifest, []))


def test_whole_files() -> None:
    """Their runs can be gone through again: a fetch does, rather than keep a million of them."""
    manifest = manifest_of([100, 100], [60, 0, 90, 50])
    wanted = WholeFiles(manifest, range(5))
    assert list(wanted) == list(wanted) == [(1, 0, 60), (3, 0, 90), (4, 0, 50)]
    assert list(WholeFiles(manifest, [0, 2, 4])) == [(4, 0, 50)]
    assert [step.size for step in plan_steps(manifest, wanted)] == [100, 100]


def test_inline_content_needs_no_steps() -> None:
    manifest = Manifest(entries=(Entry(path=b"f", kind=Kind.FILE, size=3),), inline=b"abc")
    assert not list(plan_steps(manifest, WholeFiles(manifest, [0])))


ENTRIES = (
    Entry(path=b"a", kind=Kind.FOLDER),
    Entry(path=b"a/b", kind=Kind.FILE),
    Entry(path=b"a/b.txt", kind=Kind.FILE),
    Entry(path=b"a/c", kind=Kind.FOLDER),
    Entry(path=b"a/c/d", kind=Kind.FILE),
)


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        (None, [0, 1, 2, 3, 4]),
        (b"a", [0, 1, 2, 3, 4]),
        (b"a/", [0, 1, 2, 3, 4]),
        (b"a/b", [1]),
        (b"/a/c/", [3, 4]),
        (b"a/c/d", [4]),
    ],
)
def test_selecting_a_path(path: bytes | None, chosen: list[int]) -> None:
    assert list(select(Manifest(entries=ENTRIES), path)) == chosen


@pytest.mark.parametrize("path", [b"", b"b", b"a/bb", b"a/b/x", b"A"])
def test_a_path_that_is_not_there(path: bytes) -> None:
    with pytest.raises(NotFoundError):
        select(Manifest(entries=ENTRIES), path)


def test_a_single_file() -> None:
    manifest = Manifest(entries=ENTRIES)
    assert single_file(manifest, [1]) is ENTRIES[1]
    for chosen in ([0], [0, 1], [3, 4]):
        with pytest.raises(ConfigError):
            single_file(manifest, chosen)
