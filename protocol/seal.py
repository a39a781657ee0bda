"""Keys of segments and roots, sealing and opening of blocks (docs/spec/crypto.md sections 4 and 5).

One key never seals two plaintexts, for it is derived from the plaintext: hash and seal the SAME buffer.

Sealing and coding hold the interpreter's lock for one C call, so no call gets more than one block or one row.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.erasure import coder
from protocol.errors import IntegrityError, LocalProtocolError, NotEnoughChunksError
from protocol.hashing import Bytes, digest, plain_digest
from protocol.ids import ChunkId, SegmentId
from protocol.segment import (
    BLOCK_BYTES,
    SEALED_BLOCK_BYTES,
    TAG_BYTES,
    Descriptor,
    Layout,
    Shares,
    block_hash,
    chunk_id,
    plan,
)

KEY_BYTES = 32
SALT_BYTES = 16

_FORMAT = b"\x01"
_AAD = (_FORMAT + b"\x00", _FORMAT + b"\x01")  # indexed by "is the last block"


def fresh_secret(secret: bytes, salt: bytes) -> bytes:
    """The convergence secret of one ``--fresh`` publish; ``salt`` is 16 random bytes."""
    return digest("fresh", secret, salt)


def segment_key(secret: bytes, plaintext_digest: bytes, length: int) -> bytes:
    """The key of a segment, from the depositor's convergence secret and ``plain_digest`` of its plaintext."""
    return digest("segment key", secret, _FORMAT, length.to_bytes(8, "big"), plaintext_digest)


def commitment(key: bytes) -> bytes:
    """What a descriptor says of its key, so that only that key opens it."""
    return digest("commit", key)


def read_key(secret: bytes, index: bytes, part: bytes) -> bytes:
    """The read key of the root that holds this index and this manifest part."""
    return digest("read", secret, digest("root plaintext", len(index).to_bytes(8, "big"), index, part))


def verify_key(read: bytes) -> bytes:
    """The verify key, which checks a deposit and reads nothing of it."""
    return digest("verify", read)


def root_key(verify: bytes) -> bytes:
    """The segment key of the root segment."""
    return digest("root key", verify)


def manifest_key(read: bytes) -> bytes:
    """The key of the manifest part inside the root."""
    return digest("manifest key", read)


class BlockCipher:
    """AES-256-GCM for the blocks under one key. Its text form shows nothing."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal_into(self, block: int, last: bool, plaintext: Bytes, out: bytearray | memoryview) -> None:
        """Seal block ``block`` of a segment into ``out``, which is 16 bytes longer than the plaintext."""
        self._aead.encrypt_into(block.to_bytes(12, "big"), plaintext, _AAD[last], out)

    def seal(self, block: int, last: bool, plaintext: Bytes) -> bytes:
        """As ``seal_into``, into new bytes."""
        return self._aead.encrypt(block.to_bytes(12, "big"), plaintext, _AAD[last])

    def open_into(self, block: int, last: bool, sealed: Bytes, out: bytearray | memoryview) -> None:
        """Open a sealed block into ``out``, which is 16 bytes shorter and must not be used after an error.

        Raises:
            IntegrityError: Not what was sealed under this key as that block.
        """
        _check_sealed(sealed)
        try:
            self._aead.decrypt_into(block.to_bytes(12, "big"), sealed, _AAD[last], out)
        except InvalidTag as exc:
            raise IntegrityError(f"block {block} does not open") from exc

    def open(self, block: int, last: bool, sealed: Bytes) -> bytes:
        """As ``open_into``, into new bytes."""
        _check_sealed(sealed)
        try:
            return self._aead.decrypt(block.to_bytes(12, "big"), sealed, _AAD[last])
        except InvalidTag as exc:
            raise IntegrityError(f"block {block} does not open") from exc


def _check_sealed(sealed: Bytes) -> None:
    if len(sealed) < TAG_BYTES:
        raise IntegrityError(f"a sealed block has at least {TAG_BYTES} bytes, got {len(sealed)}")


@dataclass(frozen=True, slots=True, repr=False)
class SealedSegment:
    """A segment ready to be stored: nothing in it is secret."""

    descriptor: Descriptor
    columns: tuple[memoryview, ...]
    """The n chunks, read-only. The data columns are views of one buffer."""
    hashes: tuple[bytes, ...]
    """Per chunk, its block hashes, joined."""
    memory: tuple[memoryview, ...]
    """What the columns are views of, for whoever wants to use it again."""

    @property
    def id(self) -> SegmentId:
        """The segment's id."""
        return self.descriptor.id


def _fresh(size: int) -> memoryview:
    return memoryview(bytearray(size))


