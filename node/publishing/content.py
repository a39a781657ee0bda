"""What is published, as a publish sees it: files of this machine, or a stream."""

from collections.abc import Callable, Iterator
from typing import Protocol

from node.errors import machine_error
from node.publishing.source import Source
from node.publishing.stream import Pieces, cut, lay_out
from protocol.manifest import MAX_INLINE_BYTES, Entry, Kind
from protocol.segment import SEGMENT_BYTES

Room = Callable[[int], memoryview]
"""Gives memory of so many bytes, with anything in it."""


class Content(Protocol):
    """What is published: files of this machine, or a stream."""

    @property
    def identity(self) -> bytes:
        """What tells this source from others when a publish is taken up again."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """What cannot be published, each with its reason."""
        ...

    @property
    def total_bytes(self) -> int | None:
        """Of all files, if that is known beforehand."""
        ...

    def inline(self) -> bytes | None:
        """All of it, when it is short enough to live in the manifest. Blocks."""
        ...

    def segments(self, room: Room) -> Iterator[memoryview]:
        """The plaintext of each segment, in order, in memory that ``room`` gave. Blocks."""
        ...

    def entries(self) -> tuple[Entry, ...]:
        """The manifest's entries, known once all segments were read."""
        ...


class FileContent:
    """Files and folders of this machine."""

    def __init__(self, source: Source, identity: bytes) -> None:
        self._source = source
        self.identity = identity
        self.skipped = tuple(source.skipped)
        self.total_bytes = source.total_bytes

    def inline(self) -> bytes | None:
        if self.total_bytes > MAX_INLINE_BYTES:
            return None
        return b"".join(self.segments(lambda size: memoryview(bytearray(size))))

    def segments(self, room: Room) -> Iterator[memoryview]:
        for pieces in cut(self._source.entries):
            yield self._fill(pieces, room(sum(piece.size for piece in pieces)))

    def _fill(self, pieces: Pieces, content: memoryview) -> memoryview:
        offset = 0
        for piece in pieces:
            self._source.read_into(piece.entry, piece.offset, content[offset : offset + piece.size])
            offset += piece.size
        return content

    def entries(self) -> tuple[Entry, ...]:
        entries = self._source.entries
        lay_out(entries, cut(entries))
        return tuple(entries)


class ByteStream(Protocol):
    """Where bytes come from once, in order."""

    def read(self, size: int, /) -> bytes:
        """1 to ``size`` bytes, or none at the end. Blocks. Raises OSError."""
        ...


class StreamContent:
    """Bytes that come once, such as standard input. They have no time of their own: mtime 0."""

    skipped: tuple[str, ...] = ()
    total_bytes: int | None = None

    def __init__(self, stream: ByteStream, name: bytes, identity: bytes) -> None:
        self._stream = stream
        self._name = name
        self.identity = identity
        self._head = b""
        self._size = 0

    def inline(self) -> bytes | None:
        self._head = bytes(self._read(MAX_INLINE_BYTES + 1))
        if len(self._head) > MAX_INLINE_BYTES:
            return None
        self._size = len(self._head)
        return self._head

    def _read(self, size: int) -> bytearray:
        """``size`` bytes, or fewer at the end."""
        content = bytearray(self._head)
        self._head = b""
        try:
            while len(content) < size and (more := self._stream.read(size - len(content))):
                content += more
        except OSError as exc:
            raise machine_error("read standard input", exc) from exc
        return content

    def segments(self, room: Room) -> Iterator[memoryview]:
        while content := self._read(SEGMENT_BYTES):
            self._size += len(content)
            yield memoryview(content)

    def entries(self) -> tuple[Entry, ...]:
        return (Entry(path=self._name, kind=Kind.FILE, size=self._size),)
