"""Storing sealed segments: find candidates, count what is there, place the rest, announce."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from dht.contact import Contact
from dht.search import Found
from node.client import Client
from node.errors import NetworkError
from node.journal import Journal
from node.keeping.holders import Questions
from node.net.pace import Pace
from node.progress import Progress
from node.publishing.placement import Candidate, country_bound_met
from node.publishing.placing import Placing
from node.publishing.present import find_present
from node.publishing.spread import Spread, Terms
from protocol.identity import Identity
from protocol.ids import NodeId, SegmentId
from protocol.leases import Lease, sign_lease
from protocol.seal import SealedSegment

HELLO_SECONDS = 5.0
"""A node that does not say hello for this long is no candidate for a while."""
QUIET_SECONDS = 1.0
"""Nor is one that has not said it this long after the last of the others: most of them answered, it is not the line."""
FIRST_ACK_SECONDS = 5.0
"""A put is borne so long in silence until the first chunk is acknowledged: our own line may take that for its end."""
_WIDEN_BY = 40
_ENOUGH_COUNTRIES = 3
"""With so many, none need hold more than n-k chunks of a segment (docs/design.md, "Placement")."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the chunks of one segment are."""

    segment: SegmentId
    size: int
    k: int
    n: int
    stored_bytes: int
    """Of the chunks that have a holder."""
    holders: dict[int, Candidate]
    country_bound: bool
    """Whether any one claimed country can vanish, as far as the placement policy cares."""


@dataclass(slots=True)
class Uploader:
    """Stores sealed segments. One per publish, shared by its segments."""

    client: Client
    identity: Identity
    journal: Journal
    terms: Terms
    progress: Progress
    pace: Pace = field(default_factory=partial(Pace, FIRST_ACK_SECONDS))
    questions: Questions = field(default_factory=Questions)
    sent_bytes: int = 0
    """Of chunks that were acknowledged."""

    async def store(self, sealed: SealedSegment, size: int) -> Placed:
        """Place and announce every chunk that the network lacks.

        Args:
            sealed: The segment.
            size: Bytes of the published files that it stands for: what the progress counts.

        Raises:
            RefusedError: The nodes that answer refuse.
            NetworkError: Too few nodes can be reached, nothing moved for 15 seconds, or nobody took the announcement.
        """
        layout = sealed.descriptor.layout
        found = await self.client.dht.lookup(sealed.id)
        candidates = await self._candidates([item.contact for item in found], layout.n)
        spread = Spread(sealed, self._lease(sealed), self.terms, candidates)
        part = self.progress.part(size, layout.n)
        if self.journal.seen(sealed.id):
            await find_present(self.client, self.identity.key, spread, self.questions)
            part.confirmed(len(spread.holders))
        else:
            self.journal.putting(sealed.id)
        if spread.missing:
            self.pace.moved_at = trio.current_time()  # reading, sealing and lookup have taken their time
            placing = Placing(self.client, self.pace, spread, part)
            await placing.run()
            self.sent_bytes += placing.sent_bytes
        await self._announce(sealed.id, spread.records, found)
        part.confirmed(layout.n)  # some may have found no holder: it is done all the same
        bound = country_bound_met(spread.holders.values(), layout.k)
        stored = sum(layout.column_bytes(index) for index in spread.holders)
        return Placed(sealed.id, layout.length, layout.k, layout.n, stored, spread.holders, bound)

    def _lease(self, sealed: SealedSegment) -> bytes:
        terms = self.terms
        return sign_lease(
            self.identity,
            Lease(
                network=self.client.network.id,
                depositor=self.identity.key,
                deposit=terms.deposit,
                segment=sealed.id,
                size=sealed.descriptor.layout.length,
                sequence=terms.sequence,
                expiry=terms.expiry,
                policy=terms.policy,
            ),
        )

    async def _candidates(self, nearest: Sequence[Contact], chunks: int) -> list[Candidate]:
        """Those of the nearest nodes that answer and store; widened while nodes or countries do not suffice."""
        candidates = await self._ask_records(nearest)
        usable = [c for c in candidates if c.country not in self.terms.policy.avoid]
        few_countries = self.terms.policy.spread_countries and len({c.country for c in usable}) < _ENOUGH_COUNTRIES
        if few_countries or len(usable) < chunks:
            known = {contact.node_id for contact in nearest}
            others = [c for c in self.client.dht.contacts() if c.node_id not in known]
            if others:
                candidates += await self._ask_records(others[:_WIDEN_BY])
        return candidates

    async def _ask_records(self, contacts: Sequence[Contact]) -> list[Candidate]:
        answers: dict[NodeId, Candidate] = {}
        # A peer that stalled a moment ago is not waited for again.
        asked = [contact for contact in contacts if not self.client.is_suspect(contact)]
        ends_at = trio.current_time() + HELLO_SECONDS
        deadline = trio.CancelScope(deadline=ends_at)

        async def ask(contact: Contact) -> None:
            record = await self.client.record(contact)
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
            self.client.suspect(contact)
        return [answers[contact.node_id] for contact in contacts if contact.node_id in answers]

    async def _announce(self, segment: SegmentId, records: dict[int, bytes], found: Sequence[Found]) -> None:
        if records and await self.client.dht.announce(segment, list(records.values()), found) == 0:
            raise NetworkError(
                "no node took the announcement of a segment",
                hint="publish again: what is stored is not sent twice",
            )