def seal_segment(
    plaintext: Bytes, key: bytes, shares: Shares, room: Callable[[int], memoryview] = _fresh
) -> SealedSegment:
    """Seal, hash and code a whole segment: some 20 ms of work on one core for 16 MiB.

    Args:
        plaintext: 1 to 16,777,216 bytes, the very buffer the key was derived from.
        key: The segment key.
        shares: What the publisher asked for.
        room: Gives writable memory of so many bytes, with anything in it.
    """
    layout = plan(len(plaintext), shares)
    memory, columns = _column_buffers(layout, room(layout.sealed_bytes), room)
    hashes = [bytearray() for _ in range(layout.n)]
    source = memoryview(plaintext)
    cipher = BlockCipher(key)
    for row in range(layout.rows):
        for index in range(layout.k):
            block = index * layout.rows + row
            if block < layout.blocks:
                out = columns[index][row * SEALED_BLOCK_BYTES :][: layout.block_bytes(index, row)]
                start = block * BLOCK_BYTES
                cipher.seal_into(block, block == layout.blocks - 1, source[start : start + BLOCK_BYTES], out)
                hashes[index] += block_hash(out)
        if layout.k > 1:
            _code_row(layout, columns, row, hashes)
    joined, ids = _ids(layout, hashes)
    views = tuple(column.toreadonly() for column in columns)
    return SealedSegment(Descriptor(layout, commitment(key), ids), views, joined, memory)


def code_segment(
    descriptor: Descriptor, sealed: memoryview, room: Callable[[int], memoryview] = _fresh
) -> SealedSegment:
    """Hash and code a segment that was sealed elsewhere, without its key: each chunk is the one that is named.

    Args:
        descriptor: The segment's.
        sealed: All its sealed blocks in order: the data columns are views of it.
        room: As for ``seal_segment``, for the parity alone.

    Raises:
        IntegrityError: These blocks give other chunks than the descriptor names.
        LocalProtocolError: Not as many bytes as the descriptor says.
    """
    layout = descriptor.layout
    if len(sealed) != layout.sealed_bytes:
        raise LocalProtocolError(f"{layout.sealed_bytes} sealed bytes are {len(sealed)}")
    memory, columns = _column_buffers(layout, sealed, room)
    hashes = [bytearray() for _ in range(layout.n)]
    for row in range(layout.rows):
        for index in range(layout.k):
            if row < layout.column_blocks(index):
                hashes[index] += block_hash(columns[index][row * SEALED_BLOCK_BYTES :][:SEALED_BLOCK_BYTES])
        if layout.k > 1:
            _code_row(layout, columns, row, hashes)
    joined, ids = _ids(layout, hashes)
    wrong = [index for index in range(layout.n) if ids[index] != descriptor.chunk_ids[index]]
    if wrong:
        raise IntegrityError(
            f"the blocks do not give the chunks that the descriptor names: chunk {wrong[0]} is another"
        )
    return SealedSegment(descriptor, tuple(column.toreadonly() for column in columns), joined, memory)


def _ids(layout: Layout, hashes: list[bytearray]) -> tuple[tuple[bytes, ...], tuple[ChunkId, ...]]:
    """Per chunk, its block hashes, joined, and its id. Copies of a single data column are that column."""
    joined = tuple(bytes(hashes[0 if layout.k == 1 else index]) for index in range(layout.n))
    return joined, tuple(chunk_id(index, column) for index, column in enumerate(joined))


def _column_buffers(
    layout: Layout, sealed: memoryview, room: Callable[[int], memoryview]
) -> tuple[tuple[memoryview, ...], list[memoryview]]:
    """The memory, and the columns in it. Copies of a single data column are that column."""
    step = layout.rows * SEALED_BLOCK_BYTES
    columns = [sealed[index * step : (index + 1) * step] for index in range(layout.k)]
    if layout.k == 1:
        return (sealed,), columns * layout.n
    if layout.k == layout.n:
        return (sealed,), columns
    parity = room((layout.n - layout.k) * step)
    return (sealed, parity), columns + [parity[start : start + step] for start in range(0, len(parity), step)]


def _code_row(layout: Layout, columns: list[memoryview], row: int, hashes: list[bytearray]) -> None:
    start = row * SEALED_BLOCK_BYTES
    cells = [column[start : start + SEALED_BLOCK_BYTES] for column in columns]
    coder(layout.k, layout.n).encode_row_into([filled(cell) for cell in cells[: layout.k]], cells[layout.k :])
    for index in range(layout.k, layout.n):
        hashes[index] += block_hash(cells[index])


def filled(cell: Bytes) -> Bytes:
    """A cell as the code sees it: zeros where it is short or absent."""
    short = SEALED_BLOCK_BYTES - len(cell)
    return b"".join((cell, bytes(short))) if short else cell


