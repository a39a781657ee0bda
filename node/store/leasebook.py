"""Which leases a segment has, and what goes when none is left (docs/spec/storage.md section 7).

Everything here blocks and changes the files of one segment: the caller holds the lock of the segment's folder.
"""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from node.store.chunkfile import MAX_LEASES, Paths, pack_leases, replace_file
from node.store.chunkindex import ChunkIndex, HeldLease, LeaseFile
from node.store.quota import Quota, charge, lease_charge
from node.store.refusal import Refusal
from protocol.leases import Lease
from protocol.messages import ErrorCode


def held_lease(lease: Lease, data: bytes) -> HeldLease:
    """A verified lease as the index keeps it, with the bytes that were signed."""
    return HeldLease(lease.depositor, lease.deposit, lease.sequence, lease.expiry, lease.deleted, data)


def ended(now: float) -> Refusal:
    """Why a lease is not taken that has ended by our clock; theirs or ours may be wrong, so ours is told."""
    here = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M")
    return Refusal(ErrorCode.BAD_LEASE, f"the lease has ended: by the clock here it is {here} UTC")


class LeaseBook:
    """The leases of all segments. Of each (depositor, deposit) the highest sequence wins; deletions are remembered."""

    def __init__(self, paths: Paths, index: ChunkIndex, quota: Quota, wall_clock: Callable[[], float]) -> None:
        self._paths = paths
        self._index = index
        self._quota = quota
        self._wall = wall_clock
        self._drafts = itertools.count()

    def draft(self) -> Path:
        """A name in tmp/ that nobody else uses."""
        return self._paths.tmp / str(next(self._drafts))

    def check_fresh(self, segment: bytes, lease: HeldLease) -> bool:
        """Whether the lease is new to us, rather than the very one we know. Raises Refusal (stale)."""
        known = self._known(segment, lease)
        if known is None or lease.sequence > known.sequence:
            return True
        if lease.data == known.data:
            return False
        raise Refusal(ErrorCode.STALE, f"sequence {known.sequence} is known")

    def _known(self, segment: bytes, lease: HeldLease) -> HeldLease | None:
        """The lease we have of the same depositor and deposit. One that has expired is as good as forgotten."""
        known = self._index.lease(segment, lease.depositor, lease.deposit)
        return known if known is not None and known.expiry > self._wall() else None

    def unexpired(self, segment: bytes) -> list[HeldLease]:
        """The leases of a segment whose time has not come, deletions included."""
        now = self._wall()
        return [lease for lease in self._index.leases(segment) if lease.expiry > now]

    def joined(self, segment: bytes, new: HeldLease) -> list[HeldLease]:
        """The leases of a segment once ``new`` is among them. Raises Refusal (refused) when they are too many."""
        owner = (new.depositor, new.deposit)
        leases = [known for known in self.unexpired(segment) if (known.depositor, known.deposit) != owner]
        if len(leases) >= MAX_LEASES:
            raise Refusal(ErrorCode.REFUSED, f"the segment has {MAX_LEASES} leases")
        return [*leases, new]

    def add(self, segment: bytes, new: HeldLease) -> None:
        """Let ``new`` take its place among the leases of a segment that is held; its chunks go when none keeps them.

        Raises:
            Refusal: stale, bad lease, refused, full.
        """
        if not self.check_fresh(segment, new):
            return
        known = self._known(segment, new)
        if new.expiry <= self._wall():
            raise ended(self._wall())
        if new.deleted and known is not None and new.expiry < known.expiry:
            raise Refusal(ErrorCode.BAD_LEASE, "the deletion expires before the lease it ends")
        leases = self.joined(segment, new)
        if any(lease.live(self._wall()) for lease in leases):
            self._write(segment, leases)
        else:
            self.remove(segment, [chunk.index for chunk in self._index.chunks(segment)], leases)

    def expire(self, segment: bytes) -> int:
        """Forget what has expired, and the chunks with it if no lease is left; returns the chunks removed."""
        leases = self.unexpired(segment)
        chunks = self._index.chunks(segment)
        if chunks and any(lease.live(self._wall()) for lease in leases):
            self._write(segment, leases)
            return 0
        self.remove(segment, [chunk.index for chunk in chunks], leases)
        return len(chunks)

    def drop(self, segment: bytes, index: int) -> None:
        """Remove one chunk of a segment, and the others with it if no lease keeps them any more."""
        leases = self.unexpired(segment)
        live = any(lease.live(self._wall()) for lease in leases)
        indices = [index] if live else [chunk.index for chunk in self._index.chunks(segment)]
        self.remove(segment, indices, leases)

    def remove(self, segment: bytes, indices: Sequence[int], leases: Sequence[HeldLease]) -> None:
        """Remove chunks. Of ``leases`` all are kept while a chunk is left, then only the deletions."""
        left = {chunk.index for chunk in self._index.chunks(segment)} - set(indices)
        kept = leases if left else [lease for lease in leases if lease.deleted]
        if kept:  # written first: should the power fail here, the next sweep removes the chunks
            self._write(segment, kept, force=True)
        else:
            self._paths.leases(segment).unlink(missing_ok=True)
        for index in indices:
            self._paths.chunk(segment, index).unlink(missing_ok=True)
        with self._index.change():
            freed = sum(charge(self._index.remove_chunk(segment, index)) for index in indices)
            file = self._index.lease_file(segment)
            if not kept:
                self._index.set_leases(segment, ())
                self._index.set_lease_file(segment, None)
                freed += 0 if file is None else lease_charge(file.size)
        self._quota.grow(-freed)

    def _write(self, segment: bytes, leases: Sequence[HeldLease], *, force: bool = False) -> None:
        """Write a segment's lease file, then the index."""
        old = self._index.lease_file(segment) or LeaseFile(0, 0)
        data = pack_leases(lease.data for lease in leases)
        growth = lease_charge(len(data)) - lease_charge(old.size)
        self._quota.grow(max(0, growth), force=force)
        path = self._paths.leases(segment)
        try:
            replace_file(self.draft(), data, path)
        except OSError:
            self._quota.grow(-max(0, growth))
            raise
        self._quota.grow(min(0, growth))
        with self._index.change():
            self._index.set_leases(segment, leases)
            self._index.set_lease_file(segment, LeaseFile(len(data), path.stat().st_mtime_ns))
