"""Three of twelve nodes freeze in the midst of a command: exactly what it costs, in virtual time.

A freeze is noticed by silence, whose length has nothing to do with the machine's speed or the size of the work: so
what holds here holds for real processes too (tests/e2e/test_frozen.py, ``scripts/crashes``).
"""

from pathlib import Path

import pytest
from trio.testing import MockClock

from node.progress import Progress
from tests.network.archipelago import Archipelago, Node, archipelago
from tests.network.test_stalls import MIB, Once, timed

SIZE = 24 * MIB
BANDWIDTH = 20_000_000
"""Bytes per second of every stream."""
COST = 2.0
"""So many seconds longer than undisturbed at most."""
CHECK_COST = 5.0
"""Likewise: silence is taken for death only after it has been met twice."""


def throttle(islands: Archipelago) -> None:
    for host in islands.net.hosts.values():
        host.bytes_per_second = BANDWIDTH


class Freeze(Once):
    """Freezes three nodes, drawn by the archipelago's seed, when a share of some bytes has moved."""

    def __init__(self, islands: Archipelago, size: int) -> None:
        self.nodes: list[Node] = islands.random.sample(islands.nodes, 3)
        super().__init__(self.now, int(size * islands.random.uniform(0.05, 0.9)))

    def now(self) -> None:
        for node in self.nodes:
            node.host.freeze()


@pytest.mark.parametrize("seed", range(2))
async def test_a_publish(autojump_clock: MockClock, base: Path, seed: int) -> None:
    async with archipelago(base, 12, seed=seed) as islands:
        calm, film = islands.file("calm", SIZE), islands.file("film", SIZE)
        throttle(islands)
        async with islands.user("alice") as alice:
            alice.host.bytes_per_second = BANDWIDTH
            undisturbed = await timed(alice.publish(calm))
        freeze = Freeze(islands, SIZE * 3 // 2)
        async with islands.user("bob") as bob:
            bob.host.bytes_per_second = BANDWIDTH
            took = await timed(bob.publish(film, progress=Progress(changed=freeze)))
        assert freeze.done
        assert took < undisturbed + COST


@pytest.mark.parametrize("seed", range(2))
async def test_a_fetch_and_a_check(autojump_clock: MockClock, base: Path, seed: int) -> None:
    async with archipelago(base, 12, seed=seed) as islands:
        film = islands.file("film", SIZE)
        async with islands.user("alice") as alice:
            link = (await alice.publish(film)).link
        throttle(islands)
        async with islands.user("bob") as bob:
            undisturbed = await timed(bob.fetch(link, base / "calm"))
            check_undisturbed = await timed(bob.check(link))
        freeze = Freeze(islands, SIZE)
        async with islands.user("carol") as carol:
            took = await timed(carol.fetch(link, base / "copy", progress=Progress(changed=freeze)))
        assert freeze.done
        assert (base / "copy").read_bytes() == film.read_bytes()
        assert took < undisturbed + COST
        async with islands.user("dave") as dave:
            took = await timed(dave.check(link))
        assert took < check_undisturbed + CHECK_COST
