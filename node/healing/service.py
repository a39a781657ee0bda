"""A node's part in keeping segments alive, put together: what runs, and what the server and the store tell it."""

import logging
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from pathlib import Path

import trio

from dht.contact import Contact
from node.client import Client
from node.healing.audits import Audits
from node.healing.budget import Budget
from node.healing.handover import Handover, TakeOver
from node.healing.leave import Leave
from node.healing.ledger import CoHolder, Ledger
from node.healing.liveness import Liveness
from node.healing.moving import Mover
from node.healing.repair import Repairs
from node.healing.rights import Rights
from node.healing.scrub import Scrub
from node.healing.segments import Segments
from node.healing.survey import Surveys
from node.healing.tally import Tally
from node.intervals import Intervals
from node.net.peers import PeerError
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import Address, PublicKey, SegmentId, short
from protocol.leases import Lease
from protocol.messages import Leases, LeasesReply, Survey, SurveyReply
from protocol.segment import MAX_N, Descriptor

log = logging.getLogger(__name__)

LEARN_SECONDS = 0.1
"""Between two segments whose holders are looked up: a node that starts with 100,000 has done so in three hours, if its
lookups are quick enough for LEARNERS side by side."""
LEARNERS = 8
SURVEYS = 4
"""Nodes surveyed side by side: a slow one holds up the others little."""
SETTLED_TICKS = 2
"""So long after a put its segment's holders are looked up: by then its depositor has announced them."""
_PAGE = 256


@dataclass(frozen=True, slots=True)
class _News:
    """A chunk that has come or gone."""

    segment: SegmentId
    index: int
    gained: bool
    taken_over: bool = False


