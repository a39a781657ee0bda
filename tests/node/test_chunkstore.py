"""The chunk store: what was acknowledged stays, what is damaged is never served, the quota holds."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.errors import ConfigError, MachineError
from node.store.chunkfile import MAX_LEASES, Draft, parse_name
from node.store.chunkindex import ChunkIndex
from node.store.chunkstore import ChunkStore
from node.store.quota import HEADROOM_BYTES, charge, lease_charge
from node.store.refusal import Refusal
from protocol.identity import Identity, Network
from protocol.messages import ErrorCode, Held
from protocol.segment import SEALED_BLOCK_BYTES, Shares
from tests.node.builders import (
    ALICE,
    BOB,
    DAY,
    NETWORK,
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


def refused(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.code


def drafts(path: Path) -> list[Path]:
    return list((path / "tmp").iterdir())


def chunk_path(path: Path, segment: Sample, index: int) -> Path:
    return path / "chunks" / segment.id.hex()[:2] / f"{segment.id.hex()}.{index}"


def assert_sound(store: ChunkStore, path: Path) -> None:
    """The accounts agree with the disk, and nothing is left over."""
    assert store.used_bytes == files_charge(path)
    assert store._quota.reserved == 0
    assert drafts(path) == []


# Putting and reading


def test_a_chunk_is_read_back_whole_and_in_parts(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    held = put(store, segment, 0)
    assert (held.segment, held.index, held.chunk_id) == (segment.id, 0, segment.descriptor.chunk_ids[0])
    assert read_whole(store, segment, 0) == segment.columns[0]
    first, second = segment.blocks(0)
    assert store.read(segment.id, 0, 0, 1) == first
    assert store.read(segment.id, 0, 1, 1) == second
    assert store.read(segment.id, 0, 1, 0) == b""
    assert store.proof(segment.id, 0) == (segment.descriptor.encode(), segment.hashes[0])
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize("length", [1, 17, 131_072, 131_073, 16_777_216])
@pytest.mark.parametrize("shares", [Shares(1, 2), Shares(8, 9), Shares(3, 3)], ids=str)
def test_every_column_of_every_layout(tmp_path: Path, length: int, shares: Shares) -> None:
    store, segment = open_store(tmp_path), sample(length, length, shares)
    for index in range(segment.descriptor.layout.n):
        put(store, segment, index)
        assert read_whole(store, segment, index) == segment.columns[index]
    store.close()


def test_what_is_not_held(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    assert refused(lambda: store.read(segment.id, 0, 0, 1)) is ErrorCode.NOT_FOUND
    put(store, segment, 0)
    assert refused(lambda: store.read(segment.id, 1, 0, 1)) is ErrorCode.NOT_FOUND
    assert refused(lambda: store.read(segment.id, 0, 0, 3)) is ErrorCode.MALFORMED
    assert refused(lambda: store.read(segment.id, 0, 2, 1)) is ErrorCode.MALFORMED
    store.close()


def test_holdings_come_in_order_and_in_pages(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    segments = [sample(seed, 200_000) for seed in range(4)]
    for segment in segments:
        for index in range(3):
            put(store, segment, index)
    expected = sorted((segment.id, index) for segment in segments for index in range(3))
    found: list[tuple[bytes, int]] = []
    after = (b"", 0)
    while page := store.holdings(after, 5):
        found += [(chunk.segment, chunk.index) for chunk in page]
        after = found[-1]
    assert found == expected
    assert store.chunk_count() == 12
    store.close()


def test_have_says_what_is_held_and_for_how_long(tmp_path: Path) -> None:
    store, clock = open_store(tmp_path), FakeClock()
    mine, other, absent = sample(1), sample(2), sample(3)
    put(store, mine, 2)
    put(store, mine, 0)
    put(store, other, 1, lease_for(other, BOB))
    asked = [absent.id, mine.id, other.id]
    assert store.have(ALICE.key, bytes(16), asked) == (
        Held(),
        Held(indices=b"\x00\x02", expiry=int(clock.now) + 30 * DAY),
        Held(indices=b"\x01"),
    )
    store.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"size": 299_999}, ErrorCode.BAD_LEASE),
        ({"expiry": NOW}, ErrorCode.BAD_LEASE),
        ({"deleted": True}, ErrorCode.BAD_LEASE),
    ],
    ids=str,
)
def test_a_put_needs_a_lease_that_fits(tmp_path: Path, change: dict[str, object], code: ErrorCode) -> None:
    store, segment = open_store(tmp_path), sample()
    lease = lease_for(segment, **change)  # type: ignore[arg-type]  # a table of keyword arguments
    assert refused(lambda: put(store, segment, 0, lease)) is code
    assert refused(lambda: put(store, segment, 0, lease_for(sample(9)))) is ErrorCode.BAD_LEASE
    assert store.used_bytes == 0
    assert_sound(store, tmp_path)
    store.close()


def test_a_put_needs_hashes_and_blocks_that_fit(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    lease, data = lease_for(segment)

    def begin(index: int = 0, hashes: bytes = segment.hashes[0]) -> object:
        return store.begin_put(segment.descriptor, index, hashes, lease, data)

    assert refused(lambda: begin(hashes=segment.hashes[0][:32])) is ErrorCode.MALFORMED
    assert refused(lambda: begin(hashes=bytes(64))) is ErrorCode.MALFORMED
    assert refused(lambda: begin(index=3)) is ErrorCode.MALFORMED
    for body in (b"x" * SEALED_BLOCK_BYTES, segment.columns[0] + b"x", segment.columns[0][:-1], segment.columns[2]):
        writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], lease, data)
        assert refused(lambda body=body, writer=writer: (writer.write(memoryview(body)), writer.commit())) is (  # type: ignore[misc]
            ErrorCode.MALFORMED
        )
        writer.abort()
    writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], lease, data)
    writer.write(memoryview(next(segment.blocks(0))))
    assert refused(writer.commit) is ErrorCode.MALFORMED
    writer.abort()
    writer.abort()
    assert store.used_bytes == 0
    assert_sound(store, tmp_path)
    store.close()


# Quota


def test_the_quota_is_never_exceeded_by_puts_side_by_side(tmp_path: Path) -> None:
    one = charge(len(sample().columns[0]) + 2000) + lease_charge(0)
    quota = HEADROOM_BYTES + 5 * one + one // 2
    store = open_store(tmp_path, quota=quota)
    done: list[bool] = []
    highest: list[int] = []

    def try_put(seed: int) -> None:
        segment = sample(seed)
        try:
            put(store, segment, 0)
            done.append(True)
        except Refusal as exc:
            assert exc.code is ErrorCode.FULL
            done.append(False)
        highest.append(store.used_bytes + store._quota.reserved)

    threads = [threading.Thread(target=try_put, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 12
    assert sum(done) == 5
    assert max(highest) <= quota
    assert files_charge(tmp_path) <= quota
    assert_sound(store, tmp_path)
    store.close()


def test_space_is_promised_before_the_body_and_given_back(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path, quota=HEADROOM_BYTES + 300_000), sample()
    writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], *lease_for(segment))
    assert refused(lambda: put(store, sample(1), 0)) is ErrorCode.FULL
    writer.abort()
    put(store, sample(1), 0)
    assert store.free_bytes < 50_000
    store.close()


@pytest.mark.parametrize(("blocks", "taken"), [(0, True), (1000, False)])
def test_a_file_system_that_does_not_know_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, taken: bool
) -> None:
    """There the quota alone counts. One that does know it, and has no room, is full."""
    store, segment = open_store(tmp_path, quota=HEADROOM_BYTES + 300_000), sample()
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=blocks))
    assert store.free_bytes == (300_000 if taken else 0)
    assert refused_or_none(lambda: put(store, segment, 0)) is (None if taken else ErrorCode.FULL)
    assert refused(lambda: put(store, sample(1), 0)) is ErrorCode.FULL
    assert_sound(store, tmp_path)
    store.close()


def test_a_disk_that_does_not_say_how_much_room_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails: nobody is told that it was full, and nobody is invited."""
    store, segment = open_store(tmp_path), sample()

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", fail)
        assert store.free_bytes == 0
        assert refused(lambda: put(store, segment, 0)) is ErrorCode.DISK
    put(store, segment, 0)
    assert_sound(store, tmp_path)
    store.close()


