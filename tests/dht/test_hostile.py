"""A node survives any datagram, is no amplifier, and believes nothing unproven (docs/spec/dht.md)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from dht import calls, limits
from dht.contact import Contact
from dht.lookup import LOOKUP_SECONDS
from dht.search import MAX_ASKED
from protocol import datagrams as d
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId, SegmentId
from tests.network.memory import MemoryDatagrams, MemoryNetwork
from tests.network.swarm import NETWORK, PORT, START, Node, Swarm, provider_indices

VICTIM = "10.0.0.2"
SEGMENT = SegmentId(bytes(32))


@dataclass
class Attacker:
    """A socket and a key of its own, and no manners."""

    identity: Identity
    socket: MemoryDatagrams
    victim: Node
    sent: int = 0
    nodes: list[bytes] = field(default_factory=list)
    """What it names when asked for nodes: contacts, packed."""

    @property
    def contact(self) -> Contact:
        return Contact(self.identity.key, self.socket.address)

    def sealed(self, message: d.Message, **changes: object) -> bytes:
        options: dict[str, object] = {"network": NETWORK.id, "recipient": self.victim.node_id, "read_only": False}
        options |= {"transaction": self.sent.to_bytes(8, "big"), "identity": self.identity, **changes}
        self.sent += 1
        return d.seal(message=message, **options)  # type: ignore[arg-type]  # whatever the test wants to try

    async def send(self, data: bytes) -> None:
        await self.socket.send(data, self.victim.address)

    async def heard(self, seconds: float = 1.0) -> list[d.Datagram]:
        """What comes back in this time."""
        got = []
        with trio.move_on_after(seconds):
            while True:
                got.append(d.parse((await self.socket.receive())[0]))
        return got

    async def serve(self) -> None:
        """Answer as a node would, except that it names whom it likes."""
        while True:
            data, source = await self.socket.receive()
            asked = d.parse(data)
            reply: d.Message
            match asked.message():
                case d.Ping():
                    reply = d.Pong(observed=source)
                case d.FindNode():
                    reply = d.Nodes(token=bytes(8), ipv4=b"".join(self.nodes), ipv6=b"")
                case _:
                    continue
            recipient = Contact(asked.sender, source).node_id
            await self.socket.send(self.sealed(reply, recipient=recipient, transaction=asked.transaction), source)


@pytest.fixture
async def swarm(nursery: trio.Nursery) -> AsyncIterator[Swarm]:
    yield Swarm(nursery)


@pytest.fixture
async def attacker(swarm: Swarm) -> Attacker:
    victim = await swarm.start(ip=VICTIM)
    return await intruder(swarm, victim, "10.6.6.6")


async def intruder(swarm: Swarm, victim: Node, ip: str) -> Attacker:
    socket = await swarm.net.host(ip).open_udp(Address(ip, PORT))
    assert isinstance(socket, MemoryDatagrams)
    return Attacker(swarm.identity(), socket, victim)


async def alive(swarm: Swarm, victim: Node) -> bool:
    """Whether the victim still serves others."""
    if len(swarm.nodes) < 2:
        await swarm.start(ip="10.0.0.99")
    return await swarm.nodes[1].dht.ping(victim.address, victim.identity.key) == victim.contact


async def test_garbage_of_every_length(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    for length in range(1300):
        await attacker.send(swarm.random.randbytes(length))
        await trio.sleep(0.001)
    assert await attacker.heard() == []
    assert attacker.victim.dht.counters.malformed_total == 1300
    assert await alive(swarm, attacker.victim)


async def test_every_cut_of_a_valid_datagram(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    for message in (d.Ping(), d.FindNode(target=bytes(32)), d.Announce(token=bytes(8), items=())):
        data = attacker.sealed(message)
        for length in range(0, len(data), 7):
            await attacker.send(data[:length])
    assert await attacker.heard() == []
    assert await alive(swarm, attacker.victim)


async def test_every_byte_flipped(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    data = attacker.sealed(d.Ping())
    for at in range(len(data)):
        await attacker.send(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
    assert await attacker.heard() == []
    assert attacker.victim.dht.counters.forged_total > 64
    assert await alive(swarm, attacker.victim)


async def test_signed_bodies_of_garbage(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    """The signature is right, what it signs is not."""
    bodies = [b"", b"\x90", b"\x91\xc0", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 1000, b"\x93\x01\x02\x03"]
    bodies += [swarm.random.randbytes(100) for _ in range(50)]
    for body in bodies:
        for kind in (1, 2, 3, 4):
            rest = b"\x01" + bytes([kind, 0]) + bytes(8) + attacker.identity.key + len(body).to_bytes(2, "big") + body
            rest = rest.ljust(d.REQUEST_BYTES[d.Kind(kind)] - 64, b"\0")
            signed = NETWORK.id + attacker.victim.node_id + rest
            await attacker.send(attacker.identity.sign("datagram", signed) + rest)
    answered = {datagram.kind for datagram in await attacker.heard()}
    assert answered <= {d.Kind.PONG, d.Kind.PING}  # b"\x90" is a right ping
    assert await alive(swarm, attacker.victim)


async def test_wrong_network_recipient_and_sender(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    await attacker.send(attacker.sealed(d.Ping(), network=Network("another").id))
    await attacker.send(attacker.sealed(d.Ping(), recipient=NodeId(bytes(32))))
    ping = attacker.sealed(d.Ping())
    await attacker.send(ping[:75] + swarm.identity().key + ping[107:])
    assert await attacker.heard() == []
    assert attacker.victim.dht.counters.forged_total == 3
    await attacker.send(attacker.sealed(d.Ping(), identity=attacker.victim.identity))  # its own words
    assert await attacker.heard() == []
    assert attacker.victim.dht.contacts() == []


async def test_a_replay_from_elsewhere_gains_nothing(
    autojump_clock: MockClock, swarm: Swarm, attacker: Attacker
) -> None:
    """Who has overheard a request can have it answered, in no more bytes, but is not taken for its sender."""
    honest = await swarm.start(join=[attacker.victim.address])
    await trio.sleep(100)
    caught: list[bytes] = []
    swarm.net.on_datagram = lambda data, source, to: caught.append(data) if source == honest.address else None
    await honest.dht.lookup(bytes(32))
    swarm.net.on_datagram = lambda data, source, to: None
    for data in caught:
        await attacker.send(data)
    for reply in await attacker.heard():
        assert reply.kind.is_reply is False or len(reply.data) <= max(map(len, caught))
    assert attacker.victim.dht.contacts() == [honest.contact]
    assert await alive(swarm, attacker.victim)


async def test_replayed_and_invented_replies_are_not_even_verified(
    autojump_clock: MockClock, swarm: Swarm, attacker: Attacker
) -> None:
    victim = attacker.victim
    honest = await swarm.start()
    caught: list[bytes] = []
    swarm.net.on_datagram = lambda data, source, to: caught.append(data) if source == honest.address else None
    await victim.dht.ping(honest.address)
    await trio.sleep(1)
    before = victim.dht.counters.verified_total
    for data in list(caught):
        if d.parse(data).kind.is_reply:
            await honest.dht._socket.send(data, victim.address)  # the right source, but a transaction that is over
    for _ in range(100):
        await attacker.send(attacker.sealed(d.Nodes(token=bytes(8), ipv4=b"", ipv6=b"")))
    await trio.sleep(1)
    assert victim.dht.counters.verified_total == before
    assert victim.dht.counters.unasked_total == 101
    assert attacker.contact not in victim.dht.contacts()


async def test_a_reply_from_another_address_or_key_or_of_another_type_does_not_count(
    autojump_clock: MockClock, swarm: Swarm, attacker: Attacker
) -> None:
    victim, other = attacker.victim, swarm.identity()
    asked: list[d.Datagram] = []
    swarm.net.on_datagram = lambda data, source, to: asked.append(d.parse(data)) if to.host == "10.6.6.6" else None
    result: list[Contact | None] = []

    async def ping() -> None:
        result.append(await victim.dht.ping(attacker.socket.address, attacker.identity.key))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping)
        await trio.sleep(0.1)
        pong, echo = d.Pong(observed=victim.address), asked[0].transaction
        elsewhere = await swarm.net.host("10.7.7.7").open_udp(Address("10.7.7.7", PORT))
        await elsewhere.send(attacker.sealed(pong, transaction=echo), victim.address)
        await attacker.send(attacker.sealed(pong, transaction=echo, identity=other))
        await attacker.send(attacker.sealed(d.Announced(stored=1), transaction=echo))
        await attacker.send(attacker.sealed(pong, transaction=echo, recipient=other.node_id))
    assert result == [None]
    assert victim.dht.contacts() == []


async def test_whoever_only_asks_is_no_contact(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    """It signed its request; but it must sign something fresh, from the address it claims."""
    for _ in range(50):
        await attacker.send(attacker.sealed(d.FindNode(target=bytes(32))))
    probes = [datagram for datagram in await attacker.heard(4) if not datagram.kind.is_reply]
    assert {probe.kind for probe in probes} == {d.Kind.PING}
    assert len(probes) == 2  # one call and its repetition, however often it asked
    assert attacker.victim.dht.contacts() == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attacker.serve)
        await trio.sleep(5)
        await attacker.send(attacker.sealed(d.FindNode(target=bytes(32))))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert attacker.victim.dht.contacts() == [attacker.contact]


async def test_a_flood_from_one_source_does_not_lock_others_out(
    autojump_clock: MockClock, swarm: Swarm, attacker: Attacker
) -> None:
    for _ in range(3):
        for _ in range(1000):
            await attacker.send(attacker.sealed(d.Ping(), read_only=True))
        await trio.sleep(0.01)
    assert attacker.victim.dht.counters.limited_total >= 900
    assert await alive(swarm, attacker.victim)
    await trio.sleep(10)
    while await attacker.heard():
        pass
    await attacker.send(attacker.sealed(d.Ping(), read_only=True))
    assert len(await attacker.heard()) == 1  # it may ask again


async def test_a_flood_from_forged_sources_leaves_contacts_and_memory_alone(
    autojump_clock: MockClock, swarm: Swarm, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SOURCES", 100)
    monkeypatch.setattr(limits, "STRANGERS", limits.Rate(1, 200))
    victim = attacker.victim
    victim.dht._limits = limits.Limits()
    friend = await swarm.start(join=[victim.address])
    await trio.sleep(1)
    data = attacker.sealed(d.Ping())
    for number in range(1000):
        source = Address(f"11.{number // 200}.{number % 200}.1", 1 + number)
        await victim.dht._take(data, source)
    assert victim.dht.counters.limited_total > 700
    assert len(victim.dht._limits) <= 300
    assert await friend.dht.ping(victim.address, victim.identity.key) == victim.contact
    assert victim.dht.contacts() == [friend.contact]


async def test_open_transactions_are_bounded(
    autojump_clock: MockClock, swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_OPEN", 20)
    node = await swarm.start()
    outcomes = []

    async def ping(number: int) -> None:
        outcomes.append(await node.dht.ping(Address("10.8.8.8", 1 + number)))

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(ping, number)
        for _ in range(30):
            await trio.sleep(0.1)
            assert len(node.dht._core.calls) <= 20
    assert outcomes == [None] * 200
    await trio.sleep(5)
    assert len(node.dht._core.calls) == 0
    assert not node.dht._core.calls.full


async def test_announce_needs_a_token_of_ours(autojump_clock: MockClock, swarm: Swarm, attacker: Attacker) -> None:
    items = (d.Item(segment=SEGMENT, records=tuple(swarm.records(SEGMENT, 8))),)
    await attacker.send(attacker.sealed(d.Announce(token=bytes(8), items=items), read_only=True))
    assert await attacker.heard() == []

    async def token(sender: Attacker) -> bytes:
        await sender.send(sender.sealed(d.FindNode(target=bytes(32)), read_only=True))
        reply = (await sender.heard())[0].message()
        assert isinstance(reply, d.Nodes)
        return reply.token

    right = await token(attacker)
    thief = await intruder(swarm, attacker.victim, "10.6.6.7")
    await thief.send(thief.sealed(d.Announce(token=right, items=items), read_only=True))
    assert await thief.heard() == []
    await attacker.send(attacker.sealed(d.Announce(token=right, items=items), read_only=True))
    assert [reply.message() for reply in await attacker.heard()] == [d.Announced(stored=8)]
    await trio.sleep(700)
    await attacker.send(attacker.sealed(d.Announce(token=right, items=items), read_only=True))
    assert await attacker.heard() == []
    assert len(attacker.victim.dht.store) == 8


async def test_a_read_only_node_keeps_nothing(autojump_clock: MockClock, swarm: Swarm) -> None:
    client = await swarm.start(read_only=True)
    attacker = await intruder(swarm, client, "10.6.6.6")
    for message in (d.GetProviders(segment=SEGMENT, first=0), d.Announce(token=bytes(8), items=())):
        await attacker.send(attacker.sealed(message))
    assert [reply for reply in await attacker.heard() if reply.kind.is_reply] == []
    await attacker.send(attacker.sealed(d.FindNode(target=bytes(32))))
    assert [reply.read_only for reply in await attacker.heard() if reply.kind.is_reply] == [True]


async def test_an_inventor_of_nodes_cannot_hold_a_lookup(autojump_clock: MockClock, swarm: Swarm) -> None:
    nodes = await swarm.grow(10)
    asker = nodes[0]
    liar = await intruder(swarm, asker, "10.6.6.6")
    liar.nodes = [swarm.identity().key + Address(f"10.7.{n}.1", 1).pack() for n in range(20)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liar.serve)
        assert await asker.dht.ping(liar.socket.address) == liar.contact
        for _ in range(20):
            liar.nodes = [swarm.identity().key + Address(f"10.7.{n}.1", 1).pack() for n in range(20)]
            began, before = trio.current_time(), asker.dht.counters.calls_total
            found = {answer.contact for answer in await asker.dht.lookup(swarm.random.randbytes(32))}
            assert found >= {node.contact for node in nodes[1:10]}
            assert trio.current_time() - began <= LOOKUP_SECONDS
            assert asker.dht.counters.calls_total - before <= MAX_ASKED
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(asker.dht._core.calls._suspects) <= calls.MAX_SUSPECTS


async def test_a_liar_about_addresses_cannot_hide_a_node(autojump_clock: MockClock, swarm: Swarm) -> None:
    """It is the first to name every node, always at a wrong address."""
    nodes = list(await swarm.grow(8))
    client = await swarm.start(read_only=True)
    liar = await intruder(swarm, client, "10.6.6.6")
    liar.nodes = [node.identity.key + Address("10.7.7.7", 1).pack() for node in nodes[1:]]
    liar.nodes.append(nodes[0].contact.pack())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liar.serve)
        await client.dht.join([liar.socket.address])
        found = {answer.contact for answer in await client.dht.lookup(bytes(32))}
        nursery.cancel_scope.cancel()
    assert found >= {node.contact for node in nodes}


async def test_a_list_of_contacts_with_a_bad_one_is_not_used(autojump_clock: MockClock, swarm: Swarm) -> None:
    node, bystander = await swarm.start(), await swarm.start()
    liar = await intruder(swarm, node, "10.6.6.6")
    liar.nodes = [bystander.contact.pack(), swarm.identity().key + bytes(6)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liar.serve)
        await node.dht.join([liar.socket.address])
        nursery.cancel_scope.cancel()
    assert node.dht.contacts() == [liar.contact]


async def test_nobody_public_makes_us_dial_a_private_address(autojump_clock: MockClock, swarm: Swarm) -> None:
    """Nor do we tell a public peer of our private ones."""
    public = await swarm.start(ip="45.0.0.1")
    private = [await swarm.start(ip=ip) for ip in ("10.3.0.1", "192.168.1.1", "127.0.0.1")]
    liar = await intruder(swarm, public, "46.0.0.1")
    liar.nodes = [node.contact.pack() for node in private]
    reached: list[Address] = []
    swarm.net.on_datagram = lambda data, source, to: reached.append(to)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liar.serve)
        await public.dht.join([liar.socket.address])
        nursery.cancel_scope.cancel()
    assert public.dht.contacts() == [liar.contact]
    assert {address.host for address in reached} <= {"45.0.0.1", "46.0.0.1"}

    await private[0].dht.ping(public.address)
    await private[0].dht.ping(private[1].address)
    assert len(private[0].dht.contacts()) == 2
    asked = await public.dht.known_by(private[0].contact, bytes(32))
    assert private[1].contact not in asked


async def test_provider_records_nobody_signed_are_not_handed_out(autojump_clock: MockClock, swarm: Swarm) -> None:
    nodes = await swarm.grow(4)
    segment = swarm.segment()
    good, bad = swarm.records(segment, 3), swarm.records(segment, 12)
    forged = [data[:-1] + bytes([data[-1] ^ 1]) for data in bad]
    elsewhere = swarm.records(swarm.segment(), 12)
    nearest = await nodes[0].dht.lookup(segment)
    for records in (forged, elsewhere, good):
        await nodes[0].dht.announce(segment, records, nearest)
    assert await provider_indices(nodes[1].dht, segment) == [0, 1, 2]
    assert await provider_indices(nodes[0].dht, segment) == [0, 1, 2]
    assert [len(node.dht.store) for node in nodes] == [3] * 4  # the rest went when it was first looked at


async def test_records_that_a_keeper_makes_up_are_not_believed(autojump_clock: MockClock, swarm: Swarm) -> None:
    """Readers verify by themselves: signature, expiry, and whether the keeper may name the address."""
    client = await swarm.start(ip="45.0.0.1", read_only=True)
    liar = await intruder(swarm, client, "46.0.0.1")
    forged = swarm.records(SEGMENT, 1, host="47.0.0.1")[0][:-1] + b"\0"
    private = swarm.records(SEGMENT, 2, host="10.0.0.1")[1]
    expired = swarm.records(SEGMENT, 3, host="47.0.0.1", expiry=START - 1)[2]
    good = swarm.records(SEGMENT, 4, host="47.0.0.1")[3]

    async def keep() -> None:
        while True:
            data, source = await liar.socket.receive()
            asked = d.parse(data)
            reply: d.Message = d.Nodes(token=bytes(8), ipv4=b"", ipv6=b"")
            if asked.kind is d.Kind.PING:
                reply = d.Pong(observed=source)
            elif asked.kind is d.Kind.GET_PROVIDERS:  # a page that leads back to itself, too
                reply = d.Providers(token=bytes(8), records=(forged, private, expired, good), next=0)
            sealed = liar.sealed(reply, recipient=client.node_id, transaction=asked.transaction)
            await liar.socket.send(sealed, source)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await client.dht.join([liar.socket.address])
        with trio.fail_after(LOOKUP_SECONDS):
            assert await provider_indices(client.dht, SEGMENT) == [3]
        nursery.cancel_scope.cancel()


async def test_one_subnet_cannot_fill_a_table(autojump_clock: MockClock, swarm: Swarm) -> None:
    victim = await swarm.start(ip="45.0.0.1")
    for number in range(30):
        node = await swarm.start(ip=f"46.0.0.{number + 1}")
        await victim.dht.ping(node.address)
    assert len(victim.dht.contacts()) == 2
    assert await victim.dht.ping(swarm.nodes[30].address) == swarm.nodes[30].contact


async def test_a_node_outlives_a_long_random_attack(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Valid datagrams of a working network, damaged, doubled, replayed at other nodes."""
    swarm = Swarm(nursery, seed=5, network=MemoryNetwork(5, delay=0.002))
    nodes = await swarm.grow(8)
    caught: list[bytes] = []
    swarm.net.on_datagram = lambda data, source, to: caught.append(data)
    segment = swarm.segment()
    await nodes[1].dht.announce(segment, swarm.records(segment), await nodes[1].dht.lookup(segment))
    await provider_indices(nodes[2].dht, segment)
    swarm.net.on_datagram = lambda data, source, to: None
    attacker = await intruder(swarm, nodes[3], "10.6.6.6")
    for _ in range(2000):
        data = bytearray(swarm.random.choice(caught))
        for _ in range(swarm.random.randrange(3)):
            data[swarm.random.randrange(len(data))] ^= swarm.random.randrange(256)
        del data[swarm.random.choice((len(data), swarm.random.randrange(len(data)))) :]
        await attacker.socket.send(bytes(data), swarm.random.choice(nodes).address)
        await trio.sleep(0.001)
    assert await provider_indices(nodes[0].dht, segment) == list(range(12))
    assert all(attacker.socket.address != contact.address for node in nodes for contact in node.dht.contacts())
