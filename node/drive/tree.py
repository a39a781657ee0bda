"""A drive as a tree for people: what lies in which folder, and the changes they make to it. Pure.

Paths are bytes, without a slash at either end; the drive itself is the folder with the empty path. Things are found
by the path they are shown at, which may have a number behind it (docs/spec/drive.md section 4). Folders need no entry
of their own while something lies in them, and one without an entry is gone with the last thing in it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from node.errors import ConfigError, NotFoundError, RefusedError, TakenError
from protocol.drive import (
    LISTED,
    Drive,
    DriveEntry,
    EntryKind,
    folder_entry,
    folders,
    listed,
    parents,
)
from protocol.errors import DriveFullError
from protocol.paths import path_problem


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a folder's list."""

    path: bytes
    """Where it is shown."""
    entry: DriveEntry | None
    """What it is; None: a folder."""

    @property
    def name(self) -> bytes:
        """The last component of its path."""
        return self.path.rpartition(b"/")[2]

    @property
    def is_folder(self) -> bool:
        """Whether other things may lie in it."""
        return self.entry is None


class Tree:
    """A drive, by the paths it is shown at. It does not change: a change gives another drive."""

    def __init__(self, drive: Drive) -> None:
        """Look at ``drive``: a quarter of a second for the largest."""
        self.drive = drive
        self.folders = folders(drive) | {b""}
        self.shown = listed(drive)
        """Everything but folders."""
        self._children: dict[bytes, list[Item]] = {}
        items = [Item(path, None) for path in self.folders if path]
        items += [Item(path, entry) for path, entry in self.shown.items()]
        for item in sorted(items, key=lambda item: item.path):
            self._children.setdefault(item.path.rpartition(b"/")[0], []).append(item)

    def find(self, path: bytes) -> Item:
        """What is shown at ``path``. Raises NotFoundError: nothing is."""
        if path in self.folders:
            return Item(path, None)
        if path not in self.shown:
            raise NotFoundError(f"there is nothing at {_text(path)} in the drive", hint="archipel drive lists it")
        return Item(path, self.shown[path])

    def split(self, path: bytes) -> tuple[DriveEntry, bytes]:
        """What is shown at ``path``, or at the longest part of it, and the rest: a path in what that leads to.

        Raises:
            NotFoundError: Nothing is shown there.
            RefusedError: It is a folder of the drive.
        """
        if path in self.folders:
            raise RefusedError(f"{_text(path)} is a folder of the drive", hint="name one of the things that lie in it")
        for start in (path, *parents(path)):
            if start in self.shown:
                return self.shown[start], path[len(start) + 1 :]
        raise NotFoundError(f"there is nothing at {_text(path)} in the drive", hint="archipel drive lists it")

    def items(self, path: bytes = b"") -> list[Item]:
        """What lies in a folder, in order of name; of anything else, the thing itself. Raises NotFoundError."""
        item = self.find(path)
        return list(self._children.get(path, ())) if item.is_folder else [item]

    def below(self, path: bytes = b"") -> Iterator[DriveEntry]:
        """The entries that stand in a folder or any folder in it, its own included, in order of id."""
        prefix = path + b"/" if path else b""
        for entry in self.drive.entries:
            if entry.live and entry.kind in LISTED:
                own = entry.kind is EntryKind.FOLDER and entry.path == path
                if own or entry.path.startswith(prefix):
                    yield entry

    def check_room(self, path: bytes) -> None:
        """Check that something may be put at ``path``.

        Raises:
            ConfigError: It is no path.
            TakenError: Something is there.
            RefusedError: On the way to it there is something that is no folder.
        """
        if path in self.folders or path in self.shown:
            raise TakenError(f"there is something at {_text(path)} in the drive already", hint="choose another path")
        if (problem := path_problem(path)) is not None:
            raise ConfigError(f"{_text(path)} cannot be a path in the drive: {problem}")
        for folder in parents(path):
            if folder in self.shown:
                raise RefusedError(f"{_text(folder)} is no folder of the drive", hint="choose another path")


def _text(path: bytes) -> str:
    return repr(os.fsdecode(path))


def drive_path(text: str) -> bytes:
    """A path in the drive as a person typed it; slashes at either end do not matter, none but them is the drive itself.

    Raises:
        ConfigError: It is no path.
    """
    try:
        path = os.fsencode(text.strip("/"))
    except UnicodeEncodeError as exc:
        raise ConfigError("a path in the drive is text") from exc
    if path and (problem := path_problem(path)) is not None:
        raise ConfigError(f"{text!r} cannot be a path in the drive: {problem}")
    return path


def encode_drive(drive: Drive) -> bytes:
    """The drive's bytes. Raises RefusedError: it is full."""
    try:
        return drive.encode()
    except DriveFullError as exc:
        raise drive_full(exc) from exc


def drive_full(exc: DriveFullError) -> RefusedError:
    """The same in a person's words."""
    return RefusedError(f"the drive is full: {exc}", hint="remove what is not needed any more")


