"""Two ways to rename that destroy nothing, whatever other programs do meanwhile: Linux' ``renameat2``.

Where the system or the file system has none, it is looked first and renamed then.
"""

import ctypes
import errno
import os
from typing import NamedTuple

_NO_REPLACE, _EXCHANGE = 1, 2
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_ASIDE = b".aside"


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


def move(source: Place, target: Place) -> None:
    """Rename to where nothing is.

    Raises:
        FileExistsError: Something is there; both are as they were.
        OSError: It cannot be done.
    """
    if not _renameat2(source, target, _NO_REPLACE):
        if target.look() is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name)
        _rename(source, target)


def exchange(one: Place, other: Place) -> None:
    """Each gets what the other had.

    Raises:
        OSError: It cannot be done.
    """
    if not _renameat2(one, other, _EXCHANGE):
        aside = Place(one.folder, one.name + _ASIDE)
        _rename(other, aside)
        _rename(one, other)
        _rename(aside, one)


def _rename(source: Place, target: Place) -> None:
    os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)


def _system_call() -> "ctypes._NamedFuncPointer | None":
    try:
        found = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return found


_call = _system_call()


def _renameat2(source: Place, target: Place, flag: int) -> bool:
    """Whether the system did it; False: it does not know how to. Raises OSError: it knows, and cannot."""
    if _call is None or _call(source.folder, source.name, target.folder, target.name, flag) == 0:
        return _call is not None
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), target.name)
