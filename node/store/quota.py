"""What a node's files may take of its disk: used, and promised to puts under way."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from node.store.refusal import Refusal
from protocol.messages import ErrorCode

UNIT_BYTES = 4096
"""A file takes whole units of the disk, and is charged for them."""
HEADROOM_BYTES = 64 * 1024
"""Of the quota, kept back from puts: lease files grow into the first half; the second half is for their drafts."""
DRAFT_BYTES = HEADROOM_BYTES // 2
"""What the drafts of lease files may take, all together."""
SMALLEST_PUT_BYTES = 2 * UNIT_BYTES
"""What the smallest chunk takes, with the unit for its segment's leases."""
FULL_CHUNK_BYTES = 514 * UNIT_BYTES
"""What a full chunk at 8/12 takes: its 513 units, and one for its segment's leases (docs/operations.md, "Quota")."""


def charge(size: int) -> int:
    """What a file of ``size`` bytes takes of the quota: whole units."""
    return -(-size // UNIT_BYTES) * UNIT_BYTES


def lease_charge(size: int) -> int:
    """What a segment's leases take: one unit is paid in advance, so that a full node can still renew and delete."""
    return max(UNIT_BYTES, charge(size))


class Quota:
    """Bytes used and promised. Safe to use from any thread, and never waits, but for the drafts of lease files."""

    def __init__(self, limit: int, used: int) -> None:
        self.limit = limit
        self.used = used
        self.reserved = 0
        self.hoped = 0
        """Promised to puts that may not write yet: the trash must make room for them first."""
        self._lock = threading.Lock()
        self._drafts = 0
        self._draft_ended = threading.Condition()

    def set_limit(self, limit: int) -> None:
        """Another limit from now on. One below what is used removes nothing; it only refuses what is new."""
        with self._lock:
            self.limit = limit

    @contextmanager
    def draft(self, size: int) -> Iterator[None]:
        """A lease file of ``size`` bytes is written beside the one it replaces: wait until there is room for both.

        Not refused, as a full node still renews and deletes; the wait is for other threads' drafts alone, which wait
        for the disk and for nobody. A draft larger than all the room is written while there is no other.
        """
        amount = min(charge(size), DRAFT_BYTES)
        with self._draft_ended:
            self._draft_ended.wait_for(lambda: self._drafts + amount <= DRAFT_BYTES)
            self._drafts += amount
        try:
            yield
        finally:
            with self._draft_ended:
                self._drafts -= amount
                self._draft_ended.notify_all()

    def free(self, trash: int) -> int:
        """What a put may still take, when ``trash`` of the bytes used can go."""
        with self._lock:
            return max(0, self.limit - HEADROOM_BYTES - self.used - self.reserved - self.hoped + trash)

    def reserve(self, amount: int, trash: int, *, disk_has_room: bool) -> bool:
        """Promise ``amount`` bytes to a put.

        Args:
            amount: Bytes.
            trash: Of the bytes used, those that can go.
            disk_has_room: Whether the disk itself has room without any going.

        Returns:
            Whether there is room. If not, there will be once trash has gone: :meth:`confirm` it before a byte is
            written.

        Raises:
            Refusal: full, even without the trash.
        """
        with self._lock:
            missing = self.used + self.reserved + self.hoped + amount - (self.limit - HEADROOM_BYTES)
            if missing > trash:
                raise Refusal(ErrorCode.FULL, "the quota is used up")
            firm = missing <= 0 and disk_has_room
            self.reserved += amount if firm else 0
            self.hoped += 0 if firm else amount
            return firm

    def confirm(self, amount: int) -> bool:
        """Make a promise firm, now that trash has gone; False when too little has."""
        with self._lock:
            if self.used + self.reserved + amount > self.limit - HEADROOM_BYTES:
                return False
            self.hoped -= amount
            self.reserved += amount
            return True

    def give_up(self, amount: int) -> None:
        """Give a promise back that was never confirmed."""
        with self._lock:
            self.hoped -= amount

    def settle(self, reserved: int, used: int) -> None:
        """Give a firm promise back; ``used`` bytes of it are in use now."""
        with self._lock:
            self.reserved -= reserved
            self.used += used

    def grow(self, amount: int, *, force: bool = False) -> None:
        """Lease files grew (or shrank, below 0) by ``amount``. Raises Refusal (full), unless forced."""
        with self._lock:
            room = self.limit - DRAFT_BYTES - self.used - self.reserved
            if amount > 0 and amount > room and not force:
                raise Refusal(ErrorCode.FULL, "the quota is used up")
            self.used += amount
