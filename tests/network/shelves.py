"""Holders of one segment's chunks, each as good or bad as a test wants, and a node that rebuilds from them. No DHT."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

import pytest
import trio
from trio.abc import Stream

from dht.contact import Contact
from dht.service import Dht
from node.blocking import InlineBlocking
from node.client import Client, World
from node.healing.rebuild import LocalChunks, RebuildError, rebuild
from node.net.peers import Peers
from node.net.wire import HungUpError, Wire
from protocol.channel import Channel
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import Address
from protocol.messages import ErrorCode, ErrorReply, Get, GetReply
from protocol.seal import seal_segment
from protocol.segment import SEALED_BLOCK_BYTES, Shares
from tests.network.memory import MemoryHost, MemoryListener, MemoryNetwork
from tests.node.builders import ALICE, NETWORK, FakeClock, Sample

DELAY = 0.01


@cache
def sealed(length: int, shares: Shares) -> Sample:
    """A segment as a publisher makes it."""
    found = seal_segment(Random(length).randbytes(length), b"k" * 32, shares)
    return Sample(found.descriptor, tuple(map(bytes, found.columns)), found.hashes)


@dataclass(eq=False)
class Shelf:
    """A holder of one chunk, that answers as its behaviour does."""

    host: MemoryHost
    identity: Identity
    segment: Sample
    index: int
    behaviour: "Behaviour"
    asked: list[Get] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Of what accepts connections."""

    @property
    def contact(self) -> Contact:
        return Contact(self.identity.key, Address(self.host.ip, 4110))

    async def serve(self, stream: Stream) -> None:
        seed = bytes([self.index + 1]) * 32
        wire = Wire(stream, Channel.responder(self.identity, NETWORK.id, seed, seed))
        with suppress(HungUpError, RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            await wire.handshake()
            while (header := await wire.receive_header()) is not None:
                wire.end_body()
                assert isinstance(header.message, Get)
                self.asked.append(header.message)
                await self.behaviour(self, wire, header.message)
        await wire.close()

    def body(self, message: Get) -> memoryview:
        start = message.first * SEALED_BLOCK_BYTES
        return memoryview(self.segment.columns[self.index])[start : start + message.count * SEALED_BLOCK_BYTES]

    def proof(self, message: Get) -> GetReply:
        if not message.proof:
            return GetReply()
        return GetReply(descriptor=self.segment.descriptor.encode(), hashes=self.segment.hashes[self.index])


Behaviour = Callable[[Shelf, Wire, Get], Awaitable[None]]


async def honest(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send(shelf.proof(message), [shelf.body(message)])


def flipped(data: bytes | memoryview) -> bytes:
    changed = bytearray(data)
    changed[-1] ^= 1
    return bytes(changed)


async def wrong_block(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send(shelf.proof(message), [memoryview(flipped(shelf.body(message)))])


async def wrong_hashes(shelf: Shelf, wire: Wire, message: Get) -> None:
    proof = shelf.proof(message)
    await wire.send(replace(proof, hashes=flipped(proof.hashes)), [shelf.body(message)])


async def no_hashes(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send(GetReply(), [shelf.body(message)])


async def too_short(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send(shelf.proof(message), [shelf.body(message)[:-1]])


async def not_found(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send(ErrorReply(code=ErrorCode.NOT_FOUND, text="untrusted text"))


async def hangs_up(shelf: Shelf, wire: Wire, message: Get) -> None:
    await wire.send_header(shelf.proof(message), len(shelf.body(message)))
    await wire.close()


async def silent(shelf: Shelf, wire: Wire, message: Get) -> None:
    await trio.sleep_forever()


async def drips(shelf: Shelf, wire: Wire, message: Get) -> None:
    body = shelf.body(message)
    await wire.send_header(shelf.proof(message), len(body))
    for start in range(len(body)):
        await wire.send_body(body[start : start + 1])
        await trio.sleep(0.9)


async def lies_later(shelf: Shelf, wire: Wire, message: Get) -> None:
    await (wrong_block if message.first >= 3 else honest)(shelf, wire, message)


async def dies_later(shelf: Shelf, wire: Wire, message: Get) -> None:
    if message.first:
        shelf.scope.cancel()
        shelf.host.kill()
    await honest(shelf, wire, message)


async def freezes_later(shelf: Shelf, wire: Wire, message: Get) -> None:
    await (silent if message.first else honest)(shelf, wire, message)


class Shelves:
    """Holders of one segment's chunks, and a node that rebuilds from them."""

    def __init__(self, nursery: trio.Nursery, client: Client, net: MemoryNetwork, segment: Sample) -> None:
        self.client = client
        self.segment = segment
        self.shelves: dict[int, list[Shelf]] = {}
        self.fetched_bytes = 0
        self._nursery = nursery
        self._net = net

    async def add(self, index: int, behaviour: Behaviour = honest) -> Shelf:
        number = sum(map(len, self.shelves.values())) + 1
        shelf = Shelf(
            self._net.host(f"10.0.{number}.1"), Identity(bytes([number]) * 32), self.segment, index, behaviour
        )
        listener, _ = await shelf.host.listen(shelf.contact.address)
        self._nursery.start_soon(self._accept, shelf, listener)
        self.shelves.setdefault(index, []).append(shelf)
        return shelf

    async def _accept(self, shelf: Shelf, listener: MemoryListener) -> None:
        with shelf.scope:
            await trio.serve_listeners(shelf.serve, [listener], handler_nursery=self._nursery)

    async def rebuild(self, *want: int, own: LocalChunks | None = None, without: Iterable[int] = ()) -> float:
        """Rebuild, compare with the truth, and say how many seconds it took."""

        def count(size: int) -> None:
            assert size > 0
            self.fetched_bytes += size

        holders = {
            index: [shelf.contact for shelf in shelves]
            for index, shelves in self.shelves.items()
            if index not in set(without)
        }
        began_at = trio.current_time()
        columns = await rebuild(self.client, self.segment.descriptor, holders, want, own=own, on_bytes=count)
        assert [column.index for column in columns] == list(want)
        for column in columns:
            assert column.data == self.segment.columns[column.index]
            assert column.hashes == self.segment.hashes[column.index]
        return trio.current_time() - began_at

    async def failure(self, *want: int, own: LocalChunks | None = None) -> RebuildError:
        with pytest.raises(RebuildError) as caught:
            await self.rebuild(*want, own=own)
        return caught.value

    def asked(self, index: int) -> list[Get]:
        return [message for shelf in self.shelves.get(index, ()) for message in shelf.asked]


@asynccontextmanager
async def shelves(segment: Sample, indices: Iterable[int] = (), **behaviours: Behaviour) -> AsyncIterator[Shelves]:
    """Honest holders of the chunks ``indices``; and others: ``_3=silent``."""
    net = MemoryNetwork(delay=DELAY)
    host = net.host("10.9.0.1")
    random = Random(1).randbytes
    world = World(host, FakeClock(), InlineBlocking(), random)
    socket = await host.open_udp(Address(host.ip, 4110))
    dht = Dht(ALICE, NETWORK, socket, read_only=True, wall_clock=world.clock.wall, random_bytes=random)
    peers = Peers(ALICE, NETWORK, host, random)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peers.run)
        found = Shelves(nursery, Client(NETWORK, world, dht, peers), net, segment)
        for index in indices:
            await found.add(index)
        for name, behaviour in behaviours.items():
            await found.add(int(name[1:]), behaviour)
        yield found
        nursery.cancel_scope.cancel()
    assert peers._open == 0
