"""What publish makes of files and of a stream: segments, and the entries that lead to their bytes."""

import io
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from node.errors import MachineError
from node.fetching.reader import plan_steps, runs_of
from node.publishing.content import Content, FileContent, StreamContent
from node.publishing.source import scan
from protocol.ids import SegmentId
from protocol.manifest import MAX_INLINE_BYTES, Manifest, SegmentRef, inline_content
from protocol.segment import BLOCK_BYTES, SEGMENT_BYTES


def room(size: int) -> memoryview:
    """Memory that is not clean."""
    return memoryview(bytearray(b"?" * size))


def read_back(content: Content) -> dict[bytes, bytes]:
    """Every file, by way of the manifest, as a reader finds it."""
    inline = content.inline()
    segments = [] if inline is not None else [bytes(segment) for segment in content.segments(room)]
    refs = tuple(
        SegmentRef(id=SegmentId(number.to_bytes(32, "big")), length=len(segment), key=bytes(32))
        for number, segment in enumerate(segments)
    )
    manifest = Manifest(entries=content.entries(), segments=refs, inline=inline or b"")
    manifest.encode()
    if not segments:
        return {entry.path: inline_content(manifest, entry) for entry in manifest.entries if entry.size}
    found: dict[bytes, bytes] = {}
    wanted = [(number, 0, entry.size) for number, entry in enumerate(manifest.entries) if entry.size]
    for step in plan_steps(manifest, wanted):
        plaintext = segments[refs.index(step.ref)]
        blocks = plaintext[step.first * BLOCK_BYTES : (step.first + step.count) * BLOCK_BYTES]
        for run in runs_of(step, memoryview(blocks)):
            path = manifest.entries[run.entry].path
            found[path] = found.get(path, b"") + bytes(run.data)
    return found


@pytest.mark.parametrize(
    "sizes",
    [
        (0,),
        (1, 0, 2),
        (MAX_INLINE_BYTES - 1, 1),
        (MAX_INLINE_BYTES, 1),
        (1000, 1 << 20, 2000, 0, (1 << 20) - 1, 3000),
        (SEGMENT_BYTES + 5, 10, SEGMENT_BYTES),
    ],
)
def test_files_come_back(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    files = {}
    for number, size in enumerate(sizes):
        files[b"root/%d" % number] = Random(number).randbytes(size)
        (root / str(number)).write_bytes(files[b"root/%d" % number])
    content = FileContent(scan([root]), b"identity")
    assert content.total_bytes == sum(sizes)
    assert (content.inline() is not None) == (sum(sizes) <= MAX_INLINE_BYTES)
    assert read_back(content) == {path: data for path, data in files.items() if data}
    assert {entry.path: entry.size for entry in content.entries()} == {
        b"root": 0,
        **{path: len(data) for path, data in files.items()},
    }


class Trickle(io.RawIOBase):
    """A pipe: gives a few bytes at a time, and once."""

    def __init__(self, content: bytes, step: int) -> None:
        self._rest = memoryview(content)
        self._step = step

    def read(self, size: int = -1, /) -> bytes:
        most = min(self._step, size if size >= 0 else self._step)
        given, self._rest = self._rest[:most], self._rest[most:]
        return bytes(given)


@pytest.mark.parametrize(
    ("size", "step"),
    [
        (0, 10),
        (1, 10),
        (MAX_INLINE_BYTES, 999),
        (MAX_INLINE_BYTES + 1, 999),
        (SEGMENT_BYTES, 65_536),
        (SEGMENT_BYTES + 1, 65_536),
    ],
)
def test_a_stream_comes_back(size: int, step: int) -> None:
    data = Random(size).randbytes(size)
    content = StreamContent(Trickle(data, step), b"name", b"identity")
    assert content.total_bytes is None
    assert read_back(content) == ({b"name": data} if data else {})
    (entry,) = content.entries()
    assert (entry.path, entry.size, entry.mtime_ns, entry.executable) == (b"name", size, 0, False)


def test_a_stream_that_breaks() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(MachineError, match="standard input"):
        StreamContent(Broken(), b"name", b"identity").inline()


def test_a_file_that_changes_between_segments(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * SEGMENT_BYTES))
    content = FileContent(scan([path]), b"identity")
    assert content.inline() is None
    segments = content.segments(room)
    next(segments)
    with path.open("r+b") as handle:
        handle.seek(SEGMENT_BYTES)
        handle.write(b"x")
    with pytest.raises(MachineError, match="changed while it was being published"):
        next(segments)


FILES = 4_000


@contextmanager
def at_most(bytes_a_file: int) -> Iterator[None]:
    """No more memory is in use at any moment, for each of FILES files, than there was before."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / FILES < bytes_a_file


def test_memory_for_each_file(tmp_path: Path) -> None:
    """A person with a million small files has a gigabyte to spare, and not three."""
    root = tmp_path / "root"
    for number in range(FILES):
        if number % 100 == 0:
            (root / f"{number // 100:03}").mkdir(parents=True)
        (root / f"{number // 100:03}/a file {number:05}.txt").write_bytes(b"%020d" % number)
    with at_most(400):
        content = FileContent(scan([root]), b"identity")
        refs = tuple(
            SegmentRef(id=SegmentId(bytes(32)), length=len(segment), key=bytes(32))
            for segment in content.segments(room)
        )
        manifest = Manifest(entries=content.entries(), segments=refs)
        encoded = manifest.encode()
    with at_most(320):
        assert Manifest.decode(encoded).entries == manifest.entries
