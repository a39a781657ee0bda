"""The chunks a node holds (docs/spec/storage.md sections 7 and 9).

Guarantees: what :meth:`PutWriter.commit` or :meth:`ChunkStore.apply_lease` returned for survives a power cut; what is
read was checked block by block; the quota holds for all files together, drafts included, however many puts run at once.

Everything here blocks, and may be called from several threads at once: except where it says otherwise, call it in a
worker thread. A request that cannot be done ends in a ``Refusal`` and changes nothing.
"""

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from node.store.chunkfile import ChunkFile, DamagedError, Paths
from node.store.chunkindex import ChunkIndex, HeldChunk, Totals
from node.store.chunkreader import ChunkReader
from node.store.chunkrecovery import folder_mtimes, open_index, prepare_folders
from node.store.depositors import Depositors
from node.store.leasebook import LeaseBook, held_lease
from node.store.putting import Puts, PutWriter
from node.store.quota import Quota
from node.store.refusal import Refusal
from node.store.shares import DEFAULT_SHARE, Shares
from node.store.soundness import Soundness
from node.store.trash import TRASH_SECONDS, Trash
from protocol.identity import Network
from protocol.ids import PublicKey, SegmentId
from protocol.leases import Lease, lease_set_digest
from protocol.messages import ErrorCode, Held
from protocol.segment import Descriptor

log = logging.getLogger(__name__)

_SWEEP = 256


