"""Files of an upload on their way from the browser to the network: numbered, in a folder of their own in the home.

Nothing here is named from outside. How much of a file has come is how long it is: it only ever grows, in order, and
file systems write data before they write how long a file is.
"""

import errno
import os
import shutil
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import machine_error
from node.store.chunkfile import sync_folder, write_all
from node.web.answers import HttpError

KEPT_BYTES = 1 << 30
KEPT_SHARE = 20
"""An upload leaves so many bytes, or one part in so many of the file system, whichever is less, for all else."""
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
    received: "array[int]" = field(init=False)
    """Of each, what is on the disk."""
    missing: int = field(init=False)
    """Files that are not whole."""

    def __post_init__(self) -> None:
        self.received = array("q", bytes(8 * len(self.sizes)))
        self.missing = sum(size > 0 for size in self.sizes)

    @property
    def received_bytes(self) -> int:
        return sum(self.received)

    def place(self, number: int) -> Path:
        """Where a file lies, once something of it has come."""
        return self.folder / str(number)

    def make(self) -> None:
        """Make the folder. Raises MachineError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True)
            sync_folder(self.folder.parent)
            sync_folder(self.folder.parent.parent)
        except OSError as exc:
            raise machine_error("make room for an upload", exc) from exc

    def look(self) -> None:
        """Find out what has come, after a start. Raises MachineError."""
        try:
            with os.scandir(self.folder) as found:
                for item in found:
                    number = int(item.name)
                    self.note(number, min(item.stat().st_size, self.sizes[number]))
        except (OSError, ValueError, IndexError) as exc:
            raise _failed(exc, "read what was uploaded") from exc

    def note(self, number: int, received: int) -> None:
        """So much of a file is on the disk."""
        whole = (self.received[number] >= self.sizes[number], received >= self.sizes[number])
        self.missing -= whole == (False, True)
        self.received[number] = received

    def open(self, number: int) -> int:
        """A file to be written on from what has come of it. Raises MachineError."""
        place = self.place(number)
        try:
            new = not place.exists()
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if new:
                    sync_folder(self.folder)
                os.lseek(handle, self.received[number], os.SEEK_SET)
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
