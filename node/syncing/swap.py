"""What Linux can do with files and Python cannot: two renames that destroy nothing, and bringing a whole file system to
the disk.

Where the system or the file system has no ``renameat2``, what is moved gets a second name, and then loses its first.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import NamedTuple

_NO_REPLACE, _EXCHANGE = 1, 2
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_ASIDE = b".aside"
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How folders are opened: no link is followed."""


class Place(NamedTuple):
    """A name in a folder that is held open: nobody can put a link in its way."""

    folder: int
    """Descriptor."""
    name: bytes

    def look(self) -> os.stat_result | None:
        """What is there, a link itself and not what it leads to; None: nothing."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def unlink(self) -> None:
        os.unlink(self.name, dir_fd=self.folder)

    def rmdir(self) -> None:
        os.rmdir(self.name, dir_fd=self.folder)

    def mkdir(self, mode: int = 0o777) -> None:
        os.mkdir(self.name, mode, dir_fd=self.folder)


def reading(place: Place) -> BufferedReader:
    """Open a file, no link and nothing that makes us wait."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.fdopen(os.open(place.name, flags, dir_fd=place.folder), "rb")


@contextmanager
def place_at(root: int, path: bytes) -> Iterator[Place]:
    """The place at the end of a path, every folder on the way opened in the one before."""
    *folders, name = path.split(b"/")
    handle = os.dup(root)
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER_FLAGS, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield Place(handle, name)
    finally:
        os.close(handle)


def move(source: Place, target: Place) -> None:
    """Rename to where nothing is.

    Raises:
        FileExistsError: Something is there; both are as they were.
        OSError: It cannot be done.
    """
    if not _renameat2(source, target, _NO_REPLACE):
        _link_over(source, target)


def _link_over(source: Place, target: Place) -> None:
    """A second name, which replaces nothing either, and the first one away. Where there are no second names: a look."""
    try:
        os.link(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in (*_NOT_HERE, errno.EPERM, errno.EMLINK):
            raise
        if target.look() is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name) from None
        _rename(source, target)
    else:
        source.unlink()


def exchange(one: Place, other: Place) -> None:
    """Each gets what the other had.

    Raises:
        OSError: It cannot be done.
    """
    if not _renameat2(one, other, _EXCHANGE):
        aside = Place(one.folder, one.name + _ASIDE)
        _rename(other, aside)
        try:
            move(one, other)
        except OSError:
            with suppress(FileExistsError):  # somebody made another one meanwhile: that stays
                move(aside, other)
            raise
        _rename(aside, one)


def _rename(source: Place, target: Place) -> None:
    os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)


def bring_to_disk(folder: int) -> None:
    """Have everything written so far on the disk: one wait, where an fsync for each of many files would be as many.

    Args:
        folder: Descriptor of any folder of the file system.

    Raises:
        OSError: Something could not be written.
    """
    if _syncfs is None:
        os.sync()
    elif _syncfs(folder) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _system_call(name: str, *arguments: type) -> "ctypes._NamedFuncPointer | None":
    try:
        found: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    found.argtypes = arguments
    return found


_rename2 = _system_call("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_syncfs = _system_call("syncfs", ctypes.c_int)


def _renameat2(source: Place, target: Place, flag: int) -> bool:
    """Whether the system did it; False: it does not know how to. Raises OSError: it knows, and cannot."""
    if _rename2 is None or _rename2(source.folder, source.name, target.folder, target.name, flag) == 0:
        return _rename2 is not None
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), target.name)
