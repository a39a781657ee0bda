"""Fetching the blocks of one segment: who has them, who is asked, and who is asked as well when somebody is slow.

One ``Downloader`` per fetch; one ``_SegmentDownload`` per segment, which ends whole, or with an error that says who
was asked and why each failed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median

import trio

from dht.contact import Contact
from node.client import Client
from node.deposits.progress import Progress
from node.errors import IntegrityFailure, NodeError, NotFoundError
from node.peers import PeerError, PeerRefused
from protocol.errors import IntegrityError, ProtocolError
from protocol.ids import SegmentId
from protocol.manifest import SegmentRef
from protocol.messages import Get, GetReply, Reply
from protocol.records import ProviderRecord
from protocol.seal import BlockCipher, check_commitment, rebuild_row
from protocol.segment import (
    BLOCK_BYTES,
    SEALED_BLOCK_BYTES,
    TAG_BYTES,
    Descriptor,
    Layout,
    Shares,
    check_block,
    check_hashes,
    plan,
)

HEDGE_SECONDS = 1.0
"""A holder that sends nothing for this long gets company."""
SLOW_FACTOR = 3.0
"""So does one that takes this many times the median of its fellows."""
SLOW_FLOOR_SECONDS = 0.25
SETTLE_SECONDS = 0.2
"""So long the data columns' holders are waited for before parity is asked for in their place."""
GIVE_UP_SECONDS = 15.0
"""Without a newly verified block for this long a fetch ends."""


@dataclass(slots=True)
class Downloader:
    """What the segments of one fetch share."""

    client: Client
    progress: Progress
    verified_at: float = field(default_factory=trio.current_time)
    """When a block was last verified, for any segment."""
    received_bytes: int = 0
    """Of blocks that came and were verified, wanted or not."""

    async def blocks(self, ref: SegmentRef, first: int, count: int) -> bytearray:
        """The plaintext of blocks ``first`` to ``first + count - 1`` of a segment.

        Raises:
            NotFoundError: Fewer than k chunks could be had.
            IntegrityFailure: The same, because holders sent what does not match, or the link's key opens nothing.
        """
        return await self._run(_SegmentDownload(self, ref.id, ref.key, ref.length, first, count))

    async def whole(self, segment: SegmentId, key: bytes) -> bytearray:
        """The plaintext of a segment of unknown length; else as :meth:`blocks`. One round trip if it is one block."""
        return await self._run(_SegmentDownload(self, segment, key, None, 0, None))

    async def _run(self, download: "_SegmentDownload") -> bytearray:
        # The clock stops while nobody reads: a segment that begins to be fetched has its full time.
        self.verified_at = trio.current_time()
        await download.run()
        return await self.client.world.blocking(download.open)

    def verified(self, size: int) -> None:
        self.verified_at = trio.current_time()
        self.received_bytes += size
        self.progress.step(moved=size)


@dataclass(slots=True)
class _Job:
    """One request for a run of rows of one chunk."""

    index: int
    holder: ProviderRecord
    began_at: float
    heard_at: float
    slow: bool = False


@dataclass(slots=True)
class _Column:
    """The rows of one chunk as they arrive."""

    data: memoryview
    hashes: tuple[bytes, ...]
    rows_done: int = 0


@dataclass(frozen=True, slots=True)
class _Failure:
    holder: ProviderRecord
    reason: str
    lied: bool


