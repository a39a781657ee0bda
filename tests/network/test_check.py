"""Counting live chunks over a line that is slow, and past holders that are silent for a while."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.abc import Listener, Stream
from trio.testing import MockClock

from dht.contact import Contact
from dht.socket import DatagramSocket
from node.blocking import InlineBlocking
from node.client import Client, World, open_client
from node.config import Config
from node.keeping import check as module
from node.keeping.audit import answered_rightly
from node.keeping.check import QUIET_SECONDS, check
from node.keeping.holders import ANSWER_SECONDS, Questions
from node.net.peers import PeerUnreachable
from node.progress import Progress
from protocol.ids import Address, PublicKey
from protocol.links import Link
from tests.network.archipelago import NETWORK, Archipelago, Node, WallClock, archipelago
from tests.network.memory import MemoryHost

MIB = 1 << 20
DSL = 625_000
"""Bytes per second: 5 Mbit/s."""
_PACKET_BYTES = 8 * 1024


class SlowLine:
    """A host's transport whose TCP streams share one line. Satisfies ``node.net.transport.Transport``."""

    def __init__(self, host: MemoryHost, bytes_per_second: float) -> None:
        self._host = host
        self.bytes_per_second = bytes_per_second
        self.line = trio.Lock()

    async def dial(self, address: Address) -> Stream:
        return _SlowStream(await self._host.dial(address), self)

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        raise AssertionError("a client does not listen")

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await self._host.open_udp(address)


class _SlowStream(Stream):
    def __init__(self, stream: Stream, line: SlowLine) -> None:
        self._stream = stream
        self._line = line

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(_PACKET_BYTES)
        async with self._line.line:  # in turn: the streams get equal shares
            await trio.sleep(len(data) / self._line.bytes_per_second)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def client_on(islands: Archipelago, bytes_per_second: float) -> AsyncIterator[Client]:
    """A client at the end of a slow line."""
    host = islands.net.host("10.251.0.1")
    world = World(SlowLine(host, bytes_per_second), WallClock(), InlineBlocking(), Random(7).randbytes)
    join = tuple(str(node.info.address) for node in islands.nodes)
    async with open_client(Config(islands.base / "home-slow", NETWORK.name, join), world=world) as client:
        yield client


async def published(islands: Archipelago, files: int) -> Link:
    """So many segments of 12 full chunks of one block each, and a root."""
    for number in range(files):
        folder = islands.file(f"album/{number}", MIB).parent
    async with islands.user("alice") as alice:
        return (await alice.publish(folder)).link


def most_loaded(islands: Archipelago) -> Node:
    return max(islands.nodes, key=lambda node: len(node.chunks()))


async def test_a_slow_line_makes_nobody_dead(autojump_clock: MockClock, base: Path) -> None:
    """96 blocks over 5 Mbit/s take 20 seconds: each holder may take that long, together they must."""
    async with archipelago(base, 12) as islands:
        link = await published(islands, 8)
        async with client_on(islands, DSL) as client:
            progress = Progress()
            health = await check(client, link, progress)
        assert [segment.live for segment in health.segments] == [segment.n for segment in health.segments]
        assert health.healthy
        assert health.expires
        assert progress.done == progress.total == 8 * MIB


async def test_a_very_slow_line_makes_nobody_dead(autojump_clock: MockClock, base: Path) -> None:
    """A block takes 8 seconds when it is alone, longer than a holder may be silent."""
    async with archipelago(base, 12) as islands:
        link = await published(islands, 2)
        async with client_on(islands, 16_000) as client:
            assert (await check(client, link, Progress())).healthy


@pytest.mark.parametrize("bytes_per_second", [DSL, 1e9])
async def test_a_frozen_holder_is_not_live(autojump_clock: MockClock, base: Path, bytes_per_second: float) -> None:
    """And it alone: its fellows are counted, and it is waited for twice, not once for each of its chunks."""
    async with archipelago(base, 12) as islands:
        link = await published(islands, 8)
        frozen = most_loaded(islands)
        gone = len(frozen.chunks())
        assert gone >= 8
        async with client_on(islands, bytes_per_second) as client:
            calm = trio.current_time()
            await check(client, link, Progress())
            calm = trio.current_time() - calm
            frozen.host.freeze()
            began = trio.current_time()
            health = await check(client, link, Progress())
            assert trio.current_time() - began < calm + 12
        assert sum(segment.n - segment.live for segment in health.segments) == gone
        assert frozen.node_id not in {holding.node for segment in health.segments for holding in segment.holdings}
        assert health.readable


