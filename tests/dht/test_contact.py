"""Which addresses may be believed from whom (docs/spec/dht.md section 4)."""

import pytest

from dht.contact import Contact, Scope, believable, scope, subnet, unpack_contact
from protocol.errors import RemoteProtocolError
from protocol.hashing import plain_digest
from protocol.ids import Address, PublicKey

KEY = PublicKey(bytes(range(32)))
LOOPBACK, PRIVATE, PUBLIC = Address("127.0.0.1", 1), Address("192.168.0.1", 1), Address("45.0.0.1", 1)


@pytest.mark.parametrize("host", ["45.0.0.1", "2a00::1"])
def test_a_contact_is_packed_and_unpacked(host: str) -> None:
    contact = Contact(KEY, Address(host, 4110))
    assert contact.node_id == plain_digest(KEY)
    assert len(contact.pack()) == (50 if ":" in host else 38)
    assert unpack_contact(contact.pack()) == contact


@pytest.mark.parametrize("data", [b"", bytes(38), KEY + bytes(5), KEY + bytes(19), KEY + bytes(6)])
def test_what_is_no_contact(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        unpack_contact(data)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("127.9.9.9", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("10.1.2.3", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("169.254.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fc00::1", Scope.PRIVATE),
        ("fe80::1", Scope.PRIVATE),
        ("45.0.0.1", Scope.PUBLIC),
        ("100.128.0.1", Scope.PUBLIC),
        ("2a00::1", Scope.PUBLIC),
        ("0.0.0.0", Scope.NOWHERE),
        ("::", Scope.NOWHERE),
        ("224.0.0.1", Scope.NOWHERE),
        ("ff02::1", Scope.NOWHERE),
        ("255.255.255.255", Scope.NOWHERE),
        ("240.0.0.1", Scope.NOWHERE),
    ],
)
def test_scopes(host: str, expected: Scope) -> None:
    assert scope(host) is expected


def test_who_may_name_what() -> None:
    may = {
        (named, by): believable(named, by)
        for named in (LOOPBACK, PRIVATE, PUBLIC)
        for by in (LOOPBACK, PRIVATE, PUBLIC)
    }
    assert {pair for pair, allowed in may.items() if not allowed} == {
        (LOOPBACK, PRIVATE),
        (LOOPBACK, PUBLIC),
        (PRIVATE, PUBLIC),
    }
    assert not any(believable(Address("224.0.0.1", 1), by) for by in (LOOPBACK, PRIVATE, PUBLIC))


def test_subnets_are_counted_on_public_addresses_only() -> None:
    assert subnet("45.1.2.3") == subnet("45.1.2.200") == bytes([45, 1, 2])
    assert subnet("45.1.3.3") != subnet("45.1.2.3")
    assert subnet("2a00:1:2:3::1") == subnet("2a00:1:2:ffff::1") != subnet("2a00:1:3::1")
    assert subnet("127.0.0.1") is subnet("10.0.0.1") is subnet("fc00::1") is None
