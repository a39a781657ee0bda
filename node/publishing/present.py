"""Which chunks of a segment the network has already: counted only after an audit, on nodes that suit the policy."""

from collections import Counter
from collections.abc import Sequence

import trio

from dht.contact import Contact
from node.client import Client
from node.keeping.audit import audit
from node.keeping.holders import ANSWER_SECONDS, find_holders
from node.net.peers import PeerError
from node.publishing.placement import Candidate
from node.publishing.spread import Spread
from protocol.errors import ProtocolError
from protocol.ids import PublicKey
from protocol.messages import Have, HaveReply, LeaseReply, PutLease
from protocol.records import ProviderRecord, open_provider

_ENOUGH_LEASE = 0.9
"""A lease that still runs for this share of the time asked is not renewed."""


async def find_present(client: Client, depositor: PublicKey, spread: Spread) -> None:
    """Find chunks that are on suitable nodes already: each proved by an audit, under this deposit's lease.

    Fills ``spread.holders``, and ``spread.records`` with what has yet to be announced: an earlier run may have
    been killed between a put and its announcement.
    """
    policy = spread.terms.policy
    known = await find_holders(client, spread.sealed.id)
    announced = {(holder.index, holder.key) for holder in known}
    candidates = spread.candidates + _farther(known, spread.candidates)
    suitable = [c for c in candidates if c.country not in policy.avoid]
    proved: list[tuple[int, Candidate, bytes | None]] = []

    async def ask(candidate: Candidate) -> None:
        with trio.move_on_after(ANSWER_SECONDS) as scope:
            found = await _proved(client, depositor, spread, candidate.contact, announced)
            proved.extend((index, candidate, record) for index, record in found.items())
        if scope.cancelled_caught:
            client.suspect(candidate.contact)

    async with trio.open_nursery() as nursery:
        for candidate in suitable:
            if not client.is_suspect(candidate.contact):
                nursery.start_soon(ask, candidate)
    layout = spread.layout
    order = {candidate.node_id: rank for rank, candidate in enumerate(candidates)}
    many = len({c.country for c in suitable}) >= 3 and policy.spread_countries
    per_country: Counter[str] = Counter()
    for index, candidate, record in sorted(proved, key=lambda item: (item[0], order[item[1].node_id])):
        if index in spread.holders or (many and per_country[candidate.country] >= layout.n - layout.k > 0):
            continue
        spread.holders[index] = candidate
        per_country[candidate.country] += 1
        if record is not None:
            spread.records[index] = record


def _farther(known: Sequence[ProviderRecord], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Holders that are not among the nearest nodes any more: the network has grown since. They get nothing new."""
    near = {candidate.node_id for candidate in candidates}
    farther = {holder.key: Candidate(Contact(holder.key, holder.address), holder.country, 0) for holder in known}
    return [candidate for candidate in farther.values() if candidate.node_id not in near]


async def _proved(
    client: Client, depositor: PublicKey, spread: Spread, contact: Contact, announced: set[tuple[int, PublicKey]]
) -> dict[int, bytes | None]:
    """The chunks this node proved to hold, with the lease seen to, and provider records not announced yet."""
    descriptor, terms = spread.sealed.descriptor, spread.terms
    ask = Have(depositor=depositor, deposit=terms.deposit, segments=(descriptor.id,))
    try:
        reply, _ = await client.peers.request(contact, ask)
        assert isinstance(reply, HaveReply)
        (held,) = reply.held
        indices = [index for index in held.indices if index < descriptor.layout.n]
        good = [i for i in indices if await audit(client, contact, descriptor, i)]
        found: dict[int, bytes | None] = dict.fromkeys(good)
        new = {index for index in good if (index, contact.key) not in announced}
        wanted = terms.now + _ENOUGH_LEASE * (terms.expiry - terms.now)
        if new or (good and held.expiry < wanted):
            reply, _ = await client.peers.request(contact, PutLease(lease=spread.lease))
            assert isinstance(reply, LeaseReply)
            for data in reply.providers:
                record = open_provider(client.network.id, descriptor.id, data)
                if record.key == contact.key and record.index in new:
                    found[record.index] = data
    except (PeerError, ProtocolError):
        client.suspect(contact)
        return {}
    return found
