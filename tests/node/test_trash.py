"""The trash: what no lease keeps any more stays a while, comes back with a renewal, and makes room when it must."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.store import leasebook
from node.store.chunkindex import ChunkIndex
from node.store.chunkstore import ChunkStore
from node.store.putting import DISK_HEADROOM_BYTES
from node.store.quota import HEADROOM_BYTES, charge, lease_charge
from node.store.refusal import Refusal
from protocol.ids import PublicKey
from protocol.messages import ErrorCode, Held
from tests.node.builders import (
    ALICE,
    BOB,
    DAY,
    NOW,
    FakeClock,
    Sample,
    files_charge,
    lease_for,
    open_store,
    put,
    read_whole,
    sample,
)

LENGTH = 1000
"""Of a segment here: a chunk takes one unit, and its segment's leases another."""
ONE = charge(1) + lease_charge(0)


def small(seed: int) -> Sample:
    return sample(seed, LENGTH)


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.code


def held(store: ChunkStore, *, trash: bool) -> set[bytes]:
    return {chunk.segment for chunk in store.holdings(trash=trash)}


def assert_sound(store: ChunkStore, path: Path) -> None:
    assert store.used_bytes == files_charge(path)
    assert (store._quota.reserved, store._quota.hoped) == (0, 0)
    assert list((path / "tmp").iterdir()) == []


def with_trash(
    path: Path, clock: FakeClock, *, quota: int, ended: int, live: int = 0
) -> tuple[ChunkStore, list[Sample]]:
    """A store at a time when the leases of the first ``ended`` segments have ended, one after the other."""
    store, segments = open_store(path, clock, quota=quota), [small(seed) for seed in range(ended + live)]
    for number, segment in enumerate(segments):
        days = 1 + number / 100 if number < ended else 100
        put(store, segment, 0, lease_for(segment, expiry=int(NOW + days * DAY)))
    clock.now = NOW + 2 * DAY
    store.expire()
    return store, segments


# What it is


def test_a_chunk_whose_leases_have_ended_is_in_the_trash_until_it_is_collected(tmp_path: Path) -> None:
    clock = FakeClock()
    store, (segment, kept) = with_trash(tmp_path, clock, quota=10**9, ended=1, live=1)
    assert held(store, trash=False) == {kept.id}, "it is not announced"
    assert held(store, trash=True) == {segment.id, kept.id}
    assert store.have(ALICE.key, bytes(16), [segment.id]) == (Held(indices=b"\x00"),)
    assert store.have(PublicKey(bytes(32)), bytes(16), [segment.id]) == (Held(indices=b"\x00"),)
    assert store.leases(segment.id) == store.live_leases(segment.id) == []
    assert store.digests([segment.id]) == [(b"\x00", bytes(32))]
    assert store.trash_bytes == ONE
    assert read_whole(store, segment, 0) == segment.columns[0]
    clock.now = NOW + 8 * DAY - 1
    assert store.expire() == 0
    clock.now += 1
    assert store.expire() == 1
    assert held(store, trash=True) == {kept.id}
    assert store.trash_bytes == 0
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize(
    ("how", "restart"),
    [("lease", "close"), ("put", "index lost")]
    + [(how, "none") for how in ("lease", "put", "other put", "merge", "another depositor")],
)
def test_a_renewal_brings_it_back(tmp_path: Path, how: str, restart: str) -> None:
    clock = FakeClock()
    store, (segment,) = with_trash(tmp_path, clock, quota=10**9, ended=1)
    if restart != "none":
        store.close()
        if restart == "index lost":
            (tmp_path / "index.sqlite").unlink()
        store = open_store(tmp_path, clock)
        assert store.trash_bytes == ONE
    assert held(store, trash=False) == set()
    renewal = lease_for(segment, BOB if how == "another depositor" else ALICE, sequence=2)
    if how in ("put", "other put"):
        put(store, segment, 1 if how == "other put" else 0, renewal)
    elif how == "merge":
        store.merge_leases(segment.id, [renewal])
    else:
        assert [chunk.index for chunk in store.apply_lease(*renewal)] == [0]
    assert store.trash_bytes == 0
    assert held(store, trash=False) == {segment.id}
    clock.now = NOW + 20 * DAY
    assert store.expire() == 0
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert store.live_leases(segment.id) == [renewal[1]]
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize("expiry", [NOW + DAY, NOW + 90 * DAY], ids=["as the lease", "later"])
def test_a_deletion_removes_from_the_trash_at_once(tmp_path: Path, expiry: float) -> None:
    store, (segment,) = with_trash(tmp_path, FakeClock(), quota=10**9, ended=1)
    assert code_of(lambda: store.apply_lease(*lease_for(segment, sequence=2, expiry=NOW, deleted=True))) is (
        ErrorCode.BAD_LEASE
    )
    assert store.apply_lease(*lease_for(segment, sequence=2, expiry=expiry, deleted=True)) == []
    assert held(store, trash=True) == set()
    assert store.trash_bytes == 0
    assert len(store.leases(segment.id)) == (expiry > NOW + DAY)
    assert_sound(store, tmp_path)
    store.close()


