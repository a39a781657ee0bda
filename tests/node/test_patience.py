"""What is restored at once, and what may come back by itself first."""

from itertools import pairwise

import pytest

from node.keeping import patience as module
from node.keeping.counted import SegmentHealth
from node.keeping.patience import MOST_DOUBLED, Patience
from node.keeping.survival import Holding
from protocol.ids import NodeId, SegmentId

DAY = 86_400.0
SEGMENT = SegmentId(b"s" * 32)


def health(*missing: int, k: int = 8, n: int = 12, segment: SegmentId = SEGMENT) -> SegmentHealth:
    held = tuple(Holding(index, NodeId(bytes(32)), "FR") for index in range(n) if index not in missing)
    return SegmentHealth(segment, k, n, held, 1)


def test_twice_missing_in_a_row() -> None:
    patience = Patience(DAY / 2)
    assert patience.spared(health(3), 0) == {3}
    assert patience.spared(health(3, 4), DAY) == {4}, "the other one was missing before"
    patience.whole(SEGMENT)
    assert patience.spared(health(3), 2 * DAY) == {3}, "it has been back meanwhile"
    assert patience.spared(health(4), 3 * DAY) == {4}


def test_few_to_spare() -> None:
    patience = Patience(DAY / 2)
    assert patience.spared(health(1, 2), 0) == {1, 2}
    assert patience.spared(health(1, 2, 3), 1) == set(), "nine of eight"
    assert patience.spared(health(*range(6)), 2) == set(), "beyond repair: it is said in each round"
    assert patience.spared(health(n=0, k=0), 3) == set()


def test_what_is_restored_again_and_again() -> None:
    """Every second day at first, every 33rd in the end; another chunk of the segment does not wait for it."""
    patience = Patience(DAY / 2)
    restored = []
    for day in range(400):
        if 3 not in patience.spared(health(3), day * DAY):
            patience.restored(SEGMENT, 3, day * DAY)
            restored.append(day)
        patience.tidy(day * DAY)
    assert restored[:4] == [1, 3, 6, 11]
    assert len(restored) < 20
    assert max(later - day for day, later in pairwise(restored)) == 2**MOST_DOUBLED / 2 + 1
    assert patience.spared(health(4), 400 * DAY) == {4}
    assert patience.spared(health(4), 401 * DAY) == set()


def test_what_lasted_is_restored_as_soon_as_ever() -> None:
    """Holders die: that is no reason to distrust the next one of the chunk."""
    patience = Patience(DAY / 2)
    for month in range(0, 300, 30):
        assert patience.spared(health(3), month * DAY) == {3}
        assert patience.spared(health(3), (month + 1) * DAY) == set()
        patience.restored(SEGMENT, 3, (month + 1) * DAY)
        patience.whole(SEGMENT)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 2)
    patience = Patience(DAY / 2)
    names = [SegmentId(bytes([number]) * 32) for number in range(3)]
    assert [patience.spared(health(1, segment=name), 0) for name in names] == [{1}, {1}, set()]
    patience.whole(names[0])
    patience.restored(names[2], 1, 0)
    patience.tidy(DAY)
    assert patience.spared(health(1, segment=names[2]), DAY) == {1}
    patience.tidy(200 * DAY)
    assert patience.spared(health(1, segment=names[0]), 200 * DAY) == {1}
