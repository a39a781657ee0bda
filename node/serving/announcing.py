"""Saying in the DHT what this node holds, again and again (docs/spec/dht.md section 6).

The keyspace is swept once in an interval, arc by arc. An arc is all ids that begin with the same bits: so many bits
that an arc has about ARC_CHUNKS chunks at most. These share lookups and datagrams, and go out together. The arcs have
their turns evenly over the interval, so that 100,000 chunks make no burst and each has its turn once. They go in order
of their distance to the node's own id: nodes that were started together are not all in one region at the same time.

When a node starts, or has another address, nothing it said before can be counted on: records point to the old address,
and those who kept them may have been restarted as well, with empty memory. Then all arcs are due at once, and follow
each other HASTE times as quickly.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import trio

from node.blocking import Blocking
from node.intervals import Intervals
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import ID_BYTES, SegmentId

log = logging.getLogger(__name__)

ARC_CHUNKS = 256
"""On average at most. Fewer would share a lookup less; more would be a burst."""
HASTE = 12
"""A round that is late goes so many times as fast."""
_LOOK = 720
"""So many times in an interval it is looked whether the clock or our address has changed."""
_PAGE = 512
_MAX_BITS = 24
_ID_BITS = 8 * ID_BYTES

Announce = Callable[[Mapping[SegmentId, Sequence[bytes]]], Awaitable[int]]
"""``Dht.announce_all``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of announcements, and how far it has come."""

    address: str
    """Of ours, which it tells."""
    began: float
    """Seconds since 1970."""
    hasty: bool
    """All of it is due at once."""
    bits: int
    """There are 2^bits arcs."""
    arc: int
    """Which has its turn next."""

    @property
    def arcs(self) -> int:
        return 1 << self.bits

    def due(self, interval: float) -> float:
        """When the next arc has its turn, seconds since 1970."""
        return self.began if self.hasty else self.began + interval * self.arc / self.arcs

    def end(self, interval: float) -> float:
        """When the next round begins: after a hasty one sooner, so that what is last in that is renewed in time."""
        return self.began + (interval / 2 if self.hasty else interval)


class Announcer:
    """Announces what a node holds and some lease still keeps."""

    def __init__(
        self,
        store: ChunkStore,
        statements: Statements,
        announce: Announce,
        blocking: Blocking,
        wall_clock: Callable[[], float],
        *,
        may_announce: Callable[[], Awaitable[object]],
        interval: float = Intervals().announce,
    ) -> None:
        """
        Args:
            store: What is held.
            statements: Signs the records, which live two intervals.
            announce: Sends them.
            blocking: For the store.
            wall_clock: Seconds since 1970.
            may_announce: Awaited before each arc.
            interval: Seconds in which each chunk is announced once.
        """
        self._store = store
        self._statements = statements
        self._announce = announce
        self._blocking = blocking
        self._wall = wall_clock
        self._interval = interval
        self._may_announce = may_announce
        self._own = int.from_bytes(statements.identity.node_id, "big")
        self._round: Round | None = None

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            await self._may_announce()
            try:
                await self._turn()
            except Refusal as exc:
                log.error("could not announce what is held: %s", exc)
                await trio.sleep(self._interval / _LOOK)

    async def _turn(self) -> None:
        """Wait for the next arc's turn, for a while at most; then announce it."""
        now = self._round = await self._blocking(self._now)
        wait = now.due(self._interval) - self._wall()
        if wait > 0:
            await trio.sleep(min(wait, self._interval / _LOOK))
            return
        await self._announce_arc(now)
        self._round = replace(now, arc=now.arc + 1)
        await trio.sleep(self._interval / now.arcs / HASTE)

    def _now(self) -> Round:
        """The round that goes on, or the next, or one that begins afresh."""
        now, address = self._wall(), str(self._statements.address)
        known = self._round
        if known is not None and known.arc == known.arcs:
            known = replace(known, began=known.end(self._interval), hasty=False, bits=self._bits(), arc=0)
        # due longer ago than an interval, or so far ahead: we were away, or the clock has been set
        if known is None or known.address != address or abs(now - known.due(self._interval)) > self._interval:
            return Round(address=address, began=now, hasty=True, bits=self._bits(), arc=0)
        return known

    def _bits(self) -> int:
        return min(_MAX_BITS, max(0, (self._store.chunk_count() - 1) // ARC_CHUNKS).bit_length())

    async def _announce_arc(self, now: Round) -> None:
        size = _ID_BITS - now.bits
        begin = (self._own >> size ^ now.arc) << size
        after: tuple[bytes, int] = (begin.to_bytes(ID_BYTES, "big"), -1)
        while page := await self._blocking(self._page, after, begin + (1 << size)):
            after = (page[-1].segment, page[-1].index)
            await self._announce(await self._blocking(self._records, page))

    def _page(self, after: tuple[bytes, int], end: int) -> list[HeldChunk]:
        """Chunks that a lease still keeps, behind ``after`` and before the id ``end``."""
        page = self._store.holdings(after, _PAGE)
        return [chunk for chunk in page if int.from_bytes(chunk.segment, "big") < end]

    def _records(self, chunks: Sequence[HeldChunk]) -> dict[SegmentId, list[bytes]]:
        records: dict[SegmentId, list[bytes]] = defaultdict(list)
        for chunk in chunks:
            records[chunk.segment].append(self._statements.provider(chunk))
        return records
