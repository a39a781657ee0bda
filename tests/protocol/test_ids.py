"""Ids and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.hashing import plain_digest
from protocol.ids import Address, PublicKey, node_id, short
from tests.strategies import addresses

V4 = "7f000001100e"
V6 = "20010db8000000000000000000000001100e"


@pytest.mark.parametrize(
    ("address", "packed", "text"),
    [
        (Address("127.0.0.1", 4110), V4, "127.0.0.1:4110"),
        (Address("2001:db8::1", 4110), V6, "[2001:db8::1]:4110"),
        (Address("0.0.0.0", 1), "000000000001", "0.0.0.0:1"),
        (Address("255.255.255.255", 65535), "ffffffffffff", "255.255.255.255:65535"),
    ],
)
def test_addresses(address: Address, packed: str, text: str) -> None:
    assert address.pack().hex() == packed
    assert Address.unpack(bytes.fromhex(packed)) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "packed",
    [
        "",
        "7f0000",
        "7f0000010000",  # port 0
        "7f00000110",
        "7f000001100e00",
        "00000000000000000000ffff7f000001100e",  # ::ffff:127.0.0.1
        V6[:-2],
        V6 + "00",
    ],
)
def test_an_address_has_one_encoding(packed: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Address.unpack(bytes.fromhex(packed))


@given(addresses)
def test_unpacking_undoes_packing(address: Address) -> None:
    assert Address.unpack(address.pack()) == address


@given(st.binary(max_size=20))
def test_garbage_is_refused_or_canonical(data: bytes) -> None:
    try:
        address = Address.unpack(data)
    except RemoteProtocolError:
        return
    assert address.pack() == data


def test_a_node_id_is_the_plain_hash_of_the_key() -> None:
    key = PublicKey(bytes(32))
    assert node_id(key) == plain_digest(key)


def test_short_ids_tell_apart_and_no_more() -> None:
    assert short(bytes(range(32))) == "00010203"
