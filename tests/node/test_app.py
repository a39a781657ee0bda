"""Whole nodes: how they start, find out whether they are reachable, and stop."""

import logging
import secrets
import stat
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.abc import Listener, Stream
from trio.testing import MockClock

from dht.contact import Contact
from dht.service import Dht
from dht.socket import DatagramSocket
from node.app import GRACE_SECONDS, run_node
from node.blocking import InlineBlocking
from node.errors import ConfigError, MachineError
from node.intervals import Intervals
from node.net.peers import PeerRefused, Peers
from node.net.transport import SystemTransport, Transport
from node.net.wire import Wire
from node.nodeconfig import NodeConfig, NodeInfo
from node.serving.reachability import RECHECK_SECONDS
from node.store.chunkstore import ChunkStore
from node.store.expiring import EXPIRE_SECONDS
from protocol.channel import Channel
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId
from protocol.messages import DialBack, DialBackReply, ErrorCode, Get, GetReply, Have, HaveReply, Hello, PutReply
from protocol.records import ProviderRecord
from tests.network.memory import MemoryHost, MemoryNetwork
from tests.node.builders import ALICE, NETWORK, NOW, FakeClock, Sample, lease_for, put, sample
from tests.node.builders import open_store as open_store_at
from tests.node.serving import counter, put_message


@dataclass
class Running:
    info: NodeInfo
    contact: Contact
    stop: trio.Event
    ended: trio.Event