def put(drive: Drive, entry: DriveEntry, now_ms: int) -> Drive:
    """The drive with this entry in it, wherever it stands: for what has happened already, such as a publish.

    What is there already keeps its place and gets the new content; what had been removed stands at the entry's path
    again. Two things may come to one path: both are shown. Stamps of the entry do not matter.

    Args:
        drive: What it is put into.
        entry: With its id, kind, path and content.
        now_ms: Milliseconds since 1970-01-01 UTC.
    """
    return _with(drive, _later(drive.by_id().get(entry.id), entry, now_ms))


def _later(old: DriveEntry | None, entry: DriveEntry, now_ms: int) -> DriveEntry:
    """``entry`` as a change of the old one, if there is one. A folder has no content that could change."""
    if old is None:
        new = replace(entry, place=replace(entry.place, stamp=now_ms))
    else:
        new = old if old.live else old.moved(entry.path, now_ms)
    return new if entry.kind is EntryKind.FOLDER else new.updated(entry.content, now_ms)


def _with(drive: Drive, *changed: DriveEntry) -> Drive:
    return drive.merge(Drive.of(changed))


def add(drive: Drive, entry: DriveEntry, now_ms: int) -> Drive:
    """As ``put``, for what a person adds: only where nothing is.

    Raises:
        ConfigError: The entry's path is none.
        RefusedError: The entry is in the drive already; or as ``Tree.check_room``.
    """
    old = drive.by_id().get(entry.id)
    if old is not None and old.live:
        raise TakenError(f"it is in the drive already, at {_text(old.path)}", hint="archipel drive mv moves it")
    Tree(drive).check_room(entry.path)
    return put(drive, entry, now_ms)


def add_folder(drive: Drive, path: bytes, now_ms: int) -> Drive:
    """The drive with a folder that stays when it is empty.

    Raises:
        ConfigError: It is no path.
        RefusedError: As ``Tree.check_room``; but a folder that has no entry yet gets one.
    """
    tree = Tree(drive)
    entry = folder_entry(path, now_ms)
    if path not in tree.folders or not path or any(known.id == entry.id for known in tree.below(path)):
        tree.check_room(path)
    return put(drive, entry, now_ms)


def move(drive: Drive, source: bytes, target: bytes, now_ms: int) -> Drive:
    """The drive with what is shown at ``source`` at ``target``; if that is a folder, in it under its own name.

    Raises:
        ConfigError: A path would break the rules.
        NotFoundError: Nothing is at ``source``.
        RefusedError: ``target`` is taken, or lies in what is to be moved.
    """
    tree = Tree(drive)
    item = tree.find(source)
    if not source:
        raise RefusedError("the drive itself cannot be moved")
    own = source if item.entry is None else item.entry.path
    if item.is_folder and (target + b"/").startswith(source + b"/"):
        raise RefusedError(f"{_text(source)} cannot be moved into itself")
    if target in tree.folders:
        target = b"/".join(filter(None, (target, own.rpartition(b"/")[2])))
    if item.entry is not None and target == own:
        return drive  # it stands there, whatever number it is shown with
    tree.check_room(target)
    if item.entry is not None:
        return _with(drive, item.entry.moved(target, now_ms))
    return _with(drive, *_moved_folder(tree, source, target, now_ms))


def _moved_folder(tree: Tree, source: bytes, target: bytes, now_ms: int) -> Iterator[DriveEntry]:
    """The entries that change when a folder is moved. Raises ConfigError: a path would break the rules."""
    known = tree.drive.by_id()
    for entry in tree.below(source):
        path = target + entry.path[len(source) :]
        if (problem := path_problem(path)) is not None:
            raise ConfigError(f"{_text(path)} cannot be a path in the drive: {problem}")
        if entry.kind is EntryKind.FOLDER:
            folder = folder_entry(path, now_ms)
            yield entry.removed(now_ms)
            yield _later(known.get(folder.id), folder, now_ms)
        else:
            yield entry.moved(path, now_ms)


def remove(drive: Drive, path: bytes, now_ms: int, *, whole: bool = False) -> tuple[Drive, tuple[DriveEntry, ...]]:
    """The drive without what is shown at ``path``, and the entries that were removed, in order of id.

    Args:
        drive: What it is removed from.
        path: Not empty.
        now_ms: Milliseconds since 1970-01-01 UTC.
        whole: Whether a folder may go with what lies in it.

    Raises:
        NotFoundError: Nothing is there.
        RefusedError: It is the drive itself; or a folder with something in it, and not ``whole``.
    """
    tree = Tree(drive)
    item = tree.find(path)
    if not path:
        raise RefusedError("the drive itself cannot be removed")
    gone = tuple(tree.below(path)) if item.entry is None else (item.entry,)
    if item.is_folder and not whole and tree.items(path):
        raise RefusedError(f"{_text(path)} is a folder with {len(tree.items(path))} things in it")
    return _with(drive, *(entry.removed(now_ms) for entry in gone)), gone
