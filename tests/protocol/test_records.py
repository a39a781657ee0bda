"""Signed bodies and provider records: exact bytes, bounds, and that nothing unsigned gets through."""

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.errors import LocalProtocolError, RemoteProtocolError, SignatureError, WrongNetworkError
from protocol.identity import Network
from protocol.ids import Address, ChunkId, SegmentId
from protocol.records import (
    NodeRecord,
    ProviderRecord,
    Receipt,
    is_country,
    open_node_record,
    open_provider,
    open_receipt,
    sign_node_record,
    sign_receipt,
)
from tests.strategies import (
    IDENTITY,
    NETWORK,
    STRANGER,
    addresses,
    claimed_countries,
    damaged,
    node_records,
    receipts,
    seconds,
    uint,
)

OTHER = Network("other")
SEGMENT = SegmentId(b"\xaa" * 32)
NODE = NodeRecord(
    network=NETWORK.id,
    key=IDENTITY.key,
    address=Address("127.0.0.1", 4110),
    country="FR",
    free_bytes=2**63,
    storing=True,
    time=1_700_000_000,
    software="archipel 0.1.0",
)
RECEIPT = Receipt(
    network=NETWORK.id,
    key=IDENTITY.key,
    segment=SEGMENT,
    index=31,
    chunk_id=ChunkId(b"\xcc" * 32),
    expiry=2**64 - 1,
    country="",
    time=1_700_000_000,
)
NODE_BODY_HEX = (
    "99"  # array of 9
    "01" + ("c420" + NETWORK.id.hex()) + ("c420" + IDENTITY.key.hex()) + "c4067f000001100e"  # version  # address
    "a24652"  # country
    "cf8000000000000000"  # free bytes
    "c3"  # storing
    "ce6553f100"  # time
    "ae" + b"archipel 0.1.0".hex()
)
RECEIPT_BODY_HEX = (
    "99"  # array of 9
    "01"  # version
    + ("c420" + NETWORK.id.hex())
    + ("c420" + IDENTITY.key.hex())
    + ("c420" + "aa" * 32)  # segment
    + "1f"  # index
    + ("c420" + "cc" * 32)  # chunk id
    + "cfffffffffffffffff"  # expiry
    "a0"  # country unknown
    "ce6553f100"  # time
)


def provider(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "index": 31,
        "expiry": 1_700_000_000,
        "country": "FR",
        "address": Address("127.0.0.1", 4110),
    }
    return ProviderRecord.sign(IDENTITY, NETWORK.id, SEGMENT, **(fields | changes))


def signed(label: str, *fields: Any) -> bytes:
    """A body signed as it stands, whatever its fields."""
    return IDENTITY.sign_body(label, msgpack.packb(list(fields)))


def test_a_node_record_byte_by_byte() -> None:
    body = bytes.fromhex(NODE_BODY_HEX)
    data = sign_node_record(IDENTITY, NODE)
    assert data == IDENTITY.sign("node record", body) + body
    assert open_node_record(data, NETWORK.id) == NODE


def test_a_receipt_byte_by_byte() -> None:
    body = bytes.fromhex(RECEIPT_BODY_HEX)
    data = sign_receipt(IDENTITY, RECEIPT)
    assert data == IDENTITY.sign("receipt", body) + body
    assert open_receipt(data, NETWORK.id) == RECEIPT


@pytest.mark.parametrize(
    ("changes", "packed"),
    [
        ({}, "1f%s000000006553f10046527f000001100e"),
        ({"index": 0, "country": ""}, "00%s000000006553f10000007f000001100e"),
        (
            {"expiry": 2**64 - 1, "address": Address("2001:db8::1", 1)},
            "1f%sffffffffffffffff465220010db80000000000000000000000010001",
        ),
    ],
)
def test_a_provider_record_byte_by_byte(changes: dict[str, Any], packed: str) -> None:
    body = bytes.fromhex(packed % IDENTITY.key.hex())
    data = provider(**changes)
    assert data == body + IDENTITY.sign("provider", NETWORK.id + SEGMENT + body)
    assert len(data) in (113, 125)
    record = open_provider(NETWORK.id, SEGMENT, data)
    assert record.key == IDENTITY.key
    assert (record.index, record.country) == (changes.get("index", 31), changes.get("country", "FR"))


