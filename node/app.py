"""A storage node, put together (docs/architecture.md): identity, store, DHT, server, and what runs beside them."""

import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from trio.abc import Listener, Stream

from dht.contact import Contact
from dht.service import Dht
from dht.socket import DatagramSocket
from dht.state import read_contacts, write_contacts
from node.blocking import Blocking, ThreadBlocking
from node.clock import Clock, SystemClock
from node.errors import ConfigError, machine_error
from node.net.descriptors import room_for
from node.net.peers import CONNECTIONS, Peers
from node.net.transport import SystemTransport, Transport, is_unspecified, outbound_host
from node.serving.admission import MAX_CONNECTIONS, Connections
from node.serving.reachability import DialBacks, Reachability
from node.serving.requests import Requests
from node.serving.serve import ChunkServer
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.datafolder import CONTACTS_FILE, load_identity, locked_folder
from node.store.refusal import Refusal
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId, SegmentId
from protocol.records import is_country

log = logging.getLogger(__name__)

THREADS = 8
"""Worker threads of a node: mostly waiting for the disk."""
GRACE_SECONDS = 5.0
"""How long requests under way may go on once the node is told to stop."""
ANNOUNCE_SECONDS = 12 * 3600.0
SAVE_SECONDS = 300.0
EXPIRE_SECONDS = 600.0
_ACCEPTED, _DIALLED = 2 / 5, 1 / 5
"""Parts of our descriptors for connections; the rest is for chunks, one for each connection that is being served."""
_PAGE = 256
_BIND_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What a node needs to know."""

    data: Path
    """The data folder, of this node alone."""
    listen: Address
    """Where to listen, by UDP and TCP alike; port 0: any that is free."""
    advertise: Address | None = None
    """Where peers reach the node; None: the listening address, or where peers see it when it listens everywhere."""
    country: str = ""
    """Claimed, two upper-case letters; empty for unknown."""
    quota_bytes: int
    """What chunk and lease files may take."""
    network: str = "archipel"
    """Name of the network."""
    join: tuple[Address, ...] = ()
    """Nodes to join by."""

    def __post_init__(self) -> None:
        if self.country and not is_country(self.country):
            raise ConfigError(f"a country is two upper-case letters, such as NZ, got {self.country!r}")
        if self.quota_bytes < 0:
            raise ConfigError(f"a quota is 0 bytes or more, got {self.quota_bytes}")
        if self.advertise is not None and (not self.advertise.port or is_unspecified(self.advertise.host)):
            raise ConfigError(f"peers cannot reach {self.advertise}", hint="name one address and its port")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says when it is ready."""

    node_id: NodeId
    listening: Address
    """Where it listens, with the real port."""
    address: Address
    """Where peers reach it."""
    country: str
    quota_bytes: int
    used_bytes: int
    storing: bool
    """False: it has not been found reachable, or knows nobody yet; it goes on trying."""


