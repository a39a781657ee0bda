"""Anything may go wrong at once: what is asked for is done rightly or fails in words, and soon."""

from collections.abc import Awaitable
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.errors import NodeError
from protocol.segment import BLOCK_BYTES
from tests.network.archipelago import Archipelago, archipelago, failure

BOUND = 60.0


def disturb(islands: Archipelago, random: Random, slow: set[str]) -> None:
    """A new state for a few nodes and for the lines between all."""
    islands.net.loss = random.choice((0.0, 0.02, 0.1))
    islands.net.damage = random.choice((0.0, 0.0, 0.0005))
    islands.net.double = random.choice((0.0, 0.05))
    islands.net.jitter = random.choice((0.0, 0.1))
    for node in random.sample(islands.nodes, 4):
        match random.choice(("dead", "frozen", "crawling", "slow", "late")):
            case "dead":
                node.kill()
            case "frozen":
                node.host.freeze()
            case "crawling":
                node.host.bytes_per_second = 3000
            case "slow":
                node.host.bytes_per_second = 100_000
            case "late":
                slow.add(node.host.ip)


async def disturb_again_and_again(islands: Archipelago, random: Random, slow: set[str]) -> None:
    while True:
        await trio.sleep(random.random())
        for node in random.sample(islands.nodes, 2):
            node.host.freeze(random.random() < 0.5)


async def within_bound(work: Awaitable[object]) -> NodeError | None:
    """None when it was done, else the error it ended with."""
    began = trio.current_time()
    found: list[NodeError] = []
    done = False

    async def tried() -> None:
        nonlocal done
        await work
        done = True

    try:
        found.append(await failure(tried()))
    except AssertionError:
        assert done
    assert trio.current_time() - began < BOUND
    return found[0] if found else None


@pytest.mark.parametrize("seed", range(10))
async def test_whole_or_a_typed_error(autojump_clock: MockClock, base: Path, seed: int) -> None:
    random = Random(f"chaos {seed}")
    slow: set[str] = set()

    def delay(one: str, other: str) -> float:
        return 0.6 if slow.intersection((one, other)) else 0.005

    async with archipelago(base, 12, seed=seed, delay=delay) as islands, trio.open_nursery() as nursery:
        calm, wild = islands.file("calm", 8 * BLOCK_BYTES), islands.file("wild", 9 * BLOCK_BYTES)
        async with islands.user("alice") as alice:
            link = (await alice.publish(calm)).link
        disturb(islands, random, slow)
        if seed % 2:
            nursery.start_soon(disturb_again_and_again, islands, random, slow)
        async with islands.user("bob") as bob:
            if await within_bound(bob.publish(wild)) is None:
                await within_bound(bob.publish(wild))
            if await within_bound(bob.fetch(link, base / "copy")) is None:
                assert (base / "copy").read_bytes() == calm.read_bytes()
            else:
                assert not (base / "copy").exists()
        nursery.cancel_scope.cancel()
