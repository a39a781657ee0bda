"""Whole nodes behind a home router: what they ask it for, and what they believe."""

from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.abc import Listener, Stream
from trio.testing import MockClock

from dht.socket import DatagramSocket
from node.app import run_node
from node.blocking import InlineBlocking
from node.net.portmap import LEASE_SECONDS, Mapped, MappingError
from node.net.transport import Transport
from node.nodeconfig import NodeConfig, NodeInfo
from protocol.ids import Address
from tests.network.memory import MemoryHost, MemoryNetwork
from tests.node.builders import NETWORK, FakeClock
from tests.node.serving import counter

PORT = 4110
OUTSIDE, INSIDE = "5.6.7.3", "192.168.1.3"


class Home:
    """A machine at INSIDE with a router at OUTSIDE before it, which lets datagrams through, and no connections."""

    def __init__(self, host: MemoryHost, external: str = OUTSIDE) -> None:
        self.host = host
        self.external = external
        self.dial = host.dial
        self.refusal = ""
        self.opens = True
        self.seconds = 0.0
        self.asked = 0

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        listener, _ = await self.host.listen(Address(self.host.ip, address.port + 1))
        return cast(Listener[Stream], listener), address

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await self.host.open_udp(Address(self.host.ip, address.port))

    @property
    def is_open(self) -> bool:
        return PORT in self.host.listeners

    async def map(self, port: int, host: str) -> Mapped:
        self.asked += 1
        await trio.sleep(self.seconds)
        assert (port, host) == (PORT, INSIDE)
        if self.refusal:
            raise MappingError(self.refusal)
        if self.opens:
            self.host.listeners[port] = self.host.listeners[port + 1]
        return Mapped("192.168.1.1", self.external)

    async def unmap(self, port: int) -> None:
        del self.host.listeners[port]


class World:
    """A few nodes on public addresses, and one at home."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        self.net = MemoryNetwork(1, delay=0.01)
        self.home = Home(self.net.host(OUTSIDE))
        self._path = path
        self._nursery = nursery
        self._clock = FakeClock()
        self._random = counter()

    async def start(
        self, ip: str, transport: Transport, *, join: str = "", advertise: Address | None = None
    ) -> tuple[NodeInfo, trio.Event]:
        config = NodeConfig(
            data=self._path / ip,
            listen=Address(ip, PORT),
            advertise=advertise,
            quota_bytes=10**8,
            network=NETWORK.name,
            join=(Address(join, PORT),) if join else (),
        )
        stop = trio.Event()
        run = partial(
            run_node,
            config,
            stop=stop,
            transport=transport,
            clock=self._clock,
            blocking=InlineBlocking(),
            random_bytes=self._random,
            router=self.home,
        )
        return await self._nursery.start(run), stop

    async def start_public(self, number: int, join: str = "") -> NodeInfo:
        ip = f"5.6.7.{number}"
        return (await self.start(ip, self.net.host(ip), join=join))[0]

    async def start_two(self) -> None:
        """Two nodes that can be reached, and say whether a third can."""
        await self.start_public(1)
        await self.start_public(2, "5.6.7.1")
        assert self.home.asked == 0, "a node with a public address asks no router"

    async def start_home(self, join: str = "5.6.7.1", advertise: Address | None = None) -> tuple[NodeInfo, trio.Event]:
        return await self.start(INSIDE, self.home, join=join, advertise=advertise)


@pytest.fixture
def it(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> World:
    return World(tmp_path, nursery)


async def test_a_node_at_home_has_its_port_mapped(autojump_clock: MockClock, it: World) -> None:
    await it.start_two()
    info, stop = await it.start_home()
    assert info.storing
    assert info.listening == Address(INSIDE, PORT)
    assert info.address == Address(OUTSIDE, PORT), "peers got through to where the router says it is"
    await trio.sleep(LEASE_SECONDS)
    assert it.home.asked > 2, "renewed in time"
    stop.set()
    await trio.sleep(1)
    assert not it.home.is_open


async def test_a_refusal_is_told(autojump_clock: MockClock, it: World, caplog: pytest.LogCaptureFixture) -> None:
    await it.start_two()
    it.home.refusal = "the router at 192.168.1.1 refused to map port 4110: Action not authorized"
    info, _ = await it.start_home()
    assert not info.storing
    assert (
        f"not reachable at {INSIDE}:4110: not storing ({it.home.refusal}; let UDP and TCP port 4110 through, "
        "or name the address peers can reach: --advertise HOST:PORT)"
    ) in caplog.text
    it.home.refusal = ""
    await trio.sleep(60)
    assert it.home.is_open, "it is asked again"


async def test_a_router_behind_another(autojump_clock: MockClock, it: World, caplog: pytest.LogCaptureFixture) -> None:
    await it.start_two()
    it.home.opens = False
    it.home.external = "100.64.3.2"
    info, _ = await it.start_home()
    assert not info.storing
    assert info.address == Address(INSIDE, PORT)
    assert "maps the port, but is behind another router or the provider's, at 100.64.3.2 itself; let" in caplog.text


async def test_a_router_is_not_believed_before_peers_get_through(
    autojump_clock: MockClock, it: World, caplog: pytest.LogCaptureFixture
) -> None:
    await it.start_two()
    it.home.external = "5.6.7.99"
    info, _ = await it.start_home()
    assert not info.storing
    assert info.address == Address(INSIDE, PORT)
    assert "(the router at 192.168.1.1 maps the port; let UDP" in caplog.text


async def test_the_operators_word_is_enough(autojump_clock: MockClock, it: World) -> None:
    await it.start_two()
    info, _ = await it.start_home(advertise=Address(OUTSIDE, PORT))
    await trio.sleep(600)
    assert not info.storing
    assert it.home.asked == 0, "whoever says --advertise forwards the port by hand"


async def test_the_first_node_of_a_network_waits_for_no_router(autojump_clock: MockClock, it: World) -> None:
    it.home.seconds = 10
    began = trio.current_time()
    info, _ = await it.start_home(join="")
    assert info.storing
    assert trio.current_time() - began < 1
    assert not it.home.is_open
    await trio.sleep(11)
    assert it.home.is_open, "the second one comes from outside"
