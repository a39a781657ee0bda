"""The part of one segment that a reader wants: which rows of which columns, what has come; opening it, or handing it
on as it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from node.buffers import Buffers
from node.errors import IntegrityFailure
from protocol.errors import IntegrityError
from protocol.hashing import Bytes
from protocol.ids import SegmentId
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

RISKED_BLOCKS = 8
"""Asked for on a mere guess, at most, and of one column: with a wrong one they come in vain."""


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks of one segment."""

    segment: SegmentId
    length: int | None
    """Plaintext bytes of the whole segment; None when only its id is known."""
    first: int = 0
    """The first block wanted."""
    count: int | None = None
    """Blocks wanted; None: all from the first."""
    shares: Shares = Shares()
    """How the publisher coded it: a guess, which its descriptor confirms or not."""
    shares_known: bool = False
    """Whether that is how other segments of the deposit are coded, which makes it a good guess."""

    def __repr__(self) -> str:
        return f"Part({self.segment.hex()[:8]}, first={self.first}, count={self.count})"


class Column:
    """The rows ``lo`` to ``hi - 1`` of one chunk as they arrive; nothing unverified is ever counted."""

    __slots__ = ("_hashes", "data", "rows_done", "span")

    def __init__(self, span: tuple[int, int], hashes: tuple[bytes, ...], data: memoryview) -> None:
        self.span = span
        self.rows_done = 0
        self._hashes = hashes[span[0] : span[1]]
        self.data = data

    @property
    def whole(self) -> bool:
        return self.rows_done == len(self._hashes)

    def verify(self, received: int) -> Iterator[int]:
        """Check the blocks that ``received`` bytes make whole; yields the size of each that is good.

        Raises:
            IntegrityError: A block is not the right one.
        """
        while not self.whole:
            start = self.rows_done * SEALED_BLOCK_BYTES
            end = min(start + SEALED_BLOCK_BYTES, len(self.data))
            if received < end:
                return
            check_block(self._hashes[self.rows_done], self.data[start:end])
            self.rows_done += 1
            yield end - start


