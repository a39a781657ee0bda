"""What to do about a holder that has a later lease of the same deposit: signed elsewhere, by a clock that was ahead."""

import trio

from dht.contact import Contact
from node.client import Client
from node.keeping.holders import ANSWER_SECONDS, fetch_leases
from node.publishing.spread import Spread
from protocol.identity import Identity


async def outdo(client: Client, identity: Identity, spread: Spread, contact: Contact, refused: bytes) -> bool:
    """After a holder has called a lease stale: read the one it has, and sign one above it for the whole segment.

    A holder cannot make that up, for it is the depositor who signed it.

    Args:
        client: Who asks.
        identity: The depositor's.
        spread: The segment. Its lease and terms are replaced.
        contact: Who refused.
        refused: The lease that it refused.

    Returns:
        Whether the segment has another lease now, to ask again with.

    Raises:
        PeerError, ProtocolError, trio.TooSlowError: It does not show its leases.
    """
    if spread.lease != refused:
        return True  # another holder of the segment has been outdone meanwhile
    with trio.fail_after(ANSWER_SECONDS):
        found = await fetch_leases(client, contact, spread.descriptor.id)
    own = [lease for lease, _ in found if (lease.depositor, lease.deposit) == (identity.key, spread.terms.deposit)]
    if spread.lease != refused:
        return True
    newest = max(own, key=lambda lease: lease.sequence, default=None)
    return newest is not None and spread.outdo(identity, client.network.id, newest)
