"""A holder that speaks the real protocol and answers what a test wants."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

import trio
from trio.abc import Stream

from dht.service import Dht
from node.net.wire import HungUpError, Wire
from protocol.channel import Channel
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import Address, SegmentId
from protocol.messages import ErrorCode, ErrorReply, Hello, HelloReply, Message
from protocol.records import NodeRecord, ProviderRecord, sign_node_record
from tests.network.archipelago import NETWORK, PORT, Archipelago
from tests.network.memory import MemoryHost
from tests.network.swarm import wall_clock

Behaviour = Callable[["Holder", Wire, Message], Awaitable[None]]
"""Answers one request on a wire, or leaves it unanswered."""


async def holds_nothing(holder: "Holder", wire: Wire, message: Message) -> None:
    await wire.send(ErrorReply(code=ErrorCode.NOT_FOUND))


@dataclass(eq=False)
class Holder:
    """A node in the DHT whose answers about chunks are ``behaviour``'s."""

    host: MemoryHost
    identity: Identity
    country: str
    random: Random
    behaviour: Behaviour
    dht: Dht
    asked: list[Message] = field(default_factory=list)
    """Every request but hello."""

    @property
    def address(self) -> Address:
        return Address(self.host.ip, PORT)

    def count(self, kind: type[Message]) -> int:
        """Requests of a kind."""
        return sum(isinstance(message, kind) for message in self.asked)

    async def announce(self, segment: SegmentId, *indices: int) -> None:
        """Claim chunks in the DHT."""
        records = [self.provider(segment, index) for index in indices]
        assert await self.dht.announce(segment, records, await self.dht.lookup(segment))

    def provider(self, segment: SegmentId, index: int) -> bytes:
        return ProviderRecord.sign(
            self.identity,
            NETWORK.id,
            segment,
            index=index,
            expiry=int(wall_clock()) + 86_400,
            country=self.country,
            address=self.address,
        )

    def node_record(self) -> bytes:
        record = NodeRecord(
            network=NETWORK.id,
            key=self.identity.key,
            address=self.address,
            country=self.country,
            free_bytes=10**9,
            storing=True,
            time=int(wall_clock()),
            software="test",
        )
        return sign_node_record(self.identity, record)

    async def serve(self, stream: Stream) -> None:
        seed = self.random.randbytes(32)
        wire = Wire(stream, Channel.responder(self.identity, NETWORK.id, seed, seed))
        try:
            await wire.handshake()
            while (header := await wire.receive_header()) is not None:
                if header.body_bytes:
                    await wire.drain(header.body_bytes)
                wire.end_body()
                if isinstance(header.message, Hello):
                    await wire.send(HelloReply(record=self.node_record(), observed=self.address))
                else:
                    self.asked.append(header.message)
                    await self.behaviour(self, wire, header.message)
        except (HungUpError, RemoteProtocolError):
            pass  # a client that was told lies hangs up
        finally:
            await wire.close()


@asynccontextmanager
async def holder(
    islands: Archipelago,
    behaviour: Behaviour = holds_nothing,
    *,
    country: str = "XX",
    read_only: bool = True,
    ip: str | None = None,
) -> AsyncIterator[Holder]:
    """A holder for a while.

    Args:
        islands: Where it lives.
        behaviour: How it answers what is not hello.
        country: Claimed.
        ip: Its address; None: a new one.
        read_only: False: it stands in routing tables, as storage nodes do, and publishers find it.
    """
    islands.users += 1
    random = Random(f"{islands.seed} holder {islands.users}")
    host = islands.net.host(ip or f"10.240.{islands.users}.1")
    listener, address = await host.listen(Address(host.ip, PORT))
    identity = Identity(random.randbytes(32))
    dht = Dht(
        identity,
        NETWORK,
        await host.open_udp(address),
        read_only=read_only,
        wall_clock=wall_clock,
        random_bytes=random.randbytes,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(dht.run)
        await dht.join([node.info.address for node in islands.nodes])
        found = Holder(host, identity, country, random, behaviour, dht)
        nursery.start_soon(partial(trio.serve_listeners, found.serve, [listener], handler_nursery=nursery))
        yield found
        nursery.cancel_scope.cancel()
