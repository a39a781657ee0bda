"""What nodes sign about themselves: node records, receipts, provider records (docs/spec/wire.md section 6).

Goals: one form for every signed body (version, network, the key that signs), and the field shapes that only
make sense on this network. Non-goals: whether a record is still fresh (the caller has the clock), and whether
its claims, such as the country, are true: nobody can check those.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

from protocol.codec import Flag, Raw, Text, Uint, decode, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError, WrongNetworkError
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, split_body, verify
from protocol.ids import ID_BYTES, Address, ChunkId, NetworkId, PublicKey, SegmentId

VERSION = 1
MAX_INDEX = 31
MAX_SECONDS = 2**64 - 1
MAX_FREE_BYTES = 2**63
MAX_NODE_RECORD_BYTES = 512
MAX_RECEIPT_BYTES = 512
PROVIDER_RECORD_BYTES = (113, 125)
"""A provider record with an IPv4 address, and with an IPv6 one."""

_COUNTRY_AT = 1 + KEY_BYTES + 8
_ADDRESS_AT = _COUNTRY_AT + 2
_UNKNOWN_COUNTRY = b"\0\0"


def is_country(text: str) -> bool:
    """Whether ``text`` has the form of an ISO 3166-1 alpha-2 code: two upper-case ASCII letters."""
    return len(text) == 2 and text.isascii() and text.isalpha() and text.isupper()


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a signed body: 1, or the body is of a kind this code does not know."""

    def load(self, value: object) -> int:
        if type(value) is not int or value != VERSION:
            raise ValueError(f"want {VERSION}")
        return value

    dump = load


@dataclass(frozen=True, slots=True)
class Country:
    """A claimed country: two upper-case ASCII letters, or nothing when the node does not say."""

    known: bool = False
    """Whether it must be said."""

    def load(self, value: object) -> str:
        text = Text(2).load(value)
        if not is_country(text) and (text or self.known):
            raise ValueError("want a country as two upper-case letters")
        return text

    dump = load


@dataclass(frozen=True, slots=True)
class PackedAddress:
    """An Address, sent as its 6 or 18 bytes."""

    def load(self, value: object) -> Address:
        try:
            return Address.unpack(Raw(6, 18).load(value))
        except RemoteProtocolError as exc:
            raise ValueError(str(exc)) from None

    def dump(self, value: object) -> bytes:
        if type(value) is not Address:
            raise ValueError("want an Address")
        try:
            packed = value.pack()
        except OverflowError:
            raise ValueError(f"port {value.port}") from None
        self.load(packed)  # port 0 and mapped addresses are refused on the way out as well
        return packed


class SignedBody(Protocol):
    """The fields every signed body begins with."""

    @property
    def network(self) -> NetworkId: ...
    @property
    def key(self) -> PublicKey: ...


Body = TypeVar("Body", bound=SignedBody)


def sign_body(identity: Identity, label: str, body: SignedBody) -> bytes:
    """Encode and sign a body.

    Raises:
        LocalProtocolError: A field is out of its range, or the body names another key than the signer's.
    """
    if body.key != identity.key:
        raise LocalProtocolError(f"a {label} names another key than the one that signs it")
    return identity.sign_body(label, encode(body))


def open_body(cls: type[Body], label: str, data: bytes, network: NetworkId, max_bytes: int) -> Body:
    """Decode a signed body and check its signature and its network.

    Raises:
        RemoteProtocolError: Longer than ``max_bytes``, or not of the shape of ``cls``.
        SignatureError: Not signed by the key it names.
        WrongNetworkError: Signed, but for another network.
    """
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"a {label} is at most {max_bytes} bytes, got {len(data)}")
    signature, packed = split_body(data)
    body = decode(cls, packed)
    verify(body.key, label, packed, signature)
    if body.network != network:
        raise WrongNetworkError(f"a {label} for another network")
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What a node says about itself in `hello`."""

    version: Annotated[int, Version()] = VERSION
    network: Annotated[NetworkId, Raw(ID_BYTES)]
    key: Annotated[PublicKey, Raw(KEY_BYTES)]
    """The node's identity: the key that signs."""
    address: Annotated[Address, PackedAddress()]
    """Where it says it listens, on UDP and TCP alike."""
    country: Annotated[str, Country()]
    """Claimed; empty for unknown."""
    free_bytes: Annotated[int, Uint(MAX_FREE_BYTES)]
    """What its quota still allows."""
    storing: Annotated[bool, Flag()]
    """Whether it takes chunks: it has been found reachable and is not about to leave."""
    time: Annotated[int, Uint(MAX_SECONDS)]
    """When it was signed, seconds since 1970-01-01 UTC."""
    software: Annotated[str, Text(32)]
    """Name and version, for the operator's eyes only: untrusted text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A holder's promise to keep a chunk."""

    version: Annotated[int, Version()] = VERSION
    network: Annotated[NetworkId, Raw(ID_BYTES)]
    key: Annotated[PublicKey, Raw(KEY_BYTES)]
    """The holder: the key that signs."""
    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    index: Annotated[int, Uint(MAX_INDEX)]
    chunk_id: Annotated[ChunkId, Raw(ID_BYTES)]
    expiry: Annotated[int, Uint(MAX_SECONDS)]
    """Of the lease it was given for, seconds since 1970-01-01 UTC."""
    country: Annotated[str, Country()]
    """Claimed; empty for unknown."""
    time: Annotated[int, Uint(MAX_SECONDS)]
    """When it was signed, seconds since 1970-01-01 UTC."""


