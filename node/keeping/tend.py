"""Keeping a deposit whole and alive by what little is remembered of it: no journal, no files, a verify link is enough.

Its chunks are counted, leases that come near their end are renewed, what is missing is made again from what is there.
Where all is well nothing is signed, put or announced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.healing.margin import Standing, urgency
from node.home import Depositor
from node.keeping.change import Change
from node.keeping.check import count_chunks
from node.keeping.counted import SegmentHealth
from node.keeping.kept import Kept, KeptTerms
from node.keeping.patience import Patience
from node.keeping.restoring import Restored, Restorer
from node.progress import Progress
from protocol.ids import SegmentId

RENEW_BELOW = 1 / 3
"""Leases are renewed when less than this share of the time asked for is left."""
AT_ONCE = 2
"""Segments that are restored side by side: each holds its rebuilt chunks in memory."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What could not be done for one segment."""

    segment: SegmentId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tended:
    """How a deposit stands, and what was done for it."""

    segments: int
    chunks: int
    """n of every segment together, as far as their descriptors are known."""
    live_before: int
    """Distinct live chunks, over all segments."""
    live_after: int
    restored: int
    """Chunks made again and placed."""
    lost: int
    """Segments with fewer than k live chunks: they come back only with their holders."""
    renewed: int
    """Segments for which a new lease was signed."""
    expiry: int
    """When the first of the leases ends, seconds since 1970-01-01 UTC: to be remembered of the deposit. As it was, if
    some segment could not be renewed."""
    sequence: int
    """Of the newest lease that is known of: likewise."""
    spared: int = 0
    """Chunks that are missing and may still come back by themselves."""
    undone: tuple[Undone, ...] = ()

    @property
    def whole(self) -> bool:
        """Every chunk of every segment is live, and nothing was left undone."""
        return self.live_after == self.chunks > 0 and not self.lost and not self.undone

    @property
    def well(self) -> bool:
        """Whole, or as good as: nothing is lacking but what may still come back by itself."""
        return self.live_after + self.spared == self.chunks > 0 and not self.lost and not self.undone


async def tend(
    client: Client,
    depositor: Depositor,
    kept: Kept,
    lease_seconds: int,
    progress: Progress,
    *,
    audited: bool = True,
    patience: Patience | None = None,
) -> Tended:
    """Renew what comes near its end, then restore what is missing, the segments nearest to loss first. Those that a
    loss or two more would end are restored while others are still to be counted.

    What cannot be done for one segment keeps nobody from the others. Called twice at once, it costs twice and harms
    nothing.

    Args:
        client: Who asks.
        depositor: Who signed the leases, and signs new ones.
        kept: The deposit.
        lease_seconds: For how long leases are renewed; they are when less than a third of it is left.
        progress: Told of the segments that were counted, and of the bytes of chunks placed.
        audited: Whether holders have to prove what they hold: that downloads a block of every chunk.
        patience: What was missing before; None: all that is missing is restored at once.

    Raises:
        NotFoundError, IntegrityFailure, NetworkError: The root cannot be read, so the segments are not known.
    """
    sizes = await read_segments(Downloader(client, Progress()), kept.link)
    whose = (depositor.identity.key, kept.deposit)
    now = int(client.world.clock.wall())
    soon = now + int(lease_seconds * RENEW_BELOW)
    expiry = kept.expiry if kept.expiry > soon else max(kept.expiry, now + lease_seconds)
    terms = KeptTerms(client, depositor.identity, kept, expiry, ours=True, enough=soon)
    work = Restoring(Restorer(client, terms, progress), patience)
    health = await count_chunks(client, sizes, progress, whose, audited=audited, urgent=work.restore)
    due = [segment.id for segment in health if segment.expires <= soon]
    untaken = await _renew(terms, [(segment, sizes[segment]) for segment in due])
    await work.restore(health)
    tended: Tended = await client.world.blocking(_tended, terms, health, due, untaken, work.done)
    # Holders are not believed beyond what would be asked for: all of them together could have us sign for ever.
    return replace(tended, expiry=max(kept.expiry, min(tended.expiry, now + lease_seconds)))


