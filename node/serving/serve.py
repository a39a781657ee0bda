"""The chunk server: one task per connection (docs/spec/wire.md sections 3 to 5).

Whatever a peer sends ends in a reply, an error reply, or the end of its own connection. What leaves a connection's
task as an exception is a bug, and is meant to be loud.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
from trio.abc import Stream

from node.blocking import Blocking
from node.buffers import Buffers
from node.net.transport import peer_address
from node.net.wire import HungUpError, Wire
from node.serving.admission import STEP_BLOCKS, Connections, Memory
from node.serving.requests import Offer, Requests
from node.serving.statements import Statements
from node.store.chunkreader import ChunkReader
from node.store.putting import PutWriter
from node.store.refusal import Refusal
from node.traffic import Counts
from protocol.channel import Channel, Header
from protocol.errors import RemoteProtocolError
from protocol.ids import Address, PublicKey, node_id, short
from protocol.messages import (
    Audit,
    DialBack,
    ErrorReply,
    Get,
    GetReply,
    Have,
    Hello,
    Leases,
    Put,
    PutLease,
    PutReply,
    Reply,
    Survey,
)
from protocol.segment import SEALED_BLOCK_BYTES

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 15.0
IDLE_SECONDS = 120.0
"""A connection without a request is closed after this."""
STALL_SECONDS = 30.0
"""A peer that within a message gives and takes not a single record (64 KiB at most) in this time is hung up on. Slow
is no fault: a request has no limit in all."""
KEPT_BYTES = 8 << 20
"""Of memory for bodies, kept for the next."""
_STALL_GRAIN = 1.0
_SEED_BYTES = 32


class ChunkServer:
    """Serves connections. What they share: the store, and bounds on connections and memory."""

    def __init__(
        self,
        requests: Requests,
        statements: Statements,
        blocking: Blocking,
        random_bytes: Callable[[int], bytes],
        *,
        connections: Connections | None = None,
        memory: Memory | None = None,
        traffic: Counts | None = None,
    ) -> None:
        """
        Args:
            requests: Does what is asked for.
            statements: The node's identity and network.
            blocking: Where hashing and disk work go.
            random_bytes: Secret random bytes.
            connections: Bounds connections; by default those of node/serving/admission.py.
            memory: Bounds bodies under way; likewise.
            traffic: To count in.
        """
        self._requests = requests
        self._identity = statements.identity
        self._network = statements.network.id
        self._blocking = blocking
        self._random_bytes = random_bytes
        self._static_seed = random_bytes(_SEED_BYTES)
        self._connections = connections or Connections()
        self._memory = memory or Memory()
        self._traffic = traffic or Counts()
        self._buffers = Buffers(KEPT_BYTES)
        self._idle: set[trio.CancelScope] = set()
        self._finishing = False

    async def serve(self, stream: Stream) -> None:
        """Serve one connection until it ends. Closes ``stream``."""
        address = peer_address(stream)
        host = address.host if address is not None else None
        if address is None or not self._connections.enter(host):
            await trio.aclose_forcefully(stream)
            return
        seed = self._random_bytes(_SEED_BYTES)
        wire = Wire(stream, Channel.responder(self._identity, self._network, self._static_seed, seed))
        try:
            await self._converse(wire, address)
        except (HungUpError, trio.TooSlowError) as exc:
            log.debug("%s: %s", address, str(exc) or "too slow")
        except RemoteProtocolError as exc:
            log.debug("%s breaks the protocol: %s", address, exc)
        finally:
            self._connections.leave(host)
            self._traffic.rest(wire)
            await wire.close()

    def finish(self) -> None:
        """Close idle connections now, and each other one once its request is answered."""
        self._finishing = True
        for scope in self._idle:
            scope.cancel()

    async def _converse(self, wire: Wire, address: Address) -> None:
        with trio.fail_after(HANDSHAKE_SECONDS) as handshake, self._connections.half_open(handshake) as answered:
            wire.on_progress = answered
            peer = await wire.handshake()
        self._traffic.connection(wire)
        if handshake.cancel_called:  # another was let in for it, in the very moment in which it was done
            return
        while not self._finishing:
            header = None
            with trio.move_on_after(IDLE_SECONDS) as idle:
                self._idle.add(idle)
                try:
                    header = await wire.receive_header()
                finally:
                    self._idle.remove(idle)
            if header is None:
                return
            exchange = _Exchange(wire, header, self._blocking, self._memory, self._buffers, self._requests)
            try:
                await exchange.run(peer, address)
            finally:
                self._traffic.request(header.message, wire)


class _Exchange:
    """One request and its reply."""

    def __init__(
        self, wire: Wire, header: Header, blocking: Blocking, memory: Memory, buffers: Buffers, requests: Requests
    ) -> None:
        self._wire = wire
        self._header = header
        self._blocking = blocking
        self._memory = memory
        self._buffers = buffers
        self._requests = requests
        self._unread = header.body_bytes
        self._replying = False

    async def run(self, peer: PublicKey, address: Address) -> None:
        """Answer. Raises HungUpError, RemoteProtocolError or trio.TooSlowError when the connection is done for."""
        try:
            reply, body = await self._answer(peer, address)
        except Refusal as refusal:
            log.debug("%s: %s", short(peer), refusal)
            if self._replying:
                raise HungUpError("the chunk was damaged while it was being sent") from refusal
            reply, body = ErrorReply(code=refusal.code, text=refusal.text[:256]), None
        if reply is not None:
            with self._moving():
                await self._wire.send(reply, () if body is None else (body,))
        await self._drain()
        self._wire.end_body()

    async def _answer(self, peer: PublicKey, address: Address) -> tuple[Reply | None, memoryview | None]:
        """The reply and its body; no reply when it has been sent already."""
        message = self._header.message
        match message:
            case Hello():
                return self._requests.hello(message, address), None
            case Have():
                return await self._requests.have(message), None
            case Get():
                await self._get(message, address.host)
                return None, None
            case Put():
                return await self._put(message, peer, address.host), None
            case PutLease():
                return await self._requests.lease(message), None
            case Audit():
                async with self._memory.take(1, address.host):
                    return await self._requests.audit(message)
            case Survey():
                return await self._requests.survey(message, peer, address), None
            case Leases():
                return await self._requests.leases(message), None
            case DialBack():
                return await self._requests.dial_back(message, peer, address), None
            case _:
                raise AssertionError("a channel gives a responder nothing but requests")

    async def _put(self, message: Put, peer: PublicKey, host: str) -> PutReply:
        """Take the body step by step: each is received, then hashed and written in one hop to a thread."""
        offer = await self._requests.admit(message, peer, self._unread, host)
        writer = self._requests.begin_put(message, offer, self._unread, host)
        try:
            blocks = -(-self._unread // SEALED_BLOCK_BYTES)
            async with self._memory.take(min(blocks, STEP_BLOCKS), host) as granted:
                with self._buffer(min(granted * SEALED_BLOCK_BYTES, self._unread)) as buffer:
                    reply = await self._receive(writer, offer, buffer)
        finally:
            writer.abort()
        by = "from its depositor" if message.permit else f"from node {short(node_id(peer))}"
        log.debug("%s.%d: stored, %s", short(offer.descriptor.id), message.index, by)
        return reply

    async def _receive(self, writer: PutWriter, offer: Offer, buffer: memoryview) -> PutReply:
        while True:
            part = buffer[: self._unread]
            with self._moving():
                await self._wire.receive_body(part)
            self._unread -= len(part)
            if not self._unread:
                return await self._blocking(self._requests.end_put, writer, offer, part)
            await self._blocking(writer.write, part)

    async def _get(self, message: Get, host: str) -> None:
        """Send the body step by step: each is read and checked in one hop to a thread."""
        async with self._memory.take(max(1, min(message.count, STEP_BLOCKS)), host) as granted:
            with self._buffer(granted * SEALED_BLOCK_BYTES) as buffer:
                reader, size = await self._blocking(self._requests.begin_get, message, buffer)
                try:
                    await self._send_steps(message, reader, size, granted, buffer)
                finally:
                    reader.close()

    async def _send_steps(
        self, message: Get, reader: ChunkReader, size: int, step_blocks: int, buffer: memoryview
    ) -> None:
        """Send the first step, ``size`` bytes in ``buffer``, then read and send the others."""
        total = reader.range_bytes(message.first, message.count)
        descriptor, hashes = reader.proof if message.proof else (b"", b"")
        self._replying = True
        with self._moving():
            await self._wire.send_header(GetReply(descriptor=descriptor, hashes=hashes), total)
        block, end = message.first, message.first + message.count
        while True:
            with self._moving():
                await self._wire.send_body(buffer[:size])
            block += step_blocks
            if block >= end:
                return
            size = await self._blocking(reader.read_into, block, min(step_blocks, end - block), buffer)

    @contextmanager
    def _buffer(self, size: int) -> Iterator[memoryview]:
        buffer = self._buffers.take(size)
        try:
            yield buffer
        finally:  # no thread is at it any more: a cancelled call waits for its thread
            self._buffers.give(buffer)

    async def _drain(self) -> None:
        """Read and drop what an early error reply left of the body, so that the next request can be read."""
        with self._moving():
            await self._wire.drain(self._unread)
        self._unread = 0

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Go on as long as bytes move. Raises trio.TooSlowError when none have for STALL_SECONDS, besides those in
        which our own rate limit held the peer up.
        """
        with trio.fail_after(STALL_SECONDS) as scope:

            def moved() -> None:
                deadline = trio.current_time() + STALL_SECONDS
                if deadline > scope.deadline + _STALL_GRAIN:  # moving a deadline costs more than moving 64 KiB
                    scope.deadline = deadline

            def held(seconds: float) -> None:
                scope.deadline += seconds

            self._wire.on_progress, self._wire.on_held = moved, held
            yield
