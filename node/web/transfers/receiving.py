"""The bytes of one file of an upload, from a request to the disk: never more than a little of them in memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import trio
from starlette.requests import ClientDisconnect

from node.blocking import Blocking
from node.web.http.answers import HttpError
from node.web.transfers.spool import Spool

STALL_SECONDS = 30.0
"""Without a byte for so long, a request is over; what came is kept."""
STEP_BYTES = 1 << 20
"""Written at once."""
_SYNC_SECONDS = 60.0


Body = AsyncGenerator[bytes, None]
"""Of a body, as they come."""


class OffsetError(HttpError):
    """What is sent does not go on where the disk is: ask again from ``received`` on."""

    def __init__(self, message: str, received: int) -> None:
        super().__init__(409, message, hint="send what follows what is there")
        self.received = received


@dataclass(eq=False, slots=True)
class _Writer:
    """Whoever is sending a file."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class Receiving:
    """Of one upload: who sends which file."""

    spool: Spool
    blocking: Blocking
    _writers: dict[int, _Writer] = field(default_factory=dict)

    async def stop(self) -> None:
        """Have nobody send anything any more. What came is on the disk when this returns."""
        for writer in list(self._writers.values()):
            await _end(writer)

    async def take(self, number: int, offset: int, parts: Body, announced: int | None) -> int:
        """Append to a file what comes. Whoever was sending it is stopped: a page was loaded again, or a line broke.

        Args:
            number: Of the file, or of the pack.
            offset: Where in it the first byte that comes belongs.
            parts: What comes.
            announced: How much that is to be; None: not known.

        Returns:
            What of the file is on the disk.

        Raises:
            OffsetError: It does not go on where the disk is.
            HttpError: There is more of it than the file has (413); the disk is full (507); nothing came for 30 seconds
                (408). What came before that is kept.
            MachineError: The disk says no.
        """
        while number in self._writers:
            await _end(self._writers[number])
        size, received = self.spool.size(number), self.spool.received(number)
        if offset != received:
            raise OffsetError(f"{received} bytes of this file are here, not {offset}", received)
        if announced is not None and offset + announced > size:
            raise HttpError(413, f"this file has {size} bytes, and {offset + announced} would be sent")
        writer = self._writers[number] = _Writer()
        try:
            ended = await self._append(writer, number, parts)
        finally:
            del self._writers[number]
            writer.ended.set()
        if ended is not None:
            raise ended
        return self.spool.received(number)

    async def _append(self, writer: _Writer, number: int, parts: Body) -> Exception | None:
        """Returns what is wrong with what came, all that was good of it being on the disk."""
        room = self.spool.size(number) - self.spool.received(number)
        handle = await self.blocking(self.spool.open, number)
        fault: Exception | None = None
        buffer = bytearray()
        try:
            with writer.scope:
                writer.scope.deadline = trio.current_time() + STALL_SECONDS
                async with aclosing(parts):
                    async for part in parts:
                        if len(part) > room:
                            fault = HttpError(413, f"this file has {self.spool.size(number)} bytes, and more was sent")
                            break
                        room -= len(part)
                        buffer += part
                        if len(buffer) >= STEP_BYTES:
                            writer.scope.deadline = float("inf")
                            await self.blocking(self.spool.write, handle, buffer)
                            buffer.clear()
                        writer.scope.deadline = trio.current_time() + STALL_SECONDS
        except (ClientDisconnect, HttpError) as exc:
            fault = exc
        finally:
            with trio.move_on_after(_SYNC_SECONDS, shield=True):
                await self._finish(handle, number, buffer, fault)
        if writer.scope.cancelled_caught:
            if trio.current_time() >= writer.scope.deadline:
                return HttpError(408, f"nothing came for {STALL_SECONDS:.0f} seconds")
            return OffsetError("somebody else sends this file now, or it was stopped", self.spool.received(number))
        return HttpError(400, "the body was cut short") if isinstance(fault, ClientDisconnect) else fault

    async def _finish(self, handle: int, number: int, buffer: bytearray, fault: Exception | None) -> None:
        try:
            if buffer and not (isinstance(fault, HttpError) and fault.status == 507):
                await self.blocking(self.spool.write, handle, buffer)
        finally:
            await self.blocking(self.spool.close, handle, number)


async def _end(writer: _Writer) -> None:
    writer.scope.cancel()
    await writer.ended.wait()