class World:
    """A network in memory, and folders for its nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.net = MemoryNetwork(1, delay=0.01)
        self.clock = FakeClock()
        self.nursery: trio.Nursery
        self._random = counter()

    def random_bytes(self, size: int) -> bytes:
        return self._random(size)

    def config(
        self, number: int, join: tuple[int, ...] = (), *, listen: str = "", advertise: Address | None = None
    ) -> NodeConfig:
        return NodeConfig(
            data=self.path / str(number),
            listen=Address(listen or f"10.0.0.{number}", 4110),
            advertise=advertise,
            country="NZ",
            quota_bytes=10**8,
            network=NETWORK.name,
            join=tuple(Address(f"10.0.0.{other}", 4110) for other in join),
        )

    async def start(self, config: NodeConfig, transport: Transport | None = None) -> Running:
        stop, ended = trio.Event(), trio.Event()
        host = transport or self.net.host(f"10.0.0.{config.data.name}")

        async def run(*, task_status: trio.TaskStatus[NodeInfo]) -> None:
            await run_node(
                config,
                stop=stop,
                transport=host,
                clock=self.clock,
                blocking=InlineBlocking(),
                random_bytes=self.random_bytes,
                task_status=task_status,
            )
            ended.set()

        info = await self.nursery.start(run)
        key = Identity((config.data / "node.key").read_bytes()).key
        return Running(info, Contact(key, info.address), stop, ended)

    async def end(self, *nodes: Running) -> None:
        for node in nodes:
            node.stop.set()
        for node in nodes:
            await node.ended.wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[Peers, Dht]]:
        """Somebody outside."""
        host = self.net.host("10.0.0.200")
        socket = await host.open_udp(Address("10.0.0.200", 0))
        dht = Dht(
            ALICE,
            NETWORK,
            socket,
            read_only=True,
            wall_clock=self.clock.wall,
            random_bytes=self.random_bytes,
        )
        async with trio.open_nursery() as nursery:
            peers = Peers(ALICE, NETWORK, host, self.random_bytes)
            nursery.start_soon(peers.run)
            await nursery.start(dht.run)
            yield peers, dht
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    it = World(path)
    async with trio.open_nursery() as nursery:
        it.nursery = nursery
        yield it
        nursery.cancel_scope.cancel()


class BehindNat:
    """A host whose TCP port nobody can reach."""

    def __init__(self, host: MemoryHost) -> None:
        self.dial, self.open_udp = host.dial, host.open_udp
        self._host = host

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        listener, _ = await self._host.listen(Address(address.host, address.port + 1))
        return cast(Listener[Stream], listener), address


class Everywhere:
    """A host that listens on every address, and is told so by its system."""

    def __init__(self, host: MemoryHost) -> None:
        self.dial = host.dial
        self._host = host

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        listener, bound = await self._host.listen(address)
        return cast(Listener[Stream], listener), Address("0.0.0.0", bound.port)

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await self._host.open_udp(address)


async def stores(peers: Peers, node: Running) -> bool:
    return (await peers.hello(node.contact))[0].storing


async def test_the_first_node_stores_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node = await it.start(it.config(1))
        assert node.info == NodeInfo(
            node.contact.node_id, Address("10.0.0.1", 4110), Address("10.0.0.1", 4110), "NZ", 10**8, 0, None, None, True
        )
        assert stat.S_IMODE((tmp_path / "1" / "node.key").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "1").stat().st_mode) == 0o700
        segment = sample()
        async with it.client() as (peers, _):
            reply, _body = await peers.request(
                node.contact,
                put_message(segment, 0, holder=node.contact.key),
                body=(memoryview(segment.columns[0]),),
            )
            assert isinstance(reply, PutReply)
        await it.end(node)
        again = await it.start(it.config(1))
        assert again.contact == node.contact
        assert again.info.used_bytes > 200_000
        await it.end(again)


async def test_nodes_join_and_are_dialled_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        nodes = [await it.start(it.config(1))]
        for number in (2, 3, 4):
            nodes.append(await it.start(it.config(number, (1,))))
            assert nodes[-1].info.storing
        async with it.client() as (peers, dht):
            assert await dht.join([nodes[2].info.address]) == 4
            for node in nodes:
                assert await stores(peers, node)
        await it.end(*nodes)
        for number in (1, 2, 3, 4):
            assert len((tmp_path / str(number) / "contacts").read_text().split()) == 3


async def test_a_remembered_contact_is_a_way_in(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        nodes = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        await it.end(nodes[1])
        again = await it.start(it.config(2))
        async with it.client() as (_, dht):
            assert await dht.join([again.info.address]) == 2
        await it.end(nodes[0], again)
        alone = await it.start(it.config(2))
        assert alone.info.storing, "nobody that it remembers answers: it starts a network"
        await it.end(alone)


async def test_a_network_that_starts_again_as_a_whole(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Each is told to join the others, so none may believe that it is the first; none stores, to begin with."""
    async with world(tmp_path) as it:
        nodes: list[Running] = []

        async def start(number: int, join: tuple[int, ...]) -> None:
            nodes.append(await it.start(it.config(number, join)))

        async with trio.open_nursery() as nursery:
            for number, join in ((1, (1, 2, 3)), (2, (1, 3)), (3, (1, 2))):
                nursery.start_soon(start, number, join)
        await trio.sleep(120)
        async with it.client() as (peers, dht):
            for node in nodes:
                assert await stores(peers, node)
            assert await dht.join([nodes[0].info.address]) == 3
        await it.end(*nodes)


