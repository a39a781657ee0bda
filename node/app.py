"""A storage node, put together (docs/architecture.md): identity, store, DHT, server, and what runs beside them."""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial

import trio
from trio.abc import Listener, Stream

from dht.records import RecordStore
from dht.service import Dht
from dht.socket import DatagramSocket
from node.blocking import Blocking, ThreadBlocking
from node.client import Client, World, client_beside
from node.clock import Clock, SystemClock
from node.control import Control
from node.drive.caretaker import Caretaker
from node.errors import MachineError
from node.healing.service import Healing
from node.metrics import serve_metrics
from node.net.binding import bind, reachable_at
from node.net.descriptors import room_for
from node.net.peers import CONNECTIONS, Peers
from node.net.portmap import Router, mapping_for
from node.net.throttle import Throttle
from node.net.transport import SystemTransport, Transport, is_unspecified
from node.nodeconfig import NodeConfig, NodeInfo
from node.serving.admission import MAX_CONNECTIONS, Connections
from node.serving.announcing import Announcer
from node.serving.contacts import keep_contacts, recall_contacts, remember_contacts
from node.serving.depositors import DepositorDesk
from node.serving.limits import LimitsDesk
from node.serving.policy import AccessLists
from node.serving.reachability import DialBacks, Reachability
from node.serving.republishing import Republisher
from node.serving.requests import Requests
from node.serving.serve import ChunkServer
from node.serving.statements import Statements
from node.status import Status
from node.store.chunkstore import ChunkStore
from node.store.datafolder import CONTACTS_FILE, load_identity, locked_folder
from node.store.expiring import run_expiry
from node.store.recordfile import RECORDS_FILE, RecordFile, persisting
from node.tidying import tidy
from node.traffic import Traffic
from node.web.dav.access import Access
from node.web.tickets import Tickets
from protocol.identity import Identity, Network
from protocol.ids import Address

log = logging.getLogger(__name__)

THREADS = 8
"""Worker threads of a node: mostly waiting for the disk."""
GRACE_SECONDS = 5.0
"""How long requests under way may go on once the node is told to stop."""
_ACCEPTED, _DIALLED = 2 / 5, 1 / 5
"""Parts of our descriptors for connections; the rest is for chunks, one for each connection that is being served."""


