"""Leases: exact bytes, bounds, and that nothing unsigned gets through."""

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError, SignatureError, WrongNetworkError
from protocol.hashing import digest
from protocol.identity import Network
from protocol.ids import SegmentId
from protocol.leases import MAX_LEASE_BYTES, Lease, Policy, lease_set_digest, open_lease, sign_lease
from tests.strategies import IDENTITY, NETWORK, STRANGER, damaged, leases

LEASE = Lease(
    network=NETWORK.id,
    depositor=IDENTITY.key,
    deposit=b"\xdd" * 16,
    segment=SegmentId(b"\xaa" * 32),
    size=16_777_216,
    sequence=2**64 - 1,
    expiry=1_700_000_000,
    policy=Policy(spread_countries=True, avoid=("RU", "US")),
)
BODY_HEX = (
    "9b"  # array of 11
    "01"  # version
    + ("c420" + NETWORK.id.hex())
    + ("c420" + IDENTITY.key.hex())
    + ("c410" + "dd" * 16)  # deposit
    + ("c420" + "aa" * 32)  # segment
    + "ce01000000"  # size
    "cfffffffffffffffff"  # sequence
    "ce6553f100"  # expiry
    "c2"  # deleted
    "01"  # spread
    "92a25255a25553"  # avoid
)


def test_a_lease_byte_by_byte() -> None:
    body = bytes.fromhex(BODY_HEX)
    data = sign_lease(IDENTITY, LEASE)
    assert data == IDENTITY.sign("lease", body) + body
    assert open_lease(data, NETWORK.id) == LEASE


@given(leases)
def test_leases_survive_the_trip(lease: Lease) -> None:
    data = sign_lease(IDENTITY, lease)
    assert open_lease(data, NETWORK.id) == lease
    assert len(data) <= MAX_LEASE_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {"network": bytes(31)},
        {"deposit": bytes(15)},
        {"segment": bytes(33)},
        {"size": 0},
        {"size": 16_777_217},
        {"sequence": -1},
        {"sequence": 2**64},
        {"expiry": 2**64},
        {"deleted": None},
        {"policy": Policy(avoid=("FR",) * 33)},
        {"policy": Policy(avoid=("fr",))},
        {"policy": Policy(avoid=("",))},
    ],
)
def test_our_own_mistakes_are_local_errors(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        sign_lease(IDENTITY, dataclasses.replace(LEASE, **changes))


def test_only_the_depositor_signs() -> None:
    with pytest.raises(LocalProtocolError, match="another key"):
        sign_lease(STRANGER, LEASE)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (0, 2),
        (1, bytes(31)),
        (2, bytes(31)),
        (3, bytes(17)),
        (4, bytes(31)),
        (5, 0),
        (5, 16_777_217),
        (6, -1),
        (7, 1.5),
        (8, 0),
        (9, 2),
        (9, True),
        (10, ["FR"] * 33),
        (10, ["fr"]),
        (10, [""]),
        (10, None),
        (10, "FR"),
    ],
)
def test_a_signature_does_not_excuse_a_bad_lease(at: int, value: Any) -> None:
    fields: list[Any] = msgpack.unpackb(bytes.fromhex(BODY_HEX))
    fields[at] = value
    with pytest.raises(RemoteProtocolError):
        open_lease(IDENTITY.sign_body("lease", msgpack.packb(fields)), NETWORK.id)


def test_a_lease_for_another_network_is_told_apart() -> None:
    with pytest.raises(WrongNetworkError):
        open_lease(sign_lease(IDENTITY, LEASE), Network("other").id)


def test_a_lease_signed_by_another_key_proves_nothing() -> None:
    with pytest.raises(SignatureError):
        open_lease(STRANGER.sign_body("lease", bytes.fromhex(BODY_HEX)), NETWORK.id)


def test_a_lease_is_bounded_before_it_is_read() -> None:
    with pytest.raises(RemoteProtocolError, match="at most 1024 bytes"):
        open_lease(bytes(MAX_LEASE_BYTES + 1), NETWORK.id)


def test_every_truncation_is_refused() -> None:
    data = sign_lease(IDENTITY, LEASE)
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            open_lease(data[:size], NETWORK.id)


@given(st.data())
def test_damage_is_found(data: st.DataObject) -> None:
    with pytest.raises(RemoteProtocolError):
        open_lease(data.draw(damaged(sign_lease(IDENTITY, LEASE))), NETWORK.id)


@given(st.binary(max_size=1100))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        open_lease(data, NETWORK.id)


def test_the_digest_of_a_set_of_leases() -> None:
    """In any order the same; none, zeros; no two sets run into each other."""
    joined = bytes.fromhex("0000000161000000026262")
    assert lease_set_digest([b"bb", b"a"]) == lease_set_digest([b"a", b"bb"]) == digest("leases", joined)
    assert lease_set_digest([]) == bytes(32)
    assert lease_set_digest([b"ab", b"b"]) != lease_set_digest([b"a", b"bb"])
