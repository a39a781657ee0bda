"""Signatures bind a key, a label and a message; networks bind a name and a difficulty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import SealedBox
from nacl.signing import SigningKey

from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError, SignatureError
from protocol.hashing import digest, plain_digest
from protocol.identity import Identity, Network, check_key, seal_box, split_body, verify
from protocol.ids import NodeId, PublicKey, node_id
from tests.strategies import IDENTITY, STRANGER

# RFC 8032 section 7.1, test 1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_seed_gives_the_key_of_rfc_8032() -> None:
    identity = Identity(SEED)
    assert identity.key == KEY
    assert identity.node_id == node_id(PublicKey(KEY))


def test_an_identity_shows_its_public_half_only() -> None:
    assert repr(Identity(SEED)) == "Identity(d75a9801)"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        Identity(bytes(size))


@given(st.binary(max_size=300))
def test_a_signature_verifies(message: bytes) -> None:
    verify(IDENTITY.key, "lease", message, IDENTITY.sign("lease", message))


def test_a_signature_is_over_prefix_label_zero_and_message() -> None:
    """Made by hand once more, so that the format is not what the code happens to do."""
    from nacl.signing import SigningKey

    by_hand = SigningKey(SEED).sign(b"archipel 1 lease\0hello").signature
    assert Identity(SEED).sign("lease", b"hello") == by_hand


@pytest.mark.parametrize(
    ("key", "label", "message"),
    [
        (STRANGER.key, "lease", b"message"),
        (IDENTITY.key, "audit", b"message"),
        (IDENTITY.key, "lease", b"messagf"),
        (IDENTITY.key, "lease", b"messag"),
        (IDENTITY.key, "lease\0message", b""),
        (PublicKey(bytes(32)), "lease", b"message"),  # a point of small order
        (PublicKey(b"\xff" * 32), "lease", b"message"),  # not a point
        (PublicKey(IDENTITY.key[:31]), "lease", b"message"),
        (PublicKey(b""), "lease", b"message"),
        (PublicKey(IDENTITY.key + b"\0"), "lease", b"message"),
    ],
)
def test_a_signature_binds_key_label_and_message(key: PublicKey, label: str, message: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(key, label, message, IDENTITY.sign("lease", b"message"))


def test_every_bit_of_a_signature_counts() -> None:
    signature = IDENTITY.sign("lease", b"message")
    for bit in range(8 * len(signature)):
        bad = (int.from_bytes(signature, "big") ^ (1 << bit)).to_bytes(64, "big")
        with pytest.raises(SignatureError):
            verify(IDENTITY.key, "lease", b"message", bad)


def test_a_signature_has_one_form() -> None:
    """S + L verifies by the bare equation; RFC 8032 section 5.1.7 refuses it."""
    signature = IDENTITY.sign("lease", b"message")
    second = (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    with pytest.raises(SignatureError):
        verify(IDENTITY.key, "lease", b"message", signature[:32] + second)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_has_64_bytes(size: int) -> None:
    signature = IDENTITY.sign("lease", b"message") + b"a"
    with pytest.raises(SignatureError):
        verify(IDENTITY.key, "lease", b"message", signature[:size])


def test_a_signed_body_is_the_signature_and_the_body() -> None:
    signature, body = split_body(IDENTITY.sign_body("lease", b"x"))
    assert body == b"x"
    verify(IDENTITY.key, "lease", body, signature)


@pytest.mark.parametrize("size", [0, 1, 64])
def test_a_signed_body_is_longer_than_its_signature(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        split_body(bytes(size))


def test_a_network_id_covers_name_and_difficulty() -> None:
    network = Network("islands", 3)
    assert network.id == digest("network", b"\x03islands")
    assert len({network.id, Network("islands").id, Network("islandt", 3).id}) == 3
    assert repr(network) == "Network('islands', difficulty=3)"


@pytest.mark.parametrize(("name", "difficulty"), [("", 0), ("x" * 65, 0), ("é" * 33, 0), ("x", -1), ("x", 33)])
def test_a_network_has_a_name_and_a_difficulty_within_bounds(name: str, difficulty: int) -> None:
    with pytest.raises(LocalProtocolError):
        Network(name, difficulty)


def test_a_network_admits_ids_whose_hash_begins_with_zero_bits() -> None:
    for number in range(200):
        identifier = NodeId(number.to_bytes(32, "big"))
        zeros = 256 - int.from_bytes(plain_digest(identifier), "big").bit_length()
        for difficulty in (0, 1, 3, 8, 32):
            assert Network("x", difficulty).admits(identifier) == (zeros >= difficulty)


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_a_sealed_box_is_that_of_libsodium(message: bytes, seed: bytes) -> None:
    """Its own function opens ours, and we open what it makes."""
    key = SigningKey(SEED)
    box = seal_box(PublicKey(KEY), message, seed)
    assert len(box) == len(message) + 48
    assert SealedBox(key.to_curve25519_private_key()).decrypt(box) == message
    theirs = SealedBox(key.verify_key.to_curve25519_public_key()).encrypt(message)
    assert Identity(SEED).open_box(box) == Identity(SEED).open_box(theirs) == message


@pytest.mark.parametrize("size", [0, 47, 48, 200])
def test_garbage_is_no_sealed_box(size: int) -> None:
    with pytest.raises(IntegrityError):
        IDENTITY.open_box(bytes(range(size)))


def test_a_sealed_box_takes_a_seed_of_32_bytes() -> None:
    with pytest.raises(LocalProtocolError):
        seal_box(IDENTITY.key, b"", bytes(31))


@pytest.mark.parametrize(
    "key",
    [bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31), bytes(range(32)), b"\xff" * 32],
    ids=["short", "long", "order 4", "order 1", "not on the curve", "not reduced"],
)
def test_keys_that_no_identity_has(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        check_key(PublicKey(key))
    check_key(IDENTITY.key)
