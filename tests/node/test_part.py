"""Which segments a part of a deposit keeps, and that it comes out whole (node/sharing/part.py)."""

from collections.abc import Sequence
from itertools import accumulate
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from node.errors import ConfigError, IntegrityFailure, NotFoundError
from node.publishing.stream import cut, lay_out
from node.sharing import part as part_module
from node.sharing.part import Part, choose_part, find_part
from protocol.ids import SegmentId
from protocol.manifest import Entry, Kind, Manifest, SegmentRef, check_entries, extents
from protocol.segment import SEGMENT_BYTES

MIB = 1 << 20
Byte = tuple[int, int]
"""A byte of the whole deposit's stream: which segment it is in, and where."""


def refs(lengths: Sequence[int]) -> tuple[SegmentRef, ...]:
    """Segments whose ids and keys are their numbers."""
    names = [number.to_bytes(32, "big") for number in range(len(lengths))]
    return tuple(
        SegmentRef(id=SegmentId(name), length=size, key=name) for name, size in zip(names, lengths, strict=True)
    )


@st.composite
def paths(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """Paths of a tree in order, each with whether it is a folder."""
    found: dict[bytes, bool] = {b"top": True}
    for _ in range(draw(st.integers(1, 14))):
        folder = draw(st.sampled_from(sorted(path for path, is_folder in found.items() if is_folder)))
        name = draw(st.sampled_from((b"a", b"a-", b"b", b"c.d", b"e")))
        found.setdefault(folder + b"/" + name, draw(st.booleans()))
    return sorted(found.items())


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Files one behind another, as a publish lays them, or anywhere, sharing bytes and leaving gaps."""
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    starts = [0, *accumulate(lengths)]
    packed, position = draw(st.booleans()), 0
    entries = []
    for number, (path, is_folder) in enumerate(draw(paths())):
        if is_folder:
            entries.append(Entry(path=path, kind=Kind.FOLDER, mtime_ns=number))
            continue
        if not packed:
            position = draw(st.integers(0, starts[-1]))
        size = draw(st.integers(0, min(12, starts[-1] - position)))
        segment = max(i for i, start in enumerate(starts[:-1]) if start <= position) if size else 0
        offset = position - starts[segment] if size else 0
        entries.append(Entry(path=path, kind=Kind.FILE, mtime_ns=number, size=size, segment=segment, offset=offset))
        position += size
    manifest = Manifest(entries=tuple(entries), segments=refs(lengths))
    try:
        check_entries(manifest)
    except ValueError:
        assume(False)
    return manifest


def bytes_of(manifest: Manifest, entry: Entry) -> list[Byte]:
    return [(x.segment, x.offset + i) for x in extents(entry, manifest.segments) for i in range(x.length)]


def shared_bytes(whole: Manifest, part: Part) -> dict[bytes, list[Byte]]:
    """Every file of the part, read by way of its own manifest."""
    plaintexts = [[(int.from_bytes(ref.id, "big"), i) for i in range(ref.length)] for ref in part.kept]
    for pieces in part.packs:
        runs = [bytes_of(whole, whole.entries[number])[start:stop] for number, start, stop in part.wanted(pieces)]
        plaintexts.append([byte for run in runs for byte in run])
    manifest = Manifest(entries=part.entries, segments=refs([len(plaintext) for plaintext in plaintexts]))
    manifest.encode()
    return {
        entry.path: [plaintexts[segment][offset] for segment, offset in bytes_of(manifest, entry)]
        for entry in part.entries
        if entry.kind is Kind.FILE
    }


@given(manifests(), st.data())
def test_a_part_is_whole_and_opens_nothing_else(whole: Manifest, data: st.DataObject) -> None:
    """However the files lie: a kept segment has no byte that is not the part's; every file has just its bytes."""
    shared = data.draw(st.sampled_from([entry.path for entry in whole.entries]))
    inside = [entry for entry in whole.entries if entry.path == shared or entry.path.startswith(shared + b"/")]
    assume(len(inside) < len(whole.entries))
    with mock.patch.object(part_module, "MAX_INLINE_BYTES", -1):
        try:
            part = choose_part(whole, shared)
        except IntegrityFailure:
            assume(False)
    own = {byte for entry in inside for byte in bytes_of(whole, entry)}
    kept = {int.from_bytes(ref.key, "big") for ref in part.kept}
    for segment in kept:
        assert {(segment, i) for i in range(whole.segments[segment].length)} <= own
    strip = len(shared) - len(shared.split(b"/")[-1])
    files = {entry.path[strip:]: bytes_of(whole, entry) for entry in inside if entry.kind is Kind.FILE}
    assert shared_bytes(whole, part) == files
    assert [(e.path, e.mtime_ns) for e in part.entries] == [(e.path[strip:], e.mtime_ns) for e in inside]
    assert part.content_bytes == sum(entry.size for entry in inside)
    sealed = {part.origins[piece.entry] for pieces in part.packs for piece in pieces}
    for number in sealed:  # and nothing is sealed anew that need not be
        lies_in = {segment for segment, _ in bytes_of(whole, whole.entries[number])}
        assert any((i, at) not in own for i in lies_in for at in range(whole.segments[i].length))


def published(sizes: dict[bytes, int]) -> Manifest:
    """What a publish makes of files of these sizes, in a folder and its subfolders."""
    folders = {b"/".join(path.split(b"/")[:depth]) for path in sizes for depth in range(1, path.count(b"/") + 1)}
    entries = [Entry(path=path, kind=Kind.FOLDER) for path in folders]
    entries += [Entry(path=path, kind=Kind.FILE, size=size) for path, size in sizes.items()]
    entries.sort(key=lambda entry: entry.path)
    cuts = list(cut(entries))
    lay_out(entries, cuts)
    manifest = Manifest(entries=tuple(entries), segments=refs([sum(piece.size for piece in cut) for cut in cuts]))
    manifest.encode()
    return manifest


ALBUM = published(
    {
        b"album/a/note": 1000,
        b"album/b/film": SEGMENT_BYTES + 5,
        b"album/b/near": 300_000,
        b"album/b/note": 70_000,
        b"album/c/note": 100_000,
        b"album/d/one": 100_000,
        b"album/d/two": MIB,
        b"album/e/film": MIB,
        b"album/e/note": 2_000,
    }
)


def sealed_sizes(part: Part) -> list[int]:
    return [sum(piece.size for piece in pieces) for pieces in part.packs]


def test_a_large_file_is_kept_and_nothing_is_sealed() -> None:
    part = choose_part(ALBUM, b"album/b/film")
    assert part.kept == ALBUM.segments[1:3]
    assert part.packs == ()
    (entry,) = part.entries
    assert (entry.path, entry.segment, entry.offset) == (b"film", 0, 0)


def test_a_folder_keeps_its_large_files_and_seals_what_lies_in_a_pack_with_others() -> None:
    part = choose_part(ALBUM, b"/album/b/")
    assert part.kept == ALBUM.segments[1:3]
    assert sealed_sizes(part) == [370_000]
    assert [(entry.path, entry.segment, entry.offset) for entry in part.entries] == [
        (b"b", 0, 0),
        (b"b/film", 0, 0),
        (b"b/near", 2, 0),
        (b"b/note", 2, 300_000),
    ]


def test_a_pack_ends_where_a_kept_file_stands() -> None:
    """Who reads the files in order needs no segment twice."""
    whole = published({b"r/%d/%d" % (folder, file): 100_000 for folder in range(3) for file in range(2)})
    gap = published({b"r/a": 90_000, b"r/s/a": 90_000, b"r/s/film": MIB, b"r/s/z": 90_000, b"r/z": 90_000})
    assert sealed_sizes(choose_part(whole, b"r/1")) == [200_000]
    part = choose_part(gap, b"r/s")
    assert len(part.kept) == 1
    assert sealed_sizes(part) == [90_000, 90_000]


def test_what_is_short_lives_in_the_manifest() -> None:
    for path, size in ((b"album/e/note", 2_000), (b"album/a", 1000)):
        part = choose_part(ALBUM, path)
        assert part.inline
        assert part.kept == ()
        assert sealed_sizes(part) == [size]


def test_a_part_of_an_inline_deposit() -> None:
    entries = (
        Entry(path=b"r", kind=Kind.FOLDER),
        Entry(path=b"r/a", kind=Kind.FILE, size=3),
        Entry(path=b"r/b", kind=Kind.FILE, size=2, offset=3),
        Entry(path=b"r/empty", kind=Kind.FOLDER),
    )
    whole = Manifest(entries=entries, inline=b"aaabb")
    part = choose_part(whole, b"r/b")
    assert (part.entries, part.inline) == ((Entry(path=b"b", kind=Kind.FILE, size=2),), True)
    assert [part.wanted(pieces) for pieces in part.packs] == [[(2, 0, 2)]]
    empty = choose_part(whole, b"r/empty")
    assert (empty.entries, empty.packs) == ((Entry(path=b"empty", kind=Kind.FOLDER),), ())


def test_links_that_lead_out_are_left_out() -> None:
    entries = (
        Entry(path=b"r", kind=Kind.FOLDER),
        Entry(path=b"r/far", kind=Kind.SYMLINK, target=b"s"),
        Entry(path=b"r/s", kind=Kind.FOLDER),
        Entry(path=b"r/s/in", kind=Kind.SYMLINK, target=b"file"),
        Entry(path=b"r/s/out", kind=Kind.SYMLINK, target=b"../secret name"),
    )
    whole = Manifest(entries=entries)
    part = choose_part(whole, b"r/s")
    assert [entry.path for entry in part.entries] == [b"s", b"s/in"]
    assert part.skipped == ("s/out: a symbolic link that leads out of what is shared",)
    with pytest.raises(ConfigError, match="this is a symbolic link"):
        choose_part(whole, b"r/far")


def test_what_makes_no_sense() -> None:
    for path in (None, b"", b"/", b"album", b"album/"):
        with pytest.raises(ConfigError, match="all of the deposit"):
            choose_part(ALBUM, path)
    for path in (b"album/b/fil", b"film", b"album//b", b"../album"):
        with pytest.raises(NotFoundError, match="no such path"):
            choose_part(ALBUM, path)


def test_a_part_that_shares_too_many_bytes() -> None:
    """The rule that bounds a reader's work holds for the whole, thanks to what is not shared."""
    lengths = [40_000] * 3
    many = [Entry(path=b"r/a%02d" % i, kind=Kind.FOLDER) for i in range(10)]
    entries = (
        Entry(path=b"r", kind=Kind.FOLDER),
        *many,
        Entry(path=b"r/s", kind=Kind.FOLDER),
        *(Entry(path=b"r/s/%d" % i, kind=Kind.FILE, size=120_000) for i in range(4)),
    )
    whole = Manifest(entries=entries, segments=refs(lengths))
    check_entries(whole)
    with pytest.raises(IntegrityFailure, match="share too many bytes"):
        choose_part(whole, b"r/s")


def test_a_part_is_called_with_or_without_the_folder_that_has_all() -> None:
    def manifest(*paths: bytes) -> Manifest:
        return Manifest(entries=tuple(Entry(path=path, kind=Kind.FOLDER) for path in paths))

    photos = manifest(b"photos", b"photos/2028", b"photos/2028/best", b"photos/photos")
    assert find_part(photos, b"2028") == b"photos/2028"
    assert find_part(photos, b"2028/best") == b"photos/2028/best"
    assert find_part(photos, b"photos/2028") == b"photos/2028"
    assert find_part(photos, b"photos") == b"photos/photos", "all of it is no part of it"
    assert find_part(manifest(b"photos", b"photos/2028"), b"photos") == b"photos", "and is told to be all of it later"
    several = manifest(b"films", b"films/2028", b"photos")
    assert find_part(several, b"films") == b"films"
    for where, path in ((several, b"2028"), (photos, b"2029"), (photos, b"2028/b")):
        with pytest.raises(NotFoundError, match="no such path"):
            find_part(where, path)
