"""Gathering a part of one segment: who has it, who is asked, and who is asked as well when somebody is slow.

One ``Gatherer`` per fetch; one ``_SegmentDownload`` per segment. It ends whole, or with an error that says who was
asked and why each failed.
"""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median

import trio

from dht.contact import Contact
from node.buffers import Buffers
from node.client import Client
from node.errors import NetworkError, NodeError, NotFoundError
from node.fetching.columns import Column, Columns
from node.fetching.failure import Failure, unavailable
from node.net.pace import Flight, Pace
from node.net.peers import PeerError, PeerRefused
from node.progress import Progress
from protocol.errors import ProtocolError
from protocol.ids import PublicKey
from protocol.messages import ErrorCode, Get, GetReply, Reply
from protocol.records import ProviderRecord
from protocol.segment import MAX_BLOCKS, Layout, Shares, plan

SLOW_FACTOR = 3.0
"""A holder gets company when it is silent beyond the line's patience, or takes this many times its fellows' median."""
SLOW_FLOOR_SECONDS = 0.25
FIRST_SECONDS = 0.5
"""So does the first holder asked about a segment, since little is asked of it: a connection takes four round trips."""
STUCK_SECONDS = 7.5
"""So does everybody when no block of the segment was verified for this long: who sends byte by byte is never silent."""
SETTLE_SECONDS = 0.2
"""So long the data columns' holders are waited for before parity is asked for in their place."""
GIVE_UP_SECONDS = 15.0
"""Without a newly verified block for this long a fetch ends."""

KEPT_BYTES = 48 << 20
"""Of memory for segments, kept for the next: the columns of one and its plaintext are 32 MiB."""

Holders = dict[int, list[ProviderRecord]]
"""Index -> who is announced to hold that chunk."""


@dataclass(slots=True)
class Gatherer:
    """What the segments of one fetch share. It needs no key: what comes is verified, and opened by others."""

    client: Client
    progress: Progress
    pace: Pace = field(default_factory=Pace)
    verified_at: float = field(default_factory=trio.current_time)
    """When a block was last verified, for any segment."""
    received_bytes: int = 0
    """Of blocks that came and were verified, wanted or not."""
    shares: Shares = Shares()
    """How the deposit's segments are coded, as far as descriptors have told; the default until then."""
    shares_known: bool = False
    buffers: Buffers = field(default_factory=lambda: Buffers(KEPT_BYTES))
    """Whoever is done with what was opened, or with columns, may give it back."""

    async def gather(self, columns: Columns, holders: Holders | None = None) -> None:
        """Return once what is wanted is there, or can be rebuilt: verified, and as it is stored.

        Args:
            columns: What is wanted; it comes here.
            holders: Who is known to hold chunks of the segment; those that are found are added.

        Raises:
            NotFoundError: Fewer than k chunks could be had.
            NetworkError: No node answers at all.
            IntegrityFailure: The same as the first, because holders sent what does not match.
        """
        # The clock stops while nobody reads: a segment that begins to be fetched has its full time.
        self.verified_at = trio.current_time()
        await _SegmentDownload(self, columns, {} if holders is None else holders).run()

    def learn(self, layout: Layout) -> None:
        """Take in how a segment is coded; short ones, which use fewer columns, tell little."""
        if layout.k == self.shares.k and layout == plan(layout.length, self.shares):
            self.shares_known = True
        elif layout.blocks == MAX_BLOCKS:
            self.shares, self.shares_known = Shares(layout.k, layout.n), True

    def verified(self, size: int) -> None:
        """Count a block that proved to be the right one."""
        self.verified_at = trio.current_time()
        self.received_bytes += size
        self.progress.step(moved=size)


@dataclass(slots=True, eq=False)
class _Job:
    """One request for a run of rows of one chunk."""

    index: int
    holder: ProviderRecord
    flight: Flight
    guessed: bool
    """Whether its rows are those of a layout that was guessed."""
    slow: bool = False

    @property
    def whose(self) -> tuple[int, PublicKey]:
        return self.index, self.holder.key


