"""Audits, scrub and signs of life: how often, by whom, and what follows (docs/spec/healing.md section 1)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.healing.sweep import Sweep
from node.net.peers import PeerRefused
from protocol.datagrams import Kind, parse
from protocol.ids import Address, SegmentId
from protocol.messages import Audit, ErrorCode, Get
from tests.network.archipelago import Archipelago, Chunk, Node, archipelago
from tests.network.bending import FOUND_OUT, LIVELY, Server, bendable, unsigned_junk
from tests.network.healing import DONE, NOTE, asker, copies, holders_of, missing, only_segment, until
from tests.network.swarm import wall_clock
from tests.node.builders import BOB

NEVER = 10.0**9
QUIET = replace(LIVELY, ping=NEVER, survey=NEVER, audit=NEVER, scrub=NEVER, announce=40_000)
"""Under which a node does nothing unasked but repair; a test says what else."""


async def publish(islands: Archipelago, notes: int = 1) -> None:
    """So many deposits of one small segment each, 1 of 5."""
    async with islands.user() as alice:
        for number in range(notes):
            await alice.publish(islands.file(f"note-{number}", NOTE + number))
    await trio.sleep(5 * LIVELY.tick)
    assert not missing(islands)


async def begin_of_period(period: float) -> None:
    """Wait until one has begun, and what was due before has been done."""
    await trio.sleep(period - wall_clock() % period + 2 * LIVELY.tick)


@pytest.mark.parametrize("period", [7.0, 120.0, 604_800.0])
def test_a_sweep_comes_by_everything_once_in_a_period(period: float) -> None:
    random = Random(1)
    ids = sorted(random.randbytes(32) for _ in range(1000))
    sweep = Sweep(period)
    wall = 1_700_000_000.0 // period * period
    assert sweep.due(wall) == []
    for _ in range(5):
        epoch, end, seen, shares = round(wall / period), wall + period, Counter[bytes](), []
        while wall < end:
            wall = min(end, wall + random.random() * period / 10)
            windows = sweep.due(wall)
            assert {window.epoch for window in windows} <= {epoch}
            found = [one for w in windows for one in ids[bisect_left(ids, w.low) : bisect_left(ids, w.high)]]
            seen.update(found)
            shares.append(len(found))
        assert set(seen.values()) == {1} and len(seen) == len(ids)
        assert max(shares) < len(ids) / 10 * 1.5, "evenly"


def test_a_sweep_after_a_pause_or_a_change_of_the_clock() -> None:
    sweep = Sweep(100)
    sweep.due(1000)
    assert sum(_share(window.low, window.high) for window in sweep.due(1000 + 10**6)) == pytest.approx(1)
    assert sweep.due(500) == []
    assert sum(_share(window.low, window.high) for window in sweep.due(510)) == pytest.approx(0.1)


def _share(low: bytes, high: bytes) -> float:
    return (int.from_bytes(high[:8], "big") - int.from_bytes(low[:8], "big")) / 2**64


async def test_each_chunk_is_audited_once_in_a_period(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(QUIET, audit=LIVELY.audit)) as islands:
        await publish(islands, 3)
        for _ in range(2):
            await begin_of_period(LIVELY.audit)
            for node in islands.nodes:
                insides[node.node_id].server.asked.clear()
            await trio.sleep(LIVELY.audit - 2 * LIVELY.tick)
            asked: Counter[Chunk] = Counter()
            for node in islands.nodes:
                audits = [message for message in insides[node.node_id].server.asked if isinstance(message, Audit)]
                asked.update((message.segment.hex(), message.index) for message in audits)
                assert {(message.segment.hex(), message.index) for message in audits} == node.chunks()
            assert set(asked.values()) == {1}
        passed = sum(insides[node.node_id].tally.audits_passed for node in islands.nodes)
        assert passed >= 2 * copies(islands).total()


async def test_one_failure_is_none(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(QUIET, audit=LIVELY.audit, ping=40)) as islands:
        await publish(islands)
        unlucky = holders_of(islands, only_segment(islands))[0]
        server = insides[unlucky.node_id].server
        failed = False

        def once(server: Server, *answer: Any) -> Any:
            nonlocal failed
            good, failed = failed, True
            return answer[1:] if good else unsigned_junk(server, *answer)

        server.on_audit = once
        await until(lambda: server.count(Audit) >= 3, 3 * LIVELY.audit)
        nodes = [insides[node.node_id] for node in islands.nodes]
        assert sum(one.tally.audits_failed for one in nodes) == 1
        assert not any(seen.failed for one in nodes if (seen := one.sees(unlucky)))
        assert not sum(one.tally.repairs_done + one.tally.repairs_pending for one in nodes)
        passed, again, later = [when for when, message in server.times if isinstance(message, Audit)]
        assert again - passed == pytest.approx(40, abs=5), "asked again soon"
        assert later - again > 40, "and then when it is due"


def rot(node: Node) -> Chunk:
    """Flip a bit of a chunk on the disk."""
    chunk = min(node.chunks())
    path = node.chunk_file(chunk)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    return chunk


def sound(islands: Archipelago, chunk: Chunk, before: bytes) -> bool:
    """Whether some disk has the chunk as it was."""
    segment, index = chunk
    nodes = islands.holders().get(segment, {}).get(index, [])
    return [node.chunk_file(chunk).read_bytes()[: len(before)] for node in nodes] == [before]


@pytest.mark.parametrize("scrub", [False, True], ids=["read", "scrubbed"])
async def test_what_has_rotted_is_dropped_and_repaired_and_never_served(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, scrub: bool
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(QUIET, scrub=200 if scrub else NEVER)) as islands:
        await publish(islands)
        node = holders_of(islands, only_segment(islands))[1]
        chunk = min(node.chunks())
        before = node.chunk_file(chunk).read_bytes()[: node.chunk_bytes(chunk)]
        assert rot(node) == chunk
        if scrub:
            tally = insides[node.node_id].tally
            await until(lambda: bool(tally.rotten_chunks), 2 * 200)
        else:
            await trio.sleep(3 * DONE)
            assert not sound(islands, chunk, before), "nobody has noticed"
            async with asker(islands, BOB) as peers:
                with pytest.raises(PeerRefused) as caught:
                    ask = Get(segment=SegmentId(bytes.fromhex(chunk[0])), index=chunk[1], first=0, count=1)
                    await peers.request(node.contact, ask)
            assert caught.value.code is ErrorCode.CORRUPT
        await until(lambda: sound(islands, chunk, before), 3 * DONE)
        assert insides[node.node_id].tally.rotten_chunks == 1


async def test_the_scrub_reads_each_chunk_once_in_its_interval(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 5, intervals=replace(QUIET, scrub=400)) as islands:
        await publish(islands, 5)
        await begin_of_period(400)
        for node in islands.nodes:
            insides[node.node_id].store.scrubbed = []
        await trio.sleep(400 - 2 * LIVELY.tick)
        for node in islands.nodes:
            read = insides[node.node_id].store.scrubbed
            assert read is not None
            assert Counter(chunk for _, chunk in read) == Counter(node.chunks())
            times = [when for when, _ in read]
            assert len(times) == 5 and len(set(times)) >= 4, "not all at once"


def pings(islands: Archipelago) -> Callable[[], Counter[tuple[str, str]]]:
    """Count pings between nodes, by their addresses."""
    seen: Counter[tuple[str, str]] = Counter()
    ours = {node.host.ip for node in islands.nodes}

    def see(data: bytes, source: Address, to: Address) -> None:
        if source.host in ours and to.host in ours and parse(data).kind is Kind.PING:
            seen[source.host, to.host] += 1

    islands.net.on_datagram = see
    return lambda: seen


@pytest.mark.parametrize("notes", [1, 6])
async def test_one_ping_serves_all_segments(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, notes: int
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 5, intervals=replace(QUIET, ping=40)) as islands:
        await publish(islands, notes)
        seen = pings(islands)
        before = {node: insides[node.node_id].tally.pings for node in islands.nodes}
        await trio.sleep(10 * 40)
        sent = sum(insides[node.node_id].tally.pings - before[node] for node in islands.nodes)
        assert seen().total() >= sent
        assert 10 * 5 * 4 * 0.5 <= sent <= 10 * 5 * 4 * 1.1, "one each way: a question proves no life, an answer does"
        assert not any(insides[node.node_id].tally.missing_nodes for node in islands.nodes)


async def test_a_node_that_has_moved_is_not_missing(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 7, intervals=replace(QUIET, ping=40, grace=8)) as islands:
        await publish(islands)
        node = holders_of(islands, only_segment(islands))[0]
        node.kill()
        await trio.sleep(1)
        node.host = islands.net.host("10.77.1.1")
        node.info = replace(node.info, address=replace(node.info.address, host=node.host.ip))
        moved = await islands.restart(node)
        others = [insides[other.node_id] for other in holders_of(islands, only_segment(islands)) if other is not moved]
        await trio.sleep(5 * 40)
        for one in others:
            seen = one.sees(moved)
            assert seen is not None and seen.live
            assert seen.contact == moved.contact
        assert not sum(one.tally.repairs_done for one in others)


async def test_who_is_cut_off_calls_nobody_missing(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(QUIET, ping=40)) as islands:
        await publish(islands)
        alone, *others = holders_of(islands, only_segment(islands))
        alone.host.cut()
        await trio.sleep(5 * 40)
        assert insides[alone.node_id].tally.missing_nodes == 0
        assert {insides[node.node_id].tally.missing_nodes for node in others} == {1}
        alone.host.cut(False)
        await until(lambda: not any(insides[node.node_id].tally.missing_nodes for node in islands.nodes), FOUND_OUT)
