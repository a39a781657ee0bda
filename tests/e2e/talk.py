"""Talking to a real node in its own protocol, below everything that would try again or ask somebody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.net.transport import SystemTransport
from node.net.wire import Wire
from protocol.channel import Channel
from protocol.identity import Identity, Network
from protocol.ids import Address, PublicKey
from protocol.messages import Reply, Request
from tests.e2e.world import NodeProcess

SECONDS = 20.0
"""More than a node takes for anything."""


def address_of(node: NodeProcess) -> Address:
    """Where it listens."""
    host, _, port = node.address.rpartition(":")
    return Address(host, int(port))


@asynccontextmanager
async def connection(node: NodeProcess, network: Network) -> AsyncIterator[Wire]:
    """A connection with its handshake done."""
    stream = await SystemTransport().dial(address_of(node))
    wire = Wire(stream, Channel.initiator(Identity(b"c" * 32), network.id, b"s" * 32, b"e" * 32))
    try:
        with trio.fail_after(SECONDS):
            await wire.handshake()
        yield wire
    finally:
        await wire.close()


def key_of(wire: Wire) -> PublicKey:
    """The node's at the other end."""
    key = wire._channel.peer
    assert key is not None
    return key


async def ask(wire: Wire, request: Request, body: bytes = b"") -> Reply:
    """A request and the reply to it; the reply's body is dropped."""
    with trio.fail_after(SECONDS):
        await wire.send(request, (memoryview(body),))
        return await answer(wire)


async def answer(wire: Wire) -> Reply:
    """The reply to what was asked; its body is dropped."""
    with trio.fail_after(SECONDS):
        header = await wire.receive_header()
        assert header is not None
        await wire.drain(header.body_bytes)
        wire.end_body()
    assert isinstance(header.message, Reply)
    return header.message
