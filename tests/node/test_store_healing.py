"""What repair asks of the store: who knows which leases, what is damaged, what has been handed on."""

from pathlib import Path

import pytest

from node.store.chunkstore import ChunkStore
from protocol.ids import SegmentId
from protocol.leases import lease_set_digest
from tests.node.builders import BOB, DAY, NOW, FakeClock, files_charge, lease_for, open_store, put, sample


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return open_store(tmp_path)


def damage(path: Path, segment: SegmentId, index: int, position: int = 5) -> None:
    (file,) = path.glob(f"chunks/*/{segment.hex()}.{index}")
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("position", [5, -300, -20], ids=["block", "hashes or lease", "lease"])
def test_a_scrub_finds_what_has_rotted_and_says_what_was_lost(tmp_path: Path, store: ChunkStore, position: int) -> None:
    segment, lost = sample(), list[tuple[SegmentId, int]]()

    def on_lost(segment: SegmentId, index: int) -> None:
        lost.append((segment, index))
        assert store.leases(segment), "no lock is held, and the store can be asked"

    store.on_lost = on_lost
    put(store, segment, 0)
    put(store, segment, 1)
    assert store.scrub(segment.id, 0)
    damage(tmp_path, segment.id, 0, position)
    assert not store.scrub(segment.id, 0)
    assert lost == [(segment.id, 0)]
    assert store.scrub(segment.id, 0), "what is not held cannot be lost again"
    assert store.scrub(segment.id, 1)
    assert [chunk.index for chunk in store.holdings()] == [1]
    damage(tmp_path, segment.id, 1)
    put(store, segment, 0)
    put(store, segment, 1)
    assert lost == [(segment.id, 0), (segment.id, 1)], "a put over a damaged chunk finds it too"
    assert store.used_bytes == files_charge(tmp_path)
    store.close()


def test_a_chunk_that_is_handed_on_takes_the_leases_along_with_the_last_one(tmp_path: Path, store: ChunkStore) -> None:
    segment = sample()
    store.on_lost = lambda *_: pytest.fail("it is not lost")
    put(store, segment, 0)
    put(store, segment, 1)
    ended = lease_for(segment, BOB, sequence=2, deleted=True)
    store.apply_lease(*lease_for(segment, BOB))
    store.apply_lease(*ended)
    store.drop(segment.id, 0)
    store.drop(segment.id, 0)
    assert [chunk.index for chunk in store.holdings()] == [1]
    assert store.live_leases(segment.id) == [lease_for(segment)[1]]
    store.drop(segment.id, 1)
    assert store.holdings() == []
    assert store.live_leases(segment.id) == []
    assert store.leases(segment.id) == [ended[1]], "a deletion is remembered"
    assert store.used_bytes == files_charge(tmp_path)
    store.close()


def test_two_holders_that_differ_come_to_the_same_digest(tmp_path: Path) -> None:
    clock, segment, other = FakeClock(), sample(), sample(2)
    here, there = open_store(tmp_path / "here", clock), open_store(tmp_path / "there", clock)
    for store, index in ((here, 0), (there, 1)):
        put(store, segment, index)
    here.apply_lease(*lease_for(segment, sequence=3, expiry=NOW + 60 * DAY))
    there.apply_lease(*lease_for(segment, BOB, sequence=2, deleted=True))
    there.apply_lease(*lease_for(segment, sequence=2, expiry=NOW + 90 * DAY))
    known = {
        store: [
            (
                lease_for(segment, sequence=3, expiry=NOW + 60 * DAY)
                if store is here
                else lease_for(segment, sequence=2)
            ),
            lease_for(segment, BOB, sequence=2, deleted=True),
            lease_for(other),
            lease_for(segment, deposit=b"x" * 16, size=5),
            lease_for(segment, deposit=b"y" * 16, expiry=NOW),
        ]
        for store in (here, there)
    }
    assert here.lease_digest(segment.id) != there.lease_digest(segment.id)
    here.merge_leases(segment.id, known[there])
    there.merge_leases(segment.id, known[here])
    same = lease_set_digest([lease[1] for lease in known[here][:2]])
    assert here.digests([segment.id, other.id]) == [(b"\x00", same), (b"", bytes(32))]
    assert there.digests([segment.id]) == [(b"\x01", same)]
    here.merge_leases(other.id, [lease_for(other)])
    assert here.leases(other.id) == [], "of what is not held nothing is kept"
    here.merge_leases(segment.id, [lease_for(segment, sequence=4, expiry=NOW + 60 * DAY, deleted=True)])
    assert here.holdings() == [], "it learns of the deletion"
    here.close()
    there.close()
