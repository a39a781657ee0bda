"""Vectors of docs/spec/names.md: keys, records, values, and damaged ones. Run by scripts/make_vectors."""

from collections.abc import Iterator
from typing import Any

import msgpack

from protocol.hashing import digest
from protocol.identity import Network
from protocol.names import (
    HEAD,
    READ_LINK,
    NameKeys,
    NameValue,
    archive_salt,
    fork_rank,
    name_id,
)
from protocol.seal import BlockCipher, commitment

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK, OTHER = Network("archipel vectors"), Network("another network")
SECRET = bytes(range(32))
KEYS, STRANGER = NameKeys(SECRET), NameKeys(bytes(32))
NONCE = bytes(range(100, 116))
TIME = 1_700_000_000
FIRST = NameValue(
    number=1, kind=READ_LINK, root=bytes(range(32, 64)), key=bytes(range(64, 96)), time=TIME, previous=b""
)
SECOND = NameValue(
    number=2, kind=READ_LINK, root=bytes(range(33, 65)), key=bytes(range(65, 97)), time=TIME + 60, previous=FIRST.hash
)
LARGEST = NameValue(
    number=2**32 - 1, kind=READ_LINK, root=bytes(32), key=bytes(32), time=2**64 - 1, previous=SECOND.hash
)


def record(value: NameValue = FIRST, **changes: Any) -> bytes:
    """A record of KEYS, as it is signed."""
    options: dict[str, Any] = {"network": NETWORK.id, "sequence": 1, "expiry": TIME + 86_400, "nonce": NONCE}
    options |= changes
    return KEYS.sign(options.pop("network"), value, **options)


def sealed_by_hand(packed: bytes, *, salt: bytes = HEAD, read_key: bytes = KEYS.read_key) -> list[Any]:
    """The fields of a record of whatever is sealed."""
    key = digest("name value", read_key, NONCE, (1).to_bytes(8, "big"), salt)
    sealed = BlockCipher(key).seal(0, True, packed)
    return [1, NETWORK.id, KEYS.identity.key, salt, 1, TIME + 86_400, NONCE, commitment(key), sealed]


def signed_by_hand(fields: list[Any]) -> bytes:
    """A record of whatever fields, rightly signed."""
    return KEYS.identity.sign_body("name", msgpack.packb(fields))


def plain(value: NameValue) -> Vector:
    """A value as JSON can hold it."""
    fields = {name: getattr(value, name) for name in ("number", "kind", "root", "key", "time", "previous")}
    return {name: field.hex() if isinstance(field, bytes) else field for name, field in fields.items()}


