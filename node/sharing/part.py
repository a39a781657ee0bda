"""Which segments a part of a deposit keeps, and which of its bytes are sealed anew.

Pure; the rules stand in docs/spec/storage.md section 6, "Sharing a part". A segment's key opens all of it: so a segment
is kept only when every byte of it belongs to the part.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from node.errors import ConfigError, IntegrityFailure
from node.fetching.reader import Wanted, select
from node.publishing.stream import Pieces, cut, lay_out
from protocol.ids import ID_BYTES, SegmentId
from protocol.manifest import MAX_INLINE_BYTES, Entry, Kind, Manifest, SegmentRef, check_entries, extents
from protocol.paths import target_problem
from protocol.seal import KEY_BYTES


@dataclass(frozen=True, slots=True)
class Part:
    """A file or folder of a deposit, laid out as a deposit of its own."""

    entries: tuple[Entry, ...]
    """The shared file or folder comes first, under its own name."""
    kept: tuple[SegmentRef, ...]
    """Segments it refers to as they are; its stream begins with them."""
    packs: tuple[Pieces, ...]
    """What is sealed anew, one segment after another: pieces of ``entries``."""
    inline: bool
    """Whether it is all in the manifest: then there is one pack at most."""
    origins: Sequence[int]
    """For each of the entries, which one it is of the whole deposit's."""
    skipped: tuple[str, ...]
    """What cannot be shared, each with its reason."""

    @property
    def content_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(entry.size for entry in self.entries)

    def wanted(self, pieces: Pieces) -> list[Wanted]:
        """The runs of files of the whole deposit that a pack is made of."""
        return [(self.origins[piece.entry], piece.offset, piece.offset + piece.size) for piece in pieces]


def find_part(manifest: Manifest, rest: bytes) -> bytes:
    """The path of what somebody calls ``rest``: that is it, or it goes on from the one folder in which all of it lies.

    As a rule a deposit is one folder, which has in the drive the name that it has in the deposit.

    Raises:
        NotFoundError: There is no such path.
    """
    paths = {entry.path for entry in manifest.entries}
    top = {path.partition(b"/")[0] for path in paths}
    for path in (rest, *(b"%b/%b" % (folder, rest) for folder in top if len(top) == 1)):
        if path in paths and {path} != top:
            return path
    select(manifest, rest)
    return rest


def choose_part(manifest: Manifest, path: bytes | None) -> Part:
    """Lay out what is at and beneath ``path``.

    Args:
        manifest: Of the whole deposit.
        path: Of a file or folder in it; None: nothing in particular.

    Raises:
        ConfigError: It is all of the deposit, or a symbolic link.
        NotFoundError: There is no such path.
        IntegrityFailure: Too many of its files share bytes.
    """
    wanted = (path or b"").strip(b"/")
    chosen = select(manifest, wanted) if wanted else range(len(manifest.entries))
    if len(chosen) == len(manifest.entries):
        raise ConfigError(
            "this is all of the deposit: its own link opens just that",
            hint="pass that link on, or name a file or folder in it, as archipel ls LINK shows them",
        )
    if manifest.entries[chosen[0]].kind is Kind.SYMLINK:
        raise ConfigError("this is a symbolic link, which has no content", hint="share what it points to")
    entries, origins, skipped = _renamed(manifest, chosen, len(wanted) - len(wanted.rpartition(b"/")[2]))
    inline = sum(entry.size for entry in entries) <= MAX_INLINE_BYTES
    own = set() if inline else set(_own_segments(manifest, origins))
    kept = [_is_kept(manifest, origin, own) for origin in origins]
    positions = sorted(
        {i for origin, stays in zip(origins, kept, strict=True) if stays for i in _positions(manifest, origin)}
    )
    place = {position: number for number, position in enumerate(positions)}
    for number in (number for number, stays in enumerate(kept) if stays):
        entries[number] = replace(entries[number], segment=place[entries[number].segment])
    packs = tuple(_packs(entries, kept))
    lay_out(entries, packs, len(positions))
    part = Part(tuple(entries), tuple(manifest.segments[i] for i in positions), packs, inline, origins, tuple(skipped))
    _check(part)
    return part


def _renamed(manifest: Manifest, chosen: Sequence[int], strip: int) -> tuple[list[Entry], list[int], list[str]]:
    """The chosen entries without the first ``strip`` bytes of their paths, where they were, and who is left out."""
    entries: list[Entry] = []
    origins: list[int] = []
    skipped: list[str] = []
    for number in chosen:
        entry = manifest.entries[number]
        path = entry.path[strip:]
        if entry.kind is Kind.SYMLINK and target_problem(path, entry.target) is not None:
            skipped.append(f"{os.fsdecode(path)}: a symbolic link that leads out of what is shared")
            continue
        entries.append(replace(entry, path=path))
        origins.append(number)
    return entries, origins, skipped


def _own_segments(manifest: Manifest, chosen: Sequence[int]) -> Iterator[int]:
    """Which of the manifest's segments the chosen files fill to the last byte."""
    filled: dict[int, list[tuple[int, int]]] = {}
    for number in chosen:
        for extent in extents(manifest.entries[number], manifest.segments):
            spans = filled.setdefault(extent.segment, [])
            end = extent.offset + extent.length
            if spans and spans[-1][1] == extent.offset:  # as a rule: one span is all there is to a segment
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((extent.offset, end))
    for position, spans in filled.items():
        if _fills(spans, manifest.segments[position].length):
            yield position


def _fills(spans: list[tuple[int, int]], length: int) -> bool:
    end = 0
    for start, stop in sorted(spans):
        if start > end:
            return False
        end = max(end, stop)
    return end == length


def _positions(manifest: Manifest, number: int) -> Iterator[int]:
    """Which segments a file lies in: one after another."""
    return (extent.segment for extent in extents(manifest.entries[number], manifest.segments))


def _is_kept(manifest: Manifest, number: int, own: set[int]) -> bool:
    """Whether a file lies in segments of the part's own alone."""
    return bool(own) and manifest.entries[number].size > 0 and all(i in own for i in _positions(manifest, number))


def _packs(entries: list[Entry], kept: list[bool]) -> Iterator[Pieces]:
    """The pieces of the files that are sealed anew. A kept file ends a pack: who reads in order reads each once."""
    for stays, group in groupby(range(len(entries)), key=kept.__getitem__):
        if not stays:
            numbers = list(group)
            for pieces in cut(entries[numbers[0] : numbers[-1] + 1]):
                yield tuple(replace(piece, entry=piece.entry + numbers[0]) for piece in pieces)


def _check(part: Part) -> None:
    """A deposit that keeps the rules may have a part that does not: where files share bytes.

    Raises:
        IntegrityFailure: The part breaks a rule.
    """
    sizes = [ref.length for ref in part.kept] + [sum(piece.size for piece in pieces) for pieces in part.packs]
    refs = [SegmentRef(id=SegmentId(bytes(ID_BYTES)), length=size, key=bytes(KEY_BYTES)) for size in sizes]
    inline = bytes(sum(sizes)) if part.inline else b""
    try:
        check_entries(Manifest(entries=part.entries, segments=() if part.inline else tuple(refs), inline=inline))
    except ValueError as exc:
        raise IntegrityFailure(f"this part cannot be a deposit of its own: {exc}") from exc
