"""Storing segments: count what is there, find candidates, place the rest, announce all of it."""

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
from node.publishing.placement import ENOUGH_COUNTRIES, Candidate, country_bound_met
from node.publishing.placing import Placing
from node.publishing.present import find_present
from node.publishing.sealing import Segment
from node.publishing.spread import Spread, Terms
from protocol.identity import Identity
from protocol.ids import NodeId, SegmentId
from protocol.leases import Lease, sign_lease
from protocol.segment import Descriptor

HELLO_SECONDS = 5.0
"""A node that does not say hello for this long is no candidate for a while."""
QUIET_SECONDS = 1.0
"""Nor is one that has not said it this long after the last of the others: most of them answered, it is not the line."""
FIRST_ACK_SECONDS = 5.0
"""A put is borne so long in silence until the first chunk is acknowledged: our own line may take that for its end."""
ANNOUNCED_AT_ONCE = 8
"""Segments. A dead node among those told costs its announcement two seconds, in which the next are placed."""
_WIDEN_BY = 40


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the chunks of one segment are."""

    descriptor: Descriptor
    holders: dict[int, Candidate]

    @property
    def segment(self) -> SegmentId:
        return self.descriptor.id

    @property
    def k(self) -> int:
        return self.descriptor.layout.k

    @property
    def n(self) -> int:
        return self.descriptor.layout.n

    @property
    def stored_bytes(self) -> int:
        """Of the chunks that have a holder."""
        return sum(self.descriptor.layout.column_bytes(index) for index in self.holders)

    @property
    def country_bound(self) -> bool:
        """Whether any one claimed country can vanish, as far as the placement policy cares."""
        return country_bound_met(self.holders.values(), self.k)


@dataclass(frozen=True, slots=True)
class News:
    """What has yet to be announced of a segment that has been placed."""

    segment: SegmentId
    records: tuple[bytes, ...]
    """Provider records."""
    nearest: Sequence[Found]
    """The nodes to tell; none if nobody has been looked for."""


@dataclass(slots=True)
class Uploader:
    """Stores segments. One per publish, shared by its segments."""

    client: Client
    identity: Identity
    journal: Journal
    terms: Terms
    progress: Progress
    pace: Pace = field(default_factory=partial(Pace, FIRST_ACK_SECONDS))
    questions: Questions = field(default_factory=Questions)
    announcing: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(ANNOUNCED_AT_ONCE))
    sent_bytes: int = 0
    """Of chunks that were acknowledged."""

    async def place(self, segment: Segment, size: int) -> tuple[Placed, News]:
        """Place every chunk that the network lacks. A segment that lacks none is not sealed, if the journal knows it.

        Args:
            segment: To be released by the caller.
            size: Bytes of the published files that it stands for: what the progress counts.

        Raises:
            RefusedError: The nodes that answer refuse.
            NetworkError: Too few nodes can be reached, or nothing moved for 15 seconds.
        """
        part = self.progress.part(size, segment.layout.n)
        spread = await self._present(await segment.descriptor())
        if spread.missing:
            sealed = await segment.sealed()
            if sealed.descriptor != spread.descriptor:  # what the journal knows was sealed otherwise
                spread = await self._present(sealed.descriptor)
            part.confirmed(len(spread.holders))
            self.pace.moved_at = trio.current_time()  # reading, sealing and lookup have taken their time
            placing = Placing(self.client, self.pace, spread, sealed, part)
            await placing.run()
            self.sent_bytes += placing.sent_bytes
        part.confirmed(spread.layout.n)  # some may have found no holder: it is done all the same
        news = News(spread.descriptor.id, tuple(spread.records.values()), spread.nearest)
        return Placed(spread.descriptor, spread.holders), news

    async def _present(self, descriptor: Descriptor) -> Spread:
        """What the network has of a segment and, if that is not all, who might take the rest."""
        spread = Spread(descriptor, self._lease(descriptor), self.terms)
        seek = partial(self._seek, spread)
        if self.journal.seen(descriptor.id):
            await find_present(self.client, self.identity.key, spread, self.questions, seek)
        else:
            await seek()
            self.journal.putting(descriptor.id)
        return spread

    async def _seek(self, spread: Spread) -> None:
        spread.nearest = await self.client.dht.lookup(spread.descriptor.id)
        spread.candidates = await self._candidates([item.contact for item in spread.nearest], spread.layout.n)

    def _lease(self, descriptor: Descriptor) -> bytes:
        terms = self.terms
        return sign_lease(
            self.identity,
            Lease(
                network=self.client.network.id,
                depositor=self.identity.key,
                deposit=terms.deposit,
                segment=descriptor.id,
                size=descriptor.layout.length,
                sequence=terms.sequence,
                expiry=terms.expiry,
                policy=terms.policy,
            ),
        )

    async def _candidates(self, nearest: Sequence[Contact], chunks: int) -> list[Candidate]:
        """Those of the nearest nodes that answer and store; widened while nodes or countries do not suffice."""
        candidates = await self._ask_records(nearest)
        usable = [c for c in candidates if c.country not in self.terms.policy.avoid]
        few_countries = self.terms.policy.spread_countries and len({c.country for c in usable}) < ENOUGH_COUNTRIES
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

    async def announce(self, news: News) -> None:
        """Tell the nodes near a segment who holds it.

        Raises:
            NetworkError: Nobody took the announcement.
        """
        if not news.records:
            return
        async with self.announcing:
            nearest = news.nearest or await self.client.dht.lookup(news.segment)
            told = await self.client.dht.announce(news.segment, news.records, nearest)
        if told == 0:
            raise NetworkError(
                "no node took the announcement of a segment",
                hint="publish again: what is stored is not sent twice",
            )
