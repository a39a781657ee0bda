"""Noise_XX_25519_AESGCM_BLAKE2b against the public vectors, and against hostile messages."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.noise import MAX_NONCE, CipherState, Handshake
from tests.strategies import damaged

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/noise_xx_25519_aesgcm_blake2b.json").read_text())["vectors"]


def pair(prologue: bytes = b"", other: bytes | None = None) -> tuple[Handshake, Handshake]:
    initiator = Handshake(initiator=True, prologue=prologue, static=b"\x01" * 32, ephemeral=b"\x02" * 32)
    responder = Handshake(
        initiator=False,
        prologue=prologue if other is None else other,
        static=b"\x03" * 32,
        ephemeral=b"\x04" * 32,
    )
    return initiator, responder


def say(payload: bytes, writer: Handshake, reader: Handshake) -> bytes:
    """One message from one to the other; returns the payload that arrives."""
    seen = []

    def payload_for(handshake_hash: bytes) -> bytes:
        seen.append(handshake_hash)
        return payload

    arrived, before = reader.read(writer.write(payload_for))
    assert seen == [before]  # both sign and check the same hash
    return arrived


def finished() -> tuple[Handshake, Handshake]:
    initiator, responder = pair()
    for number in range(3):
        say(bytes(number), *((responder, initiator) if number == 1 else (initiator, responder)))
    return initiator, responder


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["suite"])
def test_public_vectors(vector: dict[str, Any]) -> None:
    sides = [
        Handshake(
            initiator=name == "init",
            prologue=bytes.fromhex(vector[f"{name}_prologue"]),
            static=bytes.fromhex(vector[f"{name}_static"]),
            ephemeral=bytes.fromhex(vector[f"{name}_ephemeral"]),
        )
        for name in ("init", "resp")
    ]
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    for number, (payload, ciphertext) in enumerate(messages[:3]):
        written = sides[number % 2].write(lambda _hash, payload=payload: payload)  # type: ignore[misc]  # default
        assert written == ciphertext
        assert sides[1 - number % 2].read(ciphertext)[0] == payload
    assert sides[0].hash == sides[1].hash
    if "handshake_hash" in vector:
        assert sides[0].hash.hex() == vector["handshake_hash"]
    ciphers = [side.split() for side in sides]
    for number, (payload, ciphertext) in enumerate(messages[3:], start=3):
        sender, receiver = ciphers[number % 2][0], ciphers[1 - number % 2][1]
        sealed, opened = bytearray(len(payload) + 16), bytearray(len(payload))
        sender.encrypt_into(payload, memoryview(sealed))
        assert sealed == ciphertext
        receiver.decrypt_into(sealed, memoryview(opened))
        assert opened == payload


def test_both_learn_the_static_key_of_the_other() -> None:
    initiator, responder = finished()
    assert initiator.remote_static == responder.static_key
    assert responder.remote_static == initiator.static_key


def test_turns_alternate() -> None:
    initiator, responder = pair()
    assert initiator.my_turn and not responder.my_turn
    with pytest.raises(LocalProtocolError):
        responder.write(lambda _hash: b"")
    with pytest.raises(LocalProtocolError):
        initiator.read(bytes(32))
    with pytest.raises(LocalProtocolError):
        initiator.split()
    initiator, responder = finished()
    assert initiator.done and not initiator.my_turn and not responder.my_turn
    with pytest.raises(LocalProtocolError):
        initiator.read(bytes(32))
    with pytest.raises(LocalProtocolError):
        initiator.write(lambda _hash: b"")


def test_a_different_prologue_ends_the_handshake() -> None:
    initiator, responder = pair(b"one network", b"another")
    responder.read(initiator.write(lambda _hash: b""))
    with pytest.raises(RemoteProtocolError):
        initiator.read(responder.write(lambda _hash: b""))


@pytest.mark.parametrize("step", [0, 1, 2])
def test_every_truncation_of_a_handshake_message_is_refused(step: int) -> None:
    for size in range(32 if step == 0 else 96):
        sides = pair()
        for number in range(step):
            say(b"", sides[number % 2], sides[1 - number % 2])
        message = sides[step % 2].write(lambda _hash: b"")
        if size < len(message):
            with pytest.raises(RemoteProtocolError):
                sides[1 - step % 2].read(message[:size])


@given(st.integers(1, 2), st.data())
def test_a_damaged_message_is_refused(step: int, data: st.DataObject) -> None:
    """Message 1 is in the clear: damage to it shows in message 2, which mixes its hash."""
    sides = pair()
    for number in range(step):
        say(b"", sides[number % 2], sides[1 - number % 2])
    message = sides[step % 2].write(lambda _hash: b"payload")
    with pytest.raises(RemoteProtocolError):
        sides[1 - step % 2].read(data.draw(damaged(message)))


def test_a_damaged_first_message_ends_the_second() -> None:
    initiator, responder = pair()
    responder.read(initiator.write(lambda _hash: b"")[:-1] + b"\0")
    with pytest.raises(RemoteProtocolError):
        initiator.read(responder.write(lambda _hash: b""))


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"])
def test_a_worthless_ephemeral_key_is_refused(point: bytes) -> None:
    responder = pair()[1]
    responder.read(point)
    with pytest.raises(RemoteProtocolError, match="worthless"):
        responder.write(lambda _hash: b"")


@pytest.mark.parametrize(("static", "ephemeral"), [(31, 32), (32, 33), (0, 32)])
def test_keys_have_32_bytes(static: int, ephemeral: int) -> None:
    with pytest.raises(LocalProtocolError):
        Handshake(initiator=True, prologue=b"", static=bytes(static), ephemeral=bytes(ephemeral))


def test_nonces_count_and_end() -> None:
    """Section 5.1: the nonce 2^64-1 is reserved."""
    sender, receiver = CipherState(bytes(32), MAX_NONCE - 1), CipherState(bytes(32), MAX_NONCE - 1)
    sealed, opened = bytearray(17), bytearray(1)
    sender.encrypt_into(b"x", memoryview(sealed))
    receiver.decrypt_into(sealed, memoryview(opened))
    assert opened == b"x"
    with pytest.raises(LocalProtocolError):
        sender.encrypt_into(b"x", memoryview(sealed))
    with pytest.raises(RemoteProtocolError):
        receiver.decrypt_into(sealed, memoryview(opened))


def test_a_replayed_or_skipped_record_does_not_decrypt() -> None:
    sender, receiver = CipherState(bytes(32)), CipherState(bytes(32))
    first, second, opened = bytearray(17), bytearray(17), bytearray(1)
    sender.encrypt_into(b"1", memoryview(first))
    sender.encrypt_into(b"2", memoryview(second))
    with pytest.raises(RemoteProtocolError):
        receiver.decrypt_into(second, memoryview(opened))
    receiver.decrypt_into(first, memoryview(opened))
    with pytest.raises(RemoteProtocolError):
        receiver.decrypt_into(first, memoryview(opened))