def test_a_full_store_renews_and_deletes(tmp_path: Path) -> None:
    segment = sample()
    store = open_store(tmp_path, quota=HEADROOM_BYTES + 275_000)
    put(store, segment, 0)
    fillers = iter(range(1, 100))
    while refused_or_none(lambda: put(store, sample(next(fillers), 1000), 0)) is None:
        pass
    assert len(store.apply_lease(*lease_for(segment, sequence=2, expiry=NOW + 90 * DAY))) == 1
    assert store.apply_lease(*lease_for(segment, sequence=3, expiry=NOW + 90 * DAY, deleted=True)) == []
    assert store.free_bytes > 200_000
    assert_sound(store, tmp_path)
    store.close()


def refused_or_none(call: Callable[[], object]) -> ErrorCode | None:
    try:
        call()
    except Refusal as exc:
        return exc.code
    return None


def test_a_smaller_quota_removes_nothing(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    store = open_store(tmp_path, quota=1000)
    assert store.free_bytes == 0
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert refused(lambda: put(store, segment, 1)) is ErrorCode.FULL
    store.close()


# Leases


def test_a_second_put_keeps_the_bytes_and_adds_the_lease(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    before = chunk_path(tmp_path, segment, 0).stat()
    put(store, segment, 0, lease_for(segment, BOB))
    after = chunk_path(tmp_path, segment, 0).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert sorted(store.leases(segment.id)) == sorted([lease_for(segment)[1], lease_for(segment, BOB)[1]])
    assert store.apply_lease(*lease_for(segment, sequence=2, deleted=True)) == []
    assert read_whole(store, segment, 0) == segment.columns[0]
    store.apply_lease(*lease_for(segment, BOB, sequence=2, deleted=True))
    assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.NOT_FOUND
    assert len(store.leases(segment.id)) == 2
    assert_sound(store, tmp_path)
    store.close()


def test_the_highest_sequence_wins(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0, lease_for(segment, sequence=5))
    assert len(store.apply_lease(*lease_for(segment, sequence=5))) == 1, "the very same bytes"
    assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=4))) is ErrorCode.STALE
    assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=5, expiry=NOW + 1))) is ErrorCode.STALE
    assert refused(lambda: put(store, segment, 0, lease_for(segment, sequence=4))) is ErrorCode.STALE
    assert refused(lambda: put(store, segment, 1, lease_for(segment, sequence=4))) is ErrorCode.STALE
    huge = 2**64 - 1
    assert len(store.apply_lease(*lease_for(segment, sequence=huge, expiry=huge))) == 1
    assert store.have(ALICE.key, bytes(16), [segment.id])[0].expiry == huge
    assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=6))) is ErrorCode.STALE
    assert_sound(store, tmp_path)
    store.close()


