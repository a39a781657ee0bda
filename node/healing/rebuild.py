"""Making lost chunks of a segment again from any k others (docs/spec/healing.md section 4).

Goals: nothing unverified goes into the decoder and nothing unverified comes out; memory for the wanted chunks and a few
rows; a holder that fails, lies or is slow costs seconds. Non-goals: who repairs, and where a chunk goes then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from dht.contact import Contact
from node.client import Client
from node.healing.sources import LocalChunks, Source, Sources
from node.net.peers import PeerError
from node.publishing.spread import Column
from node.store.refusal import Refusal
from protocol.erasure import coder
from protocol.errors import ProtocolError
from protocol.hashing import Bytes
from protocol.seal import filled
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Layout, block_hash, chunk_id

__all__ = ["Column", "LocalChunks", "RebuildError", "rebuild"]

HEDGE_SECONDS = 2.0
"""A holder that is silent for so long gets company: another chunk is asked for as well."""
SLOW_FACTOR = 3.0
"""So does one that takes this many times what the slowest of its fellows took, and the time above."""
STUCK_SECONDS = 7.5
"""So does everybody when nobody is done after this: who sends byte by byte is never silent."""
GIVE_UP_SECONDS = 15.0
"""Without a newly verified row for this long a rebuild ends."""
MAX_ROWS = 4
"""Rows asked for at once: one at first, twice as many whenever that went quickly."""
QUICK_SECONDS = 1.0
_TOLD = 8
"""Failures an error tells of."""


class RebuildError(Exception):
    """No chunk was rebuilt. The message says why, for a log."""

    def __init__(self, message: str, *, forged: bool = False) -> None:
        super().__init__(message)
        self.forged = forged
        """Whether the chunks that the descriptor names do not fit together. Its depositor made it so: trying again is
        of no use."""


async def rebuild(
    client: Client,
    descriptor: Descriptor,
    holders: Mapping[int, Sequence[Contact]],
    want: Sequence[int],
    *,
    own: LocalChunks | None = None,
    on_bytes: Callable[[int], None],
) -> list[Column]:
    """Make the chunks ``want`` of a segment from those that ``holders`` and this node have.

    Every wait in it is bounded. Holders that fail are suspect from then on.

    Args:
        client: Its peers are asked, its threads decode.
        descriptor: Of the segment, checked against its id.
        holders: Index -> who is said to hold that chunk; without this node itself.
        want: Indices, 0 <= index < n, none twice.
        own: What this node holds of the segment.
        on_bytes: Told of every piece of a block that comes, good or bad: its bytes.

    Returns:
        One column for each of ``want``, in that order.

    Raises:
        RebuildError: Fewer than k chunks could be had; or what they give is not what the descriptor names.
    """
    layout = descriptor.layout
    sources = Sources(client, descriptor, own, on_bytes)
    for index, contacts in holders.items():
        for contact in contacts:
            sources.add(index, contact)
    for index in await _held(own):
        sources.add(index, None)
    assembly = _Assembly(descriptor, want)
    row, count = 0, 1
    rows = max((layout.column_blocks(index) for index in want), default=0)
    while row < rows:
        began_at = trio.current_time()
        stripe = _Stripe(sources, layout, row, min(row + count, rows))
        columns = await stripe.run()
        quick = trio.current_time() < began_at + QUICK_SECONDS
        await client.world.blocking(assembly.add, stripe.lo, stripe.hi, columns)
        row = stripe.hi
        count = min(2 * count, MAX_ROWS) if quick else 1
    return assembly.finish()


async def _held(own: LocalChunks | None) -> list[int]:
    try:
        return [] if own is None else await own.indices()
    except Refusal as exc:
        raise RebuildError(f"this node cannot say what it holds: {exc}") from exc


@dataclass(slots=True, eq=False)
class _Job:
    """One source being read."""

    source: Source
    began_at: float = field(default_factory=trio.current_time)
    moved_at: float = field(default_factory=trio.current_time)
    """When something last came."""
    slow: bool = False
    """Whether it has company."""

    def moved(self) -> None:
        self.moved_at = trio.current_time()


class _Stripe:
    """The rows ``lo`` to ``hi - 1`` of any k columns."""

    def __init__(self, sources: Sources, layout: Layout, lo: int, hi: int) -> None:
        self.lo = lo
        self.hi = hi
        self._sources = sources
        self._layout = layout
        # A data column with no block in these rows is zeros, which everybody has.
        self._there = {index: memoryview(b"") for index in range(layout.k) if not self._count(index)}
        self._jobs: list[_Job] = []
        self._tried: set[Source] = set()
        self._took: list[float] = []
        self._event = trio.Event()

    def _count(self, index: int) -> int:
        """Blocks of column ``index`` in these rows."""
        return max(0, min(self.hi, self._layout.column_blocks(index)) - self.lo)

    async def run(self) -> dict[int, memoryview]:
        """Index -> its blocks in these rows, joined and verified, of k columns or more.

        Raises:
            RebuildError: Fewer could be had.
        """
        give_up_at = trio.current_time() + GIVE_UP_SECONDS
        async with trio.open_nursery() as nursery:
            while not self._complete and trio.current_time() < give_up_at:
                self._event = trio.Event()
                self._start(nursery)
                if not self._jobs:
                    break
                with trio.move_on_at(min(give_up_at, self._next_check())):
                    await self._event.wait()
                self._mark_slow()
            unfinished = [job.source for job in self._jobs]
            nursery.cancel_scope.cancel()
        if not self._complete:
            raise self._failed(unfinished)
        return self._there

    @property
    def _complete(self) -> bool:
        return len(self._there) >= self._layout.k

    def _start(self, nursery: trio.Nursery) -> None:
        """Ask as many as it takes; a slow one does not count as asked."""
        busy = {job.source.index for job in self._jobs if not job.slow}
        missing = self._layout.k - len(self._there.keys() | busy)
        for source in self._untried():
            if missing <= 0:
                return
            if source.index not in busy:
                busy.add(source.index)
                missing -= 1
                self._tried.add(source)
                job = _Job(source)
                self._jobs.append(job)
                nursery.start_soon(self._run, job)

    def _untried(self) -> Iterator[Source]:
        for source in self._sources.usable():
            if source not in self._tried and source.index not in self._there:
                yield source

    async def _run(self, job: _Job) -> None:
        source = job.source
        try:
            count = self._count(source.index)
            self._there[source.index] = await self._sources.read(source, self.lo, count, job.moved)
            self._took.append(trio.current_time() - job.began_at)
        except (PeerError, ProtocolError, Refusal) as exc:
            self._sources.note_failure(source, exc)
        finally:
            self._jobs.remove(job)
            self._event.set()

    def _slow_at(self, job: _Job) -> float:
        """When a job gets company, by trio's clock."""
        patience = max(HEDGE_SECONDS, SLOW_FACTOR * max(self._took)) if self._took else STUCK_SECONDS
        return min(job.moved_at + HEDGE_SECONDS, job.began_at + patience)

    def _next_check(self) -> float:
        return min((self._slow_at(job) for job in self._jobs if not job.slow), default=float("inf"))

    def _mark_slow(self) -> None:
        for job in self._jobs:
            if not job.slow and trio.current_time() >= self._slow_at(job):
                job.slow = True
                self._sources.note_slow(job.source)

    def _failed(self, unfinished: Sequence[Source]) -> RebuildError:
        reasons = [f"{source}: not done in time" for source in unfinished]
        reasons += [f"{source}: {reason}" for source, reason in self._sources.failures.items()]
        if len(reasons) > _TOLD:
            reasons[_TOLD:] = [f"{len(reasons) - _TOLD} more"]
        told = "; ".join(reasons) or "nobody else has one"
        return RebuildError(f"have {len(self._there)} of {self._layout.k} chunks ({told})")


