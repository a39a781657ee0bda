"""Records of names on many DHT nodes: dead ones, liars, writers at once, republishing (docs/spec/dht.md section 8)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dht.contact import Contact
from dht.names import NameRecords, PutResult, put_record
from dht.records import Kept, Verdict
from protocol import datagrams as d
from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.identity import Network
from protocol.ids import NameId
from protocol.names import NameKeys, NameValue, name_id
from tests.dht.test_hostile import intruder
from tests.network.memory import MemoryNetwork
from tests.network.swarm import NETWORK, Node, Swarm, wall_clock
from tests.network.test_dht_network import Ledger

DAY = 86_400


class Owner:
    """Whoever has a name's secret."""

    def __init__(self, swarm: Swarm) -> None:
        self.keys = NameKeys(swarm.random.randbytes(32))
        self.id: NameId = name_id(self.keys.identity.key)
        self._random = swarm.random

    def record(self, sequence: int, *, life: float = DAY, network: Network = NETWORK) -> bytes:
        value = NameValue(number=1, kind=1, root=self._random.randbytes(32), key=bytes(32), time=0, previous=b"")
        expiry = int(wall_clock() + life)
        nonce = self._random.randbytes(16)
        return self.keys.sign(network.id, value, sequence=sequence, expiry=expiry, nonce=nonce)

    async def put(self, node: Node, sequence: int, *, cas: int | None = None, life: float = DAY) -> PutResult:
        found = await node.dht.get_records(self.id)
        believed = found.sequence if cas is None else cas
        return await node.dht.put_record(self.record(sequence, life=life), believed, found)

    async def sequence(self, node: Node) -> int:
        return (await node.dht.get_records(self.id)).sequence


