"""How the bytes of a deposit are cut into segments (docs/spec/storage.md section 6)."""

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass, replace

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


def lay_out(entries: MutableSequence[Entry], cuts: Iterable[Pieces], first: int = 0) -> None:
    """Have the entries say where their bytes begin. They are changed in place: there may be a million.

    Args:
        entries: Of files, and others, which stay as they are.
        cuts: The pieces of each segment, in order.
        first: The number of the first segment.
    """
    for segment, pieces in enumerate(cuts, first):
        offset = 0
        for piece in pieces:
            if piece.offset == 0:
                entries[piece.entry] = replace(entries[piece.entry], segment=segment, offset=offset)
            offset += piece.size
