"""Not to restore at once what may come back by itself, nor again and again what a holder only says that it keeps.

A holder that is off for an hour would cost its depositor a restore of all it holds; one that takes chunks and drops
them would cost one in every round, for ever. Where a segment has chunks to spare there is time to look twice.
"""

from dataclasses import dataclass, field

from node.keeping.counted import SegmentHealth
from protocol.ids import SegmentId

MOST_DOUBLED = 6
"""Each time that a chunk was restored, the next restore of it waits twice as long: 64 times as long at most."""
LASTING = 4
"""But where it was there for so many times that long since, its holder has died as others do."""
MOST_REMEMBERED = 30_000
"""Segments; of others what is missing is restored at once."""
_FORGET = 4
"""What was not looked at for so many times the longest wait is forgotten."""


@dataclass(slots=True)
class _Missed:
    """Of one segment."""

    looked: float
    """When something was found to be missing last."""
    since: dict[int, float] = field(default_factory=dict)
    """Chunks that are missing -> when that was seen first."""
    restored: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Chunks -> how often they were restored, each time soon after the last, and when the last time was."""


@dataclass(slots=True)
class Patience:
    """What was missing before, over all deposits that one service tends. Times are seconds of any one clock."""

    grace: float
    """So long a chunk is to be missing before it is restored for the first time: less than from one round to the next,
    so that two rounds in a row that miss it are enough."""
    _missed: dict[SegmentId, _Missed] = field(default_factory=dict)

    def spared(self, health: SegmentHealth, now: float) -> frozenset[int]:
        """The missing chunks of a segment that are not to be restored yet: none where it has few to spare."""
        missing = set(range(health.n)) - {holding.index for holding in health.holdings}
        missed = self._missed.get(health.id)
        if missed is None:
            if len(self._missed) >= MOST_REMEMBERED:
                return frozenset()
            missed = self._missed[health.id] = _Missed(now)
        missed.looked = now
        for index in missing.difference(missed.since):
            if index in missed.restored and now - missed.restored[index][1] > LASTING * self._wait(missed, index):
                del missed.restored[index]
        missed.since = {index: missed.since.get(index, now) for index in missing}
        if not health.readable or health.thin:
            return frozenset()
        return frozenset(index for index, since in missed.since.items() if now - since < self._wait(missed, index))

    def whole(self, segment: SegmentId) -> None:
        """Nothing is missing of a segment: what was has come back."""
        if segment in self._missed:
            self._missed[segment].since.clear()

    def restored(self, segment: SegmentId, index: int, now: float) -> None:
        """A chunk has been restored."""
        if segment in self._missed:
            missed = self._missed[segment]
            missed.since.pop(index, None)
            missed.restored[index] = missed.restored.get(index, (0, now))[0] + 1, now

    def tidy(self, now: float) -> None:
        """Forget what has been whole for long, or is not tended any more."""
        longest = self.grace * 2**MOST_DOUBLED
        for segment, missed in list(self._missed.items()):
            if now - missed.looked > _FORGET * longest or not (missed.since or missed.restored):
                del self._missed[segment]

    def _wait(self, missed: _Missed, index: int) -> float:
        return float(self.grace * 2 ** min(missed.restored.get(index, (0, 0.0))[0], MOST_DOUBLED))
