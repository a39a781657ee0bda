"""Asking a holder to prove that it has a chunk: a random block, checked against the descriptor alone."""

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerError
from protocol.errors import ProtocolError
from protocol.identity import verify
from protocol.messages import NONCE_BYTES, Audit, AuditReply, audit_statement
from protocol.segment import Descriptor, block_hash, check_block, check_hashes


async def audit(client: Client, contact: Contact, descriptor: Descriptor, index: int) -> bool:
    """Whether ``contact`` answers an audit of chunk ``index`` rightly. False is its failure, not proof of a lie.

    The deadline is the caller's.
    """
    block = client.random_below(descriptor.layout.column_blocks(index))
    nonce = client.world.random_bytes(NONCE_BYTES)
    request = Audit(segment=descriptor.id, index=index, block=block, nonce=nonce)
    try:
        reply, body = await client.peers.request(contact, request)
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
            block_hash=block_hash(body),
        )
        verify(contact.key, "audit", statement, reply.signature)
    except (PeerError, ProtocolError):
        return False
    return True
