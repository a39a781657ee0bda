"""A synced folder, held open: what is removed and put there, and only where it is still as it was scanned.

Nothing outside is written to. Every path is walked from the folder's own descriptor, and no symbolic link is followed,
also one that somebody put there a moment ago.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Self

from node.errors import MachineError, RefusedError, machine_error
from node.publishing.source import stamp
from node.syncing.plan import Item
from node.syncing.swap import Place, bring_to_disk, exchange, move
from protocol.hashing import DIGEST_BYTES, digest
from protocol.manifest import Kind

WORK_NAME = b".archipel-sync"
"""A folder in the synced one, since only there a rename is certain to work. It is no part of what is synced. What
marks the folder stays in it."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1 << 20
_TREE, _OUT, _FETCH, _MARK = b"tree", b"out", b"fetch.part", b"id"
MARK_BYTES = 16
"""Of what is random in a folder's mark."""
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY)


class SyncedFolder:
    """The folder, for one process at a time. All calls block; those that touch the disk raise MachineError."""

    def __init__(self, folder: Path) -> None:
        """Take it.

        Args:
            folder: Absolute, with no symbolic link in it.

        Raises:
            RefusedError: Another sync is at it, or something of somebody else has the name we need.
        """
        self._path = folder
        self._touched: set[bytes] = set()
        self.put_stamps: dict[bytes, int] = {}
        """Stamps of what was put, in its place."""
        self._work = -1
        self._locked = False
        try:
            self._root = os.open(folder, _FOLDER)
        except OSError as exc:
            raise machine_error("sync", exc) from exc
        try:
            self._lock()
            self._clear(_TREE, _OUT)  # of a sync that was killed: it comes again, or was to be removed
        except OSError as exc:
            self.close()
            raise machine_error("write", exc) from exc
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        with suppress(FileExistsError):
            Place(self._root, WORK_NAME).mkdir(0o700)
        try:
            self._work = os.open(WORK_NAME, _FOLDER, dir_fd=self._root)
            fcntl.flock(self._work, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = Place(self._root, WORK_NAME).look()
            if found is None or not os.path.samestat(found, os.fstat(self._work)):
                raise BlockingIOError  # the other sync finished, and removed it, after we opened it
            self._locked = True
        except NotADirectoryError:
            raise RefusedError(
                f"{str(self.tree.parent)!r} is in the way", hint="it is not ours: move it away"
            ) from None
        except (BlockingIOError, FileNotFoundError):
            raise RefusedError(f"another sync of {str(self._path)!r} is under way", hint="wait for it") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. What has come of a fetch is kept for the next sync."""
        try:
            if self._locked:
                with suppress(OSError):  # there is something in it, such as the mark
                    Place(self._root, WORK_NAME).rmdir()
        finally:
            for handle in (self._work, self._root):
                if handle >= 0:
                    os.close(handle)
            self._work = self._root = -1
            self._locked = False

    def mark(self) -> bytes | None:
        """What tells it from another folder at the same path, as ``make_mark`` made it; None: it has none.

        The inode alone does not: a folder that is made where one was removed often gets the same. The mark alone does
        not tell it from its copy.
        """
        try:
            with _reading(Place(self._work, _MARK)) as file:
                found = file.read(MARK_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise machine_error("read", exc) from exc
        return self._with_inode(found) if len(found) == MARK_BYTES else None

    def make_mark(self, fresh: bytes) -> bytes:
        """Its mark; on the disk when this returns. ``fresh``: 16 random bytes, for a folder that has none."""
        if (found := self.mark()) is not None:
            return found
        try:
            self._clear(_MARK)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(_MARK, flags, 0o600, dir_fd=self._work), "wb") as file:
                file.write(fresh)
                file.flush()
                os.fsync(file.fileno())
            for handle in (self._work, self._root):
                os.fsync(handle)
        except OSError as exc:
            raise machine_error("write", exc) from exc
        return self._with_inode(fresh)

    def _with_inode(self, mark: bytes) -> bytes:
        return mark + os.fstat(self._root).st_ino.to_bytes(8, "big")

    @property
    def staging(self) -> Path:
        """Where what comes down is put together."""
        return self._path / os.fsdecode(WORK_NAME) / os.fsdecode(_FETCH)

    @property
    def tree(self) -> Path:
        """Where it stands once it is whole, under the paths of the deposit."""
        return self._path / os.fsdecode(WORK_NAME) / os.fsdecode(_TREE)

    def check_place(self) -> None:
        """Make sure that the path still leads to this folder. Raises MachineError."""
        try:
            here = os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._root))
        except OSError as exc:
            raise machine_error("sync", exc) from exc
        if not here:
            raise MachineError(f"{str(self._path)!r} is another folder than a moment ago", hint="run it again")

    def remove(self, path: bytes, kind: Kind, scanned: int) -> bool:
        """Remove a file or link if it is still as it was scanned, or a folder if it is empty.

        Args:
            path: In this folder.
            kind: What it is.
            scanned: Its :func:`~node.publishing.source.stamp`.

        Returns:
            Whether it is gone; else it has changed, or somebody has put something into it.
        """
        try:
            with self._at(path) as place:
                gone = self._remove(place, kind, scanned)
                self._touched.add(path.rpartition(b"/")[0])
                return gone
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # what it lay in is no folder any more
                return True
            raise machine_error("remove", exc) from exc

    def _remove(self, place: Place, kind: Kind, scanned: int) -> bool:
        found = place.look()
        if found is None:
            return True
        if kind is Kind.FOLDER:
            try:
                place.rmdir()
            except OSError as exc:
                if exc.errno in _OCCUPIED:
                    return False
                raise
            return True
        if stamp(found) != scanned:
            return False
        out = Place(self._work, _OUT)
        move(place, out)
        if _is(out, found):
            out.unlink()
            return True
        try:  # it was replaced between the look and the move
            move(out, place)
        except FileExistsError:  # and again: who did it has replaced what we took out
            out.unlink()
        return False

    def make(self, path: bytes) -> None:
        """Make a folder, if there is none."""
        try:
            with self._at(path) as place:
                self._touched.add(path.rpartition(b"/")[0])
                try:
                    place.mkdir()
                except FileExistsError:
                    found = place.look()
                    if found is None or not stat.S_ISDIR(found.st_mode):
                        raise
        except OSError as exc:
            raise self._error(path, exc) from exc

    def settle(self) -> None:
        """Bring to the disk what came down: a power cut must not leave an empty file where an older one was."""
        try:
            bring_to_disk(self._root)
        except OSError as exc:
            exc.filename = exc.filename or str(self._path)
            raise machine_error("write", exc) from exc

    def put(self, origin: bytes, item: Item, path: bytes, scanned: int | None) -> bool:
        """Rename what came down into its place, if what is there is still as it was scanned.

        Args:
            origin: Its path beneath ``tree``.
            item: What it is.
            path: Its place in this folder.
            scanned: Stamp of what is to be replaced; None: nothing may be there.

        Returns:
            Whether it is in its place; else there is something that must stay.
        """
        try:
            with self._at(b"/".join((WORK_NAME, _TREE, origin))) as staged, self._at(path) as place:
                self._touched.add(path.rpartition(b"/")[0])
                put = _put(staged, item, place, scanned)
                if put is not None and (found := place.look()) is not None and _same_state(found, put):
                    self.put_stamps[path] = stamp(found)
                return put is not None
        except OSError as exc:
            raise self._error(path, exc) from exc

    def holds(self, origin: bytes, path: bytes) -> bool:
        """Whether the file at ``path`` has the very bytes of the one that came down to ``origin``, of the same size."""
        staged_path = b"/".join((WORK_NAME, _TREE, origin))
        try:
            with (
                self._at(staged_path) as staged,
                self._at(path) as place,
                _reading(staged) as new,
                _reading(place) as ours,
            ):
                while (piece := new.read(_PIECE_BYTES)) == ours.read(_PIECE_BYTES):
                    if not piece:
                        return True
            return False
        except OSError as exc:
            raise self._error(path, exc) from exc

    def digest(self, path: bytes, scanned: int) -> Generator[None, None, bytes | None]:
        """Read a file, a piece at a step; its digest, or None: it is not as it was scanned, or changes meanwhile."""
        try:
            with self._at(path) as place, _reading(place) as file:
                if stamp(os.fstat(file.fileno())) != scanned:
                    return None
                found = bytes(DIGEST_BYTES)
                while piece := file.read(_PIECE_BYTES):
                    found = digest("local", found, piece)
                    yield
                return found if stamp(os.fstat(file.fileno())) == scanned else None
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            exc.filename = path
            raise machine_error("read", exc) from exc

    @contextmanager
    def _at(self, path: bytes) -> Iterator[Place]:
        """The place at the end of a path, every folder on the way opened in the one before."""
        *folders, name = path.split(b"/")
        handle = os.dup(self._root)
        try:
            for folder in folders:
                inner = os.open(folder, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield Place(handle, name)
        finally:
            os.close(handle)

    def _error(self, path: bytes, exc: OSError) -> MachineError:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
            return MachineError(
                f"{os.fsdecode(path)!r}, or a folder it is in, changed while it was being synced",
                hint="run it again: nothing is lost",
            )
        exc.filename = path
        return machine_error("write", exc)

    def finish(self) -> None:
        """Bring to the disk what was done to folders."""
        try:
            for folder in self._touched - {b""}:
                with suppress(FileNotFoundError, NotADirectoryError), self._at(folder + b"/.") as place:
                    os.fsync(place.folder)
            self._clear(_TREE, _OUT, _FETCH)
            os.fsync(self._root)
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def _clear(self, *names: bytes) -> None:
        for name in names:
            found = Place(self._work, name).look()
            if found is not None and stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=self._work)
            elif found is not None:
                Place(self._work, name).unlink()


def _reading(place: Place) -> BufferedReader:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.fdopen(os.open(place.name, flags, dir_fd=place.folder), "rb")


def _put(staged: Place, item: Item, place: Place, scanned: int | None) -> os.stat_result | None:
    """What was put into its place, as it was before; None: it was not."""
    found = place.look()
    if found is not None and (scanned is None or stamp(found) != scanned or stat.S_ISDIR(found.st_mode)):
        return None
    if item.kind is Kind.FILE:
        _make_ready(staged, item, found)
    ready = staged.look()
    if found is None:
        try:
            move(staged, place)
        except FileExistsError:
            return None
        return ready
    exchange(staged, place)
    if not _is(staged, found):  # it was replaced or written to between the look and the exchange
        exchange(staged, place)
        return None
    staged.unlink()
    return ready


def _make_ready(staged: Place, item: Item, replaced: os.stat_result | None) -> None:
    """Make a file as readable to others as the one it replaces."""
    with _reading(staged) as file:
        if replaced is not None and stat.S_ISREG(replaced.st_mode):
            mode = stat.S_IMODE(replaced.st_mode) & 0o777
            os.fchmod(file.fileno(), mode | 0o100 | (mode & 0o044) >> 2 if item.executable else mode & ~0o111)
        os.utime(file.fileno(), ns=(item.mtime_ns, item.mtime_ns))


def _is(place: Place, found: os.stat_result) -> bool:
    """Whether there is what was found elsewhere, not written to since."""
    now = place.look()
    return now is not None and _same_state(now, found)


def _same_state(one: os.stat_result, other: os.stat_result) -> bool:
    """A rename changes ctime, so it does not count."""
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
    return all(getattr(one, name) == getattr(other, name) for name in names)
