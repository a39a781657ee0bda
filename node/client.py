"""A client's way into the network: a read-only DHT socket and a pool of channels, for the length of one command."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

import trio

from dht.contact import Contact
from dht.service import Dht
from dht.state import pack_contacts, read_contacts
from node.blocking import Blocking, ThreadBlocking
from node.clock import Clock, SystemClock
from node.config import Config, resolve, split_host_port
from node.errors import ConfigError, MachineError, NetworkError
from node.home import Home, write_private
from node.net.descriptors import room_for
from node.net.peers import CONNECTIONS, PeerError, Peers
from node.net.transport import SystemTransport, Transport
from node.refusals import Refusals
from node.traffic import Counts
from protocol.errors import WrongNetworkError
from protocol.identity import SEED_BYTES, Identity, Network
from protocol.ids import Address, NodeId
from protocol.records import NodeRecord

SUSPECT_SECONDS = 30.0
"""How long a peer that stalled is asked last."""

_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside the process: replaced as a whole in tests, so that any fault can be replayed."""

    transport: Transport = field(default_factory=SystemTransport)
    clock: Clock = field(default_factory=SystemClock)
    blocking: Blocking = field(default_factory=partial(ThreadBlocking, 4))
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


@dataclass(slots=True)
class Client:
    """What publish, fetch, check and the rest share."""

    network: Network
    world: World
    dht: Dht
    peers: Peers
    refusals: Refusals = field(default_factory=Refusals)
    """Who would not do what it was asked for a depositor's sake."""
    _suspects: dict[NodeId, float] = field(default_factory=dict)

    def suspect(self, contact: Contact) -> None:
        """Remember that a peer stalled or failed just now: others are asked first for a while."""
        self._suspects[contact.node_id] = trio.current_time() + SUSPECT_SECONDS

    def is_suspect(self, contact: Contact) -> bool:
        """Whether the peer stalled or failed within the last 30 seconds."""
        return self._suspects.get(contact.node_id, 0.0) > trio.current_time()

    def random_below(self, bound: int) -> int:
        """An even choice of 0 <= number < bound (bound at most 2**32)."""
        return int.from_bytes(self.world.random_bytes(8), "big") % bound

    async def record(self, contact: Contact) -> NodeRecord | None:
        """What a node says of itself, or None if it cannot be had; then it is suspect. The deadline is the caller's."""
        try:
            return await self.peers.record(contact)
        except PeerError:
            self.suspect(contact)
            return None


def client_beside(
    dht: Dht, network: Network, world: World, traffic: Counts, *, connections: int = CONNECTIONS, part: float = 1 / 10
) -> Client:
    """A client in the process of a node. Of the node's it has the DHT alone: holders do not see that it is this node
    which asks, since that is nobody's business. Its ``peers.run`` is to be started.

    Args:
        dht: The node's: it knows everybody.
        network: The node's.
        world: Where connections come from.
        traffic: Where requests are counted.
        connections: At most so many.
        part: Of our descriptors, for these connections.
    """
    peers = Peers(
        Identity(world.random_bytes(SEED_BYTES)),
        network,
        world.transport,
        world.random_bytes,
        connections=room_for(connections, part),
        traffic=traffic,
    )
    return Client(network, world, dht, peers)


@asynccontextmanager
async def open_client(
    config: Config, *, hints: Sequence[Address] = (), world: World | None = None
) -> AsyncIterator[Client]:
    """Join the network as a client, which no routing table keeps.

    Args:
        config: Whom to join by, and the home folder that remembers contacts.
        hints: Addresses a link brought along.

    Raises:
        NetworkError: Nobody to join by, or nobody answered.
    """
    world = world or World()
    network = Network(config.network)
    home = Home(config.home)
    addresses = [*await _resolve_all(config.join), *hints]
    remembered = [] if config.join else await world.blocking(read_contacts, home.contacts)
    if not addresses and not remembered:
        raise NetworkError(
            "nobody to join",
            hint="name a node: --join HOST:PORT, or ARCHIPEL_JOIN; start one: archipel node",
        )
    identity = Identity(world.random_bytes(SEED_BYTES))
    socket = await world.transport.open_udp(_local_address([*addresses, *(c.address for c in remembered)]))
    dht = Dht(
        identity,
        network,
        socket,
        read_only=True,
        wall_clock=world.clock.wall,
        random_bytes=world.random_bytes,
    )
    peers = Peers(identity, network, world.transport, world.random_bytes, connections=room_for(CONNECTIONS))
    client = Client(network, world, dht, peers)
    async with trio.open_nursery() as nursery:
        await nursery.start(dht.run)
        nursery.start_soon(peers.run)
        if await dht.join(addresses, remembered) == 0:
            raise await _why_nobody(client, addresses[: len(addresses) - len(hints)], len(hints))
        try:
            yield client
        finally:  # also when the work failed: whom we know is true all the same
            await world.blocking(_remember, home, dht.contacts())
        nursery.cancel_scope.cancel()


def _remember(home: Home, contacts: Sequence[Contact]) -> None:
    """So that the next command needs no address to join by. If the home cannot be written, it will."""
    if contacts:
        with suppress(OSError, MachineError):
            home.create()
            write_private(home.contacts, pack_contacts(contacts), replace=True)


async def _resolve_all(names: Sequence[str]) -> list[Address]:
    found: list[Address] = []
    for name in names:
        for address in await _resolve(name):
            if address.port == 0:
                raise ConfigError(f"cannot join by port 0: {name!r}")
            found.append(address)
    return found


async def _resolve(name: str) -> list[Address]:
    """Look a name up in a thread that is left behind when cancelled: a resolver may take its time."""
    host, port = split_host_port(name)
    try:
        return [Address(str(ip_address(host)), port)]
    except ValueError:
        return await trio.to_thread.run_sync(resolve, name, abandon_on_cancel=True)


def _local_address(others: Sequence[Address]) -> Address:
    """Where to bind: loopback if everybody known is there, else every address, in the family of the first."""
    version6 = ":" in others[0].host
    if all(ip_address(address.host).is_loopback for address in others):
        return Address("::1" if version6 else "127.0.0.1", 0)
    return Address("::" if version6 else "0.0.0.0", 0)  # noqa: S104 - a client's own socket, any route out


async def _why_nobody(client: Client, addresses: Sequence[Address], hints: int) -> NetworkError:
    """Nobody answered by UDP: find out by TCP whether they are away or of another network.

    Only of those the user named: whoever made a link does not decide where we connect.
    """
    strangers: list[Address] = []

    async def probe(address: Address) -> None:
        try:
            await client.peers.probe(address)
        except WrongNetworkError:
            strangers.append(address)
        except (PeerError, OSError):
            pass

    with trio.move_on_after(_PROBE_SECONDS):
        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(probe, address)
    if strangers:
        return NetworkError(
            f"{strangers[0]} belongs to another network than {client.network.name!r}",
            hint="name its network: --network NAME, or ARCHIPEL_NETWORK",
        )
    asked = ", ".join(map(str, addresses)) or ("the nodes named in the link" if hints else "the remembered peers")
    return NetworkError(f"nobody answered: asked {asked}", hint="is the node running, and its UDP port reachable?")
