"""Sealed segments for whoever opens them: heads and blocks, gathered from holders without a key.

Goals: a run of blocks costs what these blocks cost, as long as the holders of their columns live; nothing unverified
goes out; memory for five segments, whoever asks for whatever. Non-goals: keeping data; who may ask.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.buffers import Buffers
from node.client import Client
from node.errors import IntegrityFailure, NodeError, one_error
from node.fetching.columns import Columns, Part
from node.fetching.gathering import Gatherer, Holders
from node.fetching.proofs import Proofs
from node.net.pace import Pace
from node.progress import Progress
from node.web.sealed.room import WHOLE_BYTES, Room
from protocol.errors import IntegrityError
from protocol.hashing import Bytes
from protocol.ids import SegmentId
from protocol.sealedsegment import Head
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Layout, Shares, block_hash

PROOF_SECONDS = 4.0
"""So long the holders of data columns are asked for hashes; then the segment is gathered, which k of any give."""
HEADS = 256
"""Segments whose head and holders are remembered: some 4 MB."""
HOLDERS_SECONDS = 600.0
"""After so long the holders are looked up again."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a segment."""

    head: Head
    holders: Holders
    until: float
    """By trio's clock."""


@dataclass(slots=True)
class SealedSegments:
    """What all who ask share."""

    client: Client
    room: Room = field(default_factory=Room)
    _pace: Pace = field(default_factory=Pace)
    buffers: Buffers = field(default_factory=lambda: Buffers(WHOLE_BYTES))
    """Where memory for columns comes from."""
    _known: OrderedDict[SegmentId, _Known] = field(default_factory=OrderedDict)
    """By last use."""

    async def head(self, segment: SegmentId, client: str = "") -> Head:
        """The descriptor and the hashes of all data blocks, verified.

        Args:
            segment: Which.
            client: Who asks, one of many; empty: the user of this node.

        Raises:
            NotFoundError: Nobody has announced it, or too few chunks can be had.
            NetworkError: No node answers, or this one is busy.
            IntegrityFailure: Holders send what does not match, or the publisher coded it wrongly.
        """
        return (await self._look(segment, client)).head

    @asynccontextmanager
    async def blocks(
        self, segment: SegmentId, first: int, count: int, client: str = ""
    ) -> AsyncIterator[list[memoryview]]:
        """Sealed blocks ``first`` to ``first + count - 1``, verified, each by itself, until the end of the ``with``.

        Args:
            segment: Which.
            first: 0 <= first.
            count: 1 or more; the segment has ``first + count`` blocks at least.
            client: As for :meth:`head`.

        Raises:
            NodeError: As :meth:`head`.
        """
        known = await self._look(segment, client)
        layout = known.head.descriptor.layout
        runs = _runs(layout, first, count)
        async with self.room.take(sum(_cost(layout, *run) for run in runs), client):
            gathered = [self._columns(known, *run) for run in runs]
            try:
                async with one_error(), trio.open_nursery() as nursery:
                    for columns in gathered:
                        nursery.start_soon(self._gatherer().gather, columns, known.holders)
                yield await self.client.world.blocking(_sealed, known.head, gathered)
            finally:
                for columns in gathered:
                    columns.release()

    @asynccontextmanager
    async def whole(self, segment: SegmentId, client: str = "") -> AsyncIterator[tuple[Head, list[memoryview]]]:
        """The head and all blocks, as :meth:`head` and :meth:`blocks`; without asking for the head first."""
        known = self._remembered(segment)
        if known is None:
            async with self._gathered(segment, {}, client) as found:
                yield found
        else:
            async with self.blocks(segment, 0, known.head.descriptor.layout.blocks, client) as blocks:
                yield known.head, blocks

    def _gatherer(self) -> Gatherer:
        """Each gathering has a clock of its own; they share the line."""
        return Gatherer(self.client, Progress(), self._pace)

    def _columns(self, known: _Known, first: int, count: int) -> Columns:
        descriptor = known.head.descriptor
        layout = descriptor.layout
        part = Part(descriptor.id, layout.length, first, count, Shares(layout.k, layout.n), shares_known=True)
        return Columns(part, self.buffers, descriptor)

    def _remembered(self, segment: SegmentId) -> _Known | None:
        known = self._known.get(segment)
        if known is None:
            return None
        self._known.move_to_end(segment)
        if known.until > trio.current_time():
            return known
        return self._remember(known.head, {})

    def _remember(self, head: Head, holders: Holders) -> _Known:
        known = _Known(head, holders, trio.current_time() + HOLDERS_SECONDS)
        self._known[head.descriptor.id] = known
        self._known.move_to_end(head.descriptor.id)
        while len(self._known) > HEADS:
            self._known.popitem(last=False)
        return known

    async def _look(self, segment: SegmentId, client: str) -> _Known:
        """The head, of what the holders of the data columns show, else of the blocks."""
        known = self._remembered(segment)
        if known is not None:
            return known
        proofs, holders = Proofs(segment), Holders()
        with trio.move_on_after(PROOF_SECONDS):
            try:
                await self._gatherer().gather(proofs, holders)
            except NodeError:
                if proofs.descriptor is None:
                    raise  # nobody shows as much as that: nor do they send blocks
        if proofs.complete:
            return self._remember(_shown_head(proofs), holders)
        async with self._gathered(segment, holders, client) as (head, _):
            return self._remember(head, holders)

    @asynccontextmanager
    async def _gathered(
        self, segment: SegmentId, holders: Holders, client: str
    ) -> AsyncIterator[tuple[Head, list[memoryview]]]:
        """All blocks of a segment of which nothing is known, and the head that they give."""
        async with self.room.take(WHOLE_BYTES, client):
            columns = Columns(Part(segment, None), self.buffers)
            try:
                await self._gatherer().gather(columns, holders)
                head, blocks = await self.client.world.blocking(_counted, columns)
                self._remember(head, holders)
                yield head, blocks
            finally:
                columns.release()


