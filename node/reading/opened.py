"""A deposit that is open: its table of contents, and the bytes of its files, whole or as a stream."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import trio

from node.buffers import Buffers
from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import Step, Wanted, plan_steps, read_runs, runs_of, segments_ahead
from node.progress import Progress
from protocol.links import Link
from protocol.manifest import Entry, Manifest, inline_content
from protocol.segment import BLOCK_BYTES, Shares

FIRST_PIECE_BYTES = 2 * BLOCK_BYTES
"""Of a stream: so that it begins soon, and one that is closed at once has cost little."""
MOST_PIECE_BYTES = 2 << 20
"""A column of a full segment at 8/12. Three pieces are fetched ahead of the one that is being read: 10 MB in all."""


@dataclass(slots=True)
class Opened:
    """What a link leads to. Kept by a shelf, read by whoever has a client: one after the other, or at the same time."""

    link: Link = field(repr=False)
    manifest: Manifest = field(repr=False)
    received_bytes: int = 0
    """Of sealed blocks that came and were verified, since it was opened; the table of contents with them."""
    _shares: Shares = Shares()
    _shares_known: bool = False

    @property
    def weight(self) -> int:
        """What it takes of memory, in entries."""
        manifest = self.manifest
        return len(manifest.entries) + len(manifest.segments) + len(manifest.inline) // 256

    def entry(self, index: int) -> Entry:
        return self.manifest.entries[index]

    def tag(self, index: int) -> str:
        """What tells this file, byte for byte, from every other one of every deposit: its root commits to them all."""
        return f"{self.link.root.hex()[:40]}-{index}"

    def downloader(self, client: Client, buffers: Buffers | None = None) -> Downloader:
        """For one read. Its deadlines are its own: others that go on do not keep one alive that is stuck."""
        downloader = Downloader(client, Progress(), shares=self._shares, shares_known=self._shares_known)
        if buffers is not None:
            downloader.buffers = buffers
        return downloader

    def learn(self, downloader: Downloader) -> None:
        """Take in what one read has learnt for the next, and count it."""
        self.received_bytes += downloader.received_bytes
        if downloader.shares_known:
            self._shares, self._shares_known = downloader.shares, True

    async def read(self, client: Client, index: int, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` (excluded) of a file; those beyond its end are left out.

        Raises:
            NotFoundError, NetworkError, IntegrityFailure: As :meth:`Downloader.blocks`.
        """
        start, stop = self._within(index, start, stop)
        if start >= stop:
            return b""
        downloader = self.downloader(client)
        parts: list[memoryview] = []
        try:
            async with read_runs(downloader, self.manifest, [(index, start, stop)]) as runs:
                async for run in runs:
                    parts.append(run.data)
        finally:
            self.learn(downloader)
        return await client.world.blocking(b"".join, parts)

    @trio.as_safe_channel
    async def stream(
        self, client: Client, index: int, start: int, stop: int, buffers: Buffers | None = None
    ) -> AsyncGenerator[memoryview, None]:
        """The same piece by piece, small ones first; at most four pieces are in memory, be they read or not.

        A piece is there until the next one is asked for: its memory is used again.

        Args:
            client: Reads.
            index: Of the file.
            start: The first byte.
            stop: Behind the last.
            buffers: Where memory comes from; None: its own.

        Raises:
            NotFoundError, NetworkError, IntegrityFailure: As :meth:`Downloader.blocks`, after what came before.
        """
        start, stop = self._within(index, start, stop)
        if start >= stop:
            return
        if not self.manifest.segments:
            yield memoryview(inline_content(self.manifest, self.entry(index), start, stop))
            return
        downloader = self.downloader(client, buffers)
        try:
            async with segments_ahead(downloader, self._steps(index, start, stop)) as opened:
                async for step, data in opened:
                    for run in runs_of(step, data):
                        yield run.data
                    downloader.buffers.give(data)
        finally:
            self.learn(downloader)

    def _steps(self, index: int, start: int, stop: int) -> Iterator[Step]:
        for piece in pieces(start, stop):
            wanted: Wanted = (index, *piece)
            yield from plan_steps(self.manifest, [wanted])

    def _within(self, index: int, start: int, stop: int) -> tuple[int, int]:
        size = self.entry(index).size
        return max(0, start), min(stop, size)


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """``start`` to ``stop`` cut into pieces, each at most twice as long as the one before it.

    They end at multiples of their length: a large file begins with a block and a column, and so do most pieces.
    """
    size = FIRST_PIECE_BYTES
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield start, end
        start, size = end, min(2 * size, MOST_PIECE_BYTES)
