"""Requests to other nodes, over a small pool of connections to each (docs/spec/wire.md sections 3 to 5)."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from dht.contact import Contact
from node.net.transport import Transport
from node.net.wire import HungUpError, Wire
from node.traffic import Counts
from protocol.channel import Channel, Header
from protocol.errors import RemoteProtocolError, WrongNetworkError
from protocol.identity import Identity, Network
from protocol.ids import Address, PublicKey
from protocol.messages import ErrorCode, ErrorReply, Get, Hello, HelloReply, Reply, Request
from protocol.records import NodeRecord, open_node_record
from protocol.segment import SEALED_BLOCK_BYTES

CONNECTIONS_PER_PEER = 4
CONNECTIONS = 128
"""In all, idle ones included: the ones idle longest are closed for new ones."""
DIAL_SECONDS = 15.0
"""For the connection and the handshake together: a host that drops our packets would keep us for minutes."""
IDLE_SECONDS = 60.0
"""An idle connection is closed after this; a server's own limit is longer, so that we are first."""
RECORD_SECONDS = 600.0
"""How long a node record is believed. One that says "not storing" is asked for again much sooner."""
NOT_STORING_SECONDS = 2.0
_RECORDS = 4096
_CLOSE_SECONDS = 1.0
_SEED_BYTES = 32


class PeerError(Exception):
    """A request to a peer failed. The message is short, and is put behind the peer's name or country."""


class PeerUnreachable(PeerError):
    """No connection, or it broke. Another peer may do, or this one later."""


class PeerRefused(PeerError):
    """The peer answered that it will not. The connection is still good."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(f"{code.name.lower().replace('_', ' ')}" + (f": {text}" if text else ""))
        self.code = code
        self.text = text
        """For a person's eyes only: untrusted text."""


class PeerBroke(PeerError):
    """The peer breaks the protocol, is of another network, or is not who it should be."""


Into = Callable[[Reply, int], memoryview]
"""Given a reply and the length of its body, says where the body goes: a view of exactly that length."""


@dataclass(slots=True, eq=False)
class _Connection:
    wire: Wire
    peer: PublicKey
    """The key the peer proved."""
    idle_since: float = 0.0


@dataclass(slots=True, eq=False)
class _Pool:
    """The connections to one peer."""

    places: trio.Semaphore = field(
        default_factory=lambda: trio.Semaphore(CONNECTIONS_PER_PEER, max_value=CONNECTIONS_PER_PEER)
    )
    idle: list[_Connection] = field(default_factory=list)
    users: int = 0
    """Requests that wait or run."""


