"""Streams and listeners of the network in memory (:mod:`tests.network.memory`)."""

import math
from collections import deque
from typing import TYPE_CHECKING

import trio
from trio.abc import HalfCloseableStream, Listener

from protocol.ids import Address

if TYPE_CHECKING:
    from tests.network.memory import MemoryHost, MemoryNetwork

WINDOW_BYTES = 256 * 1024
_PIECE_BYTES = 64 * 1024


class Line:
    """One direction of a host's line, shared by all its streams in the order in which they send."""

    def __init__(self) -> None:
        self.bytes_per_second = math.inf
        self._free_at = 0.0

    def passes(self, size: int, ready_at: float) -> float:
        """When ``size`` bytes that are ready then have passed."""
        if math.isinf(self.bytes_per_second):
            return ready_at
        self._free_at = max(self._free_at, ready_at) + size / self.bytes_per_second
        return self._free_at


class Pipe:
    """One direction of a stream: pieces of bytes, each with the moment it arrives. An empty one is the end.

    It may have a hole, and then nothing more arrives, or have been torn: what went before arrives, then a reset.
    """

    def __init__(self, source: "MemoryHost", to: "MemoryHost") -> None:
        self.source = source
        self.to = to
        self.pieces: deque[tuple[float, bytes | None]] = deque()
        """None is a reset."""
        self.size = 0
        self.free_at = 0.0
        self.ended = False
        self.broken = False
        self.holed = False
        self.torn = False
        self.twin: Pipe | None = None
        """The other direction."""
        self.lot = source.network.lot()

    @property
    def network(self) -> "MemoryNetwork":
        return self.source.network

    def due(self) -> float:
        return self.pieces[0][0] if self.pieces and self.pieces[0][0] > trio.current_time() else math.inf

    def room(self) -> bool | None:
        """Whether a piece may be sent now."""
        return True if self.broken or (self.size < WINDOW_BYTES and not self.source.is_frozen) else None

    def put(self, data: bytes) -> None:
        self.network.on_piece(data, self.source.ip, self.to.ip)
        self.holed = self.holed or self.source.is_swallowing
        if self.torn:
            return
        if self.holed:
            self.size += len(data)
            return
        now = trio.current_time()
        random = self.network.random
        if data and self.source.tearing and random.random() < self.source.tearing:
            self.torn = True
            data = data[: random.randrange(len(data))]
        self.free_at = max(self.free_at, now) + len(data) / self.source.bytes_per_second
        self.free_at = self.source.uplink.passes(len(data), self.free_at)
        self.free_at = self.to.downlink.passes(len(data), self.free_at)
        due = self.free_at + self.network.delay(self.source.ip, self.to.ip)
        if data or not self.torn:
            self.pieces.append((due, self.network.spoil(data, self.source.damage)))
        if self.torn:
            self.pieces.append((due, None))
        self.size += len(data)
        self.lot.wake()

    def get(self, most: int) -> bytes | None:
        """Bytes that have arrived, b"" at the end, None: wait."""
        if self.broken:
            raise trio.BrokenResourceError("connection reset")
        held = self.to.is_frozen or self.to.is_mute or not self.network.reaches(self.source.ip, self.to.ip)
        if held or not self.pieces or self.pieces[0][0] > trio.current_time():
            return None
        due, data = self.pieces.popleft()
        if data is None:
            if self.twin is not None:
                self.twin.snap()
            self.snap()
            raise trio.BrokenResourceError("connection reset")
        if not data:
            self.pieces.appendleft((due, data))
            return data
        if len(data) > most:
            self.pieces.appendleft((due, data[most:]))
        self.size -= len(data[:most])
        self.lot.wake()
        return data[:most]

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.put(b"")

    def snap(self) -> None:
        self.broken = True
        self.lot.wake()


class MemoryStream(HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, host: "MemoryHost", peer_address: Address, out: Pipe, back: Pipe) -> None:
        self.peer_address = peer_address
        self._host = host
        self._out = out
        self._back = back
        self._closed = False
        self._busy: set[str] = set()
        host.streams.add(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._check()
        if self._out.ended:
            raise trio.ClosedResourceError("the end was sent")
        view = memoryview(data).cast("B")
        with self._alone("send"):
            await self.wait_send_all_might_not_block()
            while view:
                await self.wait_send_all_might_not_block()
                self._out.put(bytes(view[:_PIECE_BYTES]))
                view = view[_PIECE_BYTES:]

    async def wait_send_all_might_not_block(self) -> None:
        await self._out.lot.wait(lambda: self._closed or self._out.room())
        self._check()
        if self._out.broken:
            raise trio.BrokenResourceError("connection reset")

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        self._out.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._check()
        with self._alone("receive"):
            return await self._back.lot.wait(lambda: self._received(max_bytes or _PIECE_BYTES), self._back.due)

    def _received(self, most: int) -> bytes | None:
        self._check()
        return self._back.get(most)

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the stream is closed")

    def _alone(self, what: str) -> "_Alone":
        return _Alone(self._busy, what)

    def abort(self) -> None:
        """Both ends are reset."""
        self._closed = True
        self._host.streams.discard(self)
        self._out.snap()
        self._back.snap()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._host.streams.discard(self)
            self._out.end()
            self._back.lot.wake()
            if not self._back.ended:
                self._back.snap()  # what the other end goes on sending is answered by a reset
        await trio.lowlevel.checkpoint()


class _Alone:
    """Two tasks must not send, or receive, at once."""

    def __init__(self, busy: set[str], what: str) -> None:
        self._busy = busy
        self._what = what

    def __enter__(self) -> None:
        if self._what in self._busy:
            raise trio.BusyResourceError(f"another task is at it: {self._what}")
        self._busy.add(self._what)

    def __exit__(self, *_: object) -> None:
        self._busy.discard(self._what)


class MemoryListener(Listener[MemoryStream]):
    """Accepts connections to one port."""

    def __init__(self, host: "MemoryHost", address: Address) -> None:
        self.queue: deque[MemoryStream] = deque()
        self.address = address
        self._host = host
        self._closed = False
        self.lot = host.network.lot()

    async def accept(self) -> MemoryStream:
        return await self.lot.wait(self._next)

    def _next(self) -> MemoryStream | None:
        if self._closed:
            raise trio.ClosedResourceError("the listener is closed")
        held = self._host.is_frozen or self._host.is_mute
        return self.queue.popleft() if self.queue and not held else None

    def shut(self) -> None:
        """Close at once; connections nobody accepted are reset."""
        if not self._closed:
            self._closed = True
            del self._host.listeners[self.address.port]
            for stream in self.queue:
                stream.abort()
            self.lot.wake()

    async def aclose(self) -> None:
        self.shut()
        await trio.lowlevel.checkpoint()
