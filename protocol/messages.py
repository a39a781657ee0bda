"""The requests and replies of the chunk protocol (docs/spec/wire.md section 5).

Goals: one frozen dataclass per message, its fields in wire order beside their bounds, and how much body each
may carry. A request of type ``t`` is answered by type ``t + 64`` or by an error reply.

Non-goals: what a message means. Whether descriptors, hashes and leases fit is for their users to check.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final

from protocol.codec import Flag, Raw, Seq, Struct, Text, Uint, decode_tagged, encode_tagged
from protocol.errors import RemoteProtocolError
from protocol.hashing import DIGEST_BYTES
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES
from protocol.ids import ID_BYTES, Address, PublicKey, SegmentId
from protocol.leases import DEPOSIT_ID_BYTES, MAX_LEASE_BYTES
from protocol.records import (
    MAX_INDEX,
    MAX_NODE_RECORD_BYTES,
    MAX_RECEIPT_BYTES,
    MAX_SECONDS,
    PackedAddress,
)

MAX_HEADER_BYTES = 32_768
MAX_BODY_BYTES = 16_779_264
"""128 sealed blocks."""
MAX_HAVE_SEGMENTS = 256
"""Segments one `have` may ask for."""
MAX_DESCRIPTOR_BYTES = 2048
MAX_HASHES_BYTES = 4096
MAX_PROVIDER_BYTES = 256
MAX_SURVEYED = 128
"""Segments one `survey` may ask for."""
MAX_LEASES = 64
"""Leases of one segment."""
LEASES_PAGE = 24
"""Leases one reply to `leases` holds at most."""
NONCE_BYTES = 16
SEALED_BLOCK_BYTES = 131_088
MAX_BLOCK = 127


@dataclass(frozen=True, slots=True)
class Indices:
    """Chunk indices, one byte each, ascending."""

    def load(self, value: object) -> bytes:
        indices = Raw(0, MAX_INDEX + 1).load(value)
        if list(indices) != sorted(set(indices)) or any(index > MAX_INDEX for index in indices):
            raise ValueError(f"want ascending indices of 0 to {MAX_INDEX}")
        return indices

    dump = load


class ErrorCode(IntEnum):
    """Why a request was not done."""

    NOT_FOUND = 1
    """The segment or that chunk is not held."""
    FULL = 2
    """The quota does not allow it."""
    REFUSED = 3
    """Policy: see the text."""
    BAD_LEASE = 4
    """Signature, network, segment, size or expiry do not fit."""
    STALE = 5
    """A higher sequence is known."""
    MALFORMED = 6
    """The request breaks the specification."""
    BUSY = 7
    """Too many requests at once: try again or elsewhere."""
    CORRUPT = 8
    """The chunk was damaged on disk and has been dropped."""
    NOT_STORING = 9
    """This node has not been found reachable yet."""
    DISK = 10
    """The holder's disk failed."""


