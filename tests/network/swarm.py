"""Many DHT nodes on a network in memory, all from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import trio

from dht.contact import Contact
from dht.keeping import Persist
from dht.service import Dht
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId, SegmentId
from protocol.records import ProviderRecord
from tests.network.memory import MemoryHost, MemoryNetwork

NETWORK = Network("swarm")
PORT = 4110
START = 1_700_000_000
"""Wall clock, seconds since 1970, when trio's clock says 0."""


def wall_clock() -> float:
    return START + trio.current_time()


@dataclass(eq=False)
class Node:
    """A node that runs."""

    host: MemoryHost
    identity: Identity
    dht: Dht
    scope: trio.CancelScope

    @property
    def address(self) -> Address:
        return self.dht.address

    @property
    def contact(self) -> Contact:
        return Contact(self.identity.key, self.address)

    @property
    def node_id(self) -> NodeId:
        return self.identity.node_id

    def kill(self) -> None:
        """As SIGKILL: no word to anybody."""
        self.scope.cancel()
        self.host.kill()


class Swarm:
    """Starts nodes in a nursery of the test."""

    def __init__(self, nursery: trio.Nursery, seed: int = 1, network: MemoryNetwork | None = None) -> None:
        self.random = Random(seed)
        self.net = network or MemoryNetwork(seed, delay=0.005)
        self.nodes: list[Node] = []
        self._nursery = nursery

    def identity(self) -> Identity:
        return Identity(self.random.randbytes(32))

    def segment(self) -> SegmentId:
        return SegmentId(self.random.randbytes(32))

    async def start(
        self,
        *,
        ip: str | None = None,
        identity: Identity | None = None,
        read_only: bool = False,
        network: Network = NETWORK,
        join: Sequence[Address] = (),
        persist: Persist | None = None,
    ) -> Node:
        """A node that runs, and has joined through ``join`` if given."""
        count = len(self.nodes) + 1
        host = self.net.host(ip or f"10.0.{count // 250}.{count % 250 + 1}")
        socket = await host.open_udp(Address(host.ip, PORT))
        identity = identity or self.identity()
        dht = Dht(
            identity,
            network,
            socket,
            read_only=read_only,
            wall_clock=wall_clock,
            random_bytes=self.random.randbytes,
            persist=persist,
        )
        node = Node(host, identity, dht, trio.CancelScope())
        await self._nursery.start(_run, node)
        self.nodes.append(node)
        if join:
            await dht.join(join)
        return node

    async def grow(self, count: int) -> list[Node]:
        """So many storage nodes, each joined through the first."""
        for _ in range(count):
            await self.start(join=[self.nodes[0].address] if self.nodes else [])
        await trio.sleep(1)
        return self.nodes

    async def acquaint(self, count: int) -> list[Node]:
        """So many storage nodes that know each other already: what joining would come to, without its traffic."""
        for _ in range(count):
            await self.start()
        for node in self.nodes:
            for other in self.nodes:
                node.dht._core.table.add(other.contact, trio.current_time())
        return self.nodes

    def nearest(self, target: bytes, among: Sequence[Node], count: int = 20) -> list[NodeId]:
        """The truly nearest node ids."""
        return sorted((node.node_id for node in among), key=lambda identifier: distance(identifier, target))[:count]

    def records(
        self, segment: SegmentId, count: int = 12, *, expiry: int | None = None, host: str = "10.1.0.1"
    ) -> list[bytes]:
        """Provider records of ``count`` holders."""
        return [
            ProviderRecord.sign(
                self.identity(),
                NETWORK.id,
                segment,
                index=index,
                expiry=expiry or int(wall_clock()) + 24 * 3600,
                country="FR",
                address=Address(host, 4000 + index),
            )
            for index in range(count)
        ]


def distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


async def _run(node: Node, *, task_status: trio.TaskStatus[None]) -> None:
    with node.scope:
        await node.dht.run(task_status=task_status)


async def provider_indices(dht: Dht, segment: SegmentId) -> list[int]:
    """The chunk indices of all provider records a lookup brings."""
    indices: list[int] = []
    generator = dht.providers(segment)
    try:
        async for found in generator:
            indices.extend(record.index for record in found)
    finally:
        await generator.aclose()
    return sorted(indices)
