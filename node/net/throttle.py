"""The operator's rate limits: a token bucket for each direction, shared by all traffic of a node.

What counts is what streams and datagrams carry; the headers below them come on top. Streams take turns, one small piece
each, and a piece waits until the bucket holds it. What is not read stays with the system, which then lets the peer send
no more. Datagrams are small and somebody waits for them, so they go ahead and the streams work off the debt. They have
one part of the rate at most, or a flood of them would leave the streams nothing.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from trio.abc import Listener, Stream

from dht.socket import DatagramSocket
from node.net.transport import Transport, peer_address
from protocol.ids import Address

MIN_BYTES_PER_SECOND: Final = 16 * 1024
"""The lowest limit: a block takes 8 seconds then, and with less a node is of no use to anybody."""

_BURST_SECONDS: Final = 0.15
"""So much of the rate may be saved up, to make good for a late wake-up."""
_DEBT_SECONDS: Final = 0.2
"""So far may datagrams go ahead. In 10 seconds, burst and debt are less than 5 % together."""
_DATAGRAM_PART: Final = 0.5
"""Of the rate: what datagrams have at most."""
_DATAGRAM_SECONDS: Final = 0.2
"""A datagram that would have to wait for longer counts as lost, as UDP allows."""
_PIECE_SECONDS: Final = 0.01
"""A stream's turn, in seconds of the whole rate ..."""
_SMALLEST_PIECE, _LARGEST_PIECE = 1400, 64 * 1024
"""... and its bounds in bytes: about a packet, and what is worth a call to the system."""
_WINDOW_SECONDS: Final = 1 / 32
"""Of the rate: what the system may receive ahead of us on a connection ..."""
_SMALLEST_WINDOW, _LARGEST_WINDOW = 32 * 1024, 128 * 1024
"""... and its bounds in bytes. What would be more is left to the system, which knows how far away the peer is."""
_SHORTEST_SECONDS: Final = 0.001
"""What the system's timers can tell apart, and clocks of any age can add to."""


class Throttle:
    """The limits of both directions, which may be changed while traffic passes."""

    def __init__(self, *, up: int | None = None, down: int | None = None) -> None:
        """Args:
        up: Bytes per second, MIN_BYTES_PER_SECOND at least; None: no limit.
        down: Likewise.
        """
        self._up, self._down = Limit(up or math.inf), Limit(down or math.inf)

    def set(self, *, up: int | None, down: int | None) -> None:
        """Other limits from now on. What is being sent or received at this moment, a piece of each connection, passes
        by the old ones; a connection that is open keeps what the system may receive ahead of us."""
        self._up.set(up or math.inf)
        self._down.set(down or math.inf)

    def around(self, transport: Transport) -> Transport:
        """``transport`` under these limits."""
        return _ThrottledTransport(transport, self._up, self._down)


def limited(transport: Transport, *, up: int | None, down: int | None) -> Transport:
    """``transport`` under limits that stay as they are: see :class:`Throttle`."""
    return Throttle(up=up, down=down).around(transport)


class _Bucket:
    """Tokens, each for a byte. They come at a steady rate until it is full."""

    def __init__(self, bytes_per_second: float, most: float) -> None:
        self._rate = bytes_per_second
        self._most = most
        self._level = most
        self._filled_at = trio.current_time()

    def set(self, bytes_per_second: float, most: float) -> None:
        """Another rate and size from now on. What was saved up stays, as far as it fits; so does a debt."""
        level = self.level()
        self._rate, self._most, self._level = bytes_per_second, most, min(most, level)

    def level(self) -> float:
        """Tokens that are there now; below 0: debt."""
        now = trio.current_time()
        if now > self._filled_at:
            self._level = min(self._most, self._level + (now - self._filled_at) * self._rate)
            self._filled_at = now
        return self._level

    def spend(self, count: int) -> None:
        """Take ``count`` tokens, whether they are there or not; a negative number gives some back."""
        self._level = min(self._most, self.level() - count)

    async def wait_for(self, count: int) -> None:
        """Until there are ``count``; or as many as fit, since they have become fewer meanwhile."""
        while True:
            missing = min(count, self._most) - self.level()
            if missing <= 0:
                return
            await trio.sleep(max(missing / self._rate, _SHORTEST_SECONDS))  # more than once: datagrams go ahead


class Limit:
    """One direction of a node's traffic."""

    def __init__(self, bytes_per_second: float) -> None:
        """Args:
        bytes_per_second: MIN_BYTES_PER_SECOND at least; ``math.inf``: no limit.
        """
        self._rate = bytes_per_second
        self._all = _Bucket(bytes_per_second, bytes_per_second * _BURST_SECONDS)
        self._datagrams = _Bucket(bytes_per_second * _DATAGRAM_PART, bytes_per_second * _DEBT_SECONDS)
        self._turn, self._datagram_turn = trio.Lock(), trio.Lock()  # trio's locks are first come, first served

    def set(self, bytes_per_second: float) -> None:
        """Another limit from now on; who waits for a turn waits for one of the new rate."""
        self._rate = bytes_per_second
        self._all.set(bytes_per_second, bytes_per_second * _BURST_SECONDS)
        self._datagrams.set(bytes_per_second * _DATAGRAM_PART, bytes_per_second * _DEBT_SECONDS)

    @property
    def none(self) -> bool:
        """Whether there is no limit."""
        return self._rate == math.inf

    @property
    def piece_bytes(self) -> int:
        """A stream's turn."""
        return int(min(max(self._rate * _PIECE_SECONDS, _SMALLEST_PIECE), _LARGEST_PIECE))

    @property
    def window_bytes(self) -> int | None:
        """What the system may receive ahead of us on a connection; None: as it sees fit."""
        window = max(self._rate * _WINDOW_SECONDS, _SMALLEST_WINDOW)
        return int(window) if window <= _LARGEST_WINDOW else None

    async def take(self, count: int) -> None:
        """Wait in line for a stream's next ``count`` bytes, ``piece_bytes`` at most."""
        async with self._turn:
            await self._all.wait_for(count)
            self._all.spend(count)

    def give_back(self, count: int) -> None:
        """Of what was taken, so much was not used."""
        self._all.spend(-count)

    async def take_datagram(self, size: int) -> bool:
        """Count a datagram that is to be sent; False: it must not be."""
        with trio.move_on_after(_DATAGRAM_SECONDS):
            async with self._datagram_turn:
                await self._datagrams.wait_for(size)
                return self.count_datagram(size)
        return False

    def count_datagram(self, size: int) -> bool:
        """Count a datagram that has come; False: there are too many, and the streams do not pay for it."""
        if self._datagrams.level() < size:
            return False
        self._datagrams.spend(size)
        self._all.spend(size)
        return True