def sign_node_record(identity: Identity, record: NodeRecord) -> bytes:
    """Sign a node record. Raises LocalProtocolError as :func:`sign_body` does."""
    return sign_body(identity, "node record", record)


def open_node_record(data: bytes, network: NetworkId) -> NodeRecord:
    """Check and read a node record. Raises as :func:`open_body` does."""
    return open_body(NodeRecord, "node record", data, network, MAX_NODE_RECORD_BYTES)


def sign_receipt(identity: Identity, receipt: Receipt) -> bytes:
    """Sign a receipt. Raises LocalProtocolError as :func:`sign_body` does."""
    return sign_body(identity, "receipt", receipt)


def open_receipt(data: bytes, network: NetworkId) -> Receipt:
    """Check and read a receipt. Raises as :func:`open_body` does."""
    return open_body(Receipt, "receipt", data, network, MAX_RECEIPT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecord:
    """A holder's statement of where a chunk is. Many go into one datagram, so it is packed by hand."""

    index: int
    """The chunk, 0 to 31."""
    key: PublicKey
    """The holder: the key that signs."""
    expiry: int
    """Seconds since 1970-01-01 UTC."""
    country: str
    """Claimed; empty for unknown."""
    address: Address

    @staticmethod
    def sign(
        identity: Identity,
        network: NetworkId,
        segment: SegmentId,
        *,
        index: int,
        expiry: int,
        country: str,
        address: Address,
    ) -> bytes:
        """The packed record, 113 bytes with an IPv4 address, 125 with IPv6.

        Raises:
            LocalProtocolError: A field is out of its range.
        """
        try:
            packed = b"".join(
                (
                    Uint(MAX_INDEX).dump(index).to_bytes(1, "big"),
                    identity.key,
                    Uint(MAX_SECONDS).dump(expiry).to_bytes(8, "big"),
                    Country().dump(country).encode("ascii") or _UNKNOWN_COUNTRY,
                    PackedAddress().dump(address),
                )
            )
        except ValueError as exc:
            raise LocalProtocolError(f"cannot encode a provider record: {exc}") from exc
        return packed + identity.sign("provider", network + segment + packed)


def open_provider(network: NetworkId, segment: SegmentId, data: bytes) -> ProviderRecord:
    """Check and read a packed provider record of ``segment``.

    Raises:
        RemoteProtocolError: Not 113 or 125 bytes, or a field is out of its range.
        SignatureError: Not signed by the key it names, or for another network or segment.
    """
    if len(data) not in PROVIDER_RECORD_BYTES:
        raise RemoteProtocolError(f"a provider record is 113 or 125 bytes, got {len(data)}")
    packed, signature = bytes(data[:-SIGNATURE_BYTES]), bytes(data[-SIGNATURE_BYTES:])
    key = PublicKey(packed[1 : 1 + KEY_BYTES])
    country = packed[_COUNTRY_AT:_ADDRESS_AT]
    try:
        record = ProviderRecord(
            index=Uint(MAX_INDEX).load(packed[0]),
            key=key,
            expiry=int.from_bytes(packed[1 + KEY_BYTES : _COUNTRY_AT], "big"),
            country="" if country == _UNKNOWN_COUNTRY else Country(known=True).load(country.decode("ascii")),
            address=Address.unpack(packed[_ADDRESS_AT:]),
        )
    except ValueError as exc:
        raise RemoteProtocolError(f"cannot decode a provider record: {exc}") from exc
    verify(key, "provider", network + segment + packed, signature)
    return record
