"""Reading a chunk a node holds: every block is checked before it leaves (docs/spec/storage.md section 9)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from node.store.chunkfile import ChunkFile, DamagedError
from node.store.refusal import Refusal
from protocol.messages import ErrorCode
from protocol.segment import SEALED_BLOCK_BYTES


class ChunkReader:
    """A chunk opened for reading. Reads on even while the chunk is being removed. Not for two threads at once."""

    def __init__(
        self, file: ChunkFile, faults: Callable[[], AbstractContextManager[None]], damaged: Callable[[str], Refusal]
    ) -> None:
        """
        Args:
            file: Opened; closed by :meth:`close`.
            faults: Turns a disk's errors into a Refusal.
            damaged: Told why, drops the chunk and gives the Refusal that says so.
        """
        self._file = file
        self._faults = faults
        self._damaged = damaged

    @property
    def proof(self) -> tuple[bytes, bytes]:
        """The descriptor, and the block hashes."""
        return self._file.trailer.descriptor, self._file.trailer.hashes

    @property
    def lease(self) -> bytes:
        """The signed lease under which the chunk was put."""
        return self._file.trailer.lease

    @property
    def blocks(self) -> int:
        """Blocks of the chunk."""
        return self._file.blocks

    def block_hash(self, block: int) -> bytes:
        return self._file.block_hash(block)

    def range_bytes(self, first: int, count: int) -> int:
        """Sealed bytes of a range of blocks. Raises Refusal (malformed) when there are no such blocks."""
        if first + count > self.blocks:
            raise Refusal(ErrorCode.MALFORMED, f"the chunk has {self.blocks} blocks")
        return self._file.range_bytes(first, count)

    def read_into(self, first: int, count: int, out: memoryview) -> int:
        """Read and check blocks; returns their bytes.

        Raises:
            Refusal: malformed (no such blocks), corrupt (the chunk has been dropped), disk.
        """
        self.range_bytes(first, count)
        with self._faults():
            try:
                return self._file.read_into(first, count, out)
            except DamagedError as exc:
                raise self._damaged(str(exc)) from exc

    def read(self, first: int, count: int) -> bytes:
        """Read and check blocks. Raises as :meth:`read_into`."""
        out = bytearray(count * SEALED_BLOCK_BYTES)
        return bytes(memoryview(out)[: self.read_into(first, count, memoryview(out))])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
