"""Nodes that are gone for good: a deposit survives what it says it survives, and says so rightly afterwards."""

from itertools import combinations
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import NotFoundError
from node.keeping.counted import Health
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.network.archipelago import Archipelago, Node, archipelago, failure

MIB = 1 << 20
"""A file of this size is one segment of 8 blocks, 8 of 12; its root is one block, 1 of 5."""


def holders_of(islands: Archipelago, chunks: int) -> list[Node]:
    """Holders of the segment with so many chunks, in order of index."""
    (found,) = (held for held in islands.holders().values() if len(held) == chunks)
    return [found[index][0] for index in range(chunks)]


def bystanders_last(nodes: list[Node], root: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node in root)


def survivors(islands: Archipelago, gone: tuple[Node, ...]) -> int:
    """Of the segment that is worst off: live chunks beyond the k it needs. Looks at the disks."""
    spare = []
    for held in islands.holders().values():
        n = len(held)
        k = n - 4 if n != 5 else 1
        spare.append(sum(any(node not in gone for node in nodes) for nodes in held.values()) - k)
    return min(spare)


@pytest.mark.parametrize("which", ["data", "parity", "root"])
async def test_any_four_of_twelve_may_go(autojump_clock: MockClock, base: Path, which: str) -> None:
    async with archipelago(base, 13) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        content, root = holders_of(islands, 12), holders_of(islands, 5)
        assert len(set(content)) == 12
        assert len(set(root)) == 5
        for node in {"data": content[:4], "parity": content[8:], "root": root[:4]}[which]:
            node.kill()
        began = trio.current_time()
        async with islands.user("bob") as bob:
            await bob.fetch(published.link, base / "copy")
        assert trio.current_time() - began < 3
        assert (base / "copy").read_bytes() == source.read_bytes()


async def test_one_too_many_is_told_by_country_and_reason(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13) as islands:
        async with islands.user("alice") as alice:
            published = await alice.publish(islands.file("film", MIB))
        content, root = holders_of(islands, 12), holders_of(islands, 5)
        gone = bystanders_last(content, root)[:5]
        assert survivors(islands, tuple(gone)) == -1
        for node in gone:
            node.kill()
        began = trio.current_time()
        async with islands.user("bob") as bob:
            with pytest.raises(NotFoundError) as raised:  # that one error, in no group
                await bob.fetch(published.link, base / "copy")
        assert trio.current_time() - began < 25
        error = raised.value
        assert "have 7 of 8 chunks" in str(error)
        for country in {node.country for node in gone}:
            count = sum(node.country == country for node in gone)
            assert f"{country}: {count} connection refused" in str(error)
        assert not (base / "copy").exists()


async def test_a_country_is_destroyed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 32) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
            before = await alice.check(published.link)
        assert before.healthy
        assert before.survives == published.survives
        assert before.survives.country == ("DE", "FR", "IS", "NZ")
        assert _by_country(before, 12) == {"DE": 3, "FR": 3, "IS": 3, "NZ": 3}
        for node in islands.nodes:
            if node.country == "FR":
                node.kill()
        async with islands.user("bob") as bob:
            await bob.fetch(published.link, base / "copy")
            after = await bob.check(published.link.verify_link())
        assert (base / "copy").read_bytes() == source.read_bytes()
        assert after.readable
        assert not after.healthy
        assert _by_country(after, 12) == {"DE": 3, "IS": 3, "NZ": 3}
        assert after.survives.nodes == 1
        assert after.survives.country == ()
        assert after.survives.not_country == ("DE", "IS", "NZ")


def _by_country(health: Health, n: int) -> dict[str, int]:
    (segment,) = (segment for segment in health.segments if segment.n == n)
    return segment.countries


@pytest.mark.parametrize("count", [1, 2, 3, 5])
async def test_fewer_nodes_than_chunks(autojump_clock: MockClock, base: Path, count: int) -> None:
    async with archipelago(base, count) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
            assert published.placed == published.chunks
            assert (await alice.check(published.link)).survives == published.survives
        for held in islands.holders().values():
            loads = [sum(node in nodes for nodes in held.values()) for node in islands.nodes]
            assert max(loads) - min(loads) <= 1
        lost = [size for size in range(count + 1) if _can_be_lost(islands, size)]
        assert published.survives.nodes == len(lost) - 1
        for node in islands.nodes[: published.survives.nodes]:
            node.kill()
        async with islands.user("bob") as bob:
            await bob.fetch(published.link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()


def _can_be_lost(islands: Archipelago, size: int) -> bool:
    return all(survivors(islands, gone) >= 0 for gone in combinations(islands.nodes, size))


async def test_a_link_to_nothing(autojump_clock: MockClock, base: Path) -> None:
    link = Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))
    async with archipelago(base, 4) as islands, islands.user("bob") as bob:
        began = trio.current_time()
        error = await failure(bob.fetch(link, base / "copy"))
        assert trio.current_time() - began < 3
        assert isinstance(error, NotFoundError)
        assert "nobody in this network has announced it" in str(error)
