"""Names: a place in the DHT where whoever has its secret publishes by key (docs/spec/names.md).

Goals: nodes that keep a record can check who signed it, which of two is newer, and when it ends, and learn nothing of
what it leads to; a reader needs no word from whoever published to find the newest version, and earlier ones.

Non-goals: hiding that a name exists or how often it changes, and any order between two records that have the same
sequence: they are evidence, which nodes keep and readers show.
"""

from dataclasses import dataclass
from typing import Annotated

from protocol.codec import Raw, Uint, decode, encode
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import DIGEST_BYTES, digest
from protocol.identity import KEY_BYTES, Identity
from protocol.ids import ID_BYTES, NameId, NetworkId, PublicKey, short
from protocol.records import MAX_SECONDS, VERSION, Version, open_body, sign_body
from protocol.seal import BlockCipher, commitment

SECRET_BYTES = 32
READ_KEY_BYTES = 32
NONCE_BYTES = 16
MAX_SALT_BYTES = 64
MAX_SEALED_BYTES = 512
MAX_RECORD_BYTES = 900
MAX_SEQUENCE = 2**63 - 1
MAX_NUMBER = 2**32 - 1
MAX_LIFE_SECONDS = 400 * 86_400
"""How far ahead an expiry may be when a record is signed."""

HEAD = b""
"""The salt of a name's newest version."""
READ_LINK, VERIFY_LINK = 1, 2
"""Kinds of what a value leads to: those of links (docs/spec/storage.md section 8)."""

_ARCHIVE_BYTES = 4
_TAG_BYTES = 16


def archive_salt(number: int) -> bytes:
    """The salt of the copy that is kept of version ``number``, 1 to 2^32 - 1. Raises LocalProtocolError."""
    if not 1 <= number <= MAX_NUMBER:
        raise LocalProtocolError(f"a version is 1 to {MAX_NUMBER}, got {number}")
    return number.to_bytes(_ARCHIVE_BYTES, "big")


def name_id(key: PublicKey, salt: bytes = HEAD) -> NameId:
    """Where in the DHT the records under ``salt`` of the name of ``key`` are."""
    return NameId(digest("name", key, salt))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NameValue:
    """One version of what was published under a name. It opens it, so its text form shows the number only."""

    number: Annotated[int, Uint(MAX_NUMBER, minimum=1)]
    """Of the version: one more with each that is published."""
    kind: Annotated[int, Uint(VERIFY_LINK, minimum=READ_LINK)]
    """What the link lets its holder do: a link kind."""
    root: Annotated[bytes, Raw(ID_BYTES)]
    """Of the link: the root segment."""
    key: Annotated[bytes, Raw(KEY_BYTES)]
    """Of the link: the read key or the verify key."""
    time: Annotated[int, Uint(MAX_SECONDS)]
    """When it was published, as its owner says: seconds since 1970-01-01 UTC."""
    previous: Annotated[bytes, Raw(0, DIGEST_BYTES)]
    """The hash of the version before it; empty for version 1."""

    @property
    def hash(self) -> bytes:
        """What the version after it names as previous, 32 bytes. It tells nothing to whoever lacks the keys in it."""
        return digest("name version", encode(self))

    def __repr__(self) -> str:
        return f"NameValue({self.number})"


def _check_chain(value: NameValue) -> None:
    if len(value.previous) != (DIGEST_BYTES if value.number > 1 else 0):
        raise ValueError(f"version {value.number} names {len(value.previous)} bytes as previous")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRecord:
    """What nodes keep of a name: a sealed value, and all they have to know of it."""

    version: Annotated[int, Version()] = VERSION
    network: Annotated[NetworkId, Raw(ID_BYTES)]
    key: Annotated[PublicKey, Raw(KEY_BYTES)]
    """The name's public key: the key that signs."""
    salt: Annotated[bytes, Raw(0, MAX_SALT_BYTES)]
    """Empty for the newest version, ``archive_salt`` for the copy of an earlier one."""
    sequence: Annotated[int, Uint(MAX_SEQUENCE, minimum=1)]
    """The highest under one salt wins."""
    expiry: Annotated[int, Uint(MAX_SECONDS)]
    """Seconds since 1970-01-01 UTC."""
    nonce: Annotated[bytes, Raw(NONCE_BYTES)]
    commitment: Annotated[bytes, Raw(DIGEST_BYTES)]
    """To the key that opens ``sealed``."""
    sealed: Annotated[bytes, Raw(_TAG_BYTES + 1, MAX_SEALED_BYTES)]

    @property
    def name_id(self) -> NameId:
        """Where it belongs."""
        return name_id(self.key, self.salt)


def open_record(data: bytes, network: NetworkId) -> NameRecord:
    """Check and read a record. Whether it has expired, and is of the right name, is left to the caller.

    Raises:
        RemoteProtocolError: Longer than 900 bytes, or a field is out of its range.
        SignatureError: Not signed by the key it names.
        WrongNetworkError: Signed, but for another network.
    """
    return open_body(NameRecord, "name", data, network, MAX_RECORD_BYTES)


