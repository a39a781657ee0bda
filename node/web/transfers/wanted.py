"""What an upload is to be: checked before anything is kept of it; and from the files that came, what is published."""

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from node.drive.tree import drive_path
from node.errors import ConfigError, MachineError, machine_error
from node.publishing.content import FileContent
from node.publishing.source import Source, stamp
from node.web.transfers.spool import Spool
from protocol.drive import parents
from protocol.hashing import digest
from protocol.manifest import Entry, Kind
from protocol.paths import MAX_PATH_BYTES, path_problem

MAX_FILES = 100_000
MAX_BYTES = 1 << 50
"""Of all files together: far more than any disk has, and sums of it are numbers that JavaScript counts with."""
MAX_MTIME = 1 << 33
"""Seconds: until the year 2242."""


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One file of an upload."""

    path: bytes
    """In the deposit."""
    size: int
    mtime_ns: int
    """Nanoseconds since 1970-01-01 UTC; 0: not known."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload is to become: a deposit of these files, in a folder of the drive."""

    name: str
    """What it is called in the drive; of an upload without files, the folder that it is."""
    folder: str
    """Of the drive; empty: its top."""
    files: tuple[UploadFile, ...]

    @classmethod
    def asked(cls, body: Mapping[str, Any]) -> Self:
        """What a request asks for.

        Raises:
            ConfigError: It cannot be: a path is absolute, leads out, is there twice, or is a file and a folder.
        """
        name, folder, listed = body.get("name"), body.get("folder", ""), body.get("files")
        if not isinstance(name, str) or not isinstance(folder, str) or not isinstance(listed, list):
            raise ConfigError("want a name, a folder of the drive, and a list of files")
        if len(listed) > MAX_FILES:
            raise ConfigError(f"an upload has at most {MAX_FILES} files, got {len(listed)}")
        if b"/" in _shown_bytes(name, "a name"):
            raise ConfigError(f"a name holds no slash, got {name!r}")
        path_bytes(folder.strip("/"), "a folder") if folder.strip("/") else None
        files = tuple(_file(item) for item in listed)
        if sum(file.size for file in files) > MAX_BYTES:
            raise ConfigError(f"an upload has at most {MAX_BYTES} bytes")
        _check_paths(files)
        upload = cls(name, folder.strip("/"), files)
        if (problem := path_problem(upload.drive_path)) is not None:
            raise ConfigError(f"{name!r} cannot stand in that folder: {problem}")
        return upload

    @property
    def drive_path(self) -> bytes:
        """Where it is to stand in the drive."""
        return b"/".join(filter(None, (drive_path(self.folder), os.fsencode(self.name))))

    @property
    def sizes(self) -> Sequence[int]:
        return array("q", [file.size for file in self.files])

    def kept(self) -> dict[str, Any]:
        """What the table keeps of it."""
        return {
            "name": self.name,
            "folder": self.folder,
            "files": [[os.fsdecode(file.path), file.size, file.mtime_ns] for file in self.files],
        }

    @classmethod
    def of(cls, kept: Any) -> Self:
        """What :meth:`kept` gave. Raises MachineError: it is something else."""
        try:
            files = tuple(UploadFile(os.fsencode(path), int(size), int(mtime)) for path, size, mtime in kept["files"])
            return cls(kept["name"], kept["folder"], files)
        except (TypeError, ValueError, KeyError) as exc:
            raise MachineError("what was kept of an upload is damaged") from exc

    def content(self, identifier: str, spool: Spool) -> FileContent:
        """What is to be published, out of the files that have come. Blocks.

        Args:
            identifier: The transfer's: what tells it from other publishes.
            spool: Where the files are.

        Raises:
            MachineError: They are not there.
        """
        entries = [Entry(path=path, kind=Kind.FOLDER) for path in self._folders()]
        places, begins = dict[bytes, bytes](), dict[bytes, int]()
        for number, file in enumerate(self.files):
            entries.append(Entry(path=file.path, kind=Kind.FILE, mtime_ns=file.mtime_ns, size=file.size))
            if file.size:
                place, begins[file.path] = spool.source(number)
                places[file.path] = os.fsencode(place)
        entries.sort(key=lambda entry: entry.path)
        try:
            stamps = [stamp(os.lstat(places[entry.path])) if entry.size else 0 for entry in entries]
        except OSError as exc:
            raise machine_error("read what was uploaded", exc) from exc
        source = Source({}, entries, array("q", stamps), places=places, begins=begins)
        return FileContent(source, digest("local", b"upload", identifier.encode()))

    def _folders(self) -> Iterator[bytes]:
        """Those that the files lie in, each once: browsers tell of no others."""
        if not self.files:
            yield os.fsencode(self.name)
        seen = set[bytes]()
        for file in self.files:
            for folder in parents(file.path):
                if folder in seen:
                    break
                seen.add(folder)
                yield folder


def path_bytes(text: str, what: str) -> bytes:
    """A path as it stands in a deposit or a drive.

    Raises:
        ConfigError: It is absolute, leads out, holds NUL, is too long, or is no Unicode.
    """
    try:
        path = text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} is no text that UTF-8 can say: {text[:100]!r}") from None
    if (problem := path_problem(path)) is not None:
        raise ConfigError(f"{what} cannot be {text[:100]!r}: {problem}")
    return path


def _shown_bytes(text: str, what: str) -> bytes:
    """As :func:`path_bytes`, of what is new: nothing in it does anything to a terminal, or breaks a line."""
    path = path_bytes(text, what)
    if any(byte < 0x20 or byte == 0x7F for byte in path):
        raise ConfigError(f"{what} holds no control characters, got {text[:100]!r}", hint="give it another name")
    return path


def _file(item: object) -> UploadFile:
    if not isinstance(item, dict):
        raise ConfigError("want of each file its path, size and mtime")
    path, size, mtime = item.get("path"), item.get("size"), item.get("mtime", 0)
    if not isinstance(path, str) or len(path) > MAX_PATH_BYTES:
        raise ConfigError(f"want of each file its path, of {MAX_PATH_BYTES} bytes at most")
    if not _is_number(size) or not isinstance(size, int) or not 0 <= size <= MAX_BYTES:
        raise ConfigError(f"a file has 0 to {MAX_BYTES} bytes, got {size!r}")
    if not _is_number(mtime) or not 0 <= mtime <= MAX_MTIME:
        raise ConfigError(f"a time is 0 to {MAX_MTIME} seconds after 1970, got {mtime!r}")
    return UploadFile(_shown_bytes(path, "a path"), size, _nanoseconds(mtime))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nanoseconds(seconds: float) -> int:
    """A browser knows milliseconds; a fraction of a second is not exact in a float."""
    return round(seconds * 1000) * 10**6


def _check_paths(files: Sequence[UploadFile]) -> None:
    """Raises ConfigError: a path is there twice, or is a file and a folder."""
    paths = sorted(file.path for file in files)
    for one, other in pairwise(paths):
        if one == other:
            raise ConfigError(f"two files have the path {os.fsdecode(one)!r}")
    known = set(paths)
    for path in paths:
        for folder in parents(path):
            if folder in known:
                raise ConfigError(f"{os.fsdecode(folder)!r} is a file, and a folder of other files")
