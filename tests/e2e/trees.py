"""Files and folders to publish, and what they look like, to compare with what was fetched."""

import hashlib
import os
import random
import stat
from pathlib import Path

Snapshot = dict[bytes, tuple[str, bool, int, bytes]]
"""path below the top ("" for the top itself) -> kind, executable, mtime ns, content digest or link target."""

LONG_AGO = 1_000_000_000_123_456_789
"""A time with nanoseconds that no clock of today gives."""


def random_bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def snapshot(top: Path) -> Snapshot:
    """Everything that a deposit keeps of ``top``."""
    root = os.fsencode(top)
    found: Snapshot = {b"": _entry(root)}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            place = os.path.join(folder, name)
            found[os.path.relpath(place, root)] = _entry(place)
    return found


def _entry(place: bytes) -> tuple[str, bool, int, bytes]:
    status = os.lstat(place)
    if stat.S_ISLNK(status.st_mode):
        return "symlink", False, status.st_mtime_ns, os.readlink(place)
    if stat.S_ISDIR(status.st_mode):
        return "folder", False, status.st_mtime_ns, b""
    with open(place, "rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    return "file", bool(status.st_mode & 0o100), status.st_mtime_ns, content


def write(place: Path | bytes, content: bytes, *, mode: int = 0o644, mtime_ns: int = LONG_AGO) -> None:
    """A file, with the folders it needs."""
    os.makedirs(os.path.dirname(os.fsencode(place)), exist_ok=True)
    with open(place, "wb") as file:
        file.write(content)
    os.chmod(place, mode)
    os.utime(place, ns=(mtime_ns, mtime_ns))


def make_island(top: Path) -> None:
    """One of every kind of thing that can be published."""
    root = os.fsencode(top)
    write(top / "readme.txt", b"an island\n")
    write(top / "empty", b"")
    write(top / "run me.sh", b"#!/bin/sh\n", mode=0o755)
    write(top / "large.bin", random_bytes(1, 3_000_000))
    write(top / "exactly-one-block", random_bytes(2, 131_072))
    write(top / "Übersee" / "日本語" / "naïve 🌋.txt", b"unicode\n")
    write(root + b"/not-utf8-\xe9\xff", b"latin-1\n")
    write(root + b"/line one\nline two", b"a newline in the name\n")
    write(top / " leading space", b"space\n")
    write(top / "-o", b"looks like an option\n")
    for number in range(40):
        write(top / "many" / f"{number % 7}" / f"file-{number:03}", random_bytes(number, number * 97))
    (top / "empty folder" / "in" / "it").mkdir(parents=True)
    (top / "link to a file").symlink_to("readme.txt")
    (top / "Übersee" / "link up").symlink_to("../many/0/file-000")
    (top / "link to a folder").symlink_to("many")
    (top / "dangling").symlink_to("not/there")
    for place, folders, files in os.walk(root, topdown=False):
        for name in folders + files:
            path = os.path.join(place, name)
            moment = LONG_AGO + len(path) * 1_000_000_007
            os.utime(path, ns=(moment, moment), follow_symlinks=False)
    os.utime(root, ns=(LONG_AGO, LONG_AGO))
