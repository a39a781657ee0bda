"""The part of a segment that a reader wants (node/fetching/columns.py)."""

from dataclasses import dataclass
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.buffers import Buffers
from node.errors import IntegrityFailure
from node.fetching.columns import Columns, Part
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.seal import SealedSegment, seal_segment
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, Shares, plan

KEY = b"k" * 32
LENGTHS = (1, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES, 11 * BLOCK_BYTES + 77)
SHARES = Shares(4, 7)


@dataclass(frozen=True)
class Sample:
    plaintext: bytes
    sealed: SealedSegment

    @property
    def n(self) -> int:
        return self.sealed.descriptor.layout.n

    def part(self, first: int = 0, count: int | None = None, *, known: bool = True) -> Columns:
        return Columns(Part(self.sealed.id, len(self.plaintext) if known else None, first, count), Buffers(0))

    def give(self, columns: Columns, index: int) -> bool:
        """Let a holder of ``index`` send what is asked of it; returns whether it was the rows wanted."""
        span = columns.span(index)
        body = self.rows(index, span)
        column = columns.begin(index, span, self.sealed.descriptor.encode(), self.sealed.hashes[index], len(body))
        column.data[:] = body
        assert list(column.verify(len(body))) == [
            min(SEALED_BLOCK_BYTES, len(body) - start) for start in range(0, len(body), SEALED_BLOCK_BYTES)
        ]
        assert column.whole
        return columns.add(index, column)

    def block(self, block: int) -> memoryview:
        index, row = self.sealed.descriptor.layout.locate(block)
        return self.rows(index, (row, row + 1))

    def rows(self, index: int, span: tuple[int, int]) -> memoryview:
        return self.sealed.columns[index][span[0] * SEALED_BLOCK_BYTES : span[1] * SEALED_BLOCK_BYTES]


@cache
def sample(length: int, shares: Shares = SHARES) -> Sample:
    plaintext = Random(length).randbytes(length)
    return Sample(plaintext, seal_segment(plaintext, KEY, shares))


