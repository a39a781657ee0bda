"""A node's data folder: one process at a time, and a key nobody else can read."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import MachineError, machine_error
from node.home import secret_file
from protocol.identity import SEED_BYTES, Identity

LOCK_FILE = "lock"
KEY_FILE = "node.key"
CONTACTS_FILE = "contacts"


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Make the folder ``path`` if there is none, and keep other processes out of it.

    The lock is the system's, which forgets that of a process that died.

    Raises:
        MachineError: Another process uses the folder, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise machine_error("use the data folder", exc) from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise MachineError(
                f"another node uses {path}", hint="stop it, or give this node a folder of its own: --data DIR"
            ) from exc
        yield
    finally:
        os.close(handle)


def load_identity(path: Path, random_bytes: Callable[[int], bytes]) -> Identity:
    """The node's identity, made on first use. Raises MachineError."""
    return Identity(secret_file(path / KEY_FILE, SEED_BYTES, random_bytes))
