"""Bounds on what counting a large deposit takes, of memory and of the event loop."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dht.contact import Contact
from node.blocking import InlineBlocking
from node.keeping import check as module
from node.keeping import counted
from node.keeping.check import SEGMENTS_AT_ONCE, count_chunks
from node.keeping.counted import SegmentHealth, Shelf
from node.net.peers import PeerUnreachable
from node.progress import Progress
from protocol.ids import Address, PublicKey, SegmentId
from protocol.messages import Have, HaveReply, Held
from protocol.records import ProviderRecord

NODES = 40
N = 12
EXPIRY = 1_900_000_000


class Network:
    """Where twelve of forty nodes hold each segment, every node with its neighbours."""

    def __init__(self) -> None:
        self.silent: set[int] = set()
        self.looked_up = 0
        self.world = SimpleNamespace(blocking=InlineBlocking())
        self.peers = self

    async def holders(self, client: object, segment: SegmentId) -> list[ProviderRecord]:
        await trio.lowlevel.checkpoint()
        self.looked_up += 1
        return [self._record(int.from_bytes(segment[:4], "big"), index) for index in range(N)]

    async def descriptor(self, client: object, segment: SegmentId, holders: Sequence[ProviderRecord]) -> object:
        return SimpleNamespace(id=segment, layout=SimpleNamespace(k=8, n=N))

    async def hello(self, contact: Contact) -> None:
        await trio.lowlevel.checkpoint()
        if contact.key[0] in self.silent:
            raise PeerUnreachable("no answer")

    async def request(self, contact: Contact, message: Have) -> tuple[HaveReply, bytes]:
        await self.hello(contact)
        return HaveReply(held=(Held(indices=bytes(range(N)), expiry=EXPIRY),) * len(message.segments)), b""

    def _record(self, segment: int, index: int) -> ProviderRecord:
        key = PublicKey(bytes([(segment + index) % NODES]) * 32)
        address = Address(f"203.0.113.{key[0]}", 4110)
        return ProviderRecord(index=index, key=key, expiry=segment + 1, country="FR", address=address)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(module, "find_holders", network.holders)
    monkeypatch.setattr(module, "read_descriptor", network.descriptor)
    return network


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """How many segments were summed up in each step of the event loop."""
    found: Counter[int] = Counter()
    step = 0
    health = Shelf.health

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal step
            step += 1

    def counting(self: Shelf, count: Any) -> SegmentHealth:
        found[step] += 1
        return health(self, count)

    monkeypatch.setattr(Shelf, "health", counting)
    found.instrument = Steps()  # type: ignore[attr-defined]  # to be added where there is an event loop
    yield found


def segments(count: int) -> dict[SegmentId, int]:
    return {SegmentId(number.to_bytes(4, "big") + bytes(28)): 1 for number in range(count)}


async def count(network: Network, lengths: dict[SegmentId, int]) -> tuple[SegmentHealth, ...]:
    client: Any = network
    return await count_chunks(client, lengths, Progress(), audited=False)


async def test_of_a_whole_segment_little_is_remembered(autojump_clock: MockClock, network: Network) -> None:
    """A hundred thousand of them in less than 40 MB."""
    lengths = segments(2000)
    await count(network, segments(SEGMENTS_AT_ONCE))  # what is made once
    tracemalloc.start()
    try:
        health = await count(network, lengths)
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [segment.id for segment in health] == list(lengths)
    assert all(segment.live == N and segment.expires == EXPIRY and not segment.records for segment in health)
    assert kept / len(lengths) < 400
    assert peak - kept < 3_000_000, "of those that are being counted"


async def test_the_event_loop_goes_on(autojump_clock: MockClock, network: Network, steps: Counter[int]) -> None:
    trio.lowlevel.add_instrument(steps.instrument)  # type: ignore[attr-defined]
    await count(network, segments(500))
    assert sum(steps.values()) == 500
    assert max(steps.values()) == SEGMENTS_AT_ONCE


async def test_a_silent_holder_of_many(
    autojump_clock: MockClock, network: Network, steps: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for by a bounded number of segments; and by which records the others were found is kept of some."""
    monkeypatch.setattr(module, "OPEN_SEGMENTS", 100)
    monkeypatch.setattr(counted, "RECORDS_KEPT", 50)
    network.silent = {7}
    trio.lowlevel.add_instrument(steps.instrument)  # type: ignore[attr-defined]
    began = trio.current_time()
    health = await count(network, segments(1000))
    weak = [segment for segment in health if segment.live < N]
    assert len(weak) == 1000 * N // NODES
    assert all(segment.live == N - 1 for segment in weak)
    assert sum(bool(segment.records) for segment in health) == 50
    assert max(steps.values()) < 100 + SEGMENTS_AT_ONCE
    assert trio.current_time() - began < 60


async def test_a_holder_that_was_silent_over_a_batch_is_asked_again(
    autojump_clock: MockClock, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others were counted it has come back: its chunks count."""
    network.silent = {7}
    descriptor = network.descriptor

    async def descriptor_of(client: object, segment: SegmentId, holders: Sequence[ProviderRecord]) -> object:
        if network.looked_up > 3 * SEGMENTS_AT_ONCE:
            network.silent.clear()
        return await descriptor(client, segment, holders)

    monkeypatch.setattr(module, "read_descriptor", descriptor_of)
    health = await count(network, segments(5 * SEGMENTS_AT_ONCE))
    assert all(segment.live == N for segment in health)


async def test_what_is_thin_does_not_wait(autojump_clock: MockClock, network: Network) -> None:
    """Another node less, and another, and it were lost: it is told of before the next segments are counted."""
    network.silent = {number for number in range(NODES) if number % 4 == 0}  # of each segment, three holders
    lengths = segments(10 * SEGMENTS_AT_ONCE)
    told: list[tuple[int, int]] = []

    async def urgent(thin: Sequence[SegmentHealth]) -> None:
        assert all((segment.live, segment.k, segment.n) == (9, 8, N) for segment in thin)
        told.append((network.looked_up, len(thin)))

    client: Any = network
    health = await count_chunks(client, lengths, Progress(), audited=False, urgent=urgent)
    assert told == [(SEGMENTS_AT_ONCE * (batch + 1), SEGMENTS_AT_ONCE) for batch in range(10)]
    assert len(health) == len(lengths)
    network.silent = {0, 4}
    told.clear()
    await count_chunks(client, lengths, Progress(), audited=False, urgent=urgent)
    assert told == [], "ten of twelve and more"