async def run_node(
    config: NodeConfig,
    *,
    stop: trio.Event,
    transport: Transport | None = None,
    clock: Clock | None = None,
    blocking: Blocking | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    task_status: trio.TaskStatus[NodeInfo] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a storage node until ``stop`` is set; then let requests under way finish, for GRACE_SECONDS at most.

    ``task_status`` is told when the node serves, has tried to join, and has been checked for the first time.

    Raises:
        MachineError: The data folder is in use or not usable, or the address is not free.
        ConfigError: The data folder is another network's.
    """
    clock = clock or SystemClock()
    blocking = blocking or ThreadBlocking(THREADS)
    network = Network(config.network)
    with locked_folder(config.data):
        identity = load_identity(config.data, random_bytes)
        open_store = partial(ChunkStore.open, config.data, network=network, wall_clock=clock.wall)
        store = await blocking(partial(open_store, quota_bytes=config.quota_bytes))
        try:
            outside = _Outside(transport or SystemTransport(), clock, blocking, random_bytes)
            node, listener = await _build(config, identity, network, store, outside)
            await node.run(listener, stop, task_status)
        finally:
            store.close()


@dataclass(frozen=True, slots=True)
class _Outside:
    """What a node needs of the machine."""

    transport: Transport
    clock: Clock
    blocking: Blocking
    random_bytes: Callable[[int], bytes]


async def _build(
    config: NodeConfig, identity: Identity, network: Network, store: ChunkStore, outside: _Outside
) -> tuple["_Node", Listener[Stream]]:
    """Bind the sockets and put the parts together; nothing runs yet."""
    random_bytes, blocking = outside.random_bytes, outside.blocking
    remembered = await blocking(_read_contacts, config.data / CONTACTS_FILE)
    listener, socket, listening = await _bind(outside.transport, config.listen)
    address = config.advertise or _reachable(listening)
    statements = Statements(identity, network, outside.clock, store, country=config.country, address=address)
    dht = Dht(identity, network, socket, read_only=True, wall_clock=outside.clock.wall, random_bytes=random_bytes)
    peers = Peers(
        identity,
        network,
        outside.transport,
        random_bytes,
        own_record=statements.node_record,
        connections=room_for(CONNECTIONS, _DIALLED),
    )
    accepted = Connections(total=room_for(MAX_CONNECTIONS, _ACCEPTED))
    requests = Requests(store, statements, blocking, DialBacks(dht, peers))
    ways_in = [way for way in config.join if way not in (listening, address)]
    reachability = Reachability(
        dht,
        peers,
        statements,
        random_bytes,
        advertised=config.advertise is not None or not is_unspecified(listening.host),
        ways_in=ways_in,
        remembered=remembered,
    )
    node = _Node(
        config=config,
        listening=listening,
        store=store,
        statements=statements,
        dht=dht,
        peers=peers,
        server=ChunkServer(requests, statements, blocking, random_bytes, connections=accepted),
        reachability=reachability,
        blocking=blocking,
        join=partial(dht.join, ways_in, remembered),
    )
    return node, listener


@dataclass(slots=True, kw_only=True)
class _Node:
    """The parts of a running node."""

    config: NodeConfig
    listening: Address
    store: ChunkStore
    statements: Statements
    dht: Dht
    peers: Peers
    server: ChunkServer
    reachability: Reachability
    blocking: Blocking
    join: Callable[[], Awaitable[int]]

    async def run(self, listener: Listener[Stream], stop: trio.Event, task_status: trio.TaskStatus[NodeInfo]) -> None:
        async with trio.open_nursery() as connections:  # outlives everything else
            async with trio.open_nursery() as services:
                await services.start(self.dht.run)
                services.start_soon(self.peers.run)
                services.start_soon(
                    partial(trio.serve_listeners, self.server.serve, [listener], handler_nursery=connections)
                )
                started = trio.Event()
                services.start_soon(self._begin, services, started)
                async with trio.open_nursery() as either:
                    either.start_soon(_cancel_when, stop, either.cancel_scope)
                    await started.wait()
                    either.cancel_scope.cancel()
                task_status.started(self._info())
                await stop.wait()
                services.cancel_scope.cancel()
            self.server.finish()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS
        _write_contacts(self.config.data / CONTACTS_FILE, self.dht.contacts())

    async def _begin(self, services: trio.Nursery, started: trio.Event) -> None:
        """Join, be checked, and begin what runs at intervals."""
        if not await self.join() and self.config.join:
            log.warning("nobody answered at %s: trying again", ", ".join(map(str, self.config.join)))
        await self.reachability.check()
        for service in (self.reachability.run, self._announce, self._save, self._expire):
            services.start_soon(service)
        started.set()

    def _info(self) -> NodeInfo:
        return NodeInfo(
            self.statements.identity.node_id,
            self.listening,
            self.statements.address,
            self.config.country,
            self.config.quota_bytes,
            self.store.used_bytes,
            self.statements.storing,
        )

    async def _announce(self) -> None:
        """Say in the DHT what is held: once the node stores, and then every 12 hours."""
        while True:
            await self.reachability.found.wait()
            try:
                await self._announce_all()
            except Refusal as exc:
                log.error("could not announce what is held: %s", exc)
            await trio.sleep(ANNOUNCE_SECONDS)

    async def _announce_all(self) -> None:
        after = (b"", 0)
        while page := await self.blocking(self.store.holdings, after, _PAGE):
            after = (page[-1].segment, page[-1].index)
            await self.dht.announce_all(await self.blocking(self._records, page))

    def _records(self, page: list[HeldChunk]) -> dict[SegmentId, list[bytes]]:
        records: dict[SegmentId, list[bytes]] = defaultdict(list)
        for chunk in page:
            records[chunk.segment].append(self.statements.provider(chunk))
        return records

    async def _save(self) -> None:
        while True:
            await self.blocking(_write_contacts, self.config.data / CONTACTS_FILE, self.dht.contacts())
            await trio.sleep(SAVE_SECONDS)

    async def _expire(self) -> None:
        while True:
            try:
                removed = await self.blocking(self.store.expire)
                if removed:
                    log.info("removed %d chunks whose leases have ended", removed)
            except Refusal as exc:
                log.error("could not remove expired chunks: %s", exc)
            await trio.sleep(EXPIRE_SECONDS)


def _read_contacts(path: Path) -> list[Contact]:
    try:
        return read_contacts(path)
    except OSError as exc:
        log.warning("could not read the remembered contacts: %s", exc)
        return []


def _write_contacts(path: Path, contacts: Sequence[Contact]) -> None:
    """Remember whom we know; an empty table is no reason to forget."""
    if contacts:
        try:
            write_contacts(path, contacts)
        except OSError as exc:
            log.warning("could not remember contacts: %s", exc)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _bind(transport: Transport, address: Address) -> tuple[Listener[Stream], DatagramSocket, Address]:
    """Listen by TCP and UDP on one port number."""
    for tries_left in reversed(range(_BIND_TRIES if address.port == 0 else 1)):
        listener = None
        try:
            listener, bound = await transport.listen(address)
            return listener, await transport.open_udp(bound), bound
        except OSError as exc:
            if listener is not None:
                await listener.aclose()
            if not tries_left:
                raise machine_error(f"listen on {address}", exc) from exc
    raise AssertionError("unreachable")


def _reachable(listening: Address) -> Address:
    """Where peers may reach a node that listens there, until they say better."""
    if not is_unspecified(listening.host):
        return listening
    return Address(outbound_host(version=6 if ":" in listening.host else 4), listening.port)