class ChunkStore:
    """One data folder. One process at a time: the caller holds the folder's lock."""

    def __init__(
        self, paths: Paths, index: ChunkIndex, quota: Quota, shares: Shares, network: Network,
        wall_clock: Callable[[], float], trash_seconds: float,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._index = index
        self._quota = quota
        self.depositors = Depositors(index, shares)
        self._wall = wall_clock
        self._trash_seconds = trash_seconds
        self._trash = Trash(index, wall_clock)
        self._book = LeaseBook(paths, index, quota, shares, self._trash, wall_clock, trash_seconds)
        self._soundness = Soundness(paths, index, self._book, network.id)
        self.admits: Callable[[Lease], bool] | None = None
        """Asked which of the leases of other holders may be taken over; None: all."""
        self._puts = Puts(
            paths=paths,
            index=index,
            quota=quota,
            shares=shares,
            trash=self._trash,
            book=self._book,
            soundness=self._soundness,
            wall=wall_clock,
        )
        self.set_quota = self._puts.set_quota

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        quota_bytes: int,
        network: Network,
        wall_clock: Callable[[], float],
        trash_seconds: float = TRASH_SECONDS,
        depositor_share: float = DEFAULT_SHARE,
        subnet_share: float = DEFAULT_SHARE,
    ) -> Self:
        """Open the store in the folder ``path``, made when there is none; throw drafts away; mend the index.

        Args:
            path: The node's data folder.
            quota_bytes: What all chunk and lease files together may take, in whole units of 4 KiB each.
            network: The network whose chunks these are.
            wall_clock: Seconds since 1970.
            trash_seconds: How long a chunk is kept after its last lease has ended, unless its room is needed.
            depositor_share: What of the quota the chunks of one depositor may take, above 0, at most 1.
            subnet_share: What those from one public /24 or /48 may take, likewise.

        Raises:
            MachineError: The folder cannot be read or written.
            ConfigError: The folder holds the chunks of another network.
        """
        paths = Paths(path)
        prepare_folders(paths)
        index = open_index(paths, network.id)
        quota = Quota(quota_bytes, index.charged_bytes())
        shares = Shares(quota_bytes, depositor=depositor_share, subnet=subnet_share, held=index.accounts())
        store = cls(paths, index, quota, shares, network, wall_clock, trash_seconds)
        store._trash.measure()
        return store

    def close(self) -> None:
        """Close the index. Only then is the next start spared a comparison with the files."""
        try:
            self._index.keep_folders(folder_mtimes(self._paths))
        except (OSError, sqlite3.Error) as exc:
            log.warning("the index was not closed in order: %s", exc)
        self._index.close()
        if self._index.suspect:
            self._paths.index.unlink(missing_ok=True)  # the next start makes it anew from the files

    # What there is

    @property
    def used_bytes(self) -> int:
        """What chunk and lease files take of the quota. Never waits."""
        return self._quota.used

    @property
    def free_bytes(self) -> int:
        """What the quota and the disk have room for, trash included; 0 when the disk does not say. Never waits."""
        return self._puts.free_bytes

    @property
    def trash_bytes(self) -> int:
        """What the segments whose leases have ended take of the quota, as of the last sweep. Never waits."""
        return self._trash.bytes

    @property
    def on_lost(self) -> Callable[[SegmentId, int], None] | None:
        """Told, in whatever thread and without a lock held, which chunk was dropped because it was damaged."""
        return self._soundness.on_lost

    @on_lost.setter
    def on_lost(self, hook: Callable[[SegmentId, int], None] | None) -> None:
        self._soundness.on_lost = hook

    def puts_under_way(self) -> bool:
        """Whether room is promised to any. Never waits."""
        return self._quota.reserved + self._quota.hoped > 0

    def chunk_count(self) -> int:
        """Chunks on the disk, those in the trash included."""
        with self._index.faults():
            return self._index.count()

    def totals(self) -> Totals:
        """How many chunks, segments and depositors."""
        with self._index.faults():
            return self._index.totals()

    def holdings(
        self, after: tuple[bytes, int] = (b"", 0), limit: int = 256, *, trash: bool = False
    ) -> list[HeldChunk]:
        """Chunks held, in order of (segment, index), from the first behind ``after``.

        Args:
            after: The last (segment, index) of the page before.
            limit: Chunks at most.
            trash: Whether those that no lease keeps any more are among them.
        """
        with self._index.faults():
            return self._index.page(after, limit, None if trash else int(self._wall()))

    def leases(self, segment: SegmentId) -> list[bytes]:
        """The signed leases of a segment that have not expired, deletions included."""
        with self._index.faults():
            return [lease.data for lease in self._book.unexpired(segment)]

    def live_leases(self, segment: SegmentId) -> list[bytes]:
        """The signed leases that keep a segment: neither deleted nor expired. None: it is in the trash, or not held."""
        with self._index.faults():
            return [lease.data for lease in self._book.unexpired(segment) if not lease.deleted]

    def lease_digest(self, segment: SegmentId) -> bytes:
        """What two holders compare to see whether they know the same leases (docs/spec/storage.md section 7)."""
        return lease_set_digest(self.leases(segment))

    def digests(self, segments: Sequence[SegmentId]) -> list[tuple[bytes, bytes]]:
        """For each segment: the indices of the chunks held, the trash included, and the lease digest."""
        with self._index.faults():
            return [
                (bytes(chunk.index for chunk in self._index.chunks(segment)), self.lease_digest(segment))
                for segment in segments
            ]

    def have(self, depositor: PublicKey, deposit: bytes, segments: Sequence[SegmentId]) -> tuple[Held, ...]:
        """For each segment: the chunks held, and when that deposit's lease expires (0: none, or deleted).

        A depositor and deposit of zeros, which nobody has, ask when the last lease of anybody expires.
        """
        anybody = not any(depositor) and not any(deposit)
        found = []
        with self._index.faults():
            for segment in segments:
                indices = bytes(chunk.index for chunk in self._index.chunks(segment))
                if anybody:
                    leases = self._index.leases(segment)
                else:
                    lease = self._index.lease(segment, depositor, deposit)
                    leases = [] if lease is None else [lease]
                expiry = max((lease.expiry for lease in leases if lease.live(self._wall())), default=0)
                found.append(Held(indices=indices, expiry=expiry))
        return tuple(found)

    # Reading

    def open_chunk(self, segment: SegmentId, index: int) -> ChunkReader:
        """Open a chunk to read from it; the caller closes it (it is a context manager).

        Raises:
            Refusal: not found; corrupt (it has been dropped); disk.
        """
        with self._index.faults():
            try:
                file = ChunkFile.open(self._paths.chunk(segment, index), segment, index)
                return ChunkReader(file, self._index.faults, partial(self._corrupt, segment, index))
            except FileNotFoundError:
                if self._index.chunk(segment, index) is None:
                    raise Refusal(ErrorCode.NOT_FOUND, f"chunk {index} is not held here") from None
                raise self._corrupt(segment, index, "the file is gone") from None
            except DamagedError as exc:
                raise self._corrupt(segment, index, str(exc)) from exc

    def read(self, segment: SegmentId, index: int, first: int, count: int) -> bytes:
        """``count`` blocks of a chunk from ``first``. Raises as :meth:`open_chunk` and :meth:`ChunkReader.read`."""
        with self.open_chunk(segment, index) as chunk:
            return chunk.read(first, count)

    def proof(self, segment: SegmentId, index: int) -> tuple[bytes, bytes]:
        """The descriptor, and the block hashes of a chunk. Raises as :meth:`open_chunk`."""
        with self.open_chunk(segment, index) as chunk:
            return chunk.proof

    def _corrupt(self, segment: SegmentId, index: int, why: str) -> Refusal:
        """Drop a chunk that was read and found damaged, unless a sound one has taken its place since."""
        if self._soundness.drop_damaged(segment, index, why):
            return Refusal(ErrorCode.CORRUPT, "the chunk was damaged on disk and has been dropped")
        return Refusal(ErrorCode.BUSY, "the chunk was replaced a moment ago: try again")

    def scrub(self, segment: SegmentId, index: int) -> bool:
        """Read a whole chunk and check it; a damaged one is dropped. False then; True also when it is not held.

        Raises:
            Refusal: disk.
        """
        with self._index.faults():
            if self._soundness.sound(segment, index):
                return True
        return not self._soundness.drop_damaged(segment, index, "found by a scrub")

    # Putting and dropping

    def begin_put(
        self,
        descriptor: Descriptor,
        index: int,
        hashes: bytes,
        lease: Lease,
        lease_data: bytes,
        source: str | None = None,
    ) -> PutWriter:
        """Check a put and reserve its place. Reads and writes no file and never waits: may be called in the event loop.
        The file system is asked how much room it has, which it knows without reading.

        What is in the trash counts as room: it is removed when the first block is written, the oldest first.

        Args:
            descriptor: Of the segment.
            index: Which of its chunks.
            hashes: The chunk's block hashes, joined.
            lease: Verified, of this network.
            lease_data: The signed lease.
            source: The IP address it comes from, whose neighbourhood has a share; None: it is not counted.

        Raises:
            Refusal: malformed, bad lease, refused (a share is used up), full, or disk.
        """
        return self._puts.begin(descriptor, index, hashes, lease, lease_data, source)

    def holds_under(self, lease: Lease, lease_data: bytes, index: int) -> bool:
        """Whether a chunk of a lease's segment is held, sound or not.

        Raises:
            Refusal: stale: a newer lease of the deposit is known, or its deletion; disk.
        """
        with self._index.faults():
            self._book.check_fresh(lease.segment, held_lease(lease, lease_data))
            return self._index.chunk(lease.segment, index) is not None

    def drop(self, segment: SegmentId, index: int) -> None:
        """Remove a chunk that others hold; with a segment's last one its leases go too, all but the deletions.

        Raises:
            Refusal: disk.
        """
        with self._soundness.changing(segment):
            if self._index.chunk(segment, index) is not None:
                self._book.drop(segment, index)

    def expel(self, segments: Iterable[bytes], depositors: Collection[bytes]) -> int:
        """Remove what may not be here: the chunks of ``segments``, and those that only ``depositors`` have leases on.

        Returns:
            The chunks removed.

        Raises:
            Refusal: disk.
        """
        removed = 0
        for segment in segments:
            with self._index.faults():
                held = self._index.chunks(segment)
            if held:
                with self._soundness.changing(segment):
                    removed += self._book.empty(segment)
        for depositor in depositors:
            with self._index.faults():
                found = self._index.of_depositor(depositor)
            for segment in found:
                with self._soundness.changing(segment):
                    removed += self._book.disown(segment, depositors)
        return removed

    def kept_for(self, segment: SegmentId) -> set[bytes]:
        """The depositors whose leases keep a segment here, in the trash too."""
        with self._index.faults():
            return {lease.depositor for lease in self._book.remembered(segment) if not lease.deleted}

    # Leases

    def apply_lease(self, lease: Lease, lease_data: bytes) -> list[HeldChunk]:
        """Add, renew or delete a lease.

        Args:
            lease: Verified, of this network.
            lease_data: The signed lease.

        Returns:
            The chunks of the segment, when the lease is one that keeps them; nothing after a deletion.

        Raises:
            Refusal: not found, bad lease, stale, full, refused (too many leases), disk.
        """
        new = held_lease(lease, lease_data)
        with self._soundness.changing(lease.segment):
            chunks = self._index.chunks(lease.segment)
            if not chunks:
                raise Refusal(ErrorCode.NOT_FOUND, "no chunk of the segment is held here")
            if lease.size != chunks[0].length:
                raise Refusal(ErrorCode.BAD_LEASE, "the lease is for another size")
            self._book.add(lease.segment, new)
            return [] if lease.deleted else chunks

    def merge_leases(self, segment: SegmentId, leases: Iterable[tuple[Lease, bytes]]) -> None:
        """Take over what another holder knows better: leases we lack, renewals, deletions; the rest is passed over.

        Nothing is kept for a segment of which no chunk is held.

        Args:
            segment: Of all the leases.
            leases: Verified, of this network, each with its signed form.

        Raises:
            Refusal: full, disk.
        """
        with self._soundness.changing(segment):
            chunks = self._index.chunks(segment)
            if chunks:
                length = chunks[0].length
                self._book.merge(
                    segment, [held_lease(*found) for found in leases if self._fits(found[0], segment, length)]
                )

    def _fits(self, lease: Lease, segment: SegmentId, length: int) -> bool:
        fits = lease.segment == segment and lease.size == length
        return fits and (self.admits is None or self.admits(lease))

    def expire(self) -> int:
        """Remove what has been in the trash for long enough, and deletions that nobody need remember.

        Returns:
            The chunks removed.
        """
        removed = 0
        while True:
            with self._index.faults():
                segments = self._index.due(int(self._wall()), int(self._trash_seconds), _SWEEP)
            for segment in segments:
                with self._soundness.changing(segment):
                    removed += self._book.expire(segment)
            if len(segments) < _SWEEP:
                break
        with self._index.faults():
            self._trash.measure()
        return removed