class Columns:
    """What is wanted of a segment and what is there of it."""

    def __init__(self, part: Part, buffers: Buffers, descriptor: Descriptor | None = None) -> None:
        """Args:
        part: What is wanted.
        buffers: Where memory comes from.
        descriptor: The segment's, when it is known.
        """
        self.part = part
        self._buffers = buffers
        self.descriptor = descriptor
        self.hashes: dict[int, bytes] = {}
        """Block hashes, joined, of each column whose holder has shown them."""
        self._guessing = True
        self._there: dict[int, Column] = {}

    @property
    def layout(self) -> Layout | None:
        """Known from the descriptor; guessed before it from the length, if that is known."""
        if self.descriptor is not None:
            return self.descriptor.layout
        if self.part.length is None or not (self._guessing or self._single):
            return None
        return plan(self.part.length, self.part.shares)

    @property
    def _single(self) -> bool:
        """Whether it is a segment of one block: then k is 1 and every chunk the same, which is no guess."""
        return self.part.length is not None and self.part.length <= BLOCK_BYTES

    @property
    def sure(self) -> bool:
        """Whether the layout is more than a guess."""
        return self.descriptor is not None or self._single

    def stop_guessing(self) -> None:
        """A holder says that there are no such rows: ask for the descriptor alone."""
        self._guessing = False

    def _last(self, layout: Layout) -> int:
        """The last wanted block."""
        return layout.blocks - 1 if self.part.count is None else self.part.first + self.part.count - 1

    def wanted(self, layout: Layout) -> range:
        """The data columns that hold wanted blocks."""
        return range(layout.locate(self.part.first)[0], layout.locate(self._last(layout))[0] + 1)

    def span(self, index: int) -> tuple[int, int]:
        """The rows [lo, hi) to ask of column ``index``: none where the column has none of those wanted."""
        layout = self.layout
        if layout is None:  # of a segment of unknown length, the first block may be all there is
            return (0, 1) if self.part.length is None else (0, 0)
        first_column, lo = layout.locate(self.part.first)
        last_column, last_row = layout.locate(self._last(layout))
        hi = last_row + 1
        if first_column != last_column:
            lo, hi = 0, layout.rows
        blocks = layout.column_blocks(index)
        lo, hi = min(lo, blocks), min(hi, blocks)
        guess = not (self.sure or self.part.shares_known)
        return (0, 0) if guess and (first_column != last_column or hi - lo > RISKED_BLOCKS) else (lo, hi)

    def span_bytes(self, index: int) -> int:
        """Sealed bytes of the rows to ask of column ``index``."""
        layout, (lo, hi) = self.layout, self.span(index)
        if layout is None:
            return (hi - lo) * SEALED_BLOCK_BYTES
        return sum(layout.block_bytes(index, row) for row in range(lo, hi))

    def take_descriptor(self, data: bytes) -> Descriptor:
        """Check a descriptor that a holder sent.

        Raises:
            IntegrityError: It is not that of the segment.
            RemoteProtocolError: It is not one.
        """
        if self.descriptor is None:
            descriptor = Descriptor.decode(data, self.part.segment)
            if self.part.length not in (None, descriptor.layout.length):
                raise IntegrityError(f"the segment has {descriptor.layout.length} bytes, not {self.part.length}")
            self.descriptor = descriptor
        elif data != self.descriptor.encode():
            raise IntegrityError("the descriptor is not that of the segment asked for")
        return self.descriptor

    def begin(self, index: int, span: tuple[int, int], descriptor: bytes, hashes: bytes, body_bytes: int) -> Column:
        """Room for the rows a holder is about to send, once its proof is good.

        Raises:
            IntegrityError: The descriptor, the hashes or the length are not what the segment id promises.
        """
        checked = self.take_descriptor(descriptor)
        split = check_hashes(checked, index, hashes)
        size = sum(checked.layout.block_bytes(index, row) for row in range(*span))
        if body_bytes != size:
            raise IntegrityError(f"sent {body_bytes} bytes instead of {size}")
        self.hashes[index] = hashes
        return Column(span, split, self._buffers.take(size))

    def add(self, index: int, column: Column) -> bool:
        """Keep a column; False if it is not the rows wanted, which only its descriptor told."""
        if column.span != self.span(index):
            return False
        if self._there.setdefault(index, column) is not column:
            self.drop(column)
        return True

    def drop(self, column: Column) -> None:
        """Give back a column that is not kept, and to which nobody writes any more."""
        self._buffers.give(column.data)

    def helps(self, index: int) -> bool:
        """Whether column ``index`` may be of use: there is one, as far as is known."""
        return self.descriptor is None or index < self.descriptor.layout.n

    def has(self, index: int) -> bool:
        """Whether the rows wanted of this column are there."""
        if self.descriptor is None:
            return False
        lo, hi = self.span(index)
        if lo == hi:
            return index < self.descriptor.layout.k  # no block there: zeros, which everybody has
        return index in self._there

    def count(self) -> int:
        """How many columns are there."""
        return 0 if self.descriptor is None else sum(self.has(i) for i in range(self.descriptor.layout.n))

    @property
    def complete(self) -> bool:
        """Whether the wanted blocks are there or can be rebuilt."""
        if self.descriptor is None:
            return False
        layout = self.descriptor.layout
        return all(self.has(index) for index in self.wanted(layout)) or self.count() >= layout.k

    def open(self, key: bytes) -> memoryview:
        """The plaintext of the wanted blocks; the columns are given back. CPU work, one block or row per call.

        Raises:
            IntegrityFailure: The key opens nothing: whoever published the segment sealed it wrongly.
        """
        assert self.descriptor is not None
        try:
            check_commitment(self.descriptor, key)
            plaintext = self._open(self.descriptor.layout, BlockCipher(key))
        except IntegrityError as exc:
            hint = "its publisher sealed it wrongly"
            raise IntegrityFailure(f"a segment does not open: {exc}", hint=hint) from exc
        self.release()
        return plaintext

    def _open(self, layout: Layout, cipher: BlockCipher) -> memoryview:
        begin = self.part.first * BLOCK_BYTES
        plaintext = self._buffers.take(min(layout.length, (self._last(layout) + 1) * BLOCK_BYTES) - begin)
        for block, sealed, _ in self._blocks(layout):
            start = block * BLOCK_BYTES - begin
            target = plaintext[start : start + len(sealed) - TAG_BYTES]
            cipher.open_into(block, block == layout.blocks - 1, sealed, target)
        return plaintext

    def sealed(self, rebuilt: Callable[[int, Bytes], None]) -> list[memoryview]:
        """The wanted blocks as they are, in order, until :meth:`release`. CPU work, if some have to be rebuilt.

        Args:
            rebuilt: Given the number and the bytes of each that was; no holder has shown its hash. May raise.

        Raises:
            IntegrityError: What ``rebuilt`` raises: whoever published the segment coded it wrongly.
        """
        assert self.descriptor is not None
        found = []
        for block, sealed, is_rebuilt in self._blocks(self.descriptor.layout):
            if is_rebuilt:
                rebuilt(block, sealed)
            found.append(memoryview(sealed))
        return found

    def release(self) -> None:
        """Give the columns back: nobody needs them any more, nor any view of them."""
        self._buffers.give(*(column.data for column in self._there.values()))
        self._there.clear()

    def _blocks(self, layout: Layout) -> Iterator[tuple[int, Bytes, bool]]:
        """The number of each wanted block, its sealed bytes, and whether they were rebuilt out of other columns."""
        made: dict[int, dict[int, Bytes]] = {}
        for block in range(self.part.first, self._last(layout) + 1):
            index, row = layout.locate(block)
            if index in self._there:
                yield block, self._cell(layout, index, row), False
                continue
            if row not in made:
                made[row] = rebuild_row(layout, self._cells(layout, row), row)
            yield block, made[row][index], True

    def _cells(self, layout: Layout, row: int) -> dict[int, memoryview]:
        """Block ``row`` of every column that is there and has one."""
        return {i: self._cell(layout, i, row) for i in self._there if row < layout.column_blocks(i)}

    def _cell(self, layout: Layout, index: int, row: int) -> memoryview:
        column = self._there[index]
        start = (row - column.span[0]) * SEALED_BLOCK_BYTES
        return column.data[start : start + layout.block_bytes(index, row)]