def check_commitment(descriptor: Descriptor, key: bytes) -> None:
    """Check that ``key`` is the one the segment was sealed under, before any block is opened.

    Raises:
        IntegrityError: It is not.
    """
    if commitment(key) != descriptor.commitment:
        raise IntegrityError("the key is not that of the segment")


def rebuild_row(layout: Layout, cells: Mapping[int, Bytes], row: int) -> dict[int, Bytes]:
    """The sealed data blocks of one row, at their true lengths.

    Args:
        cells: Column index to block ``row`` of that column, hash-checked. At least k columns, counting as
            given the data columns that have no block there.

    Raises:
        NotEnoughChunksError: A data block is missing and too few others are given.
    """
    present = [index for index in range(layout.k) if row < layout.column_blocks(index)]
    if all(index in cells for index in present):
        return {index: cells[index] for index in present}
    given = {index: filled(cell) for index, cell in cells.items()}
    given |= {index: bytes(SEALED_BLOCK_BYTES) for index in range(len(present), layout.k)}
    whole = coder(layout.k, layout.n).decode_row(given, present)
    return {index: memoryview(whole[index])[: layout.block_bytes(index, row)] for index in present}


def open_row_into(layout: Layout, cipher: BlockCipher, cells: Mapping[int, Bytes], row: int, out: memoryview) -> None:
    """Open the data blocks of one row into their places in the segment's plaintext.

    Args:
        layout: The segment's.
        cipher: Of the segment's key, which ``check_commitment`` has accepted.
        cells: As for ``rebuild_row``.
        row: 0 <= row < rows.
        out: A view of the whole segment's plaintext.

    Raises:
        IntegrityError: A block does not open: whoever published the segment sealed garbage.
        NotEnoughChunksError: As for ``rebuild_row``.
    """
    for index, sealed in rebuild_row(layout, cells, row).items():
        block = index * layout.rows + row
        target = out[block * BLOCK_BYTES :][: len(sealed) - TAG_BYTES]
        cipher.open_into(block, block == layout.blocks - 1, sealed, target)


def open_segment(descriptor: Descriptor, key: bytes, columns: Mapping[int, Bytes]) -> bytearray:
    """The plaintext of a segment.

    Args:
        descriptor: The segment's, checked against its id.
        key: The segment key.
        columns: Any k or more whole chunks by index, each block checked against its hash.

    Raises:
        IntegrityError: The key is not the segment's, or a block does not open.
        NotEnoughChunksError: Fewer than k columns.
    """
    check_commitment(descriptor, key)
    layout = descriptor.layout
    for index, column in columns.items():
        if not 0 <= index < layout.n or len(column) != layout.column_bytes(index):
            raise LocalProtocolError(f"chunk {index} of {layout.n} has not {len(column)} bytes")
    if len(columns) < layout.k:
        raise NotEnoughChunksError(len(columns), layout.k)
    views = {index: memoryview(column) for index, column in columns.items()}
    cipher = BlockCipher(key)
    plaintext = bytearray(layout.length)
    out = memoryview(plaintext)
    for row in range(layout.rows):
        start = row * SEALED_BLOCK_BYTES
        cells = {index: view[start : start + SEALED_BLOCK_BYTES] for index, view in views.items()}
        open_row_into(layout, cipher, cells, row, out)
    return plaintext


def _parts(length: int, unit: int) -> Iterator[tuple[int, bool, slice]]:
    """(block, is last, where) of consecutive parts of ``unit`` bytes; nothing at all is one empty part."""
    blocks = max(1, -(-length // unit))
    for block in range(blocks):
        yield block, block == blocks - 1, slice(block * unit, (block + 1) * unit)


def seal_parts(key: bytes, plaintext: Bytes) -> bytes:
    """Seal a byte string of any length block by block, uncoded: the manifest part of a root."""
    cipher = BlockCipher(key)
    source = memoryview(plaintext)
    parts = _parts(len(source), BLOCK_BYTES)
    return b"".join(cipher.seal(block, last, source[where]) for block, last, where in parts)


def open_parts(key: bytes, sealed: Bytes) -> bytes:
    """Inverse of ``seal_parts``.

    Raises:
        IntegrityError: Not what was sealed under this key.
    """
    cipher = BlockCipher(key)
    source = memoryview(sealed)
    parts = _parts(len(source), SEALED_BLOCK_BYTES)
    return b"".join(cipher.open(block, last, source[where]) for block, last, where in parts)


def plaintext_key(secret: bytes, plaintext: Bytes) -> bytes:
    """The segment key of ``plaintext``, hashed here and now: seal this very buffer with it."""
    return segment_key(secret, plain_digest(plaintext), len(plaintext))
