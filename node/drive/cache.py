"""The last copy of a drive, in its home: what is shown offline, and what keeps a change that the network has not yet.

One file for each network, sealed under the account's cache key (docs/spec/drive.md section 5).
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from node.blocking import Blocking
from node.drive.tree import drive_full
from node.errors import MachineError, RefusedError, machine_error
from node.home import write_private
from protocol.drive import Drive
from protocol.drivecache import MAX_CACHE_BYTES, NONCE_BYTES, CachedDrive, open_cache, seal_cache
from protocol.errors import DriveFullError, IntegrityError, RemoteProtocolError
from protocol.hashing import plain_digest
from protocol.ids import NetworkId

PATIENCE_SECONDS = 60.0
"""How long a command waits for another one of this home that is sending the drive."""
_LOOK_SECONDS = 0.1


Step = Callable[[CachedDrive], CachedDrive]
"""From what is remembered to what is to be remembered. Called once; it blocks."""


class DriveCache:
    """The file. Reading and writing it blocks: for seconds, when the drive is the largest there may be. What was read
    or written last stays open here, and is not opened again while the file is the same."""

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
        self._opened: tuple[bytes, CachedDrive] | None = None
        """Hash of the file, and what it says."""

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
        known, found = plain_digest(data), self._opened
        if found is not None and found[0] == known:
            return found[1]
        try:
            cached = open_cache(self._key, self._network, data)
        except (RemoteProtocolError, IntegrityError) as exc:
            raise MachineError(
                f"cannot use the drive's last copy {str(self._path)!r}: {exc}",
                hint="move it away: the drive is read from the network then; a change that was never sent is lost",
            ) from exc
        self._opened = (known, cached)
        return cached

    def save(self, cached: CachedDrive) -> None:
        """Put it in the place of what was there; on disk when this returns.

        Raises:
            RefusedError: The drive is full.
            MachineError: It cannot be written; the file is as it was.
        """
        try:
            data = seal_cache(self._key, self._network, cached, self._random_bytes(NONCE_BYTES))
        except DriveFullError as exc:
            raise drive_full(exc) from exc
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self._path, data, replace=True)
        except OSError as exc:
            raise machine_error("write the drive's last copy", exc) from exc
        self._opened = (plain_digest(data), cached)

    async def update(self, blocking: Blocking, step: Step) -> CachedDrive:
        """Replace what is there by what ``step`` makes of it, and return that; nothing comes between.

        Raises:
            NodeError: As :meth:`load` and :meth:`save`, and as ``step`` does: nothing was changed.
            RefusedError: Another command did not let go within PATIENCE_SECONDS.
        """

        def stepped() -> CachedDrive:
            before = self.load()
            after = step(before)
            if after != before:
                self.save(after)
            return after

        busy = RefusedError(
            "another command is writing the drive's last copy", hint="wait until it ends, and try again"
        )
        async with self._locked("lock", busy):
            return await blocking(stepped)

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Alone among the processes of this home to bring the drive to the network.

        Raises:
            RefusedError: Another one did not end within PATIENCE_SECONDS.
            MachineError: The lock file cannot be used.
        """
        async with self._locked(
            "sending", RefusedError("another command is sending the drive", hint="try again later")
        ):
            yield

    @asynccontextmanager
    async def _locked(self, what: str, busy: RefusedError) -> AsyncIterator[None]:
        """Holding a lock. A process that dies lets go."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(f"{self._path}.{what}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise machine_error("lock the drive", exc) from exc
        try:
            with trio.move_on_after(PATIENCE_SECONDS) as scope:
                while not _taken(handle):  # noqa: ASYNC110 - another process tells nobody that it has ended
                    await trio.sleep(_LOOK_SECONDS)
            if scope.cancelled_caught:
                raise busy
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
