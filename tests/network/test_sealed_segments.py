"""Sealed segments gathered without a key, for whoever opens them: from holders that are dead, lie, or are slow."""

from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from node.errors import IntegrityFailure, NetworkError, NotFoundError
from node.net.wire import Wire
from node.web.sealed import gather, room
from node.web.sealed.gather import SealedSegments
from node.web.sealed.room import Room
from protocol.hashing import digest
from protocol.ids import SegmentId
from protocol.messages import Get, GetReply
from protocol.seal import code_segment, plaintext_key, seal_segment
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES, Descriptor, Shares, chunk_id
from tests.network.archipelago import Archipelago, archipelago, failure
from tests.network.holder import holder, holds_nothing
from tests.network.sealing import Stored, published, read, reader
from tests.network.test_liars import LIES, Liar, Truth, drips, liar_instead, wrong_bytes, wrong_hashes

BLOCKS = 32
"""Eight columns of four."""
SIZE = BLOCKS * BLOCK_BYTES
OVERHEAD = 40_000
"""Bytes: handshakes, descriptors, hashes."""

RUNS = (
    # first block, count, blocks moved, holders they come from
    (0, 1, 1, 1),
    (5, 2, 2, 1),
    (0, 4, 4, 1),
    (31, 1, 1, 1),
    (3, 2, 2, 2),  # the end of a column and the beginning of the next
    (1, 5, 8, 2),  # two columns, of which the same rows are asked
    (0, 32, 32, 8),
)


async def test_only_the_blocks_asked_for_move(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, SIZE)
        for first, count, moved, holders in RUNS:
            async with reader(islands) as (bob, sealed):
                head = await sealed.head(film.id)
                assert (head.descriptor, head.hashes) == (film.descriptor, film.hashes)
                assert sum(bob.meter.received.values()) < OVERHEAD
                assert await read(sealed, film.id, first, count) == film.blocks[first : first + count]
                total = sum(bob.meter.received.values())
                assert moved * SEALED_BLOCK_BYTES < total < moved * SEALED_BLOCK_BYTES * 1.01 + OVERHEAD
                assert sum(got > SEALED_BLOCK_BYTES for got in bob.meter.received.values()) == holders
                assert sealed.room.free == room.ROOM_BYTES


async def test_heads_and_holders_are_remembered(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "HEADS", 2)
    async with archipelago(base, 12) as islands:
        films = [await published(islands, SIZE, f"film {number}") for number in range(3)]
        async with reader(islands) as (bob, sealed):
            for film in films:
                await sealed.head(film.id)
            asked = 0

            def count(data: bytes, sender: object, to: object) -> None:
                nonlocal asked
                asked += getattr(sender, "host", "") == bob.host.ip

            islands.net.on_datagram = count
            before = sum(bob.meter.received.values())
            for film in films[1:]:
                await sealed.head(film.id)
            assert (asked, sum(bob.meter.received.values())) == (0, before)
            await read(sealed, films[2].id, 0, 32)
            assert asked == 0
            await sealed.head(films[0].id)
            assert asked > 0
            asked = 0
            await trio.sleep(gather.HOLDERS_SECONDS)
            asked = 0
            assert await read(sealed, films[2].id, 7, 1) == films[2].blocks[7:8]
            assert asked > 0


