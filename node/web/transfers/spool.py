"""Files of an upload on their way from the browser to the network: numbered, in a folder of their own in the home.

Small ones may come one after another as one file, the pack.

Nothing here is named from outside. How much of a file has come is how long it is: it only ever grows, in order, and
file systems write data before they write how long a file is.
"""

import errno
import os
import shutil
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from node.errors import machine_error
from node.store.chunkfile import sync_folder, write_all
from node.web.http.answers import HttpError

KEPT_BYTES = 1 << 30
KEPT_SHARE = 20
"""An upload leaves so many bytes, or one part in so many of the file system, whichever is less, for all else."""
SMALL_BYTES = 1 << 20
"""Files shorter than that may be sent as one, the pack: each alone costs two waits for the disk."""
_PACK = "pack"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def room(folder: Path) -> int | None:
    """Bytes that uploads may still take where ``folder`` lies; None: the file system does not know its size. Blocks.

    Raises:
        MachineError: The system does not tell.
    """
    try:
        disk = os.statvfs(folder)
    except OSError as exc:
        raise machine_error("look for room", exc) from exc
    if not disk.f_blocks:
        return None
    kept = min(KEPT_BYTES, disk.f_blocks * disk.f_frsize // KEPT_SHARE)
    return max(0, disk.f_bavail * disk.f_frsize - kept)


def check_room(folder: Path, size: int) -> None:
    """Make sure that ``size`` bytes more fit. Blocks. Raises HttpError (507), MachineError."""
    free = room(folder)
    if free is not None and size > free:
        raise full(f"{size} bytes are to be kept until they are published, and this machine has room for {free}")


def full(message: str) -> HttpError:
    """The disk is."""
    return HttpError(507, message, hint="make room on the disk of the home folder, or upload less at a time")


@dataclass(slots=True)
class Spool:
    """Of one upload. All calls but the properties block; one at a time for each file."""

    folder: Path
    sizes: Sequence[int]
    """Of the files, in bytes, by their numbers."""
    missing: int = field(init=False)
    """Files that are not whole."""
    received_bytes: int = 0
    """Of all files, on the disk; of those in the pack only what is whole."""
    _own: "array[int]" = field(init=False)
    """How long is what lies under each file's own number, and the pack behind them."""
    _packed: "array[int]" = field(init=False)
    """The files that the pack has, in order."""
    _ends: "array[int]" = field(init=False)
    """Where each of these ends in it."""
    _unpacked: int = 0
    """The first of them that has not come with the pack."""

    def __post_init__(self) -> None:
        self._own = array("q", bytes(8 * (len(self.sizes) + 1)))
        self.missing = sum(size > 0 for size in self.sizes)
        self._packed = array("q", (i for i, size in enumerate(self.sizes) if 0 < size < SMALL_BYTES))
        self._ends = array("q", accumulate(self.sizes[i] for i in self._packed))

    @property
    def pack(self) -> int:
        """The number behind the last: of a file that has all the small ones, one after another."""
        return len(self.sizes)

    def size(self, number: int) -> int:
        """Of a file, or of the pack."""
        if number == self.pack:
            return self._ends[-1] if self._ends else 0
        return self.sizes[number]

    def received(self, number: int) -> int:
        """What of a file is on the disk, or of the pack: all that came under its number, or all of it."""
        return self.sizes[number] if self._came_packed(number) else self._own[number]

    def _came_packed(self, number: int) -> bool:
        return 0 < self.size(number) < SMALL_BYTES and number != self.pack and self._rank(number) < self._unpacked

    def _rank(self, number: int) -> int:
        """The how-manieth in the pack a file is that is in it."""
        return bisect_left(self._packed, number)

    def place(self, number: int) -> Path:
        """Where a file lies, or the pack, once something of it has come."""
        return self.folder / (_PACK if number == self.pack else str(number))

    def source(self, number: int) -> tuple[Path, int]:
        """In which file a whole one lies, and where in it."""
        if self._own[number] >= self.sizes[number]:
            return self.place(number), 0
        return self.place(self.pack), self._ends[self._rank(number)] - self.sizes[number]

    def make(self) -> None:
        """Make the folder. Raises MachineError."""
        try:
            for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(folder.parent)
        except OSError as exc:
            raise machine_error("make room for an upload", exc) from exc

    def look(self) -> None:
        """Find out what has come, after a start. Raises MachineError."""
        try:
            with os.scandir(self.folder) as found:
                for item in found:
                    number = self.pack if item.name == _PACK else int(item.name)
                    self.note(number, min(item.stat().st_size, self.size(number)))
        except (OSError, ValueError, IndexError) as exc:
            raise _failed(exc, "read what was uploaded") from exc

    def note(self, number: int, length: int) -> None:
        """So much of a file is on the disk, or of the pack."""
        before, self._own[number] = self._own[number], length
        if number != self.pack:
            if not self._came_packed(number):
                self.received_bytes += length - before
                self.missing -= before < self.sizes[number] <= length
            return
        while self._unpacked < len(self._ends) and self._ends[self._unpacked] <= length:
            number = self._packed[self._unpacked]
            self._unpacked += 1
            self.received_bytes += self.sizes[number] - self._own[number]
            self.missing -= self._own[number] < self.sizes[number]

    def open(self, number: int) -> int:
        """A file to be written on from what has come of it. Raises MachineError."""
        place = self.place(number)
        try:
            new = not place.exists()
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if new:
                    sync_folder(self.folder)
                os.lseek(handle, self._own[number], os.SEEK_SET)
            except BaseException:  # whatever it was
                os.close(handle)
                raise
        except OSError as exc:
            raise _failed(exc, "write an upload") from exc
        return handle

    def write(self, handle: int, data: bytes | bytearray) -> None:
        """Append to a file. Raises HttpError (507): the disk is full; MachineError."""
        check_room(self.folder, len(data))
        try:
            write_all(handle, data)
        except OSError as exc:
            raise _failed(exc, "write an upload") from exc

    def close(self, handle: int, number: int) -> None:
        """Bring to the disk what was written. Only then it counts as received. Raises MachineError, HttpError (507)."""
        try:
            os.fsync(handle)
            self.note(number, os.fstat(handle).st_size)
        except OSError as exc:
            raise _failed(exc, "write an upload") from exc
        finally:
            os.close(handle)

    def remove(self) -> None:
        """All of it; what cannot be removed is looked for at the next start."""
        with suppress(OSError):
            shutil.rmtree(self.folder)


def _failed(exc: Exception, doing: str) -> Exception:
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return full(f"cannot {doing}: the disk is full")
    return machine_error(doing, exc if isinstance(exc, OSError) else OSError("something strange lies there"))