def test_a_replay_brings_nothing_back(tmp_path: Path) -> None:
    """Of a lease in the trash the sequence still counts."""
    clock = FakeClock()
    store, segment = open_store(tmp_path, clock), small(1)
    put(store, segment, 0, lease_for(segment, sequence=5, expiry=NOW + DAY))
    clock.now = NOW + 2 * DAY
    store.expire()
    assert code_of(lambda: store.apply_lease(*lease_for(segment, sequence=4))) is ErrorCode.STALE
    assert code_of(lambda: put(store, segment, 0, lease_for(segment, sequence=5))) is ErrorCode.STALE
    store.merge_leases(segment.id, [lease_for(segment, sequence=4)])
    assert held(store, trash=False) == set()
    store.close()


def test_leases_that_have_expired_make_room_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasebook, "MAX_LEASES", 8)
    clock = FakeClock()
    store, segment = open_store(tmp_path, clock), small(1)
    put(store, segment, 0)
    for number in range(1, 8):
        expiry = int(NOW + DAY + number) if number < 3 else int(NOW + 40 * DAY)
        store.apply_lease(*lease_for(segment, deposit=number.to_bytes(16, "big"), expiry=expiry))
    clock.now = NOW + 2 * DAY
    for number in (100, 101, 102):
        new = lease_for(segment, deposit=number.to_bytes(16, "big"))
        if number == 102:
            assert code_of(lambda new=new: store.apply_lease(*new)) is ErrorCode.REFUSED  # type: ignore[misc]
        else:
            store.apply_lease(*new)
        assert len(store._index.leases(segment.id)) == 8
    assert_sound(store, tmp_path)
    store.close()


# Room


def test_a_put_that_needs_room_takes_it_from_the_trash_oldest_first(tmp_path: Path) -> None:
    clock, quota = FakeClock(), HEADROOM_BYTES + 5 * ONE
    store, segments = with_trash(tmp_path, clock, quota=quota, ended=3, live=2)
    left = segments[:3]
    assert store.free_bytes == 3 * ONE
    for seed in range(100, 103):
        put(store, small(seed), 0)
        left.pop(0)
        assert held(store, trash=True) - held(store, trash=False) == {segment.id for segment in left}
        assert files_charge(tmp_path) <= quota
    assert store.trash_bytes == 0
    assert code_of(lambda: put(store, small(103), 0)) is ErrorCode.FULL
    assert {segment.id for segment in segments[3:]} < held(store, trash=False)
    assert_sound(store, tmp_path)
    store.close()


def test_nothing_goes_for_a_put_that_sends_nothing(tmp_path: Path) -> None:
    store, (segment,) = with_trash(tmp_path, FakeClock(), quota=HEADROOM_BYTES + ONE, ended=1)
    other = small(9)
    writer = store.begin_put(other.descriptor, 0, other.hashes[0], *lease_for(other))
    assert store.free_bytes == 0
    writer.abort()
    assert held(store, trash=True) == {segment.id}
    assert_sound(store, tmp_path)
    store.close()


def test_a_put_whose_room_was_renewed_meanwhile_is_refused(tmp_path: Path) -> None:
    store, (segment,) = with_trash(tmp_path, FakeClock(), quota=HEADROOM_BYTES + ONE, ended=1)
    other = small(9)
    writer = store.begin_put(other.descriptor, 0, other.hashes[0], *lease_for(other))
    store.apply_lease(*lease_for(segment, sequence=2))
    assert code_of(lambda: writer.write(memoryview(other.columns[0]))) is ErrorCode.FULL
    writer.abort()
    assert held(store, trash=False) == {segment.id}
    assert_sound(store, tmp_path)
    store.close()