class Healing:
    """Everything that a node does unasked for the segments it holds."""

    def __init__(
        self, client: Client, store: ChunkStore, statements: Statements, intervals: Intervals, folder: Path
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._store = store
        self._statements = statements
        self._intervals = intervals
        self._rights = Rights(folder, client.world.clock.wall, intervals)
        self._ledger = Ledger(Contact(statements.identity.key, statements.address), statements.country)
        budget = Budget(intervals.repair_rate)
        ledger, tally = self._ledger, self.tally
        self._surveys = Surveys(ledger, client, store, statements, tally)
        self._segments = Segments(ledger, client, store, self._surveys)
        self._audits = Audits(ledger, client, self._segments.descriptor, self._surveys, budget, intervals, tally)
        self._liveness = Liveness(ledger, client.dht, self._audits.answers, self._rights, intervals, tally)
        self._take_over = TakeOver(client, statements, ledger, self._audits, tally)
        self._scrub = Scrub(store, client, intervals, tally)
        mover = Mover(ledger, client, store, statements, budget, tally)
        self._repairs = Repairs(ledger, client, self._segments, self._surveys, self._audits, mover, intervals, tally)
        self._handover = Handover(
            ledger, client, store, self._segments, self._audits, self._repairs, mover, self._rights, tally
        )
        self.leave = Leave(ledger, client, store, statements, self._repairs, self._handover)
        self._to_learn: list[tuple[float, SegmentId]] = []
        """Heap: when to look up a segment's holders."""
        self._due: dict[SegmentId, float] = {}
        """What counts of the above: each segment has one time."""
        self._to_show: set[SegmentId] = set()
        """To whose holders we show ourselves then."""
        self._news: deque[_News] = deque()
        """What the store has gained or lost, from whatever thread."""
        store.on_lost = self._lost

    def stored(self, segment: SegmentId, index: int, *, taken_over: bool) -> None:
        """A chunk has been put: by its depositor, or by another holder. May be called from any thread."""
        self._news.append(_News(segment, index, gained=True, taken_over=taken_over))

    def _lost(self, segment: SegmentId, index: int) -> None:
        self._news.append(_News(segment, index, gained=False))

    async def take_over(self, descriptor: Descriptor, index: int, lease: Lease, peer: PublicKey, source: str) -> None:
        """As :class:`~node.serving.requests.Healer` says; likewise the next two."""
        await self._take_over(descriptor, index, lease, peer, source)

    async def answer_survey(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        return await self._surveys.answer(message, peer, observed)

    async def leases(self, message: Leases) -> LeasesReply:
        return await self._surveys.leases(message)

    def country(self, contact: Contact) -> str | None:
        """What a node with which we share segments claims. None: we share none with it, or it claims nothing."""
        node = self._ledger.known(contact.key)
        return node.country or None if node is not None else None

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            self._rights.was_away(await self._client.world.blocking(self._rights.away_seconds))
            for service in (
                self._stay,
                self._begin,
                self._mind,
                self._learn,
                self._liveness.run,
                self._survey,
                self._tidy,
                self._audits.run,
                self._scrub.run,
                self._repairs.run,
                self.leave.run,
            ):
                nursery.start_soon(service)

    async def _stay(self) -> None:
        """Note again and again that this node is there."""
        while True:
            try:
                await self._client.world.blocking(self._rights.note)
            except OSError as exc:
                log.error("could not note that the node is there: %s", exc)
            await trio.sleep(self._intervals.ping)

    async def _begin(self) -> None:
        """Enter everything that is held already; whose other holders are is looked up little by little."""
        after = (b"", 0)
        held = 0
        while page := await self._page(after):
            after = (page[-1].segment, page[-1].index)
            held += len(page)
            for chunk in page:
                self._enter(chunk.segment, chunk.index, held * LEARN_SECONDS * self._fraction())

    async def _page(self, after: tuple[bytes, int]) -> list[HeldChunk]:
        try:
            # What is in the trash as well: another holder may have heard of its renewal.
            return await self._client.world.blocking(partial(self._store.holdings, after, _PAGE, trash=True))
        except Refusal as exc:
            log.error("could not list what is held: %s", exc)
            return []

    def _fraction(self) -> float:
        """A random number, 0 to 1: so that not all nodes do the same at once."""
        return self._client.random_below(1 << 20) / (1 << 20)

    def _enter(self, segment: SegmentId, index: int, delay: float, *, show: bool = False) -> None:
        new = segment not in self._ledger
        self._ledger.enter(segment)
        self._ledger.proved(segment, index, self._ledger.own)
        if show:
            self._to_show.add(segment)
        if new or show:
            self._learn_at(segment, trio.current_time() + delay)

    def _learn_at(self, segment: SegmentId, when: float) -> None:
        self._due[segment] = when
        heappush(self._to_learn, (when, segment))

    async def _holds(self, news: _News) -> bool:
        try:
            ((indices, _),) = await self._client.world.blocking(self._store.digests, [news.segment])
        except Refusal as exc:
            log.error("segment %s: %s", short(news.segment), exc)
            return True
        return news.index in indices

    async def _mind(self) -> None:
        """Take notice of what the store has gained and lost."""
        while True:
            await trio.sleep(self._intervals.tick)
            while self._news:
                news = self._news.popleft()
                if news.gained and not await self._holds(news):
                    continue  # it was handed on, or deleted, within the tick
                if news.gained and news.taken_over:
                    self._rights.taken(news.segment, news.index)
                if news.gained:
                    delay = 0.0 if news.taken_over else SETTLED_TICKS * self._intervals.tick
                    self._enter(news.segment, news.index, delay, show=news.taken_over)
                else:
                    self.tally.rotten_chunks += 1
                    self._ledger.remove(news.segment, news.index, self._ledger.own)

    async def _learn(self) -> None:
        """Look up the holders of segments, some side by side, each again in every audit period."""
        places = trio.Semaphore(LEARNERS)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LEARN_SECONDS)
                if not self._to_learn or self._to_learn[0][0] > trio.current_time():
                    await trio.sleep(self._intervals.tick)
                    continue
                when, segment = heappop(self._to_learn)
                if self._due.get(segment) == when:
                    del self._due[segment]
                    await places.acquire()
                    nursery.start_soon(self._learn_one, segment, places)

    async def _learn_one(self, segment: SegmentId, places: trio.Semaphore) -> None:
        try:
            if segment in self._ledger:
                await self._guarded((self._show if segment in self._to_show else self._repairs.learn)(segment), segment)
                if segment not in self._due:
                    self._learn_at(segment, trio.current_time() + self._intervals.audit * (0.5 + self._fraction()))
        finally:
            self._to_show.discard(segment)
            places.release()

    async def _guarded(self, work: Awaitable[None], segment: SegmentId) -> None:
        """Our own disk may fail over one segment: the others go on."""
        try:
            await work
        except Refusal as exc:
            log.error("segment %s: %s", short(segment), exc)

    async def _show(self, segment: SegmentId) -> None:
        """Let the other holders know what has come here, and everybody who looks for it. Raises Refusal.

        Who has given it to us announces it too; but it might be gone by now, or not mean well.
        """
        await self._repairs.refresh(segment)
        found = await self._client.world.blocking(self._store.holdings, (segment, -1), MAX_N)
        records = [self._statements.provider(chunk) for chunk in found if chunk.segment == segment]
        await self._client.dht.announce(segment, records, await self._client.dht.lookup(segment))

    async def _survey(self) -> None:
        """Survey every other live holder once in an interval; forget who has been missing for that long."""
        interval = self._intervals.survey
        places = trio.Semaphore(SURVEYS)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._intervals.tick)
                now = trio.current_time()
                for node in self._ledger.others():
                    if node.surveyed is None:
                        node.surveyed = now - interval * self._fraction()
                    if not node.holdings or now - node.surveyed < interval:
                        continue
                    node.surveyed = now
                    if node.live:
                        await places.acquire()
                        nursery.start_soon(self._survey_one, node, places)
                    elif node.missing_since is not None and now - node.missing_since >= interval:
                        self._ledger.bury(node)
                self._ledger.forget_idle()

    async def _survey_one(self, node: CoHolder, places: trio.Semaphore) -> None:
        try:
            await self._surveys.ask(node)
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
            log.debug("node %s could not be surveyed: %s", short(node.node_id), str(exc) or "too slow")
        finally:
            places.release()

    async def _tidy(self) -> None:
        """Look once in a survey interval at each segment: does another hold the same, could somebody take some."""
        while True:
            self._ledger.hope()
            segments = self._ledger.segments()
            pause = self._intervals.survey / (len(segments) + 1)
            await trio.sleep(pause)
            for segment in segments:
                await trio.sleep(pause)
                if segment in self._ledger:
                    await self._guarded(self._tidy_one(segment), segment)

    async def _tidy_one(self, segment: SegmentId) -> None:
        """Also forget a segment of which nothing is left here.

        What was damaged we have been told of: that is repaired first. What went otherwise nobody wants here any more.
        """
        ((indices, _),) = await self._client.world.blocking(self._store.digests, [segment])
        damaged = not self._ledger.held_by(segment, self._ledger.own) or any(n.segment == segment for n in self._news)
        if not indices and not damaged:
            self._ledger.forget(segment)
            return
        self._ledger.says(segment, self._ledger.own, indices)
        if indices:
            await self._handover.tidy(segment)
        elif segment not in self._ledger.troubles:
            self._ledger.forget(segment)
