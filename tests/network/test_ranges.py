"""A part of a file costs the blocks it lies in, and no more."""

from pathlib import Path

from trio.testing import MockClock

from protocol.ids import Address
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES
from tests.network.archipelago import archipelago

BLOCKS = 32
"""Of the file: 8 columns of 4."""


def by_blocks(first: int, last: int) -> tuple[int, int]:
    """A few bytes from the end of block ``first`` to the beginning of block ``last``."""
    return first * BLOCK_BYTES + BLOCK_BYTES - 10, last * BLOCK_BYTES + 10


RANGES = (
    # first byte, end, blocks moved, holders they come from
    (5, 6, 1, 1),
    (1000, 2000, 1, 1),
    (*by_blocks(1, 2), 2, 1),
    (BLOCK_BYTES, 3 * BLOCK_BYTES, 2, 1),
    (0, 4 * BLOCK_BYTES, 4, 1),
    (31 * BLOCK_BYTES + 7, 32 * BLOCK_BYTES, 1, 1),
    (*by_blocks(3, 4), 2, 2),  # at the end of a column and at the beginning of the next
    (*by_blocks(1, 5), 8, 2),  # in two columns, of which the same rows are asked
    (0, 32 * BLOCK_BYTES, 32, 8),
)


async def test_a_range_moves_its_blocks(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        source = islands.file("film", BLOCKS * BLOCK_BYTES)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        content = next(held for held in islands.holders().values() if len(held) == 12)
        ips = {nodes[0].host.ip for nodes in content.values()}
        for start, stop, blocks, holders in RANGES:
            part = base / f"{start}-{stop}"
            async with islands.user("bob") as bob:
                fetched = await bob.fetch(link, part, span=(start, stop))
            assert part.read_bytes() == source.read_bytes()[start:stop]
            assert fetched.content_bytes == blocks * SEALED_BLOCK_BYTES, part
            on_the_wire = {ip for ip, count in bob.meter.received.items() if count > SEALED_BLOCK_BYTES}
            assert len(on_the_wire) == holders, part
            assert on_the_wire <= ips
            total = sum(bob.meter.received.values())
            overhead = 40_000  # handshakes, descriptors and hashes, the root
            assert blocks * SEALED_BLOCK_BYTES < total < blocks * SEALED_BLOCK_BYTES * 1.01 + overhead, part


async def test_a_range_over_segments_and_one_with_dead_holders(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        source = islands.file("film", SEGMENT_BYTES + BLOCK_BYTES)
        content = source.read_bytes()
        start, stop = SEGMENT_BYTES - 5, SEGMENT_BYTES + 5
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        async with islands.user("bob") as bob:
            fetched = await bob.fetch(link, base / "joint", span=(start, stop))
        assert (base / "joint").read_bytes() == content[start:stop]
        assert fetched.content_bytes == 2 * SEALED_BLOCK_BYTES
        held = next(held for held in islands.holders().values() if len(held) == 12)
        held[0][0].kill()
        async with islands.user("carol") as carol:
            fetched = await carol.fetch(link, base / "rebuilt", span=(1000, 2000))
        assert (base / "rebuilt").read_bytes() == content[1000:2000]
        assert fetched.content_bytes == 8 * SEALED_BLOCK_BYTES  # one block of any eight others


async def test_one_file_of_many(autojump_clock: MockClock, base: Path) -> None:
    """Small files are packed; one of them costs its blocks of the pack."""
    async with archipelago(base, 12) as islands:
        folder = islands.file("letters/00", 50_000).parent
        for number in range(1, 20):
            islands.file(f"letters/{number:02}", 50_000)
        async with islands.user("alice") as alice:
            published = await alice.publish(folder)
        assert published.segments == 2
        async with islands.user("bob") as bob:
            fetched = await bob.fetch(published.link, base / "one", path=b"letters/12")
        assert (base / "one").read_bytes() == (folder / "12").read_bytes()
        assert fetched.content_bytes == SEALED_BLOCK_BYTES


async def test_a_fetch_asks_the_dht_no_further_than_it_must(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 24) as islands:
        source = islands.file("film", 2 * SEGMENT_BYTES)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        async with islands.user("bob") as bob:
            asked: list[Address] = []

            def count(data: bytes, sender: Address, to: Address) -> None:
                if sender.host == bob.host.ip:
                    asked.append(to)

            islands.net.on_datagram = count
            await bob.fetch(link, base / "copy")
    assert (base / "copy").read_bytes() == source.read_bytes()
    assert len(asked) < 3 * 20  # for the root and two segments; to the end it would be some 60 each
