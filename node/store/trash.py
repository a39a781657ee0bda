"""The trash: chunks that no lease keeps any more, but a renewal brings back (docs/spec/storage.md section 7).

Nothing is moved: a chunk is in the trash from the moment its last lease ends. What is counted here is an estimate, for
a put that asks whether there will be room; before a chunk goes, its leases are looked at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from node.store.chunkindex import ChunkIndex

TRASH_SECONDS = 7 * 86_400


class Trash:
    """How much is in the trash, counted at each :meth:`measure` and kept up to date at each change in between."""

    def __init__(self, index: ChunkIndex, wall_clock: Callable[[], float]) -> None:
        self._index = index
        self._wall = wall_clock
        self.bytes = 0
        """What it takes of the quota."""
        self._measured = 0  # chunks whose leases ended later are not counted yet

    def measure(self) -> None:
        """Count what is in it now."""
        with self._index.change():
            self._measured = int(self._wall())
            self.bytes = self._index.ended_bytes(self._measured)

    @contextmanager
    def change(self, segment: bytes) -> Iterator[None]:
        """One change of what the index knows of ``segment``: everything inside is done, or nothing."""
        with self._index.change():
            before = self._index.ended_bytes_of(segment, self._measured)
            yield
            self.bytes += self._index.ended_bytes_of(segment, self._measured) - before

    def oldest(self) -> bytes | None:
        """The segment that has been in it for longest."""
        return self._index.ended(int(self._wall()))
