"""The chunks a node holds (docs/spec/storage.md sections 7 and 9).

Guarantees: what :meth:`PutWriter.commit` or :meth:`ChunkStore.apply_lease` returned for survives a power cut; what is
read was checked block by block; the quota holds for all files together, drafts included, however many puts run at once.

Everything here blocks, and may be called from several threads at once: except where it says otherwise, call it in a
worker thread. A request that cannot be done ends in a ``Refusal`` and changes nothing.
"""

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Self

from node.store.chunkfile import (
    ChunkFile,
    DamagedError,
    Draft,
    Paths,
    Trailer,
)
from node.store.chunkindex import ChunkIndex, HeldChunk, HeldLease, LeaseFile
from node.store.chunkreader import ChunkReader
from node.store.chunkrecovery import folder_mtimes, open_index, prepare_folders
from node.store.leasebook import LeaseBook, ended, held_lease
from node.store.quota import Quota, charge, lease_charge
from node.store.refusal import Refusal
from protocol.errors import IntegrityError
from protocol.identity import Network
from protocol.ids import PublicKey, SegmentId, short
from protocol.leases import Lease
from protocol.messages import ErrorCode, Held
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, check_block, check_hashes

log = logging.getLogger(__name__)

DISK_HEADROOM_BYTES = 8 * 1024 * 1024
"""Of the disk, kept back from puts: the index writes 4 MiB ahead before it takes them over. Without room for that not
even a lease could be ended, and a full disk would stay full."""
_SWEEP = 256


