"""Which nodes might take a chunk of a segment: the nearest to its id that answer and store."""

from collections.abc import Sequence

import trio

from dht.contact import Contact
from node.client import Client
from node.publishing.placement import ENOUGH_COUNTRIES, Candidate
from node.publishing.spread import Spread
from protocol.ids import NodeId
from protocol.leases import Policy

HELLO_SECONDS = 5.0
"""A node that does not say hello for this long is no candidate for a while."""
QUIET_SECONDS = 1.0
"""Nor is one that has not said it this long after the last of the others: most of them answered, it is not the line."""
_WIDEN_BY = 40


async def seek(client: Client, spread: Spread) -> None:
    """Look for the nodes nearest to a segment, if they are not known, and who might take its chunks: fills in both."""
    spread.nearest = spread.nearest or await client.dht.lookup(spread.descriptor.id)
    nearest = [item.contact for item in spread.nearest]
    spread.candidates = await find_candidates(client, nearest, spread.terms.policy, spread.layout.n)


async def find_candidates(client: Client, nearest: Sequence[Contact], policy: Policy, chunks: int) -> list[Candidate]:
    """Those of the nearest nodes that answer and store; widened while nodes or countries do not suffice.

    Args:
        client: Who asks.
        nearest: What a lookup of the segment found, nearest first.
        policy: The depositor's.
        chunks: How many have to be placed, on distinct nodes if possible.
    """
    candidates = await _ask_records(client, nearest)
    usable = [c for c in candidates if c.country not in policy.avoid]
    few_countries = policy.spread_countries and len({c.country for c in usable}) < ENOUGH_COUNTRIES
    if few_countries or len(usable) < chunks:
        known = {contact.node_id for contact in nearest}
        others = [c for c in client.dht.contacts() if c.node_id not in known]
        if others:
            candidates += await _ask_records(client, others[:_WIDEN_BY])
    return candidates


async def _ask_records(client: Client, contacts: Sequence[Contact]) -> list[Candidate]:
    answers: dict[NodeId, Candidate] = {}
    # A peer that stalled a moment ago is not waited for again; but for all of them, if there are no others.
    asked = [contact for contact in contacts if not client.is_suspect(contact)] or list(contacts)
    ends_at = trio.current_time() + HELLO_SECONDS
    deadline = trio.CancelScope(deadline=ends_at)

    async def ask(contact: Contact) -> None:
        record = await client.record(contact)
        waiting.discard(contact)
        if record is not None:
            deadline.deadline = min(ends_at, trio.current_time() + QUIET_SECONDS)
            if record.storing:
                answers[contact.node_id] = Candidate(contact, record.country, record.free_bytes)

    waiting = set(asked)
    with deadline:
        async with trio.open_nursery() as nursery:
            for contact in asked:
                nursery.start_soon(ask, contact)
    for contact in waiting:
        client.suspect(contact)
    return [answers[contact.node_id] for contact in contacts if contact.node_id in answers]