class _SegmentDownload:
    """Asks holders until the columns are complete."""

    def __init__(self, gatherer: Gatherer, columns: Columns, holders: Holders) -> None:
        self._gatherer = gatherer
        self._client = gatherer.client
        self._columns = columns
        self._segment = columns.part.segment
        self._holders = holders
        self._asked: set[tuple[int, PublicKey]] = set()
        self._liars: set[PublicKey] = set()
        self._jobs: list[_Job] = []
        self._failures: list[Failure] = []
        self._unanswered: list[_Job] = []
        self._took: list[float] = []
        self._looked = False
        self._discovering = 0
        self._more = trio.Event()
        self._began_at = trio.current_time()
        self._verified_at = self._began_at
        self._looked_again = False
        self._event = trio.Event()

    async def run(self) -> None:
        """Return once the wanted blocks are there or can be rebuilt; else raise as :meth:`Gatherer.gather`."""
        async with trio.open_nursery() as nursery:
            if not self._holders or not self._covered():
                self._discover(nursery)
            while not self._columns.complete:
                self._event = trio.Event()
                self._start(nursery)
                self._look_again(nursery)
                if self._hopeless():
                    break
                with trio.move_on_at(self._next_check()):
                    await self._event.wait()
                self._mark_slow()
            self._unanswered = list(self._jobs)
            nursery.cancel_scope.cancel()
        if not self._columns.complete:
            raise await self._failed()

    def _discover(self, nursery: trio.Nursery) -> None:
        self._looked = True
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
                    if self._covered():  # the rest of the lookup costs what nobody may need
                        self._more = trio.Event()
                        await self._more.wait()
        finally:
            self._discovering -= 1
            self._event.set()

    def _covered(self) -> bool:
        """Whether every wanted column, as far as is known, has a holder."""
        layout = self._columns.layout
        return layout is None or all(index in self._holders for index in self._columns.wanted(layout))

    def _look_again(self, nursery: trio.Nursery) -> None:
        """When everybody known was asked in vain, look once more, and forgive those who only were away."""
        if self._discovering or self._looked_again or any(not job.slow for job in self._jobs):
            return
        if next(self._untried(), None) is None:
            self._looked_again = True
            self._asked = {item for item in self._asked if item[1] in self._liars} | {job.whose for job in self._jobs}
            self._discover(nursery)

    def _untried(self) -> Iterator[ProviderRecord]:
        """Holders not asked yet, the trusted before the suspect, data columns before parity."""
        columns = self._columns
        layout = columns.layout
        wanted = columns.wanted(layout) if layout is not None else range(0)
        found = [
            holder
            for index, holders in self._holders.items()
            for holder in holders
            if (index, holder.key) not in self._asked and holder.key not in self._liars and not columns.has(index)
            if columns.helps(index)
        ]
        found.sort(key=lambda holder: (self._suspect(holder), holder.index not in wanted, holder.index))
        return iter(found)

    def _suspect(self, holder: ProviderRecord) -> bool:
        return self._client.is_suspect(_contact(holder))

    def _start(self, nursery: trio.Nursery) -> None:
        """Ask as many holders as it takes and the line can feed; one counted as slow does not count as asked."""
        if not self._covered():
            self._more.set()  # a descriptor named more columns than were guessed
        busy = {job.index for job in self._jobs if not job.slow}
        layout = self._columns.layout
        if layout is None or not (self._columns.sure or self._columns.part.shares_known):
            # One holder's descriptor says the rest; when one is slow, two more are asked, then four more.
            missing = 0 if busy else max(1, 2 * len(self._jobs))
        else:
            missing = self._missing(layout, busy)
        for holder in self._untried():
            if missing <= 0:
                return
            if holder.index not in busy:
                size = self._columns.span_bytes(holder.index)
                if not self._gatherer.pace.room(size, self._event):
                    return
                busy.add(holder.index)
                missing -= 1
                self._begin(nursery, holder, size)
        if missing > 0:
            self._more.set()
            if not self._looked:  # those that were known beforehand do not suffice
                self._discover(nursery)

    def _begin(self, nursery: trio.Nursery, holder: ProviderRecord, size: int) -> None:
        guessed = self._columns.layout is not None and not self._columns.sure
        job = _Job(holder.index, holder, self._gatherer.pace.begin(size), guessed)
        self._jobs.append(job)
        self._asked.add(job.whose)
        nursery.start_soon(self._get, job)

    def _missing(self, layout: Layout, busy: set[int]) -> int:
        """How many more columns to ask for."""
        wanted = [index for index in self._columns.wanted(layout) if not self._columns.has(index)]
        idle = [index for index in wanted if index not in busy]
        reachable = [index for index in idle if self._hopeful(index)]
        undisturbed = not self._failures and not any(job.slow for job in self._jobs)
        # Of some, holders are about to be known: parity is not asked for in their place yet.
        unknown = sum(index not in self._holders for index in idle) if undisturbed and self._settling() else 0
        if undisturbed and len(reachable) + unknown == len(idle):
            return len(reachable)
        if trio.current_time() >= max(self._began_at, self._verified_at) + STUCK_SECONDS:
            return layout.n  # whoever is left: of those that drip, one after the other would take all the time there is
        # Some wanted column disappoints: any k columns will do.
        coming = sum(not self._columns.has(index) for index in busy)
        return layout.k - self._columns.count() - coming - unknown

    def _hopeful(self, index: int) -> bool:
        """Whether some holder of this column is neither asked yet nor suspect."""
        return any(
            (index, holder.key) not in self._asked and holder.key not in self._liars and not self._suspect(holder)
            for holder in self._holders.get(index, ())
        )

    def _settling(self) -> bool:
        """Whether the first lookup is young: more holders are about to be known."""
        return bool(self._discovering) and trio.current_time() < self._began_at + SETTLE_SECONDS

    def _next_check(self) -> float:
        """When to look again, by trio's clock: the same sums as below, or a rounding error has us look in vain."""
        first = self._gatherer.verified_at + GIVE_UP_SECONDS
        if self._settling():
            first = min(first, self._began_at + SETTLE_SECONDS)
        for job in self._jobs:
            if not job.slow:
                first = min(first, *self._patience(job))
        return first

    def _patience(self, job: _Job) -> tuple[float, float, float]:
        """When a job counts as slow: it is silent, or its fellows outdo it, or nothing comes of any."""
        began_at = job.flight.began_at
        stuck_at = max(began_at, self._verified_at) + STUCK_SECONDS
        return job.flight.stalled_at, began_at + self._slow_after(), stuck_at

    def _slow_after(self) -> float:
        """Seconds after which a job counts as slow beside its fellows."""
        if self._columns.descriptor is None:
            least = FIRST_SECONDS
        elif len(self._took) < 2:
            return float("inf")
        else:
            least = max(SLOW_FLOOR_SECONDS, SLOW_FACTOR * median(self._took))
        return max(least, 2 * self._gatherer.pace.usual_pause)

    def _mark_slow(self) -> None:
        now = trio.current_time()
        for job in self._jobs:
            silent_at, outdone_at, stuck_at = self._patience(job)
            if not job.slow and now >= min(silent_at, outdone_at, stuck_at):
                job.slow = True
                job.flight.end()
                # Outdone, it is suspect only if it sent not one byte while its fellows were done.
                if now >= min(silent_at, stuck_at) or (job.flight.silent and self._took):
                    self._client.suspect(_contact(job.holder))

    def _hopeless(self) -> bool:
        if trio.current_time() >= self._gatherer.verified_at + GIVE_UP_SECONDS:
            return True
        return not self._jobs and not self._discovering and next(self._untried(), None) is None

    async def _get(self, job: _Job) -> None:
        try:
            await self._request(job)
            for other in self._jobs:
                if other.slow and other.flight.silent:  # and its company, asked later, is done
                    self._client.suspect(_contact(other.holder))
        except (PeerError, ProtocolError) as exc:
            if isinstance(exc, PeerRefused) and exc.code is ErrorCode.MALFORMED and job.guessed:
                self._columns.stop_guessing()
                self._asked.discard(job.whose)
            else:
                self._note_failure(job, exc)
        finally:
            job.flight.end()
            self._jobs.remove(job)
            self._event.set()

    async def _request(self, job: _Job) -> None:
        """Ask for the rows, and verify each block as soon as it is whole."""
        span = self._columns.span(job.index)
        message = Get(segment=self._segment, index=job.index, first=span[0], count=span[1] - span[0], proof=True)
        column: Column | None = None

        def into(reply: Reply, body_bytes: int) -> memoryview:
            nonlocal column
            job.flight.expect(body_bytes)
            assert isinstance(reply, GetReply)
            known = self._columns.descriptor
            column = self._columns.begin(job.index, span, reply.descriptor, reply.hashes, body_bytes)
            if known is None and self._columns.descriptor is not None:
                self._gatherer.learn(self._columns.descriptor.layout)
                self._event.set()  # the other columns can be asked for
            return column.data

        def on_body(received: int) -> None:
            assert column is not None
            job.flight.arrived(len(column.data) - received)
            for size in column.verify(received):
                self._verified_at = job.flight.moved_at
                self._gatherer.verified(size)

        kept = False
        try:
            await self._client.peers.request(_contact(job.holder), message, into=into, on_body=on_body)
            assert column is not None
            assert column.whole
            kept = self._columns.add(job.index, column)
        finally:
            if column is not None and not kept:
                self._columns.drop(column)
        if kept:
            self._took.append(trio.current_time() - job.flight.began_at)
            self._gatherer.progress.held([(job.holder.key, job.holder.country)])
        else:
            self._asked.discard(job.whose)  # now that it is known what to ask for

    def _note_failure(self, job: _Job, exc: Exception) -> None:
        failure = Failure.of(job.holder, exc)
        self._failures.append(failure)
        if failure.lied:
            self._liars.add(job.holder.key)
        if not isinstance(exc, PeerRefused):
            self._client.suspect(_contact(job.holder))

    async def _failed(self) -> NodeError:
        if not self._holders and not await self._client.dht.lookup(self._segment):
            return NetworkError("no node answers any more", hint="is this machine still connected?")
        if not self._holders:
            hint = "is it the right network, this machine's clock right, and the deposit not expired or deleted?"
            return NotFoundError("nobody in this network has announced it", hint=hint)
        layout = self._columns.layout if self._columns.sure else None
        silent = [job.holder for job in self._unanswered]
        return unavailable(self._columns.count(), None if layout is None else layout.k, self._failures, silent)


def _contact(holder: ProviderRecord) -> Contact:
    return Contact(holder.key, holder.address)
