"""Storing segments: count what is there, find candidates, place the rest, announce all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from dht.search import Found
from node.client import Client
from node.errors import NetworkError
from node.journal import Journal
from node.keeping.holders import Questions
from node.keeping.receiptfile import ReceiptBook
from node.net.pace import Pace
from node.progress import Progress
from node.publishing.candidates import seek
from node.publishing.placement import Candidate, country_bound_met
from node.publishing.placing import Placing
from node.publishing.present import find_present
from node.publishing.sealing import Segment
from node.publishing.spread import Column, Spread, Terms
from protocol.identity import Identity
from protocol.ids import SegmentId
from protocol.segment import Descriptor

FIRST_ACK_SECONDS = 5.0
"""A put is borne so long in silence until the first chunk is acknowledged: our own line may take that for its end."""
ANNOUNCED_AT_ONCE = 8
"""Segments. A dead node among those told costs its announcement two seconds, in which the next are placed."""


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
    book: ReceiptBook | None = None
    """Where every holder's receipt goes, if they are wanted."""

    async def place(self, segment: Segment, size: int) -> tuple[Placed, News]:
        """Place every chunk that the network lacks. A segment that lacks none is not sealed, if the journal knows it.

        Args:
            segment: To be released by the caller.
            size: Bytes of the published files that it stands for: what the progress counts.

        Raises:
            RefusedError: The nodes that answer refuse.
            NetworkError: Too few nodes can be reached, or nothing moved for 15 seconds.
            MachineError: The receipts cannot be written.
        """
        part = self.progress.part(size, segment.layout.n)
        spread = await self._present(await segment.descriptor())
        sealed = await segment.sealed() if spread.missing else None
        if sealed is not None and sealed.descriptor != spread.descriptor:  # the journal knows it sealed otherwise
            spread = await self._present(sealed.descriptor)
        part.held((holder.node_id, holder.country) for holder in spread.holders.values())
        part.sealed()
        if sealed is not None:
            part.confirmed(len(spread.holders))
            self.pace.moved_at = trio.current_time()  # reading, sealing and lookup have taken their time
            chunks = {i: Column(i, sealed.columns[i], sealed.hashes[i]) for i in spread.missing}
            placing = Placing(self.client, self.identity, self.pace, spread, chunks, part)
            await placing.run()
            self.sent_bytes += placing.sent_bytes
        self._outdone(spread.terms)
        if self.book is not None:
            signed = {index: (spread.holders[index].contact.key, data) for index, data in spread.receipts.items()}
            await self.book.add(self.client.world.blocking, spread.descriptor, spread.terms.expiry, signed)
        part.confirmed(spread.layout.n)  # some may have found no holder: it is done all the same
        news = News(spread.descriptor.id, tuple(spread.records.values()), spread.nearest)
        return Placed(spread.descriptor, spread.holders), news

    def _outdone(self, terms: Terms) -> None:
        """Sign above what the holders of one segment had in the next ones, too, and remember it."""
        if terms.sequence > self.terms.sequence:
            sequence, _ = self.journal.next_terms(terms.deposit, terms.sequence, terms.expiry)
            self.terms = replace(self.terms, sequence=sequence)

    async def _present(self, descriptor: Descriptor) -> Spread:
        """What the network has of a segment and, if that is not all, who might take the rest."""
        lease = self.terms.sign(self.identity, self.client.network.id, descriptor.id, descriptor.layout.length)
        spread = Spread(
            descriptor, lease, self.terms, self.identity.key, receipts_wanted=self.book is not None, reviving=True
        )
        if self.journal.seen(descriptor.id):
            look = partial(seek, self.client, spread)
            await find_present(self.client, self.identity, spread, self.questions, look)
        else:
            await seek(self.client, spread)
            self.journal.putting(descriptor.id)
        return spread

    async def announce(self, news: News) -> None:
        """As :func:`announce`, some at a time."""
        if news.records:
            async with self.announcing:
                await announce(self.client, news)


async def announce(client: Client, news: News) -> None:
    """Tell the nodes near a segment who holds it.

    Raises:
        NetworkError: Nobody took the announcement.
    """
    nearest = news.nearest or await client.dht.lookup(news.segment)
    if await client.dht.announce(news.segment, news.records, nearest) == 0:
        raise NetworkError(
            "no node took the announcement of a segment",
            hint="run it again: what is stored is not sent twice",
        )
