"""The quota's room for the drafts of lease files, which many threads write at once (node/store/quota.py)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.store.chunkfile import replace_file
from node.store.quota import DRAFT_BYTES, Quota, charge
from tests.node.builders import lease_for, open_store, put, sample

LEASES_BYTES = 9000
THREADS = 8


def test_drafts_side_by_side_fit_the_headroom() -> None:
    """On a full node too: they wait for one another, and none is refused."""
    quota = Quota(10**6, 10**6)
    fit = DRAFT_BYTES // charge(LEASES_BYTES)
    lock, begun, go = threading.Lock(), threading.Semaphore(0), threading.Event()
    now, highest = 0, 0

    def write() -> None:
        nonlocal now, highest
        with quota.draft(LEASES_BYTES):
            with lock:
                now += 1
                highest = max(highest, now)
            begun.release()
            assert go.wait(10)
            with lock:
                now -= 1

    with ThreadPoolExecutor(THREADS) as pool:
        written = [pool.submit(write) for _ in range(THREADS)]
        for _ in range(fit):
            assert begun.acquire(timeout=10)
        assert not begun.acquire(timeout=0.05), "the others wait"
        go.set()
        for one in written:
            one.result(10)
    assert highest == fit < THREADS


def test_a_draft_larger_than_all_the_room_is_written_alone() -> None:
    quota = Quota(10**6, 10**6)
    with quota.draft(10 * DRAFT_BYTES):
        assert quota._drafts == DRAFT_BYTES
    assert quota._drafts == 0


def test_a_draft_that_fails_gives_its_room_back() -> None:
    quota = Quota(10**6, 10**6)
    with pytest.raises(OSError, match="full"), quota.draft(LEASES_BYTES):
        raise OSError("the disk is full")
    assert quota._drafts == 0


def test_a_lease_file_counts_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, segment = open_store(tmp_path), sample()
    put(store, segment, 0)
    seen = []

    def looked_at(draft: Path, data: bytes, path: Path) -> None:
        seen.append(store._quota._drafts)
        replace_file(draft, data, path)

    monkeypatch.setattr("node.store.leasebook.replace_file", looked_at)
    store.apply_lease(*lease_for(segment, sequence=2))
    assert seen == [charge(1)]
    assert store._quota._drafts == 0
    store.close()
