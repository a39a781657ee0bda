"""A synced folder, held open: what is removed and put there, and only where it is still as it was scanned.

Nothing outside is written to. Every path is walked from the folder's own descriptor, and no symbolic link is followed,
also one that somebody put there a moment ago.
"""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Self

from node.errors import MachineError, machine_error
from node.publishing.source import stamp
from node.syncing.plan import Item, kept_path
from node.syncing.swap import FOLDER_FLAGS, Place, bring_to_disk, exchange, move, place_at, reading
from node.syncing.workfolder import FETCH, OUT, TREE, WORK_NAME, Note, WorkFolder, state_of
from protocol.hashing import DIGEST_BYTES, digest
from protocol.manifest import Kind

_PIECE_BYTES = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
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
        self._since: dict[int, int] = {}
        self.put_stamps: dict[bytes, int] = {}
        """Stamps of what was put, in its place."""
        try:
            self._root = os.open(folder, FOLDER_FLAGS)
        except OSError as exc:
            raise machine_error("sync", exc) from exc
        try:
            self.work = WorkFolder(self._root, folder)
        except OSError as exc:
            os.close(self._root)
            raise machine_error("write", exc) from exc
        except BaseException:
            os.close(self._root)
            raise
        try:
            self._recover()
            self.work.clear_all(fetched=False)  # of a sync that was killed: it comes again, or was to be removed
        except OSError as exc:
            self.close()
            raise machine_error("write", exc) from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. What has come of a fetch is kept for the next sync."""
        if self._root >= 0:
            try:
                self.work.close()
            finally:
                os.close(self._root)
                self._root = -1

    @property
    def staging(self) -> Path:
        """Where what comes down is put together."""
        return self.work.path / os.fsdecode(FETCH)

    @property
    def tree(self) -> Path:
        """Where it stands once it is whole, under the paths of the deposit."""
        return self.work.path / os.fsdecode(TREE)

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
                gone = self._remove(path, place, kind, scanned)
                self._touched.add(path.rpartition(b"/")[0])
                return gone
        except OSError as exc:
            if exc.errno in _GONE:  # what it lay in is no folder any more
                return True
            raise machine_error("remove", exc) from exc

    def _remove(self, path: bytes, place: Place, kind: Kind, scanned: int) -> bool:
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
        if stamp(found) != self._since.get(scanned, scanned):
            return False
        out = Place(self.work.handle, OUT)
        state = state_of(found)
        self.work.note(Note(path, WORK_NAME + b"/" + OUT, state, state))
        move(place, out)
        if _is(out, found):
            self._drop(out, found, scanned)
            return True
        try:  # it was replaced between the look and the move
            move(out, place)
        except FileExistsError:  # and again: who did it has replaced what we took out
            out.unlink()
        return False

    def _drop(self, out: Place, found: os.stat_result, scanned: int) -> None:
        """Remove what was taken out. That changes what other names of the same file show of it: it is no edit."""
        if found.st_nlink < 2 or not stat.S_ISREG(found.st_mode):
            out.unlink()
            return
        with suppress(PermissionError), reading(out) as file:
            out.unlink()
            self._since[scanned] = stamp(os.fstat(file.fileno()))
            return
        out.unlink()

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
        held = b"/".join((WORK_NAME, TREE, origin))
        try:
            with self._at(held) as staged, self._at(path) as place:
                self._touched.add(path.rpartition(b"/")[0])
                put = self._put(Note(path, held, 0, 0), staged, item, place, scanned)
                if put is not None and (found := place.look()) is not None and state_of(found) == put:
                    self.put_stamps[path] = stamp(found)
                return put is not None
        except OSError as exc:
            raise self._error(path, exc) from exc

    def _put(self, note: Note, staged: Place, item: Item, place: Place, scanned: int | None) -> int | None:
        """State of what was put into its place; None: it was not."""
        found = place.look()
        if found is not None and (
            scanned is None or stamp(found) != self._since.get(scanned, scanned) or stat.S_ISDIR(found.st_mode)
        ):
            return None
        if item.kind is Kind.FILE:
            _make_ready(staged, item, found)
        ready = state_of(os.stat(staged.name, dir_fd=staged.folder, follow_symlinks=False))
        if found is None or scanned is None:
            try:
                move(staged, place)
            except FileExistsError:
                return None
            return ready
        self.work.note(note._replace(expected=state_of(found), put=ready))
        exchange(staged, place)
        if not _is(staged, found):  # it was replaced or written to between the look and the exchange
            exchange(staged, place)
            return None
        self._drop(staged, found, scanned)
        return ready

    def _recover(self) -> None:
        """Put back what a sync that was killed had taken out before it saw that somebody had replaced it."""
        note = self.work.noted()
        if note is None:
            return
        try:
            with self._at(note.held) as out:
                found = out.look()
                if found is None or stat.S_ISDIR(found.st_mode) or state_of(found) in (note.expected, note.put):
                    return
                self._put_back(out, found, note)
        except OSError as exc:
            if exc.errno not in _GONE:
                raise

    def _put_back(self, out: Place, found: os.stat_result, note: Note) -> None:
        path = note.path
        try:
            with self._at(path) as place:
                now = place.look()
                if now is not None and state_of(now) == note.put:
                    exchange(out, place)
                    return
        except OSError as exc:
            if exc.errno not in _GONE:
                raise
            path = path.rpartition(b"/")[2]  # the folder it was in is gone
        item = Item(Kind.FILE, mtime_ns=found.st_mtime_ns)
        for number in count(0):
            beside = kept_path(path, item, number, remark="found by the sync") if number else path
            with suppress(FileExistsError), self._at(beside) as place:
                move(out, place)
                return

    def holds(self, origin: bytes, path: bytes) -> bool:
        """Whether the file at ``path`` has the very bytes of the one that came down to ``origin``, of the same size."""
        staged_path = b"/".join((WORK_NAME, TREE, origin))
        try:
            with (
                self._at(staged_path) as staged,
                self._at(path) as place,
                reading(staged) as new,
                reading(place) as ours,
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
            with self._at(path) as place, reading(place) as file:
                if stamp(os.fstat(file.fileno())) != scanned:
                    return None
                found = bytes(DIGEST_BYTES)
                while piece := file.read(_PIECE_BYTES):
                    found = digest("local", found, piece)
                    yield
                return found if stamp(os.fstat(file.fileno())) == scanned else None
        except OSError as exc:
            if exc.errno in _GONE:
                return None
            exc.filename = path
            raise machine_error("read", exc) from exc

    def _at(self, path: bytes) -> AbstractContextManager[Place]:
        return place_at(self._root, path)

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
            self.work.clear_all(fetched=True)
            os.fsync(self._root)
        except OSError as exc:
            raise machine_error("write", exc) from exc


def _make_ready(staged: Place, item: Item, replaced: os.stat_result | None) -> None:
    """Make a file as readable to others as the one it replaces."""
    with reading(staged) as file:
        if replaced is not None and stat.S_ISREG(replaced.st_mode):
            mode = stat.S_IMODE(replaced.st_mode) & 0o777
            os.fchmod(file.fileno(), mode | 0o100 | (mode & 0o044) >> 2 if item.executable else mode & ~0o111)
        os.utime(file.fileno(), ns=(item.mtime_ns, item.mtime_ns))


def _is(place: Place, found: os.stat_result) -> bool:
    """Whether there is what was found elsewhere, not written to since."""
    now = place.look()
    return now is not None and state_of(now) == state_of(found)
