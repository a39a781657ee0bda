"""Which of our copies we may drop for another's (docs/spec/healing.md section 5).

In memory: after a restart a copy counts as put here by its depositor, and stays.
"""

from collections.abc import Callable
from pathlib import Path

import trio

from node.intervals import Intervals
from protocol.ids import SegmentId

ALIVE_FILE = "alive"
"""In the data folder: when the node was last there, seconds since 1970."""
_LOOKS = 4
"""Survey intervals: so long after it was away a node may drop what others have rebuilt meanwhile."""
_PATIENCE = 4
"""Survey intervals: so long the copy with the better right waits for the other to go; then it goes itself."""


class Rights:
    """Knows what came from other holders, and whether this node was away."""

    def __init__(self, folder: Path, wall_clock: Callable[[], float], intervals: Intervals) -> None:
        """
        Args:
            folder: The node's data folder.
            wall_clock: Seconds since 1970.
            intervals: the shorter grace is how long one has to be away for it to count.
        """
        self._file = folder / ALIVE_FILE
        self._wall = wall_clock
        self._intervals = intervals
        self._taken: set[tuple[SegmentId, int]] = set()
        self._doubled: dict[tuple[SegmentId, int], float] = {}
        """Since when somebody else was seen to hold it as well, by trio's clock."""
        self._returned: float | None = None

    def away_seconds(self) -> float:
        """At start: for how long was this node away? 0 when nobody knows: then nothing is dropped. Blocks."""
        try:
            return self._wall() - float(self._file.read_text("ascii"))
        except (OSError, ValueError):
            return 0.0

    def note(self) -> None:
        """This node is there. Blocks. Raises OSError."""
        self._file.write_text(f"{self._wall():.0f}", "ascii")

    def was_away(self, seconds: float) -> None:
        """For so long nobody could reach this node, or it nobody."""
        if seconds > min(self._intervals.grace, self._intervals.short_grace):
            self._returned = trio.current_time()

    def taken(self, segment: SegmentId, index: int) -> None:
        """A chunk came from another holder."""
        self._taken.add((segment, index))

    def gone(self, segment: SegmentId, index: int) -> None:
        """A chunk is no longer here."""
        self._taken.discard((segment, index))
        self._doubled.pop((segment, index), None)

    def may_drop(self, segment: SegmentId, index: int, *, better: bool) -> bool:
        """Whether a copy may go for one that another holds.

        Args:
            segment: Of the chunk.
            index: Likewise.
            better: Whether ours has the better right to stay.
        """
        chunk, now = (segment, index), trio.current_time()
        since = self._doubled.setdefault(chunk, now)
        if chunk in self._taken:
            return not better or now - since > _PATIENCE * self._intervals.survey
        back = self._returned
        return not better and back is not None and now - back < _LOOKS * self._intervals.survey