@given(st.sampled_from(LENGTHS), st.integers(0, 11), st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_k_columns_give_the_blocks_wanted(length: int, first: int, count: int, random: Random) -> None:
    """Whatever columns come in whatever order: it is complete at the right moment, and the plaintext is right."""
    found = sample(length)
    layout = found.sealed.descriptor.layout
    first %= layout.blocks
    count = min(count, layout.blocks - first)
    columns = found.part(first, count)
    order = list(range(found.n))
    random.shuffle(order)
    for index in order:
        while not columns.has(index) and not found.give(columns, index):
            pass  # the first answer only says what to ask for
        there = {index for index in range(found.n) if columns.has(index)}
        assert index in there
        complete = set(columns.wanted(layout)) <= there or len(there) >= layout.k
        assert columns.complete == complete
        if complete:
            break
    stop = min(length, (first + count) * BLOCK_BYTES)
    assert columns.open(KEY) == found.plaintext[first * BLOCK_BYTES : stop]


@pytest.mark.parametrize("length", LENGTHS)
def test_of_unknown_length(length: int) -> None:
    """Only the id is known: the first answer brings a block and the descriptor, which says the rest."""
    found = sample(length)
    columns = found.part(known=False)
    assert columns.span(3) == (0, 1)
    again = found.give(columns, 0)
    assert columns.layout == found.sealed.descriptor.layout
    assert again == (found.sealed.descriptor.layout.rows == 1)
    for index in range(found.sealed.descriptor.layout.k):
        if not columns.has(index):
            assert found.give(columns, index)
    assert columns.open(KEY) == found.plaintext


def test_of_one_block_the_layout_is_known_beforehand() -> None:
    columns = sample(1000).part()
    assert columns.layout is not None
    assert columns.span(2) == (0, 1)
    assert columns.sure


def test_of_more_blocks_the_layout_is_guessed_until_a_descriptor_tells() -> None:
    found = sample(BLOCK_BYTES + 1)
    columns, cautious = found.part(), found.part()
    assert columns.layout == plan(BLOCK_BYTES + 1, Shares())
    assert not columns.sure
    cautious.stop_guessing()
    assert cautious.layout is None
    assert cautious.span(0) == (0, 0)
    for part in (columns, cautious):
        part.take_descriptor(found.sealed.descriptor.encode())
        assert part.layout == found.sealed.descriptor.layout
        assert part.sure


def test_little_is_asked_for_on_a_mere_guess() -> None:
    length = 64 * BLOCK_BYTES
    few, many = (Columns(Part(SegmentId(bytes(32)), length, 0, n, Shares(4, 7)), Buffers(0)) for n in (8, 9))
    assert few.span(0) == (0, 8)
    assert many.span(0) == (0, 0)
    two = Columns(Part(SegmentId(bytes(32)), length, 15, 2, Shares(4, 7)), Buffers(0))
    assert two.span(0) == two.span(1) == (0, 0)
    known = Columns(Part(SegmentId(bytes(32)), length, 0, 9, Shares(4, 7), shares_known=True), Buffers(0))
    assert known.span(0) == (0, 9)


def test_only_the_rows_wanted_are_asked_for() -> None:
    """Twelve blocks in four columns of three; the last block is short."""
    found = sample(11 * BLOCK_BYTES + 77)
    assert found.sealed.descriptor.layout.rows == 3

    def spans(first: int, count: int) -> tuple[list[int], list[tuple[int, int]]]:
        columns = found.part(first, count)
        columns.take_descriptor(found.sealed.descriptor.encode())
        return list(columns.wanted(found.sealed.descriptor.layout)), [columns.span(i) for i in range(found.n)]

    assert spans(4, 1) == ([1], [(1, 2)] * 7)
    assert spans(3, 2) == ([1], [(0, 2)] * 7)
    assert spans(2, 2) == ([0, 1], [(0, 3)] * 7)
    assert spans(11, 1) == ([3], [(2, 3)] * 7)
    assert spans(0, 12) == ([0, 1, 2, 3], [(0, 3)] * 7)


def test_a_column_with_no_block_there() -> None:
    """Five blocks in three columns of two: the last column has one, and its second row is zeros everybody has."""
    found = sample(5 * BLOCK_BYTES, Shares(3, 5))
    layout = found.sealed.descriptor.layout
    assert (layout.k, layout.rows, layout.column_blocks(2)) == (3, 2, 1)
    columns = found.part(1, 1)
    columns.take_descriptor(found.sealed.descriptor.encode())
    assert columns.span(2) == (1, 1)
    assert columns.has(2)
    assert columns.count() == 1
    found.give(columns, 1)
    assert not columns.complete
    found.give(columns, 3)
    assert columns.count() == 3
    assert columns.open(KEY) == found.plaintext[BLOCK_BYTES : 2 * BLOCK_BYTES]


def test_what_holders_send_is_checked() -> None:
    found, other = sample(5 * BLOCK_BYTES), sample(5 * BLOCK_BYTES + 1, SHARES)
    descriptor, hashes = found.sealed.descriptor.encode(), found.sealed.hashes
    columns = found.part()
    for bad in (other.sealed.descriptor.encode(), descriptor[:-1], b"", descriptor + b"\0"):
        with pytest.raises((IntegrityError, RemoteProtocolError)):
            columns.begin(0, (0, 0), bad, hashes[0], 0)
    assert columns.descriptor is None
    assert not columns.complete
    assert columns.count() == 0
    with pytest.raises(IntegrityError, match="hashes"):
        columns.begin(0, (0, 2), descriptor, hashes[1], 2 * SEALED_BLOCK_BYTES)
    for wrong in (0, 2 * SEALED_BLOCK_BYTES - 1, 2 * SEALED_BLOCK_BYTES + 1):
        with pytest.raises(IntegrityError, match="instead of"):
            columns.begin(0, (0, 2), descriptor, hashes[0], wrong)
    with pytest.raises(IntegrityError, match="none of index 9"):
        columns.begin(9, (0, 2), descriptor, hashes[0], 0)
    column = columns.begin(0, (0, 2), descriptor, hashes[0], 2 * SEALED_BLOCK_BYTES)
    column.data[:] = found.rows(0, (0, 2))
    column.data[SEALED_BLOCK_BYTES + 5] ^= 1
    assert list(column.verify(SEALED_BLOCK_BYTES)) == [SEALED_BLOCK_BYTES]
    assert list(column.verify(2 * SEALED_BLOCK_BYTES - 1)) == []
    with pytest.raises(IntegrityError, match="does not match"):
        list(column.verify(2 * SEALED_BLOCK_BYTES))
    assert not column.whole


def test_a_segment_that_is_not_what_the_manifest_says() -> None:
    """Its length is another than the manifest's: an honest holder, a wrong manifest."""
    found = sample(5 * BLOCK_BYTES)
    columns = Columns(Part(found.sealed.id, 4 * BLOCK_BYTES), Buffers(0))
    with pytest.raises(IntegrityError, match="bytes, not"):
        columns.take_descriptor(found.sealed.descriptor.encode())


@pytest.mark.parametrize("length", LENGTHS)
def test_another_key_opens_nothing(length: int) -> None:
    found = sample(length)
    columns = found.part()
    for index in range(found.sealed.descriptor.layout.k):
        while not columns.has(index):
            found.give(columns, index)
    with pytest.raises(IntegrityFailure, match="does not open"):
        columns.open(b"x" * 32)


@given(st.sampled_from(LENGTHS), st.integers(0, 11), st.integers(1, 12), st.randoms(use_true_random=False))
def test_without_a_key_any_k_columns_give_the_sealed_blocks(
    length: int, first: int, count: int, random: Random
) -> None:
    found = sample(length)
    layout = found.sealed.descriptor.layout
    first %= layout.blocks
    count = min(count, layout.blocks - first)
    columns = found.part(first, count)
    order = list(range(found.n))
    random.shuffle(order)
    for index in order:
        while not columns.has(index) and not found.give(columns, index):
            pass
        if columns.complete:
            break
    rebuilt: dict[int, bytes] = {}
    pieces = columns.sealed(lambda block, sealed: rebuilt.update({block: bytes(sealed)}))
    true = [bytes(found.block(block)) for block in range(first, first + count)]
    assert [bytes(piece) for piece in pieces] == true
    assert rebuilt == {first + i: true[i] for i in range(count) if layout.locate(first + i)[0] not in columns.hashes}
    assert all(hashes == found.sealed.hashes[index] for index, hashes in columns.hashes.items())
    columns.release()