class ChunkStore:
    """One data folder. One process at a time: the caller holds the folder's lock."""

    def __init__(self, paths: Paths, index: ChunkIndex, quota: Quota, wall_clock: Callable[[], float]) -> None:
        self._paths = paths
        self._index = index
        self._quota = quota
        self._wall = wall_clock
        self._folders = [threading.Lock() for _ in range(256)]  # held while the files of a prefix change
        self._book = LeaseBook(paths, index, quota, wall_clock)

    @classmethod
    def open(cls, path: Path, *, quota_bytes: int, network: Network, wall_clock: Callable[[], float]) -> Self:
        """Open the store in the folder ``path``, made when there is none; throw drafts away; mend the index.

        Args:
            path: The node's data folder.
            quota_bytes: What all chunk and lease files together may take, in whole units of 4 KiB each.
            network: The network whose chunks these are.
            wall_clock: Seconds since 1970.

        Raises:
            MachineError: The folder cannot be read or written.
            ConfigError: The folder holds the chunks of another network.
        """
        paths = Paths(path)
        prepare_folders(paths)
        index = open_index(paths, network.id)
        return cls(paths, index, Quota(quota_bytes, index.charged_bytes()), wall_clock)

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
        """What the quota, and the disk itself, still have room for; 0 when the disk does not say. Never waits."""
        try:
            return min(self._quota.free(), self._disk_room())
        except OSError:
            return 0

    def _disk_room(self) -> int:
        """What the disk has room for beside the puts under way, and what it takes to renew, delete and expire.

        What a put under way has written counts twice: better to refuse one too early than to fail several too late.
        Some file systems do not know their size: there the quota alone counts. Raises OSError.
        """
        disk = os.statvfs(self._paths.root)
        if not disk.f_blocks:
            return sys.maxsize
        return max(0, disk.f_bavail * disk.f_frsize - self._quota.reserved - DISK_HEADROOM_BYTES)

    def chunk_count(self) -> int:
        return self._index.count()

    def holdings(self, after: tuple[bytes, int] = (b"", 0), limit: int = 256) -> list[HeldChunk]:
        """Chunks held, in order of (segment, index), from the first behind ``after``."""
        with self._index.faults():
            return self._index.page(after, limit)

    def leases(self, segment: SegmentId) -> list[bytes]:
        """The signed leases of a segment that have not expired, deletions included."""
        with self._index.faults():
            return [lease.data for lease in self._book.unexpired(segment)]

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
        with self._folder(segment):
            if self._sound(segment, index):
                return Refusal(ErrorCode.BUSY, "the chunk was replaced a moment ago: try again")
            self._book.drop(segment, index)
        log.warning("chunk %s.%d is damaged and has been dropped: %s", short(segment), index, why)
        return Refusal(ErrorCode.CORRUPT, "the chunk was damaged on disk and has been dropped")

    def _sound(self, segment: SegmentId, index: int) -> bool:
        buffer = memoryview(bytearray(SEALED_BLOCK_BYTES))
        try:
            with closing(ChunkFile.open(self._paths.chunk(segment, index), segment, index)) as file:
                for block in range(file.blocks):
                    file.read_into(block, 1, buffer)
        except (DamagedError, FileNotFoundError):
            return False
        return True

    # Putting

    def begin_put(
        self, descriptor: Descriptor, index: int, hashes: bytes, lease: Lease, lease_data: bytes
    ) -> "PutWriter":
        """Check a put and reserve its place. Reads and writes no file and never waits: may be called in the event loop.
        The file system is asked how much room it has, which it knows without reading.

        Args:
            descriptor: Of the segment.
            index: Which of its chunks.
            hashes: The chunk's block hashes, joined.
            lease: Verified, of this network.
            lease_data: The signed lease.

        Raises:
            Refusal: malformed, bad lease, full, or disk.
        """
        try:
            split = check_hashes(descriptor, index, hashes)
        except IntegrityError as exc:
            raise Refusal(ErrorCode.MALFORMED, str(exc)) from exc
        if lease.segment != descriptor.id or lease.size != descriptor.layout.length:
            raise Refusal(ErrorCode.BAD_LEASE, "the lease is for another segment or size")
        if lease.deleted:
            raise Refusal(ErrorCode.BAD_LEASE, "the lease is a deletion")
        if lease.expiry <= self._wall():
            raise ended(self._wall())
        trailer = Trailer(descriptor=descriptor.encode(), index=index, hashes=hashes, lease=lease_data).pack()
        reserved = charge(descriptor.layout.column_bytes(index) + len(trailer)) + lease_charge(0)
        with self._index.faults():
            if reserved > self._disk_room():
                raise Refusal(ErrorCode.FULL, "the disk is full")
        self._quota.reserve(reserved)
        return PutWriter(self, descriptor, index, split, trailer, held_lease(lease, lease_data), reserved)

    def _start(self, segment: SegmentId, index: int, lease: HeldLease) -> Draft | None:
        """A draft for a chunk; None when the chunk is held already, and was read and found sound."""
        with self._index.faults(), self._folder(segment):
            self._book.check_fresh(segment, lease)
            return None if self._holds(segment, index) else Draft(self._book.draft())

    def _holds(self, segment: SegmentId, index: int) -> bool:
        """Whether a chunk is held, and sound. A damaged or missing one is dropped: it deserves no receipt."""
        if self._index.chunk(segment, index) is None:
            return False
        if self._sound(segment, index):
            return True
        self._book.drop(segment, index)
        log.warning("chunk %s.%d is damaged and has been dropped: it is being put again", short(segment), index)
        return False

    def _finish(self, chunk: HeldChunk, size: int, draft: Draft | None, lease: HeldLease, reserved: int) -> None:
        """Put a complete draft in its place, or only add the lease when the chunk is held already."""
        with self._index.faults(), self._folder(chunk.segment):
            self._book.check_fresh(chunk.segment, lease)
            if self._holds(chunk.segment, chunk.index):
                if draft is not None:
                    draft.discard()
                self._book.add(chunk.segment, lease)
                self._quota.settle(reserved, 0)
            elif draft is None:
                raise Refusal(ErrorCode.BUSY, "the chunk was removed a moment ago: try again")
            else:
                self._place(chunk, size, draft, lease, reserved)

    def _place(self, chunk: HeldChunk, size: int, draft: Draft, lease: HeldLease, reserved: int) -> None:
        path = self._paths.chunk(chunk.segment, chunk.index)
        file = self._index.lease_file(chunk.segment)
        self._book.joined(chunk.segment, lease)
        try:
            draft.place(path)
            with self._index.change():
                self._index.add_chunk(chunk, size)
                self._index.put_lease(chunk.segment, lease)
                if file is None:
                    self._index.set_lease_file(chunk.segment, LeaseFile(0, 0))
        except (OSError, sqlite3.Error):
            path.unlink(missing_ok=True)
            raise
        self._quota.settle(reserved, charge(size) + (lease_charge(0) if file is None else 0))

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
        with self._index.faults(), self._folder(lease.segment):
            chunks = self._index.chunks(lease.segment)
            if not chunks:
                raise Refusal(ErrorCode.NOT_FOUND, "no chunk of the segment is held here")
            if lease.size != chunks[0].length:
                raise Refusal(ErrorCode.BAD_LEASE, "the lease is for another size")
            self._book.add(lease.segment, new)
            return [] if lease.deleted else chunks

    def expire(self) -> int:
        """Remove what no lease keeps any more, and deletions that nobody need remember; returns the chunks removed."""
        removed = 0
        while True:
            with self._index.faults():
                segments = self._index.expired(int(self._wall()), _SWEEP)
            for segment in segments:
                with self._index.faults(), self._folder(segment):
                    removed += self._book.expire(segment)
            if len(segments) < _SWEEP:
                return removed

    # Plumbing

    def _folder(self, segment: bytes) -> threading.Lock:
        return self._folders[segment[0]]