def fork_rank(data: bytes) -> bytes:
    """Of two records with the same sequence, every reader shows the one for which this is lower."""
    return digest("name record", data)


@dataclass(frozen=True, slots=True, repr=False)
class NameReader:
    """What a name link holds: it reads every version there is and will be, and writes none."""

    key: PublicKey
    """The name's public key."""
    read_key: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES or len(self.read_key) != READ_KEY_BYTES:
            raise LocalProtocolError("a name has a public key of 32 bytes and a read key of 32")

    def open(self, record: NameRecord) -> NameValue:
        """The value of a record whose signature has been checked.

        Raises:
            IntegrityError: It was not sealed under this read key, or not as the record says.
            RemoteProtocolError: What was sealed is no value, or another version than its salt names.
        """
        key = _record_key(self.read_key, record.nonce, record.sequence, record.salt)
        if record.key != self.key or record.commitment != commitment(key):
            raise IntegrityError("a record of another name, or one sealed under another read key")
        packed = BlockCipher(key).open(0, True, record.sealed)
        value = decode(NameValue, packed)
        try:
            _check_chain(value)
        except ValueError as exc:
            raise RemoteProtocolError(f"a name's value is malformed: {exc}") from None
        if encode(value) != packed:
            raise RemoteProtocolError("a name's value is not in its shortest form")
        if record.salt not in (HEAD, archive_salt(value.number)):
            raise RemoteProtocolError(f"a record holds version {value.number}, and says another")
        return value

    def __repr__(self) -> str:
        return f"NameReader({short(self.key)})"


class NameKeys:
    """All that can be done with a name, from its secret. Its text form shows the public key only."""

    __slots__ = ("identity", "reader")

    def __init__(self, secret: bytes) -> None:
        """Derive the keys from a secret of 32 bytes. Raises LocalProtocolError for another length."""
        if len(secret) != SECRET_BYTES:
            raise LocalProtocolError(f"a name secret is {SECRET_BYTES} bytes, got {len(secret)}")
        self.identity = Identity(digest("name identity", secret))
        """Signs its records."""
        self.reader = NameReader(self.identity.key, digest("name read", secret))
        """What may be given away."""

    @property
    def read_key(self) -> bytes:
        """What opens its records, 32 bytes."""
        return self.reader.read_key

    def sign(
        self, network: NetworkId, value: NameValue, *, sequence: int, expiry: int, nonce: bytes, salt: bytes = HEAD
    ) -> bytes:
        """A signed record.

        Args:
            network: The network it is for.
            value: What is published.
            sequence: 1 to 2^63 - 1, higher than that of any record there is under this salt.
            expiry: When nodes may forget it, seconds since 1970-01-01 UTC.
            nonce: 16 bytes, fresh and unpredictable: they make the key that seals the value.
            salt: HEAD, or ``archive_salt`` of the value's number.

        Raises:
            LocalProtocolError: A field is out of its range.
        """
        try:
            _check_chain(value)
        except ValueError as exc:
            raise LocalProtocolError(f"cannot sign a name's value: {exc}") from None
        if not 1 <= sequence <= MAX_SEQUENCE:
            raise LocalProtocolError(f"a sequence is 1 to {MAX_SEQUENCE}, got {sequence}")
        key = _record_key(self.read_key, nonce, sequence, salt)
        record = NameRecord(
            network=network,
            key=self.identity.key,
            salt=salt,
            sequence=sequence,
            expiry=expiry,
            nonce=nonce,
            commitment=commitment(key),
            sealed=BlockCipher(key).seal(0, True, encode(value)),
        )
        return sign_body(self.identity, "name", record)

    def archived(self, network: NetworkId, value: NameValue, *, sequence: int, expiry: int) -> bytes:
        """The signed copy of a version for the archive: whoever has the secret makes the same bytes of the same copy.

        Args:
            network: The network it is for.
            value: The version.
            sequence: As :meth:`sign` has it.
            expiry: As :meth:`sign` has it.

        Raises:
            LocalProtocolError: A field is out of its range.
        """
        if not 0 <= expiry <= MAX_SECONDS:
            raise LocalProtocolError(f"an expiry is 0 to {MAX_SECONDS}, got {expiry}")
        nonce = digest("name archive", self.read_key, value.hash, expiry.to_bytes(8, "big"))[:NONCE_BYTES]
        salt = archive_salt(value.number)
        return self.sign(network, value, sequence=sequence, expiry=expiry, nonce=nonce, salt=salt)

    def __repr__(self) -> str:
        return f"NameKeys({short(self.identity.key)})"


def _record_key(read_key: bytes, nonce: bytes, sequence: int, salt: bytes) -> bytes:
    return digest("name value", read_key, nonce, sequence.to_bytes(8, "big"), salt)


__all__ = [
    "HEAD",
    "MAX_LIFE_SECONDS",
    "MAX_RECORD_BYTES",
    "MAX_SEQUENCE",
    "NONCE_BYTES",
    "READ_LINK",
    "SECRET_BYTES",
    "VERIFY_LINK",
    "NameKeys",
    "NameReader",
    "NameRecord",
    "NameValue",
    "archive_salt",
    "fork_rank",
    "name_id",
    "open_record",
]
