#!/usr/bin/env python3
"""Lookups among DHT nodes over UDP on loopback with 0, 10, 30 and 50 % of them dead, beside stock kademlia's.

All nodes run in this process, so a figure counts both ends of every call on one core. A node is dead when its socket
is closed; nobody is told. Each lookup asks a random living node for a random id. The small network is made anew for
each share of dead nodes; in the large one they die one after the other.
"""

import argparse
import json
import logging
import os
import random
import resource
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bench_kademlia
import trio
from bench_lookups import LOOKUPS, Row, recall, row

from dht.service import Dht
from dht.socket import open_udp
from protocol.identity import Identity, Network
from protocol.ids import Address

DEAD_PERCENT = (0, 10, 30, 50)
CALLS = 3000
SETTLE_SECONDS = 11.0
"""Nodes that joined look up their own ids again after 0.5, 2.5, 10 and 60 s: for all but the last of these."""
SETTLE_ALL_SECONDS = 62.0
JOIN_SECONDS = 600.0
"""How long a network may take to come up; who has not joined by then stays out. A join costs some 0.3 s of a core."""
NETWORK = Network("bench")


@dataclass(frozen=True)
class Member:
    """A node."""

    dht: Dht
    identity: Identity
    scope: trio.CancelScope

    def traffic(self) -> tuple[int, int]:
        """Datagrams and bytes it has sent and received."""
        counters = self.dht.counters
        return counters.sent_total + counters.received_total, counters.sent_bytes + counters.received_bytes


async def start(nursery: trio.Nursery) -> Member:
    identity = Identity(os.urandom(32))
    socket = await open_udp(Address("127.0.0.1", 0))
    dht = Dht(identity, NETWORK, socket, read_only=False, wall_clock=time.time, random_bytes=os.urandom)
    member = Member(dht, identity, trio.CancelScope())

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with member.scope:
            await dht.run(task_status=task_status)

    await nursery.start(run)
    return member


async def joined(nursery: trio.Nursery, count: int) -> list[Member]:
    """A network, made one node after the other, by way of the first."""
    members = [await start(nursery)]
    with trio.move_on_after(JOIN_SECONDS):
        while len(members) < count:
            members.append(await start(nursery))
            await members[-1].dht.join([members[0].dht.address])
    return members


async def lookups(members: Sequence[Member], nodes: int, dead: int, seconds: float) -> Row:
    """Lookups by random members, one after the other."""
    chance = random.Random(1)
    ids = [member.identity.node_id for member in members]
    times, recalls = [], []
    datagrams = size = 0
    end = trio.current_time() + seconds
    while len(times) < LOOKUPS and (not times or trio.current_time() < end):
        asker, target = chance.choice(members), os.urandom(32)
        before = asker.traffic()
        began = time.perf_counter()
        found = await asker.dht.lookup(target)
        times.append(time.perf_counter() - began)
        after = asker.traffic()
        datagrams, size = datagrams + after[0] - before[0], size + after[1] - before[1]
        recalls.append(recall([answer.contact.node_id for answer in found], target, ids, asker.identity.node_id))
    return row("archipel", nodes, dead, times, recalls, (datagrams, size))


async def small(nodes: int, dead: int, seconds: float) -> Row:
    """Lookups in a network of which so many percent have just died."""
    async with trio.open_nursery() as nursery:
        members = await joined(nursery, nodes)
        await trio.sleep(SETTLE_SECONDS)
        random.Random(2).shuffle(members)
        count = nodes * dead // 100
        for member in members[:count]:
            member.scope.cancel()
        result = await lookups(members[count:], nodes, dead, seconds)
        nursery.cancel_scope.cancel()
    return result


async def large(nodes: int, seconds: float) -> tuple[float, list[Row]]:
    """Seconds until all have joined, and lookups while more and more of them die."""
    rows = []
    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        members = await joined(nursery, nodes)
        took = time.perf_counter() - began
        await trio.sleep(SETTLE_ALL_SECONDS)
        random.Random(2).shuffle(members)
        gone = 0
        for dead in DEAD_PERCENT:
            count = len(members) * dead // 100
            for member in members[gone:count]:
                member.scope.cancel()
            gone = count
            rows.append(await lookups(members[gone:], len(members), dead, seconds))
        nursery.cancel_scope.cancel()
    return took, rows


async def calls_per_second() -> float:
    """Signed pings between two nodes of this process, 32 at a time: four signatures made or checked for each."""
    async with trio.open_nursery() as nursery:
        one, two = await start(nursery), await start(nursery)
        assert await one.dht.ping(two.dht.address, two.identity.key) is not None

        async def pings() -> None:
            for _ in range(CALLS // 32):
                assert await one.dht.ping(two.dht.address, two.identity.key) is not None

        began = time.perf_counter()
        async with trio.open_nursery() as pinging:
            for _ in range(32):
                pinging.start_soon(pings)
        seconds = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return CALLS // 32 * 32 / seconds


async def twelve_nodes() -> tuple[float, float]:
    """Milliseconds of a lookup among 12 nodes: all asked, and a moment later."""
    async with trio.open_nursery() as nursery:
        members = await joined(nursery, 12)
        first: list[float] = []
        second: list[float] = []
        for member in members[:5]:
            await trio.sleep(2.1)
            for times in (first, second):
                began = time.perf_counter()
                await member.dht.lookup(os.urandom(32))
                times.append(time.perf_counter() - began)
        nursery.cancel_scope.cancel()
    return statistics.median(first) * 1e3, statistics.median(second) * 1e3


def show(found: Row) -> None:
    """Print one line of the table, as soon as it is known."""
    values = asdict(found).values()
    print("| " + " | ".join("" if value is None else str(value) for value in values) + " |", flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All there is, printed meanwhile."""
    columns = list(Row.__annotations__)
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    rows: list[Row] = []

    def add(found: Row) -> None:
        rows.append(found)
        show(found)

    for dead in DEAD_PERCENT:
        add(trio.run(small, options.nodes, dead, options.seconds))
    logging.disable(logging.CRITICAL)  # stock kademlia logs every silent node
    for dead in DEAD_PERCENT:
        add(bench_kademlia.measure(options.nodes, dead, options.seconds))
    joining = None
    if options.large:
        joining, found = trio.run(large, options.large, options.seconds)
        for line in found:
            add(line)
        print(f"\n{found[0].nodes} nodes joined one after the other in {joining:.0f} s")
    calls = round(trio.run(calls_per_second))
    print(f"\n{calls} signed calls per second, both ends on one core")
    first, second = trio.run(twelve_nodes)
    print(f"a lookup among 12 nodes: {first:.2f} ms, within two seconds again {second:.2f} ms")
    return {
        "rows": [asdict(found) for found in rows],
        "signed_calls_per_second": calls,
        "lookup_12_nodes_ms": round(first, 2),
        "lookup_12_nodes_again_ms": round(second, 2),
        "large_joined_seconds": None if joining is None else round(joining, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=60, help="of the small network")
    parser.add_argument("--large", type=int, default=1000, help="nodes of the large network; 0: none")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help=f"per line: no more than this, or {LOOKUPS} lookups"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with suppress(ValueError, OSError):  # a socket for each node; where that is forbidden, opening them will say so
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    result = measure(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