@given(node_records)
def test_node_records_survive_the_trip(record: NodeRecord) -> None:
    data = sign_node_record(IDENTITY, record)
    assert open_node_record(data, NETWORK.id) == record
    assert len(data) <= 512


@given(receipts)
def test_receipts_survive_the_trip(receipt: Receipt) -> None:
    data = sign_receipt(IDENTITY, receipt)
    assert open_receipt(data, NETWORK.id) == receipt
    assert len(data) <= 512


@given(uint(31), seconds, claimed_countries, addresses)
def test_provider_records_survive_the_trip(index: int, expiry: int, country: str, address: Address) -> None:
    data = provider(index=index, expiry=expiry, country=country, address=address)
    assert open_provider(NETWORK.id, SEGMENT, data) == ProviderRecord(
        index=index, key=IDENTITY.key, expiry=expiry, country=country, address=address
    )
    assert len(data) == (125 if ":" in address.host else 113)


@pytest.mark.parametrize(
    "changes",
    [
        {"address": Address("127.0.0.1", 0)},
        {"address": Address("127.0.0.1", 65_536)},
        {"country": "fr"},
        {"country": "FRA"},
        {"free_bytes": 2**63 + 1},
        {"free_bytes": -1},
        {"storing": 1},
        {"time": 2**64},
        {"software": "x" * 33},
        {"software": "é" * 17},
        {"version": 2},
        {"network": b"short"},
    ],
)
def test_node_records_at_their_limits(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        sign_node_record(IDENTITY, dataclasses.replace(NODE, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 32},
        {"index": -1},
        {"segment": bytes(31)},
        {"chunk_id": bytes(33)},
        {"expiry": 2**64},
        {"country": "F"},
        {"time": -1},
        {"version": True},
    ],
)
def test_receipts_at_their_limits(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        sign_receipt(IDENTITY, dataclasses.replace(RECEIPT, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 32},
        {"index": -1},
        {"expiry": 2**64},
        {"country": "fr"},
        {"country": "ÉÉ"},
        {"address": Address("127.0.0.1", 0)},
        {"address": Address("::ffff:1.2.3.4", 1)},
    ],
)
def test_provider_records_at_their_limits(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        provider(**changes)


def test_we_sign_for_ourselves_only() -> None:
    with pytest.raises(LocalProtocolError, match="another key"):
        sign_node_record(STRANGER, NODE)
    with pytest.raises(LocalProtocolError, match="another key"):
        sign_receipt(STRANGER, RECEIPT)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (0, 2),
        (0, True),
        (1, bytes(31)),
        (2, bytes(31)),
        (3, b""),
        (3, bytes(7)),
        (3, b"\x7f\0\0\1\0\0"),
        (4, "fr"),
        (4, "F"),
        (4, "FRA"),
        (4, "\0\0"),
        (4, None),
        (5, -1),
        (5, 2**63 + 1),
        (6, 1),
        (7, -1),
        (8, "x" * 33),
    ],
)
def test_a_signature_does_not_excuse_a_bad_node_record(at: int, value: Any) -> None:
    fields: list[Any] = msgpack.unpackb(bytes.fromhex(NODE_BODY_HEX))
    fields[at] = value
    with pytest.raises(RemoteProtocolError, match="cannot decode NodeRecord"):
        open_node_record(signed("node record", *fields), NETWORK.id)


@pytest.mark.parametrize("index", [32, 255])
def test_a_signature_does_not_excuse_a_bad_provider_record(index: int) -> None:
    body = bytes([index]) + provider()[1:-64]
    data = body + IDENTITY.sign("provider", NETWORK.id + SEGMENT + body)
    with pytest.raises(RemoteProtocolError, match="cannot decode a provider record"):
        open_provider(NETWORK.id, SEGMENT, data)