def test_leases_of_segments_and_sizes_unknown(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    assert refused(lambda: store.apply_lease(*lease_for(segment))) is ErrorCode.NOT_FOUND
    put(store, segment, 0)
    assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=2, size=5))) is ErrorCode.BAD_LEASE
    assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=2, expiry=NOW))) is ErrorCode.BAD_LEASE
    early = lease_for(segment, sequence=2, expiry=NOW + DAY, deleted=True)
    assert refused(lambda: store.apply_lease(*early)) is ErrorCode.BAD_LEASE, "a tombstone that ends too soon"
    store.close()


def test_a_deletion_is_remembered_until_it_expires(tmp_path: Path) -> None:
    clock = FakeClock()
    store, segment = open_store(tmp_path, clock), sample()
    put(store, segment, 0)
    put(store, segment, 1)
    store.apply_lease(*lease_for(segment, sequence=2, deleted=True))
    for again in (False, True):
        if again:
            store.close()
            store = open_store(tmp_path, clock)
        assert refused(lambda: put(store, segment, 0)) is ErrorCode.STALE, "an old put must not bring it back"  # noqa: B023
        assert store.holdings() == []
    clock.now += 31 * DAY
    assert store.expire() == 0
    assert store.used_bytes == 0
    put(store, segment, 0, lease_for(segment, expiry=clock.now + DAY))
    assert_sound(store, tmp_path)
    store.close()