def test_puts_side_by_side_share_the_trash_and_keep_to_the_quota(tmp_path: Path) -> None:
    quota = HEADROOM_BYTES + 8 * ONE
    store, segments = with_trash(tmp_path, FakeClock(), quota=quota, ended=6, live=2)
    done: list[bool] = []
    highest: list[int] = []

    def try_put(seed: int) -> None:
        try:
            put(store, small(seed), 0)
            done.append(True)
        except Refusal as exc:
            assert exc.code is ErrorCode.FULL
            done.append(False)
        highest.append(store.used_bytes + store._quota.reserved)
        highest.append(files_charge(tmp_path))

    threads = [threading.Thread(target=try_put, args=(seed,)) for seed in range(100, 116)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 6
    assert max(highest) <= quota - HEADROOM_BYTES
    assert {segment.id for segment in segments[6:]} <= held(store, trash=False)
    assert_sound(store, tmp_path)
    store.close()


def test_a_full_disk_takes_room_from_the_trash_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, segments = with_trash(tmp_path, FakeClock(), quota=10**9, ended=2, live=1)
    size = DISK_HEADROOM_BYTES + 4 * ONE

    def statvfs(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=size - files_charge(tmp_path), f_frsize=1, f_blocks=size)

    monkeypatch.setattr(os, "statvfs", statvfs)
    put(store, small(10), 0)
    assert held(store, trash=True) == {segments[0].id, segments[1].id, segments[2].id, small(10).id}
    put(store, small(11), 0)
    assert held(store, trash=True) == {segments[1].id, segments[2].id, small(10).id, small(11).id}
    put(store, small(12), 0)
    assert code_of(lambda: put(store, small(13), 0)) is ErrorCode.FULL
    assert held(store, trash=True) == {segments[2].id, small(10).id, small(11).id, small(12).id}
    assert_sound(store, tmp_path)
    store.close()


# Crashes


class CrashError(BaseException):
    """The end of the process: nothing that is written for errors runs."""


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[list[int]]:
    """End the process before the ``at``-th step that changes the disk or the index."""
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) > at:
            raise CrashError

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            step()
            return real(*args, **more)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "unlink"), (ChunkIndex, "change")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield steps


def evict(store: ChunkStore, _: Sample) -> None:
    put(store, small(9), 0)


def renew(store: ChunkStore, ended: Sample) -> None:
    store.apply_lease(*lease_for(ended, sequence=2, expiry=NOW + 60 * DAY))


def expire(store: ChunkStore, _: Sample) -> None:
    store.expire()


def delete(store: ChunkStore, ended: Sample) -> None:
    store.apply_lease(*lease_for(ended, sequence=2, expiry=NOW + 60 * DAY, deleted=True))


def learn(store: ChunkStore, ended: Sample) -> None:
    """The same from another holder."""
    store.merge_leases(ended.id, [lease_for(ended, sequence=2, expiry=NOW + 60 * DAY)])


def learn_deletion(store: ChunkStore, ended: Sample) -> None:
    store.merge_leases(ended.id, [lease_for(ended, sequence=2, expiry=NOW + 60 * DAY, deleted=True)])


def hand_on(store: ChunkStore, ended: Sample) -> None:
    """What another holder has acknowledged."""
    store.drop(ended.id, 0)


def crash_and_start_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int, what: Callable[[ChunkStore, Sample], None], index_lost: bool
) -> bool:
    """One crash and what must hold after it; whether ``what`` was done before."""
    clock, quota, done = FakeClock(), HEADROOM_BYTES + 2 * ONE, False
    store, (ended, kept) = with_trash(path, clock, quota=quota, ended=1, live=1)
    clock.now = NOW + (9 if what is expire else 2) * DAY
    with crashing(monkeypatch, at), suppress(CrashError):
        what(store, ended)
        done = True
    store._index.close()
    if index_lost:
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (path / name).unlink(missing_ok=True)
    store = open_store(path, clock, quota=quota)
    store.expire()
    assert_sound(store, path)
    assert files_charge(path) <= quota
    assert read_whole(store, kept, 0) == kept.columns[0]
    assert all(store.scrub(chunk.segment, chunk.index) for chunk in store.holdings(trash=True))
    left, live = held(store, trash=True), held(store, trash=False)
    assert live - {ended.id, small(9).id} == {kept.id}
    if done:
        assert live - {kept.id} == ({small(9).id} if what is evict else {ended.id} if what in (renew, learn) else set())
        assert (ended.id in left) == (what in (renew, learn))
    if what in (delete, learn_deletion):
        assert bool(store.leases(ended.id)) == (ended.id not in left), "it is in the trash, or known to be deleted"
    if what is expire:
        assert ended.id not in left, "what was not removed before is removed now"
    store.close()
    return done


@pytest.mark.parametrize(
    ("what", "index_lost"),
    [
        *[(evict, True), (renew, False), (expire, False), (delete, False), (delete, True)],
        *[(learn, False), (learn_deletion, True), (hand_on, False), (hand_on, True)],
    ],
)
def test_a_crash_at_any_moment_leaves_a_consistent_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: Callable[[ChunkStore, Sample], None], index_lost: bool
) -> None:
    """The files are the truth: what is live is whole, what is in the trash is there or gone, acknowledged is done."""
    at = 0
    while not crash_and_start_again(tmp_path / str(at), monkeypatch, at, what, index_lost):
        at += 1
    assert at >= 3, "there were moments to crash at"


def test_an_index_of_the_format_before_is_made_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    store, (segment, kept) = with_trash(tmp_path, clock, quota=10**9, ended=1, live=1)
    store.close()
    db = sqlite3.connect(tmp_path / "index.sqlite")
    db.execute("PRAGMA user_version = 1")
    db.close()
    store = open_store(tmp_path, clock)
    assert held(store, trash=True) == {segment.id, kept.id}
    assert held(store, trash=False) == {kept.id}
    assert_sound(store, tmp_path)
    store.close()
