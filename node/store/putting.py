"""Chunks on their way in (docs/spec/storage.md section 9): checked, promised room, written, made durable."""

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dht.contact import subnet
from node.store.chunkfile import Draft, Paths, Trailer
from node.store.chunkindex import Account, ChunkIndex, HeldChunk, HeldLease, LeaseFile, Stored
from node.store.leasebook import LeaseBook, ended, held_lease
from node.store.quota import Quota, charge, lease_charge
from node.store.refusal import Refusal
from node.store.shares import Shares, account_charge
from node.store.soundness import Soundness
from node.store.trash import Trash
from protocol.errors import IntegrityError
from protocol.leases import Lease
from protocol.messages import ErrorCode
from protocol.segment import Descriptor, check_block, check_hashes

DISK_HEADROOM_BYTES = 8 * 1024 * 1024
"""Of the disk, kept back from puts: the index writes 4 MiB ahead before it takes them over. Without room for that not
even a lease could be ended, and a full disk would stay full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Puts:
    """What puts share: the store's parts, and the rules of what is let in."""

    paths: Paths
    index: ChunkIndex
    quota: Quota
    shares: Shares
    trash: Trash
    book: LeaseBook
    soundness: Soundness
    wall: Callable[[], float]

    def set_quota(self, quota_bytes: int) -> None:
        """Another quota from now on, 0 or more. One below what is used removes nothing. Never waits.

        Shares are parts of the new one.
        """
        self.quota.set_limit(quota_bytes)
        self.shares.set_quota(quota_bytes)

    @property
    def free_bytes(self) -> int:
        """What the quota, and the disk itself, have room for; 0 when the disk does not say. Never waits."""
        trash = self.trash.bytes
        try:
            return min(self.quota.free(trash), self._disk_room() + trash)
        except OSError:
            return 0

    def _disk_room(self) -> int:
        """What the disk has room for beside the puts under way, and what it takes to renew, delete and expire.

        What a put under way has written counts twice: better to refuse one too early than to fail several too late.
        Some file systems do not know their size: there the quota alone counts. Raises OSError.
        """
        disk = os.statvfs(self.paths.root)
        if not disk.f_blocks:
            return sys.maxsize
        return max(0, disk.f_bavail * disk.f_frsize - self.quota.reserved - DISK_HEADROOM_BYTES)

    def begin(
        self, descriptor: Descriptor, index: int, hashes: bytes, lease: Lease, lease_data: bytes, source: str | None
    ) -> "PutWriter":
        """See :meth:`node.store.chunkstore.ChunkStore.begin_put`."""
        try:
            split = check_hashes(descriptor, index, hashes)
        except IntegrityError as exc:
            raise Refusal(ErrorCode.MALFORMED, str(exc)) from exc
        if lease.segment != descriptor.id or lease.size != descriptor.layout.length:
            raise Refusal(ErrorCode.BAD_LEASE, "the lease is for another segment or size")
        if lease.deleted:
            raise Refusal(ErrorCode.BAD_LEASE, "the lease is a deletion")
        if lease.expiry <= self.wall():
            raise ended(self.wall())
        trailer = Trailer(descriptor=descriptor.encode(), index=index, hashes=hashes, lease=lease_data).pack()
        size = descriptor.layout.column_bytes(index) + len(trailer)
        room = _Room(self, size, Account(lease.depositor, None if source is None else subnet(source)))
        return PutWriter(self, descriptor, index, split, trailer, held_lease(lease, lease_data), room)

    def start(self, chunk: HeldChunk, lease: HeldLease, room: "_Room") -> Draft | None:
        """A draft for a chunk; None when the chunk is held already, and was read and found sound."""
        with self.soundness.changing(chunk.segment) as lost:
            self.book.check_fresh(chunk.segment, lease)
            if self.soundness.holds(chunk.segment, chunk.index, lost):
                return None
        while not room.confirm():  # outside: what goes may be in another folder
            if not self.empty_oldest():
                raise Refusal(ErrorCode.FULL, "the trash has been renewed, and there is no other room")
        with self.index.faults():
            return Draft(self.book.draft())

    def empty_oldest(self) -> bool:
        """Remove the segment that has been in the trash for longest; False when there is none."""
        with self.index.faults():
            oldest = self.trash.oldest()
        if oldest is None:
            return False
        with self.soundness.changing(oldest):
            if not any(lease.live(self.wall()) for lease in self.book.unexpired(oldest)):
                self.book.empty(oldest)
        return True

    def finish(self, chunk: HeldChunk, draft: Draft | None, lease: HeldLease, room: "_Room") -> None:
        """Put a complete draft in its place, or only add the lease when the chunk is held already."""
        with self.soundness.changing(chunk.segment) as lost:
            self.book.check_fresh(chunk.segment, lease)
            if self.soundness.holds(chunk.segment, chunk.index, lost):
                if draft is not None:
                    draft.discard()
                self.book.add(chunk.segment, lease)
                room.give_back()
            elif draft is None:
                raise Refusal(ErrorCode.BUSY, "the chunk was removed a moment ago: try again")
            else:
                self._place(chunk, draft, lease, room)

    def _place(self, chunk: HeldChunk, draft: Draft, lease: HeldLease, room: "_Room") -> None:
        path = self.paths.chunk(chunk.segment, chunk.index)
        file = self.index.lease_file(chunk.segment)
        leases = self.book.joined(chunk.segment, lease)
        try:
            draft.place(path)
            with self.trash.change(chunk.segment):
                self.index.add_chunk(chunk, Stored(room.size, room.account))
                self.index.set_leases(chunk.segment, leases)
                self.index.set_lease_file(chunk.segment, file or LeaseFile(0, 0))
        except (OSError, sqlite3.Error):
            path.unlink(missing_ok=True)
            raise
        room.take(charge(room.size) + (lease_charge(0) if file is None else 0))

    def disk_has_room(self, amount: int) -> bool:
        """Whether the disk itself has room for ``amount`` more bytes. Raises Refusal (disk)."""
        with self.index.faults():
            return amount <= self._disk_room()

    def check_disk(self, amount: int) -> bool:
        """The same; raises Refusal (full) when there would be none even without the trash."""
        with self.index.faults():
            room = self._disk_room()
        if amount > room + self.trash.bytes:
            raise Refusal(ErrorCode.FULL, "the disk is full")
        return amount <= room


