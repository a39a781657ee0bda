"""Manifests, roots, extents (docs/spec/storage.md section 5). The rules one by one are in the vectors."""

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol import codec, manifest, seal
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.manifest import (
    MAX_INLINE_MANIFEST_BYTES,
    MAX_SEGMENTS,
    Entry,
    Extent,
    IndexEntry,
    Kind,
    Manifest,
    Root,
    SegmentRef,
    extents,
    index_of,
    inline_content,
    make_root,
    open_index,
    open_root,
    read_manifest,
    spill_parts,
)
from protocol.paths import path_problem, target_problem
from protocol.segment import SEGMENT_BYTES
from tests.strategies import damaged, nested, raw

SECRET = bytes(range(32))
SMALL = Manifest(entries=(Entry(path=b"a", kind=Kind.FILE, size=5),), inline=b"hello")


def make_ref(number: int, length: int = SEGMENT_BYTES) -> SegmentRef:
    return SegmentRef(id=SegmentId(number.to_bytes(32, "big")), length=length, key=bytes(32))


def make_folder(files: int) -> Manifest:
    """One folder of many small files in one segment."""
    entries = [Entry(path=b"folder", kind=Kind.FOLDER)]
    entries += [
        Entry(
            path=b"folder/file-%06d.txt" % number,
            kind=Kind.FILE,
            size=16,
            offset=16 * number,
            mtime_ns=1_700_000_000,
        )
        for number in range(files)
    ]
    return Manifest(entries=tuple(entries), segments=(make_ref(1),))


