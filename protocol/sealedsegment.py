"""Sealed segments as they go to and come from whoever opens and seals them elsewhere (docs/spec/web.md).

Goals: one fixed string of bytes for each segment id, which any run of blocks can be taken from; nothing in it is
secret. Non-goals: where the blocks come from and go to, and when a lease has expired.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.framing import LENGTH_BYTES, framed
from protocol.hashing import DIGEST_BYTES, Bytes
from protocol.ids import NetworkId, SegmentId
from protocol.leases import MAX_LEASE_BYTES, Lease, open_lease
from protocol.segment import (
    MAX_BLOCKS,
    MAX_DESCRIPTOR_BYTES,
    SEALED_BLOCK_BYTES,
    Descriptor,
    check_block,
    check_hashes,
)

MAX_HEAD_BYTES = LENGTH_BYTES + MAX_DESCRIPTOR_BYTES + MAX_BLOCKS * DIGEST_BYTES
"""6,146: who asks for so many bytes has the head, whatever the segment."""
MAX_UPLOAD_HEAD_BYTES = 2 * LENGTH_BYTES + MAX_DESCRIPTOR_BYTES + MAX_LEASE_BYTES
"""3,076: what goes before the sealed blocks of an upload."""
MAX_UPLOAD_BYTES = MAX_UPLOAD_HEAD_BYTES + MAX_BLOCKS * SEALED_BLOCK_BYTES
"""16,782,340."""


@dataclass(frozen=True)
class Head:
    """What goes before the sealed blocks of a segment: enough to check each of them."""

    descriptor: Descriptor
    hashes: bytes
    """Of all data blocks in order, joined."""

    def __post_init__(self) -> None:
        """Raises IntegrityError: the hashes are not those of the descriptor's data columns."""
        layout = self.descriptor.layout
        if len(self.hashes) != layout.blocks * DIGEST_BYTES:
            raise IntegrityError(f"{layout.blocks} blocks have {len(self.hashes)} bytes of hashes")
        step = layout.rows * DIGEST_BYTES
        for index in range(layout.k):
            check_hashes(self.descriptor, index, self.hashes[index * step : (index + 1) * step])

    def encode(self) -> bytes:
        """The first bytes of the segment's representation, at most 6,146."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return framed(self.descriptor.encode()) + self.hashes

    @property
    def whole_bytes(self) -> int:
        """Of the representation: head and all sealed blocks."""
        return len(self._encoded) + self.descriptor.layout.sealed_bytes

    def blocks_of(self, start: int, stop: int) -> tuple[int, int]:
        """The blocks [first, end) that bytes ``start`` to ``stop - 1`` of the representation lie in; maybe none.

        Args:
            start: 0 <= start <= stop.
            stop: At most ``whole_bytes``.
        """
        before = len(self._encoded)
        if stop <= before:
            return 0, 0
        return max(0, start - before) // SEALED_BLOCK_BYTES, -(-(stop - before) // SEALED_BLOCK_BYTES)

    def offset(self, block: int) -> int:
        """Where sealed block ``block`` (0 <= block <= blocks) begins; of the number of blocks, where all ends."""
        return min(len(self._encoded) + block * SEALED_BLOCK_BYTES, self.whole_bytes)

    def check_block(self, block: int, sealed: Bytes) -> None:
        """Check sealed block ``block`` (0 <= block < blocks).

        Raises:
            IntegrityError: It is not that block.
        """
        check_block(self.hashes[block * DIGEST_BYTES : (block + 1) * DIGEST_BYTES], sealed)

    @classmethod
    def decode(cls, data: Bytes, segment: SegmentId) -> Self:
        """Read the head at the beginning of a segment's representation.

        Args:
            data: The first 6,146 bytes of it, or all if there are fewer; more do no harm.
            segment: Which it must be.

        Raises:
            RemoteProtocolError: Malformed or cut short.
            IntegrityError: Of another segment.
        """
        described, rest = _take_framed(memoryview(data), MAX_DESCRIPTOR_BYTES, "descriptor")
        descriptor = Descriptor.decode(bytes(described), segment)
        size = descriptor.layout.blocks * DIGEST_BYTES
        if len(rest) < size:
            raise RemoteProtocolError(f"{size} bytes of block hashes are cut short at {len(rest)}")
        return cls(descriptor, bytes(rest[:size]))


@dataclass(frozen=True, slots=True)
class Upload:
    """What goes before the blocks of a segment that was sealed elsewhere: what it is, and that it is to be kept."""

    descriptor: Descriptor
    lease: Lease
    signed_lease: bytes
    head_bytes: int
    """So many bytes go before the sealed blocks. Whether these are the right ones is for ``code_segment`` to find out,
    of protocol/seal.py."""

    @classmethod
    def decode(cls, data: Bytes, network: NetworkId, body_bytes: int) -> Self:
        """Read the beginning of an upload. Whether its lease has expired is left to the caller.

        Args:
            data: The first 3,076 bytes, or all if there are fewer; more do no harm.
            network: Whose lease it must be.
            body_bytes: Of the whole.

        Raises:
            RemoteProtocolError: Malformed, or of another length than it says; or the lease does not keep this segment.
            SignatureError: The lease is not signed by the depositor it names.
            WrongNetworkError: It is for another network.
        """
        described, rest = _take_framed(memoryview(data), MAX_DESCRIPTOR_BYTES, "descriptor")
        signed, _ = _take_framed(rest, MAX_LEASE_BYTES, "lease")
        descriptor, head_bytes = Descriptor.decode(bytes(described)), 2 * LENGTH_BYTES + len(described) + len(signed)
        if body_bytes - head_bytes != descriptor.layout.sealed_bytes:
            sealed = descriptor.layout.sealed_bytes
            raise RemoteProtocolError(f"the segment has {sealed} sealed bytes, not {body_bytes - head_bytes}")
        lease = open_lease(bytes(signed), network)
        if lease.deleted or (lease.segment, lease.size) != (descriptor.id, descriptor.layout.length):
            raise RemoteProtocolError("the lease is not one that keeps this segment")
        return cls(descriptor, lease, bytes(signed), head_bytes)


def encode_upload(descriptor: Descriptor, lease: bytes, sealed: Bytes) -> bytes:
    """The body of an upload.

    Args:
        descriptor: The segment's.
        lease: Signed for it.
        sealed: All its sealed blocks, in order.
    """
    return b"".join((framed(descriptor.encode()), framed(lease), sealed))


def _take_framed(data: memoryview, most: int, what: str) -> tuple[memoryview, memoryview]:
    """What has its length before it, and the rest."""
    size = int.from_bytes(data[:LENGTH_BYTES], "big")
    if len(data) < LENGTH_BYTES or not 1 <= size <= most:
        raise RemoteProtocolError(f"a {what} of 1 to {most} bytes is expected behind its length")
    end = LENGTH_BYTES + size
    if len(data) < end:
        raise RemoteProtocolError(f"a {what} of {size} bytes is cut short at {len(data) - LENGTH_BYTES}")
    return data[LENGTH_BYTES:end], data[end:]
