"""The file of remembered contacts (node/serving/contacts.py)."""

import logging
import threading
from pathlib import Path

import pytest

from dht.contact import Contact
from node.serving.contacts import recall_contacts, remember_contacts
from protocol.ids import Address, PublicKey

CONTACTS = [Contact(PublicKey(bytes([number]) * 32), Address("45.0.0.1", 4110 + number)) for number in range(200)]


def test_what_cannot_be_remembered_leaves_what_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "contacts"
    remember_contacts(path, CONTACTS)
    remember_contacts(path, [])
    assert recall_contacts(path) == CONTACTS, "an empty table is no reason to forget"
    (tmp_path / ".contacts.0123456789abcdef.part").mkdir()
    remember_contacts(path, CONTACTS[:1])
    assert "could not remember contacts" in caplog.text
    assert recall_contacts(path) == CONTACTS


def test_several_remember_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As commands of one home do that end together."""
    path = tmp_path / "contacts"
    remember_contacts(path, CONTACTS)

    def remember(contacts: list[Contact]) -> None:
        for _ in range(20):
            remember_contacts(path, contacts)

    threads = [threading.Thread(target=remember, args=(contacts,)) for contacts in (CONTACTS, CONTACTS[:1])]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert recall_contacts(path) in (CONTACTS, CONTACTS[:1])
    assert not caplog.text
    assert list(tmp_path.iterdir()) == [path]
