"""`archipel node leave`: what is handed on, what is not, and that nothing is lost (docs/spec/healing.md section 5)."""

import logging
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.control import ask
from node.intervals import Intervals
from node.publishing.publish import Options
from protocol.leases import Policy
from protocol.segment import Shares
from tests.network.archipelago import QUOTA, Node, archipelago, failure
from tests.network.healing import (
    DONE,
    KIB,
    MIB,
    NOTE,
    NOTICED,
    QUICK,
    at_first_bulk,
    copies,
    holders_of,
    missing,
    only_segment,
    remove,
    status,
    until,
)
from tests.network.test_healing_handover import publish


@dataclass
class Leaving:
    """A node told to leave, as its operator does."""

    reports: list[dict[str, Any]]

    @property
    def last(self) -> dict[str, Any]:
        return self.reports[-1]


async def leave(node: Node) -> Leaving:
    found = Leaving([])
    async with aclosing(ask(node.data, {"do": "leave"})) as replies:
        async for reply in replies:
            found.reports.append(reply)
    return found


def has_stopped(node: Node) -> bool:
    return not node.host.listeners and not node.host.datagram_sockets


async def test_leaving(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 9, intervals=QUICK) as islands:
        segment = await publish(islands, NOTE, Options(policy=Policy(avoid=("FR",))))
        await publish(islands, 40 * NOTE, Options(shares=Shares(2, 4)))
        node = holders_of(islands, segment)[0]
        mine = node.chunks()
        told = await leave(node)
        await until(lambda: has_stopped(node), 10)
        assert told.last["total"] == told.last["moved"] == len(mine)
        assert told.last["left"] == told.last["failed"] == 0
        assert told.last["bytes"] > 0
        assert not node.chunks()
        assert not missing(islands)
        assert "FR" not in {holder.country for holder in holders_of(islands, segment)}
        assert set(copies(islands).values()) == {1}
        assert all(Counter(c[0] for c in other.chunks())[segment] <= 1 for other in islands.nodes)


async def test_leaving_is_taken_up_after_a_kill(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 7, intervals=QUICK) as islands:
        await publish(islands, MIB, Options(shares=Shares(2, 4)))
        node = max(islands.nodes, key=lambda node: len(node.chunks()))
        for number in range(3):
            await publish(islands, MIB + number + 1, Options(shares=Shares(2, 4)))
        mine = node.chunks()
        assert len(mine) > 3
        node.host.bytes_per_second = 100_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failure, leave(node))
            await until(lambda: len(node.chunks()) < len(mine), 60)
            node.kill()
        await until(lambda: has_stopped(node), 10)
        await trio.sleep(10)
        left = node.chunks()
        assert left
        assert not missing(islands)
        again = await islands.restart(node)
        told = await leave(again)
        assert told.last["total"] == told.last["moved"] == len(left)
        await until(lambda: has_stopped(again), 10)
        assert not again.chunks()
        assert not missing(islands)


async def test_leaving_with_a_chunk_that_another_holds_too(autojump_clock: MockClock, base: Path) -> None:
    """Nobody would take it; and nobody need."""
    async with archipelago(base, 8, intervals=QUICK) as islands:
        segment = await publish(islands, NOTE)
        away = holders_of(islands, segment)[0]
        away.kill()
        await trio.sleep(NOTICED + QUICK.grace + DONE)
        assert len(islands.holders()[segment][0]) == 2
        back = await islands.restart(away)
        await trio.sleep(5 * QUICK.tick)
        told = await leave(back)
        assert told.last["moved"] == told.last["total"] == 1
        assert not back.chunks()
        assert not missing(islands)
        for node in set(islands.nodes) - {back}:
            assert (await status(node))["traffic"]["served"]["put"]["requests"] <= 1