async def _renew(terms: KeptTerms, segments: Sequence[tuple[SegmentId, int]]) -> dict[SegmentId, str]:
    """Bring a new lease to the holders of some segments, or the newest to those who lack it; returns those of which
    nobody took it, or too few, and why."""
    work = Change(terms.client, terms, Progress())
    await work.run(segments)
    refused: dict[SegmentId, str] = {}
    for segment, why in work.untaken.items():
        nobody = "too few holders" if segment in work.some_took else "no holder"
        refused[segment] = f"its lease was not taken ({why})" if why else f"{nobody} could be asked to renew its lease"
    alone = {segment: f"its lease is left as it is: {why}" for segment, why in terms.left_alone.items()}
    return refused | alone


@dataclass(slots=True)
class Restoring:
    """The segments of one deposit, each restored once."""

    restorer: Restorer
    patience: Patience | None
    done: dict[SegmentId, Restored] = field(default_factory=dict)

    async def restore(self, health: Sequence[SegmentHealth]) -> None:
        """Restore the segments of which a chunk is missing, two at a time; those that nobody can restore come last."""
        places = trio.Semaphore(AT_ONCE)

        async def one(segment: SegmentHealth) -> None:
            try:
                await self._one(segment)
            finally:
                places.release()

        weak = []
        for segment in health:
            if segment.live == segment.n > 0:
                if self.patience is not None:
                    self.patience.whole(segment.id)
            elif segment.id not in self.done:
                weak.append(segment)
        weak = await self.restorer.client.world.blocking(partial(sorted, weak, key=_order))
        async with trio.open_nursery() as nursery:
            for segment in weak:
                await places.acquire()
                nursery.start_soon(one, segment)

    async def _one(self, segment: SegmentHealth) -> None:
        if self.patience is None:
            self.done[segment.id] = await self.restorer.restore(segment)
            return
        spared = self.patience.spared(segment, trio.current_time())
        if spared and segment.live + len(spared) == segment.n:  # nobody needs to be asked
            self.done[segment.id] = Restored(segment.k, segment.n, segment.live, spared=len(spared))
            return
        restored = self.done[segment.id] = await self.restorer.restore(segment, spared)
        for index in restored.placed:
            self.patience.restored(segment.id, index, trio.current_time())


def _order(segment: SegmentHealth) -> tuple[bool, tuple[int, int]]:
    countries = {holding.index: holding.country for holding in segment.holdings}
    return not segment.readable, urgency(Standing(segment.k, segment.n, countries, countries))


def _tended(
    terms: KeptTerms,
    health: Sequence[SegmentHealth],
    due: Sequence[SegmentId],
    untaken: dict[SegmentId, str],
    restored: dict[SegmentId, Restored],
) -> Tended:
    seen_to = set(due).difference(untaken)
    renewed = seen_to - terms.brought
    undone = [Undone(segment, why) for segment, why in untaken.items()]
    undone += [Undone(segment, found.why) for segment, found in restored.items() if found.why]
    live = {segment.id: segment.live for segment in health}
    live |= {segment: found.live for segment, found in restored.items()}
    ks = {segment.id: segment.k for segment in health} | {segment: found.k for segment, found in restored.items()}
    ns = {segment.id: segment.n for segment in health} | {segment: found.n for segment, found in restored.items()}
    ends = [terms.ends[segment.id] if segment.id in seen_to else segment.expires for segment in health]
    return Tended(
        segments=len(health),
        chunks=sum(ns.values()),
        live_before=sum(segment.live for segment in health),
        live_after=sum(live.values()),
        restored=sum(found.chunks for found in restored.values()),
        spared=sum(found.spared for found in restored.values()),
        lost=sum(not 0 < ks[segment] <= count for segment, count in live.items()),
        renewed=len(renewed),
        expiry=min(ends),
        sequence=max(terms.kept.sequence, terms.sequence),
        undone=tuple(undone),
    )
