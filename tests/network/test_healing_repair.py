"""What is lost is rebuilt: when, by whom, how often, where, in which order (docs/spec/healing.md sections 2 to 4)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.intervals import Intervals
from node.publishing.publish import Options
from protocol.leases import Policy
from protocol.links import Link
from protocol.segment import Shares
from tests.network.archipelago import (
    COUNTRIES,
    Archipelago,
    Node,
    archipelago,
    failure,
)
from tests.network.healing import (
    DONE,
    KIB,
    LOOK_SECONDS,
    MIB,
    NOTE,
    NOTICED,
    QUICK,
    TIDY,
    add_lease,
    asker,
    at_first_bulk,
    bulk_bytes,
    by_rank,
    copies,
    distance,
    healed,
    holders_of,
    leases_of,
    missing,
    most_in_a_country,
    n_of,
    offer,
    only_segment,
    raid,
    remove,
    status,
    stays,
    tally,
    until,
)
from tests.node.builders import BOB

ANYWHERE = Policy()
HASTY = replace(QUICK, grace=QUICK.short_grace)


async def publish(
    islands: Archipelago,
    size: int,
    shares: Shares | None = None,
    policy: Policy = ANYWHERE,
    wait: float = 3 * QUICK.tick,
) -> Link:
    """A deposit whose content is one segment; returns the link. Its holders know each other when this returns."""
    async with islands.user("alice") as alice:
        published = await alice.publish(
            islands.file("film", size), options=Options(shares=shares or Shares(), policy=policy)
        )
    await trio.sleep(wait)
    assert not missing(islands)
    return published.link


async def test_countries_raided_one_after_another(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 16, intervals=HASTY) as islands:
        link = await publish(islands, MIB)
        for country in ("FR", "DE"):
            raid(islands, country)
            assert missing(islands) >= 3
            await healed(islands, NOTICED + HASTY.grace + 2 * DONE)
            assert max(most_in_a_country(islands, segment) for segment in islands.holders()) <= 4
            assert set(copies(islands).values()) == {1}
            for _ in range(4):
                await islands.start(country=country)
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy
            await bob.fetch(link, base / "copy")
        assert (base / "copy").read_bytes() == (base / "source/film").read_bytes()


REAL = Intervals()


@pytest.mark.parametrize(
    ("gone", "grace"), [(1, REAL.grace), (2, REAL.short_grace), (3, 0.0)], ids=["n-1", "n-2", "k+1"]
)
async def test_grace_and_that_one_repair_runs(autojump_clock: MockClock, base: Path, gone: int, grace: float) -> None:
    """With the real intervals: nothing is rebuilt before its time, everything then, and nothing twice."""
    async with archipelago(base, 6, intervals=REAL) as islands:
        await publish(islands, NOTE, wait=3 * REAL.tick)
        remove(islands, *holders_of(islands, only_segment(islands))[:gone])
        await stays(lambda: missing(islands), grace)
        await healed(islands, 2 * REAL.ping + 5 * REAL.tick)
        await trio.sleep(4 * REAL.rank)
        assert set(copies(islands).values()) == {1}
        done = await tally(islands)
        assert done["repairs_done"] == gone
        assert done["taken_over"] + done["repairs_failed"] + done["take_overs_refused"] <= gone


async def test_a_second_loss_does_not_set_everybody_off(autojump_clock: MockClock, base: Path) -> None:
    """It ends the grace of the first at once, for all holders alike; they go by rank all the same."""
    async with archipelago(base, 9, intervals=replace(QUICK, grace=1000)) as islands:
        await publish(islands, NOTE)
        first, second, *_ = holders_of(islands, only_segment(islands))
        remove(islands, first)
        await trio.sleep(QUICK.short_grace + 6 * QUICK.rank)
        assert missing(islands) == 1
        remove(islands, second)
        await until(lambda: missing(islands) == 1, NOTICED + 2 * DONE)
        await trio.sleep(4 * QUICK.rank)
        assert set(copies(islands).values()) == {1}
        done = await tally(islands)
        assert done["repairs_done"] == done["taken_over"] == 1
        assert done["take_overs_refused"] == done["repairs_failed"] == 0


async def test_one_country_from_loss_there_is_no_grace(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 0, intervals=QUICK) as islands:
        for country in ("DE", "DE", "DE", "DE", "FR"):
            await islands.start(country=country)
        await publish(islands, NOTE)
        for country in ("DE", "NZ"):
            await islands.start(country=country)
        raid(islands, "FR")
        assert missing(islands) == 1
        await healed(islands, NOTICED + DONE)
        assert {node.country for node in holders_of(islands, only_segment(islands))} == {"DE", "NZ"}


async def test_a_node_that_comes_back_in_time_costs_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6, intervals=QUICK) as islands:
        await publish(islands, NOTE)
        node = holders_of(islands, only_segment(islands))[2]
        before = copies(islands)
        node.kill()
        await trio.sleep(QUICK.grace * 0.9)
        await islands.restart(node)
        moved = await bulk_bytes(islands)
        await stays(lambda: copies(islands), QUICK.grace)
        assert copies(islands) == before
        assert await bulk_bytes(islands) == moved
        done = await tally(islands)
        assert done["repairs_done"] == done["repairs_failed"] == done["taken_over"] == 0
        assert done["missing_nodes"] == done["repairs_pending"] == 0


SLOW = 60_000
"""Bytes per second of a stream: one block takes two seconds."""
TRANSFER = 40.0
"""For two chunks of four blocks at that speed, after two others of them."""


def others_holding(islands: Archipelago, segment: str, but: Sequence[Node]) -> list[Node]:
    return [node for nodes in islands.holders()[segment].values() for node in nodes if node not in but]


def largest_segment(islands: Archipelago) -> str:
    return max(islands.holders(), key=lambda segment: n_of(islands, segment))


@pytest.mark.parametrize("fate", ["killed", "frozen", "mute"])
async def test_the_next_in_rank_takes_over(autojump_clock: MockClock, base: Path, fate: str) -> None:
    """From a leader that dies in the midst of its work, and from one that is there and gets nothing done."""
    async with archipelago(base, 8, intervals=QUICK) as islands:
        await publish(islands, MIB, Shares(2, 5))
        segment = largest_segment(islands)
        ranks = by_rank(holders_of(islands, segment), segment)
        remove(islands, *ranks[3:])
        leader, began = ranks[0], trio.current_time()
        for host in islands.net.hosts.values():
            host.bytes_per_second = SLOW
        begun: list[float] = []

        def strike() -> None:
            begun.append(trio.current_time())
            match fate:
                case "killed":
                    leader.kill()
                case "frozen":
                    leader.host.freeze()
                case "mute":
                    leader.host.mute()

        if fate == "mute":
            strike()
        else:
            at_first_bulk(islands, leader.host.ip, strike)
        await until(lambda: len(others_holding(islands, segment, ranks)) >= 2, NOTICED + QUICK.rank + TRANSFER + DONE)
        assert begun
        if fate == "mute":  # it is live all the time: nobody may go before their turn
            assert trio.current_time() >= began + QUICK.rank
        await until(lambda: len(others_holding(islands, segment, ranks[3:])) >= 5, 300)
        leader.kill()
        if fate != "mute":
            islands.nodes.remove(leader)
        await trio.sleep(4 * QUICK.rank)
        assert {index: len(nodes) for index, nodes in islands.holders()[segment].items()} == dict.fromkeys(range(5), 1)


# Policies and leases


async def test_an_avoided_country_gets_no_rebuilt_chunk(autojump_clock: MockClock, base: Path) -> None:
    """Nor does one that another deposit of the same depositor avoids; and the receiver gets the leases of both."""
    async with archipelago(base, 12, intervals=QUICK) as islands:
        await publish(islands, NOTE, policy=Policy(avoid=("FR",)))
        segment = only_segment(islands)
        async with islands.user("alice") as alice:
            other = await add_lease(islands, segment, alice.depositor.identity, Policy(avoid=("NZ",)))
        holders = holders_of(islands, segment)
        (before,) = {frozenset(await leases_of(islands, node, segment)) for node in holders}
        assert other in before and len(before) == 2
        remove(islands, *holders[:3])
        await healed(islands, NOTICED + 2 * DONE)
        new = holders_of(islands, segment)[:3]
        assert {node.country for node in new} == {"DE", "IS"}
        for node in new:
            assert await leases_of(islands, node, segment) == before


async def test_a_lease_that_avoids_everybody_prevents_no_repair(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8, intervals=QUICK) as islands:
        await publish(islands, NOTE, policy=Policy(avoid=("FR",)))
        segment = only_segment(islands)
        await add_lease(islands, segment, BOB, Policy(avoid=COUNTRIES))
        remove(islands, *holders_of(islands, segment)[:3])
        await healed(islands, NOTICED + 2 * DONE)
        assert "FR" not in {node.country for node in holders_of(islands, segment)}


@pytest.mark.parametrize("how", ["ended", "deleted"])
async def test_what_nobody_wants_any_more_is_not_repaired(autojump_clock: MockClock, base: Path, how: str) -> None:
    async with archipelago(base, 8, intervals=TIDY) as islands:
        async with islands.user("alice") as alice:
            options = Options(lease_seconds=int(QUICK.short_grace) if how == "ended" else 10**6)
            link = (await alice.publish(islands.file("film", NOTE), options=options)).link
            await trio.sleep(3 * QUICK.tick)
            holders = holders_of(islands, only_segment(islands))
            holders[0].kill()
            holders[1].kill()
            if how == "deleted":
                await failure(alice.delete(link))  # two have not heard of it
        await trio.sleep(NOTICED + QUICK.short_grace + 6 * QUICK.rank)
        done = await tally(islands, but=holders[:2])
        assert done["repairs_done"] == done["taken_over"] == 0
        assert done["repairs_pending"] == 0
        back = await islands.restart(holders[0])  # it was away when that happened
        await trio.sleep(4 * TIDY.survey)
        assert (await tally(islands, but=holders[1:2]))["repairs_done"] == 0
        if how == "deleted":
            assert not back.chunks()


# Storms


RATE = 4000.0
"""Bytes per second that repair may take of a line: a segment takes half a minute."""
STORM = replace(QUICK, grace=1, short_grace=1, rank=10_000, repair_rate=RATE)
"""All that is missing is lost at once; and only the first in rank repairs it, whatever that takes."""
PAGE = 40 * KIB
MOST_BYTES = 5 * PAGE + KIB
"""That one repair moves: one chunk read, four written."""


async def test_a_storm_stays_within_the_budget_and_the_worst_go_first(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 10, intervals=STORM) as islands:
        async with islands.user("alice") as alice:
            for number in range(18):
                await alice.publish(islands.file(f"page {number}", PAGE + number))
        await trio.sleep(8 * QUICK.tick)
        remove(islands, *islands.nodes[:4])
        began = trio.current_time()
        live = {segment: len(held) for segment, held in islands.holders().items() if len(held) < 5}
        leaders = {segment: by_rank(holders_of(islands, segment), segment)[0] for segment in live}
        order: dict[Node, list[int]] = {node: [] for node in islands.nodes}
        moved: dict[Node, list[tuple[float, int]]] = {node: [(0.0, 0)] for node in islands.nodes}
        while leaders:
            await trio.sleep(2 * LOOK_SECONDS)
            elapsed = trio.current_time() - began
            assert elapsed < 1000
            held = islands.holders()
            for segment in [segment for segment in leaders if len(held[segment]) == 5]:
                order[leaders.pop(segment)].append(live[segment])
            for node in islands.nodes:
                done = (await status(node))["healing"]
                moved[node].append((elapsed, done["repair_read_bytes"] + done["repair_written_bytes"]))
        for repaired in order.values():  # the first was begun when not all that is missing had been noticed
            assert repaired[1:] == sorted(repaired[1:])
        assert sum(len(set(repaired)) > 1 for repaired in order.values()) >= 3
        for history in moved.values():
            for (start, before), (end, after) in combinations(history, 2):
                assert after - before <= RATE * (end - start + 10) + MOST_BYTES
        assert max(history[-1][1] for history in moved.values()) > MOST_BYTES + RATE * 10


DAY = 300.0
"""What stands for it: five surveys, and time enough to repair everything."""


async def test_two_halves_and_what_comes_after(autojump_clock: MockClock, base: Path) -> None:
    """Each half takes the other for dead, and repairs what it can; when they meet again the copies go."""
    async with archipelago(base, 6, intervals=replace(TIDY, grace=60, short_grace=20, audit=240)) as islands:
        links = [await publish(islands, NOTE)]
        async with islands.user("alice") as alice:
            for number in range(1):
                options = Options(shares=Shares(2, 6))
                links.append((await alice.publish(islands.file(f"film {number}", MIB + number), options=options)).link)
        await trio.sleep(8 * QUICK.tick)
        before = set(copies(islands))
        half = {node.host.ip for node in islands.nodes[:5]}
        islands.net.partition = lambda one, other: (one in half) != (other in half)
        islands.net.changed()
        await trio.sleep(DAY)
        assert copies(islands).total() > len(before)
        moved = await bulk_bytes(islands)
        islands.net.partition = lambda one, other: False
        islands.net.changed()
        await until(lambda: copies(islands).total() == len(before), 15 * TIDY.survey)
        assert set(copies(islands)) == before
        after = await bulk_bytes(islands)
        assert after - moved < 2 * MIB  # what each chunk of it once more would be


async def test_a_strangers_lease_does_not_steer_repair_to_one_country(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, intervals=QUICK) as islands:
        await publish(islands, NOTE)
        segment = only_segment(islands)
        await add_lease(islands, segment, BOB, Policy(avoid=("DE", "FR", "IS")))
        remove(islands, *holders_of(islands, segment)[:3])
        await healed(islands, NOTICED + 2 * DONE)
        assert most_in_a_country(islands, segment) <= 2


async def test_a_strangers_lease_makes_nobody_hand_a_chunk_on(autojump_clock: MockClock, base: Path) -> None:
    """To the one country that it does not avoid, say."""
    async with archipelago(base, 8, intervals=TIDY) as islands:
        await publish(islands, NOTE)
        segment = only_segment(islands)
        await islands.start(country="AQ")
        await add_lease(islands, segment, BOB, Policy(avoid=("DE", "FR", "IS", "NZ")))
        before = copies(islands)
        await stays(lambda: copies(islands), 4 * TIDY.survey)
        assert copies(islands) == before


async def test_what_a_depositor_put_is_not_pushed_out(autojump_clock: MockClock, base: Path) -> None:
    """By nodes nearer to the segment that have copies of their own: whoever makes keys could have them vanish then."""
    async with archipelago(base, 12, intervals=TIDY) as islands:
        await publish(islands, NOTE)
        segment = only_segment(islands)
        holders = holders_of(islands, segment)
        rest = [node for node in islands.nodes if node not in holders]
        farthest = max(holders, key=lambda node: distance(node, segment))
        nearer = min(rest, key=lambda node: distance(node, segment))
        assert distance(nearer, segment) < distance(farthest, segment)
        chunk = next(iter(farthest.chunks()))
        put, body = offer(farthest, chunk)
        async with asker(islands, farthest.identity) as peers:  # its recorded holder: it may hand it on
            await peers.request(nearer.contact, put, body=(body,))
        await trio.sleep(8 * TIDY.survey)
        assert chunk in farthest.chunks()
        assert set(copies(islands).values()) == {1}, "the newcomer's goes"
