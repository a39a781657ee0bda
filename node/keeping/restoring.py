"""Making the missing chunks of a segment again, as its depositor: rebuilt, placed under the deposit's lease, announced.

Goals: nothing is read or sent before it is sure that chunks are missing, that the depositor may, and that somebody can
take them; a chunk that somebody else has restored meanwhile is left to them; memory for 16 MiB of chunks. Non-goals:
which segments, and in which order.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NodeError
from node.healing.rebuild import RebuildError, rebuild
from node.keeping.audit import answered_rightly
from node.keeping.counted import THIN, SegmentHealth
from node.keeping.holders import ANSWER_SECONDS, Questions, find_holders, read_descriptor
from node.keeping.kept import KeptTerms
from node.net.pace import Pace
from node.net.peers import PeerUnreachable
from node.progress import Progress
from node.publishing.candidates import seek
from node.publishing.placement import Candidate, why_not
from node.publishing.placing import Placing
from node.publishing.spread import Spread, Terms
from node.publishing.upload import FIRST_ACK_SECONDS, News, announce
from protocol.records import ProviderRecord
from protocol.segment import SEGMENT_BYTES, Descriptor, Layout

STALE_SECONDS = 5.0
"""Took a rebuild longer, it is looked once more whether somebody else has been quicker."""
MOST_SECONDS = 3600.0
"""For one segment, whatever moves: who sends byte by byte is not waited for any longer."""
MOST_BYTES = SEGMENT_BYTES
"""Of rebuilt chunks in memory at once, but for a single one that is larger."""


_Live = dict[int, list[Candidate]]
"""Index -> who has proved to hold that chunk."""


@dataclass(slots=True)
class Restored:
    """What came of one segment."""

    k: int
    n: int
    """0 while nobody has shown the descriptor."""
    live: int
    """Distinct chunks that are live now, the restored ones included."""
    placed: list[int] = field(default_factory=list)
    """The restored ones."""
    spared: int = 0
    """Chunks that are missing and were left to come back by themselves."""
    why: str = ""
    """What could not be done; nothing when every chunk is live or spared."""

    @property
    def chunks(self) -> int:
        """How many were restored."""
        return len(self.placed)


class _CannotRestoreError(Exception):
    """Why a segment is left as it is."""


@dataclass(slots=True)
class Restorer:
    """Restores segments. One for each deposit that is tended."""

    client: Client
    terms: KeptTerms
    progress: Progress
    pace: Pace = field(default_factory=partial(Pace, FIRST_ACK_SECONDS))
    questions: Questions = field(default_factory=Questions)
    _silent: set[Contact] = field(default_factory=set)
    """Who has left a question unanswered: not asked again over another segment."""

    async def restore(self, health: SegmentHealth, spared: Collection[int] = ()) -> Restored:
        """Restore what is still missing of a segment. Never raises a NodeError: it is told as the reason.

        Args:
            health: The segment, as it was counted.
            spared: Chunks that are not to be restored yet, unless more are missing than was counted.
        """
        result = Restored(health.k, health.n, health.live)
        with trio.move_on_after(MOST_SECONDS) as scope:
            try:
                await self._restore(health, spared, result)
            except (NodeError, RebuildError, _CannotRestoreError) as exc:
                result.why = str(exc)
        if scope.cancelled_caught:
            result.why = f"not done within {MOST_SECONDS:.0f} s"
        return result

    async def _restore(self, health: SegmentHealth, spared: Collection[int], result: Restored) -> None:
        holders = await find_holders(self.client, health.id)
        descriptor = await read_descriptor(self.client, health.id, health.records or holders)
        if descriptor is None:
            raise _CannotRestoreError("nobody shows its descriptor")
        live: _Live = {}
        for record in health.records:
            live.setdefault(record.index, []).append(_candidate(record))
        await self._find(descriptor, holders, live)
        layout = descriptor.layout
        result.k, result.n, result.live = layout.k, layout.n, len(live)
        if len(live) == layout.n:
            return
        if len(live) < layout.k:
            raise _CannotRestoreError(f"{len(live)} chunks are live, {layout.k} are needed")
        waiting = set(spared).difference(live) if len(live) > layout.k + THIN else set()
        if len(live) + len(waiting) == layout.n:
            result.spared = len(waiting)
            return
        spread = await self._spread(descriptor, live)
        for some in _batches(layout, [index for index in spread.missing if index not in waiting]):
            await self._batch(spread, live, some, result)
        left = waiting.intersection(spread.missing)
        result.spared = len(left)
        if len(spread.missing) > len(left):
            result.why = f"{len(spread.missing) - len(left)} of {layout.n} chunks have found no holder"

    async def _find(self, descriptor: Descriptor, holders: Sequence[ProviderRecord], live: _Live) -> None:
        """Have those who are said to hold chunks that nobody is known to hold prove it, and add them to ``live``."""

        async def ask(holder: ProviderRecord, candidate: Candidate) -> None:
            question = partial(answered_rightly, self.client, candidate.contact, descriptor, holder.index)
            try:
                good = await self.questions.ask(ANSWER_SECONDS, question)
            except PeerUnreachable:
                self._silent.add(candidate.contact)
            else:
                if good:
                    live.setdefault(holder.index, []).append(candidate)

        wanted = [holder for holder in holders if holder.index not in live and holder.index < descriptor.layout.n]
        async with trio.open_nursery() as nursery:
            for holder in wanted:
                candidate = _candidate(holder)
                if candidate.contact not in self._silent:
                    nursery.start_soon(ask, holder, candidate)

    async def _spread(self, descriptor: Descriptor, live: _Live) -> Spread:
        """Under which lease the chunks are to go, and to whom."""
        nearest = await self.client.dht.lookup(descriptor.id)
        asked = [holder.contact for holders in live.values() for holder in holders]
        lease, terms = await self._lease(descriptor, [*asked, *(found.contact for found in nearest)])
        spread = Spread(descriptor, lease, terms, self.terms.identity.key, nearest)
        spread.holders = {index: holders[0] for index, holders in live.items()}
        await seek(self.client, spread)
        size = max(descriptor.layout.column_bytes(index) for index in spread.missing)
        refusals = [why_not(candidate, terms.policy, size) for candidate in spread.candidates]
        if None not in refusals:
            told = ", ".join(sorted({why for why in refusals if why})) or "nobody answers that stores"
            raise _CannotRestoreError(f"no node can take its chunks: {told}")
        return spread

    async def _lease(self, descriptor: Descriptor, contacts: Sequence[Contact]) -> tuple[bytes, Terms]:
        """The one that its holders have, where it will do: two who restore at once do not outdo each other then."""
        work, segment = self.terms, descriptor.id
        shown = await work.shown(segment, contacts)
        newest, now = shown.newest, self.client.world.clock.wall()
        policy = work.kept.policy
        if newest is not None and not newest.deleted and newest.expiry > now and newest.policy == policy:
            return shown.signed, Terms(newest.deposit, newest.sequence, int(now), newest.expiry, policy)
        terms = work.after(segment, shown)
        if terms is None:
            raise _CannotRestoreError(work.left_alone[segment])
        return terms.sign(work.identity, self.client.network.id, segment, descriptor.layout.length), terms

    async def _batch(self, spread: Spread, live: _Live, some: Sequence[int], result: Restored) -> None:
        """Rebuild some chunks and place them."""
        began = trio.current_time()
        contacts = {index: [holder.contact for holder in holders] for index, holders in live.items()}
        columns = await rebuild(self.client, spread.descriptor, contacts, some, on_bytes=lambda _: None)
        if trio.current_time() > began + STALE_SECONDS:
            await self._look_again(spread, some, result)
        chunks = {column.index: column for column in columns if column.index not in spread.holders}
        if not chunks:
            return
        self.pace.moved_at = trio.current_time()
        part = self.progress.part(0, spread.layout.n)
        try:
            await Placing(self.client, self.terms.identity, self.pace, spread, chunks, part).run()
        finally:  # also when too few have found a holder: what has one is to be found there
            placed = chunks.keys() & spread.holders.keys()
            result.placed += placed
            result.live += len(placed)
            if placed:
                news = News(spread.descriptor.id, tuple(spread.records.values()), spread.nearest)
                spread.records.clear()
                await announce(self.client, news)

    async def _look_again(self, spread: Spread, some: Sequence[int], result: Restored) -> None:
        """Whether somebody else has restored some meanwhile."""
        found: _Live = {}
        holders = await find_holders(self.client, spread.descriptor.id)
        await self._find(spread.descriptor, [holder for holder in holders if holder.index in some], found)
        spread.holders |= {index: candidates[0] for index, candidates in found.items()}
        result.live += len(found)


def _candidate(record: ProviderRecord) -> Candidate:
    return Candidate(Contact(record.key, record.address), record.country, 0)


def _batches(layout: Layout, missing: Sequence[int]) -> Iterator[list[int]]:
    """Missing chunks in groups that fit into memory."""
    group: list[int] = []
    size = 0
    for index in missing:
        if group and size + layout.column_bytes(index) > MOST_BYTES:
            yield group
            group, size = [], 0
        group.append(index)
        size += layout.column_bytes(index)
    if group:
        yield group
