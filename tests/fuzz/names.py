"""Target: records of names, which any node may have made up, and what their owner may have sealed in them."""

from contextlib import suppress

from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.names import MAX_RECORD_BYTES, MAX_SEALED_BYTES, name_id, open_record
from tests.fuzz.corpus import hex_values
from tests.fuzz.target import Target
from tests.vectors.make_names import FIRST, KEYS, NETWORK, record, sealed_by_hand, signed_by_hand

_TAG_BYTES = 16


def _run(data: bytes) -> None:
    """``data`` as a record; as the body of one that is signed; as the value in one that is signed and sealed."""
    _read(data)
    _read(KEYS.identity.sign_body("name", data))
    if 1 <= len(data) <= MAX_SEALED_BYTES - _TAG_BYTES:
        _read(signed_by_hand(sealed_by_hand(data)))


def _read(data: bytes) -> None:
    with suppress(ProtocolError):
        opened = open_record(data, NETWORK.id)
        assert len(data) <= MAX_RECORD_BYTES
        assert opened.name_id == name_id(opened.key, opened.salt)
        value = KEYS.reader.open(opened)
        signed = KEYS.sign(
            NETWORK.id,
            value,
            sequence=opened.sequence,
            expiry=opened.expiry,
            nonce=opened.nonce,
            salt=opened.salt,
        )
        assert open_record(signed, NETWORK.id) == opened


def _seeds() -> list[bytes]:
    good = record()
    return [good, good[64:], encode(FIRST), *hex_values("names_*")]


TARGETS = (Target("name-record", _run, _seeds, 1_000),)
