"""Which leases a segment has, and what goes when none is left (docs/spec/storage.md section 7).

Everything here blocks and changes the files of one segment: the caller holds the lock of the segment's folder.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from node.store.chunkfile import MAX_LEASES, Paths, pack_leases, replace_file
from node.store.chunkindex import ChunkIndex, HeldLease, LeaseFile
from node.store.quota import Quota, charge, lease_charge
from node.store.refusal import Refusal
from node.store.shares import Shares, account_charge
from node.store.trash import Trash
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

    def __init__(
        self, paths: Paths, index: ChunkIndex, quota: Quota, shares: Shares, trash: Trash,
        wall_clock: Callable[[], float], trash_seconds: float,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._index = index
        self._quota = quota
        self._shares = shares
        self._trash = trash
        self._wall = wall_clock
        self._trash_seconds = trash_seconds
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
        """The lease we remember of the same depositor and deposit."""
        known = self._index.lease(segment, lease.depositor, lease.deposit)
        return known if known is not None and self._remembered(known) else None

    def _remembered(self, lease: HeldLease) -> bool:
        """A deletion until it expires; any other lease as long as it keeps a chunk in the trash."""
        return lease.expiry + (0 if lease.deleted else self._trash_seconds) > self._wall()

    def remembered(self, segment: bytes) -> list[HeldLease]:
        """The leases of a segment that are not forgotten: those that have expired, but not for long, included."""
        return [lease for lease in self._index.leases(segment) if self._remembered(lease)]

    def unexpired(self, segment: bytes) -> list[HeldLease]:
        """The leases of a segment whose time has not come, deletions included."""
        now = self._wall()
        return [lease for lease in self._index.leases(segment) if lease.expiry > now]

    def joined(self, segment: bytes, new: HeldLease) -> list[HeldLease]:
        """The leases of a segment once ``new`` is among them. Raises Refusal (refused) when they are too many."""
        return self._join(self.remembered(segment), new)

    def _join(self, leases: Sequence[HeldLease], new: HeldLease) -> list[HeldLease]:
        others = [known for known in leases if _owner(known) != _owner(new)]
        if len(others) >= MAX_LEASES:  # one that has expired makes room, first whichever did so first
            expired = [known for known in others if not known.deleted and known.expiry <= self._wall()]
            if not expired:
                raise Refusal(ErrorCode.REFUSED, f"the segment has {MAX_LEASES} leases")
            others.remove(min(expired, key=lambda known: known.expiry))
        return [*others, new]

    def add(self, segment: bytes, new: HeldLease) -> None:
        """Let ``new`` take its place among the leases of a segment that is held; its chunks go when none keeps them.

        Raises:
            Refusal: stale, bad lease, refused, full.
        """
        if not self.check_fresh(segment, new):
            return
        known = self._known(segment, new)
        if new.deleted and known is not None:
            if new.expiry < known.expiry:
                raise Refusal(ErrorCode.BAD_LEASE, "the deletion expires before the lease it ends")
        elif new.expiry <= self._wall():  # a deletion of what is in the trash may have expired with it
            raise ended(self._wall())
        self._keep(segment, self.joined(segment, new))

    def merge(self, segment: bytes, found: Sequence[HeldLease]) -> None:
        """Add what is news among the leases that another holder has; what is not, or does not fit, is passed over.

        Raises:
            Refusal: full.
        """
        before = leases = self.remembered(segment)
        for new in found:
            known = next((lease for lease in leases if _owner(lease) == _owner(new)), None)
            stale = known is not None and (
                new.sequence <= known.sequence or (new.deleted and new.expiry < known.expiry)
            )
            if not stale and new.expiry > self._wall():
                try:
                    leases = self._join(leases, new)
                except Refusal:  # too many: those we know stay, and the other holder keeps to its own
                    continue
        if leases is not before:
            self._keep(segment, leases)

    def expire(self, segment: bytes) -> int:
        """Forget what is due, and the chunks with it if no lease is left; returns the chunks removed."""
        return self._keep(segment, self.remembered(segment))

    def disown(self, segment: bytes, depositors: Collection[bytes]) -> int:
        """Forget the leases of ``depositors``, but for deletions; returns the chunks removed if no other is left."""
        leases = self._index.leases(segment)
        others = [lease for lease in leases if lease.deleted or lease.depositor not in depositors]
        return self._keep(segment, others) if len(others) < len(leases) else 0

    def _keep(self, segment: bytes, leases: Sequence[HeldLease]) -> int:
        """Let ``leases`` be those of a segment; returns the chunks removed because none of them keeps any."""
        leases = [lease for lease in leases if self._remembered(lease)]
        indices = [chunk.index for chunk in self._index.chunks(segment)]
        if indices and not all(lease.deleted for lease in leases):
            self._write(segment, leases)
            return 0
        self.remove(segment, indices, leases)
        return len(indices)

    def drop(self, segment: bytes, index: int) -> None:
        """Remove one chunk of a segment, and the others with it if no lease keeps them any more."""
        leases = self.remembered(segment)
        gone = all(lease.deleted for lease in leases)
        self.remove(segment, [chunk.index for chunk in self._index.chunks(segment)] if gone else [index], leases)

    def empty(self, segment: bytes) -> int:
        """Remove all of a segment but its deletions, whether or not its time has come; returns the chunks removed."""
        indices = [chunk.index for chunk in self._index.chunks(segment)]
        self.remove(segment, indices, self.remembered(segment))
        return len(indices)

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
        with self._trash.change(segment):
            file = self._index.lease_file(segment)
            gone = [stored for index in indices if (stored := self._index.remove_chunk(segment, index)) is not None]
            if not kept:
                self._index.set_leases(segment, ())
            self._index.set_lease_file(segment, file if kept else None)
        freed = sum(charge(stored.size) for stored in gone)
        self._quota.grow(-freed - (0 if kept or file is None else lease_charge(file.size)))
        for stored in gone:
            self._shares.give(stored.account, account_charge(stored.size))

    def _write(self, segment: bytes, leases: Sequence[HeldLease], *, force: bool = False) -> None:
        """Write a segment's lease file, then the index."""
        old = self._index.lease_file(segment) or LeaseFile(0, 0)
        data = pack_leases(lease.data for lease in leases)
        growth = lease_charge(len(data)) - lease_charge(old.size)
        self._quota.grow(max(0, growth), force=force)
        path = self._paths.leases(segment)
        try:
            with self._quota.draft(len(data)):
                replace_file(self.draft(), data, path)
        except OSError:
            self._quota.grow(-max(0, growth))
            raise
        self._quota.grow(min(0, growth))
        with self._trash.change(segment):
            self._index.set_leases(segment, leases)
            self._index.set_lease_file(segment, LeaseFile(len(data), path.stat().st_mtime_ns))


def _owner(lease: HeldLease) -> tuple[bytes, bytes]:
    return lease.depositor, lease.deposit
