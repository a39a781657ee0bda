"""Receiving from a stream in pieces as large as its speed allows.

Waking up for every few packets costs a busy machine more than decrypting them. So where bytes come fast, the system is
told to wait until there are as many as come in a hundredth of a second or so (SO_RCVLOWAT), a tenth at most; where they
come slowly, every one is a sign of life and is received at once.
"""

import os
from contextlib import suppress
from typing import Final

import trio
from trio.abc import Stream

from node.net.throttle import ThrottledStream
from protocol.hashing import Bytes

RECEIVE_BYTES: Final = 512 * 1024
"""Received at once, at most."""
_SMALL_BYTES: Final = 32 * 1024
"""Received at once when no body is awaited; and not worth waiting for more."""
_WORTH_SECONDS: Final = 0.015
_LONGEST_SECONDS: Final = 0.1
"""A line that has become slow is waited for so long, once."""
_NOTHING = bytearray()


class Intake:
    """Receives. What it returns holds until the next call."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = _NOTHING
        self._socket: trio.socket.SocketType | None = None
        """That of the system, where it was received from last."""
        self._waits_for = 1
        self._worth = 1
        self._received_at = -1.0

    async def receive(self, coming: int) -> Bytes:
        """Some bytes; none at the end of the stream.

        Args:
            coming: So many will come in any case, or the peer is at fault; 0: not known.

        Raises:
            OSError, trio.BrokenResourceError, trio.ClosedResourceError: The connection is lost.
        """
        stream = self._stream.receiver if isinstance(self._stream, ThrottledStream) else self._stream
        if not isinstance(stream, trio.SocketStream):
            if self._socket is not None:  # a limit has come, which takes smaller pieces
                self._wait_for(self._socket, 1)
                self._worth, self._socket = 1, None
            return await stream.receive_some(RECEIVE_BYTES)
        socket = self._socket = stream.socket
        self._wait_for(socket, max(1, min(self._worth, coming)))
        count = await self._read(socket, min(RECEIVE_BYTES, coming + _SMALL_BYTES))
        if coming:
            self._learn(count)
        return memoryview(self._buffer)[:count]

    async def _read(self, socket: trio.socket.SocketType, most: int) -> int:
        """As ``socket.recv_into``, which goes through the scheduler twice, and needs its buffer while it waits."""
        while True:
            await self._readable(socket)
            if len(self._buffer) < most:
                self._buffer = bytearray(most)
            with suppress(BlockingIOError):
                return os.readv(socket.fileno(), [self._buffer])

    async def _readable(self, socket: trio.socket.SocketType) -> None:
        if self._waits_for > 1:
            with trio.move_on_after(_LONGEST_SECONDS):
                await trio.lowlevel.wait_readable(socket)
                return
            self._worth = 1
            self._wait_for(socket, 1)
        await trio.lowlevel.wait_readable(socket)

    def rest(self) -> None:
        """A body is over: keep no memory until the next, and do not count the time between."""
        self._buffer = _NOTHING
        self._received_at = -1.0

    def _learn(self, count: int) -> None:
        """What comes in the time that is worth a wait, as a power of two."""
        now = trio.current_time()
        if self._received_at >= 0.0:
            worth = int(count * _WORTH_SECONDS / max(now - self._received_at, 1e-6))
            worth = min(worth, RECEIVE_BYTES // 2)
            self._worth = 1 << (worth.bit_length() - 1) if worth >= _SMALL_BYTES else 1
        self._received_at = now

    def _wait_for(self, socket: trio.socket.SocketType, count: int) -> None:
        """Have the system say "readable" no earlier than that."""
        if count != self._waits_for:
            with suppress(OSError):  # a system that cannot, or a connection that is lost, which receiving will tell
                socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVLOWAT, count)
                self._waits_for = count