@pytest.mark.parametrize("length", [1000, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 9])
async def test_short_segments_from_any_k(autojump_clock: MockClock, base: Path, length: int) -> None:
    """Copies, and columns shorter than others: whole, and with all holders dead but k."""
    async with archipelago(base, 12) as islands:
        film = await published(islands, max(length, 70_000))
        layout = film.descriptor.layout
        async with reader(islands) as (_, sealed):
            assert (await sealed.head(film.id)).hashes == film.hashes
            assert await read(sealed, film.id, 0, layout.blocks) == film.blocks
            for index in range(layout.n - layout.k):
                film.holders[index].kill()
            async with reader(islands, "carol") as (_, other):
                async with other.whole(film.id) as (head, blocks):
                    assert (head.hashes, [bytes(block) for block in blocks]) == (film.hashes, film.blocks)
                assert other.room.free == room.ROOM_BYTES
                assert (await other.head(film.id)).hashes == film.hashes
                for service in (sealed, other):
                    assert await read(service, film.id, layout.blocks - 1, 1) == film.blocks[-1:]


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_dead_holders(autojump_clock: MockClock, base: Path, how: str) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, SIZE)
        for index in (0, 3, 5, 9):
            if how == "killed":
                film.holders[index].kill()
            else:
                film.holders[index].host.freeze()
        async with reader(islands) as (bob, sealed):
            began = trio.current_time()
            assert (await sealed.head(film.id)).hashes == film.hashes
            assert trio.current_time() - began < gather.PROOF_SECONDS + 4
            assert await read(sealed, film.id, 0, BLOCKS) == film.blocks
            assert trio.current_time() - began < gather.PROOF_SECONDS + 8
            before = sum(bob.meter.received.values())
            assert await read(sealed, film.id, 1, 1) == film.blocks[1:2]  # of a lost column: one of any other eight
            moved = sum(bob.meter.received.values()) - before
            assert 8 * SEALED_BLOCK_BYTES < moved < 8 * SEALED_BLOCK_BYTES * 1.01 + OVERHEAD
            before = sum(bob.meter.received.values())
            assert await read(sealed, film.id, 8, 1) == film.blocks[8:9]
            assert sum(bob.meter.received.values()) - before < SEALED_BLOCK_BYTES * 1.01 + OVERHEAD


async def test_too_few_are_left_and_nobody_knows_it(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, SIZE)
        async with reader(islands) as (_, sealed):
            nobody = await failure(sealed.head(SegmentId(bytes(32))))
            assert isinstance(nobody, NotFoundError)
            assert "nobody in this network has announced it" in str(nobody)
            await sealed.head(film.id)
            for index in range(5):
                film.holders[index].kill()
            for work in (sealed.head(film.id), read(sealed, film.id, 21, 1)):  # what is known; what lives
                await work
            error = await failure(read(sealed, film.id, 0, 1))
            assert isinstance(error, NotFoundError)
            assert "have 7 of 8 chunks" in str(error)
            assert sealed.room.free == room.ROOM_BYTES
        async with reader(islands, "carol") as (_, other):
            error = await failure(other.head(film.id))
            assert isinstance(error, NotFoundError)
            assert "have 7 of 8 chunks" in str(error)


