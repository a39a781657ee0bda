"""How files are cut into segments (node/publishing/stream.py, docs/spec/storage.md section 6)."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from node.publishing.stream import LARGE_FILE_BYTES, Pieces, cut
from protocol.manifest import Entry, Kind
from protocol.segment import SEGMENT_BYTES, block_hash

MIB = 1 << 20


def files(sizes: Sequence[int]) -> list[Entry]:
    return [Entry(path=b"root/%06d" % number, kind=Kind.FILE, size=size) for number, size in enumerate(sizes)]


def lengths(segments: Sequence[Pieces]) -> list[int]:
    return [sum(piece.size for piece in pieces) for pieces in segments]


sizes = st.lists(
    st.one_of(
        st.integers(0, 200_000),
        st.integers(MIB - 2, MIB + 2),
        st.integers(SEGMENT_BYTES - 2, SEGMENT_BYTES + 2),
        st.integers(0, 3 * SEGMENT_BYTES),
    ),
    max_size=40,
)


@given(sizes)
def test_every_byte_is_in_one_piece(found: list[int]) -> None:
    entries = files(found)
    segments = list(cut(entries))
    assert all(0 < length <= SEGMENT_BYTES for length in lengths(segments))
    pieces = [piece for pieces in segments for piece in pieces]
    position = dict.fromkeys(range(len(entries)), 0)
    for piece in pieces:
        assert piece.offset == position[piece.entry]
        assert piece.size > 0
        position[piece.entry] += piece.size
    assert list(position.values()) == found
    assert [piece.entry for piece in pieces] == sorted(piece.entry for piece in pieces)


@given(sizes)
def test_a_large_file_shares_no_segment(found: list[int]) -> None:
    for pieces in cut(files(found)):
        large = [piece for piece in pieces if found[piece.entry] >= LARGE_FILE_BYTES]
        assert not large or len(pieces) == 1
        if large and large[0].size < SEGMENT_BYTES:
            assert large[0].offset + large[0].size == found[large[0].entry]


@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=300))
def test_packs_are_not_too_small(found: list[int]) -> None:
    segments = lengths(list(cut(files(found))))
    assert all(length >= MIB for length in segments[:-1])


def test_folders_links_and_empty_files_take_no_bytes() -> None:
    entries = [
        Entry(path=b"root", kind=Kind.FOLDER),
        Entry(path=b"root/a", kind=Kind.FILE, size=0),
        Entry(path=b"root/b", kind=Kind.FILE, size=3),
        Entry(path=b"root/c", kind=Kind.SYMLINK, target=b"b"),
    ]
    ((piece,),) = cut(entries)
    assert (piece.entry, piece.offset, piece.size) == (2, 0, 3)
    assert not list(cut(entries[:2]))


def test_a_pack_ends_at_a_path_that_says_so() -> None:
    marked = next(b"root/%06d" % number for number in range(10_000) if block_hash(b"root/%06d" % number)[0] == 0)
    other = Entry(path=b"root/zz", kind=Kind.FILE, size=10)
    assert block_hash(other.path)[0] != 0

    def cut_with(first: int) -> list[int]:
        entries = [Entry(path=b"root/", kind=Kind.FILE, size=first), Entry(path=marked, kind=Kind.FILE, size=10), other]
        return lengths(list(cut(entries)))

    assert cut_with(MIB - 11) == [MIB + 9]  # 1 MiB is not full yet at the marked path
    assert cut_with(MIB - 10) == [MIB, 10]


def test_an_inserted_file_changes_one_pack() -> None:
    rng = random.Random(1)
    entries = [
        Entry(path=b"root/%08x" % rng.getrandbits(32), kind=Kind.FILE, size=rng.randrange(20_000)) for _ in range(6000)
    ]
    entries.sort(key=lambda entry: entry.path)
    before = packs(entries)
    assert len(before) > 10
    for number in range(20):
        added = Entry(path=b"root/%08x" % rng.getrandbits(32), kind=Kind.FILE, size=5000)
        if block_hash(added.path)[0] == 0:
            continue
        after = packs(sorted([*entries, added], key=lambda entry: entry.path))
        assert len(before - after) <= 1, number
        assert len(after - before) == 1
        removed = [entry for entry in entries if entry is not entries[number * 150]]
        assert len(packs(removed) - before) <= 1


def packs(entries: Sequence[Entry]) -> set[tuple[bytes, ...]]:
    return {tuple(entries[piece.entry].path for piece in pieces) for pieces in cut(entries)}
