"""A manifest by its paths: one entry, what is in a folder, and where a symbolic link leads. Pure.

Nothing is built beside the manifest: its entries stand in order of their paths, and there may be a million.
"""

from bisect import bisect_left
from collections.abc import Iterator

from protocol.manifest import Entry, Kind, Manifest

MAX_LINKS = 8
"""Symbolic links that lead to each other before they are held to go round in a circle."""

_AFTER_SLASH = b"0"
"""The byte after ``/``: what is in a folder comes before the folder's path and this."""


def find(manifest: Manifest, path: bytes) -> int | None:
    """The index of the entry at a path; None: there is none."""
    position = _first(manifest, path)
    if position < len(manifest.entries) and manifest.entries[position].path == path:
        return position
    return None


def children(manifest: Manifest, folder: bytes) -> Iterator[int]:
    """The indices of what is in a folder itself, in order; of the deposit, if ``folder`` is empty."""
    prefix = folder + b"/" if folder else b""
    position = _first(manifest, prefix)
    while position < len(manifest.entries):
        path = manifest.entries[position].path
        if not path.startswith(prefix):
            return
        name, deeper, _ = path[len(prefix) :].partition(b"/")
        if deeper:
            position = _first(manifest, prefix + name + _AFTER_SLASH, position)
        else:
            yield position
            position += 1


def file_at(manifest: Manifest, index: int) -> int | None:
    """The entry itself if it is a file, or the file of the deposit that it leads to as a symbolic link; None: neither.

    Links in the middle of a target are not followed: whoever walks through folders would come to no end in some.
    """
    for _ in range(MAX_LINKS):
        entry = manifest.entries[index]
        if entry.kind is Kind.FILE:
            return index
        target = _target(entry) if entry.kind is Kind.SYMLINK else None
        found = find(manifest, target) if target else None
        if found is None:
            return None
        index = found
    return None


def only_file(manifest: Manifest) -> int | None:
    """The one file of a deposit that is one file; None: there is more, or it is none."""
    return 0 if len(manifest.entries) == 1 and manifest.entries[0].kind is Kind.FILE else None


def _target(entry: Entry) -> bytes:
    """The path that a symbolic link names; the manifest's rules keep it inside the deposit."""
    steps = entry.path.split(b"/")[:-1]
    for step in entry.target.split(b"/"):
        if step == b"..":
            steps = steps[:-1]
        elif step not in (b"", b"."):
            steps.append(step)
    return b"/".join(steps)


def _first(manifest: Manifest, path: bytes, low: int = 0) -> int:
    return bisect_left(manifest.entries, path, lo=low, key=_path_of)


def _path_of(entry: Entry) -> bytes:
    return entry.path