class _Assembly:
    """The wanted columns as they grow, row by row. Not for two threads at once."""

    def __init__(self, descriptor: Descriptor, want: Sequence[int]) -> None:
        self._descriptor = descriptor
        layout = descriptor.layout
        self._data = {index: memoryview(bytearray(layout.column_bytes(index))) for index in want}
        self._hashes = {index: bytearray() for index in want}

    def add(self, lo: int, hi: int, columns: Mapping[int, memoryview]) -> None:
        """Decode the rows ``lo`` to ``hi - 1``, whose verified blocks in k columns are ``columns``.

        Some milliseconds of work: for a worker thread.
        """
        layout = self._descriptor.layout
        for row in range(lo, hi):
            start = (row - lo) * SEALED_BLOCK_BYTES
            cells = {i: filled(column[start : start + SEALED_BLOCK_BYTES]) for i, column in columns.items()}
            self._add_row(layout, row, cells)

    def _add_row(self, layout: Layout, row: int, cells: Mapping[int, Bytes]) -> None:
        want = [index for index in self._data if row < layout.column_blocks(index)]
        whole = coder(layout.k, layout.n).decode_row(cells, want)
        for index in want:
            out = self._data[index][row * SEALED_BLOCK_BYTES :][: layout.block_bytes(index, row)]
            out[:] = memoryview(whole[index])[: len(out)]
            self._hashes[index] += block_hash(out)

    def finish(self) -> list[Column]:
        """The columns, all rows of which are there.

        Raises:
            RebuildError: One has another id than the descriptor names.
        """
        for index, hashes in self._hashes.items():
            if chunk_id(index, hashes) != self._descriptor.chunk_ids[index]:
                raise RebuildError(
                    f"the chunks do not fit together: chunk {index}, made from others, is not the one named",
                    forged=True,
                )
        return [Column(index, data, bytes(self._hashes[index])) for index, data in self._data.items()]
