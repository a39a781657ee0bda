"""The home folder: who this depositor is, and what it remembers between commands."""

import fcntl
import glob
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node.errors import MachineError, RefusedError, machine_error
from node.store.chunkfile import sync_folder, write_all
from protocol.identity import SEED_BYTES, Identity
from protocol.ids import NetworkId, PublicKey

SECRET_BYTES = 32
_IDENTITY_FILE = "identity.key"
_PART = ".part"


class Signer(Protocol):
    """Signs leases for what one home has published, be it by one key or by several."""

    def identity_of(self, depositor: PublicKey | None) -> Identity:
        """The identity that published. None: the unnamed one of the home.

        Raises:
            RefusedError: It is not at hand.
        """
        ...


@dataclass(frozen=True, slots=True)
class Depositor:
    """The identity that signs leases, and the secret that segment keys derive from."""

    identity: Identity
    convergence_secret: bytes
    account: bool = False
    """Whether they are an account's; else those of the unnamed identity of one home."""

    def identity_of(self, depositor: PublicKey | None) -> Identity:
        """As of a home that this depositor alone has published from (see :class:`Signer`)."""
        if depositor not in (None, self.identity.key):
            raise RefusedError("another depositor has published it")
        return self.identity

    def __repr__(self) -> str:
        return f"Depositor({self.identity!r})"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside the home folder."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "deposits.sqlite"

    @property
    def names(self) -> Path:
        """What was seen of names (node/names/seen.py)."""
        return self.path / "names.sqlite"

    @property
    def contacts(self) -> Path:
        return self.path / "contacts"

    def drive(self, network: NetworkId) -> Path:
        """The last copy of the account's drive on one network (node/drive/cache.py)."""
        return self.path / f"drive-{network[:8].hex()}"

    @property
    def transfers(self) -> Path:
        """Uploads and downloads of a node for its page (node/web/transfers/table.py)."""
        return self.path / "transfers.sqlite"

    def uploads(self, network: NetworkId) -> Path:
        """What has been uploaded to be published on one network, and is not yet (node/web/transfers/spool.py)."""
        return self.path / "uploads" / network[:8].hex()

    @property
    def node(self) -> Path:
        """The default data folder of a storage node."""
        return self.path / "node"

    @property
    def devnet(self) -> Path:
        """The default folder of a local network."""
        return self.path / "devnet"

    @property
    def account(self) -> Path:
        """The account file (node/account/vault.py)."""
        return self.path / "account"

    @property
    def device(self) -> Path:
        """What the person calls this machine (node/account/device.py)."""
        return self.path / "device"

    @property
    def has_depositor(self) -> bool:
        """Whether the unnamed identity has been made."""
        return (self.path / _IDENTITY_FILE).exists()

    def create(self) -> None:
        """Make the folder, readable by its owner alone."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise machine_error("create the home folder", exc) from exc

    def depositor(self) -> Depositor:
        """The unnamed depositor of this home, made on first use."""
        self.create()
        seed = secret_file(self.path / _IDENTITY_FILE, SEED_BYTES)
        return Depositor(Identity(seed), secret_file(self.path / "convergence.secret", SECRET_BYTES))


def secret_file(path: Path, size: int, make: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Read a secret of ``size`` bytes, making it (mode 0600, on disk before it is used) if there is none.

    Raises:
        MachineError: It cannot be read or written, or has another size: it is never replaced.
    """
    doing = "read"
    try:
        if not path.exists():
            doing = "write"
            _write_secret(path, make(size))
        found = path.read_bytes()
        _clear_parts(path)  # of a process that was killed while it made one
    except OSError as exc:
        exc.filename = exc.filename or str(path)  # a disk that is full does not say where
        raise machine_error(doing, exc) from exc
    if len(found) != size:
        raise MachineError(
            f"{path} is damaged: want {size} bytes, got {len(found)}",
            hint="restore it from a backup; it is never replaced by itself",
        )
    return found


def _write_secret(path: Path, secret: bytes) -> None:
    """Whole or not at all, and never over one that another process made in the meantime."""
    try:
        write_private(path, secret)
    except FileExistsError:  # another was quicker
        sync_folder(path.parent)  # what it made is used from now on


def write_private(path: Path, data: bytes, *, replace: bool = False, mode: int = 0o600) -> None:
    """Write a file that only its owner can read, whole or not at all; on disk when this returns. Several may at once.

    Args:
        path: Where to.
        data: All of it.
        replace: Whether it may take the place of another.
        mode: Who may read it, if it is to be others as well.

    Raises:
        FileExistsError: It is there already, and not to be replaced.
        OSError: It cannot be written; what was there is as it was.
    """
    _clear_parts(path)
    part, handle = _new_part(path)
    try:
        write_all(handle, data)
        os.fchmod(handle, mode)
        os.fsync(handle)
        if replace:
            part.replace(path)
        else:
            path.hardlink_to(part)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)
    sync_folder(path.parent)


def _new_part(path: Path) -> tuple[Path, int]:
    """A new file beside ``path``, open for writing; locked, so that nobody takes it for one that was left behind."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_PART}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if _lock(handle) and os.fstat(handle).st_nlink:
                return part, handle
        except OSError:
            os.close(handle)
            part.unlink(missing_ok=True)
            raise
        os.close(handle)  # it was cleared away before it was locked


def _clear_parts(path: Path) -> None:
    """Remove what writers of ``path`` left who were killed: it may be all of a secret, under an old passphrase."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        with suppress(FileNotFoundError):  # its writer has ended, or another has cleared it away
            handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock(handle):
                    part.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False: somebody else has. Raises OSError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
