"""How the bytes of a deposit are cut into segments (docs/spec/storage.md section 6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.manifest import Entry, Kind
from protocol.segment import SEGMENT_BYTES, block_hash

LARGE_FILE_BYTES = 1 << 20
"""A file this long shares no segment with another."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of one file's bytes inside a segment."""

    entry: int
    """Index into the source's entries."""
    offset: int
    """Where it begins in the file."""
    size: int


Pieces = tuple[Piece, ...]


def cut(entries: Sequence[Entry]) -> Iterator[Pieces]:
    """The pieces of each segment, in order. Depends on paths and sizes alone, so that the same tree is cut alike."""
    pack: list[Piece] = []
    packed = 0
    for index, entry in enumerate(entries):
        if entry.kind is not Kind.FILE or entry.size == 0:
            continue
        large = entry.size >= LARGE_FILE_BYTES
        if pack and (large or packed + entry.size > SEGMENT_BYTES):
            yield tuple(pack)
            pack, packed = [], 0
        if large:
            for offset in range(0, entry.size, SEGMENT_BYTES):
                yield (Piece(index, offset, min(SEGMENT_BYTES, entry.size - offset)),)
            continue
        pack.append(Piece(index, 0, entry.size))
        packed += entry.size
        # A cut that depends on the path alone: one inserted file changes one pack, not all that follow.
        if packed >= LARGE_FILE_BYTES and block_hash(entry.path)[0] == 0:
            yield tuple(pack)
            pack, packed = [], 0
    if pack:
        yield tuple(pack)
