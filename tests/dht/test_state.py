"""Remembered contacts."""

from pathlib import Path

from dht.contact import Contact
from dht.state import MAX_CONTACTS, pack_contacts, read_contacts
from protocol.ids import Address, PublicKey

CONTACTS = [
    Contact(PublicKey(bytes([number]) * 32), Address(host, 4110))
    for number, host in enumerate(["45.0.0.1", "2a00::1", "127.0.0.1"])
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "contacts"
    assert read_contacts(path) == []
    for contacts in (CONTACTS, CONTACTS[:1], []):
        path.write_bytes(pack_contacts(contacts))
        assert read_contacts(path) == contacts


def test_bad_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "contacts"
    path.write_bytes(pack_contacts(CONTACTS))
    path.write_bytes(b"rubbish\n" + path.read_bytes() + b"\xff\xfe\n00\n" + CONTACTS[0].pack().hex().encode()[:40])
    assert read_contacts(path) == CONTACTS


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "contacts"
    path.write_bytes(pack_contacts(CONTACTS * 1000))
    assert len(read_contacts(path)) == MAX_CONTACTS
    path.write_bytes(path.read_bytes() * 20)
    assert len(read_contacts(path)) < 2 * MAX_CONTACTS
