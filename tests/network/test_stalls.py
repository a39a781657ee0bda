"""Nodes that stand still, crawl or refuse: nobody waits for them long, and every wait ends."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import NetworkError, NodeError, NotFoundError, RefusedError
from node.progress import Progress
from node.publishing.publish import Options
from protocol.segment import Shares
from tests.network.archipelago import Archipelago, Node, archipelago, failure

MIB = 1 << 20
BANDWIDTH = 1_000_000
"""Bytes per second of every stream: a chunk of a block takes 0.13 s."""
CLOSE = 3.0
"""So much longer than undisturbed a publish or fetch may take when n-k nodes stand still."""
BOUND = 25.0
"""Virtual seconds after which a publish or fetch that cannot succeed has ended."""


async def timed(work: Awaitable[object]) -> float:
    """Virtual seconds that ``work`` takes."""
    began = trio.current_time()
    await work
    return trio.current_time() - began


def throttle(islands: Archipelago) -> None:
    for host in islands.net.hosts.values():
        host.bytes_per_second = BANDWIDTH


def content_holders(islands: Archipelago) -> list[Node]:
    (found,) = (held for held in islands.holders().values() if len(held) == 12)
    return [found[index][0] for index in range(12)]


class Once:
    """Does something at the first step of a progress that moved more than ``after`` bytes."""

    def __init__(self, act: Callable[[], object], after: int = 0) -> None:
        self._act = act
        self._after = after
        self.done = False

    def __call__(self, progress: Progress) -> None:
        if progress.moved > self._after and not self.done:
            self.done = True
            self._act()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_holders_freeze_during_a_fetch(autojump_clock: MockClock, base: Path, when: str) -> None:
    async with archipelago(base, 13) as islands:
        source = islands.file("film", 4 * MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        throttle(islands)
        async with islands.user("bob") as bob:
            calm = await timed(bob.fetch(published.link, base / "calm"))
        frozen = content_holders(islands)[:4]

        def freeze() -> None:
            for node in frozen:
                node.host.freeze()

        freeze_once = Once(freeze)
        if when == "before":
            freeze()
        async with islands.user("carol") as carol:
            progress = Progress(changed=freeze_once)
            assert await timed(carol.fetch(published.link, base / "copy", progress=progress)) < calm + CLOSE
        assert freeze_once.done
        assert (base / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_nodes_freeze_during_a_publish(autojump_clock: MockClock, base: Path, when: str) -> None:
    async with archipelago(base, 16) as islands:
        first, second = islands.file("calm", 4 * MIB), islands.file("film", 4 * MIB)
        throttle(islands)
        async with islands.user("alice") as alice:
            alice.host.bytes_per_second = BANDWIDTH
            calm = await timed(alice.publish(first))
        frozen = islands.random.sample(islands.nodes, 4)

        def freeze() -> None:
            for node in frozen:
                node.host.freeze()

        freeze_once = Once(freeze)
        if when == "before":
            freeze()
        async with islands.user("bob") as bob:
            bob.host.bytes_per_second = BANDWIDTH
            progress = Progress(changed=freeze_once)
            began = trio.current_time()
            published = await bob.publish(second, progress=progress)
            assert trio.current_time() - began < calm + CLOSE
        assert freeze_once.done
        assert published.placed == published.chunks
        async with islands.user("carol") as carol:
            await carol.fetch(published.link, base / "copy")
        assert (base / "copy").read_bytes() == second.read_bytes()


@pytest.mark.parametrize("after", [0, 1000])
async def test_everyone_freezes_during_a_fetch(autojump_clock: MockClock, base: Path, after: int) -> None:
    """Once the table of contents is there, or in the middle of the content."""
    async with archipelago(base, 13) as islands:
        async with islands.user("alice") as alice:
            published = await alice.publish(islands.file("film", 4 * MIB))
        throttle(islands)

        def freeze() -> None:
            for node in islands.nodes:
                node.host.freeze()

        async with islands.user("bob") as bob:
            progress = Progress(changed=Once(freeze, after))
            began = trio.current_time()
            error = await failure(bob.fetch(published.link, base / "copy", progress=progress))
            assert trio.current_time() - began < BOUND
        assert isinstance(error, NotFoundError if after else NetworkError)
        assert ("of 8 chunks" if after else "no node answers any more") in str(error)
        assert not (base / "copy").exists()


@pytest.mark.parametrize("how", ["frozen", "cut off"])
async def test_everyone_is_gone_during_a_publish(autojump_clock: MockClock, base: Path, how: str) -> None:
    async with archipelago(base, 13) as islands, islands.user("alice") as alice:

        def vanish() -> None:
            if how == "cut off":
                alice.host.cut()
            else:
                for node in islands.nodes:
                    node.host.freeze()

        throttle(islands)
        began = trio.current_time()
        error = await failure(alice.publish(islands.file("film", 4 * MIB), progress=Progress(changed=Once(vanish))))
        assert trio.current_time() - began < BOUND
        assert isinstance(error, NetworkError)


async def test_nobody_is_there_from_the_start(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands:
        async with islands.user("alice") as alice:
            published = await alice.publish(islands.file("film", MIB))
        async with islands.user("bob") as bob:
            for node in islands.nodes:
                node.host.freeze()
            began = trio.current_time()
            error: NodeError = await failure(bob.publish(islands.file("other", MIB)))
            assert trio.current_time() - began < BOUND
            assert isinstance(error, NetworkError)
            began = trio.current_time()
            error = await failure(bob.fetch(published.link, base / "copy"))
            assert trio.current_time() - began < BOUND
            assert isinstance(error, NetworkError)
        began = trio.current_time()
        error = await failure(_open(islands))
        assert trio.current_time() - began < 10  # all are tried at once
        assert isinstance(error, NetworkError)


async def _open(islands: Archipelago) -> None:
    async with islands.user("carol"):
        raise AssertionError("nobody answered, and yet there is a client")


async def test_half_of_the_network_is_cut_off_during_a_publish(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 20) as islands, islands.user("alice") as alice:
        far = {node.host.ip for node in islands.nodes[::2]}

        def part() -> None:
            islands.net.partition = lambda one, other: (one in far) is not (other in far)
            islands.net.changed()

        throttle(islands)
        source = islands.file("film", 4 * MIB)
        began = trio.current_time()
        published = await alice.publish(source, progress=Progress(changed=Once(part)))
        assert trio.current_time() - began < BOUND
        await alice.fetch(published.link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()


async def test_slow_holders_are_not_waited_for(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13) as islands:
        source = islands.file("film", 4 * MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        for node in islands.nodes:
            node.host.bytes_per_second = BANDWIDTH
        for node in content_holders(islands)[:4]:
            node.host.bytes_per_second = 2000  # a chunk takes four minutes
        async with islands.user("bob") as bob:
            assert await timed(bob.fetch(published.link, base / "copy")) < 6
        assert (base / "copy").read_bytes() == source.read_bytes()


async def test_a_steady_but_slow_holder_is_outdone(autojump_clock: MockClock, base: Path) -> None:
    """Never silent for a second, but many times slower than its fellows."""
    async with archipelago(base, 13) as islands:
        source = islands.file("film", 4 * MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        for node in islands.nodes:
            node.host.bytes_per_second = BANDWIDTH
        content_holders(islands)[2].host.bytes_per_second = 150_000  # a piece every 0.44 s, a chunk in 3.5 s
        async with islands.user("bob") as bob:
            assert await timed(bob.fetch(published.link, base / "copy")) < 3
        assert (base / "copy").read_bytes() == source.read_bytes()


async def test_slow_nodes_get_nothing(autojump_clock: MockClock, base: Path) -> None:
    far: set[str] = set()

    def delay(one: str, other: str) -> float:
        return 2.0 if far.intersection((one, other)) else 0.005

    async with archipelago(base, 14, delay=delay) as islands:
        far.update(node.host.ip for node in islands.nodes[:4])
        async with islands.user("alice") as alice:
            assert await timed(alice.publish(islands.file("film", MIB))) < 10
        assert not any(node.chunks() for node in islands.nodes[:4])


async def test_a_slow_line_is_no_stall(autojump_clock: MockClock, base: Path) -> None:
    """Everybody crawls alike: nothing is given up, and nothing is moved twice."""
    async with archipelago(base, 12) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        for node in islands.nodes:
            node.host.bytes_per_second = 10_000  # a block takes 13 s
        async with islands.user("bob") as bob:
            fetched = await bob.fetch(published.link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()
        assert fetched.content_bytes <= 12 * 131_088


async def test_full_nodes_are_passed_over(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        full = [await islands.start(quota=100_000) for _ in range(4)]
        async with islands.user("alice") as alice:
            published = await alice.publish(islands.file("film", MIB))
        assert published.placed == published.chunks
        assert not set(content_holders(islands)).intersection(full)


async def test_all_nodes_are_full(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 0) as islands:
        for _ in range(4):
            await islands.start(quota=100_000)
        async with islands.user("alice") as alice:
            began = trio.current_time()
            error = await failure(alice.publish(islands.file("film", MIB), options=Options(shares=Shares(2, 3))))
            assert trio.current_time() - began < BOUND
        assert isinstance(error, RefusedError)
