"""Lost chunks made again from others, whatever their holders do (node/healing/rebuild.py, sources.py)."""

import errno
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.healing.rebuild import HEDGE_SECONDS, MAX_ROWS, LocalChunks
from protocol.identity import Identity
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, Layout, Shares
from tests.network.memory import MemoryNetwork
from tests.network.shelves import (
    Behaviour,
    Shelf,
    dies_later,
    drips,
    freezes_later,
    hangs_up,
    honest,
    lies_later,
    no_hashes,
    not_found,
    sealed,
    shelves,
    silent,
    too_short,
    wrong_block,
    wrong_hashes,
)
from tests.node.builders import Sample, open_store, put, sample

SEVEN_ROWS = sealed(13 * BLOCK_BYTES + 77, Shares(2, 5))
"""Columns of 7 blocks, the last of the second one short; asked for as 1, 2 and 4 rows."""


@pytest.mark.parametrize(
    ("length", "shares", "k"),
    [
        (5 * BLOCK_BYTES + 77, Shares(3, 5), 3),  # a short tail
        (4 * BLOCK_BYTES + 77, Shares(3, 5), 3),  # a short column, and a short tail on it
        (1000, Shares(3, 5), 1),  # plain copies
        (2 * BLOCK_BYTES + 5, Shares(1, 3), 1),
    ],
)
async def test_any_missing_chunks_from_any_k(autojump_clock: MockClock, length: int, shares: Shares, k: int) -> None:
    """Every set of missing chunks, and nothing is fetched beyond the k that it takes."""
    segment = sealed(length, shares)
    layout = segment.descriptor.layout
    assert layout.k == k
    async with shelves(segment, range(layout.n)) as here:
        for count in range(1, layout.n - k + 1):
            for missing in combinations(range(layout.n), count):
                here.fetched_bytes = 0
                await here.rebuild(*missing, without=missing)
                assert here.fetched_bytes == least_bytes(layout, missing)


def least_bytes(layout: Layout, missing: Sequence[int]) -> int:
    """Of k blocks of each row that the missing chunks have; a column that ends before a row is zeros there."""
    total = 0
    for row in range(max(map(layout.column_blocks, missing))):
        zeros = sum(row >= layout.column_blocks(index) for index in range(layout.k))
        there = [i for i in range(layout.n) if i not in missing and row < layout.column_blocks(i)]
        total += sum(layout.block_bytes(index, row) for index in there[: layout.k - zeros])
    return total


async def test_no_gaps_are_left_and_no_more_than_a_few_rows_are_under_way(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (0, 2)) as here:
        await here.rebuild(1, 3, 4)
        for index in (0, 2):
            assert [(get.first, get.count, get.proof) for get in here.asked(index)] == [
                (0, 1, True), (1, 2, False), (3, MAX_ROWS, False),
            ]  # fmt: skip


async def test_fewer_than_k(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2,), _3=not_found) as here:
        here.shelves[4] = [Shelf(MemoryNetwork().host("10.7.0.1"), Identity(b"x" * 32), SEVEN_ROWS, 4, honest)]
        here.shelves[5] = here.shelves[2]  # there is no such chunk: not worth asking for
        error = await here.failure(0)
        assert str(error) == (
            "have 1 of 2 chunks (chunk 3 at 10.0.2.1:4110: not found; chunk 4 at 10.7.0.1:4110: connection refused)"
        )
        assert not error.forged
        assert not here.client.is_suspect(here.shelves[3][0].contact)
    async with shelves(SEVEN_ROWS) as nobody:
        assert str(await nobody.failure(0)) == "have 0 of 2 chunks (nobody else has one)"


async def test_with_as_many_chunks_as_it_takes_there_is_nothing_to_rebuild_from(autojump_clock: MockClock) -> None:
    segment = sealed(5 * BLOCK_BYTES, Shares(3, 3))
    async with shelves(segment, (0, 2)) as here:
        assert str(await here.failure(1)) == "have 2 of 3 chunks (nobody else has one)"
        await here.add(1)
        await here.rebuild(1)


@pytest.mark.parametrize("lie", [wrong_block, wrong_hashes, no_hashes, too_short, hangs_up, not_found])
async def test_who_lies_or_fails_is_replaced(autojump_clock: MockClock, lie: Behaviour) -> None:
    async with shelves(SEVEN_ROWS, (2, 3), _0=lie) as here:
        assert await here.rebuild(1, 4) < 1
        assert len(here.asked(0)) == 1
        assert here.client.is_suspect(here.shelves[0][0].contact) == (lie is not not_found)


async def test_a_liar_is_asked_for_none_of_its_chunks(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2,), _0=wrong_block) as here:
        liar = here.shelves[0][0]
        here.shelves[3] = [liar]
        await here.failure(1)
        assert [get.index for get in liar.asked] == [0]


async def test_who_failed_a_moment_ago_is_asked_last(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (0, 2, 3)) as here:
        here.client.suspect(here.shelves[0][0].contact)
        await here.rebuild(1)
        assert not here.asked(0)
        await here.rebuild(3, without=(3,))
        assert here.asked(0)


async def test_of_two_holders_of_a_chunk_the_other_does(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2,), _0=wrong_block) as here:
        await here.add(0)
        await here.rebuild(1)


