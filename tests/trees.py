"""Comparing files and folders."""

from pathlib import Path


def tree(path: Path) -> dict[str, tuple[object, ...]]:
    """All there is at and beneath ``path`` by relative path: kind, content, executable bit and time of everything, but
    for what a sync keeps there for itself."""
    places = [place for place in [path, *sorted(path.rglob("*"))] if ".archipel-sync" not in place.parts]
    return {str(place.relative_to(path.parent)): _fingerprint(place) for place in places}


def _fingerprint(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    if path.is_symlink():
        return "link", path.readlink(), found.st_mtime_ns
    if path.is_dir():
        return "folder", found.st_mtime_ns
    return "file", path.read_bytes(), bool(found.st_mode & 0o100), found.st_mtime_ns