@dataclass(frozen=True, slots=True)
class Code:
    """An error code; one that is not in the table is read as `refused`."""

    def load(self, value: object) -> ErrorCode:
        code = Uint(255).load(value)
        try:
            return ErrorCode(code)
        except ValueError:
            return ErrorCode.REFUSED

    def dump(self, value: object) -> int:
        if type(value) is not ErrorCode:
            raise ValueError("want an ErrorCode")
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who are you, and where do I seem to be?"""

    record: Annotated[bytes, Raw(0, MAX_NODE_RECORD_BYTES)] = b""
    """The sender's signed node record, empty for a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloReply:
    """The responder's node record."""

    record: Annotated[bytes, Raw(1, MAX_NODE_RECORD_BYTES)]
    observed: Annotated[Address, PackedAddress()]
    """The address the request came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Have:
    """Which chunks of these segments do you hold?"""

    depositor: Annotated[PublicKey, Raw(KEY_BYTES)]
    deposit: Annotated[bytes, Raw(DEPOSIT_ID_BYTES)]
    segments: Annotated[tuple[SegmentId, ...], Seq(Raw(ID_BYTES), MAX_HAVE_SEGMENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held of one segment."""

    indices: Annotated[bytes, Indices()] = b""
    """The chunk indices, one byte each, ascending."""
    expiry: Annotated[int, Uint(MAX_SECONDS)] = 0
    """Of the lease of the deposit asked about, seconds since 1970-01-01 UTC; 0 when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaveReply:
    """One Held per segment asked, in that order."""

    held: Annotated[tuple[Held, ...], Seq(Struct(Held), MAX_HAVE_SEGMENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Send blocks ``first`` to ``first + count - 1`` of one chunk."""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    index: Annotated[int, Uint(MAX_INDEX)]
    first: Annotated[int, Uint(MAX_BLOCK)] = 0
    count: Annotated[int, Uint(MAX_BLOCK + 1)]
    """0 asks for the proof only."""
    proof: Annotated[bool, Flag()] = False
    """Whether the descriptor and the hashes are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetReply:
    """The blocks, in the body; both fields empty unless the proof was asked for."""

    descriptor: Annotated[bytes, Raw(0, MAX_DESCRIPTOR_BYTES)] = b""
    hashes: Annotated[bytes, Raw(0, MAX_HASHES_BYTES)] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Keep this chunk, which is the body."""

    descriptor: Annotated[bytes, Raw(1, MAX_DESCRIPTOR_BYTES)]
    index: Annotated[int, Uint(MAX_INDEX)]
    hashes: Annotated[bytes, Raw(32, MAX_HASHES_BYTES)]
    """The block hashes of the chunk, joined."""
    lease: Annotated[bytes, Raw(1, MAX_LEASE_BYTES)]
    permit: Annotated[bytes, Raw(0, SIGNATURE_BYTES)] = b""
    """The depositor's signature over a permit statement (protocol/statements.py); empty when a holder puts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutReply:
    """The chunk and its lease survive a power cut."""

    receipt: Annotated[bytes, Raw(1, MAX_RECEIPT_BYTES)]
    provider: Annotated[bytes, Raw(1, MAX_PROVIDER_BYTES)]
    """The provider record, to be announced by the publisher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutLease:
    """Add, renew or delete a lease of a segment."""

    lease: Annotated[bytes, Raw(1, MAX_LEASE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReply:
    """One receipt and one provider record per chunk of the segment held; none after a deletion."""

    receipts: Annotated[tuple[bytes, ...], Seq(Raw(1, MAX_RECEIPT_BYTES), MAX_INDEX + 1)] = ()
    providers: Annotated[tuple[bytes, ...], Seq(Raw(1, MAX_PROVIDER_BYTES), MAX_INDEX + 1)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Prove that you hold this block."""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    index: Annotated[int, Uint(MAX_INDEX)]
    block: Annotated[int, Uint(MAX_BLOCK)]
    nonce: Annotated[bytes, Raw(NONCE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReply:
    """The sealed block, in the body, and what shows that it is the right one."""

    descriptor: Annotated[bytes, Raw(1, MAX_DESCRIPTOR_BYTES)]
    hashes: Annotated[bytes, Raw(32, MAX_HASHES_BYTES)]
    signature: Annotated[bytes, Raw(SIGNATURE_BYTES)]
    """Over an audit statement (protocol/statements.py), label `audit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialBack:
    """Try to reach me there. The address must have the IP the request comes from."""

    address: Annotated[Address, PackedAddress()]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialBackReply:
    """Which of the two worked."""

    udp: Annotated[bool, Flag()]
    tcp: Annotated[bool, Flag()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A segment that the asker holds chunks of."""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    indices: Annotated[bytes, Indices()] = b""
    """Of the chunks the asker holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What do you hold of these segments, under which leases?"""

    nonce: Annotated[bytes, Raw(NONCE_BYTES)]
    record: Annotated[bytes, Raw(0, MAX_NODE_RECORD_BYTES)] = b""
    """The asker's signed node record, empty for a client."""
    segments: Annotated[tuple[Shared, ...], Seq(Struct(Shared), MAX_SURVEYED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """What one holder knows of one segment."""

    indices: Annotated[bytes, Indices()] = b""
    """Of the chunks it holds."""
    leases: Annotated[bytes, Raw(DIGEST_BYTES)] = bytes(DIGEST_BYTES)
    """Digest of its unexpired leases, tombstones included (docs/spec/storage.md section 7); zeros when it has none."""
    missing: Annotated[int, Uint(MAX_INDEX + 1)] = 0
    """Chunks that it counts as lost: they are to be rebuilt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyReply:
    """One Holds per segment asked, in that order."""

    segments: Annotated[tuple[Holds, ...], Seq(Struct(Holds), MAX_SURVEYED)]
    time: Annotated[int, Uint(MAX_SECONDS)]
    """When it was signed, by the holder's clock, seconds since 1970-01-01 UTC."""
    signature: Annotated[bytes, Raw(SIGNATURE_BYTES)]
    """Over a survey statement (protocol/statements.py), label `survey`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Which leases does this segment have?"""

    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    skip: Annotated[int, Uint(MAX_LEASES)] = 0
    """Leases left out at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesReply:
    """Signed leases, tombstones included, in bytewise order."""

    leases: Annotated[tuple[bytes, ...], Seq(Raw(1, MAX_LEASE_BYTES), LEASES_PAGE)] = ()
    more: Annotated[bool, Flag()] = False
    """Whether others follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """The request was not done."""

    code: Annotated[ErrorCode, Code()]
    text: Annotated[str, Text(256)] = ""
    """For a person's eyes only: untrusted text."""


Request = Hello | Have | Get | Put | PutLease | Audit | DialBack | Survey | Leases
Reply = (
    HelloReply
    | HaveReply
    | GetReply
    | PutReply
    | LeaseReply
    | AuditReply
    | DialBackReply
    | SurveyReply
    | LeasesReply
    | ErrorReply
)
Message = Request | Reply

_REPLY: Final = 64
_ERROR: Final = 127
_CLASSES: Final[dict[int, type[Message]]] = {
    1: Hello,
    2: Have,
    3: Get,
    4: Put,
    5: PutLease,
    6: Audit,
    7: DialBack,
    8: Survey,
    9: Leases,
    65: HelloReply,
    66: HaveReply,
    67: GetReply,
    68: PutReply,
    69: LeaseReply,
    70: AuditReply,
    71: DialBackReply,
    72: SurveyReply,
    73: LeasesReply,
    _ERROR: ErrorReply,
}
_TYPES: Final[dict[type, int]] = {cls: number for number, cls in _CLASSES.items()}
_BODIES: Final[dict[type, int]] = {
    GetReply: MAX_BODY_BYTES,
    Put: MAX_BODY_BYTES,
    AuditReply: SEALED_BLOCK_BYTES,
}


def max_body_bytes(message: Message, request: Message | None = None) -> int:
    """How long the body of such a message may be; 0 for most.

    Args:
        message: Sent or received.
        request: What it answers, if it is a reply and that is known.
    """
    if isinstance(message, GetReply) and isinstance(request, Get):
        return request.count * SEALED_BLOCK_BYTES
    return _BODIES.get(type(message), 0)


def is_request(message: Message) -> bool:
    """Whether the initiator sends it."""
    return _TYPES[type(message)] < _REPLY


def answers(reply: Message, request: Message) -> bool:
    """Whether ``reply`` may answer ``request``: by its type, and in `have` and `survey` by the number of answers."""
    if isinstance(reply, HaveReply) and isinstance(request, Have):
        return len(reply.held) == len(request.segments)
    if isinstance(reply, SurveyReply) and isinstance(request, Survey):
        return len(reply.segments) == len(request.segments)
    return _TYPES[type(reply)] in (_TYPES[type(request)] + _REPLY, _ERROR)


def encode_message(message: Message) -> bytes:
    """The header of a message: a msgpack array of its type and its fields, at most 24,776 bytes.

    Raises:
        LocalProtocolError: A field is out of its range.
    """
    return encode_tagged(_TYPES[type(message)], message)


def decode_message(data: bytes | bytearray | memoryview) -> Message:
    """Decode a header, all of it.

    Raises:
        RemoteProtocolError: Too long, not msgpack, of an unknown type, or a field is out of its range.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise RemoteProtocolError(f"a header is at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
    return decode_tagged(_CLASSES, data)
