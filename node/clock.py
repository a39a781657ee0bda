"""The time of day, as an argument: what signs and expires is handed a clock; what waits uses trio's own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is. Leases, receipts and records are dated by it."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump when an operator sets the machine's clock."""


class SystemClock:
    """The machine's own clock."""

    def wall(self) -> float:
        return time.time()