class _SegmentDownload:
    """Rows ``lo`` to ``hi - 1`` of as many columns as it takes for the blocks wanted."""

    def __init__(
        self,
        downloader: Downloader,
        segment: SegmentId,
        key: bytes,
        length: int | None,
        first: int,
        count: int | None,
    ) -> None:
        self._downloader = downloader
        self._client = downloader.client
        self._segment = segment
        self._key = key
        self._length = length
        self._first = first
        self._count = count
        self._descriptor: Descriptor | None = None
        self._holders: dict[int, list[ProviderRecord]] = {}
        self._asked: set[tuple[int, bytes]] = set()
        self._liars: set[bytes] = set()
        self._jobs: list[_Job] = []
        self._columns: dict[int, _Column] = {}
        self._failures: list[_Failure] = []
        self._took: list[float] = []
        self._discovering = 0
        self._began_at = trio.current_time()
        self._looked_again = False
        self._event = trio.Event()

    async def run(self) -> None:
        """Return once the wanted blocks are there or can be rebuilt."""
        async with trio.open_nursery() as nursery:
            self._discover(nursery)
            while not self._complete():
                self._event = trio.Event()
                self._start(nursery)
                self._look_again(nursery)
                if self._hopeless():
                    break
                with trio.move_on_after(self._next_check()):
                    await self._event.wait()
                self._mark_slow()
            nursery.cancel_scope.cancel()
        if not self._complete():
            raise self._failed()

    def open(self) -> bytearray:
        """Open the wanted blocks; CPU work, one block or one row per call into the cipher or the code."""
        descriptor = self._descriptor
        assert descriptor is not None
        layout = descriptor.layout
        try:
            check_commitment(descriptor, self._key)
            return self._opened(layout)
        except IntegrityError as exc:
            raise IntegrityFailure(
                f"a segment does not open: {exc}", hint="the link's publisher sealed it wrongly"
            ) from exc

    def _opened(self, layout: Layout) -> bytearray:
        cipher = BlockCipher(self._key)
        begin, last = self._first * BLOCK_BYTES, self._last(layout)
        plaintext = bytearray(min(layout.length, (last + 1) * BLOCK_BYTES) - begin)
        out = memoryview(plaintext)
        rebuilt: dict[int, dict[int, bytes | bytearray | memoryview]] = {}
        for block in range(self._first, last + 1):
            column, row = layout.locate(block)
            if self._has(column):
                sealed: bytes | bytearray | memoryview = self._cell(layout, column, row)
            else:
                if row not in rebuilt:
                    cells = {
                        index: self._cell(layout, index, row)
                        for index in self._columns
                        if self._has(index) and row < layout.column_blocks(index)
                    }
                    rebuilt[row] = rebuild_row(layout, cells, row)
                sealed = rebuilt[row][column]
            start = (block - self._first) * BLOCK_BYTES
            cipher.open_into(block, block == layout.blocks - 1, sealed, out[start : start + len(sealed) - TAG_BYTES])
        return plaintext

    # Which rows of which columns are wanted

    def _layout(self) -> Layout | None:
        """Known from the descriptor, or beforehand when there is one block: then k is 1 and every chunk the same."""
        if self._descriptor is not None:
            return self._descriptor.layout
        if self._length is None or self._length > BLOCK_BYTES:
            return None
        return plan(self._length, Shares(1, 1))

    def _last(self, layout: Layout) -> int:
        """The last wanted block."""
        return layout.blocks - 1 if self._count is None else self._first + self._count - 1

    def _wanted(self, layout: Layout) -> range:
        """The data columns that hold wanted blocks."""
        return range(layout.locate(self._first)[0], layout.locate(self._last(layout))[0] + 1)

    def _span(self, layout: Layout | None, index: int) -> tuple[int, int]:
        """The rows [lo, hi) to ask of column ``index``, fewer where the column is shorter."""
        if layout is None:  # nothing is known yet: of a segment of unknown length, the first block may be all
            return (0, 1) if self._length is None else (0, 0)
        (first_column, lo), (last_column, last_row) = (
            layout.locate(self._first),
            layout.locate(self._last(layout)),
        )
        hi = last_row + 1
        if first_column != last_column:
            lo, hi = 0, layout.rows
        blocks = layout.rows if self._descriptor is None else layout.column_blocks(index)
        return min(lo, blocks), min(hi, blocks)

    def _cell(self, layout: Layout, index: int, row: int) -> memoryview:
        start = (row - self._span(layout, index)[0]) * SEALED_BLOCK_BYTES
        return self._columns[index].data[start : start + layout.block_bytes(index, row)]

    def _has(self, index: int) -> bool:
        layout = self._layout()
        if layout is None or self._descriptor is None:
            return False
        lo, hi = self._span(layout, index)
        if lo == hi:
            return index < layout.k  # no block there: zeros, which everybody has
        return index in self._columns and self._columns[index].rows_done == hi - lo

    def _complete(self) -> bool:
        layout = self._layout()
        if layout is None or self._descriptor is None:
            return False
        if all(self._has(index) for index in self._wanted(layout)):
            return True
        return sum(self._has(index) for index in range(layout.n)) >= layout.k

    # Who is asked

    def _discover(self, nursery: trio.Nursery) -> None:
        self._discovering += 1
        nursery.start_soon(self._find_holders)

    async def _find_holders(self) -> None:
        try:
            async with aclosing(self._client.dht.providers(self._segment)) as found:
                async for records in found:
                    for record in records:
                        known = self._holders.setdefault(record.index, [])
                        if all(record.key != other.key for other in known):
                            known.append(record)
                    self._event.set()
        finally:
            self._discovering -= 1
            self._event.set()

    def _look_again(self, nursery: trio.Nursery) -> None:
        """When everybody known has been asked in vain, look once more, and forgive those who only were away."""
        if self._discovering or self._looked_again or any(not job.slow for job in self._jobs):
            return
        if next(self._untried(), None) is None:
            self._looked_again = True
            self._asked = {item for item in self._asked if item[1] in self._liars}
            self._discover(nursery)

    def _untried(self) -> Iterator[tuple[int, ProviderRecord]]:
        """Holders not asked yet, data columns first, the trusted before the suspect."""
        layout = self._layout()
        found = [
            (index, holder)
            for index, holders in self._holders.items()
            for holder in holders
            if (index, holder.key) not in self._asked and holder.key not in self._liars and not self._has(index)
            if self._descriptor is None or index < self._descriptor.layout.n
        ]
        wanted = self._wanted(layout) if layout is not None else range(0)
        found.sort(
            key=lambda item: (
                self._client.is_suspect(_contact(item[1])),
                item[0] not in wanted,
                item[0],
            )
        )
        return iter(found)

    def _start(self, nursery: trio.Nursery) -> None:
        """Ask as many holders as it takes; holders counted as slow do not count as asked."""
        busy = {job.index for job in self._jobs if not job.slow}
        layout = self._layout()
        if layout is None:
            missing = 0 if busy else 1  # one holder's descriptor says the rest
        else:
            missing = self._missing(layout, busy)
        for index, holder in self._untried():
            if missing <= 0:
                break
            if index in busy:
                continue
            busy.add(index)
            missing -= 1
            now = trio.current_time()
            job = _Job(index, holder, now, now)
            self._jobs.append(job)
            self._asked.add((index, holder.key))
            nursery.start_soon(self._get, job)

    def _missing(self, layout: Layout, busy: set[int]) -> int:
        """How many more columns to ask for."""
        wanted = [index for index in self._wanted(layout) if not self._has(index)]
        reachable = {index for index, holders in self._holders.items() if self._hopeful(index, holders)}
        if all(index in busy or index in reachable for index in wanted) and not self._rebuilding():
            return len([index for index in wanted if index not in busy])
        if self._settling() and not self._rebuilding():
            return len([index for index in wanted if index in reachable and index not in busy])
        have = sum(self._has(index) for index in range(layout.n))
        return layout.k - have - len([index for index in busy if not self._has(index)])

    def _settling(self) -> bool:
        """Whether the first lookup is young: more holders are about to be known."""
        return bool(self._discovering) and trio.current_time() - self._began_at < SETTLE_SECONDS

    def _hopeful(self, index: int, holders: Sequence[ProviderRecord]) -> bool:
        return any(
            (index, holder.key) not in self._asked
            and holder.key not in self._liars
            and not self._client.is_suspect(_contact(holder))
            for holder in holders
        )

    def _rebuilding(self) -> bool:
        """Whether some wanted column has disappointed: then any k columns will do."""
        return bool(self._failures) or any(job.slow for job in self._jobs)

    def _next_check(self) -> float:
        now = trio.current_time()
        first = self._downloader.verified_at + GIVE_UP_SECONDS
        if self._settling():
            first = min(first, self._began_at + SETTLE_SECONDS)
        for job in self._jobs:
            if not job.slow:
                first = min(first, job.heard_at + HEDGE_SECONDS, job.began_at + self._slow_after())
        return max(0.0, first - now)

    def _slow_after(self) -> float:
        """Seconds after which a job counts as slow beside its fellows."""
        return max(SLOW_FLOOR_SECONDS, SLOW_FACTOR * median(self._took)) if len(self._took) > 1 else float("inf")

    def _mark_slow(self) -> None:
        now = trio.current_time()
        for job in self._jobs:
            silent = now - job.heard_at >= HEDGE_SECONDS
            if not job.slow and (silent or now - job.began_at >= self._slow_after()):
                job.slow = True
                if silent:
                    self._client.suspect(_contact(job.holder))

    def _hopeless(self) -> bool:
        if trio.current_time() - self._downloader.verified_at >= GIVE_UP_SECONDS:
            return True
        return not self._jobs and not self._discovering and next(self._untried(), None) is None

    # One request

    async def _get(self, job: _Job) -> None:
        try:
            await self._request(job)
            self._took.append(trio.current_time() - job.began_at)
        except (PeerError, ProtocolError) as exc:
            self._note_failure(job, exc)
        finally:
            self._jobs.remove(job)
            self._event.set()

    async def _request(self, job: _Job) -> None:
        """Ask for the rows, and verify each block as soon as it is whole."""
        lo, hi = self._span(self._layout(), job.index)
        message = Get(segment=self._segment, index=job.index, first=lo, count=hi - lo, proof=True)
        column: _Column | None = None

        def into(reply: Reply, body_bytes: int) -> memoryview:
            nonlocal column
            job.heard_at = trio.current_time()
            assert isinstance(reply, GetReply)
            descriptor = self._take_descriptor(reply.descriptor)
            hashes = check_hashes(descriptor, job.index, reply.hashes)
            size = sum(descriptor.layout.block_bytes(job.index, row) for row in range(lo, hi))
            if body_bytes != size:
                raise IntegrityError(f"sent {body_bytes} bytes instead of {size}")
            column = _Column(memoryview(bytearray(size)), hashes[lo:hi])
            return column.data

        def on_body(received: int) -> None:
            job.heard_at = trio.current_time()
            assert column is not None
            self._verify(column, received)

        await self._client.peers.request(_contact(job.holder), message, into=into, on_body=on_body)
        assert column is not None
        self._verify(column, len(column.data))
        if (lo, hi) == self._span(self._layout(), job.index):
            self._columns.setdefault(job.index, column)
        else:  # it only brought the descriptor, which says what to ask for
            self._asked.discard((job.index, job.holder.key))

    def _take_descriptor(self, data: bytes) -> Descriptor:
        if self._descriptor is None:
            descriptor = Descriptor.decode(data, self._segment)
            if self._length not in (None, descriptor.layout.length):
                raise IntegrityError(f"the segment has {descriptor.layout.length} bytes, not {self._length}")
            self._descriptor = descriptor
        elif data != self._descriptor.encode():
            raise IntegrityError("the descriptor is not that of the segment asked for")
        return self._descriptor

    def _verify(self, column: _Column, received: int) -> None:
        """Check the blocks that are whole now. Nothing unverified is ever counted."""
        while column.rows_done < len(column.hashes):
            start = column.rows_done * SEALED_BLOCK_BYTES
            end = min(start + SEALED_BLOCK_BYTES, len(column.data))
            if received < end:
                return
            check_block(column.hashes[column.rows_done], column.data[start:end])
            column.rows_done += 1
            self._downloader.verified(end - start)

    def _note_failure(self, job: _Job, exc: Exception) -> None:
        lied = isinstance(exc, ProtocolError)
        if lied:
            self._liars.add(job.holder.key)
        if lied or not isinstance(exc, PeerRefused):
            self._client.suspect(_contact(job.holder))
        self._failures.append(_Failure(job.holder, str(exc), lied))

    # What went wrong

    def _failed(self) -> NodeError:
        layout = self._layout()
        have = sum(self._has(index) for index in range(layout.n)) if layout is not None else 0
        need = layout.k if layout is not None else None
        liars = {failure.holder.index for failure in self._failures if failure.lied}
        summary = f"have {have} of {need} chunks" if need is not None else "have no chunk"
        message = f"{summary} of a segment ({self._reasons()})"
        if liars and have + len(liars) >= (need or 1):
            return IntegrityFailure(message, hint="some holders send wrong bytes; try later, when others have repaired")
        if not self._holders:
            return NotFoundError(
                "nobody in this network has announced it",
                hint="is it the right network, and has the deposit not expired or been deleted?",
            )
        return NotFoundError(message, hint="try again later: holders may come back; `archipel check` counts them")

    def _reasons(self) -> str:
        """``FR: 3 refused connection; DE: 1 wrong hash``."""
        latest: dict[bytes, tuple[str, str]] = {}
        for failure in self._failures:
            latest[failure.holder.key] = (failure.holder.country, failure.reason)
        for job in self._jobs:
            latest.setdefault(job.holder.key, (job.holder.country, "stopped answering"))
        counted: dict[str, Counter[str]] = {}
        for country, reason in latest.values():
            counted.setdefault(country or "unknown country", Counter())[reason] += 1
        told = [
            f"{country}: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4))
            for country, reasons in sorted(counted.items())
        ]
        return "; ".join(told) or "no other holder is known"


def _contact(holder: ProviderRecord) -> Contact:
    return Contact(holder.key, holder.address)
