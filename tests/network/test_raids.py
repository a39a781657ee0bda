"""Countries raided: every node in them gone at once, disks and all."""

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import trio
from trio.testing import MockClock

from node.errors import NotFoundError
from node.keeping.counted import Health
from protocol.segment import BLOCK_BYTES
from tests.network.archipelago import Archipelago, archipelago, failure
from tests.network.healing import DONE, MIB, NOTICED, QUICK, descriptor, healed

BLOCKS = (8, 5, 4)
"""Of a file each: 8 of 12, three in each of four countries; 5 of 9 and 4 of 8, two in each but for one more."""


def raid(islands: Archipelago, countries: Collection[str]) -> None:
    """Nobody there says a word any more, or ever will."""
    for node in [node for node in islands.nodes if node.country in countries]:
        node.kill()
        islands.nodes.remove(node)
        shutil.rmtree(node.data / "chunks")


def shapes(islands: Archipelago) -> dict[str, tuple[int, int]]:
    """Segment -> (k, chunks on the disks)."""
    return {segment: (descriptor(islands, segment).layout.k, len(held)) for segment, held in islands.holders().items()}


async def test_two_countries_at_once_take_what_theory_says_and_no_more(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, intervals=QUICK) as islands:
        sources = [islands.file(f"{blocks} blocks", blocks * BLOCK_BYTES) for blocks in BLOCKS]
        async with islands.user("alice") as alice:
            links = [(await alice.publish(source)).link for source in sources]
        await trio.sleep(DONE)
        raid(islands, ("FR", "NZ"))
        left = shapes(islands)
        lost = {segment for segment, (k, chunks) in left.items() if chunks < k}
        assert len(left) == 2 * len(BLOCKS), "each file and its root"
        assert 0 < len(lost) < len(BLOCKS)
        async with islands.user("bob") as bob:
            for health in [await bob.check(link) for link in links]:
                assert standing(health) == {found: left[found] for found in standing(health)}
                assert unreadable(health) == lost & standing(health).keys()
                assert health.readable == (not unreadable(health))
        await trio.sleep(NOTICED + QUICK.short_grace + 2 * DONE)
        async with islands.user("carol") as carol:
            for source, link in zip(sources, links, strict=True):
                health = await carol.check(link)
                assert unreadable(health) == lost & standing(health).keys()
                for segment in health.segments:
                    expected = left[segment.id.hex()][1] if segment.id.hex() in lost else segment.n
                    assert segment.live == expected, "healed, or as it was: nothing is made up"
                if unreadable(health):
                    error = await failure(carol.fetch(link, base / "nothing"))
                    assert isinstance(error, NotFoundError)
                    assert not (base / "nothing").exists()
                else:
                    await carol.fetch(link, base / source.name)
                    assert (base / source.name).read_bytes() == source.read_bytes()


SLOW = replace(QUICK, grace=1, short_grace=1, rank=10_000, repair_rate=50_000)
"""What is missing is lost at once, one node alone repairs it, and that takes it half a minute each."""


async def test_a_check_tells_what_is_being_rebuilt(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, intervals=SLOW) as islands:
        files = [islands.file(f"island {number}", MIB + number) for number in range(8)]
        async with islands.user("alice") as alice:
            link = (await alice.publish(*files)).link
        await trio.sleep(8 * QUICK.tick)
        raid(islands, ("FR",))
        async with islands.user("bob") as bob:
            before = await bob.check(link)
            assert all(found.live < found.n and found.noticed == 0 for found in before.segments), "nobody knows yet"
            await trio.sleep(NOTICED + QUICK.tick)
            meanwhile = await bob.check(link)
            assert any(found.noticed for found in meanwhile.segments)
            assert all(found.noticed in (0, found.n - found.live) for found in meanwhile.segments)
            await healed(islands, 1000)
            after = await bob.check(link)
            assert after.healthy
            assert not any(found.noticed for found in after.segments)


def standing(health: Health) -> dict[str, tuple[int, int]]:
    """Segment -> (k, live chunks), as ``check`` says."""
    return {found.id.hex(): (found.k, found.live) for found in health.segments}


def unreadable(health: Health) -> set[str]:
    return {found.id.hex() for found in health.segments if not found.readable}
