"""Contacts remembered between runs: how a node finds back when those it first joined through are gone."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from dht.contact import Contact, unpack_contact
from protocol.errors import RemoteProtocolError

MAX_CONTACTS = 1000
_MAX_LINE = 2 * 50
"""Hex digits of a contact with an IPv6 address."""


def pack_contacts(contacts: Iterable[Contact]) -> bytes:
    """The content of the file: one contact to a line, hex of key and address; of the first MAX_CONTACTS."""
    return b"".join(b"%s\n" % contact.pack().hex().encode() for contact in islice(contacts, MAX_CONTACTS))


def read_contacts(path: Path) -> list[Contact]:
    """Read the file. None there, or lines that are no contacts: nothing remembered, and nothing wrong.

    Raises:
        OSError: It exists and cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONTACTS * (_MAX_LINE + 1))
    except FileNotFoundError:
        return []
    contacts = []
    for line in text.split():
        try:
            contacts.append(unpack_contact(bytes.fromhex(line.decode("ascii"))))
        except (ValueError, RemoteProtocolError):
            continue
    return contacts
