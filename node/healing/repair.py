"""Rebuilding what is lost: when, in which order, by whom, and where to (docs/spec/healing.md sections 2 to 4)."""

import logging
import math
from collections.abc import Sequence
from heapq import nsmallest

import trio

from dht.contact import Contact
from node.client import Client
from node.healing.audits import Audits
from node.healing.ledger import CoHolder, Ledger
from node.healing.margin import Standing, grace, rank, urgency
from node.healing.moving import Mover
from node.healing.rebuild import Column, RebuildError, rebuild
from node.healing.segments import Segments
from node.healing.survey import Surveys
from node.healing.tally import Tally
from node.intervals import Intervals
from node.keeping.holders import find_holders
from node.net.peers import PeerError
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import SegmentId, short
from protocol.segment import Descriptor

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Segments under repair side by side: each holds its rebuilt chunks in memory."""
STALE_SECONDS = 5.0
"""Was a rebuild not done in that time, it is looked once more whether somebody else has been quicker."""
_MOST_DOUBLED = 4
"""The wait after a failed attempt doubles so often: each costs k chunks of traffic."""
LOOKED_AT_ONCE = 64
"""Segments looked at before others get their turn: after a disaster there may be a hundred thousand."""
ROUND_SEGMENTS = 64
"""After so many it is looked anew which are nearest to loss."""


class Repairs:
    """Looks again and again what is lost, and rebuilds it when it is this node's turn."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        segments: Segments,
        surveys: Surveys,
        audits: Audits,
        mover: Mover,
        intervals: Intervals,
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._segments = segments
        self._surveys = surveys
        self._audits = audits
        self._mover = mover
        self._intervals = intervals
        self._tally = tally

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._intervals.tick)
            await self._audits.check_claims()
            await self._round()

    async def _round(self) -> None:
        """Repair what is due, the segments nearest to loss first; of these first those of which we are first in rank.

        Were it by id, all holders of the same segments would be at the same one when there is more than can be done.
        """
        due: list[tuple[bool, tuple[int, int], int, SegmentId]] = []
        pending = beyond = 0
        for number, segment in enumerate(list(self._ledger.troubles)):
            if number % LOOKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            standing, lost = self._due(segment)
            trouble = self._ledger.troubles.get(segment)
            pending += trouble is not None and not trouble.unwanted
            beyond += trouble is not None and not trouble.unwanted and standing.spare < 0 and standing.k > 0
            if lost:
                # For those that are beyond repair there is but hope.
                due.append((standing.spare < 0, urgency(standing), self._rank(segment), segment))
        self._tally.repairs_pending, self._tally.beyond_repair = pending, beyond
        places = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for *_, segment in nsmallest(ROUND_SEGMENTS, due):
                await places.acquire()
                nursery.start_soon(self._in_place, places, segment)

    def _due(self, segment: SegmentId) -> tuple[Standing, list[int]]:
        """How a segment stands, and which of its chunks are lost and ours to rebuild by now."""
        now = trio.current_time()
        trouble = self._ledger.review(segment, now)
        standing = self._ledger.standing(segment)
        if trouble is None or not standing.n or now < trouble.retry:
            return standing, []
        patience = grace(standing, self._intervals)
        trouble.lost = {
            index: trouble.lost.get(index, now)
            for index, since in sorted(trouble.since.items())
            if now >= since + (0.0 if index in trouble.certain else patience)
        }
        # Once it is our turn with one, we take the others along: what a rebuild costs is the k chunks that are read.
        first = min(trouble.lost.values(), default=math.inf)
        ours = now >= first and now >= first + self._rank(segment) * self._intervals.rank
        return standing, list(trouble.lost) if ours else []

    def _rank(self, segment: SegmentId) -> int:
        """Our place among the live holders. Who has lost its own chunk is in nobody's order, and the first to know."""
        nodes = {node.node_id for _, node in self._ledger.holders(segment) if node.live}
        own = self._ledger.own.node_id
        return rank(nodes, own, segment, self._client.world.clock.wall()) if own in nodes else 0

    async def _in_place(self, places: trio.Semaphore, segment: SegmentId) -> None:
        try:
            await self._try(segment)
        finally:
            places.release()

    async def _try(self, segment: SegmentId) -> None:
        """Repair one segment. If that fails, somebody else may try before we do so again."""
        wait = self._intervals.rank
        try:
            done = await self._repair(segment)
        except RebuildError as exc:
            log.info("segment %s could not be rebuilt: %s", short(segment), exc)
            done, wait = False, math.inf if exc.forged else wait
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
            log.info("segment %s could not be repaired: %s", short(segment), str(exc) or "too slow")
            done = False
        if not done:
            self._tally.repairs_failed += 1
            trouble = self._ledger.troubles.get(segment)
            if trouble is not None:
                trouble.retry = trio.current_time() + wait * 2**trouble.failures
                trouble.failures = min(trouble.failures + 1, _MOST_DOUBLED)

    async def _repair(self, segment: SegmentId) -> bool:
        """Make sure that something is lost, rebuild it and place it. Returns whether nothing is left to be done now."""
        if await self._is_in_trash(segment):
            return True
        await self.refresh(segment, around=True)
        standing, lost = self._due(segment)
        if segment not in self._ledger.troubles or not lost:
            return True
        descriptor = await self._segments.descriptor(segment)
        leases = await self._segments.live_leases(segment)
        if descriptor is None or not leases:
            self._ledger.troubles.pop(segment, None)  # nobody wants it any more
            return True
        if standing.spare < 0:
            log.info("segment %s: %d chunks are live, %d are needed", short(segment), len(standing.live), standing.k)
            return False
        began = trio.current_time()
        columns = await self._rebuild(descriptor, lost)
        if trio.current_time() > began + STALE_SECONDS:
            await self.refresh(segment)
            trouble = self._ledger.troubles.get(segment)
            columns = [column for column in columns if trouble is not None and column.index in trouble.since]
            leases = await self._segments.live_leases(segment)
        if not columns or not leases:
            return True
        receivers = await self._mover.receivers(descriptor, leases, len(columns))
        placed = await self._mover.place(descriptor, columns, receivers)
        self._tally.repairs_done += placed
        return placed == len(columns)

    async def _is_in_trash(self, segment: SegmentId) -> bool:
        """Whether no lease keeps what is held here: then nobody is asked, and it is left alone for a while."""
        trouble = self._ledger.troubles.get(segment)
        if trouble is None or not self._ledger.held_by(segment, self._ledger.own):
            return False
        trouble.unwanted = not await self._segments.live_leases(segment)
        if trouble.unwanted:
            trouble.retry = trio.current_time() + self._intervals.short_grace
        return trouble.unwanted

    async def _rebuild(self, descriptor: Descriptor, lost: Sequence[int]) -> list[Column]:
        """Make chunks again from those of the live holders, as soon as the budget allows it. Raises RebuildError."""
        segment, layout = descriptor.id, descriptor.layout
        size = sum(layout.column_bytes(index) for index in lost)
        await self._mover.budget.take(layout.k * layout.column_bytes(0) + size)
        holders: dict[int, list[Contact]] = {}
        for index, node in self._ledger.holders(segment):
            if node.live and node is not self._ledger.own:
                holders.setdefault(index, []).append(node.contact)
        log.info("segment %s: rebuilding %d of %d chunks", short(segment), len(lost), layout.n)
        return await rebuild(
            self._client, descriptor, holders, lost, own=self._segments.local(segment), on_bytes=self._read
        )

    def _read(self, count: int) -> None:
        self._tally.repair_read_bytes += count

    async def refresh(self, segment: SegmentId, *, around: bool = False) -> None:
        """Learn anew who holds a segment: from the DHT, and from every live holder itself, leases included.

        Args:
            segment: Which.
            around: Whether to ask the nodes nearest to it as well. Former holders are among them: they remember that
                it was deleted when all that still hold it were away.
        """
        await self.learn(segment)
        nodes = {node for _, node in self._ledger.holders(segment)}
        if around:
            nodes |= {self._ledger.node(f.contact, None, 0.0) for f in await self._client.dht.lookup(segment)}
        async with trio.open_nursery() as nursery:
            for node in nodes - {self._ledger.own}:
                if node.live:
                    nursery.start_soon(self._survey, node, segment)
        if segment in self._ledger:
            await self._audits.check_claims(segment)

    async def _survey(self, node: CoHolder, segment: SegmentId) -> None:
        try:
            await self._surveys.ask_about(node, [segment])
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
            log.debug("node %s says nothing of %s: %s", short(node.node_id), short(segment), str(exc) or "too slow")

    async def learn(self, segment: SegmentId) -> None:
        """Learn the holders of a segment from the DHT; tell it of what we hold and nobody has announced.

        A put whose acknowledgement was lost is such a chunk: its depositor does not know of it.
        """
        descriptor = await self._segments.descriptor(segment)
        if descriptor is None or segment not in self._ledger:
            return
        self._ledger.enter(segment, descriptor.layout.k, descriptor.layout.n)
        own = self._ledger.own
        unannounced = set(self._ledger.held_by(segment, own))
        for record in await find_holders(self._client, segment):
            if record.key == own.contact.key:
                unannounced.discard(record.index)
            elif record.index < descriptor.layout.n:
                node = self._ledger.known(record.key)
                if node is None or not node.live:  # of one that answers we know better where it is
                    node = self._ledger.node(Contact(record.key, record.address), record.country, 0.0)
                self._ledger.add(segment, record.index, node)
        if unannounced:
            await self._mover.announce_own(descriptor, sorted(unannounced))
        self._ledger.doubt(segment)
        self._ledger.review(segment, trio.current_time())
