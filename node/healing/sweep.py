"""Going over everything once in a period, evenly, by the clock alone.

Pure: what is due is a range of ids, which are spread evenly. Nodes that go over the same segments in the same period
do so in step, and it does not matter what comes or goes meanwhile, or that a node begins in the middle.
"""

from dataclasses import dataclass

_STEP = 0.6180339887498949
"""Of the circle of ids, between the beginnings of two periods: else who is off every night would never get to
the ids that are due then."""
_BITS = 64


@dataclass(frozen=True, slots=True)
class Window:
    """What falls due at once: the ids from ``low`` on and before ``high``."""

    epoch: int
    """Which period it belongs to: seconds since 1970 / period, rounded down."""
    low: bytes
    high: bytes
    """Longer than any id where the ids end."""


class Sweep:
    """One who goes over them."""

    def __init__(self, period: float) -> None:
        """``period``: seconds."""
        self._period = period
        self._done: float | None = None

    def due(self, wall: float) -> list[Window]:
        """What fell due since the last call: nothing at the first, everything once when that is long ago.

        Args:
            wall: Seconds since 1970. After a jump backwards it begins anew there.
        """
        start = wall if self._done is None else max(min(self._done, wall), wall - self._period)
        self._done = wall
        found: list[Window] = []
        while start < wall:
            epoch = self._epoch(start)
            begin, end = epoch * self._period, (epoch + 1) * self._period
            offset = epoch * _STEP % 1
            # Of the same moment always the same place: what ends in one call begins in the next, to the bit.
            first = offset + (start - begin) / self._period
            last = offset + (1.0 if wall >= end else (wall - begin) / self._period)
            found += _windows(epoch, first, last)
            start = min(wall, end)
        return found

    def _epoch(self, wall: float) -> int:
        epoch = int(wall // self._period)
        return epoch + ((epoch + 1) * self._period <= wall)  # rounding may have put a beginning before itself


def _windows(epoch: int, first: float, last: float) -> list[Window]:
    """The ids between two places on the circle: 0 <= first <= last < 3."""
    lap = int(first)
    if int(last) == lap:
        return [Window(epoch, _id(first - lap), _id(last - lap))]
    return [Window(epoch, _id(first - lap), b"\xff" * 33), *_windows(epoch, lap + 1, last)]


def _id(place: float) -> bytes:
    """The first id at a place, 0 <= place < 1."""
    return int(place * (1 << _BITS)).to_bytes(_BITS // 8, "big")
