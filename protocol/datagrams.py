"""The DHT's messages, one to a datagram (docs/spec/dht.md sections 1 to 3).

Goals: a receiver can throw a datagram away for its size, version, type or transaction before it pays for a
signature check, and a reply is never longer than its request, so that nobody can be flooded through us.

Non-goals: reliability and order (the caller asks again), fragmentation (1,232 bytes fit IPv6's least MTU), secrecy (who
asks for which id is visible to the network), and replay: every request may be answered twice without harm.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from protocol.codec import Raw, Seq, Struct, Uint, decode, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from protocol.ids import ID_BYTES, Address, NameId, NetworkId, NodeId, PublicKey, SegmentId
from protocol.names import MAX_RECORD_BYTES, MAX_SEQUENCE
from protocol.records import PROVIDER_RECORD_BYTES, PackedAddress

VERSION = 1
MAX_DATAGRAM_BYTES = 1232
TRANSACTION_BYTES = 8
TOKEN_BYTES = 8
MAX_CONTACTS = 20
MAX_PAGE_RECORDS = 9
MAX_ITEM_RECORDS = 8
MAX_ITEMS = 8
MAX_RECORDS = 2
"""Records of one name that a node keeps: two with the same sequence show that its owner, or a thief, signed both."""
ANY_SEQUENCE = 2**64 - 1
"""``cas`` of a put_record that compares nothing: what a node kept before is republished so."""
NO_MORE = 32
"""``next`` of a get_providers reply when no index was left out."""

CONTACT4_BYTES = KEY_BYTES + 6
CONTACT6_BYTES = KEY_BYTES + 18

_HEADER = struct.Struct(f">BBB{TRANSACTION_BYTES}s{KEY_BYTES}sH")
HEADER_BYTES = SIGNATURE_BYTES + _HEADER.size
MAX_BODY_BYTES = MAX_DATAGRAM_BYTES - HEADER_BYTES
assert HEADER_BYTES == 109

_READ_ONLY = 1
_BARE = 2
_NOBODY = bytes(ID_BYTES)

_Record = Raw(*PROVIDER_RECORD_BYTES)


class Kind(IntEnum):
    """Datagram types. A reply's is its request's and 64."""

    PING = 1
    FIND_NODE = 2
    GET_PROVIDERS = 3
    ANNOUNCE = 4
    GET_RECORD = 5
    PUT_RECORD = 6
    PONG = 65
    NODES = 66
    PROVIDERS = 67
    ANNOUNCED = 68
    GOT_RECORD = 69
    RECORD_PUT = 70

    @property
    def is_reply(self) -> bool:
        return self >= Kind.PONG


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there, and who are you?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Reply to a ping."""

    observed: Annotated[Address, PackedAddress()]
    """Where the ping came from, as the replier sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindNode:
    """Which nodes nearest to ``target`` do you know?"""

    target: Annotated[bytes, Raw(ID_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Reply to find_node: at most 20 contacts, packed by hand."""

    token: Annotated[bytes, Raw(TOKEN_BYTES)]
    """Proof, for an announce from the same address and key, that the asker receives there."""
    ipv4: Annotated[bytes, Raw(0, MAX_CONTACTS * CONTACT4_BYTES)]
    ipv6: Annotated[bytes, Raw(0, MAX_CONTACTS * CONTACT6_BYTES)]

    def contacts(self) -> list[bytes]:
        """Each contact's bytes: key (32), address (6 or 18)."""
        return _cut(self.ipv4, CONTACT4_BYTES) + _cut(self.ipv6, CONTACT6_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetProviders:
    """Who holds chunks of ``segment``, from index ``first`` on?"""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    first: Annotated[int, Uint(NO_MORE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Reply to get_providers: one page of provider records in order of index."""

    token: Annotated[bytes, Raw(TOKEN_BYTES)]
    records: Annotated[tuple[bytes, ...], Seq(_Record, MAX_PAGE_RECORDS)]
    next: Annotated[int, Uint(NO_MORE)]
    """The first index left out: where the next page begins. 32: this was the last page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Provider records of one segment."""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    records: Annotated[tuple[bytes, ...], Seq(_Record, MAX_ITEM_RECORDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Remember these provider records."""

    token: Annotated[bytes, Raw(TOKEN_BYTES)]
    items: Annotated[tuple[Item, ...], Seq(Struct(Item), MAX_ITEMS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Reply to an announce."""

    stored: Annotated[int, Uint(MAX_ITEMS * MAX_ITEM_RECORDS)]
    """How many of the records the node keeps now, those it had before included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRecord:
    """Which record of a name do you keep?"""

    name: Annotated[NameId, Raw(ID_BYTES)]
    place: Annotated[int, Uint(MAX_RECORDS - 1)]
    """Of two with the same sequence: the first or the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GotRecord:
    """Reply to get_record."""

    token: Annotated[bytes, Raw(TOKEN_BYTES)]
    count: Annotated[int, Uint(MAX_RECORDS)]
    """How many the node keeps: two of one name are a fork."""
    record: Annotated[bytes, Raw(0, MAX_RECORD_BYTES)]
    """The one asked for (protocol/names.py); empty when it keeps none at that place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRecord:
    """Keep this record of a name."""

    token: Annotated[bytes, Raw(TOKEN_BYTES)]
    cas: Annotated[int, Uint(ANY_SEQUENCE)]
    """The sequence that the writer believes is the newest; 0: none; ANY_SEQUENCE: it does not matter."""
    record: Annotated[bytes, Raw(1, MAX_RECORD_BYTES)]


class PutCode(IntEnum):
    """What became of a record that was put."""

    KEPT = 0
    """It is kept, or was before."""
    OLDER = 1
    """The node has one of a higher sequence."""
    CONFLICT = 2
    """The node has one of a higher sequence than the writer believed the newest; the record is not kept."""
    FORKED = 3
    """The node keeps two records of the same sequence, or would if it had room for a third."""
    REFUSED = 4
    """No room, malformed, or a life that is over or too long."""


@dataclass(frozen=True, slots=True)
class PackedCode:
    """A PutCode, sent as its number."""

    def load(self, value: object) -> PutCode:
        return PutCode(Uint(max(PutCode)).load(value))

    def dump(self, value: object) -> int:
        if type(value) is not PutCode:
            raise ValueError("want a PutCode")
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPut:
    """Reply to put_record."""

    code: Annotated[PutCode, PackedCode()]
    sequence: Annotated[int, Uint(MAX_SEQUENCE)]
    """Of what the node keeps now; 0: nothing."""


Request = Ping | FindNode | GetProviders | Announce | GetRecord | PutRecord
Reply = Pong | Nodes | Providers | Announced | GotRecord | RecordPut
Message = Request | Reply

CLASSES: dict[Kind, type[Message]] = {
    Kind.PING: Ping,
    Kind.FIND_NODE: FindNode,
    Kind.GET_PROVIDERS: GetProviders,
    Kind.ANNOUNCE: Announce,
    Kind.GET_RECORD: GetRecord,
    Kind.PUT_RECORD: PutRecord,
    Kind.PONG: Pong,
    Kind.NODES: Nodes,
    Kind.PROVIDERS: Providers,
    Kind.ANNOUNCED: Announced,
    Kind.GOT_RECORD: GotRecord,
    Kind.RECORD_PUT: RecordPut,
}
KINDS = {cls: kind for kind, cls in CLASSES.items()}

REQUEST_BYTES = {
    Kind.PING: 130,
    Kind.FIND_NODE: 1125,
    Kind.GET_PROVIDERS: 1232,
    Kind.ANNOUNCE: 130,
    Kind.GET_RECORD: 1024,
    Kind.PUT_RECORD: 130,
}
"""What each request is padded to: the longest reply it can draw. A shorter one is dropped."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram whose outer form is right. Nothing in it is to be believed before :meth:`verify`."""

    kind: Kind
    read_only: bool
    """The sender stores nothing and is not to be kept as a contact (BEP 43)."""
    bare: bool
    """A ping to an address whose key the sender does not know: the signature names no recipient."""
    transaction: bytes
    sender: PublicKey
    body: bytes
    data: bytes

    def verify(self, network: NetworkId, recipient: NodeId) -> None:
        """Check that ``sender`` signed this for ``network`` and ``recipient``.

        Raises:
            SignatureError: It did not, or the signature is for another network or recipient.
        """
        to = _NOBODY if self.bare else recipient
        signed = b"".join((network, to, memoryview(self.data)[SIGNATURE_BYTES:]))
        verify(self.sender, "datagram", signed, self.data[:SIGNATURE_BYTES])

    def message(self) -> Message:
        """Decode the body.

        Raises:
            RemoteProtocolError: It is not what the type promises.
        """
        message = decode(CLASSES[self.kind], self.body)
        if isinstance(message, Nodes):
            _check_contacts(message)
        return message


def seal(
    identity: Identity,
    network: NetworkId,
    recipient: NodeId | None,
    transaction: bytes,
    message: Message,
    *,
    read_only: bool,
) -> bytes:
    """Encode, pad and sign a datagram.

    Args:
        identity: The sender.
        network: The network it is for.
        recipient: Node id of the receiver; None only in a ping to a bare address.
        transaction: 8 bytes, random in a request, echoed in its reply.
        message: What to say.
        read_only: Whether the sender is to be kept out of routing tables.

    Raises:
        LocalProtocolError: The message does not fit, or only a ping may be bare.
    """
    kind = KINDS[type(message)]
    if recipient is None and kind is not Kind.PING:
        raise LocalProtocolError(f"a {kind.name} needs a recipient")
    body = encode(message)
    if len(body) > MAX_BODY_BYTES:
        raise LocalProtocolError(f"a body is at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    flags = _READ_ONLY * read_only | _BARE * (recipient is None)
    rest = _HEADER.pack(VERSION, kind, flags, transaction, identity.key, len(body)) + body
    rest = rest.ljust(REQUEST_BYTES.get(kind, 0) - SIGNATURE_BYTES, b"\0")
    return identity.sign("datagram", network + (recipient or _NOBODY) + rest) + rest


def parse(data: bytes) -> Datagram:
    """Check everything about a datagram that costs nothing: sizes, version, type, flags, padding.

    Raises:
        RemoteProtocolError: It breaks docs/spec/dht.md section 1, or is a request shorter than its longest
            reply.
    """
    if not HEADER_BYTES <= len(data) <= MAX_DATAGRAM_BYTES:
        raise RemoteProtocolError(f"a datagram is {HEADER_BYTES} to {MAX_DATAGRAM_BYTES} bytes, got {len(data)}")
    version, number, flags, transaction, sender, size = _HEADER.unpack_from(data, SIGNATURE_BYTES)
    if version != VERSION:
        raise RemoteProtocolError(f"datagram version {version}")
    try:
        kind = Kind(number)
    except ValueError:
        raise RemoteProtocolError(f"datagram type {number}") from None
    if flags & ~(_READ_ONLY | _BARE) or (flags & _BARE and kind is not Kind.PING):
        raise RemoteProtocolError(f"flags {flags} in a {kind.name}")
    if len(data) < REQUEST_BYTES.get(kind, 0):
        raise RemoteProtocolError(f"a {kind.name} is at least {REQUEST_BYTES[kind]} bytes, got {len(data)}")
    end = HEADER_BYTES + size
    if end > len(data) or data.count(0, end) != len(data) - end:
        raise RemoteProtocolError("a body ends outside its datagram, or its padding is not zeros")
    return Datagram(
        kind=kind,
        read_only=bool(flags & _READ_ONLY),
        bare=bool(flags & _BARE),
        transaction=transaction,
        sender=PublicKey(sender),
        body=data[HEADER_BYTES:end],
        data=data,
    )


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _check_contacts(nodes: Nodes) -> None:
    whole = len(nodes.ipv4) % CONTACT4_BYTES == 0 and len(nodes.ipv6) % CONTACT6_BYTES == 0
    if not whole or len(nodes.contacts()) > MAX_CONTACTS:
        raise RemoteProtocolError("a list of contacts is cut short or too long")


__all__ = [
    "ANY_SEQUENCE",
    "CLASSES",
    "CONTACT4_BYTES",
    "CONTACT6_BYTES",
    "HEADER_BYTES",
    "KINDS",
    "MAX_BODY_BYTES",
    "MAX_CONTACTS",
    "MAX_DATAGRAM_BYTES",
    "MAX_ITEMS",
    "MAX_ITEM_RECORDS",
    "MAX_PAGE_RECORDS",
    "MAX_RECORDS",
    "NO_MORE",
    "REQUEST_BYTES",
    "TOKEN_BYTES",
    "TRANSACTION_BYTES",
    "Announce",
    "Announced",
    "Datagram",
    "FindNode",
    "GetProviders",
    "GetRecord",
    "GotRecord",
    "Item",
    "Kind",
    "Message",
    "Nodes",
    "Ping",
    "Pong",
    "Providers",
    "PutCode",
    "PutRecord",
    "RecordPut",
    "Reply",
    "Request",
    "parse",
    "seal",
]