def _vector(text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
    inputs = {
        "network": NETWORK.id.hex(),
        "key": KEYS.identity.key.hex(),
        "read_key": KEYS.read_key.hex(),
        "record": data.hex(),
    }
    vector = {"spec": "docs/spec/names.md", "operation": "record", "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def _keys() -> Named:
    yield (
        "names_keys",
        {
            "spec": "docs/spec/names.md",
            "operation": "keys",
            "description": "what a name secret gives, and where its records are",
            "input": {"secret": SECRET.hex(), "number": 7},
            "expect": "success",
            "output": {
                "public_key": KEYS.identity.key.hex(),
                "read_key": KEYS.read_key.hex(),
                "head": name_id(KEYS.identity.key).hex(),
                "archived": name_id(KEYS.identity.key, archive_salt(7)).hex(),
            },
        },
    )


def _archive() -> Named:
    yield (
        "names_archive_made",
        {
            "spec": "docs/spec/names.md",
            "operation": "archive",
            "description": "the copy of version 2 that every machine with the secret makes",
            "input": {
                "network": NETWORK.id.hex(),
                "secret": SECRET.hex(),
                "value": plain(SECOND),
                "sequence": 3,
                "expiry": TIME + 86_400,
            },
            "expect": "success",
            "output": {"record": KEYS.archived(NETWORK.id, SECOND, sequence=3, expiry=TIME + 86_400).hex()},
        },
    )


def _good() -> Named:
    cases: tuple[tuple[str, str, NameValue, Vector], ...] = (
        ("first", "version 1", FIRST, {}),
        ("second", "version 2", SECOND, {"sequence": 9}),
        ("archived", "the archived copy of version 2", SECOND, {"salt": archive_salt(2)}),
        ("renewed", "version 1, renewed", FIRST, {"sequence": 2, "expiry": TIME + 400 * 86_400}),
        (
            "largest",
            "the longest record",
            LARGEST,
            {"sequence": 2**63 - 1, "expiry": 2**64 - 1, "salt": archive_salt(2**32 - 1)},
        ),
    )
    for stem, text, value, options in cases:
        data = record(value, **options)
        output = {
            "name_id": name_id(KEYS.identity.key, options.get("salt", HEAD)).hex(),
            "sequence": options.get("sequence", 1),
            "expiry": options.get("expiry", TIME + 86_400),
            "value": plain(value),
            "hash": value.hash.hex(),
            "fork_rank": fork_rank(data).hex(),
        }
        yield f"names_{stem}", _vector(text, data, "success", output)


def _damaged() -> Named:
    def bad(stem: str, text: str, data: bytes, expect: str = "RemoteProtocolError") -> tuple[str, Vector]:
        return f"names_bad_{stem}", _vector(text, data, expect)

    good = record()
    fields = msgpack.unpackb(good[64:])
    value = [1, READ_LINK, FIRST.root, FIRST.key, TIME, b""]

    def changed(at: int, new: Any) -> bytes:
        return signed_by_hand([*fields[:at], new, *fields[at + 1 :]])

    def sealing(*values: Any, **options: Any) -> bytes:
        return signed_by_hand(sealed_by_hand(msgpack.packb([*values]), **options))

    yield bad("flipped", "one bit of the signature is flipped", bytes([good[0] ^ 1]) + good[1:], "SignatureError")
    expiry = msgpack.packb([*fields[:5], TIME + 86_401, *fields[6:]])
    yield bad("expiry", "the expiry was changed after signing", good[:64] + expiry, "SignatureError")
    stolen = msgpack.packb([*fields[:2], STRANGER.identity.key, *fields[3:]])
    yield bad("key", "another public key was put in", good[:64] + stolen, "SignatureError")
    yield bad("network", "signed for another network", record(network=OTHER.id), "WrongNetworkError")
    yield bad("empty", "no bytes", b"")
    yield bad("cut", "the last byte is missing", good[:-1])
    yield bad("trailing", "a byte behind it", signed_by_hand(fields) + b"\0")
    yield bad("long", "901 bytes", changed(8, bytes(704)))
    yield bad("version", "version 2", changed(0, 2))
    yield bad("sequence", "sequence 0", changed(4, 0))
    yield bad("sequence_high", "sequence 2^63", changed(4, 2**63))
    yield bad("salt", "a salt of 65 bytes", changed(3, bytes(65)))
    yield bad("nonce", "a nonce of 15 bytes", changed(6, bytes(15)))
    yield bad("sealed", "16 sealed bytes", changed(8, bytes(16)))
    yield bad("field", "a field is missing", signed_by_hand(fields[:8]))
    yield bad("commitment", "a commitment to another key", changed(7, bytes(32)), "IntegrityError")
    yield bad("nonce_other", "another nonce, signed", changed(6, bytes(16)), "IntegrityError")
    yield bad("tag", "the sealed value was changed, then signed", changed(8, fields[8][:-1] + b"\0"), "IntegrityError")
    other = sealing(*value, read_key=STRANGER.read_key)
    yield bad("read_key", "sealed under another read key", other, "IntegrityError")
    yield bad("number", "version 0", sealing(0, *value[1:]))
    yield bad("kind", "link kind 3", sealing(1, 3, *value[2:]))
    yield bad("previous", "version 2 names none before it", sealing(2, *value[1:]))
    yield bad("previous_first", "version 1 names one before it", sealing(*value[:5], bytes(32)))
    yield bad("previous_cut", "a previous of 31 bytes", sealing(2, *value[1:5], bytes(31)))
    yield bad("archive", "version 1 in the place of version 2", sealing(*value, salt=archive_salt(2)))
    yield bad("salt_unknown", "a salt that is no version", sealing(*value, salt=b"x"))
    long_form = b"\x96\xcc\x01" + msgpack.packb(value)[2:]
    yield bad("long_form", "a number in a longer form than it needs", signed_by_hand(sealed_by_hand(long_form)))


def vectors() -> Named:
    """File stem and content of each vector."""
    yield from _keys()
    yield from _archive()
    yield from _good()
    yield from _damaged()
