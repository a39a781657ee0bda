"""The files and folders to publish, as they lie on this machine."""

import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.errors import ConfigError, MachineError, machine_error
from protocol.manifest import Kind
from protocol.paths import path_problem, target_problem

_STAMP = struct.Struct("=QQqqq")
_U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One file, folder or symbolic link."""

    path: bytes
    """Its path in the deposit; the first component is the name of what was published."""
    kind: Kind
    executable: bool = False
    mtime_ns: int = 0
    size: int = 0
    target: bytes = b""
    location: bytes = b""
    """Its path on this machine."""
    stamp: bytes = b""
    """What identifies its state. Packed, for there may be a million: as numbers it would take three times as much."""


@dataclass(frozen=True, slots=True)
class Source:
    """Everything one publish covers, sorted by path."""

    entries: tuple[SourceEntry, ...]
    skipped: tuple[str, ...]
    """What cannot be published, each with its reason."""

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


def scan(paths: Sequence[Path]) -> Source:
    """List what ``paths`` hold, without following a symbolic link except one that is itself named.

    Raises:
        ConfigError: A path has no name, or two have the same one.
        MachineError: A path does not exist or cannot be read.
    """
    entries: list[SourceEntry] = []
    skipped: list[str] = []
    names: set[bytes] = set()
    for path in paths:
        name = os.fsencode(_name(path))
        if name in names:
            raise ConfigError(
                f"two of the paths are called {os.fsdecode(name)!r}",
                hint="publish the folder they are in, or rename one",
            )
        names.add(name)
        location = os.fsencode(os.path.realpath(path))
        try:
            found = os.stat(location)
        except OSError as exc:
            raise machine_error("read", exc) from exc
        for entry in _walk(location, name, found):
            if isinstance(entry, str):
                skipped.append(entry)
            else:
                entries.append(entry)
    if not entries:
        raise MachineError(f"nothing to publish: {'; '.join(skipped)}")
    return Source(tuple(sorted(entries, key=lambda entry: entry.path)), tuple(skipped))


def _name(path: Path) -> str:
    name = Path(os.path.abspath(path)).name  # not resolve(): a link keeps its own name
    if not name:
        raise ConfigError(f"{str(path)!r} has no name to publish it under")
    return name


def _walk(location: bytes, path: bytes, found: os.stat_result) -> Iterator[SourceEntry | str]:
    """The entry at ``location`` and, for a folder, all beneath it; text for what is skipped."""
    if not stat.S_ISDIR(found.st_mode):
        yield _entry(location, path, found)
        return
    stack = [(location, path, found)]
    while stack:
        folder, folder_path, folder_stat = stack.pop()
        if (problem := path_problem(folder_path)) is not None:
            yield f"{os.fsdecode(folder_path)}: {problem}"
            continue
        yield SourceEntry(folder_path, Kind.FOLDER, mtime_ns=folder_stat.st_mtime_ns, location=folder)
        try:
            with os.scandir(folder) as listing:
                children = [(child.path, child.name, child.stat(follow_symlinks=False)) for child in listing]
        except OSError as exc:
            raise machine_error("read", exc) from exc
        for child_location, child_name, child_stat in children:
            child_path = folder_path + b"/" + child_name
            if stat.S_ISDIR(child_stat.st_mode):
                stack.append((child_location, child_path, child_stat))
            else:
                yield _entry(child_location, child_path, child_stat)


def _entry(location: bytes, path: bytes, found: os.stat_result) -> SourceEntry | str:
    shown = os.fsdecode(path)
    if (problem := path_problem(path)) is not None:
        return f"{shown}: {problem}"
    if stat.S_ISREG(found.st_mode):
        return SourceEntry(
            path,
            Kind.FILE,
            bool(found.st_mode & 0o100),
            found.st_mtime_ns,
            found.st_size,
            location=location,
            stamp=stamp(found),
        )
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(location)
        if target_problem(path, target) is not None:
            return f"{shown}: a symbolic link that leads out of the folder"
        return SourceEntry(path, Kind.SYMLINK, mtime_ns=found.st_mtime_ns, target=target, location=location)
    return f"{shown}: neither a file, a folder nor a symbolic link"


def stamp(found: os.stat_result) -> bytes:
    """What identifies the state of a file: which one it is, its size and times."""
    where = found.st_dev & _U64, found.st_ino & _U64
    return _STAMP.pack(*where, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read_into(entry: SourceEntry, offset: int, target: memoryview) -> None:
    """Fill ``target`` from a file at ``offset``. Blocks: call it in a worker thread.

    Raises:
        MachineError: It cannot be read, or is not the file that was scanned any more.
    """
    try:
        handle = os.open(entry.location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _changed(entry, "it is gone") from None
    except OSError as exc:
        raise machine_error("read", exc) from exc
    try:
        if stamp(os.fstat(handle)) != entry.stamp:
            raise _changed(entry, "it was written to")
        done = 0
        while done < len(target):
            count = os.preadv(handle, [target[done:]], offset + done)
            if count == 0:
                raise _changed(entry, "it became shorter")
            done += count
        if stamp(os.fstat(handle)) != entry.stamp:
            raise _changed(entry, "it was written to")
    except OSError as exc:
        raise machine_error("read", exc) from exc
    finally:
        os.close(handle)


def _changed(entry: SourceEntry, how: str) -> MachineError:
    return MachineError(
        f"{os.fsdecode(entry.location)!r} changed while it was being published: {how}",
        hint="publish again once nothing writes to it; what is already stored is not sent twice",
    )