async def run_node(
    config: NodeConfig,
    *,
    stop: trio.Event,
    transport: Transport | None = None,
    clock: Clock | None = None,
    blocking: Blocking | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    router: Router | None = None,
    task_status: trio.TaskStatus[NodeInfo] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a storage node until ``stop`` is set; then let requests under way finish, for GRACE_SECONDS at most.

    ``task_status`` is told when the node serves, has tried to join, and has been checked for the first time.
    ``router`` is asked to map the port when peers do not get through; None: nobody is asked.

    Raises:
        MachineError: The data folder is in use or not usable, or the address is not free.
        ConfigError: The data folder is another network's, or a list of the operator's is malformed.
    """
    clock = clock or SystemClock()
    blocking = blocking or ThreadBlocking(THREADS)
    network = Network(config.network)
    with locked_folder(config.data):
        identity = load_identity(config.data, random_bytes)
        lists = await blocking(AccessLists, config.allow, config.deny)
        open_store = partial(
            ChunkStore.open,
            config.data,
            quota_bytes=config.quota_bytes,
            network=network,
            wall_clock=clock.wall,
            trash_seconds=config.intervals.trash,
            depositor_share=config.depositor_share,
            subnet_share=config.subnet_share,
        )
        store = await blocking(open_store)
        lists.govern(store)
        with closing(store), closing(await blocking(RecordFile.open, config.data / RECORDS_FILE)) as records:
            throttle = Throttle(up=config.up_bytes_per_second, down=config.down_bytes_per_second)
            outside = World(throttle.around(transport or SystemTransport()), clock, blocking, random_bytes)
            limits = LimitsDesk(config.data, config.limits, store, throttle, blocking, given=config.given)
            node, listener = await _build(config, identity, network, store, records, lists, limits, outside, router)
            await node.run(listener, stop, task_status)


async def _build(
    config: NodeConfig,
    identity: Identity,
    network: Network,
    store: ChunkStore,
    records: RecordFile,
    lists: AccessLists,
    limits: LimitsDesk,
    outside: World,
    router: Router | None,
) -> tuple["_Node", Listener[Stream]]:
    """Bind the sockets and put the parts together; nothing runs yet."""
    random_bytes, blocking = outside.random_bytes, outside.blocking
    traffic = Traffic()
    remembered = await blocking(recall_contacts, config.data / CONTACTS_FILE)
    names = RecordStore(network)
    await blocking(records.load_into, names, outside.clock.wall())
    listener, socket, listening = await bind(outside.transport, config.listen)
    address = config.advertise or reachable_at(listening)
    statements, dht, peers = _talkers(
        config, identity, network, store, names, records, outside, socket, address, traffic
    )
    accepted = Connections(total=room_for(MAX_CONNECTIONS, _ACCEPTED))
    client = Client(network, outside, dht, peers)
    healing = Healing(client, store, statements, config.intervals, config.data)
    requests = Requests(store, statements, blocking, DialBacks(dht, peers), healing, lists)
    ways_in = [way for way in config.join if way not in (listening, address)]
    reachability = Reachability(
        dht,
        peers,
        statements,
        random_bytes,
        advertised=config.advertise is not None or not is_unspecified(listening.host),
        ways_in=ways_in,
        remembered=remembered,
        mapping=None if config.advertise else mapping_for(listening, router),
    )
    announcer, republisher = _announcers(config, store, statements, names, dht, reachability, outside)
    node = _Node(
        config=config,
        listening=listening,
        store=store,
        records=records,
        lists=lists,
        limits=limits,
        statements=statements,
        dht=dht,
        peers=peers,
        server=ChunkServer(requests, statements, blocking, random_bytes, connections=accepted, traffic=traffic.served),
        accepted=accepted,
        traffic=traffic,
        reachability=reachability,
        healing=healing,
        caretaker=Caretaker(config.home, network, outside, dht, traffic.asked, config.intervals),
        announcer=announcer,
        republisher=republisher,
        outside=outside,
        join=partial(dht.join, ways_in, remembered),
    )
    return node, listener


def _talkers(
    config: NodeConfig,
    identity: Identity,
    network: Network,
    store: ChunkStore,
    names: RecordStore,
    records: RecordFile,
    outside: World,
    socket: DatagramSocket,
    address: Address,
    traffic: Traffic,
) -> tuple[Statements, Dht, Peers]:
    """What speaks in the node's name: its statements, by datagrams, over channels."""
    statements = Statements(
        identity,
        network,
        outside.clock,
        store,
        country=config.country,
        address=address,
        announce_seconds=config.intervals.announce,
    )
    dht = Dht(
        identity,
        network,
        socket,
        read_only=True,
        wall_clock=outside.clock.wall,
        random_bytes=outside.random_bytes,
        records=names,
        persist=persisting(records, outside.blocking),
    )
    peers = Peers(
        identity,
        network,
        outside.transport,
        outside.random_bytes,
        own_record=statements.node_record,
        connections=room_for(CONNECTIONS, _DIALLED),
        traffic=traffic.asked,
    )
    return statements, dht, peers


def _announcers(
    config: NodeConfig,
    store: ChunkStore,
    statements: Statements,
    names: RecordStore,
    dht: Dht,
    reachability: Reachability,
    outside: World,
) -> tuple[Announcer, Republisher]:
    """What is said again and again, once the node has been found reachable."""
    wall, interval = outside.clock.wall, config.intervals.announce
    found = lambda: reachability.found.wait()  # noqa: E731, PLW0108 - when lost it is another event
    node_id = statements.identity.node_id
    return (
        Announcer(store, statements, dht.announce_all, outside.blocking, wall, may_announce=found, interval=interval),
        Republisher(names, dht.republish, node_id, wall, may_republish=found, interval=interval),
    )


@dataclass(slots=True, kw_only=True)
class _Node:
    """The parts of a running node."""

    config: NodeConfig
    listening: Address
    store: ChunkStore
    records: RecordFile
    lists: AccessLists
    limits: LimitsDesk
    statements: Statements
    dht: Dht
    peers: Peers
    server: ChunkServer
    accepted: Connections
    traffic: Traffic
    reachability: Reachability
    healing: Healing
    caretaker: Caretaker
    announcer: Announcer
    republisher: Republisher
    outside: World
    join: Callable[[], Awaitable[int]]
    page: Address | None = None
    """Where the node's own page is served, once it is."""
    gateway: Address | None = None
    """The same of the page for everybody."""

    async def run(self, listener: Listener[Stream], stop: trio.Event, task_status: trio.TaskStatus[NodeInfo]) -> None:
        async with trio.open_nursery() as connections:  # outlives everything else
            async with trio.open_nursery() as services:
                await services.start(self.dht.run)
                status = self._status()
                desk = DepositorDesk(self.store, self.lists, self.outside.blocking)
                tickets = Tickets(self.outside.random_bytes)
                access = Access(self.config.home, tickets, self.outside.blocking)
                handlers = {"status": status.answer, "leave": self._leave, "open": tickets.open, "webdav": access.tell}
                handlers |= desk.handlers
                await services.start(Control(self.config.data, handlers).run)
                if self.config.metrics is not None:
                    await services.start(partial(serve_metrics, self.config.metrics, status.look))
                if self.config.http is not None or self.config.gateway is not None:
                    await self._serve_pages(services, status, desk, tickets)
                services.start_soon(self.peers.run)
                services.start_soon(self.lists.run, self.store, self.outside.blocking)
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
                services.start_soon(self._stop_when_left, stop)
                await stop.wait()
                log.info("stopping")
                services.cancel_scope.cancel()
            self.server.finish()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS
        await self.reachability.close()
        remember_contacts(self.config.data / CONTACTS_FILE, self.dht.contacts())

    async def _begin(self, services: trio.Nursery, started: trio.Event) -> None:
        """Join, be checked, and begin what runs at intervals."""
        known = await self.join()
        if known:
            log.info("joined: %d contacts known", known)
        elif self.config.join:
            log.warning("nobody answered at %s: trying again", ", ".join(map(str, self.config.join)))
        await self.reachability.check()
        for service in (self.reachability.run, self.announcer.run, self.republisher.run, self.healing.run):
            services.start_soon(service)
        services.start_soon(self.caretaker.run)
        clock, blocking = self.outside.clock, self.outside.blocking
        services.start_soon(run_expiry, self.store, self.records, clock, blocking, self.config.intervals.trash)
        services.start_soon(keep_contacts, self.config.data / CONTACTS_FILE, self.dht.contacts, blocking)
        started.set()

    async def _serve_pages(self, services: trio.Nursery, status: Status, desk: DepositorDesk, tickets: Tickets) -> None:
        """The page of the node and its API, and the one for everybody. Loaded here: without, a node is smaller."""
        from node.web.parts import Parts  # noqa: PLC0415
        from node.web.server import bind, run_gateway, run_page  # noqa: PLC0415

        client = client_beside(self.dht, self.statements.network, self.outside, self.traffic.asked)
        services.start_soon(client.peers.run)
        parts = Parts.of(
            client=client,
            status=status,
            desk=desk,
            limits=self.limits,
            leave=self.healing.leave,
            home=self.config.home,
            tickets=tickets,
            data=self.config.data,
        )
        services.start_soon(tidy, parts.buffers, self.outside.blocking)
        if self.config.http is not None:
            try:
                listener, self.page = await bind(SystemTransport(), self.config.http)  # no limit within the machine
                tickets.page = self.page
            except MachineError as exc:
                if self.config.http_wanted:
                    raise
                log.warning("%s: this node has no page (--http H:P for another place, or off)", exc)
            else:
                await services.start(partial(run_page, parts, listener, self.page))
        if self.config.gateway is not None:
            listener, self.gateway = await bind(self.outside.transport, self.config.gateway.address)
            await services.start(partial(run_gateway, parts, self.config.gateway, listener))

    async def _leave(self, _: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Hand all chunks on, telling how far it has come; then stop."""
        async with aclosing(self.healing.leave.watch()) as progress:
            async for now in progress:
                yield now.fields()

    async def _stop_when_left(self, stop: trio.Event) -> None:
        await self.healing.leave.done.wait()
        with trio.move_on_after(GRACE_SECONDS):  # whoever has asked for it may have gone
            await self.healing.leave.told.wait()
        stop.set()

    def _status(self) -> Status:
        return Status(
            network=self.config.network,
            statements=self.statements,
            store=self.store,
            dht=self.dht,
            peers=self.peers,
            accepted=self.accepted,
            reachability=self.reachability,
            claimed=self.healing.country,
            tally=self.healing.tally,
            tending=self.caretaker.told,
            traffic=self.traffic,
            clock=self.outside.clock,
            blocking=self.outside.blocking,
        )

    def _info(self) -> NodeInfo:
        return NodeInfo(
            self.statements.identity.node_id,
            self.listening,
            self.statements.address,
            self.config.country,
            self.config.quota_bytes,
            self.store.used_bytes,
            self.page,
            self.gateway,
            self.statements.storing,
        )


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
