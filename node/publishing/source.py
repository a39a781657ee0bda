"""The files and folders to publish, as they lie on this machine."""

import heapq
import os
import stat
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import ConfigError, MachineError, machine_error, reason
from protocol.manifest import Entry, Kind
from protocol.paths import path_problem, target_problem


class ChangedError(MachineError):
    """A file is not as it was listed: something writes to it, or has removed it."""

    def __init__(self, path: bytes, location: bytes, how: str) -> None:
        super().__init__(
            f"{os.fsdecode(location)!r} changed while it was being published: {how}",
            hint="publish again once nothing writes to it; what is already stored is not sent twice",
        )
        self.path = path
        """Of its entry."""


@dataclass(frozen=True, slots=True)
class Source:
    """Everything one publish covers. There may be a million files: what is kept of each counts."""

    tops: dict[bytes, bytes]
    """Name of each file or folder that is published -> where it lies on this machine."""
    entries: list[Entry] = field(default_factory=list)
    """In order of path; where their bytes go is not known yet."""
    stamps: "array[int]" = field(default_factory=lambda: array("q"))
    """The state of each entry's file when it was listed (see :func:`stamp`)."""
    skipped: list[str] = field(default_factory=list)
    """What cannot be published, each with its reason."""
    skipped_paths: list[bytes] = field(default_factory=list)
    """The same, as paths."""
    left_out: bytes = b""
    """A name that is passed over at every depth, with what is beneath it."""
    places: dict[bytes, bytes] = field(default_factory=dict)
    """Path of an entry that lies elsewhere on this machine -> where."""
    begins: dict[bytes, int] = field(default_factory=dict)
    """Path of an entry whose bytes do not begin where its file does -> where they do."""
    device: int | None = None
    """The file system it must not leave; None: it may."""

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    def location(self, path: bytes) -> bytes:
        """Where an entry lies on this machine."""
        if path in self.places:
            return self.places[path]
        top, slash, rest = path.partition(b"/")
        return self.tops[top] + slash + rest

    def skip(self, path: bytes, why: str) -> None:
        """Note that something cannot be published."""
        self.skipped.append(f"{os.fsdecode(path)}: {why}")
        self.skipped_paths.append(path)

    def read_into(self, number: int, offset: int, target: memoryview) -> None:
        """Fill ``target`` from the file of entry ``number``, at ``offset``. Blocks: call it in a worker thread.

        Raises:
            MachineError: It cannot be read.
            ChangedError: It is not the file that was listed any more.
        """
        path, listed = self.entries[number].path, self.stamps[number]
        location = self.location(path)
        offset += self.begins.get(path, 0)
        try:
            handle = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise ChangedError(path, location, "it is gone") from None
        except OSError as exc:
            raise machine_error("read", exc) from exc
        try:
            if stamp(os.fstat(handle)) != listed:
                raise ChangedError(path, location, "it was written to")
            done = 0
            while done < len(target):
                count = os.preadv(handle, [target[done:]], offset + done)
                if count == 0:
                    raise ChangedError(path, location, "it became shorter")
                done += count
            if stamp(os.fstat(handle)) != listed:
                raise ChangedError(path, location, "it was written to")
        except OSError as exc:
            raise machine_error("read", exc) from exc
        finally:
            os.close(handle)


def scan(paths: Sequence[Path]) -> Source:
    """List what ``paths`` hold, without following a symbolic link except one that is itself named.

    Raises:
        ConfigError: A path has no name, or two have the same one.
        MachineError: A path does not exist or cannot be read.
    """
    source = Source({})
    for path in paths:
        name = os.fsencode(_name(path))
        if name in source.tops:
            raise ConfigError(
                f"two of the paths are called {os.fsdecode(name)!r}",
                hint="publish the folder they are in, or rename one",
            )
        source.tops[name] = os.fsencode(os.path.realpath(path))
    _list(source)
    if not source.entries:
        raise MachineError(f"nothing to publish: {'; '.join(source.skipped)}")
    return source


def scan_folder(folder: Path, name: bytes, leave_out: bytes) -> Source:
    """List one folder of one file system under a name that may not be its own.

    What is mounted in it cannot be published: while it is not mounted, it would pass for deleted. What cannot be read
    in it is skipped, and what vanishes meanwhile is not there.

    Args:
        folder: Not a symbolic link, nor in one.
        name: What its entries' paths begin with.
        leave_out: Name of what is passed over in it, at every depth.

    Raises:
        MachineError: It does not exist or cannot be read.
    """
    try:
        device = os.stat(folder).st_dev
    except OSError as exc:
        raise machine_error("read", exc) from exc
    source = Source({name: os.fsencode(folder)}, left_out=leave_out, device=device)
    _list(source)
    return source


def _list(source: Source) -> None:
    try:
        for location in source.tops.values():
            os.stat(location)
        _walk(source)
    except OSError as exc:
        raise machine_error("read", exc) from exc


def _name(path: Path) -> str:
    name = Path(os.path.abspath(path)).name  # not resolve(): a link keeps its own name
    if not name:
        raise ConfigError(f"{str(path)!r} has no name to publish it under")
    return name


def _walk(source: Source) -> None:
    """List the named files and folders and all beneath them."""
    pending = sorted(source.tops)  # a heap: what is in a folder comes after it, but maybe after its next sibling too
    while pending:
        path = heapq.heappop(pending)
        location = source.location(path)
        if b"/" in path and path.endswith(b"/" + source.left_out):
            continue
        if (problem := path_problem(path)) is not None:
            source.skip(path, problem)
            continue
        try:
            found = os.lstat(location)
            entry = _entry(location, path, found)
            if source.device not in (None, found.st_dev):
                entry = "it is of another file system"
            inner = os.listdir(location) if isinstance(entry, Entry) and entry.kind is Kind.FOLDER else []
            if source.device is not None and stat.S_ISREG(found.st_mode) and not _may_read(location):
                os.lstat(location)  # it is there, is it?
                entry = "it cannot be read: Permission denied"
        except OSError as exc:
            if source.device is None or b"/" not in path:
                raise
            if not isinstance(exc, FileNotFoundError):
                source.skip(path, f"it cannot be read: {reason(exc)}")
            continue
        if isinstance(entry, str):
            source.skip(path, entry)
            continue
        source.entries.append(entry)
        source.stamps.append(stamp(found))
        for name in inner:
            heapq.heappush(pending, path + b"/" + name)


def _may_read(location: bytes) -> bool:
    return os.access(location, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _entry(location: bytes, path: bytes, found: os.stat_result) -> Entry | str:
    """What the manifest will say of it, or why it cannot be published."""
    if stat.S_ISDIR(found.st_mode):
        return Entry(path=path, kind=Kind.FOLDER, mtime_ns=found.st_mtime_ns)
    if stat.S_ISREG(found.st_mode):
        executable = bool(found.st_mode & 0o100)
        return Entry(path=path, kind=Kind.FILE, executable=executable, mtime_ns=found.st_mtime_ns, size=found.st_size)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(location)
        if target_problem(path, target) is not None:
            return "a symbolic link that leads out of the folder"
        return Entry(path=path, kind=Kind.SYMLINK, mtime_ns=found.st_mtime_ns, target=target)
    return "neither a file, a folder nor a symbolic link"


def stamp(found: os.stat_result) -> int:
    """64 bits that tell states of a file apart: a hash of which file it is, its size and times."""
    return hash((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