class _Room:
    """What one put was promised, from the moment it began: of the quota, and of its accounts' shares."""

    def __init__(self, puts: Puts, size: int, account: Account) -> None:
        """Args:
        puts: Whose quota and shares.
        size: Bytes of the whole chunk file.
        account: On which it is.

        Raises:
            Refusal: refused (a share), full, disk.
        """
        self.size = size
        self.account = account
        self._puts = puts
        self._amount = charge(size) + lease_charge(0)
        disk_has_room = puts.check_disk(self._amount)
        puts.shares.take(account, account_charge(size))
        try:
            self._firm = puts.quota.reserve(self._amount, puts.trash.bytes, disk_has_room=disk_has_room)
        except Refusal:
            puts.shares.give(account, account_charge(size))
            raise

    def confirm(self) -> bool:
        """Whether writing may begin; if not, more of the trash has to go first. Raises Refusal (disk)."""
        if not self._firm:
            self._firm = self._puts.disk_has_room(self._amount) and self._puts.quota.confirm(self._amount)
        return self._firm

    def take(self, used: int) -> None:
        """The chunk is in its place: ``used`` bytes of the quota are in use now."""
        self._puts.quota.settle(self._amount, used)

    def give_back(self) -> None:
        """Nothing was put."""
        if self._firm:
            self._puts.quota.settle(self._amount, 0)
        else:
            self._puts.quota.give_up(self._amount)
        self._puts.shares.give(self.account, account_charge(self.size))


class PutWriter:
    """One chunk on its way in. Not for two threads at once. It ends by :meth:`commit` or :meth:`abort`."""

    def __init__(
        self, puts: Puts, descriptor: Descriptor, index: int, hashes: tuple[bytes, ...], trailer: bytes,
        lease: HeldLease, room: _Room,
    ) -> None:  # fmt: skip
        self._puts = puts
        self.chunk = HeldChunk(descriptor.id, index, descriptor.chunk_ids[index], descriptor.layout.length)
        self.lease = lease
        self._layout = descriptor.layout
        self._hashes = hashes
        self._trailer = trailer
        self._room = room
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
            self._draft = self._puts.start(self.chunk, self.lease, self._room)
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
            with self._puts.index.faults():
                self._draft.write(data)

    def commit(self) -> HeldChunk:
        """Make the chunk and its lease survive a power cut, and visible.

        Raises:
            Refusal: malformed (blocks are missing), stale, full, busy, disk. Abort the put then.
        """
        if self._written != len(self._hashes):
            raise Refusal(ErrorCode.MALFORMED, "the body is shorter than the chunk")
        if self._draft is not None:
            with self._puts.index.faults():
                self._draft.write(self._trailer)
                self._draft.sync()
        self._puts.finish(self.chunk, self._draft, self.lease, self._room)
        self._open = False
        return self.chunk

    def abort(self) -> None:
        """Throw away what was written. Does nothing after a commit; may be called twice."""
        if self._open:
            self._open = False
            if self._draft is not None:
                with suppress(OSError):  # what cannot be removed now is removed at the next start
                    self._draft.discard()
            self._room.give_back()
