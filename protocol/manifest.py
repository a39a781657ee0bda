"""Manifests and roots: what a deposit holds, and the two seals around it (docs/spec/storage.md section 5).

The root of a deposit holds an index, for whoever has the verify link, and the manifest, for whoever has the
read link. A manifest comes from a stranger: its size is bounded before it is read, and every path is checked
on the way in and out.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import Annotated, Any, NamedTuple, Self

from protocol import codec
from protocol.codec import Flag, Int, Raw, Seq, Struct, Uint
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import DIGEST_BYTES, Bytes, digest
from protocol.ids import ID_BYTES, SegmentId
from protocol.paths import MAX_PATH_BYTES, path_problem, target_problem
from protocol.seal import KEY_BYTES, commitment, manifest_key, open_parts, read_key, seal_parts
from protocol.segment import SEGMENT_BYTES

VERSION = 1
MAX_INLINE_BYTES = 65_536
MAX_INLINE_MANIFEST_BYTES = 1_048_576
MAX_MANIFEST_BYTES = 268_435_456
MAX_ENTRIES = 1_048_576
MAX_SEGMENTS = 262_144  # 40 bytes each in an index, which shares a root of 16 MiB with 1 MiB of manifest

_IN_ROOT, _IN_SEGMENTS = 0, 1


class Kind(IntEnum):
    """What an entry is."""

    FILE = 0
    FOLDER = 1
    SYMLINK = 2


class _KindShape:
    """A Kind, as its number."""

    def load(self, value: object) -> Kind:
        return Kind(Uint(len(Kind) - 1).load(value))

    def dump(self, value: Any) -> object:
        return int(Kind(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, folder or symbolic link of a deposit. Fields that its kind has no use for are zero or empty."""

    path: Annotated[bytes, Raw(1, MAX_PATH_BYTES)]
    """Relative, components separated by ``/``; the first is the name of the published file or folder."""
    kind: Annotated[Kind, _KindShape()]
    executable: Annotated[bool, Flag()] = False
    """Of a file."""
    mtime_ns: Annotated[int, Int()] = 0
    """Nanoseconds since 1970-01-01 UTC."""
    size: Annotated[int, Uint(2**63)] = 0
    """Bytes of a file."""
    segment: Annotated[int, Uint(2**32)] = 0
    """Which of the manifest's segments a file begins in; 0 when it is empty or inline."""
    offset: Annotated[int, Uint(SEGMENT_BYTES)] = 0
    """Where in that segment, or in the inline content, it begins; 0 when it is empty."""
    target: Annotated[bytes, Raw(0, MAX_PATH_BYTES)] = b""
    """Of a symbolic link. Never followed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRef:
    """A segment and the key that opens it."""

    id: Annotated[SegmentId, Raw(ID_BYTES)]
    length: Annotated[int, Uint(SEGMENT_BYTES)]
    """Plaintext bytes, 1 to 16,777,216."""
    key: Annotated[bytes, Raw(KEY_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A segment as the holder of a verify link knows it."""

    id: Annotated[SegmentId, Raw(ID_BYTES)]
    length: Annotated[int, Uint(SEGMENT_BYTES)]