@pytest.mark.parametrize("country", [b"fr", b"F\0", b"\0F", b"\xff\xff", b"12"])
def test_a_packed_country_is_letters_or_zeros(country: bytes) -> None:
    body = provider()[:-64]
    body = body[:41] + country + body[43:]
    data = body + IDENTITY.sign("provider", NETWORK.id + SEGMENT + body)
    with pytest.raises(RemoteProtocolError, match="cannot decode a provider record"):
        open_provider(NETWORK.id, SEGMENT, data)


def test_a_record_of_another_network_is_told_apart() -> None:
    with pytest.raises(WrongNetworkError):
        open_node_record(sign_node_record(IDENTITY, NODE), OTHER.id)
    with pytest.raises(WrongNetworkError):
        open_receipt(sign_receipt(IDENTITY, RECEIPT), OTHER.id)
    with pytest.raises(SignatureError):  # its network is not in it
        open_provider(OTHER.id, SEGMENT, provider())
    with pytest.raises(SignatureError):
        open_provider(NETWORK.id, SegmentId(bytes(32)), provider())


def test_a_record_signed_by_another_key_or_for_another_purpose_proves_nothing() -> None:
    body = bytes.fromhex(NODE_BODY_HEX)
    for forged in (STRANGER.sign_body("node record", body), IDENTITY.sign_body("receipt", body)):
        with pytest.raises(SignatureError):
            open_node_record(forged, NETWORK.id)


def test_a_forged_network_is_a_bad_signature_first() -> None:
    body = encode(dataclasses.replace(NODE, network=OTHER.id))
    with pytest.raises(SignatureError):
        open_node_record(STRANGER.sign_body("node record", body), NETWORK.id)


@pytest.mark.parametrize("size", [0, 64, 112, 114, 124, 126])
def test_a_provider_record_has_two_lengths(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="113 or 125"):
        open_provider(NETWORK.id, SEGMENT, bytes(size))


def test_a_record_is_bounded_before_it_is_read() -> None:
    data = sign_node_record(IDENTITY, NODE)
    for opener in (open_node_record, open_receipt):
        with pytest.raises(RemoteProtocolError, match="at most 512 bytes"):
            opener(data + bytes(513 - len(data)), NETWORK.id)


@given(st.data())
def test_damage_is_found(data: st.DataObject) -> None:
    for record in (sign_node_record(IDENTITY, NODE), sign_receipt(IDENTITY, RECEIPT)):
        bad = data.draw(damaged(record))
        for opener in (open_node_record, open_receipt):
            with pytest.raises(RemoteProtocolError):
                opener(bad, NETWORK.id)
    with pytest.raises(RemoteProtocolError):
        open_provider(NETWORK.id, SEGMENT, data.draw(damaged(provider())))


@given(st.binary(max_size=600))
def test_garbage_is_refused(data: bytes) -> None:
    for opener in (open_node_record, open_receipt):
        with pytest.raises(RemoteProtocolError):
            opener(data, NETWORK.id)
    with pytest.raises(RemoteProtocolError):
        open_provider(NETWORK.id, SEGMENT, data)


@given(st.text(max_size=3))
def test_a_country_is_two_upper_case_letters(text: str) -> None:
    letters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert is_country(text) == (len(text) == 2 and set(text) <= letters)


@pytest.mark.parametrize("text", ["", "fr", "F", "FRA", "F1", "ÉÉ", "Fr", "F ", "🇫🇷"])
def test_what_is_no_country(text: str) -> None:
    assert not is_country(text)


def test_every_byte_counts() -> None:
    for data in (sign_node_record(IDENTITY, NODE), sign_receipt(IDENTITY, RECEIPT), provider()):
        for at in range(len(data)):
            bad = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            for opener in (open_node_record, open_receipt):
                with pytest.raises(RemoteProtocolError):
                    opener(bad, NETWORK.id)
            with pytest.raises(RemoteProtocolError):
                open_provider(NETWORK.id, SEGMENT, bad)
