"""Which segments of a deposit are restored first, and how many at once; what is told of a deposit afterwards."""

from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.keeping.counted import SegmentHealth
from node.keeping.restoring import Restored
from node.keeping.survival import Holding
from node.keeping.tend import AT_ONCE, Restoring, Tended, Undone
from node.keeping.tender import _story
from protocol.ids import NodeId, SegmentId


def health(number: int, countries: str, *, k: int = 2, n: int = 5) -> SegmentHealth:
    """A segment whose chunks are in these countries, a letter each."""
    holdings = tuple(Holding(index, NodeId(bytes([index]) * 32), country) for index, country in enumerate(countries))
    return SegmentHealth(SegmentId(bytes([number]) * 32), k, n, holdings, 1)


async def test_the_segments_nearest_to_loss_are_first_and_two_at_once(autojump_clock: MockClock) -> None:
    segments = [
        health(1, "abcde"),  # whole
        health(2, "a"),  # too few to rebuild
        health(3, "abcd"),
        health(4, "", k=0, n=0),  # nobody shows its descriptor
        health(5, "abc"),
        health(6, "aaa"),  # one country from loss
        health(7, "ab"),
    ]
    begun: list[int] = []
    most = running = 0

    class Slow:
        client = SimpleNamespace(world=SimpleNamespace(blocking=InlineBlocking()))

        async def restore(self, segment: SegmentHealth) -> Restored:
            nonlocal most, running
            begun.append(segment.id[0])
            running += 1
            most = max(most, running)
            await trio.sleep(1)
            running -= 1
            return Restored(segment.k, segment.n, segment.live)

    slow: Any = Slow()
    work = Restoring(slow, None)
    await work.restore(segments)
    done = work.done
    assert begun[:4] == [7, 6, 5, 3]
    assert set(begun[4:]) == {2, 4}
    assert most == AT_ONCE == 2
    assert {segment[0] for segment in done} == set(begun)


def test_what_a_log_says_of_it() -> None:
    undone = tuple(Undone(SegmentId(bytes([i]) * 32), f"reason {max(i, 1)}") for i in range(6))
    fields: dict[str, Any] = {"segments": 9, "live_after": 90, "expiry": 1, "sequence": 1}
    tended = Tended(chunks=100, live_before=88, restored=2, lost=1, renewed=9, undone=undone, **fields)
    assert not tended.whole
    assert _story(tended) == (
        "88 of 100 chunks were live, 2 restored; 9 of 9 segments renewed; segments with too few to rebuild: 1; "
        "left undone: reason 1; reason 2; reason 3; and for 2 more reasons"
    )