def test_chunks_go_when_their_leases_have_ended(tmp_path: Path) -> None:
    clock = FakeClock()
    store, short, long = open_store(tmp_path, clock), sample(1), sample(2)
    put(store, short, 0, lease_for(short, expiry=NOW + DAY))
    put(store, short, 1, lease_for(short, expiry=NOW + DAY))
    put(store, long, 0, lease_for(long, expiry=NOW + DAY))
    put(store, long, 0, lease_for(long, BOB, expiry=NOW + 9 * DAY))
    assert store.expire() == 0
    clock.now += 2 * DAY
    assert store.expire() == 0, "they are in the trash"
    clock.now += 6 * DAY
    assert store.expire() == 2
    assert [chunk.segment for chunk in store.holdings(trash=True)] == [long.id]
    assert store.leases(long.id) == [lease_for(long, BOB, expiry=NOW + 9 * DAY)[1]]
    assert_sound(store, tmp_path)
    store.close()


def test_a_segment_has_a_bounded_number_of_leases(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample(0, 1000)
    put(store, segment, 0)
    for number in range(1, MAX_LEASES):
        store.apply_lease(*lease_for(segment, deposit=number.to_bytes(16, "big")))
    over = lease_for(segment, deposit=b"\xff" * 16)
    assert refused(lambda: store.apply_lease(*over)) is ErrorCode.REFUSED
    assert refused(lambda: put(store, segment, 1, over)) is ErrorCode.REFUSED
    put(store, segment, 1)
    assert len(store.apply_lease(*lease_for(segment, sequence=2))) == 2
    assert_sound(store, tmp_path)
    store.close()


# Damage


def damages() -> list[tuple[str, Callable[[bytes], bytes]]]:
    def flip(position: int) -> Callable[[bytes], bytes]:
        def change(data: bytes) -> bytes:
            at = position % len(data)
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

        return change

    return [
        ("first block", flip(5)),
        ("second block", flip(SEALED_BLOCK_BYTES + 5)),
        ("descriptor", flip(2 * SEALED_BLOCK_BYTES + 40)),
        ("hashes", flip(2 * SEALED_BLOCK_BYTES + 180)),
        ("lease", flip(-20)),
        ("length", flip(-5)),
        ("magic", flip(-1)),
        ("cut by one", lambda data: data[:-1]),
        ("cut in half", lambda data: data[: len(data) // 2]),
        ("without trailer", lambda data: data[: SEALED_BLOCK_BYTES * 2]),
        ("empty", lambda data: b""),
        ("one byte more in front", lambda data: b"x" + data),
        ("zeros", lambda data: bytes(len(data))),
    ]


@pytest.mark.parametrize(("name", "damage"), damages(), ids=[name for name, _ in damages()])
def test_damaged_files_are_never_served(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    path = chunk_path(tmp_path, segment, 0)
    path.write_bytes(damage(path.read_bytes()))
    if name == "lease":  # it is not what a reader gets, and the index has it
        assert read_whole(store, segment, 0) == segment.columns[0]
    else:
        assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.CORRUPT
        assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.NOT_FOUND
        assert not path.exists()
        assert store.used_bytes == 0
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize(("name", "damage"), damages(), ids=[name for name, _ in damages()])
def test_damaged_files_are_never_indexed(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    path = chunk_path(tmp_path, segment, 0)
    path.write_bytes(damage(path.read_bytes()))
    (tmp_path / "index.sqlite").unlink()
    store = open_store(tmp_path)
    if name in ("first block", "second block"):  # the start does not read a terabyte: the first reader finds it
        assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.CORRUPT
    assert store.holdings() == []
    assert not path.exists()
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_a_put_of_a_damaged_chunk_mends_it(tmp_path: Path, missing: bool, late: bool) -> None:
    """A receipt is given for what can be read, not for a row of the index."""
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    file = chunk_path(tmp_path, segment, 0)

    def damage() -> None:
        if missing:
            file.unlink()
        else:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)

    if not late:
        damage()
    writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], *lease_for(segment, BOB))
    writer.write(memoryview(segment.columns[0]))
    if late:  # while the second put was on its way, and kept nothing of it
        damage()
        assert refused(writer.commit) is ErrorCode.BUSY
        writer.abort()
        put(store, segment, 0, lease_for(segment, BOB))
    else:
        writer.commit()
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert_sound(store, tmp_path)
    store.close()


def test_a_file_that_was_removed_is_dropped(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    put(store, segment, 1)
    chunk_path(tmp_path, segment, 0).unlink()
    assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.CORRUPT
    assert [chunk.index for chunk in store.holdings()] == [1]
    assert_sound(store, tmp_path)
    store.close()


def test_a_dropped_chunk_takes_no_lease_of_its_siblings_along(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0, lease_for(segment, BOB))
    put(store, segment, 1)
    chunk_path(tmp_path, segment, 0).write_bytes(b"rot")
    assert refused(lambda: read_whole(store, segment, 0)) is ErrorCode.CORRUPT
    store.close()
    (tmp_path / "index.sqlite").unlink()
    store = open_store(tmp_path)
    assert len(store.leases(segment.id)) == 2
    assert_sound(store, tmp_path)
    store.close()


def test_a_sound_chunk_is_not_dropped_for_one_that_was_replaced(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    reader = store.open_chunk(segment.id, 0)
    path = chunk_path(tmp_path, segment, 0)
    whole = path.read_bytes()
    path.write_bytes(bytes(100))
    os.replace(shutil.copy(path, tmp_path / "rotten"), tmp_path / "elsewhere")
    path.unlink()
    path.write_bytes(whole)
    assert refused(lambda: reader.read(0, 1)) is ErrorCode.BUSY
    reader.close()
    assert read_whole(store, segment, 0) == segment.columns[0]
    store.close()


def test_a_reader_goes_on_while_the_chunk_is_removed(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    with store.open_chunk(segment.id, 0) as reader:
        store.apply_lease(*lease_for(segment, sequence=2, deleted=True))
        assert reader.read(0, 2) == segment.columns[0]
    store.close()


# Failing disks


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, ErrorCode.FULL), (errno.EDQUOT, ErrorCode.FULL), (errno.EIO, ErrorCode.DISK)]
)
@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_failing_disk_is_reported_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: ErrorCode
) -> None:
    store, segment = open_store(tmp_path), sample()

    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        assert refused(lambda: put(store, segment, 0)) is code
    assert store.used_bytes == 0
    assert store.holdings() == []
    assert_sound(store, tmp_path)
    put(store, segment, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        assert refused(lambda: store.apply_lease(*lease_for(segment, sequence=2))) is code
    assert_sound(store, tmp_path)
    assert len(store.apply_lease(*lease_for(segment, sequence=2))) == 1
    store.close()


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_any_fsync_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """The file's, then its folder's; with the third all is well."""
    store, segment = open_store(tmp_path), sample()
    chunk_path(tmp_path, segment, 0).parent.mkdir()
    real, calls = os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == failing + 1:
            raise OSError(errno.EIO, "input/output error")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert refused_or_none(lambda: put(store, segment, 0)) is (ErrorCode.DISK if failing < 2 else None)
    assert len(calls) == (2 if failing else 1)
    assert len(store.holdings()) == (failing == 2)
    assert_sound(store, tmp_path)
    store.close()


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    class Failing(sqlite3.Connection):
        fails = True

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and self.fails:
                self.fails = False
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)

    path = tmp_path / "index.sqlite"
    ChunkIndex.open(path, NETWORK.id).close()
    index = ChunkIndex(sqlite3.connect(path, isolation_level=None, factory=Failing))
    with pytest.raises(sqlite3.OperationalError):
        index.keep_folders({1: 5})
    index.keep_folders({2: 7})
    assert index.take_folders() == {2: 7}
    index.close()


def test_a_failing_index_is_reported_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, segment, other = open_store(tmp_path), sample(), sample(1)
    put(store, segment, 0)
    with monkeypatch.context() as patch:
        patch.setattr(ChunkIndex, "add_chunk", _malformed)
        assert refused(lambda: put(store, other, 0)) is ErrorCode.DISK
    assert not chunk_path(tmp_path, other, 0).exists()
    store.close()
    assert not (tmp_path / "index.sqlite").exists()
    store = open_store(tmp_path)
    assert [chunk.segment for chunk in store.holdings()] == [segment.id]
    store.close()


def _malformed(*_: object) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


# Starting again


def crash(store: ChunkStore) -> None:
    """What the end of the process leaves: nothing is noted, nothing flushed."""
    store._index.close()


@pytest.mark.parametrize("end", [ChunkStore.close, crash], ids=["close", "crash"])
def test_everything_is_there_after_a_restart(tmp_path: Path, end: Callable[[ChunkStore], None]) -> None:
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    segments = [sample(seed, 200_000) for seed in range(5)]
    for segment in segments:
        put(store, segment, 0)
        put(store, segment, 2)
    store.apply_lease(*lease_for(segments[0], sequence=2, expiry=NOW + 60 * DAY))
    store.apply_lease(*lease_for(segments[1], sequence=2, deleted=True))
    store.apply_lease(*lease_for(segments[2], BOB))
    before = store.holdings(), store.used_bytes, [sorted(store.leases(segment.id)) for segment in segments]
    end(store)
    store = open_store(tmp_path, clock)
    assert (store.holdings(), store.used_bytes, [sorted(store.leases(s.id)) for s in segments]) == before
    store.close()
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    store = open_store(tmp_path, clock)
    assert (store.holdings(), store.used_bytes, [sorted(store.leases(s.id)) for s in segments]) == before
    for segment in (segments[0], *segments[2:]):
        assert read_whole(store, segment, 2) == segment.columns[2]
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500, None], ids=["empty", "garbage", "torn"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    path = tmp_path / "index.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + os.urandom(len(data) - 4096) if content is None else content)
    store = open_store(tmp_path)
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert_sound(store, tmp_path)
    store.close()


def test_an_index_damaged_where_sqlite_quotes_it_is_made_anew(tmp_path: Path) -> None:
    """SQLite names the table it cannot read, and sqlite3 fails to decode that name: found by fuzzing."""
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    path = tmp_path / "index.sqlite"
    data = path.read_bytes()
    assert b"CREATE TABLE lease (" in data
    path.write_bytes(data.replace(b"CREATE TABLE lease (", b"CREATE TABLE lease \x83"))
    store = open_store(tmp_path)
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert_sound(store, tmp_path)
    store.close()


def test_an_orderly_close_spares_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    listed: list[Path] = []
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        listed.extend([path] if path.parent.name == "chunks" else [])
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    open_store(tmp_path).close()
    assert listed == []
    folder = chunk_path(tmp_path, segment, 0).parent
    (folder / "note.txt").write_text("a stranger's file")
    open_store(tmp_path).close()
    assert listed == [folder]


def test_files_put_there_by_hand_are_adopted(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    store, segment = open_store(here), sample()
    put(store, segment, 0)
    store.close()
    open_store(there).close()
    chunk_path(there, segment, 0).parent.mkdir()
    shutil.copy(chunk_path(here, segment, 0), chunk_path(there, segment, 0))
    store = open_store(there)
    assert read_whole(store, segment, 0) == segment.columns[0]
    assert store.leases(segment.id) == [lease_for(segment)[1]]
    assert_sound(store, there)
    store.close()


def test_files_removed_by_hand_are_forgotten(tmp_path: Path) -> None:
    store, segment, other = open_store(tmp_path), sample(1), sample(2)
    for index in range(2):
        put(store, segment, index, lease_for(segment, [ALICE, BOB][index]))
    put(store, other, 0)
    store.close()
    chunk_path(tmp_path, segment, 0).unlink()
    chunk_path(tmp_path, other, 0).unlink()
    store = open_store(tmp_path)
    assert [(chunk.segment, chunk.index) for chunk in store.holdings()] == [(segment.id, 1)]
    assert len(store.leases(segment.id)) == 2, "what the index knew of leases is kept"
    assert store.leases(other.id) == []
    assert_sound(store, tmp_path)
    store.close()


def test_a_folder_removed_by_hand_is_forgotten_and_made_again(tmp_path: Path) -> None:
    for end in (ChunkStore.close, crash):
        store, segment = open_store(tmp_path), sample()
        put(store, segment, 0)
        end(store)
        shutil.rmtree(chunk_path(tmp_path, segment, 0).parent)
        store = open_store(tmp_path)
        assert store.holdings() == []
        assert_sound(store, tmp_path)
        store.close()


def test_drafts_are_thrown_away_at_start(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    Draft(tmp_path / "tmp" / "17").write(b"half a chunk")
    store.close()
    open_store(tmp_path).close()
    assert drafts(tmp_path) == []


def test_a_damaged_lease_file_costs_no_chunk(tmp_path: Path) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.apply_lease(*lease_for(segment, sequence=2))
    store.close()
    chunk_path(tmp_path, segment, 0).with_suffix(".leases").write_bytes(b"rot")
    (tmp_path / "index.sqlite").unlink()
    store = open_store(tmp_path)
    assert store.leases(segment.id) == [lease_for(segment)[1]]
    assert_sound(store, tmp_path)
    store.close()


@pytest.mark.parametrize("with_index", [True, False])
def test_another_networks_folder_is_refused_and_left_alone(tmp_path: Path, with_index: bool) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    store.close()
    if not with_index:
        (tmp_path / "index.sqlite").unlink()
    with pytest.raises(ConfigError, match="another network"):
        ChunkStore.open(tmp_path, quota_bytes=10**9, network=Network("other"), wall_clock=FakeClock().wall)
    store = open_store(tmp_path)
    assert read_whole(store, segment, 0) == segment.columns[0]
    store.close()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="data folder"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize(
    "name",
    ["", ".", "leases", "ab.1", f"{'a' * 64}", f"{'a' * 64}.", f"{'a' * 64}.32", f"{'a' * 64}.01", f"{'A' * 64}.1",
     f"{'a' * 64}.-1", f"{'a' * 64}.1.2", f"{'a' * 66}.1", f"{'a' * 64}.lease", f"{'g' * 64}.1", f"{'a' * 64}. 1"],
)  # fmt: skip
def test_strangers_names(name: str) -> None:
    assert parse_name(name) is None


# kill -9

_WRITER = """
import sys
from pathlib import Path
from tests.node.builders import open_store, put, sample
store = open_store(Path(sys.argv[1]))
for seed in range(10_000):
    segment = sample(seed, 150_000)
    for index in range(3):
        put(store, segment, index)
        print(seed, index, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    store = open_store(tmp_path)
    for line in (line for line in lines if line.endswith("\n")):
        seed, index = map(int, line.split())
        segment = sample(seed, 150_000)
        assert read_whole(store, segment, index) == segment.columns[index]
    assert store.chunk_count() - len(lines) in (0, 1), "at most one was on its way"
    assert_sound(store, tmp_path)
    store.close()


def test_identities_and_networks_of_this_file_differ() -> None:
    assert len({ALICE.key, BOB.key, Identity(bytes(32)).key}) == 3
    assert NETWORK.id != Network("other").id
