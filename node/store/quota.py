"""What a node's files may take of its disk: used, and promised to puts under way."""

import threading

from node.store.refusal import Refusal
from protocol.messages import ErrorCode

UNIT_BYTES = 4096
"""A file takes whole units of the disk, and is charged for them."""
HEADROOM_BYTES = 64 * 1024
"""Of the quota, kept back from puts: lease files grow into the first half; the second half is for their drafts."""


def charge(size: int) -> int:
    """What a file of ``size`` bytes takes of the quota: whole units."""
    return -(-size // UNIT_BYTES) * UNIT_BYTES


def lease_charge(size: int) -> int:
    """What a segment's leases take: one unit is paid in advance, so that a full node can still renew and delete."""
    return max(UNIT_BYTES, charge(size))


class Quota:
    """Bytes used and promised. Safe to use from any thread, and never waits."""

    def __init__(self, limit: int, used: int) -> None:
        self.limit = limit
        self.used = used
        self.reserved = 0
        self._lock = threading.Lock()

    def free(self) -> int:
        """What a put may still take."""
        with self._lock:
            return max(0, self.limit - HEADROOM_BYTES - self.used - self.reserved)

    def reserve(self, amount: int) -> None:
        """Promise ``amount`` bytes to a put. Raises Refusal (full)."""
        with self._lock:
            if self.used + self.reserved + amount > self.limit - HEADROOM_BYTES:
                raise Refusal(ErrorCode.FULL, "the quota is used up")
            self.reserved += amount

    def settle(self, reserved: int, used: int) -> None:
        """Give a promise back; ``used`` bytes of it are in use now."""
        with self._lock:
            self.reserved -= reserved
            self.used += used

    def grow(self, amount: int, *, force: bool = False) -> None:
        """Lease files grew (or shrank, below 0) by ``amount``. Raises Refusal (full), unless forced."""
        with self._lock:
            room = self.limit - HEADROOM_BYTES // 2 - self.used - self.reserved
            if amount > 0 and amount > room and not force:
                raise Refusal(ErrorCode.FULL, "the quota is used up")
            self.used += amount
