"""Names on real nodes: restarts, nodes that vanish, and what republishing costs (docs/spec/dht.md section 8)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio
from trio.testing import MockClock

from dht.service import Dht
from node.control import ask
from protocol.datagrams import ANY_SEQUENCE, Kind, PutCode, parse
from protocol.ids import Address, NameId
from protocol.names import NameKeys, NameValue, name_id
from tests.network.archipelago import NETWORK, STILL, Archipelago, Node, archipelago
from tests.network.swarm import wall_clock

INTERVAL = 600.0
ANNOUNCING = replace(STILL, announce=INTERVAL)
KEYS = NameKeys(bytes(32))
NAME: NameId = name_id(KEYS.identity.key)


def record(sequence: int, life: float = 400 * 86_400) -> bytes:
    value = NameValue(number=1, kind=1, root=bytes(32), key=bytes(32), time=0, previous=b"")
    expiry = int(wall_clock() + life)
    return KEYS.sign(NETWORK.id, value, sequence=sequence, expiry=expiry, nonce=bytes(16))


async def put(dht: Dht, data: bytes, cas: int = ANY_SEQUENCE) -> int:
    """How many nodes keep it."""
    result = await dht.put_record(data, cas, await dht.get_records(NAME))
    return result.count(PutCode.KEPT)


async def found(islands: Archipelago) -> tuple[int, int]:
    """What a new client finds: the sequence, and how many nodes have it."""
    async with islands.user(f"reader {islands.users}") as user:
        records = await user.client.dht.get_records(NAME)
        return records.sequence, len(records.holders)


async def records_held(nodes: Sequence[Node]) -> list[int]:
    """What each node says in its status."""
    held = []
    for node in nodes:
        async for status in ask(node.data, {"do": "status"}):
            held.append(status["held"]["records"])
    return held


async def test_a_name_survives_a_restart_of_all_nodes(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands:
        async with islands.user() as user:
            assert await put(user.client.dht, record(1)) == 8
            assert await put(user.client.dht, record(2)) == 8
        for node in islands.nodes:
            node.kill()
        await trio.sleep(60)
        for node in list(islands.nodes):
            await islands.restart(node)
        await trio.sleep(5)
        assert await found(islands) == (2, 8)


async def test_a_name_lives_on_as_nodes_vanish_and_others_come(autojump_clock: MockClock, base: Path) -> None:
    """Of the nodes, 30 % vanish in each interval, until none of those that were told is left."""
    async with archipelago(base, 12, intervals=ANNOUNCING) as islands:
        async with islands.user() as user:
            assert await put(user.client.dht, record(1)) == 12
        first = list(islands.nodes)
        while set(first) & set(islands.nodes):
            for node in islands.nodes[:4]:
                node.kill()
            del islands.nodes[:4]
            assert (await found(islands))[0] == 1
            for _ in range(4):
                await islands.start()
            await trio.sleep(1.2 * INTERVAL)
            assert await found(islands) == (1, 12)


async def test_one_node_in_an_interval_gives_a_record_on(autojump_clock: MockClock, base: Path) -> None:
    puts: list[float] = []
    senders: Counter[Address] = Counter()

    def count(data: bytes, source: Address, to: Address) -> None:
        if parse(data).kind is Kind.PUT_RECORD:
            puts.append(trio.current_time())
            senders[source] += 1

    async with archipelago(base, 8, intervals=ANNOUNCING) as islands:
        async with islands.user() as user:
            await put(user.client.dht, record(1))
        islands.net.on_datagram = count
        await trio.sleep(0.4 * INTERVAL)
        assert puts == [], "the owner has just told everybody"
        await trio.sleep(9.6 * INTERVAL)
        turns = len(puts) / 7
        assert 9 <= turns < 45  # if nobody let a turn pass it would be 76 or more
        assert len(senders) == 8, "and nobody is relieved of it for good"


async def test_a_fresh_record_reaches_a_node_that_was_away(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6, intervals=ANNOUNCING) as islands:
        away = islands.nodes[3]
        async with islands.user() as user:
            await put(user.client.dht, record(1))
            away.kill()
            await trio.sleep(5)
            await put(user.client.dht, record(2))
            await islands.restart(away)
            await trio.sleep(1.5 * INTERVAL)
            records = await user.client.dht.get_records(NAME)
            assert records.sequence == 2
            assert {data for kept in records.holders.values() for data in kept} == {records.newest[0].data}


async def test_whoever_repeats_a_record_to_its_keepers_does_not_stop_it(autojump_clock: MockClock, base: Path) -> None:
    """Those who keep it hear it again and again, as if somebody else had given it on; newcomers hear nothing."""
    async with archipelago(base, 6, intervals=ANNOUNCING) as islands, islands.user() as user:
        data = record(1)
        await put(user.client.dht, data)
        keepers = await user.client.dht.get_records(NAME)
        newcomer = await islands.start()
        for _ in range(16):
            await trio.sleep(0.25 * INTERVAL)
            await user.client.dht.put_record(data, ANY_SEQUENCE, keepers)
        assert newcomer.node_id in (await user.client.dht.get_records(NAME)).holders


async def test_a_node_says_how_many_records_it_keeps_and_forgets_those_that_ended(
    autojump_clock: MockClock, base: Path
) -> None:
    async with archipelago(base, 3) as islands:
        async with islands.user() as user:
            await put(user.client.dht, record(1, life=INTERVAL))
        assert await records_held(islands.nodes) == [1, 1, 1]
        await trio.sleep(1.5 * INTERVAL)
        assert await records_held(islands.nodes) == [0, 0, 0]
        node = islands.nodes[0]
        node.kill()
        await trio.sleep(1)
        assert (node.data / "records.sqlite").exists()
        await islands.restart(node)
        assert await records_held([islands.nodes[0]]) == [0]