async def test_no_lie_is_passed_on(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        for lie in LIES:
            film = await published(islands, SIZE, lie.__name__)
            async with liar_instead(islands, lie, film.id, 2) as liar, reader(islands, lie.__name__) as (_, sealed):
                began = trio.current_time()
                assert (await sealed.head(film.id)).hashes == film.hashes, lie
                assert await read(sealed, film.id, 0, BLOCKS) == film.blocks, lie
                assert await read(sealed, film.id, 9, 2) == film.blocks[9:11], lie
                assert trio.current_time() - began < (30 if lie is drips else 10), lie
                assert liar.gets, lie


async def test_only_liars_are_left(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, AsyncExitStack() as stack:
        film = await published(islands, SIZE)
        for index in range(5):
            lie = wrong_bytes if index else wrong_hashes
            await stack.enter_async_context(liar_instead(islands, lie, film.id, index))
        _, sealed = await stack.enter_async_context(reader(islands))
        assert isinstance(await failure(sealed.head(film.id)), IntegrityFailure)


async def test_a_publisher_that_codes_wrongly(autojump_clock: MockClock, base: Path) -> None:
    """Its parity is none of its data: what is rebuilt of it is not given out for the segment's."""
    plaintext = Random(1).randbytes(4 * BLOCK_BYTES)
    right = seal_segment(plaintext, plaintext_key(bytes(32), plaintext), Shares(2, 3))
    hashes = [right.hashes[0], right.hashes[1], b"".join(digest("block", bytes(SEALED_BLOCK_BYTES)) for _ in range(2))]
    ids = tuple(chunk_id(index, column) for index, column in enumerate(hashes))
    descriptor = Descriptor(right.descriptor.layout, right.descriptor.commitment, ids)
    columns = [bytes(right.columns[0]), bytes(right.columns[1]), bytes(2 * SEALED_BLOCK_BYTES)]
    truths = [Truth(descriptor.encode(), hashes[index], columns[index]) for index in range(3)]
    with pytest.raises(Exception, match="chunk 2 is another"):
        code_segment(descriptor, memoryview(bytearray(columns[0] + columns[1])))
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        honest = [await stack.enter_async_context(holder(islands, Liar(_truly, truth))) for truth in truths]
        for index, who in enumerate(honest):
            await who.announce(descriptor.id, index)
        _, sealed = await stack.enter_async_context(reader(islands))
        assert await read(sealed, descriptor.id, 0, 4) == [
            columns[block // 2][block % 2 * SEALED_BLOCK_BYTES :][:SEALED_BLOCK_BYTES] for block in range(4)
        ]
        honest[0].behaviour = holds_nothing
        error = await failure(read(sealed, descriptor.id, 0, 1))
        assert isinstance(error, IntegrityFailure)
        assert "do not fit together" in str(error)
        _, other = await stack.enter_async_context(reader(islands, "carol"))
        assert "do not fit together" in str(await failure(other.head(descriptor.id)))


async def _truly(truth: Truth, wire: Wire, message: Get) -> bool:
    body = truth.part(message)
    await wire.send(GetReply(descriptor=truth.descriptor, hashes=truth.hashes), (memoryview(body),) if body else ())
    return False


async def test_memory_is_bounded_and_given_back(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        film = await published(islands, SEGMENT_BYTES)
        async with reader(islands) as (_, sealed):
            await _many_readers(islands, sealed, film)


async def _many_readers(islands: Archipelago, sealed: SealedSegments, film: Stored) -> None:
    reading, most = 0, 0
    leave = trio.Event()

    async def hold() -> None:
        nonlocal reading, most
        async with sealed.blocks(film.id, 0, 128):
            reading += 1
            most = max(most, reading)
            await leave.wait()
            reading -= 1

    await sealed.head(film.id)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(hold)
        goes_away = trio.CancelScope()

        async def hold_a_while() -> None:
            with goes_away:
                await hold()

        nursery.start_soon(hold_a_while)
        await trio.sleep(5)
        assert reading == 5
        began = trio.current_time()
        error = await failure(read(sealed, film.id, 0, 128))
        assert isinstance(error, NetworkError)
        assert trio.current_time() - began == pytest.approx(room.WAIT_SECONDS)
        nursery.start_soon(hold)  # waits its turn
        await trio.sleep(1)
        goes_away.cancel()
        reading -= 1
        await trio.sleep(5)
        assert reading == 5
        assert most == 5
        leave.set()
    assert sealed.room.free == room.ROOM_BYTES


async def test_whoever_wants_much_is_not_passed_over(autojump_clock: MockClock) -> None:
    bounded, order = Room(10, 0), []

    async def want(name: str, size: int) -> None:
        async with bounded.take(size):
            order.append(name)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, size in (("some", 6), ("all", 99), ("little", 1)):
            nursery.start_soon(want, name, size)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["some", "all", "little"]
    assert bounded.free == 10


async def test_one_client_has_a_quarter_at_most_and_all_leave_the_user_some(autojump_clock: MockClock) -> None:
    """And whoever waits for its own share keeps nobody else waiting."""
    bounded, having = Room(20, 4), []

    async def want(client: str, size: int) -> None:
        with suppress(NetworkError):  # for those who wait too long
            async with bounded.take(size, client):
                having.append(client)
                await trio.sleep(100)

    async with trio.open_nursery() as nursery:
        for client in ("greedy", "greedy", "greedy", "modest"):
            nursery.start_soon(want, client, 2 if client == "modest" else 3)
            await trio.testing.wait_all_tasks_blocked()
        assert having == ["greedy", "modest"]
        assert bounded.free == 15
        began = trio.current_time()
        with pytest.raises(NetworkError):
            async with bounded.take(4, "greedy"):
                pass
        assert trio.current_time() - began == pytest.approx(room.WAIT_SECONDS)
        for number in range(6):
            nursery.start_soon(want, f"one of many {number}", 5)
            await trio.testing.wait_all_tasks_blocked()
        assert bounded.free == 5
        began = trio.current_time()
        async with bounded.take(4):
            assert trio.current_time() == began
        nursery.cancel_scope.cancel()
    assert bounded.free == 20
    assert not bounded._shares
