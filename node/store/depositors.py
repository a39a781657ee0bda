"""For whom a node keeps what: totals per depositor, and the share of the quota that each may take."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest

from node.store.chunkindex import ChunkIndex
from node.store.quota import UNIT_BYTES
from node.store.shares import Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositorTotals:
    """One depositor. Chunks are on the account of whoever put them first; leases are each depositor's own."""

    key: bytes
    segments: int
    """With chunks on its account."""
    chunks: int
    """On its account, those in the trash included."""
    bytes: int
    """What these count for: its share is of this."""
    share: float
    """Of the quota, what they may count for: above 0, at most 1."""
    leases: int
    """Of its own, deletions not counted: those that are remembered after their end included."""
    first: int | None
    """When the first of these ends, seconds since 1970-01-01 UTC; None: there are none."""
    last: int | None


class Depositors:
    """Counted from the index when asked."""

    def __init__(self, index: ChunkIndex, shares: Shares) -> None:
        self._index = index
        self._shares = shares

    @property
    def quota_bytes(self) -> int:
        """Of the whole node."""
        return self._shares.quota_bytes

    def set_shares(self, share_of: Callable[[bytes], float | None]) -> None:
        """From now on ask for a depositor's own share; None: the one that all have. It must never wait."""
        self._shares.share_of = share_of

    def largest(self, limit: int) -> tuple[list[DepositorTotals], int]:
        """Those with most bytes, the largest first, and how many depositors there are.

        Blocks: counted row by row, a few segments at a time, so that puts need not wait for it: about a second
        with 100,000 chunks.

        Args:
            limit: At most so many.

        Raises:
            Refusal: disk.
        """
        sums: defaultdict[bytes, _Sum] = defaultdict(_Sum)
        for prefix in range(256):
            with self._index.faults():
                rows = self._index.depositors(prefix)
            for key, segments, chunks, units, leases, first, last in rows:
                sums[key].add(segments, chunks, units, leases, first, last)
        most = nsmallest(limit, sums.items(), key=lambda item: (-item[1].bytes, item[0]))
        return [self._totals(key, found) for key, found in most], len(sums)

    def _totals(self, key: bytes, found: "_Sum") -> DepositorTotals:
        return DepositorTotals(
            key=key,
            segments=found.segments,
            chunks=found.chunks,
            bytes=found.bytes,
            share=self._shares.depositor_share(key),
            leases=found.leases,
            first=_seconds(found.first),
            last=_seconds(found.last),
        )


@dataclass(slots=True)
class _Sum:
    """What one depositor has, so far."""

    segments: int = 0
    chunks: int = 0
    units: int = 0
    leases: int = 0
    first: bytes | None = None
    last: bytes | None = None

    def add(self, segments: int, chunks: int, units: int, leases: int, first: bytes | None, last: bytes | None) -> None:
        self.segments += segments
        self.chunks += chunks
        self.units += units
        self.leases += leases
        if first is not None and last is not None:
            self.first = min(self.first or first, first)
            self.last = max(self.last or last, last)

    @property
    def bytes(self) -> int:
        """As node/store/shares.py counts them."""
        return UNIT_BYTES * (self.units + self.chunks)


def _seconds(stored: bytes | None) -> int | None:
    """The index keeps numbers as 8 bytes."""
    return None if stored is None else int.from_bytes(stored, "big")
