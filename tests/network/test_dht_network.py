"""Many DHT nodes: recall, dead nodes, lossy lines, restarts, joining at once (docs/spec/dht.md sections 4 to 6)."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from dht.calls import GIVE_UP_SECONDS
from dht.lookup import LOOKUP_SECONDS
from dht.service import JOIN_SECONDS
from dht.state import pack_contacts, read_contacts
from protocol.datagrams import Kind, parse
from protocol.identity import Identity, Network
from protocol.ids import Address, SegmentId
from tests.network.memory import MemoryNetwork
from tests.network.swarm import NETWORK, Swarm, provider_indices


class Ledger:
    """Sees to it that no reply, whatever was asked, is longer than its request."""

    def __init__(self) -> None:
        self.asked: dict[tuple[Address, Address, bytes], int] = {}
        self.replies = 0

    def __call__(self, data: bytes, source: Address, to: Address) -> None:
        datagram = parse(data)
        if not datagram.kind.is_reply:
            self.asked[source, to, datagram.transaction] = len(data)
            return
        self.replies += 1
        assert len(data) <= self.asked[to, source, datagram.transaction], Kind(datagram.kind).name


async def test_recall_is_complete_on_60_healthy_nodes(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    swarm.net.on_datagram = ledger = Ledger()
    nodes = await swarm.grow(60)
    for _ in range(60):
        target, asker = swarm.random.randbytes(32), swarm.random.choice(nodes)
        found = [answer.contact.node_id for answer in await asker.dht.lookup(target)]
        assert found == swarm.nearest(target, [node for node in nodes if node is not asker])
    assert ledger.replies > 1000


@pytest.mark.parametrize(("dead", "seconds"), [(0.1, 0.8), (0.3, 1.0), (0.5, 1.5)])
async def test_lookups_stay_quick_when_nodes_are_dead(
    autojump_clock: MockClock, nursery: trio.Nursery, dead: float, seconds: float
) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(60))
    swarm.random.shuffle(nodes)
    gone, alive = nodes[: int(60 * dead)], nodes[int(60 * dead) :]
    for node in gone:
        node.kill()
    times, recall = [], 0.0
    for _ in range(100):
        target, asker = swarm.random.randbytes(32), swarm.random.choice(alive)
        began = trio.current_time()
        found = {answer.contact.node_id for answer in await asker.dht.lookup(target)}
        times.append(trio.current_time() - began)
        recall += len(found.intersection(swarm.nearest(target, [node for node in alive if node is not asker]))) / 20
    assert sorted(times)[94] < seconds
    assert recall / 100 > 0.9  # who has not noticed yet goes on naming the dead


async def test_a_lossy_line(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Lost, doubled, damaged and overtaking datagrams cost time, and hardly a result."""
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(30)
    swarm.net.loss = swarm.net.double = swarm.net.damage = 0.03
    swarm.net.jitter = 0.05
    recall = 0.0
    for _ in range(40):
        target, asker = swarm.random.randbytes(32), swarm.random.choice(nodes)
        wanted = set(swarm.nearest(target, [node for node in nodes if node is not asker]))
        recall += len(wanted & {answer.contact.node_id for answer in await asker.dht.lookup(target)}) / 20
    assert recall / 40 > 0.98