class ThrottledStream(Stream):
    """A stream whose bytes count. Closing it costs nothing."""

    def __init__(self, stream: Stream, up: Limit, down: Limit) -> None:
        self._stream = stream
        self._up = up
        self._down = down
        self._held_seconds = 0.0

    def take_held(self) -> float:
        """For how many seconds our limit held up what was received since the last call: the peer may be quicker."""
        held, self._held_seconds = self._held_seconds, 0.0
        return held

    @property
    def sender(self) -> Stream:
        """What to send by: the stream below as long as there is no limit, which costs nothing then."""
        return self._stream if self._up.none else self

    @property
    def receiver(self) -> Stream:
        """What to receive by; likewise."""
        return self._stream if self._down.none else self

    @property
    def peer_address(self) -> Address | None:
        return peer_address(self._stream)

    @property
    def socket(self) -> trio.socket.SocketType:
        """The system's socket. Raises AttributeError: it has none, as in a network in memory."""
        found: trio.socket.SocketType = self._stream.socket  # type: ignore[attr-defined]  # see above
        return found

    async def send_some(self, data: bytes | bytearray | memoryview) -> int:
        """Send the first bytes of ``data``, one turn of ours; returns how many. Raises as :meth:`send_all`."""
        piece = memoryview(data)[: self._up.piece_bytes]
        await self._stream.wait_send_all_might_not_block()  # turns are for those who can use them
        await self._up.take(len(piece))
        await self._stream.send_all(piece)
        return len(piece)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._up.none:
            await self._stream.send_all(data)
            return
        view = memoryview(data)
        while view:
            view = view[await self.send_some(view) :]

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._down.none:
            return await self._stream.receive_some(max_bytes)
        below = _system_stream(self._stream)
        if below is not None:
            await _readable(below.socket)  # as in send_some; no other stream can be asked
        granted = self._down.piece_bytes if max_bytes is None else min(max_bytes, self._down.piece_bytes)
        began = trio.current_time()
        await self._down.take(granted)
        self._held_seconds += trio.current_time() - began
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(granted)
        finally:
            self._down.give_back(granted - len(data))
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


def _system_stream(stream: Stream) -> trio.SocketStream | None:
    """The system's stream below any limits; None: there is another one, such as a test's."""
    while isinstance(stream, ThrottledStream):
        stream = stream._stream
    return stream if isinstance(stream, trio.SocketStream) else None


async def _readable(socket: trio.socket.SocketType) -> None:
    """Until something can be received, be it the end or an error."""
    if socket.fileno() >= 0:
        await trio.lowlevel.wait_readable(socket)


class _ThrottledListener(Listener[ThrottledStream]):
    def __init__(self, listener: Listener[Stream], wrap: Callable[[Stream], ThrottledStream]) -> None:
        self._listener = listener
        self._wrap = wrap

    async def accept(self) -> ThrottledStream:
        return self._wrap(await self._listener.accept())

    async def aclose(self) -> None:
        await self._listener.aclose()


class _ThrottledDatagrams:
    """Satisfies ``dht.socket.DatagramSocket``."""

    def __init__(self, socket: DatagramSocket, up: Limit, down: Limit) -> None:
        self._socket = socket
        self._up = up
        self._down = down

    @property
    def address(self) -> Address:
        return self._socket.address

    async def send(self, data: bytes, to: Address) -> None:
        if self._up.none or await self._up.take_datagram(len(data)):
            await self._socket.send(data, to)

    async def receive(self) -> tuple[bytes, Address]:
        data, source = await self._socket.receive()
        self._down.count_datagram(len(data))
        return data, source

    def close(self) -> None:
        self._socket.close()


class _ThrottledTransport:
    """Another transport's sockets, all under the same two limits. Satisfies ``node.net.transport.Transport``."""

    def __init__(self, transport: Transport, up: Limit, down: Limit) -> None:
        self._transport = transport
        self._up = up
        self._down = down

    def _wrap(self, stream: Stream) -> ThrottledStream:
        below = _system_stream(stream)
        if below is not None and self._down.window_bytes is not None:
            with suppress(OSError):  # the connection is lost, which receiving will tell
                below.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, self._down.window_bytes)
        return ThrottledStream(stream, self._up, self._down)

    async def dial(self, address: Address) -> ThrottledStream:
        return self._wrap(await self._transport.dial(address))

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        listener, bound = await self._transport.listen(address)
        return _ThrottledListener(listener, self._wrap), bound

    async def open_udp(self, address: Address) -> DatagramSocket:
        return _ThrottledDatagrams(await self._transport.open_udp(address), self._up, self._down)
