"""The last copy of a drive, in its home: what is shown offline, and what keeps a change that the network has not yet.

One file for each network, sealed under the account's cache key (docs/spec/drive.md section 5).
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from node.errors import MachineError, RefusedError, machine_error
from node.home import write_private
from protocol.drive import Drive
from protocol.drivecache import MAX_CACHE_BYTES, NONCE_BYTES, CachedDrive, open_cache, seal_cache
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import NetworkId

PATIENCE_SECONDS = 60.0
"""How long a command waits for another one of this home that is changing the drive."""
_LOOK_SECONDS = 0.1


class DriveCache:
    """The file. Reading and writing it blocks, for a quarter of a second when the drive is the largest there may be."""

    def __init__(self, path: Path, key: bytes, network: NetworkId, random_bytes: Callable[[int], bytes]) -> None:
        """
        Args:
            path: The file, which need not be there.
            key: The account's cache key, 32 bytes.
            network: The network that the drive is on.
            random_bytes: For nonces.
        """
        self._path = path
        self._key = key
        self._network = network
        self._random_bytes = random_bytes

    def load(self) -> CachedDrive:
        """What is there; an empty drive if nothing is.

        Raises:
            MachineError: It cannot be read, is damaged, or another account's. It is never thrown away by itself: it
                may hold what the network has not.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_CACHE_BYTES + 1)
        except FileNotFoundError:
            return CachedDrive(drive=Drive())
        except OSError as exc:
            raise machine_error("read the drive's last copy", exc) from exc
        try:
            return open_cache(self._key, self._network, data)
        except (RemoteProtocolError, IntegrityError) as exc:
            raise MachineError(
                f"cannot use the drive's last copy {str(self._path)!r}: {exc}",
                hint="move it away: the drive is read from the network then; a change that was never sent is lost",
            ) from exc

    def save(self, cached: CachedDrive) -> None:
        """Put it in the place of what was there; on disk when this returns.

        Raises:
            MachineError: It cannot be written; the file is as it was.
        """
        data = seal_cache(self._key, self._network, cached, self._random_bytes(NONCE_BYTES))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self._path, data, replace=True)
        except OSError as exc:
            raise machine_error("write the drive's last copy", exc) from exc

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Alone among the processes of this home. A process that dies lets go.

        Raises:
            RefusedError: Another one did not end within PATIENCE_SECONDS.
            MachineError: The lock file cannot be used.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise machine_error("lock the drive", exc) from exc
        try:
            with trio.move_on_after(PATIENCE_SECONDS) as scope:
                while not _taken(handle):  # noqa: ASYNC110 - another process tells nobody that it has ended
                    await trio.sleep(_LOOK_SECONDS)
            if scope.cancelled_caught:
                raise RefusedError("another command is changing the drive", hint="wait until it ends, and run it again")
            yield
        finally:
            os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        raise machine_error("lock the drive", exc) from exc
    return True
