"""Asking a holder to prove that it has a chunk: a random block, checked against the descriptor alone."""

from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerError, PeerRefused, PeerUnreachable
from protocol.errors import ProtocolError
from protocol.hashing import DIGEST_BYTES, Bytes
from protocol.identity import verify
from protocol.ids import NetworkId, PublicKey
from protocol.messages import NONCE_BYTES, Audit, AuditReply, ErrorCode
from protocol.segment import Descriptor, block_hash, check_block, check_hashes
from protocol.statements import audit_statement


class Verdict(Enum):
    """What came of an audit."""

    RIGHT = "right"
    LIE = "lie"
    """A wrong answer, and signed: who has gone through the handshake with this key sent it."""
    WRONG = "wrong"
    """A wrong answer that nobody signed, or a refusal."""
    ABSENT = "absent"
    """It says that it does not have the chunk, or no more."""
    BUSY = "busy"
    """No answer yet: it asks to be asked again."""


_REFUSALS = {
    ErrorCode.BUSY: Verdict.BUSY,
    ErrorCode.NOT_FOUND: Verdict.ABSENT,
    ErrorCode.CORRUPT: Verdict.ABSENT,
}


async def audit(
    client: Client,
    contact: Contact,
    descriptor: Descriptor,
    index: int,
    *,
    on_body: Callable[[int], None] | None = None,
) -> bool:
    """Whether ``contact`` answers an audit of chunk ``index`` rightly. False is its failure, not proof of a lie.

    The deadline is the caller's; ``on_body`` is told how many bytes of the block have come so far.
    """
    try:
        return await answered_rightly(client, contact, descriptor, index, on_body)
    except PeerUnreachable:
        return False


async def answered_rightly(
    client: Client,
    contact: Contact,
    descriptor: Descriptor,
    index: int,
    on_body: Callable[[int], None] | None = None,
) -> bool:
    """As :func:`audit`, for who tells a wrong answer from none.

    Raises:
        PeerUnreachable: No answer.
    """
    return await examine(client, contact, descriptor, index, on_body) is Verdict.RIGHT


async def examine(
    client: Client,
    contact: Contact,
    descriptor: Descriptor,
    index: int,
    on_body: Callable[[int], None] | None = None,
) -> Verdict:
    """As :func:`audit`, for who acts upon a lie.

    Raises:
        PeerUnreachable: No answer.
    """
    block = client.random_below(descriptor.layout.column_blocks(index))
    nonce = client.world.random_bytes(NONCE_BYTES)
    request = Audit(segment=descriptor.id, index=index, block=block, nonce=nonce)
    try:
        reply, body = await client.peers.request(contact, request, on_body=on_body)
    except PeerUnreachable:
        raise
    except PeerRefused as exc:
        return _REFUSALS.get(exc.code, Verdict.WRONG)
    except PeerError:
        return Verdict.WRONG
    assert isinstance(reply, AuditReply)
    network = client.network.id
    if is_right(network, contact.key, descriptor, request, reply, body):
        return Verdict.RIGHT
    return Verdict.LIE if is_signed(network, contact.key, request, reply, body) else Verdict.WRONG


def is_signed(network: NetworkId, key: PublicKey, request: Audit, reply: AuditReply, body: Bytes) -> bool:
    """Whether ``key`` signed what it answered: that it has the block it sent, or the one whose hash it gave."""
    told = reply.hashes[request.block * DIGEST_BYTES :][:DIGEST_BYTES]
    for signed in (block_hash(body), told):
        statement = audit_statement(
            network=network,
            nonce=request.nonce,
            segment=request.segment,
            index=request.index,
            block=request.block,
            block_hash=signed,
        )
        with suppress(ProtocolError):
            verify(key, "audit", statement, reply.signature)
            return True
    return False


def is_right(
    network: NetworkId, key: PublicKey, descriptor: Descriptor, request: Audit, reply: AuditReply, body: Bytes
) -> bool:
    """Whether ``key`` has proved to hold the block that ``request`` asks for, of the segment of ``descriptor``."""
    try:
        hashes = check_hashes(descriptor, request.index, reply.hashes)
        check_block(hashes[request.block], body)
        statement = audit_statement(
            network=network,
            nonce=request.nonce,
            segment=descriptor.id,
            index=request.index,
            block=request.block,
            block_hash=hashes[request.block],  # which the body has
        )
        verify(key, "audit", statement, reply.signature)
    except ProtocolError:
        return False
    return reply.descriptor == descriptor.encode()