def _runs(layout: Layout, first: int, count: int) -> list[tuple[int, int]]:
    """(first, count) of what is gathered as one.

    A few blocks at the end of one column and at the beginning of the next would take all rows of both.
    """
    (column, _), (last, _) = layout.locate(first), layout.locate(first + count - 1)
    cut = last * layout.rows
    if last == column + 1 and count <= layout.rows:
        return [(first, cut - first), (cut, first + count - cut)]
    return [(first, count)]


def _cost(layout: Layout, first: int, count: int) -> int:
    """Bytes that may be in memory for such a run: of k columns, should one have to be rebuilt."""
    (column, _), (last, _) = layout.locate(first), layout.locate(first + count - 1)
    rows = count if column == last else layout.rows
    return min(layout.k * rows * SEALED_BLOCK_BYTES, layout.sealed_bytes)


def _sealed(head: Head, gathered: list[Columns]) -> list[memoryview]:
    """The blocks of all runs. Those that were rebuilt have been checked; the others were when they came."""
    try:
        return [block for columns in gathered for block in columns.sealed(head.check_block)]
    except IntegrityError as exc:
        raise _coded_wrongly(exc) from exc


def _shown_head(proofs: Proofs) -> Head:
    """Of what holders have shown."""
    assert proofs.descriptor is not None
    return _checked_head(proofs.descriptor, proofs.joined())


def _counted(columns: Columns) -> tuple[Head, list[memoryview]]:
    """The head and the blocks of a whole segment: the hashes of what was rebuilt follow from it."""
    assert columns.descriptor is not None
    layout = columns.descriptor.layout
    rebuilt: dict[int, bytearray] = {}

    def count(block: int, sealed: Bytes) -> None:
        index, _ = layout.locate(block)
        rebuilt.setdefault(index, bytearray()).extend(block_hash(sealed))

    blocks = columns.sealed(count)
    hashes = [bytes(rebuilt[index]) if index in rebuilt else columns.hashes[index] for index in range(layout.k)]
    return _checked_head(columns.descriptor, b"".join(hashes)), blocks


def _checked_head(descriptor: Descriptor, hashes: bytes) -> Head:
    try:
        return Head(descriptor, hashes)
    except IntegrityError as exc:
        raise _coded_wrongly(exc) from exc


def _coded_wrongly(exc: IntegrityError) -> IntegrityFailure:
    hint = "its publisher coded it wrongly: no reader can rebuild it"
    return IntegrityFailure(f"the chunks of a segment do not fit together: {exc}", hint=hint)