Index = tuple[IndexEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    version: Annotated[int, Uint(255)]
    entries: Annotated[tuple[Entry, ...], Seq(Struct(Entry), MAX_ENTRIES)]
    segments: Annotated[tuple[SegmentRef, ...], Seq(Struct(SegmentRef), MAX_SEGMENTS)]
    inline: Annotated[bytes, Raw(0, MAX_INLINE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    version: Annotated[int, Uint(255)]
    index: Annotated[bytes, Raw(1, SEGMENT_BYTES)]
    commitment: Annotated[bytes, Raw(DIGEST_BYTES)]
    part: Annotated[bytes, Raw(1, SEGMENT_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    segments: Annotated[Index, Seq(Struct(IndexEntry), MAX_SEGMENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    index_hash: Annotated[bytes, Raw(DIGEST_BYTES)]
    where: Annotated[int, Uint(_IN_SEGMENTS)]
    payload: Annotated[bytes, Raw(1, MAX_INLINE_MANIFEST_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spill:
    segments: Annotated[tuple[SegmentRef, ...], Seq(Struct(SegmentRef), MAX_MANIFEST_BYTES // SEGMENT_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The table of contents of a deposit."""

    entries: tuple[Entry, ...]
    """At least one, in order of path."""
    segments: tuple[SegmentRef, ...] = ()
    """The stream, in order; a segment may stand in it more than once."""
    inline: bytes = b""
    """The stream of a small deposit, which then has no segments."""

    @property
    def content_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(entry.size for entry in self.entries)

    def encode(self) -> bytes:
        """The manifest's bytes.

        Raises:
            LocalProtocolError: An entry, path, target or extent breaks the rules, or there are too many.
        """
        try:
            check_entries(self)
        except ValueError as exc:
            raise LocalProtocolError(f"cannot make a manifest: {exc}") from exc
        data = codec.encode(
            _Manifest(version=VERSION, entries=self.entries, segments=self.segments, inline=self.inline)
        )
        if len(data) > MAX_MANIFEST_BYTES:
            raise LocalProtocolError(f"a manifest has at most {MAX_MANIFEST_BYTES} bytes, got {len(data)}")
        return data

    @classmethod
    def decode(cls, data: Bytes) -> Self:
        """Inverse of ``encode``.

        Raises:
            RemoteProtocolError: Malformed, too large, or it breaks the rules.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise RemoteProtocolError(f"a manifest has at most {MAX_MANIFEST_BYTES} bytes, got {len(data)}")
        fields = codec.decode(_Manifest, data)
        _check_version("manifest", fields.version)
        manifest = cls(entries=fields.entries, segments=fields.segments, inline=fields.inline)
        try:
            check_entries(manifest)
        except ValueError as exc:
            raise RemoteProtocolError(f"a manifest breaks the rules: {exc}") from exc
        return manifest


def _check_version(what: str, version: int) -> None:
    if version != VERSION:
        raise RemoteProtocolError(f"a {what} of version {version} is not known here")


def check_entries(manifest: Manifest) -> None:
    """Check every rule of docs/spec/storage.md section 5 that goes beyond the shape of single fields.

    Raises:
        ValueError: The message says which entry breaks which rule, by number: a path is private.
    """
    if not manifest.entries:
        raise ValueError("a deposit has at least one entry")
    if manifest.segments and manifest.inline:
        raise ValueError("content is either inline or in segments")
    if not all(ref.length for ref in manifest.segments):
        raise ValueError("a segment has at least 1 byte")
    lengths = [ref.length for ref in manifest.segments] or [len(manifest.inline)]
    starts = [0, *accumulate(lengths)]
    folders: set[bytes] = set()
    previous = b""
    for number, entry in enumerate(manifest.entries):
        parent = entry.path.rpartition(b"/")[0]
        problem = path_problem(entry.path)
        if problem is None and entry.path <= previous:
            problem = "it is a duplicate, or out of order"
        if problem is None and parent and parent not in folders:
            problem = "it stands in no folder"
        if problem is None:
            problem = _kind_problem(entry, starts)
        if problem is not None:
            raise ValueError(f"entry {number}: {problem}")
        previous = entry.path
        if entry.kind is Kind.FOLDER:
            folders.add(entry.path)
    _check_pieces(manifest.entries, starts)


def _check_pieces(entries: Sequence[Entry], starts: Sequence[int]) -> None:
    """Else a small manifest whose files all lie in all segments would keep a reader busy for ever."""
    pieces = 0
    for entry in entries:
        last = starts[entry.segment] + entry.offset + entry.size - 1
        pieces += bisect_right(starts, last, lo=entry.segment) - entry.segment if entry.size else 0
    if pieces > len(entries) + len(starts) - 1:
        raise ValueError(f"its files come to {pieces} pieces: they share too many bytes")


def _kind_problem(entry: Entry, starts: Sequence[int]) -> str | None:
    """What is wrong with an entry besides its path; ``starts`` is where each segment begins, and the end."""
    if entry.kind is not Kind.SYMLINK and entry.target:
        return "only a symbolic link has a target"
    if entry.kind is Kind.FILE:
        return _extent_problem(entry, starts)
    if entry.executable or entry.size or entry.segment or entry.offset:
        return "only a file has content"
    return target_problem(entry.path, entry.target) if entry.kind is Kind.SYMLINK else None


def _extent_problem(entry: Entry, starts: Sequence[int]) -> str | None:
    if not entry.size:
        return "an empty file begins nowhere" if entry.segment or entry.offset else None
    if entry.segment + 1 >= len(starts):
        return f"it begins in segment {entry.segment} of {len(starts) - 1}"
    begin = starts[entry.segment] + entry.offset
    if begin >= starts[entry.segment + 1] or begin + entry.size > starts[-1]:
        return f"its {entry.size} bytes do not lie in the content"
    return None


class Extent(NamedTuple):
    """Consecutive bytes of one segment."""

    segment: int
    """Index into the manifest's segments."""
    offset: int
    length: int


def extents(entry: Entry, segments: Sequence[SegmentRef], start: int = 0, stop: int | None = None) -> list[Extent]:
    """Where bytes ``start`` to ``stop`` (excluded; None or beyond: the end) of a file lie, in order.

    Only for a manifest with segments: see ``inline_content``.
    """
    stop = entry.size if stop is None else min(stop, entry.size)
    found = []
    skip, left = entry.offset + start, stop - start
    index = entry.segment
    while left > 0:
        length = segments[index].length
        if skip < length:
            part = min(left, length - skip)
            found.append(Extent(index, skip, part))
            left -= part
        skip = max(0, skip - length)
        index += 1
    return found


def inline_content(manifest: Manifest, entry: Entry, start: int = 0, stop: int | None = None) -> bytes:
    """Bytes ``start`` to ``stop`` of a file of a manifest without segments."""
    stop = entry.size if stop is None else min(stop, entry.size)
    return manifest.inline[entry.offset + start : entry.offset + max(start, stop)]


def index_of(*uses: Iterable[SegmentRef]) -> Index:
    """The distinct segments among ``uses``, in order of first use."""
    return tuple(dict.fromkeys(IndexEntry(id=ref.id, length=ref.length) for refs in uses for ref in refs))


def index_hash(index: Index) -> bytes:
    """What the manifest part says of the index."""
    return digest("index", b"".join(entry.id + entry.length.to_bytes(4, "big") for entry in index))


def spill_parts(encoded: bytes) -> list[memoryview]:
    """The segments' plaintexts of an encoded manifest too large for the root; none if it fits."""
    if len(encoded) <= MAX_INLINE_MANIFEST_BYTES:
        return []
    view = memoryview(encoded)
    return [view[start : start + SEGMENT_BYTES] for start in range(0, len(view), SEGMENT_BYTES)]


class NewRoot(NamedTuple):
    """A root about to be sealed, as any segment, under ``root_key(verify_key(read_key))``."""

    plaintext: bytes
    read_key: bytes


def make_root(secret: bytes, manifest: Manifest, spill: Sequence[SegmentRef] = ()) -> NewRoot:
    """Build the root of a deposit.

    Args:
        secret: The depositor's convergence secret: the same deposit gives the same root and read key.
        manifest: What it holds.
        spill: The segments that ``spill_parts`` of the encoded manifest were sealed in, if there were any.

    Raises:
        LocalProtocolError: The manifest breaks the rules, does not fit into the root and is not spilled, or
            names more than 262,144 segments.
    """
    segments = index_of(spill, manifest.segments)
    index = codec.encode(_Index(segments=segments))
    where = _IN_SEGMENTS if spill else _IN_ROOT
    payload = codec.encode(_Spill(segments=tuple(spill))) if spill else manifest.encode()
    part = codec.encode(_Part(index_hash=index_hash(segments), where=where, payload=payload))
    read = read_key(secret, index, part)
    key = manifest_key(read)
    root = _Root(version=VERSION, index=index, commitment=commitment(key), part=seal_parts(key, part))
    return NewRoot(codec.encode(root), read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """An opened root: what to fetch, and where the manifest is."""

    index: Index
    spill: tuple[SegmentRef, ...]
    """The segments whose plaintexts, joined, are the encoded manifest; none if the root itself holds it."""
    encoded: bytes
    """The encoded manifest, or nothing if it is in segments."""


def _decode_root(plaintext: Bytes) -> tuple[_Root, Index]:
    fields = codec.decode(_Root, plaintext)
    _check_version("root", fields.version)
    index = codec.decode(_Index, fields.index).segments
    if len({entry.id for entry in index}) != len(index) or not all(entry.length for entry in index):
        raise RemoteProtocolError("an index names a segment twice, or an empty one")
    return fields, index


def open_index(plaintext: Bytes) -> Index:
    """The index of a root, for the holder of a verify link.

    Raises:
        RemoteProtocolError: Not a root.
    """
    return _decode_root(plaintext)[1]


def open_root(plaintext: Bytes, read: bytes) -> Root:
    """Open a root with the read key. Nothing of the manifest itself is checked before ``read_manifest``.

    Args:
        plaintext: Of the root segment, at most 16 MiB.
        read: The read key.

    Raises:
        IntegrityError: The read key is not that of the manifest part.
        RemoteProtocolError: Not a root, or a manifest larger than 256 MiB.
    """
    fields, index = _decode_root(plaintext)
    key = manifest_key(read)
    if commitment(key) != fields.commitment:
        raise IntegrityError("the read key is not that of the root")
    part = codec.decode(_Part, open_parts(key, fields.part))
    if part.index_hash != index_hash(index):
        raise RemoteProtocolError("the manifest part belongs to another index")
    if part.where == _IN_ROOT:
        return Root(index=index, spill=(), encoded=part.payload)
    spill = codec.decode(_Spill, part.payload).segments
    if not spill or not set(index_of(spill)) <= set(index):
        raise RemoteProtocolError("the segments of the manifest are not in the index")
    return Root(index=index, spill=spill, encoded=b"")


def read_manifest(root: Root, encoded: Bytes) -> Manifest:
    """Decode the manifest of a root.

    Args:
        root: The opened root.
        encoded: ``root.encoded``, or the plaintexts of the ``root.spill`` segments, joined.

    Raises:
        RemoteProtocolError: Malformed, or it names other segments than the index.
    """
    manifest = Manifest.decode(encoded)
    if index_of(root.spill, manifest.segments) != root.index:
        raise RemoteProtocolError("the manifest names other segments than the index")
    return manifest