async def test_a_node_told_to_join_nobody_but_itself(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node = await it.start(it.config(1, (1,)))
        assert node.info.storing
        await it.end(node)


async def test_a_node_behind_nat_does_not_store(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as it:
        others = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        node = await it.start(it.config(3, (1,)), BehindNat(it.net.host("10.0.0.3")))
        assert not node.info.storing
        assert "not reachable at 10.0.0.3:4110: not storing" in caplog.text
        assert "--advertise" in caplog.text
        async with it.client() as (_, dht):
            await dht.join([others[0].info.address])
            assert node.contact not in dht.contacts()
        await it.end(node, *others)


async def test_a_node_says_that_it_does_not_store(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        others = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        wrong = Address("10.0.0.9", 4110)
        node = await it.start(it.config(3, (1,), advertise=wrong))
        assert not node.info.storing, "peers refuse to dial where the request does not come from"
        here = Contact(node.contact.key, node.info.listening)
        segment = sample()
        async with it.client() as (peers, _):
            with pytest.raises(PeerRefused) as caught:
                message = put_message(segment, 0, holder=here.key)
                await peers.request(here, message, body=(memoryview(segment.columns[0]),))
            assert caught.value.code is ErrorCode.NOT_STORING
        await it.end(node, *others)


async def test_reachability_is_checked_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        others = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        node = await it.start(it.config(3, (1,)))
        host = it.net.host("10.0.0.3")
        async with it.client() as (peers, _):
            assert await stores(peers, node)
            listener = host.listeners.pop(4110)
            await trio.sleep(RECHECK_SECONDS + 600)
            host.listeners[4110] = listener
            assert not await stores(peers, node)
            await trio.sleep(600)
            assert await stores(peers, node)
        await it.end(node, *others)


async def test_one_bad_round_is_no_reason_to_stop_storing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        others = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        node = await it.start(it.config(3, (1,)))
        host = it.net.host("10.0.0.3")
        async with it.client() as (peers, _):
            listener = host.listeners.pop(4110)
            await trio.sleep(RECHECK_SECONDS + 6)
            host.listeners[4110] = listener
            await trio.sleep(600)
            assert await stores(peers, node)
        await it.end(node, *others)


async def test_peers_say_where_a_node_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        others = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        transport = Everywhere(it.net.host("10.0.0.3"))
        node = await it.start(it.config(3, (1,), listen="0.0.0.0"), transport)
        assert node.info.storing
        assert node.info.listening == Address("0.0.0.0", 4110)
        assert node.info.address == Address("10.0.0.3", 4110)
        await it.end(node, *others)


async def test_dialling_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node, other = await it.start(it.config(1)), await it.start(it.config(2, (1,)))
        host = it.net.host("10.0.0.2")
        key = Identity((tmp_path / "2" / "node.key").read_bytes())
        peers = Peers(key, NETWORK, host, it.random_bytes)
        for port, udp, tcp in ((4110, True, True), (4111, False, False)):
            reply, _ = await peers.request(node.contact, DialBack(address=Address("10.0.0.2", port)))
            assert reply == DialBackReply(udp=udp, tcp=tcp)
        stranger = Peers(ALICE, NETWORK, host, it.random_bytes)
        reply, _ = await stranger.request(node.contact, DialBack(address=Address("10.0.0.2", 4110)))
        assert reply == DialBackReply(udp=False, tcp=False), "another node's address"
        with trio.CancelScope() as scope:
            scope.cancel()
            await peers.run()
        await it.end(node, other)


async def test_what_is_held_is_announced_after_a_start(autojump_clock: MockClock, tmp_path: Path) -> None:
    segment = sample()
    for number in (1, 2):
        store = open_store_at(tmp_path / str(number))
        put(store, segment, number)
        put(store, segment, 0)
        store.close()
    async with world(tmp_path) as it:
        nodes = [await it.start(it.config(1)), await it.start(it.config(2, (1,)))]
        await trio.sleep(60)
        found: list[ProviderRecord] = []
        async with it.client() as (_, dht):
            await dht.join([nodes[0].info.address])
            async with aclosing(dht.providers(segment.id)) as records:
                async for page in records:
                    found += page
        ids = [nodes[0].contact.key, nodes[1].contact.key]
        assert sorted((record.index, ids.index(record.key)) for record in found) == [(0, 0), (0, 1), (1, 0), (2, 1)]
        await it.end(*nodes)


async def test_what_has_expired_goes(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = open_store_at(tmp_path / "1")
    put(store, sample(), 0)
    store.close()
    async with world(tmp_path) as it:
        it.clock.now = NOW + 40 * 86_400
        node = await it.start(it.config(1))
        await trio.sleep(1)
        segment = sample()
        async with it.client() as (peers, _):
            with pytest.raises(PeerRefused, match="not found"):
                await peers.request(node.contact, Get(segment=segment.id, index=0, count=1))
        await it.end(node)


# Stopping


async def test_a_request_under_way_is_finished(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node, segment = await it.start(it.config(1)), sample()
        wires = []
        for _ in range(2):
            stream = await it.net.host("10.0.0.50").dial(node.info.address)
            wires.append(Wire(stream, Channel.initiator(ALICE, NETWORK.id, b"s" * 32, b"e" * 32)))
            await wires[-1].handshake()
            message = put_message(segment, 0, holder=node.contact.key)
            await wires[-1].send_header(message, len(segment.columns[0]))
        node.stop.set()
        await trio.sleep(1)
        assert not node.ended.is_set()
        began = trio.current_time()
        await wires[0].send_body(memoryview(segment.columns[0]))
        header = await wires[0].receive_header()
        assert header is not None
        assert isinstance(header.message, PutReply)
        await node.ended.wait()
        assert trio.current_time() - began < GRACE_SECONDS
        for wire in wires:
            await wire.close()
        store = open_store_at(tmp_path / "1")
        assert store.read(segment.id, 0, 0, 2) == segment.columns[0]
        store.close()


async def test_stopping_while_joining(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        began = trio.current_time()
        with trio.move_on_after(1):
            await it.start(it.config(1, (77,)))
            raise AssertionError("joining takes longer")
        assert trio.current_time() - began == pytest.approx(1)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(
                    run_node,
                    it.config(1, (77,)),
                    stop=stop,
                    transport=it.net.host("10.0.0.1"),
                    clock=it.clock,
                    blocking=InlineBlocking(),
                )
            )
            await trio.sleep(1)
            stop.set()
        assert trio.current_time() - began == pytest.approx(2)


async def test_a_node_that_finds_nobody_goes_on_trying(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node = await it.start(it.config(2, (1,)))
        assert not node.info.storing
        first = await it.start(it.config(1))
        await trio.sleep(120)
        async with it.client() as (peers, dht):
            assert await stores(peers, node)
            assert await dht.join([first.info.address]) == 2
        await it.end(node, first)


# What cannot start


async def test_a_folder_belongs_to_one_process(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        node = await it.start(it.config(1))
        with pytest.raises(MachineError, match="another node uses"):
            await run_node(it.config(1), stop=trio.Event(), transport=it.net.host("10.0.0.5"))
        await it.end(node)
        await it.end(await it.start(it.config(1)))


async def test_a_port_belongs_to_one_node(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        host = it.net.host("10.0.0.1")
        udp = await host.open_udp(Address("10.0.0.1", 4110))
        with pytest.raises(MachineError, match=r"listen on 10\.0\.0\.1:4110"):
            await run_node(it.config(1), stop=trio.Event(), transport=host, blocking=InlineBlocking())
        assert host.listeners == {}
        udp.close()


async def test_another_networks_folder(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = open_store_at(tmp_path / "1")
    put(store, sample(), 0)
    store.close()
    async with world(tmp_path) as it:
        config = NodeConfig(data=tmp_path / "1", listen=Address("10.0.0.1", 1), quota_bytes=1, network="other")
        with pytest.raises(ConfigError, match="another network"):
            await run_node(config, stop=trio.Event(), transport=it.net.host("10.0.0.1"), blocking=InlineBlocking())


@pytest.mark.parametrize(
    "wrong",
    [
        {"country": "nz"},
        {"country": "NZL"},
        {"quota_bytes": -1},
        {"depositor_share": 0.0},
        {"subnet_share": 1.01},
        {"advertise": Address("0.0.0.0", 1)},
        {"advertise": Address("1.2.3.4", 0)},
    ],
    ids=str,
)
def test_configurations_that_cannot_be(tmp_path: Path, wrong: dict[str, object]) -> None:
    given: dict[str, object] = {"data": tmp_path, "listen": Address("127.0.0.1", 0), "quota_bytes": 1}
    with pytest.raises(ConfigError):
        NodeConfig(**(given | wrong))  # type: ignore[arg-type]  # a table of keyword arguments


# The operator's limits


async def put_on(it: World, node: Running, number: int, segment: Sample, lease: bytes | None = None) -> str:
    """What becomes of a put: "stored", or the refusal's code."""
    async with it.client() as (peers, _):
        message = put_message(segment, number, lease, holder=node.contact.key)
        try:
            await peers.request(node.contact, message, body=(memoryview(segment.columns[number]),))
        except PeerRefused as exc:
            return exc.code.name
    return "stored"


async def held_of(it: World, node: Running, segment: Sample) -> bytes:
    async with it.client() as (peers, _):
        asked = Have(depositor=ALICE.key, deposit=bytes(16), segments=(segment.id,))
        reply, _body = await peers.request(node.contact, asked)
    assert isinstance(reply, HaveReply)
    return reply.held[0].indices


async def test_a_denylist_counts_while_the_node_runs(autojump_clock: MockClock, tmp_path: Path) -> None:
    deny, segment = tmp_path / "deny", sample()
    deny.write_text("nonsense")
    async with world(tmp_path) as it:
        config = replace(it.config(1), deny=deny)
        with pytest.raises(ConfigError, match="deny, line 1"):
            await run_node(config, stop=trio.Event(), blocking=InlineBlocking())
        deny.write_text("")
        node = await it.start(config)
        assert await put_on(it, node, 0, segment) == "stored"
        deny.write_text(f"segment {segment.id.hex()}")
        await trio.sleep(2)
        assert await held_of(it, node, segment) == b""
        assert await put_on(it, node, 0, segment) == "REFUSED"
        await it.end(node)


async def test_a_node_lets_in_whom_its_allow_list_names(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "allow").write_text("00" * 32)
    async with world(tmp_path) as it:
        node = await it.start(replace(it.config(1), allow=tmp_path / "allow"))
        assert await put_on(it, node, 0, sample()) == "REFUSED"
        await it.end(node)


async def test_a_node_gives_a_depositor_its_share_and_empties_its_trash(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as it:
        segment = sample()
        node = await it.start(replace(it.config(1), depositor_share=0.003, intervals=Intervals(trash=60)))
        lease = lease_for(segment, expiry=NOW + 3600)[1]
        assert await put_on(it, node, 0, segment, lease) == "stored"
        assert await put_on(it, node, 1, segment, lease) == "REFUSED"
        it.clock.now += 3600 + 30
        await trio.sleep(EXPIRE_SECONDS)
        assert await held_of(it, node, segment) == b"\x00", "it is in the trash"
        it.clock.now += 30
        await trio.sleep(EXPIRE_SECONDS)
        assert await held_of(it, node, segment) == b""
        await it.end(node)


async def test_a_bug_in_a_service_is_loud(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise ZeroDivisionError

    async with world(tmp_path) as it:
        monkeypatch.setattr(ChunkStore, "expire", broken)
        with pytest.raises(ExceptionGroup) as caught:
            await run_node(
                it.config(1), stop=trio.Event(), transport=it.net.host("10.0.0.1"), blocking=InlineBlocking()
            )
        assert caught.value.split(ZeroDivisionError)[1] is None


# Real sockets


async def run_within(scope: trio.CancelScope, peers: Peers) -> None:
    with scope:
        await peers.run()


async def test_two_nodes_on_real_sockets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stop = trio.Event()
    segment = sample(1, 2_000_000)
    async with trio.open_nursery() as nursery:

        async def start(name: str, *join: Address) -> Contact:
            config = NodeConfig(
                data=tmp_path / name, listen=Address("127.0.0.1", 0), quota_bytes=10**8, network="real", join=join
            )
            info = await nursery.start(partial(run_node, config, stop=stop))
            assert info.storing
            return Contact(Identity((tmp_path / name / "node.key").read_bytes()).key, info.address)

        with trio.fail_after(30):
            first = await start("1")
            second = await start("2", first.address)
            peers = Peers(ALICE, Network("real"), SystemTransport(), secrets.token_bytes)
            asking = trio.CancelScope()
            nursery.start_soon(run_within, asking, peers)
            _, lease = lease_for(segment, network=Network("real"), expiry=2**40)
            for contact in (first, second):
                message = put_message(segment, 0, lease, holder=contact.key, network=Network("real"))
                reply, _ = await peers.request(contact, message, body=(memoryview(segment.columns[0]),))
                assert isinstance(reply, PutReply)
                count = segment.descriptor.layout.column_blocks(0)
                reply, body = await peers.request(contact, Get(segment=segment.id, index=0, count=count))
                assert reply == GetReply()
                assert body == segment.columns[0]
                await peers.request(contact, Hello())
            stop.set()
            asking.cancel()
    assert NodeId(first.node_id) != second.node_id
