#!/usr/bin/env python3
"""What it costs a node to announce 100,000 chunks once: datagrams and bytes, in simulated networks.

The nodes are real ones but for their wires and clocks (tests/network/swarm.py), and know each other already. Measured
is what the announcing node sends and receives; no time passes in between, in which it would ping and refresh as well.

* A sweep in arcs, as node/serving/announcing.py does it: chunks as dense as 100,000 are, in a sample of all arcs drawn
  at random. Arcs are announced one by one, each for itself, so the whole is the mean of the sample times their number.
* A lookup for each chunk, announced to what it finds: a sample of the chunks, likewise.
"""

import argparse
import json
import math
from collections import Counter
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from random import Random

import trio
import trio.testing

from dht.providers import MAX_RECORDS
from protocol.ids import ID_BYTES, Address, SegmentId
from protocol.records import ProviderRecord
from tests.network.swarm import NETWORK, START, Node, Swarm

CHUNKS = 100_000
SAMPLE = 3_000
"""Of the chunks, by arcs; one by one a twentieth of it."""
ARC_BITS = (10, 9, 8)
"""For arcs of 97, 195, 390 chunks: a node that holds 100,000 makes 512."""
BITS = 8 * ID_BYTES


@dataclass(frozen=True)
class Cost:
    """Of announcing all chunks once."""

    nodes: int
    way: str
    lookups: int
    datagrams: int
    """Sent and received."""
    sent_megabytes: int
    received_megabytes: int
    told: float
    """How many of the 20 nodes nearest to a chunk keep its record then, on average,"""
    told_least: int
    """and for the worst of the chunks."""
    sampled: int
    """Chunks that were announced to find that out."""


def _record(node: Node, segment: SegmentId) -> bytes:
    address = Address("10.1.0.1", 4110)
    expiry = START + 24 * 3600
    return ProviderRecord.sign(
        node.identity, NETWORK.id, segment, index=0, expiry=expiry, country="FR", address=address
    )


def _segments(chance: Random, arc: int, bits: int) -> list[SegmentId]:
    """The chunks of one arc: each of all is in it or not, independently."""
    count = sum(chance.random() < 2**-bits for _ in range(CHUNKS))
    size = BITS - bits
    return [SegmentId(((arc << size) + chance.getrandbits(size)).to_bytes(ID_BYTES, "big")) for _ in range(count)]


class _Meter:
    """What a node's DHT counts from now on."""

    def __init__(self, node: Node) -> None:
        self._counters = node.dht.counters
        self._before = asdict(self._counters)

    def __getitem__(self, name: str) -> int:
        return int(getattr(self._counters, name) - self._before[name])


def _cost(nodes: int, way: str, meter: _Meter, told: Counter[int], factor: float) -> Cost:
    return Cost(
        nodes=nodes,
        way=way,
        lookups=round(meter["lookups_total"] * factor),
        datagrams=round((meter["sent_total"] + meter["received_total"]) * factor),
        sent_megabytes=round(meter["sent_bytes"] * factor / 1e6),
        received_megabytes=round(meter["received_bytes"] * factor / 1e6),
        told=round(sum(count * times for count, times in told.items()) / told.total(), 2),
        told_least=min(told),
        sampled=told.total(),
    )


def _told(swarm: Swarm, segments: list[SegmentId]) -> Counter[int]:
    """How many segments' records so many of the 20 nearest nodes keep. They forget them."""
    found: Counter[int] = Counter()
    for segment in segments:
        keepers = {node.node_id for node in swarm.nodes if node.dht.store.page(segment, 0, START)[0]}
        found[len(keepers.intersection(swarm.nearest(segment, swarm.nodes)))] += 1
    for node in swarm.nodes:
        node.dht.store.purge(math.inf, most=MAX_RECORDS)
    return found


async def sweep(swarm: Swarm, bits: int, arcs: int) -> Cost:
    """Announce some of 2^bits arcs."""
    node, chance = swarm.nodes[0], Random(5)
    chosen = chance.sample(range(1 << bits), arcs)
    meter, told = _Meter(node), Counter[int]()
    for arc in chosen:
        segments = _segments(chance, arc, bits)
        await node.dht.announce_all({segment: [_record(node, segment)] for segment in segments})
        told += _told(swarm, segments)
    return _cost(len(swarm.nodes), f"arcs of {CHUNKS >> bits}", meter, told, (1 << bits) / arcs)


async def one_by_one(swarm: Swarm, count: int) -> Cost:
    """A lookup for each of some chunks."""
    node, chance = swarm.nodes[0], Random(6)
    meter, told = _Meter(node), Counter[int]()
    for _ in range(count):
        segment = SegmentId(chance.randbytes(ID_BYTES))
        await node.dht.announce(segment, [_record(node, segment)], await node.dht.lookup(segment))
        told += _told(swarm, [segment])
    return _cost(len(swarm.nodes), "a lookup for each chunk", meter, told, CHUNKS / count)


async def measure(nodes: int) -> list[Cost]:
    """One network: each way after the other, printed meanwhile."""
    found = []
    async with trio.open_nursery() as nursery:
        swarm = Swarm(nursery)
        await swarm.acquaint(nodes)
        found.append(await one_by_one(swarm, SAMPLE // 30))
        show(found[-1])
        for bits in ARC_BITS:
            found.append(await sweep(swarm, bits, SAMPLE * 2**bits // CHUNKS))
            show(found[-1])
        nursery.cancel_scope.cancel()
    return found


def show(cost: Cost) -> None:
    """Print one line of the table."""
    print(
        "| " + " | ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in astuple(cost)) + " |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench announce", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, action="append", help="of a network, 25 or more (default: 200, 1000)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    columns = [item.name.replace("_", " ") for item in fields(Cost)]
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    found = []
    for nodes in options.nodes or (200, 1000):
        found += trio.run(measure, nodes, clock=trio.testing.MockClock(autojump_threshold=0))
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
