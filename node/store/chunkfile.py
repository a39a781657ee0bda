"""The files of one segment on a node's disk (docs/spec/storage.md section 9).

Goals: a file is whole or absent, and shows by itself whose chunk it is; everything read is checked before it is
returned. Non-goals: which files there should be (node/store/chunkindex.py) and how many fit (node/store/chunkstore.py).

Everything here blocks: it is called in worker threads.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from protocol.codec import Raw, Seq, Uint, decode, encode
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.leases import MAX_LEASE_BYTES
from protocol.messages import MAX_DESCRIPTOR_BYTES, MAX_HASHES_BYTES
from protocol.records import MAX_INDEX
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, check_block, check_hashes

MAX_LEASES = 64
"""Leases of one segment: they are rewritten as a whole, and all of them fit the quota's headroom."""

_MAGIC = b"ARCH"
_TAIL_BYTES = 4 + len(_MAGIC)
_MAX_TRAILER_BYTES = MAX_DESCRIPTOR_BYTES + MAX_HASHES_BYTES + MAX_LEASE_BYTES + 64
_LEASES_SUFFIX = "leases"


class DamagedError(Exception):
    """A file is not what its name says: truncated, rotten or written by somebody else. It must not be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailer:
    """What stands behind the blocks of a chunk and explains them."""

    descriptor: Annotated[bytes, Raw(1, MAX_DESCRIPTOR_BYTES)]
    index: Annotated[int, Uint(MAX_INDEX)]
    hashes: Annotated[bytes, Raw(32, MAX_HASHES_BYTES)]
    lease: Annotated[bytes, Raw(1, MAX_LEASE_BYTES)]
    """The one the chunk was put under; others are in the segment's lease file."""

    def pack(self) -> bytes:
        body = encode(self)
        return body + len(body).to_bytes(4, "big") + _MAGIC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leases:
    leases: Annotated[tuple[bytes, ...], Seq(Raw(1, MAX_LEASE_BYTES), MAX_LEASES)]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of a store are."""

    root: Path

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def chunks(self) -> Path:
        return self.root / "chunks"

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"

    def folder(self, prefix: int) -> Path:
        """The folder of the segments whose id begins with the byte ``prefix``."""
        return self.chunks / f"{prefix:02x}"

    def chunk(self, segment: bytes, index: int) -> Path:
        return self.folder(segment[0]) / f"{segment.hex()}.{index}"

    def leases(self, segment: bytes) -> Path:
        return self.folder(segment[0]) / f"{segment.hex()}.{_LEASES_SUFFIX}"


def parse_name(name: str) -> tuple[SegmentId, int | None] | None:
    """What the file ``name`` holds: (segment, chunk index), (segment, None) for leases, None for a stranger."""
    stem, _, suffix = name.partition(".")
    try:
        segment = SegmentId(bytes.fromhex(stem))
        index = None if suffix == _LEASES_SUFFIX else int(suffix)
    except ValueError:
        return None
    known = len(segment) == 32 and (index is None or 0 <= index <= MAX_INDEX)
    if not known or name != f"{segment.hex()}.{_LEASES_SUFFIX if index is None else index}":
        return None
    return segment, index


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of ``data``, of which the system may take a part at a time. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class Draft:
    """A file being written in tmp/, to be renamed into place or thrown away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        write_all(self._handle, data)

    def sync(self) -> None:
        """Bring the content to the disk."""
        os.fsync(self._handle)

    def place(self, path: Path) -> None:
        """Give the file its name, for good: the folder, made if there is none, is on disk afterwards."""
        try:
            self._path.rename(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent.parent)
            self._path.rename(path)
        self.close()
        sync_folder(path.parent)

    def discard(self) -> None:
        """Throw the file away."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def pack_leases(leases: Iterable[bytes]) -> bytes:
    """The content of a lease file."""
    return encode(_Leases(leases=tuple(leases)))


def replace_file(draft: Path, data: bytes, path: Path) -> None:
    """Give ``path`` the content ``data``, whole or not at all, by way of the file ``draft``. Survives a power cut."""
    file = Draft(draft)
    try:
        file.write(data)
        file.sync()
        file.place(path)
    except OSError:
        file.discard()
        raise


def read_leases(path: Path) -> tuple[bytes, ...]:
    """The leases of a segment's lease file, not yet verified.

    Raises:
        DamagedError: The file is not a list of leases.
    """
    try:
        with path.open("rb") as file:
            return decode(_Leases, file.read((MAX_LEASE_BYTES + 8) * MAX_LEASES)).leases
    except RemoteProtocolError as exc:
        raise DamagedError(f"{path.name}: {exc}") from exc


class ChunkFile:
    """A chunk on disk, opened for reading: its trailer and its size are checked, its blocks as they are read."""

    def __init__(self, handle: int, trailer: Trailer, descriptor: Descriptor, hashes: tuple[bytes, ...], size: int):
        self._handle = handle
        self.trailer = trailer
        self.descriptor = descriptor
        self.size = size
        """Bytes of the whole file."""
        self._hashes = hashes

    @classmethod
    def open(cls, path: Path, segment: SegmentId, index: int) -> Self:
        """Open chunk ``index`` of ``segment``; the caller closes it.

        Raises:
            DamagedError: The file does not hold that chunk, or not all of it.
            OSError: It cannot be read; FileNotFoundError when there is none.
        """
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            trailer, tail = _read_trailer(handle, size)
            if trailer.index != index:
                raise DamagedError(f"holds chunk {trailer.index}, not {index}")
            descriptor = Descriptor.decode(trailer.descriptor, segment)
            hashes = check_hashes(descriptor, index, trailer.hashes)
            if size != descriptor.layout.column_bytes(index) + tail:
                raise DamagedError(f"has {size} bytes, not those of its layout")
        except (RemoteProtocolError, IntegrityError) as exc:
            os.close(handle)
            raise DamagedError(str(exc)) from exc
        except (DamagedError, OSError):
            os.close(handle)
            raise
        return cls(handle, trailer, descriptor, hashes, size)

    @property
    def blocks(self) -> int:
        """Blocks of this chunk."""
        return len(self._hashes)

    def block_hash(self, block: int) -> bytes:
        return self._hashes[block]

    def range_bytes(self, first: int, count: int) -> int:
        """Sealed bytes of ``count`` blocks from ``first``, all of which exist."""
        if count == 0:
            return 0
        last = first + count - 1
        return (count - 1) * SEALED_BLOCK_BYTES + self.descriptor.layout.block_bytes(self.trailer.index, last)

    def read_into(self, first: int, count: int, out: memoryview) -> int:
        """Read ``count`` blocks from ``first`` into ``out``, each checked against its hash; returns their bytes.

        Raises:
            DamagedError: A block is not the one that was put. Nothing in ``out`` may be used.
            OSError: The disk failed.
        """
        total = self.range_bytes(first, count)
        got = 0
        while got < total:
            step = os.preadv(self._handle, [out[got:total]], first * SEALED_BLOCK_BYTES + got)
            if step == 0:
                raise DamagedError("ends early")
            got += step
        for block, start in enumerate(range(0, total, SEALED_BLOCK_BYTES), first):
            try:
                check_block(self._hashes[block], out[start : min(start + SEALED_BLOCK_BYTES, total)])
            except IntegrityError as exc:
                raise DamagedError(f"block {block} has rotted") from exc
        return total

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _read_trailer(handle: int, size: int) -> tuple[Trailer, int]:
    """The trailer, and the bytes it takes at the end of the file."""
    start = max(0, size - _MAX_TRAILER_BYTES)
    end = os.pread(handle, size - start, start)
    if len(end) <= _TAIL_BYTES or not end.endswith(_MAGIC):
        raise DamagedError("has no trailer")
    length = int.from_bytes(end[-_TAIL_BYTES : -len(_MAGIC)], "big")
    if length > len(end) - _TAIL_BYTES:
        raise DamagedError("has a trailer that is too long")
    return decode(Trailer, end[-_TAIL_BYTES - length : -_TAIL_BYTES]), _TAIL_BYTES + length
