"""Clocks that are an hour off, of users and of nodes: what works all the same, and what is said where it cannot."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import NotFoundError, RefusedError
from node.publishing.publish import Options
from node.store.expiring import EXPIRE_SECONDS
from tests.network.archipelago import Archipelago, archipelago, failure
from tests.network.swarm import wall_clock

HOUR = 3_600
DAY = 24 * HOUR
SIZE = 1_500_000


async def everything_works(islands: Archipelago, *, alice_error: float = 0.0, bob_error: float = 0.0) -> None:
    """All that a person does with a deposit, over a restart of the whole network."""
    source = islands.file("film", SIZE)
    async with islands.user("alice", clock_error=alice_error) as alice:
        published = await alice.publish(source, options=Options(lease_seconds=DAY))
        link = published.link
        assert published.placed == published.chunks
        again = await alice.publish(source, options=Options(lease_seconds=DAY))
        assert (again.link, again.sent_bytes) == (link, 0)
    async with islands.user("bob", clock_error=bob_error) as bob:
        await bob.fetch(link, islands.base / "copy")
        assert (islands.base / "copy").read_bytes() == source.read_bytes()
        assert (await bob.check(link)).healthy
    for node in islands.nodes:
        node.kill()
    await trio.sleep(1)
    for node in list(islands.nodes):
        await islands.restart(node)
    await trio.sleep(60)  # until they have found each other, and announced what they hold
    async with islands.user("alice", clock_error=alice_error) as alice:
        renewed = await alice.renew(link, 3 * DAY)
        assert renewed.silent == 0
        assert renewed.expiry == int(wall_clock() + alice_error) + 3 * DAY
    async with islands.user("bob", clock_error=bob_error) as bob:
        assert (await bob.check(link)).healthy
        await bob.fetch(link, islands.base / "later")
        assert (islands.base / "later").read_bytes() == source.read_bytes()
    async with islands.user("alice", clock_error=alice_error) as alice:
        assert (await alice.delete(link)).silent == 0
        assert not islands.holders()
        assert isinstance(await failure(alice.fetch(link, islands.base / "gone")), NotFoundError)


@pytest.mark.parametrize(("alice_error", "bob_error"), [(HOUR, -HOUR), (-HOUR, HOUR)])
async def test_users_whose_clocks_are_off(
    autojump_clock: MockClock, base: Path, alice_error: float, bob_error: float
) -> None:
    async with archipelago(base, 6) as islands:
        await everything_works(islands, alice_error=alice_error, bob_error=bob_error)


async def test_nodes_whose_clocks_are_off(autojump_clock: MockClock, base: Path) -> None:
    """Each in its own direction: none of them believes another's time."""
    async with archipelago(base, 0) as islands:
        for error in (0, HOUR, -HOUR, HOUR, -HOUR, 0):
            await islands.start(clock_error=error)
        await everything_works(islands)


async def test_a_lease_that_ends_before_it_begins(autojump_clock: MockClock, base: Path) -> None:
    """By the nodes' clocks it has ended half an hour ago. They say what time it is."""
    async with archipelago(base, 6) as islands, islands.user("alice", clock_error=-HOUR) as alice:
        source = islands.file("film", SIZE)
        refused = await failure(alice.publish(source, options=Options(lease_seconds=HOUR // 2)))
        assert isinstance(refused, RefusedError)
        assert "bad lease: the lease has ended: by the clock here it is 2023-11-14 22:1" in str(refused)
        assert not islands.holders()
        await alice.publish(source, options=Options(lease_seconds=2 * HOUR))


async def test_nodes_that_are_ahead_of_their_time(autojump_clock: MockClock, base: Path) -> None:
    """They take no lease that is over for them, and drop an hour early what ends: the others have what it needs."""
    async with archipelago(base, 0) as islands:
        for error in (HOUR, HOUR, 0, 0, 0, 0, 0, 0):
            await islands.start(clock_error=error)
        async with islands.user("alice") as alice:
            source = islands.file("film", SIZE)
            short = await alice.publish(source, options=Options(lease_seconds=HOUR // 2))
            assert short.placed == short.chunks
            assert not any(node.chunks() for node in islands.nodes if node.clock_error)
            options = Options(lease_seconds=HOUR + HOUR // 20, fresh=True)
            link = (await alice.publish(source, options=options)).link
            assert all(node.chunks() for node in islands.nodes)
            await trio.sleep(HOUR // 20 + 2 * EXPIRE_SECONDS)
            assert not any(node.chunks() for node in islands.nodes if node.clock_error)
            await alice.fetch(link, base / "copy")
            assert (base / "copy").read_bytes() == source.read_bytes()
            assert (await alice.check(link)).readable


async def test_a_reader_who_lives_days_ahead(autojump_clock: MockClock, base: Path) -> None:
    """What holders say of themselves holds for a day: it is over for this reader, who is told to look at the clock."""
    async with archipelago(base, 6) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", SIZE))).link
        async with islands.user("bob", clock_error=3 * DAY) as bob:
            lost = await failure(bob.fetch(link, base / "copy"))
        assert isinstance(lost, NotFoundError)
        assert lost.hint is not None
        assert "this machine's clock right" in lost.hint
