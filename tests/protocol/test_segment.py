"""Layouts, descriptors and the checks against them (docs/spec/storage.md sections 2 and 4)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.ids import ChunkId, SegmentId
from protocol.segment import (
    BLOCK_BYTES,
    MAX_BLOCKS,
    MAX_DESCRIPTOR_BYTES,
    SEALED_BLOCK_BYTES,
    SEGMENT_BYTES,
    Descriptor,
    Layout,
    Shares,
    block_hash,
    check_block,
    check_hashes,
    chunk_id,
    plan,
)
from tests.strategies import damaged

ALL_SHARES = [Shares(k, n) for k in range(1, 17) for n in range(k, 33)]

shares = st.sampled_from(ALL_SHARES)
lengths = st.one_of(
    st.integers(1, SEGMENT_BYTES),
    st.builds(
        lambda blocks, more: min(SEGMENT_BYTES, max(1, blocks * BLOCK_BYTES + more)),
        st.integers(0, MAX_BLOCKS),
        st.integers(-1, 1),
    ),
)
layouts = st.builds(plan, lengths, shares)


@st.composite
def descriptors(draw: st.DrawFn) -> Descriptor:
    layout = draw(layouts)
    ids = draw(st.binary(min_size=32 * layout.n, max_size=32 * layout.n))
    chunk_ids = tuple(ChunkId(ids[start : start + 32]) for start in range(0, len(ids), 32))
    return Descriptor(layout, draw(st.binary(min_size=32, max_size=32)), chunk_ids)


def test_shares_are_8_of_12_unless_said_otherwise() -> None:
    assert str(Shares()) == "8/12"


@pytest.mark.parametrize(("text", "k", "n"), [("8/12", 8, 12), ("1/1", 1, 1), ("16/32", 16, 32), ("01/02", 1, 2)])
def test_shares_are_parsed(text: str, k: int, n: int) -> None:
    assert Shares.parse(text) == Shares(k, n)


@pytest.mark.parametrize(
    "text",
    ["", "8", "8/", "/12", "8/12/3", "12/8", "0/4", "17/20", "16/33", "-1/4", "8 /12", "8/12\n", "٨/١٢"],
)
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="shares are"):
        Shares.parse(text)


def test_every_number_of_blocks_fills_every_column() -> None:
    for blocks in range(1, MAX_BLOCKS + 1):
        for wanted in (Shares(k, k + 4) for k in range(1, 17)):
            layout = plan(blocks * BLOCK_BYTES, wanted)
            assert layout.rows == math.ceil(blocks / wanted.k)
            assert layout.k <= wanted.k
            assert layout.n - layout.k == wanted.n - wanted.k
            columns = [layout.column_blocks(index) for index in range(layout.n)]
            assert min(columns) >= 1
            assert sum(columns[: layout.k]) == blocks
            assert set(columns[layout.k :]) <= {layout.rows}


@given(layouts)
def test_blocks_and_columns_agree(layout: Layout) -> None:
    places = [layout.locate(block) for block in range(layout.blocks)]
    assert places == [(index, row) for index in range(layout.k) for row in range(layout.column_blocks(index))]
    sizes = [layout.block_bytes(index, row) for index, row in places]
    assert sum(sizes) == layout.sealed_bytes == sum(map(layout.column_bytes, range(layout.k)))
    assert set(sizes[:-1]) <= {SEALED_BLOCK_BYTES}
    for index in range(layout.k, layout.n):
        copy = layout.sealed_bytes if layout.k == 1 else layout.rows * SEALED_BLOCK_BYTES
        assert layout.column_bytes(index) == copy


@pytest.mark.parametrize(
    ("length", "k", "n"),
    [
        (0, 1, 1),
        (-1, 1, 1),
        (SEGMENT_BYTES + 1, 8, 12),
        (1, 0, 1),
        (SEGMENT_BYTES, 17, 20),
        (SEGMENT_BYTES, 8, 33),
        (SEGMENT_BYTES, 8, 7),
        (1, 2, 3),
        (9 * BLOCK_BYTES, 8, 12),
    ],
)
def test_layouts_that_are_impossible(length: int, k: int, n: int) -> None:
    with pytest.raises(LocalProtocolError):
        Layout(length, k, n)


@pytest.mark.parametrize("length", [-1, 0, SEGMENT_BYTES + 1])
def test_lengths_that_are_no_segment(length: int) -> None:
    with pytest.raises(LocalProtocolError, match="a segment has 1 to"):
        plan(length, Shares())


@given(descriptors())
def test_a_descriptor_is_read_as_it_was_written(descriptor: Descriptor) -> None:
    data = descriptor.encode()
    assert len(data) <= MAX_DESCRIPTOR_BYTES
    assert Descriptor.decode(data, descriptor.id) == descriptor
    assert Descriptor.decode(memoryview(data)) == descriptor


@given(st.data())
def test_a_damaged_descriptor_is_not_the_one_asked_for(data: st.DataObject) -> None:
    descriptor = data.draw(descriptors())
    broken = data.draw(damaged(descriptor.encode()))
    with pytest.raises((IntegrityError, RemoteProtocolError)):
        Descriptor.decode(broken, descriptor.id)


@given(st.data())
def test_a_damaged_descriptor_is_refused_or_has_another_id(data: st.DataObject) -> None:
    descriptor = data.draw(descriptors())
    broken = data.draw(damaged(descriptor.encode()))
    try:
        read = Descriptor.decode(broken)
    except RemoteProtocolError:
        return
    assert read.encode() == broken
    assert read.id != descriptor.id


@given(st.binary(max_size=600))
def test_garbage_is_no_descriptor(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Descriptor.decode(data)


def test_a_descriptor_is_bounded() -> None:
    with pytest.raises(RemoteProtocolError, match="at most 2048 bytes"):
        Descriptor.decode(bytes(MAX_DESCRIPTOR_BYTES + 1), SegmentId(bytes(32)))


def test_a_descriptor_has_one_id_for_each_chunk() -> None:
    with pytest.raises(LocalProtocolError, match="3 chunks have 2 ids"):
        Descriptor(Layout(1, 1, 3), bytes(32), (ChunkId(bytes(32)),) * 2).encode()


def test_block_hashes_are_checked_one_by_one() -> None:
    hashes = b"".join(block_hash(bytes([number])) for number in range(2))
    ids = (chunk_id(0, hashes), chunk_id(1, hashes[:32]), chunk_id(2, hashes))
    descriptor = Descriptor(Layout(3 * BLOCK_BYTES, 2, 3), bytes(32), ids)
    assert check_hashes(descriptor, 0, hashes) == (hashes[:32], hashes[32:])
    assert check_hashes(descriptor, 1, hashes[:32]) == (hashes[:32],)
    for index, given_hashes in ((-1, hashes), (3, hashes), (0, b""), (0, hashes[:32]), (1, hashes[32:])):
        with pytest.raises(IntegrityError):
            check_hashes(descriptor, index, given_hashes)


def test_a_block_is_checked_against_its_hash() -> None:
    check_block(block_hash(b"sealed"), memoryview(b"sealed"))
    with pytest.raises(IntegrityError, match="does not match its hash"):
        check_block(block_hash(b"sealed"), b"Sealed")


def test_the_same_hashes_make_another_chunk_at_another_index() -> None:
    assert chunk_id(0, bytes(32)) != chunk_id(1, bytes(32))
