"""A chunk server on one host of a network in memory, and somebody to ask it from another."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from dht.contact import Contact
from node.blocking import InlineBlocking
from node.net.peers import PeerRefused, Peers
from node.net.wire import Wire
from node.serving.admission import BUDGET_BLOCKS, Connections, Memory
from node.serving.policy import AccessLists
from node.serving.requests import Requests
from node.serving.serve import ChunkServer
from node.serving.statements import Statements
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.channel import Channel
from protocol.identity import Identity, Network
from protocol.ids import Address, PublicKey, SegmentId
from protocol.leases import Lease
from protocol.messages import DialBackReply, ErrorCode, Leases, LeasesReply, Put, Request, Survey, SurveyReply
from protocol.segment import Descriptor
from tests.network.memory import MemoryHost, MemoryNetwork
from tests.node.builders import (
    ALICE,
    BOB,
    NETWORK,
    FakeClock,
    Sample,
    files_charge,
    lease_for,
    open_store,
    permit_for,
)

NODE = Identity(b"n" * 32)
ADDRESS = Address("10.0.0.1", 4110)
CONTACT = Contact(NODE.key, ADDRESS)


def counter() -> Callable[[int], bytes]:
    """Bytes that differ from call to call."""
    calls = iter(range(1, 1_000_000))
    return lambda size: next(calls).to_bytes(size, "big")


class Bench:
    """What a test of the server needs."""

    nursery: trio.Nursery

    def __init__(
        self,
        path: Path,
        *,
        quota: int = 10**9,
        subnet_share: float = 1.0,
        connections: Connections | None = None,
        lists: AccessLists | None = None,
    ) -> None:
        self.path = path
        self.clock = FakeClock()
        self.net = MemoryNetwork()
        self.store: ChunkStore = open_store(path, self.clock, quota=quota, subnet_share=subnet_share)
        self.statements = Statements(NODE, NETWORK, self.clock, self.store, country="NZ", address=ADDRESS, storing=True)
        self.dialled: list[tuple[Address, PublicKey]] = []
        self.offered: list[tuple[SegmentId, int, Lease, PublicKey]] = []
        """The chunks that came without a permit, and from whom."""
        self.kept: list[tuple[SegmentId, int, bool]] = []
        """The chunks that were stored, and whether they came without a permit."""
        self.refusal: Refusal | None = None
        """Of chunks without a permit."""
        blocking = InlineBlocking()
        self.memory = Memory()
        self.server = ChunkServer(
            Requests(self.store, self.statements, blocking, self.dial_back, self, lists),
            self.statements,
            blocking,
            counter(),
            connections=connections,
            memory=self.memory,
        )
        self.peers = self.make_peers("10.0.0.2")

    async def dial_back(self, address: Address, key: PublicKey) -> DialBackReply:
        self.dialled.append((address, key))
        return DialBackReply(udp=True, tcp=False)

    async def answer_survey(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        raise Refusal(ErrorCode.BUSY, "no survey in these tests")

    async def leases(self, message: Leases) -> LeasesReply:
        raise Refusal(ErrorCode.BUSY, "nor this")

    def stored(self, segment: SegmentId, index: int, *, taken_over: bool) -> None:
        self.kept.append((segment, index, taken_over))

    async def take_over(self, descriptor: Descriptor, index: int, lease: Lease, peer: PublicKey, source: str) -> None:
        self.offered.append((descriptor.id, index, lease, peer))
        await trio.sleep(1)
        if self.refusal is not None:
            raise self.refusal

    def make_peers(self, ip: str, network: Network = NETWORK) -> Peers:
        return Peers(ALICE, network, self.host(ip), counter())

    def host(self, ip: str) -> MemoryHost:
        return self.net.host(ip)

    async def ask(self, message: Request, body: bytes = b"") -> object:
        reply, self.body = await self.peers.request(CONTACT, message, body=(memoryview(body),))
        return reply

    async def code(self, message: Request, body: bytes = b"") -> ErrorCode:
        with pytest.raises(PeerRefused) as caught:
            await self.ask(message, body)
        return caught.value.code

    async def wire(self, ip: str = "10.0.0.3") -> Wire:
        """A connection below the pool, its handshake done."""
        stream = await self.host(ip).dial(ADDRESS)
        wire = Wire(stream, Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32))
        assert await wire.handshake() == NODE.key
        return wire


@asynccontextmanager
async def bench(
    path: Path,
    *,
    quota: int = 10**9,
    subnet_share: float = 1.0,
    connections: Connections | None = None,
    lists: AccessLists | None = None,
) -> AsyncIterator[Bench]:
    it = Bench(path, quota=quota, subnet_share=subnet_share, connections=connections, lists=lists)
    listener, _ = await it.host(ADDRESS.host).listen(ADDRESS)
    async with trio.open_nursery() as nursery:
        it.nursery = nursery
        nursery.start_soon(it.peers.run)
        nursery.start_soon(partial(trio.serve_listeners, it.server.serve, [listener]))
        yield it
        nursery.cancel_scope.cancel()
    assert it.server._connections.open == 0
    assert it.memory._free == BUDGET_BLOCKS
    assert it.store.used_bytes == files_charge(path)
    assert it.store._quota.reserved == 0
    assert not list((path / "tmp").iterdir())
    it.store.close()


def put_message(
    segment: Sample,
    index: int,
    lease: bytes | None = None,
    *,
    holder: PublicKey = NODE.key,
    network: Network = NETWORK,
) -> Put:
    """By the word of ALICE."""
    return Put(
        descriptor=segment.descriptor.encode(),
        index=index,
        hashes=segment.hashes[index],
        lease=lease_for(segment)[1] if lease is None else lease,
        permit=permit_for(segment, index, holder, network=network),
    )