class Peers:
    """Asks peers. Safe to use from many tasks; :meth:`run` must be running."""

    def __init__(
        self,
        identity: Identity,
        network: Network,
        transport: Transport,
        random_bytes: Callable[[int], bytes],
        *,
        own_record: Callable[[], bytes] = bytes,
        connections: int | None = None,
        traffic: Counts | None = None,
    ) -> None:
        """
        Args:
            identity: Who we are; for a client, made for this process alone.
            network: The network all peers must be of.
            transport: Where connections come from.
            random_bytes: Secret random bytes.
            own_record: Our signed node record, to be shown in `hello`; nothing for a client.
            connections: Open at once, in all; by default ``CONNECTIONS``.
            traffic: To count in.
        """
        self._identity = identity
        self._network = network
        self._transport = transport
        self._random_bytes = random_bytes
        self._own_record = own_record
        self._static_seed = random_bytes(_SEED_BYTES)
        self._pools: dict[Contact, _Pool] = {}
        self._most = connections or CONNECTIONS
        self._active = trio.Semaphore(self._most, max_value=self._most)
        self._open = 0
        self._records: dict[Contact, tuple[NodeRecord, float]] = {}
        self._asking: dict[Contact, trio.Lock] = {}
        self._traffic = traffic or Counts()

    @property
    def open(self) -> int:
        """Connections that are open or being made."""
        return self._open

    async def run(self) -> None:
        """Close connections that stay idle, until cancelled; then close them all."""
        try:
            while True:
                await trio.sleep(IDLE_SECONDS / 4)
                before = trio.current_time() - IDLE_SECONDS
                for contact, pool in list(self._pools.items()):
                    for connection in [c for c in pool.idle if c.idle_since <= before]:
                        pool.idle.remove(connection)
                        await self._close(connection)
                    self._forget_if_unused(contact, pool)
        finally:
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):  # else the first close would be the last
                for pool in list(self._pools.values()):  # requests that are cancelled meanwhile forget theirs
                    while pool.idle:
                        await self._close(pool.idle.pop())

    async def request(
        self,
        contact: Contact,
        message: Request,
        *,
        body: Sequence[memoryview] = (),
        into: Into | None = None,
        on_body: Callable[[int], None] | None = None,
    ) -> tuple[Reply, memoryview]:
        """Ask ``contact``; returns its reply and the reply's body. The deadline is the caller's.

        A connection that the peer closed while it lay idle is replaced without notice: every request may be sent
        twice, and all of them are idempotent.

        Args:
            contact: Its key must be the one the connection proves.
            message: The request.
            body: Of a put: views, sent one behind the other, unchanged until the reply is here.
            into: Where the reply's body goes; what it raises ends the request and the connection, and comes out.
                By default a buffer is made, no longer than the request can draw.
            on_body: Told how many bytes of the body, ours or then the reply's, have gone or come so far.

        Raises:
            PeerUnreachable, PeerRefused, PeerBroke.
        """
        pool = self._pools.setdefault(contact, _Pool())
        pool.users += 1
        try:
            async with pool.places, self._active:
                connection = pool.idle.pop() if pool.idle else None
                if connection is not None:
                    try:
                        return await self._exchange(pool, connection, message, body, into, on_body)
                    except PeerUnreachable:
                        if connection.wire.heard:
                            raise
                        while pool.idle:  # closed by the peer as well, most likely
                            await self._close(pool.idle.pop())
                try:
                    connection = await self._connect(contact.address, contact.key)
                except WrongNetworkError as exc:
                    raise PeerBroke("is of another network") from exc
                return await self._exchange(pool, connection, message, body, into, on_body)
        except PeerRefused as exc:
            if exc.code in (ErrorCode.FULL, ErrorCode.NOT_STORING):
                self._records.pop(contact, None)  # it promises room that is gone
            raise
        finally:
            pool.users -= 1
            self._forget_if_unused(contact, pool)

    async def hello(self, contact: Contact) -> tuple[NodeRecord, Address]:
        """What a node says of itself, and where it sees us. Raises as :meth:`request`."""
        reply, _ = await self.request(contact, Hello(record=self._own_record()))
        assert isinstance(reply, HelloReply)
        try:
            record = open_node_record(reply.record, self._network.id)
        except RemoteProtocolError as exc:
            raise PeerBroke(f"bad node record: {exc}") from exc
        if record.key != contact.key:
            raise PeerBroke("the node record is another node's")
        while len(self._records) >= _RECORDS:
            self._records.pop(next(iter(self._records)))
        self._records[contact] = (record, trio.current_time())
        return record, reply.observed

    async def record(self, contact: Contact) -> NodeRecord:
        """What a node says of itself, asked at most every ten minutes. Raises as :meth:`request`."""
        record = self._known(contact)
        if record is not None:
            return record
        lock = self._asking.setdefault(contact, trio.Lock())
        try:
            async with lock:  # many ask about one node at once: one of them does it for all
                return self._known(contact) or (await self.hello(contact))[0]
        finally:
            if not lock.locked():
                self._asking.pop(contact, None)

    async def probe(self, address: Address, key: PublicKey | None = None) -> PublicKey:
        """Connect to ``address``, go through the handshake and close; returns the key it proved.

        Raises:
            PeerUnreachable, PeerBroke: As :meth:`request`.
            WrongNetworkError: Whoever is there is of another network.
        """
        connection = await self._connect(address, key)
        await self._close(connection)
        return connection.peer

    def country(self, contact: Contact) -> str | None:
        """What a node claimed when it was last asked, however long ago; empty: nothing. None: it never was."""
        record, _ = self._records.get(contact, (None, 0.0))
        return None if record is None else record.country

    def _known(self, contact: Contact) -> NodeRecord | None:
        record, asked_at = self._records.get(contact, (None, 0.0))
        if record is None:
            return None
        seconds = RECORD_SECONDS if record.storing else NOT_STORING_SECONDS
        return record if trio.current_time() - asked_at < seconds else None

    async def _exchange(
        self,
        pool: _Pool,
        connection: _Connection,
        message: Request,
        body: Sequence[memoryview],
        into: Into | None,
        on_body: Callable[[int], None] | None,
    ) -> tuple[Reply, memoryview]:
        """One request on one connection, which is idle afterwards, or closed if anything went wrong."""
        wire = connection.wire
        good = False
        try:
            with _peer_faults():
                await wire.send(message, body, on_body=on_body)
                header = await wire.receive_header()
            if header is None:
                raise PeerUnreachable("hung up")
            reply = header.message
            assert isinstance(reply, Reply)  # a channel gives an initiator nothing else
            if into is None or isinstance(reply, ErrorReply):
                target = _buffer(message, header)
            else:
                target = into(reply, header.body_bytes)
            assert len(target) == header.body_bytes
            with _peer_faults():
                await wire.receive_body(target, on_body=on_body)
                wire.end_body()
            good = True
        finally:
            self._traffic.request(message, wire)
            if good:
                connection.idle_since = trio.current_time()
                pool.idle.append(connection)
            else:
                await self._close(connection)
        if isinstance(reply, ErrorReply):
            raise PeerRefused(reply.code, reply.text)
        return reply, target

    async def _connect(self, address: Address, key: PublicKey | None) -> _Connection:
        """A fresh connection to whoever holds ``key``, its handshake done. Raises WrongNetworkError, PeerError."""
        await self._make_room()
        connection = None
        self._open += 1
        try:
            with trio.fail_after(DIAL_SECONDS):
                connection = await self._dial(address, key)
        except trio.TooSlowError as exc:
            raise PeerUnreachable("no answer") from exc
        finally:
            if connection is None:
                self._open -= 1
        return connection

    async def _dial(self, address: Address, key: PublicKey | None) -> _Connection:
        try:
            stream = await self._transport.dial(address)
        except OSError as exc:
            raise PeerUnreachable(_reason(exc)) from exc
        seed = self._random_bytes(_SEED_BYTES)
        wire = Wire(stream, Channel.initiator(self._identity, self._network.id, self._static_seed, seed))
        good = False
        try:
            with _peer_faults():
                peer = await wire.handshake()
            if key is not None and peer != key:
                raise PeerBroke("is another node than expected")
            good = True
        finally:
            self._traffic.connection(wire)
            if not good:
                await wire.close()
        return _Connection(wire, peer)

    async def _close(self, connection: _Connection) -> None:
        self._open -= 1
        await connection.wire.close()

    async def _make_room(self) -> None:
        while self._open >= self._most:
            idle = [(c.idle_since, pool, c) for pool in self._pools.values() for c in pool.idle]
            if not idle:
                return
            _, pool, oldest = min(idle, key=lambda item: item[0])
            pool.idle.remove(oldest)
            await self._close(oldest)

    def _forget_if_unused(self, contact: Contact, pool: _Pool) -> None:
        if not pool.users and not pool.idle and self._pools.get(contact) is pool:
            del self._pools[contact]


@contextmanager
def _peer_faults() -> Iterator[None]:
    """Turn what a wire raises into what a caller of :class:`Peers` can act on."""
    try:
        yield
    except HungUpError as exc:
        raise PeerUnreachable(str(exc)) from exc
    except WrongNetworkError:
        raise
    except RemoteProtocolError as exc:
        raise PeerBroke(str(exc)) from exc


def _buffer(request: Request, header: Header) -> memoryview:
    """Room for a reply's body, if it is not more than was asked for."""
    most = request.count * SEALED_BLOCK_BYTES if isinstance(request, Get) else SEALED_BLOCK_BYTES
    if header.body_bytes > most:
        raise PeerBroke(f"sent a body of {header.body_bytes} bytes, at most {most} were asked for")
    return memoryview(bytearray(header.body_bytes))


def _reason(exc: OSError) -> str:
    """Why a connection was not made, in lower case: "connection refused"."""
    reason = os.strerror(exc.errno) if exc.errno else str(exc) or type(exc).__name__  # trio's text names the address
    return reason[:1].lower() + reason[1:]
