"""Whom a node knew when it last ran: a file beside its chunks, without which it goes on all the same."""

import logging
from collections.abc import Sequence
from pathlib import Path

from dht.contact import Contact
from dht.state import read_contacts, write_contacts

log = logging.getLogger(__name__)


def remembered_contacts(path: Path) -> list[Contact]:
    """Whom the file names; nobody, with a warning, if it cannot be read. Blocks."""
    try:
        return read_contacts(path)
    except OSError as exc:
        log.warning("could not read the remembered contacts: %s", exc)
        return []


def remember_contacts(path: Path, contacts: Sequence[Contact]) -> None:
    """Remember whom we know; an empty table is no reason to forget. What cannot be written is logged. Blocks."""
    if contacts:
        try:
            write_contacts(path, contacts)
        except OSError as exc:
            log.warning("could not remember contacts: %s", exc)
