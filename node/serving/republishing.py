"""Giving on the records of names that this node keeps, again and again (docs/spec/dht.md section 8).

Nodes come and go: in the end none of those that were told would be near the name any more. So each record has its turn
once in an interval, on one of the nodes that keep it: whoever is first tells all the others, which then let theirs
pass. When it is whose turn is drawn from the ids of node and name, so that they are not all first at once. Three turns
in a row at most are let pass: whoever repeats a record to those who keep it, and to nobody else, does not stop it.
"""

from collections.abc import Awaitable, Callable

import trio

from dht.records import RecordStore
from protocol.ids import NameId, NodeId

LOOKS = 360
"""So many times in an interval it is looked whose turn it is."""
HASTE = 12
"""What is overdue goes so many times as fast."""
_EARLIEST = 0.5
"""Of an interval: the first turn after a record was put or given on. The last is at its end."""
_PASSED = 3
"""Intervals after which it is given on, whatever others did."""
_SLICE = 512
"""Names looked at in a row before other tasks get a turn."""


class Republisher:
    """Gives on what a record store keeps."""

    def __init__(
        self,
        records: RecordStore,
        republish: Callable[[NameId], Awaitable[int]],
        own_id: NodeId,
        wall_clock: Callable[[], float],
        *,
        may_republish: Callable[[], Awaitable[object]],
        interval: float,
    ) -> None:
        """
        Args:
            records: What is kept.
            republish: ``Dht.republish``.
            own_id: This node's.
            wall_clock: Seconds since 1970.
            may_republish: Awaited before each look.
            interval: Seconds in which each record is given on once.
        """
        self._records = records
        self._republish = republish
        self._own = int.from_bytes(own_id[:4], "big")
        self._wall = wall_clock
        self._may = may_republish
        self._interval = interval
        self._done: dict[NameId, float] = {}
        """When this node gave a record on, or first saw it; wall clock."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._interval / LOOKS)
            await self._may()
            await self._look()

    async def _look(self) -> None:
        due: list[NameId] = []
        names = self._records.names()
        self._done = {name: self._done.get(name, self._wall()) for name in names}
        for number, name in enumerate(names):
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
            if self._is_due(name):
                due.append(name)
        for name in due:
            if self._is_due(name):  # somebody may have been quicker
                await self._republish(name)
                self._done[name] = self._wall()
                await trio.sleep(self._interval / len(names) / HASTE)

    def _is_due(self, name: NameId) -> bool:
        touched = self._records.touched(name)
        if touched is None:
            return False
        now = self._wall()
        part = (int.from_bytes(name[:4], "big") ^ self._own) / 2**32
        # abs: a clock that was set back makes nothing wait for the time it was ahead
        quiet, passed = abs(now - touched), abs(now - self._done.get(name, now))
        return quiet >= self._interval * (_EARLIEST + part * (1 - _EARLIEST)) or passed >= self._interval * _PASSED
