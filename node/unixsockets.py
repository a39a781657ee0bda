"""Unix sockets in a folder of ours: made so that only the owner reaches them, found however long the path is."""

import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATH_BYTES = 100
"""What a unix socket's address can hold: 108 bytes on Linux, 104 on macOS, one of them a zero."""

_UCRED = struct.Struct("iII")
"""Process, user, group: SO_PEERCRED of Linux."""
_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES = 0, 1, 76
"""Of macOS: version (4), user (4), groups."""


def listening_socket(path: Path, backlog: int) -> socket.socket:
    """A listening socket that only the owner can reach, in place of one that was left behind there.

    The caller holds a lock that keeps others from doing the same.

    Raises:
        OSError: It cannot be made; another kind of file is in the way.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):  # of a process that was killed: we hold the lock
            path.unlink()
    sock = socket.socket(socket.AF_UNIX)
    try:
        with socket_address(path) as address:
            sock.bind(address)
        path.chmod(0o600)  # before it listens: until then nobody can connect
        sock.listen(backlog)
    except BaseException:  # whatever it was, the socket must not stay open
        sock.close()
        raise
    return sock


def peer_uid(connection: socket.socket) -> int:
    """The user of the process at the other end, as the system knows it. Raises OSError."""
    if hasattr(socket, "SO_PEERCRED"):
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(found)[1])
    found = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES)
    return int.from_bytes(found[4:8], sys.byteorder)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """The socket's path, or one that is short enough: through this process's handle of the folder (Linux)."""
    text = str(path)
    if len(os.fsencode(text)) <= _PATH_BYTES:
        yield text
        return
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)
