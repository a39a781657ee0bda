"""The working folder of a synced folder, ``.archipel-sync``: whose it is, one process at a time, what marks the folder.

It is in the synced folder, since only there a rename is certain to work. What comes down is put together in it, so
nobody else may write to it: a link in it would lead our writes elsewhere.
"""

import fcntl
import os
import shutil
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from node.errors import RefusedError, machine_error
from node.syncing.swap import FOLDER_FLAGS, Place, reading

WORK_NAME = b".archipel-sync"
"""It is no part of what is synced. What marks the folder stays in it."""
MARK_BYTES = 16
"""Of what is random in a folder's mark."""
TREE, OUT, FETCH = b"tree", b"out", b"fetch.part"
_MARK, _NOTE = b"id", b"note"
_FETCHED = {"follows"}
"""What a fetch of a synced folder puts into it, which makes it as open to others as any folder."""
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_HEAD = struct.Struct(">qqHH")


class Note(NamedTuple):
    """What is being taken out of its place, in case the process ends before it has looked at what it took."""

    path: bytes
    """The place, in the synced folder."""
    held: bytes
    """Where it is taken to, in the synced folder too."""
    expected: int
    """State of what should be there; see :func:`state_of`."""
    put: int
    """State of what is put there instead."""


def state_of(found: os.stat_result) -> int:
    """What tells what was found from anything else, and from itself after it was written to. A rename changes ctime, so
    it does not count."""
    return hash((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


class WorkFolder:
    """Held open, and locked. All calls block, and raise OSError unless they say otherwise."""

    def __init__(self, root: int, folder: Path) -> None:
        """Make it, or take the one that is there.

        Args:
            root: Descriptor of the synced folder.
            folder: Its path, to be shown.

        Raises:
            RefusedError: Another sync is at it, or something of somebody else has the name we need.
        """
        self._root = root
        self._path = folder / os.fsdecode(WORK_NAME)
        self._note = -1
        with suppress(FileExistsError):
            Place(root, WORK_NAME).mkdir(0o700)
        try:
            self.handle = os.open(WORK_NAME, FOLDER_FLAGS, dir_fd=root)
        except NotADirectoryError:
            raise self._in_the_way("it is not ours: move it away") from None
        except FileNotFoundError:
            raise _under_way(folder) from None
        try:
            self._lock(folder)
        except BaseException:
            os.close(self.handle)
            raise

    def _lock(self, folder: Path) -> None:
        found = os.fstat(self.handle)
        if found.st_uid != os.geteuid():
            raise self._in_the_way("it is another user's: move it away")
        if found.st_mode & _OTHERS:
            os.fchmod(self.handle, 0o700)
            if set(os.listdir(self.handle)) - _FETCHED:
                os.fchmod(self.handle, stat.S_IMODE(found.st_mode))
                raise self._in_the_way("other users can write to it: look what is in it, and remove it")
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _under_way(folder) from None
        now = Place(self._root, WORK_NAME).look()
        if now is None or not os.path.samestat(now, found):
            raise _under_way(folder)  # the other sync finished, and removed it, after we opened it

    def _in_the_way(self, hint: str) -> RefusedError:
        return RefusedError(f"{str(self._path)!r} is in the way", hint=hint)

    def close(self) -> None:
        """Let go of it, and remove it if nothing is in it."""
        try:
            with suppress(OSError):  # there is something in it, such as the mark
                Place(self._root, WORK_NAME).rmdir()
        finally:
            if self._note >= 0:
                os.close(self._note)
            os.close(self.handle)

    @property
    def path(self) -> Path:
        """A path that leads to this very folder, wherever it is moved to and whatever is put in its place."""
        held = Path(f"/proc/self/fd/{self.handle}")
        return held if held.exists() else self._path

    def mark(self) -> bytes | None:
        """What tells the synced folder from another one at the same path, as ``make_mark`` made it; None: it has none.

        The inode alone does not: a folder that is made where one was removed often gets the same. The mark alone does
        not tell it from its copy. Raises MachineError.
        """
        try:
            with reading(Place(self.handle, _MARK)) as file:
                found = file.read(MARK_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise machine_error("read", exc) from exc
        return self._with_inode(found) if len(found) == MARK_BYTES else None

    def make_mark(self, fresh: bytes) -> bytes:
        """Its mark; on the disk when this returns. ``fresh``: 16 random bytes, for a folder that has none.

        Raises MachineError.
        """
        if (found := self.mark()) is not None:
            return found
        try:
            self.clear(_MARK)
            with os.fdopen(self._create(_MARK), "wb") as file:
                file.write(fresh)
                file.flush()
                os.fsync(file.fileno())
            for handle in (self.handle, self._root):
                os.fsync(handle)
        except OSError as exc:
            raise machine_error("write", exc) from exc
        return self._with_inode(fresh)

    def _with_inode(self, mark: bytes) -> bytes:
        return mark + os.fstat(self._root).st_ino.to_bytes(8, "big")

    def _create(self, name: bytes) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.handle)

    def note(self, note: Note) -> None:
        """Note what is done next. It outlives this process, not a power cut."""
        if self._note < 0:
            self._note = self._create(_NOTE)
        head = _HEAD.pack(note.expected, note.put, len(note.path), len(note.held))
        os.pwrite(self._note, head + note.path + note.held, 0)

    def noted(self) -> Note | None:
        """What a process noted last that did not come to its end."""
        try:
            with reading(Place(self.handle, _NOTE)) as file:
                data = file.read(_HEAD.size + 2 * 0xFFFF)
        except FileNotFoundError:
            return None
        if len(data) < _HEAD.size:
            return None
        expected, put, path, held = _HEAD.unpack_from(data)
        names = data[_HEAD.size :]
        return Note(names[:path], names[path : path + held], expected, put) if path + held <= len(names) else None

    def clear(self, *names: bytes) -> None:
        """Remove what is called so, if there is anything."""
        for name in names:
            place = Place(self.handle, name)
            found = place.look()
            if found is not None and stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=self.handle)
            elif found is not None:
                place.unlink()

    def clear_all(self, *, fetched: bool) -> None:
        """Remove everything but the mark; what has come of a fetch only if it is ``fetched``."""
        if self._note >= 0:
            os.close(self._note)
            self._note = -1
        self.clear(TREE, OUT, _NOTE, *((FETCH,) if fetched else ()))


def _under_way(folder: Path) -> RefusedError:
    return RefusedError(f"another sync of {str(folder)!r} is under way", hint="wait for it")
