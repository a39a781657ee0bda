"""Asking a holder to prove that it has a chunk: a random block, checked against the descriptor alone."""

from collections.abc import Callable

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerError, PeerUnreachable
from protocol.errors import ProtocolError
from protocol.identity import verify
from protocol.messages import NONCE_BYTES, Audit, AuditReply, audit_statement
from protocol.segment import Descriptor, check_block, check_hashes


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
    block = client.random_below(descriptor.layout.column_blocks(index))
    nonce = client.world.random_bytes(NONCE_BYTES)
    request = Audit(segment=descriptor.id, index=index, block=block, nonce=nonce)
    try:
        reply, body = await client.peers.request(contact, request, on_body=on_body)
        if not isinstance(reply, AuditReply) or reply.descriptor != descriptor.encode():
            return False
        hashes = check_hashes(descriptor, index, reply.hashes)
        check_block(hashes[block], body)
        statement = audit_statement(
            network=client.network.id,
            nonce=nonce,
            segment=descriptor.id,
            index=index,
            block=block,
            block_hash=hashes[block],  # which the body has
        )
        verify(contact.key, "audit", statement, reply.signature)
    except PeerUnreachable:
        raise
    except (PeerError, ProtocolError):
        return False
    return True