@pytest.mark.parametrize("end", [lies_later, dies_later, freezes_later])
async def test_who_fails_in_mid_way_is_replaced(autojump_clock: MockClock, end: Behaviour) -> None:
    async with shelves(SEVEN_ROWS, (2, 3), _0=end) as here:
        seconds = await here.rebuild(1, 4)
        assert seconds < HEDGE_SECONDS + 1
        assert here.asked(3)[0].first > 0, "what was there was not fetched again"
        assert len(here.asked(0)) <= 3


async def test_who_is_silent_gets_company_and_is_asked_last_from_then_on(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2, 3), _0=silent) as here:
        seconds = await here.rebuild(1)
        assert HEDGE_SECONDS < seconds < HEDGE_SECONDS + 1
        assert len(here.asked(0)) == 1


async def test_who_drips_cannot_hold_a_rebuild_up(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2, 3), _0=drips) as here:
        assert await here.rebuild(1) < HEDGE_SECONDS + 1
    async with shelves(SEVEN_ROWS, (3, 4), _0=drips, _2=drips) as here:
        assert await here.rebuild(1) < 9


async def test_a_rebuild_that_does_not_go_on_ends(autojump_clock: MockClock) -> None:
    async with shelves(SEVEN_ROWS, (2,), _0=drips) as here:
        began_at = trio.current_time()
        error = await here.failure(1)
        assert trio.current_time() - began_at == pytest.approx(15)
        assert str(error) == "have 1 of 2 chunks (chunk 0 at 10.0.2.1:4110: not done in time)"
    async with shelves(SEVEN_ROWS, (2,), _0=silent, _3=silent) as here:
        began_at = trio.current_time()
        error = await here.failure(1)
        assert trio.current_time() - began_at < 7.5  # company after 2 s, which is silent for 5 s
        assert str(error).count("silent for 5 s") == 2


async def test_a_slow_line_is_no_fault_of_the_holders(autojump_clock: MockClock) -> None:
    """100 kB/s from each: a block takes 1.3 s. Nobody gets company or is given up; it goes row by row."""
    async with shelves(SEVEN_ROWS, (0, 2, 3)) as here:
        for (shelf,) in here.shelves.values():
            shelf.host.bytes_per_second = 100_000
        assert 7 * 1.3 < await here.rebuild(1) < 7 * 2
        assert not here.asked(3)
        assert [get.count for get in here.asked(0)] == [1] * 7


async def test_a_descriptor_whose_parity_does_not_fit(autojump_clock: MockClock) -> None:
    """Anybody can publish one: each chunk has the id that the descriptor names, and no k of them give the others."""
    forged = sample(1, 5 * BLOCK_BYTES, Shares(3, 5))
    async with shelves(forged, (0, 1, 2, 3)) as here:
        error = await here.failure(4)
        assert error.forged
        assert "do not fit together: chunk 4" in str(error)
        assert not any(here.client.is_suspect(shelf.contact) for (shelf,) in here.shelves.values())


def local(path: Path, segment: Sample, indices: Sequence[int]) -> LocalChunks:
    """Chunks that this node holds, among those of other segments."""
    store = open_store(path)
    for other in (sample(1), sample(2), sample(3)):
        put(store, other, 1)
    for index in indices:
        put(store, segment, index)
    return LocalChunks(store, InlineBlocking(), segment.id)


async def test_own_chunks_are_read_from_the_disk(autojump_clock: MockClock, tmp_path: Path) -> None:
    own = local(tmp_path, SEVEN_ROWS, (3, 4))
    assert await own.indices() == [3, 4]
    async with shelves(SEVEN_ROWS, (0, 2)) as here:
        await here.rebuild(0, 1, own=own)
        assert here.fetched_bytes == 0
        own.store.close()
    own = local(tmp_path / "one", SEVEN_ROWS, (4,))
    async with shelves(SEVEN_ROWS, (0, 2)) as here:
        await here.rebuild(1, own=own)
        assert Counter(len(here.asked(index)) for index in (0, 2)) == {3: 1, 0: 1}
        own.store.close()


async def test_an_own_chunk_that_is_rotten_is_dropped_and_replaced(autojump_clock: MockClock, tmp_path: Path) -> None:
    own = local(tmp_path, SEVEN_ROWS, (3, 4))
    segment = SEVEN_ROWS.id.hex()
    file = tmp_path / "chunks" / segment[:2] / f"{segment}.4"
    rotten = bytearray(file.read_bytes())
    rotten[5 * SEALED_BLOCK_BYTES + 9] ^= 1
    file.write_bytes(rotten)
    async with shelves(SEVEN_ROWS, (2,)) as here:
        await here.rebuild(0, 1, own=own)
        assert [get.first for get in here.asked(2)] == [3]
        assert await own.indices() == [3]
    own.store.close()


async def test_a_node_whose_index_fails_says_so(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = local(tmp_path, SEVEN_ROWS, (3,))

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(own.store._index, "page", broken)
        async with shelves(SEVEN_ROWS, (0, 2)) as here:
            assert "this node cannot say what it holds: disk" in str(await here.failure(1, own=own))
    own.store.close()