async def test_half_of_the_holders_are_frozen(autojump_clock: MockClock, base: Path) -> None:
    """They are waited for together."""
    async with archipelago(base, 14) as islands:
        link = await published(islands, 8)
        async with client_on(islands, 1e9) as client:
            for node in islands.nodes[::2]:
                node.host.freeze()
            there = {node.node_id for node in islands.nodes[1::2]}
            began = trio.current_time()
            health = await check(client, link, Progress())
            assert trio.current_time() - began < 40
        assert {holding.node for segment in health.segments for holding in segment.holdings} == there
        on_disks = sum(len(node.chunks()) for node in islands.nodes[1::2])
        assert sum(segment.live for segment in health.segments) == on_disks


async def test_a_holder_that_was_silent_for_a_while_is_live(autojump_clock: MockClock, base: Path) -> None:
    """Asked again at the end, it answers: nothing is held against it, not by an earlier failure either."""
    async with archipelago(base, 12) as islands, trio.open_nursery() as nursery:
        link = await published(islands, 8)
        silent = most_loaded(islands)

        async def thaw() -> None:
            await trio.sleep(12)
            silent.host.freeze(False)

        async with client_on(islands, DSL) as client:
            client.suspect(silent.contact)
            silent.host.freeze()
            nursery.start_soon(thaw)
            assert (await check(client, link, Progress())).healthy


async def test_a_holder_that_dies_between_two_batches(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it answered for the first segments is no reason to wait for it over the others."""
    asked: list[Contact] = []
    dead: list[Node] = []
    count = module._Check.count

    async def counting(self: module._Check, counts: Any) -> None:
        await count(self, counts)
        if not dead:
            assert {contact.node_id for contact in asked} >= {frozen.node_id}
            asked.clear()
            frozen.host.freeze()
            dead.append(frozen)

    async def auditing(client: Client, contact: Contact, *rest: Any) -> bool:
        asked.append(contact)
        return await answered_rightly(client, contact, *rest)

    monkeypatch.setattr(module, "SEGMENTS_AT_ONCE", 4)
    monkeypatch.setattr(module._Check, "count", counting)
    monkeypatch.setattr(module, "answered_rightly", auditing)
    async with archipelago(base, 12) as islands:
        link = await published(islands, 8)
        frozen = most_loaded(islands)
        async with client_on(islands, 1e9) as client:
            health = await check(client, link, Progress())
    assert dead
    assert asked
    assert frozen.node_id not in {contact.node_id for contact in asked}
    assert health.readable
    assert not health.healthy


async def test_answers_that_come_one_by_one(autojump_clock: MockClock) -> None:
    """Each gives those that have not answered another moment, and none of them more than ANSWER_SECONDS."""
    holders = [Contact(PublicKey(bytes([number]) * 32), Address("10.0.0.1", number)) for number in range(1, 17)]

    async def hello(contact: Contact) -> None:
        await trio.sleep(0.3 * contact.address.port if contact != holders[-1] else 1000.0)

    client: Any = SimpleNamespace(peers=SimpleNamespace(hello=hello))
    began = trio.current_time()
    there = await module._Check(client, Progress())._who_is_there(holders, QUIET_SECONDS)
    assert there == set(holders[:-1])
    assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS)


async def test_who_sends_a_little_now_and_then_is_not_waited_for(autojump_clock: MockClock) -> None:
    """A byte every four seconds would keep the question to a block open for six days."""

    async def question(on_body: Callable[[int], None]) -> bool:
        for come in range(1, 131_089):
            await trio.sleep(4)
            on_body(come)
        return True

    began = trio.current_time()
    with pytest.raises(PeerUnreachable):
        await Questions().ask(5.0, question)
    assert trio.current_time() - began < 6


async def test_fewer_questions_while_answers_are_slow(autojump_clock: MockClock) -> None:
    questions = Questions()
    seconds = 3.0
    running = [0]

    async def question(_: object) -> bool:
        running.append(running[-1] + 1)
        await trio.sleep(seconds)
        running.append(running[-1] - 1)
        return True

    async def ask(times: int) -> int:
        """The most under way at once, when the first answers are there."""
        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(questions.ask, 60.0, question)
            await trio.sleep(seconds * 1.5)
            del running[:-1]
        return max(running)

    assert await ask(60) < 16
    assert running[-1] == 0
    assert await ask(20) == 2
    seconds = 0.1
    assert await ask(60) == 16
