"""A node's data folder looked at from outside: every file is whole, and the index says what the files say."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from node.store.chunkfile import ChunkFile, Paths, parse_name, read_leases
from protocol.ids import SegmentId
from protocol.segment import SEALED_BLOCK_BYTES


def compare_files(paths: Paths) -> None:
    """Read every block of every chunk; compare chunks, leases and lease files with the index. Nothing else lies about.

    The node must be idle, or not run.
    """
    assert not list(paths.tmp.iterdir())
    chunks: set[tuple[object, ...]] = set()
    first_leases: dict[SegmentId, set[bytes]] = {}
    lease_files: dict[SegmentId, Path] = {}
    for path in paths.chunks.glob("*/*"):
        name = parse_name(path.name)
        assert name is not None, path
        segment, index = name
        if index is None:
            lease_files[segment] = path
        else:
            chunk_id, length, size, lease = _read_chunk(path, segment, index)
            chunks.add((segment, index, chunk_id, length, size))
            first_leases.setdefault(segment, set()).add(lease)
    leases = first_leases | {segment: set(read_leases(path)) for segment, path in lease_files.items()}
    stats = {segment: path.stat() for segment, path in lease_files.items()}
    with _index(paths) as db:
        assert set(db.execute("SELECT segment, idx, id, length, bytes FROM chunk")) == chunks
        assert set(db.execute("SELECT segment, data FROM lease")) == {
            (segment, data) for segment, found in leases.items() for data in found
        }
        assert set(db.execute("SELECT segment, bytes, mtime FROM segment")) == {
            (segment, stats[segment].st_size, stats[segment].st_mtime_ns) if segment in stats else (segment, 0, 0)
            for segment in leases
        }


@contextmanager
def _index(paths: Paths) -> Iterator[sqlite3.Connection]:
    """A copy of the index: a node that runs keeps others out of its own."""
    with TemporaryDirectory(dir=paths.root.parent) as folder:
        for path in paths.root.glob("index.sqlite*"):
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / paths.index.name)) as db:
            yield db


def _read_chunk(path: Path, segment: SegmentId, index: int) -> tuple[bytes, int, int, bytes]:
    """Chunk id, length of the segment, size of the file, lease; every block was read and checked."""
    with closing(ChunkFile.open(path, segment, index)) as file:
        buffer = memoryview(bytearray(SEALED_BLOCK_BYTES))
        for block in range(file.blocks):
            file.read_into(block, 1, buffer)
        descriptor = file.descriptor
        return descriptor.chunk_ids[index], descriptor.layout.length, file.size, file.trailer.lease
