"""The file of remembered contacts: by it a node finds back into the network (dht/state.py)."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from dht.contact import Contact
from dht.state import pack_contacts, read_contacts
from node.blocking import Blocking
from node.home import write_private

log = logging.getLogger(__name__)

SAVE_SECONDS = 300.0


def recall_contacts(path: Path) -> list[Contact]:
    """Whom the last run knew; nobody, and a warning, when the file cannot be read."""
    try:
        return read_contacts(path)
    except OSError as exc:
        log.warning("could not read the remembered contacts: %s", exc)
        return []


def remember_contacts(path: Path, contacts: Sequence[Contact]) -> None:
    """Write down whom we know; an empty table is no reason to forget."""
    if contacts:
        try:
            write_private(path, pack_contacts(contacts), replace=True)
        except OSError as exc:
            log.warning("could not remember contacts: %s", exc)


async def keep_contacts(path: Path, contacts: Callable[[], Sequence[Contact]], blocking: Blocking) -> None:
    """Write them down every SAVE_SECONDS, until cancelled."""
    while True:
        await blocking(remember_contacts, path, contacts())
        await trio.sleep(SAVE_SECONDS)
