"""The layout and the public description of a segment (docs/spec/storage.md sections 1, 2 and 4).

A segment is up to 128 sealed blocks, laid out in ``k`` contiguous data columns, with ``n - k`` parity columns
beside them. A column is a chunk: what one node stores. Row ``r`` is block ``r`` of every column, coded alone.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from protocol import codec
from protocol.codec import Raw, Uint
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import DIGEST_BYTES, Bytes, digest
from protocol.ids import ID_BYTES, ChunkId, SegmentId

BLOCK_BYTES = 131_072
TAG_BYTES = 16
SEALED_BLOCK_BYTES = BLOCK_BYTES + TAG_BYTES
MAX_BLOCKS = 128
SEGMENT_BYTES = MAX_BLOCKS * BLOCK_BYTES
MAX_K = 16
MAX_N = 32

DESCRIPTOR_VERSION = 1
MAX_DESCRIPTOR_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Shares:
    """What a publisher asks for: any ``k`` of ``n`` chunks rebuild a segment. Short segments use fewer."""

    k: int = 8
    """Chunks that rebuild, 1 to 16."""
    n: int = 12
    """Chunks stored, k to 32."""

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_K or not self.k <= self.n <= MAX_N:
            raise LocalProtocolError(
                f"shares are K/N with 1 <= K <= {MAX_K} and K <= N <= {MAX_N}, got {self.k}/{self.n}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"8/12"``.

        Raises:
            LocalProtocolError: Not two numbers, or numbers out of range.
        """
        match = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text, re.ASCII)
        if match is None:
            raise LocalProtocolError(f"shares are written K/N, such as 8/12, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the blocks of a segment lie."""

    length: int
    """Plaintext bytes, 1 to 16,777,216."""
    k: int
    """Data columns, 1 to 16; none of them empty."""
    n: int
    """Data and parity columns, k to 32."""

    def __post_init__(self) -> None:
        problem = _problem(self.length, self.k, self.n)
        if problem is not None:
            raise LocalProtocolError(problem)

    @property
    def blocks(self) -> int:
        """Sealed blocks, 1 to 128."""
        return _ceil(self.length, BLOCK_BYTES)

    @property
    def rows(self) -> int:
        """Blocks of the longest column."""
        return _ceil(self.blocks, self.k)

    @property
    def sealed_bytes(self) -> int:
        """All sealed blocks together."""
        return self.length + self.blocks * TAG_BYTES

    def column_blocks(self, index: int) -> int:
        """Blocks of column ``index`` (0 <= index < n)."""
        if index >= self.k:
            return self.rows
        return min((index + 1) * self.rows, self.blocks) - index * self.rows

    def block_bytes(self, index: int, row: int) -> int:
        """Sealed bytes of block ``row`` of column ``index``, as stored and sent."""
        if self.k == 1:
            index = 0  # every chunk is a plain copy
        if index < self.k and index * self.rows + row == self.blocks - 1:
            return self.length - (self.blocks - 1) * BLOCK_BYTES + TAG_BYTES
        return SEALED_BLOCK_BYTES

    def column_bytes(self, index: int) -> int:
        """Sealed bytes of the whole column ``index``."""
        last = self.column_blocks(index) - 1
        return last * SEALED_BLOCK_BYTES + self.block_bytes(index, last)

    def locate(self, block: int) -> tuple[int, int]:
        """The (column index, row) of block ``block`` (0 <= block < blocks)."""
        return divmod(block, self.rows)


def _ceil(amount: int, unit: int) -> int:
    return -(-amount // unit)


def _problem(length: int, k: int, n: int) -> str | None:
    """What is wrong with these numbers as a layout."""
    if not 1 <= length <= SEGMENT_BYTES:
        return f"a segment has 1 to {SEGMENT_BYTES} bytes, got {length}"
    if not 1 <= k <= MAX_K or not k <= n <= MAX_N:
        return f"a segment has 1 <= k <= {MAX_K} and k <= n <= {MAX_N}, got {k} of {n}"
    blocks = _ceil(length, BLOCK_BYTES)
    if k != _ceil(blocks, _ceil(blocks, k)):
        return f"{blocks} blocks in {k} columns leave a column empty"
    return None


def plan(length: int, shares: Shares) -> Layout:
    """Lay out ``length`` plaintext bytes. Nothing else counts: publishing again finds the same chunks.

    Raises:
        LocalProtocolError: Not 1 to 16,777,216 bytes.
    """
    rows = max(1, _ceil(_ceil(length, BLOCK_BYTES), shares.k))
    k = max(1, _ceil(_ceil(length, BLOCK_BYTES), rows))
    return Layout(length, k, k + shares.n - shares.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DescriptorFields:
    version: Annotated[int, Uint(255)]
    k: Annotated[int, Uint(MAX_K)]
    n: Annotated[int, Uint(MAX_N)]
    length: Annotated[int, Uint(SEGMENT_BYTES)]
    commitment: Annotated[bytes, Raw(DIGEST_BYTES)]
    chunk_ids: Annotated[bytes, Raw(ID_BYTES, ID_BYTES * MAX_N)]


@dataclass(frozen=True)
class Descriptor:
    """The public description of a segment; its hash is the segment id. Holds no key and no plaintext."""

    layout: Layout
    commitment: bytes
    """What only the segment key gives: GCM alone would open under several keys."""
    chunk_ids: tuple[ChunkId, ...]
    """n of them, in column order."""

    def encode(self) -> bytes:
        """The canonical bytes, which the segment id is the hash of."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        layout = self.layout
        if len(self.chunk_ids) != layout.n:
            raise LocalProtocolError(f"{layout.n} chunks have {len(self.chunk_ids)} ids")
        return codec.encode(
            _DescriptorFields(
                version=DESCRIPTOR_VERSION, k=layout.k, n=layout.n, length=layout.length,
                commitment=self.commitment, chunk_ids=b"".join(self.chunk_ids),
            )
        )  # fmt: skip

    @cached_property
    def id(self) -> SegmentId:
        """The segment's id."""
        return SegmentId(digest("segment", self._encoded))

    @classmethod
    def decode(cls, data: Bytes, expect: SegmentId | None = None) -> Self:
        """Read a descriptor from outside.

        Args:
            data: At most 2,048 bytes count as a descriptor.
            expect: The segment it must describe, when that is known.

        Raises:
            IntegrityError: It does not have the id ``expect``.
            RemoteProtocolError: Malformed, impossible numbers, or not the canonical encoding.
        """
        if len(data) > MAX_DESCRIPTOR_BYTES:
            raise RemoteProtocolError(f"a descriptor has at most {MAX_DESCRIPTOR_BYTES} bytes")
        if expect is not None and digest("segment", data) != expect:
            raise IntegrityError("the descriptor is not that of the segment asked for")
        fields = codec.decode(_DescriptorFields, data)
        if fields.version != DESCRIPTOR_VERSION:
            raise RemoteProtocolError(f"a descriptor of version {fields.version} is not known here")
        problem = _problem(fields.length, fields.k, fields.n)
        if problem is not None:
            raise RemoteProtocolError(problem)
        if len(fields.chunk_ids) != fields.n * ID_BYTES:
            raise RemoteProtocolError(f"{fields.n} chunk ids have {len(fields.chunk_ids)} bytes")
        descriptor = cls(
            Layout(fields.length, fields.k, fields.n),
            fields.commitment,
            tuple(ChunkId(part) for part in _split(fields.chunk_ids)),
        )
        if descriptor.encode() != data:
            raise RemoteProtocolError("a descriptor is not in its canonical encoding")
        return descriptor


def _split(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES))


def block_hash(sealed: Bytes) -> bytes:
    """The hash of one sealed or parity block."""
    return digest("block", sealed)


def chunk_id(index: int, hashes: Bytes) -> ChunkId:
    """The id of column ``index`` whose block hashes, joined, are ``hashes``."""
    return ChunkId(digest("chunk", bytes([index]), hashes))


def check_hashes(descriptor: Descriptor, index: int, hashes: bytes) -> tuple[bytes, ...]:
    """The block hashes of column ``index``, one by one, once they are proved to be those.

    Raises:
        IntegrityError: No such column, another number of blocks, or another chunk id.
    """
    layout = descriptor.layout
    if not 0 <= index < layout.n:
        raise IntegrityError(f"the segment has {layout.n} chunks, none of index {index}")
    blocks = layout.column_blocks(index)
    if len(hashes) != blocks * DIGEST_BYTES:
        raise IntegrityError(f"chunk {index} has {blocks} blocks, got {len(hashes)} bytes of hashes")
    if chunk_id(index, hashes) != descriptor.chunk_ids[index]:
        raise IntegrityError(f"the block hashes are not those of chunk {index}")
    return _split(hashes)


def check_block(expected: bytes, sealed: Bytes) -> None:
    """Check a sealed or parity block against its hash.

    Raises:
        IntegrityError: It is not that block.
    """
    if block_hash(sealed) != expected:
        raise IntegrityError("a block does not match its hash")