async def test_a_slow_peer_holds_nobody_up(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    def delay(one: str, other: str) -> float:
        return 0.2 if "10.0.0.9" in (one, other) else 0.002

    swarm = Swarm(nursery, network=MemoryNetwork(1, delay=delay))
    nodes = await swarm.acquaint(30)
    asker = nodes[0]
    for _ in range(10):
        began = trio.current_time()
        found = await asker.dht.lookup(swarm.random.randbytes(32))
        assert len(found) == 20
        assert trio.current_time() - began < 0.45  # one of its round trips, not one after the other


async def test_records_are_found_and_pages_put_together(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(40)
    segment = swarm.segment()
    nearest = await nodes[3].dht.lookup(segment)
    assert await nodes[3].dht.announce(segment, swarm.records(segment, 32), nearest) >= 20
    client = await swarm.start(read_only=True, join=[nodes[5].address])
    assert await provider_indices(client.dht, segment) == list(range(32))
    assert await provider_indices(client.dht, swarm.segment()) == []


async def test_records_survive_most_of_their_keepers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(60)
    segment = swarm.segment()
    nearest = await nodes[0].dht.lookup(segment)
    await nodes[0].dht.announce(segment, swarm.records(segment), nearest)
    keepers = {answer.contact.key for answer in nearest[:17]}
    for node in nodes[1:]:
        if node.identity.key in keepers:
            node.kill()
    began = trio.current_time()
    assert await provider_indices(nodes[0].dht, segment) == list(range(12))
    assert trio.current_time() - began < LOOKUP_SECONDS


async def test_clients_are_in_nobodys_table(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(10))
    client = await swarm.start(read_only=True)
    assert await client.dht.join([nodes[0].address]) == 10
    segment = swarm.segment()
    nearest = await client.dht.lookup(segment)
    assert await client.dht.announce(segment, swarm.records(segment), nearest) == 10
    await trio.sleep(100)
    assert all(client.contact not in node.dht.contacts() for node in nodes)
    assert all(answer.contact != client.contact for answer in await nodes[0].dht.lookup(client.node_id))
    assert await nodes[0].dht.ping(client.address) == client.contact  # it does answer

    client.dht.read_only = False
    await trio.sleep(1)
    assert all(client.contact in node.dht.contacts() for node in nodes)


async def test_twelve_nodes_that_start_at_once_all_know_each_other(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = [await swarm.start(read_only=True) for _ in range(12)]
    doors = [node.address for node in nodes]

    async with trio.open_nursery() as joining:
        for node in nodes:
            joining.start_soon(node.dht.join, doors)
    for node in nodes:
        node.dht.read_only = False
    await trio.sleep(4)
    assert [len(node.dht.contacts()) for node in nodes] == [11] * 12


async def test_twelve_nodes_that_join_through_one_at_the_same_moment(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    first = await swarm.start()
    nodes = [await swarm.start() for _ in range(11)]
    async with trio.open_nursery() as joining:
        for node in nodes:
            joining.start_soon(node.dht.join, [first.address])
    await trio.sleep(4)
    assert [len(node.dht.contacts()) for node in swarm.nodes] == [11] * 12


async def test_a_node_comes_back_when_its_way_in_is_gone(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.grow(8)
    door, node = nodes[0], nodes[4]
    (tmp_path / "contacts").write_bytes(pack_contacts(node.dht.contacts()))
    node.kill()
    door.kill()
    back = await swarm.start(ip=node.host.ip, identity=node.identity)
    assert await back.dht.join([door.address], read_contacts(tmp_path / "contacts")) >= 6
    await trio.sleep(1)
    others = [other for other in nodes[1:8] if other is not node]
    assert {contact.node_id for contact in back.dht.contacts()} >= {other.node_id for other in others}


async def test_a_node_that_moved_is_known_at_its_new_address(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(6))
    nodes[5].kill()
    moved = await swarm.start(ip="10.9.9.9", identity=nodes[5].identity, join=[nodes[0].address])
    await trio.sleep(12)
    assert all(moved.contact in node.dht.contacts() for node in nodes[:5])
    assert all(nodes[5].contact not in node.dht.contacts() for node in nodes[:5])


async def test_a_node_that_knows_nobody_tries_its_ways_in_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    node = await swarm.start()
    began = trio.current_time()
    assert await node.dht.join([Address("10.0.0.77", 4110)]) == 0
    assert trio.current_time() - began == JOIN_SECONDS
    other = await swarm.start(ip="10.0.0.77")
    await trio.sleep(60)
    assert node.dht.contacts() == [other.contact]


async def test_silence_of_our_own_line_costs_no_contact(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(12)
    nodes[0].host.cut()
    for _ in range(5):
        assert await nodes[0].dht.lookup(swarm.random.randbytes(32)) == []
        await trio.sleep(3)
    nodes[0].host.cut(False)
    assert len(nodes[0].dht.contacts()) == 11
    assert len(await nodes[0].dht.lookup(swarm.random.randbytes(32))) == 11


async def test_dead_contacts_go_and_frozen_ones_come_back(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(12)
    asker, frozen = nodes[0], nodes[7]
    frozen.host.freeze()
    for _ in range(4):
        await asker.dht.lookup(swarm.random.randbytes(32))
        await trio.sleep(4)
    assert frozen.contact not in asker.dht.contacts()
    began = trio.current_time()
    assert len(await asker.dht.lookup(frozen.node_id)) == 10
    assert trio.current_time() - began < 0.1  # nobody waits for it any more
    frozen.host.freeze(False)
    await frozen.dht.lookup(swarm.random.randbytes(32))
    await trio.sleep(1)
    assert frozen.contact in asker.dht.contacts()


async def test_a_warm_lookup_asks_nobody_twice_in_a_moment(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(12)
    await trio.sleep(100)
    asker = nodes[3].dht
    before = asker.counters.calls_total
    assert len(await asker.lookup(swarm.random.randbytes(32))) == 11
    assert asker.counters.calls_total == before + 11
    found = await asker.lookup(swarm.random.randbytes(32))
    assert asker.counters.calls_total == before + 11
    segment = SegmentId(swarm.random.randbytes(32))
    assert await asker.announce(segment, swarm.records(segment), found) == 12
    await trio.sleep(2)
    nodes[5].kill()
    assert len(await asker.lookup(swarm.random.randbytes(32))) == 10


async def test_a_sweep_announces_many_segments_with_few_lookups(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(60)
    records = {segment: swarm.records(segment, 1) for segment in (swarm.segment() for _ in range(200))}
    before = nodes[0].dht.counters.lookups_total
    assert await nodes[0].dht.announce_all(records) == 200
    assert nodes[0].dht.counters.lookups_total - before < 20
    client = await swarm.start(read_only=True, join=[nodes[5].address])
    for segment in list(records)[:40]:
        assert await provider_indices(client.dht, segment) == [0]
    keepers = [len(swarm.nearest(segment, nodes)) for segment in records]
    assert min(keepers) == 20


async def test_records_expire(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(5)
    segment = swarm.segment()
    await nodes[0].dht.announce(segment, swarm.records(segment), await nodes[0].dht.lookup(segment))
    await trio.sleep(23 * 3600)
    assert await provider_indices(nodes[1].dht, segment) == list(range(12))
    await trio.sleep(2 * 3600)
    assert await provider_indices(nodes[1].dht, segment) == []
    assert [len(node.dht.store) for node in nodes] == [0] * 5
    assert [len(node.dht.contacts()) for node in nodes] == [4] * 5


async def test_an_announcement_does_not_wait_for_the_slow_when_others_are_enough(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(24)
    segment = swarm.segment()
    nearest = await nodes[0].dht.lookup(segment)
    for found in nearest[:3]:
        swarm.net.hosts[found.contact.address.host].freeze()
    began = trio.current_time()
    assert await nodes[0].dht.announce(segment, swarm.records(segment), nearest) >= 17
    assert trio.current_time() - began < min(GIVE_UP_SECONDS)
    for found in nearest[3:14]:
        swarm.net.hosts[found.contact.address.host].freeze()
    began = trio.current_time()
    assert await nodes[0].dht.announce(segment, swarm.records(segment), nearest) < 8
    assert trio.current_time() - began >= min(GIVE_UP_SECONDS)  # too few took it: the slow are waited for


async def test_answers_after_their_time_do_not_end_an_announcement_early(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    late = {"10.0.0.4", "10.0.0.5", "10.0.0.6"}
    swarm = Swarm(nursery, network=MemoryNetwork(1, delay=lambda one, other: slowness if other in late else 0.01))
    slowness = 0.01
    nodes = await swarm.acquaint(10)
    segment = swarm.segment()
    nearest = await nodes[0].dht.lookup(segment)
    slowness = 1.0
    silent = nodes[9]
    silent.host.freeze()
    told = await nodes[0].dht.announce(segment, swarm.records(segment), nearest)
    await trio.sleep(3)
    kept = [len(node.dht.store) for node in nodes if node is not silent]
    assert kept == [12] * 9
    assert 6 <= told <= 9


async def test_a_token_is_fetched_anew_when_it_is_old(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(6)
    segment = swarm.segment()
    nearest = await nodes[0].dht.lookup(segment)
    await trio.sleep(3600)
    nodes[3].kill()
    assert await nodes[0].dht.announce(segment, swarm.records(segment), nearest) == 5  # itself and four others


async def test_networks_do_not_mix(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(3)
    other = await swarm.start(network=Network("another"))
    assert await other.dht.join([nodes[0].address]) == 0
    assert await other.dht.ping(nodes[0].address) is None
    assert await other.dht.known_by(nodes[0].contact, bytes(32)) == []
    assert await nodes[1].dht.known_by(nodes[0].contact, bytes(32)) == [nodes[2].contact]
    assert all(other.contact not in node.dht.contacts() for node in nodes)


async def test_a_network_with_difficulty_admits_who_did_the_work(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    hard = Network("hard", 3)
    assert hard.id != NETWORK.id
    swarm = Swarm(nursery)
    workers: list[Identity] = []
    while len(workers) < 4:
        identity = swarm.identity()
        if hard.admits(identity.node_id):
            workers.append(identity)
    lazy = next(identity for identity in iter(swarm.identity, None) if not hard.admits(identity.node_id))
    nodes = [await swarm.start(identity=identity, network=hard) for identity in workers]
    idler = await swarm.start(identity=lazy, network=hard)
    for node in (*nodes[1:], idler):
        await node.dht.join([nodes[0].address])
    await trio.sleep(20)
    assert [len(node.dht.contacts()) for node in nodes] == [3] * 4
    assert len(idler.dht.contacts()) == 4  # it may ask, as a client does
