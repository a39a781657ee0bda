"""Contacts remembered between runs: how a node finds back when those it first joined through are gone."""

import os
from collections.abc import Iterable
from pathlib import Path

from dht.contact import Contact, unpack_contact
from protocol.errors import RemoteProtocolError

MAX_CONTACTS = 1000
_MAX_LINE = 2 * 50
"""Hex digits of a contact with an IPv6 address."""


def write_contacts(path: Path, contacts: Iterable[Contact]) -> None:
    """Replace the file: one contact to a line, hex of key and address. Afterwards it is the old or the new
    one, whole.

    Raises:
        OSError: The disk is full, or the folder is not ours.
    """
    lines = [contact.pack().hex() for contact in contacts][:MAX_CONTACTS]
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