async def test_leaving_when_there_is_nowhere_to_go(
    autojump_clock: MockClock, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with archipelago(base, 0, intervals=QUICK) as islands:
        for country in ("DE", "DE", "FR", "FR"):
            await islands.start(country=country, quota=QUOTA if country == "DE" else 0)
        await publish(islands, NOTE, Options(policy=Policy(avoid=("FR",))))
        one, other = islands.nodes[:2]
        mine = one.chunks()
        remove(islands, other)
        caplog.clear()
        told = await leave(one)
        assert told.last["moved"] == told.last["gone"] == 0
        assert told.last["failed"] == told.last["left"] == told.last["total"] == len(mine)
        assert told.last["why"] == {"avoided country": len(mine)}
        assert one.chunks() == mine
        (warned,) = (record.message for record in caplog.records if record.levelno >= logging.WARNING)
        assert warned.endswith(f"avoided country {len(mine)}")

        await trio.sleep(60)
        assert not has_stopped(one)
        assert (await status(one))["storing"], "it takes chunks again"
        await islands.start(country="DE")
        told = await leave(one)
        assert (told.last["moved"], told.last["left"], told.last["why"]) == (len(mine), 0, {})
        await until(lambda: has_stopped(one), 10)
        assert not one.chunks()


async def test_leaving_where_there_is_no_room(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 3, intervals=QUICK) as islands:
        await publish(islands, NOTE, Options(shares=Shares(1, 2)))
        holder = max(islands.nodes, key=lambda node: len(node.chunks()))
        remove(islands, *(node for node in islands.nodes if node is not holder))
        assert (await leave(holder)).last["why"] == {"no other node": len(holder.chunks())}
        await islands.start(quota=0)
        assert (await leave(holder)).last["why"] == {"too little space": len(holder.chunks())}


async def test_leaving_right_after_a_put(autojump_clock: MockClock, base: Path) -> None:
    """With the real intervals: what came within the last tick is handed on as well, and is not taken for here after."""
    async with archipelago(base, 7, intervals=Intervals()) as islands:
        async with islands.user("alice") as alice:
            await alice.publish(islands.file("film", NOTE))
            node = holders_of(islands, only_segment(islands))[0]
            told = await leave(node)
        assert (told.last["moved"], told.last["left"]) == (1, 0)
        await until(lambda: has_stopped(node), 10)
        assert not node.chunks()
        assert not missing(islands)


async def test_leaving_during_a_put(autojump_clock: MockClock, base: Path) -> None:
    """What was let in before comes to its end and is handed on; nothing is let in after."""
    async with archipelago(base, 7, intervals=QUICK) as islands, islands.user("alice") as alice:
        alice.host.bytes_per_second = 40_000
        node = islands.nodes[3]
        begun = trio.Event()
        at_first_bulk(islands, node.host.ip, begun.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(alice.publish, islands.file("film", MIB)))
            await begun.wait()
            await trio.sleep(1)
            assert not node.chunks()
            told = await leave(node)
        assert told.last["total"] == told.last["moved"] > 0
        assert told.last["left"] == 0
        await until(lambda: has_stopped(node), 10)
        assert not node.chunks()
        assert not missing(islands)


async def test_leaving_while_chunks_are_deleted(autojump_clock: MockClock, base: Path) -> None:
    """What goes otherwise is neither moved nor left."""
    async with archipelago(base, 7, intervals=QUICK) as islands, islands.user("alice") as alice:
        links = [(await alice.publish(islands.file(f"film {size}", size))).link for size in (MIB, MIB + 1)]
        await trio.sleep(3 * QUICK.tick)
        node = islands.nodes[3]
        mine = node.chunks()
        assert len(mine) > 3
        node.host.bytes_per_second = 20_000
        told = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                told.append((await leave(node)).last)

            nursery.start_soon(watch)
            await until(lambda: len(node.chunks()) < len(mine), 60)
            for link in links:
                await alice.delete(link)
        (last,) = told
        assert last["gone"] > 0
        assert last["moved"] > 0
        assert last["moved"] + last["gone"] == last["total"] == len(mine)
        assert last["left"] == 0
        await until(lambda: has_stopped(node), 10)


async def test_a_slow_line_hands_on_as_well(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4, intervals=QUICK) as islands:
        segment = await publish(islands, 2 * MIB, Options(shares=Shares(1, 2)))
        node = holders_of(islands, segment)[0]
        node.host.bytes_per_second = 20_000
        began = trio.current_time()
        told = await leave(node)
        assert (told.last["moved"], told.last["left"]) == (told.last["total"], 0)
        assert told.last["bytes"] / node.host.bytes_per_second > 90
        assert trio.current_time() - began > 90
        assert not missing(islands)


async def test_who_takes_no_more_of_a_chunk_is_left_for_another(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5, intervals=QUICK) as islands:
        segment = await publish(islands, 2 * MIB, Options(shares=Shares(1, 2)))
        node = holders_of(islands, segment)[0]
        frozen: list[str] = []

        def see(data: bytes, _: str, to: str) -> None:
            if not frozen and len(data) > 32 * KIB:
                frozen.append(to)
                islands.net.host(to).freeze()

        islands.net.on_piece = see
        began = trio.current_time()
        told = await leave(node)
        assert frozen
        assert told.last["left"] == 0
        assert 30 <= trio.current_time() - began < 100