class PutWriter:
    """One chunk on its way in. Not for two threads at once. It ends by :meth:`commit` or :meth:`abort`."""

    def __init__(
        self, store: ChunkStore, descriptor: Descriptor, index: int, hashes: tuple[bytes, ...], trailer: bytes,
        lease: HeldLease, reserved: int,
    ) -> None:  # fmt: skip
        self._store = store
        self.chunk = HeldChunk(descriptor.id, index, descriptor.chunk_ids[index], descriptor.layout.length)
        self.lease = lease
        self._layout = descriptor.layout
        self._hashes = hashes
        self._trailer = trailer
        self._reserved = reserved
        self._draft: Draft | None = None
        self._written = 0
        self._open = True

    @property
    def body_bytes(self) -> int:
        """Bytes of the whole chunk."""
        return self._layout.column_bytes(self.chunk.index)

    def write(self, data: memoryview) -> None:
        """Take the next whole sealed blocks, one or more; each is checked before it is written.

        Raises:
            Refusal: malformed (a block does not match its hash), stale, full, disk. Abort the put then.
        """
        if self._written == 0:
            self._draft = self._store._start(self.chunk.segment, self.chunk.index, self.lease)
        start = 0
        while start < len(data):
            if self._written == len(self._hashes):
                raise Refusal(ErrorCode.MALFORMED, "the body is longer than the chunk")
            size = self._layout.block_bytes(self.chunk.index, self._written)
            try:
                check_block(self._hashes[self._written], data[start : start + size])
            except IntegrityError as exc:
                raise Refusal(ErrorCode.MALFORMED, f"block {self._written}: {exc}") from exc
            start += size
            self._written += 1
        if self._draft is not None:
            with self._store._index.faults():
                self._draft.write(data)

    def commit(self) -> HeldChunk:
        """Make the chunk and its lease survive a power cut, and visible.

        Raises:
            Refusal: malformed (blocks are missing), stale, full, busy, disk. Abort the put then.
        """
        if self._written != len(self._hashes):
            raise Refusal(ErrorCode.MALFORMED, "the body is shorter than the chunk")
        if self._draft is not None:
            with self._store._index.faults():
                self._draft.write(self._trailer)
                self._draft.sync()
        size = self.body_bytes + len(self._trailer)
        self._store._finish(self.chunk, size, self._draft, self.lease, self._reserved)
        self._open = False
        return self.chunk

    def abort(self) -> None:
        """Throw away what was written. Does nothing after a commit; may be called twice."""
        if self._open:
            self._open = False
            if self._draft is not None:
                with suppress(OSError):  # what cannot be removed now is removed at the next start
                    self._draft.discard()
            self._store._quota.settle(self._reserved, 0)
