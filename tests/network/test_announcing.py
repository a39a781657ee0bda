"""What is held is announced once in an interval, spread over it; after a start quickly, and paced too."""

import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.serving import announcing
from node.serving.announcing import HASTE, Announcer
from node.serving.statements import Statements
from node.store.chunkstore import ChunkStore
from protocol.identity import Identity
from protocol.ids import Address, SegmentId
from protocol.records import open_provider
from protocol.segment import Shares
from tests.node.builders import DAY, NETWORK, NOW, FakeClock, lease_for, open_store, put, sample

HALF_DAY = DAY / 2
CHUNKS = 120
ARCS = 32
ALIKE = pytest.approx(HALF_DAY, abs=1e-3)


class Clock(FakeClock):
    """The time of day follows trio's clock, once that runs."""

    def wall(self) -> float:
        return self.now + (trio.current_time() if trio.lowlevel.in_trio_run() else 0)


class Holder:
    """A store with chunks, and what is announced of it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store: ChunkStore = open_store(folder, self.clock)
        self.mortal = sample(0, 100, Shares(1, 1)).id
        self.statements = self.identity(b"n")
        self.heard: list[tuple[float, SegmentId]] = []
        self.calls: list[float] = []
        self.allowed = trio.Event()
        self.allowed.set()

    def identity(self, seed: bytes) -> Statements:
        address = Address("10.0.0.1", 4110)
        return Statements(Identity(seed * 32), NETWORK, self.clock, self.store, country="NZ", address=address)

    async def announce(self, records: Mapping[SegmentId, Sequence[bytes]]) -> int:
        now = trio.current_time()
        self.calls.append(now)
        for segment, packed in records.items():
            assert len(packed) == 1
            assert open_provider(NETWORK.id, segment, packed[0]).expiry == pytest.approx(self.clock.wall() + DAY, abs=1)
            self.heard.append((now, segment))
        return len(records)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        announcer = Announcer(
            self.store,
            self.statements,
            self.announce,
            InlineBlocking(),
            self.clock.wall,
            may_announce=lambda: self.allowed.wait(),  # noqa: PLW0108 - tests replace the event
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(announcer.run)
            yield
            nursery.cancel_scope.cancel()

    async def run_for(self, seconds: float) -> list[tuple[float, SegmentId]]:
        """What is announced meanwhile."""
        before = len(self.heard)
        async with self.running():
            await trio.sleep(seconds)
        return self.heard[before:]

    def times(self) -> dict[SegmentId, list[float]]:
        found = defaultdict(list)
        for time, segment in self.heard:
            found[segment].append(time)
        return found


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with chunks in it; the lease of one ends after a day."""
    folder = tmp_path_factory.mktemp("chunks")
    with closing(open_store(folder)) as store:
        for seed in range(CHUNKS):
            segment = sample(seed, 100, Shares(1, 1))
            put(store, segment, 0, lease_for(segment, expiry=NOW + (400 if seed else 1) * DAY))
    return folder


@pytest.fixture
def holder(chunks: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    monkeypatch.setattr(announcing, "ARC_CHUNKS", CHUNKS // ARCS + 1)
    monkeypatch.setattr(announcing, "_LOOK", 60)  # each look costs the test a millisecond
    shutil.copytree(chunks, base / "node")
    made = Holder(base / "node")
    yield made
    made.store.close()


def gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


async def test_once_in_an_interval_and_evenly(autojump_clock: MockClock, holder: Holder) -> None:
    await holder.run_for(5 * HALF_DAY)
    times = holder.times()
    assert len(times) == CHUNKS
    del times[holder.mortal]
    for each in times.values():
        first, *rest = gaps(each)
        assert HALF_DAY / 2 <= first <= 1.5 * HALF_DAY, "the first round is quick, and what it told is renewed in time"
        assert len(rest) >= 2
        assert all(gap == ALIKE for gap in rest)
    for began in (1.5, 2.5, 3.5):
        parts = [0] * 8
        for time, _ in holder.heard:
            part = (time / HALF_DAY - began) * len(parts)
            if 0 <= part < len(parts):
                parts[int(part + 1e-6)] += 1
        assert sum(parts) in (CHUNKS, CHUNKS - 1)
        assert min(parts) >= CHUNKS / 8 / 3
        assert max(parts) <= CHUNKS / 8 * 2
    assert min(gaps(holder.calls)) > HALF_DAY / ARCS / HASTE - 1, "one arc after the other, with pauses"


async def test_the_first_round_is_quick_and_paced(autojump_clock: MockClock, holder: Holder) -> None:
    heard = await holder.run_for(HALF_DAY / HASTE)
    assert len({segment for _, segment in heard}) == len(heard) == CHUNKS
    parts = [
        sum(HALF_DAY / HASTE * part / 4 <= time < HALF_DAY / HASTE * (part + 1) / 4 for time, _ in heard)
        for part in range(4)
    ]
    assert min(parts) >= CHUNKS / 4 / 2


async def test_a_restart_tells_everything_again_and_keeps_the_pace(autojump_clock: MockClock, holder: Holder) -> None:
    """Others may have been restarted, too, and keep what they were told in memory alone."""
    for away in (0.0, 0.1, 3.0):
        await trio.sleep(away * HALF_DAY)
        heard = await holder.run_for(HALF_DAY / HASTE)
        assert len({segment for _, segment in heard}) == len(heard) >= CHUNKS - 1
    assert min(gaps(holder.calls)) > HALF_DAY / ARCS / HASTE - 1


async def test_a_new_address_is_told_at_once(autojump_clock: MockClock, holder: Holder) -> None:
    async with holder.running():
        await trio.sleep(1.7 * HALF_DAY)
        before = len(holder.heard)
        holder.statements.address = Address("10.0.0.9", 4110)
        await trio.sleep(HALF_DAY / HASTE + HALF_DAY / 40)
    assert len(holder.heard) - before == CHUNKS


@pytest.mark.parametrize("error", [-400 * DAY, 400 * DAY])
async def test_a_clock_that_is_set_ends_no_rhythm(autojump_clock: MockClock, holder: Holder, error: float) -> None:
    holder.clock.now -= max(0.0, error)  # the leases shall live before and after
    async with holder.running():
        await trio.sleep(1.7 * HALF_DAY)
        holder.clock.now += error
        before = len(holder.heard)
        await trio.sleep(HALF_DAY / HASTE + HALF_DAY / 40)
        assert len(holder.heard) - before >= CHUNKS - 1


async def test_what_no_lease_keeps_is_not_announced(autojump_clock: MockClock, holder: Holder) -> None:
    await holder.run_for(4 * HALF_DAY)
    told = holder.times()[holder.mortal]
    assert told
    assert max(told) < DAY


async def test_nothing_while_nobody_could_come(autojump_clock: MockClock, holder: Holder) -> None:
    holder.allowed = trio.Event()
    assert await holder.run_for(2 * HALF_DAY) == []
    holder.allowed.set()
    assert len(await holder.run_for(HALF_DAY / HASTE)) >= CHUNKS - 1


async def test_nodes_begin_in_different_regions(autojump_clock: MockClock, holder: Holder) -> None:
    first = []
    for seed in (b"a", b"b", b"c", b"d"):
        holder.statements = holder.identity(seed)
        heard = await holder.run_for(HALF_DAY / HASTE / 4)
        first.append(frozenset(segment[0] >> 6 for _, segment in heard))
        assert first[-1] == {holder.statements.identity.node_id[0] >> 6}, "the quarter of its own id comes first"
    assert len(set(first)) > 1
