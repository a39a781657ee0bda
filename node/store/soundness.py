"""Whether the chunks on disk are still what was put, and the end of those that are not.

Everything here blocks. The files of one folder are changed by one thread at a time: :meth:`Soundness.changing`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from node.store.chunkfile import ChunkFile, DamagedError, Paths
from node.store.chunkindex import ChunkIndex
from node.store.leasebook import LeaseBook
from protocol.errors import RemoteProtocolError
from protocol.ids import NetworkId, SegmentId, short
from protocol.leases import open_lease
from protocol.segment import SEALED_BLOCK_BYTES

log = logging.getLogger(__name__)


class Soundness:
    """Checks chunks, and drops the damaged ones."""

    def __init__(self, paths: Paths, index: ChunkIndex, book: LeaseBook, network: NetworkId) -> None:
        self._paths = paths
        self._index = index
        self._book = book
        self._network = network
        self._folders = [threading.Lock() for _ in range(256)]  # held while the files of a prefix change
        self.on_lost: Callable[[SegmentId, int], None] | None = None

    @contextmanager
    def changing(self, segment: bytes) -> Iterator[list[int]]:
        """Inside, the files of ``segment`` may be changed. Whoever drops a damaged chunk adds its index to the list.

        Raises:
            Refusal: full, disk: what the disk or the index said.
        """
        lost: list[int] = []
        try:
            with self._index.faults(), self._folders[segment[0]]:
                yield lost
        finally:
            if self.on_lost is not None:
                for index in lost:
                    self.on_lost(SegmentId(segment), index)

    def sound(self, segment: SegmentId, index: int) -> bool:
        """Read the whole chunk. Raises OSError when the disk fails."""
        buffer = memoryview(bytearray(SEALED_BLOCK_BYTES))
        try:
            with closing(ChunkFile.open(self._paths.chunk(segment, index), segment, index)) as file:
                open_lease(file.trailer.lease, self._network)  # without it the chunk is lost when the index is
                for block in range(file.blocks):
                    file.read_into(block, 1, buffer)
        except (DamagedError, FileNotFoundError, RemoteProtocolError):
            return False
        return True

    def drop_damaged(self, segment: SegmentId, index: int, why: str) -> bool:
        """Drop a chunk that was read and found damaged, unless it is sound now, or not held; returns whether it was."""
        with self.changing(segment) as lost:
            return self._index.chunk(segment, index) is not None and not self.holds(segment, index, lost, why)

    def holds(self, segment: SegmentId, index: int, lost: list[int], why: str = "found when it was put again") -> bool:
        """Whether a chunk is held, and sound; a damaged one is dropped. To be called inside :meth:`changing`."""
        if self._index.chunk(segment, index) is None:
            return False
        if self.sound(segment, index):
            return True
        self._book.drop(segment, index)
        lost.append(index)
        log.warning("chunk %s.%d is damaged and has been dropped: %s", short(segment), index, why)
        return False
