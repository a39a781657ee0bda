"""Fetching the plaintext of a part of one segment: gathered, then opened with its key."""

import trio

from node.errors import one_error
from node.fetching.columns import Columns, Part
from node.fetching.gathering import Gatherer
from protocol.ids import SegmentId
from protocol.manifest import SegmentRef
from protocol.segment import plan


class Downloader(Gatherer):
    """What the segments of one fetch share, for whoever has their keys."""

    __slots__ = ()

    async def blocks(self, ref: SegmentRef, first: int, count: int) -> memoryview:
        """The plaintext of blocks ``first`` to ``first + count - 1`` of a segment.

        Raises:
            NotFoundError, NetworkError: As :meth:`Gatherer.gather`.
            IntegrityFailure: The same; or the key opens nothing.
        """
        layout = plan(ref.length, self.shares)
        (column, _), (last, _) = layout.locate(first), layout.locate(first + count - 1)
        if last == column + 1 and count <= layout.rows:
            return await self._joined(ref, first, count, last * layout.rows)
        return await self._open(self._part(ref, first, count), ref.key)

    def _part(self, ref: SegmentRef, first: int, count: int) -> Part:
        return Part(ref.id, ref.length, first, count, self.shares, self.shares_known)

    async def _joined(self, ref: SegmentRef, first: int, count: int, cut: int) -> memoryview:
        """A few blocks at the end of a column and at the beginning of the next, which begins with block ``cut``.

        As one read, it would take all rows of both.
        """
        pieces: dict[int, memoryview] = {}

        async def read(start: int, stop: int) -> None:
            pieces[start] = await self._open(self._part(ref, start, stop - start), ref.key)

        async with one_error(), trio.open_nursery() as nursery:
            nursery.start_soon(read, first, cut)
            nursery.start_soon(read, cut, first + count)
        joined = memoryview(bytearray().join((pieces[first], pieces[cut])))
        self.buffers.give(*pieces.values())
        return joined

    async def whole(self, segment: SegmentId, key: bytes) -> memoryview:
        """The plaintext of a segment of unknown length, as :meth:`blocks`. One round trip if it is one block."""
        return await self._open(Part(segment, None), key)

    async def _open(self, part: Part, key: bytes) -> memoryview:
        columns = Columns(part, self.buffers)
        try:
            await self.gather(columns)
            return await self.client.world.blocking(columns.open, key)
        finally:
            columns.release()