def bend(node: Node, answer: Callable[[], Sequence[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node answer with these records, whatever it keeps."""
    monkeypatch.setattr(node.dht.records, "get", lambda name, now: tuple(answer()))


def near(swarm: Swarm, nodes: Sequence[Node], target: bytes) -> list[Node]:
    """The 20 nodes nearest to an id, nearest first."""
    by_id = {node.node_id: node for node in nodes}
    return [by_id[identifier] for identifier in swarm.nearest(target, nodes)]


async def test_a_record_is_found_by_clients(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    swarm.net.on_datagram = ledger = Ledger()
    nodes = list(await swarm.acquaint(40))
    writer = await swarm.start(read_only=True, join=[nodes[3].address])
    reader = await swarm.start(read_only=True, join=[nodes[7].address])
    owner = Owner(swarm)
    nothing = await reader.dht.get_records(owner.id)
    assert (nothing.sequence, nothing.newest, nothing.holders, nothing.expired) == (0, (), {}, 0)
    assert [node.contact.node_id for node in nothing.nodes] == swarm.nearest(owner.id, nodes)
    result = await owner.put(writer, 1)
    assert (result.asked, result.count(PutCode.KEPT)) == (20, 20)
    found = await reader.dht.get_records(owner.id)
    assert (found.sequence, len(found.newest), len(found.holders)) == (1, 1, 20)
    assert len(writer.dht.records) == 0, "a client keeps nothing"
    assert (await owner.put(writer, 2)).count(PutCode.KEPT) == 20
    assert await owner.sequence(reader) == 2
    assert ledger.replies > 100


async def test_a_node_that_is_near_keeps_it_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(40))
    owner = Owner(swarm)
    first, *_, last = sorted(nodes, key=lambda node: swarm.nearest(owner.id, nodes, 40).index(node.node_id))
    assert (await owner.put(first, 1)).asked == 21
    assert first.node_id in (await first.dht.get_records(owner.id)).holders
    assert (await owner.put(last, 2)).asked == 20
    assert await owner.sequence(last) == 2
    assert len(last.dht.records) == 0


async def test_a_name_resolves_within_a_second_when_a_third_of_the_nodes_is_dead(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(60))
    owners = [Owner(swarm) for _ in range(12)]
    for owner in owners:
        await owner.put(nodes[0], 7)
    swarm.random.shuffle(nodes)
    for node in nodes[:18]:
        node.kill()
    times = []
    for owner in owners:
        client = await swarm.start(read_only=True, join=[nodes[-1].address])
        began = trio.current_time()
        assert await owner.sequence(client) == 7
        times.append(trio.current_time() - began)
    assert max(times) < 1.0


async def test_a_node_that_is_silent_about_records_costs_a_third_of_a_second(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(40))
    owner = Owner(swarm)
    await owner.put(nodes[0], 3)
    keepers = near(swarm, nodes, owner.id)
    client = await swarm.start(read_only=True, join=[nodes[0].address])
    for silent, least, most in ((1, 0.3, 0.45), (5, 0.3, 0.45), (6, 0.5, 0.7)):
        for node in keepers[:silent]:
            monkeypatch.setattr(node.dht._answers, "_record", lambda *_: None)
        began = trio.current_time()
        found = await client.dht.get_records(owner.id)
        assert (found.sequence, len(found.holders)) == (3, 20 - silent)
        assert least <= trio.current_time() - began < most


async def test_an_answer_that_was_lost_is_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node alone has the newest, and what it is asked at first does not arrive."""
    for delay in (0.005, 0.15):
        swarm = Swarm(nursery, network=MemoryNetwork(1, delay=delay))
        nodes = list(await swarm.acquaint(25))
        owner = Owner(swarm)
        await owner.put(nodes[0], 1)
        one = near(swarm, nodes, owner.id)[-1]
        one.dht.records.add(owner.record(2), ANY_SEQUENCE, one.address, wall_clock())
        client = await swarm.start(read_only=True, join=[nodes[0].address])
        await client.dht.lookup(owner.id)
        whole = one.dht._answers._record
        lost: list[int] = []

        def answer(message: d.GetRecord, asker: Contact, whole: Any = whole, lost: list[int] = lost) -> Any:
            lost.append(1)
            return whole(message, asker) if len(lost) > 1 else None

        monkeypatch.setattr(one.dht._answers, "_record", answer)
        assert await owner.sequence(client) == 2


async def test_whoever_holds_back_the_newest_is_of_no_avail(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """19 of the 20 nodes near a name agree to show an earlier record, or none."""
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(40))
    for liars in (range(19), range(1, 20)):
        owner = Owner(swarm)
        keepers = near(swarm, nodes, owner.id)
        await owner.put(nodes[0], 1)
        old = keepers[3].dht.records.get(owner.id, wall_clock())
        await owner.put(nodes[0], 2)
        with monkeypatch.context() as bent:
            for count, place in enumerate(liars):
                bend(keepers[place], partial(tuple, old if count % 2 else ()), bent)
            client = await swarm.start(read_only=True, join=[nodes[0].address])
            found = await client.dht.get_records(owner.id)
            assert (found.sequence, len(found.newest)) == (2, 1)
            assert sum(old[0] in records for records in found.holders.values()) == 9


async def test_records_that_prove_nothing_are_ignored(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged, cut short, another name's, another network's, expired, rubbish: from all nodes but one."""
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(12)
    owner, other = Owner(swarm), Owner(swarm)
    assert (await owner.put(nodes[0], 5)).count(PutCode.KEPT) == 12
    good = nodes[0].dht.records.get(owner.id, wall_clock())
    forged = bytearray(owner.record(9))
    forged[70] ^= 1
    lies = [
        [bytes(forged)],
        [owner.record(9)[:-1]],
        [other.record(9)],
        [owner.record(9, network=Network("elsewhere"))],
        [owner.record(9, life=-5)],
        [b"x" * 900],
        [b"x", b"y"],
        [*good, owner.record(4)],
        [owner.record(4), *good],
    ]
    for node, lie in zip(nodes, lies, strict=False):
        bend(node, partial(tuple, lie), monkeypatch)
    client = await swarm.start(read_only=True, join=[nodes[0].address])
    found = await client.dht.get_records(owner.id)
    assert [signed.data for signed in found.newest] == list(good)
    assert 0 < found.expired < wall_clock()


async def test_two_writers_at_once_are_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Both read the same, and write: whoever comes later learns it; no record is lost."""
    for seed in range(6):
        async with trio.open_nursery() as inner:
            swarm = Swarm(inner, seed)
            swarm.net.jitter = 0.05
            nodes = await swarm.acquaint(25)
            owner = Owner(swarm)
            await owner.put(nodes[0], 1)
            results: dict[int, PutResult] = {}

            async def write(number: int, node: Node, results: dict[int, PutResult], owner: Owner) -> None:
                results[number] = await owner.put(node, 2)

            async with trio.open_nursery() as writers:
                for number, node in enumerate(nodes[:2]):
                    writers.start_soon(write, number, node, results, owner)
            told = [result.count(PutCode.FORKED) for result in results.values()]
            assert any(told), "whoever came later was told"
            found = await nodes[5].dht.get_records(owner.id)
            assert (found.sequence, len(found.newest)) == (2, 2)
            again = await nodes[9].dht.get_records(owner.id)
            assert [one.data for one in again.newest] == [one.data for one in found.newest], "in one order for all"
            assert (await owner.put(nodes[3], 3)).count(PutCode.KEPT) >= 20
            inner.cancel_scope.cancel()


async def test_a_late_writer_and_one_that_was_not_up_to_date(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(12)
    owner = Owner(swarm)
    for sequence in (1, 2, 3):
        await owner.put(nodes[0], sequence)
    assert (await owner.put(nodes[1], 2, cas=1)).count(PutCode.OLDER) == 12
    assert (await owner.put(nodes[1], 4, cas=2)).count(PutCode.CONFLICT) == 12
    assert await owner.sequence(nodes[5]) == 3
    (old,) = (await nodes[5].dht.get_records(owner.id)).newest
    await owner.put(nodes[0], 4)
    replay = await nodes[1].dht.put_record(old.data, ANY_SEQUENCE, await nodes[1].dht.get_records(owner.id))
    assert replay.count(PutCode.OLDER) == 12


async def test_a_put_needs_a_token_and_a_node_that_stores(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    victim = await swarm.start(ip="10.0.0.2")
    attacker = await intruder(swarm, victim, "10.6.6.6")
    owner = Owner(swarm)
    await attacker.send(attacker.sealed(d.GetRecord(name=owner.id, place=0)))
    (answer,) = [one.message() for one in await attacker.heard() if one.kind is d.Kind.GOT_RECORD]
    assert isinstance(answer, d.GotRecord)
    assert (answer.count, answer.record) == (0, b"")

    async def put(token: bytes, record: bytes) -> list[Any]:
        await attacker.send(attacker.sealed(d.PutRecord(token=token, cas=0, record=record)))
        return [one.message() for one in await attacker.heard() if one.kind is d.Kind.RECORD_PUT]

    assert await put(bytes(8), owner.record(1)) == []
    assert len(victim.dht.records) == 0
    assert await put(answer.token, b"rubbish") == [d.RecordPut(code=PutCode.REFUSED, sequence=0)]
    assert await put(answer.token, owner.record(1)) == [d.RecordPut(code=PutCode.KEPT, sequence=1)]
    victim.dht.read_only = True
    assert await put(answer.token, owner.record(2)) == []
    await attacker.send(attacker.sealed(d.GetRecord(name=owner.id, place=0)))
    assert all(one.kind is d.Kind.PING for one in await attacker.heard())


async def test_a_slow_disk_holds_up_nobody_else(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """While a record is written, others are answered; it is acknowledged when it is there."""

    async def persist(changed: Mapping[NameId, Kept]) -> bool:
        await trio.sleep(1.2)
        return True

    swarm = Swarm(nursery)
    slow = await swarm.start(persist=persist)
    writer = await swarm.start(read_only=True, join=[slow.address])
    owner = Owner(swarm)
    found = await writer.dht.get_records(owner.id)
    results: list[PutResult] = []

    async def put() -> None:
        results.append(await writer.dht.put_record(owner.record(1), 0, found))

    nursery.start_soon(put)
    await trio.sleep(0.1)
    began = trio.current_time()
    for _ in range(20):
        assert await writer.dht.ping(slow.address) is not None
    assert trio.current_time() - began < 0.5
    assert results == []
    await trio.sleep(1.5)
    assert results[0].count(PutCode.KEPT) == 1


async def test_a_record_moves_to_nodes_that_come_and_news_to_those_that_missed_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(20)
    owner = Owner(swarm)
    keeper = nodes[4]
    await owner.put(nodes[0], 1)
    keeper.host.cut()
    await owner.put(nodes[0], 2)
    keeper.host.cut(False)
    assert keeper.dht.records.get(owner.id, wall_clock()) != nodes[5].dht.records.get(owner.id, wall_clock())
    assert await keeper.dht.republish(owner.id) == 0, "it had something older"
    assert keeper.dht.records.get(owner.id, wall_clock()) == nodes[5].dht.records.get(owner.id, wall_clock())
    newcomers = [await swarm.start(join=[nodes[0].address]) for _ in range(3)]
    await trio.sleep(5)
    assert await keeper.dht.republish(owner.id) >= 19
    assert any(owner.id in newcomer.dht.records.names() for newcomer in newcomers)
    assert keeper.dht.records.touched(owner.id) == wall_clock()
    assert await keeper.dht.republish(Owner(swarm).id) == 0


async def test_both_sides_of_a_fork_are_republished(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(6)
    owner = Owner(swarm)
    await owner.put(nodes[0], 1)
    await owner.put(nodes[1], 1, cas=0)
    newcomer = await swarm.start(join=[nodes[0].address])
    await trio.sleep(2)
    await nodes[2].dht.republish(owner.id)
    found: NameRecords = await newcomer.dht.get_records(owner.id)
    assert set(newcomer.dht.records.get(owner.id, wall_clock())) == {one.data for one in found.newest}
    assert len(found.newest) == 2


async def test_tokens_that_aged_are_fetched_anew(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    swarm = Swarm(nursery)
    nodes = await swarm.acquaint(5)
    owner = Owner(swarm)
    found = await nodes[0].dht.get_records(owner.id)
    await trio.sleep(900)
    assert (await nodes[0].dht.put_record(owner.record(1), 0, found)).count(PutCode.KEPT) == 5
    await trio.sleep(DAY)
    late = await nodes[1].dht.get_records(owner.id)
    assert (late.sequence, late.holders) == (0, {})
    assert all(len(node.dht.records) == 0 for node in nodes), "it has ended, and is forgotten"


async def test_names_go_where_they_belong_whoever_puts_them_elsewhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """All of an attacker's names are put on one node of 150; and what a node is no longer near to it lets go."""
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(150))
    attacker = await swarm.start(read_only=True, join=[nodes[3].address])
    (found,) = [one for one in await attacker.dht.lookup(nodes[5].node_id) if one.contact == nodes[5].contact]
    owners = [Owner(swarm) for _ in range(200)]
    for owner in owners:
        await put_record(attacker.dht._core, owner.record(1), ANY_SEQUENCE, [found])
    kept = nodes[5].dht.records.names()
    belong = {owner.id for owner in owners if nodes[5].node_id in swarm.nearest(owner.id, nodes)}
    assert belong <= set(kept)
    assert len(kept) < 100  # without a rule: 200; were it exactly the 40 nearest: 53
    assert all(nodes[5].node_id in swarm.nearest(name, nodes, 80) for name in kept)


async def test_a_node_lets_go_what_is_kept_by_all_that_are_nearer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    swarm = Swarm(nursery)
    nodes = list(await swarm.acquaint(100))
    owner = Owner(swarm)
    ranked = swarm.nearest(owner.id, nodes, 100)
    by_id = {node.node_id: node for node in nodes}
    holders = [by_id[ranked[0]], by_id[ranked[30]], by_id[ranked[99]]]
    data = owner.record(1)
    for node in holders:  # as they may have it from a time when there were fewer nodes
        node.dht.records.settle(node.node_id, lambda _: 0)
        node.dht.records.load([(data, None)], wall_clock())
        node.dht.records.settle(node.node_id, node.dht._core.table.nearer)
    silent = by_id[ranked[7]]
    silent.host.cut()
    far = holders[-1]
    with pytest.MonkeyPatch.context() as bent:
        bent.setattr(
            by_id[ranked[9]].dht.records, "add", lambda *_: Verdict(None, d.RecordPut(code=PutCode.REFUSED, sequence=0))
        )
        assert await far.dht.republish(owner.id) == 19
        assert owner.id in far.dht.records.names(), "one of the 20 does not keep it"
    for node in holders:
        assert await node.dht.republish(owner.id) == 20
    assert [owner.id in node.dht.records.names() for node in holders] == [True, True, False]
