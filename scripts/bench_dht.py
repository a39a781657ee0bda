#!/usr/bin/env python3
"""Lookups among 60 DHT nodes over UDP on loopback with 0, 10, 30 and 50 % of them dead, beside stock kademlia's.

All nodes run in this process, so a figure counts both ends of every call on one core. A node is dead when its socket
is closed; nobody is told. Each lookup asks a random living node for a random id.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dht.service import Dht
from dht.socket import open_udp
from protocol.identity import Identity, Network
from protocol.ids import Address

DEAD_PERCENT = (0, 10, 30, 50)
CALLS = 3000
K = 20


@dataclass
class Row:
    """One line of the table."""

    what: str
    dead_percent: int
    lookups: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    recall: float
    """Of the truly nearest 20 living nodes."""
    datagrams: float | None
    """Per lookup, sent by anybody."""
    kilobytes: float | None


def row(what: str, dead: int, times: Sequence[float], recalls: Sequence[float], sent: tuple[int, int] | None) -> Row:
    ordered = sorted(times)
    return Row(
        what=what,
        dead_percent=dead,
        lookups=len(times),
        p50_ms=round(statistics.median(ordered) * 1e3, 1),
        p95_ms=round(ordered[int(len(ordered) * 0.95)] * 1e3, 1),
        max_ms=round(ordered[-1] * 1e3, 1),
        recall=round(statistics.fmean(recalls), 4),
        datagrams=None if sent is None else round(sent[0] / len(times), 1),
        kilobytes=None if sent is None else round(sent[1] / len(times) / 1e3, 1),
    )


def recall(found: Sequence[bytes], target: bytes, living: Sequence[bytes], asker: bytes) -> float:
    """The share of the truly nearest that was found."""
    number = int.from_bytes(target, "big")
    others = [identifier for identifier in living if identifier != asker]
    nearest = sorted(others, key=lambda identifier: int.from_bytes(identifier, "big") ^ number)[:K]
    return len(set(nearest) & set(found)) / len(nearest)


class Ours:
    """The nodes of this project."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._random = random.Random(options.seed)
        self._network = Network("bench")

    async def _start(self, nursery: trio.Nursery) -> tuple[Dht, trio.CancelScope, Identity]:
        identity = Identity(os.urandom(32))
        socket = await open_udp(Address("127.0.0.1", 0))
        dht = Dht(identity, self._network, socket, read_only=False, wall_clock=time.time, random_bytes=os.urandom)
        scope = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await dht.run(task_status=task_status)

        await nursery.start(run)
        return dht, scope, identity

    async def rows(self, dead: int) -> list[Row]:
        """Lookups with so many percent of the nodes dead."""
        async with trio.open_nursery() as nursery:
            nodes = [await self._start(nursery) for _ in range(self._options.nodes)]
            for dht, _, _ in nodes[1:]:
                await dht.join([nodes[0][0].address])
            await trio.sleep(1)
            self._random.shuffle(nodes)
            count = len(nodes) * dead // 100
            for _, scope, _ in nodes[:count]:
                scope.cancel()
            living = nodes[count:]
            result = await self._lookups(dead, living)
            nursery.cancel_scope.cancel()
        return [result]

    async def _lookups(self, dead: int, living: Sequence[tuple[Dht, trio.CancelScope, Identity]]) -> Row:
        ids = [identity.node_id for _, _, identity in living]
        before = self._sent(living)
        times, recalls = [], []
        end = trio.current_time() + self._options.seconds
        for _ in range(self._options.lookups):
            dht, _, identity = self._random.choice(living)
            target = os.urandom(32)
            began = time.perf_counter()
            found = await dht.lookup(target)
            times.append(time.perf_counter() - began)
            recalls.append(recall([answer.contact.node_id for answer in found], target, ids, identity.node_id))
            if trio.current_time() > end:
                break
        await trio.sleep(0.1)
        after = self._sent(living)
        return row("archipel", dead, times, recalls, (after[0] - before[0], after[1] - before[1]))

    @staticmethod
    def _sent(nodes: Sequence[tuple[Dht, trio.CancelScope, Identity]]) -> tuple[int, int]:
        return (
            sum(dht.counters.sent_total for dht, _, _ in nodes),
            sum(dht.counters.sent_bytes for dht, _, _ in nodes),
        )

    async def calls_per_second(self) -> float:
        """Signed pings between two nodes of this process, 32 at a time: four signatures made or checked for each."""
        async with trio.open_nursery() as nursery:
            (one, _, _), (two, _, identity) = await self._start(nursery), await self._start(nursery)
            assert await one.ping(two.address, identity.key) is not None

            async def pings() -> None:
                for _ in range(CALLS // 32):
                    assert await one.ping(two.address, identity.key) is not None

            began = time.perf_counter()
            async with trio.open_nursery() as pinging:
                for _ in range(32):
                    pinging.start_soon(pings)
            seconds = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return CALLS // 32 * 32 / seconds

    async def small_network(self) -> tuple[float, float]:
        """Milliseconds of a lookup among 12 nodes: all asked, and a moment later."""
        async with trio.open_nursery() as nursery:
            nodes = [await self._start(nursery) for _ in range(12)]
            for dht, _, _ in nodes[1:]:
                await dht.join([nodes[0][0].address])
            first: list[float] = []
            second: list[float] = []
            for dht, _, _ in nodes[:5]:
                await trio.sleep(2.1)
                for times in (first, second):
                    began = time.perf_counter()
                    await dht.lookup(os.urandom(32))
                    times.append(time.perf_counter() - began)
            nursery.cancel_scope.cancel()
        return statistics.median(first) * 1e3, statistics.median(second) * 1e3


class Stock:
    """kademlia.network.Server, as it is: no signatures, 160-bit ids, UDP through rpcudp."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._random = random.Random(options.seed)

    async def row(self, dead: int) -> Row:
        """Lookups with so many percent of the nodes dead."""
        from kademlia.crawling import NodeSpiderCrawl
        from kademlia.network import Server
        from kademlia.node import Node

        servers: list[Any] = []
        for _ in range(self._options.nodes):
            server = Server()
            await server.listen(0, interface="127.0.0.1")
            port = server.transport.get_extra_info("sockname")[1]
            if servers:
                await server.bootstrap([("127.0.0.1", servers[0].transport.get_extra_info("sockname")[1])])
            servers.append(server)
            assert port
        self._random.shuffle(servers)
        count = len(servers) * dead // 100
        for server in servers[:count]:
            server.stop()
        living = servers[count:]
        ids = [server.node.id for server in living]
        times, recalls = [], []
        end = time.monotonic() + self._options.seconds
        for _ in range(self._options.lookups):
            server, target = self._random.choice(living), os.urandom(20)
            node = Node(target)
            began = time.perf_counter()
            near = server.protocol.router.find_neighbors(node)
            found = await NodeSpiderCrawl(server.protocol, node, near, K, 3).find()
            times.append(time.perf_counter() - began)
            recalls.append(recall([other.id for other in found], target, ids, server.node.id))
            if time.monotonic() > end:
                break
        for server in living:
            server.stop()
        return row("kademlia 2.2", dead, times, recalls, None)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    ours = Ours(options)
    rows = [found for dead in DEAD_PERCENT for found in trio.run(ours.rows, dead)]
    try:
        import kademlia.network  # noqa: F401  # needs rpcudp, which this project does not
    except ImportError:
        print("kademlia.network cannot be imported: no comparison", file=sys.stderr)
    else:
        logging.disable(logging.CRITICAL)
        stock = Stock(options)
        rows += [asyncio.run(stock.row(dead)) for dead in DEAD_PERCENT]
    first, second = trio.run(ours.small_network)
    return {
        "nodes": options.nodes,
        "rows": [asdict(found) for found in rows],
        "signed_calls_per_second": round(trio.run(ours.calls_per_second)),
        "lookup_12_nodes_ms": round(first, 2),
        "lookup_12_nodes_again_ms": round(second, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--lookups", type=int, default=300, help="per line of the table, at most")
    parser.add_argument("--seconds", type=float, default=15.0, help="per line of the table, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=1))
        return 0
    columns = list(Row.__annotations__)
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for found in result["rows"]:
        print("| " + " | ".join("" if found[name] is None else str(found[name]) for name in columns) + " |")
    print(f"\n{result['signed_calls_per_second']} signed calls per second, both ends on one core")
    print(
        f"a lookup among 12 nodes: {result['lookup_12_nodes_ms']} ms, "
        f"within two seconds again {result['lookup_12_nodes_again_ms']} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