names = st.one_of(st.sampled_from((b"a", b"b", b"c.d")), raw(1, 20)).filter(lambda name: path_problem(name) is None)
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
targets = st.lists(st.one_of(st.just(b".."), names), min_size=1, max_size=4).map(b"/".join)
mtimes = st.integers(-(2**63), 2**63 - 1)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A tree of files, folders and links, whose content is inline, in segments, or nothing."""
    inline = draw(st.sampled_from((b"", b"some content of small files")))
    lengths = [] if inline else draw(st.lists(st.integers(1, 1000), max_size=5))
    segments = tuple(make_ref(draw(st.integers(1, 5)), length) for length in lengths)
    total = sum(lengths) or len(inline)
    kinds = {}
    for path in draw(st.sets(paths, min_size=1, max_size=10)):
        parents = [path[:at] for at, byte in enumerate(path) if byte == 0x2F]
        kinds.update(dict.fromkeys(parents, Kind.FOLDER))
        kinds.setdefault(path, draw(st.sampled_from(Kind)))
    entries = []
    for path, kind in sorted(kinds.items()):
        entry = Entry(path=path, kind=kind, mtime_ns=draw(mtimes))
        if kind is Kind.FILE:
            begin = draw(st.integers(0, total))
            entry = _place(replace(entry, executable=draw(st.booleans())), segments, begin, total, draw)
        if kind is Kind.SYMLINK:
            target = draw(targets)
            if target_problem(path, target) is not None:
                continue
            entry = replace(entry, target=target)
        entries.append(entry)
    pieces = sum(len(extents(entry, segments)) for entry in entries if segments)
    assume(pieces <= len(entries) + len(segments))  # else they share more bytes than a manifest may
    return Manifest(entries=tuple(entries) or (Entry(path=b"a", kind=Kind.FOLDER),), segments=segments, inline=inline)


def _place(entry: Entry, segments: tuple[SegmentRef, ...], begin: int, total: int, draw: st.DrawFn) -> Entry:
    size = draw(st.integers(0, total - begin))
    if not size:
        return entry
    segment = 0
    while segments and begin >= segments[segment].length:
        begin -= segments[segment].length
        segment += 1
    return replace(entry, size=size, segment=segment, offset=begin)


@given(manifests())
def test_a_manifest_is_read_as_it_was_written(made: Manifest) -> None:
    data = made.encode()
    assert Manifest.decode(data) == made
    assert Manifest.decode(memoryview(data)) == made
    assert made.content_bytes == sum(entry.size for entry in made.entries)


@given(st.data())
def test_a_damaged_manifest_is_refused_or_obeys_the_rules(data: st.DataObject) -> None:
    broken = data.draw(damaged(data.draw(manifests()).encode()))
    try:
        read = Manifest.decode(broken)
    except RemoteProtocolError:
        return
    assert Manifest.decode(read.encode()) == read


@given(st.binary(max_size=200))
def test_garbage_is_neither_manifest_nor_root(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Manifest.decode(data)
    with pytest.raises(RemoteProtocolError):
        open_index(data)
    with pytest.raises(RemoteProtocolError):
        open_root(data, SECRET)


def test_what_breaks_the_rules_is_not_made_either() -> None:
    for path in (b"/a", b"../a", b"a\0", b"b/a"):
        with pytest.raises(LocalProtocolError, match="cannot make a manifest: entry 0"):
            Manifest(entries=(Entry(path=path, kind=Kind.FOLDER),)).encode()
    with pytest.raises(LocalProtocolError):
        Manifest(entries=(Entry(path=b"a", kind=Kind.FOLDER, mtime_ns=2**63),)).encode()
    with pytest.raises(LocalProtocolError, match="not a valid Kind"):
        Manifest(entries=(Entry(path=b"a", kind=7),)).encode()  # type: ignore[arg-type]  # what is tested


def test_an_error_does_not_tell_a_path() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Manifest(entries=(Entry(path=b"secret/../x", kind=Kind.FOLDER),)).encode()
    assert "secret" not in str(caught.value)


def test_a_reference_does_not_show_its_key() -> None:
    assert "key" not in repr(make_ref(1))


def test_a_manifest_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SMALL.encode()
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", len(data) - 1)
    with pytest.raises(LocalProtocolError, match="a manifest has at most"):
        SMALL.encode()
    with pytest.raises(RemoteProtocolError, match="a manifest has at most"):
        Manifest.decode(data)


def peak_bytes(data: bytes) -> int:
    """The most memory that decoding takes beyond what there was."""
    tracemalloc.start()
    try:
        Manifest.decode(data)
    except RemoteProtocolError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


ANNOUNCE = b"\x94\x01\xdd\x00\x10\x00\x00"
BOMBS = {
    "a million entries, none there": ANNOUNCE,
    "a million empty lists": ANNOUNCE + b"\x90" * 2**20,
    "a million entries of empty lists": ANNOUNCE + (b"\x98" + b"\x90" * 8) * 2**17,
    "nested": b"\x94\x01" + nested(b"\x90", 2**20),
    "nested and endless": b"\x94\x01" + b"\xdd\xff\xff\xff\xff" * 2**17,
    "a tree": b"\x94" * 2**20,
    "a map": b"\x94\x01\xdf\xff\xff\xff\xff" + b"\x01" * 2**20,
    "long bytes, none there": ANNOUNCE + b"\x98\xc6\xff\xff\xff\xff",
    "short text": ANNOUNCE + (b"\x98" + b"\xa0" * 8) * 2**17,
    "a path too long": ANNOUNCE + b"\x98\xc5\xff\xff" + bytes(2**16),
    "too many entries": b"\x94\x01\xdd\x00\x10\x00\x01" + bytes(2**16),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_more_memory_than_it_is_long(name: str) -> None:
    data = BOMBS[name]
    with pytest.raises(RemoteProtocolError):
        Manifest.decode(data)
    assert peak_bytes(data) < 3 * len(data) + 100_000


def test_an_honest_manifest_takes_memory_in_proportion() -> None:
    few, many = (make_folder(files).encode() for files in (500, 5_000))
    assert len(Manifest.decode(many).entries) == 5_001
    assert peak_bytes(many) / len(many) < max(12.0, 1.2 * peak_bytes(few) / len(few))


@given(manifests(), st.data())
def test_extents_name_the_bytes_of_a_file(made: Manifest, data: st.DataObject) -> None:
    stream = b"".join(bytes([number]) * ref.length for number, ref in enumerate(made.segments, 1))
    starts = [sum(ref.length for ref in made.segments[:number]) for number in range(len(made.segments))]
    for entry in made.entries:
        start = data.draw(st.integers(0, entry.size + 2))
        stop = data.draw(st.one_of(st.none(), st.integers(0, entry.size + 2)))
        end = entry.size if stop is None else min(stop, entry.size)
        if not made.segments:
            whole = made.inline[entry.offset : entry.offset + entry.size]
            assert inline_content(made, entry, start, stop) == whole[start:end]
            continue
        begin = starts[entry.segment] + entry.offset
        found = extents(entry, made.segments, start, stop)
        places = [(starts[extent.segment] + extent.offset, extent.length) for extent in found]
        assert (
            b"".join(stream[place : place + length] for place, length in places)
            == stream[begin + start : begin + max(start, end)]
        )
        assert all(extent.length > 0 for extent in found)
        for extent in found:
            assert extent.offset + extent.length <= made.segments[extent.segment].length


def test_extents_of_a_large_file() -> None:
    refs = (make_ref(1), make_ref(2), make_ref(3, 100))
    entry = Entry(path=b"big", kind=Kind.FILE, size=2 * SEGMENT_BYTES + 100)
    assert extents(entry, refs) == [
        Extent(0, 0, SEGMENT_BYTES),
        Extent(1, 0, SEGMENT_BYTES),
        Extent(2, 0, 100),
    ]
    last = SEGMENT_BYTES - 1
    assert extents(entry, refs, last, last + 2) == [Extent(0, last, 1), Extent(1, 0, 1)]
    assert extents(entry, refs, 2 * SEGMENT_BYTES + 3) == [Extent(2, 3, 97)]
    assert extents(entry, refs, 5, 5) == []


def test_a_root_holds_a_small_manifest() -> None:
    made = make_root(SECRET, SMALL)
    assert make_root(SECRET, SMALL) == made
    assert make_root(bytes(32), SMALL).read_key != made.read_key
    root = open_root(memoryview(made.plaintext), made.read_key)
    assert root == Root(index=(), spill=(), encoded=SMALL.encode())
    assert read_manifest(root, root.encoded) == SMALL
    assert b"hello" not in made.plaintext


def test_a_root_points_to_a_large_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_INLINE_MANIFEST_BYTES", 1000)
    made = make_folder(100)
    encoded = made.encode()
    (part,) = spill_parts(encoded)
    assert part == encoded
    spill = (make_ref(9, len(encoded)),)
    root = open_root(*make_root(SECRET, made, spill))
    assert root.spill == spill
    assert root.index == index_of(spill, made.segments)
    assert read_manifest(root, encoded) == made
    assert spill_parts(SMALL.encode()) == []


def test_a_manifest_is_spilled_in_segments() -> None:
    encoded = bytes(2 * SEGMENT_BYTES + 5)
    parts = spill_parts(encoded)
    assert [len(part) for part in parts] == [SEGMENT_BYTES, SEGMENT_BYTES, 5]
    assert spill_parts(encoded[:MAX_INLINE_MANIFEST_BYTES]) == []


def test_a_manifest_that_does_not_fit_is_not_forced_into_a_root() -> None:
    large = Manifest(
        entries=tuple(Entry(path=b"%0250d" % number, kind=Kind.FOLDER) for number in range(4_200)),
    )
    with pytest.raises(LocalProtocolError, match="want 1 to 1048576 bytes"):
        make_root(SECRET, large)


def test_an_index_names_each_segment_once() -> None:
    one, two = make_ref(1), make_ref(2, 5)
    made = Manifest(entries=(Entry(path=b"a", kind=Kind.FOLDER),), segments=(two, one, two))
    root = make_root(SECRET, made)
    assert open_index(root.plaintext) == (
        IndexEntry(id=two.id, length=5),
        IndexEntry(id=one.id, length=SEGMENT_BYTES),
    )


def test_the_most_segments_fit_into_a_root() -> None:
    def index_bytes(count: int) -> int:
        entry = IndexEntry(id=SegmentId(bytes(32)), length=SEGMENT_BYTES)
        return len(codec.encode(manifest._Index(segments=(entry,) * count)))

    each = (index_bytes(1_000) - index_bytes(500)) / 500
    assert MAX_SEGMENTS * each + MAX_INLINE_MANIFEST_BYTES + 10_000 < SEGMENT_BYTES
    with pytest.raises(LocalProtocolError, match="at most 262144"):
        index_bytes(MAX_SEGMENTS + 1)


def test_another_read_key_does_not_open_a_root() -> None:
    with pytest.raises(IntegrityError, match="the read key is not that of the root"):
        open_root(make_root(SECRET, SMALL).plaintext, bytes(32))


@given(st.data())
def test_a_damaged_root_is_refused(data: st.DataObject) -> None:
    made = make_root(SECRET, Manifest(entries=SMALL.entries, segments=(make_ref(1), make_ref(2))))
    with pytest.raises((IntegrityError, RemoteProtocolError)):
        open_root(data.draw(damaged(made.plaintext)), made.read_key)


def forge(part: manifest._Part, index: bytes) -> tuple[bytes, bytes]:
    """A root whose author holds the keys and breaks the rules inside the seal."""
    key = seal.manifest_key(SECRET)
    sealed = seal.seal_parts(key, codec.encode(part))
    root = manifest._Root(version=1, index=index, commitment=seal.commitment(key), part=sealed)
    return codec.encode(root), SECRET


@pytest.mark.parametrize(
    "spill",
    [(), (make_ref(7),), (replace(make_ref(1), length=5),)],
    ids=["none", "not in the index", "of another length"],
)
def test_a_manifest_in_segments_that_the_index_does_not_name_is_refused(
    spill: tuple[SegmentRef, ...],
) -> None:
    index = index_of([make_ref(1)])
    payload = codec.encode(manifest._Spill(segments=spill))
    part = manifest._Part(index_hash=manifest.index_hash(index), where=1, payload=payload)
    with pytest.raises(RemoteProtocolError, match="the segments of the manifest are not in the index"):
        open_root(*forge(part, codec.encode(manifest._Index(segments=index))))


def test_an_author_cannot_show_verifiers_another_index() -> None:
    """The part commits to one index, and the manifest must give that very index."""
    index = index_of([make_ref(1)])
    encoded_index = codec.encode(manifest._Index(segments=index))
    other = manifest._Part(index_hash=bytes(32), where=0, payload=SMALL.encode())
    with pytest.raises(RemoteProtocolError, match="belongs to another index"):
        open_root(*forge(other, encoded_index))
    part = replace(other, index_hash=manifest.index_hash(index))
    root = open_root(*forge(part, encoded_index))
    with pytest.raises(RemoteProtocolError, match="names other segments"):
        read_manifest(root, root.encoded)


def test_files_that_all_lie_in_all_segments() -> None:
    """A small manifest must not stand for a square of work. Files that share nothing, or a little, are no matter."""
    refs = tuple(make_ref(1, length=1) for _ in range(20))
    folder = Entry(path=b"d", kind=Kind.FOLDER)

    def files(size: int) -> tuple[Entry, ...]:
        return (folder, *(Entry(path=b"d/%02d" % n, kind=Kind.FILE, size=size, segment=n) for n in range(10)))

    for size in (1, 2, 3):
        Manifest(entries=files(size), segments=refs).encode()
    with pytest.raises(LocalProtocolError, match="40 pieces: they share too many bytes"):
        Manifest(entries=files(4), segments=refs).encode()
