"""Records are acknowledged when they are on the disk, and not before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dht import keeping
from dht.calls import CLOSE_SECONDS
from dht.keeping import OURSELVES, RecordKeeper
from dht.records import Kept, RecordStore
from protocol.datagrams import ANY_SEQUENCE, PutCode, RecordPut
from protocol.ids import NameId
from tests.dht.test_records import BY, NETWORK, NOW, record, where


@dataclass
class Disk:
    """A disk that takes as long as the test likes."""

    gate: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(0))
    written: list[dict[NameId, tuple[bytes, ...]]] = field(default_factory=list)
    broken: bool = False

    async def __call__(self, changed: Mapping[NameId, Kept]) -> bool:
        await self.gate.acquire()
        self.written.append({name: kept.records for name, kept in changed.items()})
        return not self.broken


@dataclass
class Bench:
    """A keeper that runs, and what it answered."""

    store: RecordStore
    keeper: RecordKeeper
    disk: Disk
    answers: list[PutCode] = field(default_factory=list)

    async def put(self, data: bytes, cas: int = ANY_SEQUENCE) -> None:
        async def answer(reply: RecordPut) -> None:
            self.answers.append(reply.code)

        await self.keeper.take(data, cas, BY, answer)
        await wait_all_tasks_blocked()

    async def write(self) -> None:
        """Let the disk write once."""
        self.disk.gate.release()
        await wait_all_tasks_blocked()


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    store, disk = RecordStore(NETWORK), Disk()
    keeper = RecordKeeper(store, lambda: NOW, disk)
    nursery.start_soon(keeper.run)
    return Bench(store, keeper, disk)


async def test_a_record_is_acknowledged_when_it_is_on_the_disk(bench: Bench) -> None:
    data = record()
    await bench.put(data)
    assert bench.answers == []
    await bench.write()
    assert bench.answers == [PutCode.KEPT]
    assert [tuple(batch.values()) for batch in bench.disk.written] == [((data,),)]


async def test_what_changes_nothing_does_not_wait(bench: Bench) -> None:
    data = record(5)
    await bench.put(data)
    await bench.write()
    await bench.put(data)
    await bench.put(record(4))
    await bench.put(record(7), cas=4)
    await bench.put(b"rubbish")
    assert bench.answers[1:] == [PutCode.KEPT, PutCode.OLDER, PutCode.CONFLICT, PutCode.REFUSED]
    assert len(bench.disk.written) == 1


async def test_the_same_again_while_it_is_written_waits_too(bench: Bench) -> None:
    """The first answer may be lost, and the second must not be a lie."""
    data = record()
    await bench.put(data)
    await bench.put(data)
    assert bench.answers == []
    await bench.write()
    assert bench.answers == [PutCode.KEPT] * 2
    assert len(bench.disk.written) == 1


async def test_what_comes_while_the_disk_is_busy_is_written_at_once(bench: Bench) -> None:
    await bench.put(record(name=0))
    for name in range(1, 12):
        await bench.put(record(name=name))
    await bench.write()
    assert len(bench.answers) == 1
    await bench.write()
    assert bench.answers == [PutCode.KEPT] * 12
    assert [len(batch) for batch in bench.disk.written] == [1, 11]


async def test_a_fork_is_on_the_disk_when_it_is_told(bench: Bench) -> None:
    one, other = record(), record()
    await bench.put(one)
    await bench.put(other)
    assert bench.answers == []
    await bench.write()
    await bench.write()
    assert sorted(bench.answers) == [PutCode.KEPT, PutCode.FORKED]
    assert list(bench.disk.written[-1].values()) == [(one, other)]


async def test_what_could_not_be_written_is_not_kept(bench: Bench) -> None:
    bench.disk.broken = True
    data = record()
    await bench.put(data)
    await bench.write()
    assert bench.answers == [PutCode.REFUSED]
    await bench.put(data)
    await bench.write()
    assert bench.answers == [PutCode.REFUSED] * 2, "in memory it was already"
    bench.disk.broken = False
    await bench.put(record(name=1))
    await bench.write()
    assert len(bench.disk.written[-1]) == 2, "and with the next it is tried again"
    await bench.put(data)
    assert bench.answers[2:] == [PutCode.KEPT] * 2


async def test_what_ended_while_the_disk_failed_is_not_tried_again(bench: Bench) -> None:
    bench.disk.broken = True
    await bench.put(record())
    bench.store.purge(NOW + 10**6)
    await bench.write()
    assert (bench.answers, bench.store.unsaved) == ([PutCode.REFUSED], set())


async def test_what_gave_way_before_it_was_written_is_not_kept(bench: Bench) -> None:
    await bench.put(record(name=0))
    await bench.put(record(name=1))
    bench.store.drop(where(1))
    await bench.write()
    await bench.write()
    assert bench.answers == [PutCode.KEPT, PutCode.REFUSED]


async def test_what_is_let_go_goes_from_the_disk_also_if_that_fails_at_first(bench: Bench) -> None:
    await bench.put(record())
    await bench.write()
    bench.disk.broken = True
    bench.keeper.drop(where())
    await wait_all_tasks_blocked()
    await bench.write()
    bench.disk.broken = False
    await bench.put(record(name=1))
    await bench.write()
    assert bench.disk.written[-1][where()] == ()
    assert len(bench.disk.written[-1]) == 2


async def test_only_so_many_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_WAITING", 3)
    for name in range(5):
        await bench.put(record(name=name))
    assert await bench.keeper.put(record(name=6), 0, OURSELVES) is None
    assert len(bench.store) == 3
    await bench.write()
    await bench.write()
    assert bench.answers == [PutCode.KEPT] * 3
    await bench.put(record(name=4))
    await bench.write()
    assert len(bench.answers) == 4


async def test_putting_on_oneself_waits_for_the_disk(bench: Bench, nursery: trio.Nursery) -> None:
    replies: list[RecordPut | None] = []

    async def put() -> None:
        replies.append(await bench.keeper.put(record(3), 0, OURSELVES))

    nursery.start_soon(put)
    await wait_all_tasks_blocked()
    assert replies == []
    await bench.write()
    assert replies == [RecordPut(code=PutCode.KEPT, sequence=3)]


async def test_a_disk_that_hangs_holds_up_whoever_puts_on_itself_for_seconds(
    autojump_clock: MockClock, bench: Bench
) -> None:
    with trio.fail_after(CLOSE_SECONDS + 1):
        assert await bench.keeper.put(record(3), 0, OURSELVES) is None
    await bench.write()
    assert len(bench.disk.written) == 1, "it is kept all the same"


async def test_without_a_disk_memory_is_enough() -> None:
    store = RecordStore(NETWORK)
    reply = await RecordKeeper(store, lambda: NOW, None).put(record(), 0, OURSELVES)
    assert reply == RecordPut(code=PutCode.KEPT, sequence=1)
