"""A network in memory: UDP and TCP between hosts, on trio's clock, with faults drawn from a seed.

A :class:`MemoryHost` opens sockets as ``node.net.transport.Transport`` does. With ``MockClock(autojump_threshold=0)``
hours pass in no time, and a run repeats exactly. Nothing here needs a nursery: a datagram or a byte carries the moment
at which it arrives, and whoever receives waits for that.

Faults: every datagram may be lost, doubled, damaged or late; a host may be killed (connections break, dials are
refused), cut off (nothing gets in or out, and nobody is told), frozen (as by SIGSTOP) or slow.
"""

import errno
import heapq
import math
import os
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import TypeVar
from weakref import WeakSet

import trio
from trio.abc import HalfCloseableStream, Listener

from dht.socket import DatagramSocket
from protocol.ids import Address

T = TypeVar("T")

INBOX = 1024
"""Datagrams a socket keeps; the kernel drops more, too."""
WINDOW_BYTES = 256 * 1024
BACKLOG = 512
_PIECE_BYTES = 64 * 1024
_EPHEMERAL = 49152


class MemoryNetwork:
    """Hosts and what lies between them."""

    def __init__(self, seed: int = 0, *, delay: float | Callable[[str, str], float] = 0.0) -> None:
        """Args:
        seed: Of all faults.
        delay: One-way seconds, or a function of the two IP addresses that says so.
        """
        self.random = Random(seed)
        self.jitter = 0.0
        """At most so many seconds more for a datagram, at random: they overtake each other."""
        self.loss = 0.0
        """Chance that a datagram is lost."""
        self.double = 0.0
        """Chance that a datagram arrives twice."""
        self.damage = 0.0
        """Chance that one byte of a datagram, or of a piece of a stream, is changed."""
        self.hosts: dict[str, MemoryHost] = {}
        self.partition: Callable[[str, str], bool] = lambda one, other: False
        """Whether two IP addresses cannot reach each other; call :meth:`changed` after changing it."""
        self.on_datagram: Callable[[bytes, Address, Address], None] = lambda data, source, to: None
        """Sees every datagram sent."""
        self._delay = delay
        self.serial = count()
        self._lots: WeakSet[Lot] = WeakSet()

    def host(self, ip: str) -> "MemoryHost":
        """The host of this address, made when first asked for."""
        if ip not in self.hosts:
            self.hosts[ip] = MemoryHost(self, ip)
        return self.hosts[ip]

    def delay(self, source: str, to: str) -> float:
        return self._delay(source, to) if callable(self._delay) else self._delay

    def changed(self) -> None:
        """Let everybody who waits look again."""
        for lot in list(self._lots):
            lot.wake()

    def lot(self) -> "Lot":
        lot = Lot()
        self._lots.add(lot)
        return lot

    def reaches(self, source: str, to: str) -> bool:
        if source == to:
            return True
        cut = any(ip in self.hosts and self.hosts[ip].is_cut for ip in (source, to))
        return not cut and not self.partition(source, to)

    def spoil(self, data: bytes) -> bytes:
        """Perhaps change a byte."""
        if not data or self.random.random() >= self.damage:
            return data
        at = self.random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ self.random.randrange(1, 256)]) + data[at + 1 :]


class Lot:
    """Where tasks wait for something to change."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        self._lot.unpark_all()

    async def wait(self, ready: Callable[[], T | None], due: Callable[[], float] = lambda: math.inf) -> T:
        """Wait until ``ready`` gives something; it is asked again at ``due()`` and after each wake()."""
        await trio.lowlevel.checkpoint()
        while (result := ready()) is None:
            with trio.move_on_at(due()):
                await self._lot.park()
        return result


class MemoryHost:
    """A machine: its sockets and its state. Satisfies ``node.net.transport.Transport``."""

    def __init__(self, network: MemoryNetwork, ip: str) -> None:
        self.network = network
        self.ip = ip
        self.bytes_per_second = math.inf
        """Of each stream it sends on."""
        self.is_cut = False
        self.is_frozen = False
        self.datagram_sockets: dict[int, MemoryDatagrams] = {}
        self.listeners: dict[int, MemoryListener] = {}
        self.streams: set[MemoryStream] = set()
        self._ports = count(_EPHEMERAL)
        self._lot = network.lot()

    def kill(self) -> None:
        """The process is gone: its sockets are closed, and the other ends are told."""
        for sock in list(self.datagram_sockets.values()):
            sock.close()
        for listener in list(self.listeners.values()):
            listener.shut()
        for stream in list(self.streams):
            stream.abort()

    def cut(self, value: bool = True) -> None:
        """The cable is out (or in again): silence in both directions."""
        self.is_cut = value
        self.network.changed()

    def freeze(self, value: bool = True) -> None:
        """It stands still (or goes on): nothing is sent or received, what arrives is kept."""
        self.is_frozen = value
        self.network.changed()

    async def pause(self) -> None:
        """Wait while frozen."""
        await self._lot.wait(lambda: None if self.is_frozen else True)

    def _port(self, wanted: Address, taken: "dict[int, MemoryDatagrams] | dict[int, MemoryListener]") -> Address:
        if wanted.host not in (self.ip, "0.0.0.0", "::"):
            raise OSError(f"cannot bind {wanted} on {self.ip}")
        port = wanted.port or next(self._ports)
        if port in taken:
            raise OSError(f"{wanted} is in use")
        return Address(self.ip, port)

    async def open_udp(self, address: Address) -> DatagramSocket:
        """Bind a datagram socket. Raises OSError."""
        await trio.lowlevel.checkpoint()
        bound = self._port(address, self.datagram_sockets)
        sock = self.datagram_sockets[bound.port] = MemoryDatagrams(self, bound)
        return sock

    async def listen(self, address: Address) -> "tuple[MemoryListener, Address]":
        """Bind a listener. Raises OSError."""
        await trio.lowlevel.checkpoint()
        bound = self._port(address, self.listeners)
        listener = self.listeners[bound.port] = MemoryListener(self, bound)
        return listener, bound

    async def dial(self, address: Address) -> "MemoryStream":
        """Connect. Raises ConnectionRefusedError; waits for ever on a host that cannot be reached."""
        await self.pause()
        network = self.network
        await self._lot.wait(lambda: network.reaches(self.ip, address.host) or None)
        await trio.sleep(2 * network.delay(self.ip, address.host))
        there = network.hosts.get(address.host)
        listener = None if there is None else there.listeners.get(address.port)
        if there is None or listener is None or len(listener.queue) >= BACKLOG:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours = Address(self.ip, next(self._ports))
        out, back = _Pipe(self, there), _Pipe(there, self)
        stream = MemoryStream(self, address, out, back)
        listener.queue.append(MemoryStream(there, ours, back, out))
        listener.lot.wake()
        return stream


class MemoryDatagrams:
    """A datagram socket. Satisfies ``dht.socket.DatagramSocket``."""

    def __init__(self, host: MemoryHost, address: Address) -> None:
        self.address = address
        self._host = host
        self._lot = host.network.lot()
        self._inbox: list[tuple[float, int, bytes, Address]] = []
        self._closed = False

    async def send(self, data: bytes, to: Address) -> None:
        await self._host.pause()
        self._check()
        network = self._host.network
        network.on_datagram(data, self.address, to)
        if not network.reaches(self.address.host, to.host) or network.random.random() < network.loss:
            return
        there = network.hosts.get(to.host)
        sock = None if there is None else there.datagram_sockets.get(to.port)
        for _ in range(2 if network.random.random() < network.double else 1):
            if sock is not None:
                late = network.random.random() * network.jitter
                due = trio.current_time() + network.delay(self.address.host, to.host) + late
                sock.put(due, network.spoil(data), self.address)

    def put(self, due: float, data: bytes, source: Address) -> None:
        """A datagram that arrives at ``due``."""
        if len(self._inbox) < INBOX:
            heapq.heappush(self._inbox, (due, next(self._host.network.serial), data, source))
            self._lot.wake()

    async def receive(self) -> tuple[bytes, Address]:
        return await self._lot.wait(self._next, self._due)

    def _due(self) -> float:
        return self._inbox[0][0] if self._inbox and not self._host.is_frozen else math.inf

    def _next(self) -> tuple[bytes, Address] | None:
        self._check()
        if self._host.is_frozen or not self._inbox or self._inbox[0][0] > trio.current_time():
            return None
        return heapq.heappop(self._inbox)[2:]

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the socket is closed")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            del self._host.datagram_sockets[self.address.port]
            self._lot.wake()


class _Pipe:
    """One direction of a stream: pieces of bytes, each with the moment it arrives. An empty one is the end."""

    def __init__(self, source: MemoryHost, to: MemoryHost) -> None:
        self.source = source
        self.to = to
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.free_at = 0.0
        self.ended = False
        self.broken = False
        self.lot = source.network.lot()

    @property
    def network(self) -> MemoryNetwork:
        return self.source.network

    def due(self) -> float:
        return self.pieces[0][0] if self.pieces and self.pieces[0][0] > trio.current_time() else math.inf

    def room(self) -> bool | None:
        """Whether a piece may be sent now."""
        return True if self.broken or (self.size < WINDOW_BYTES and not self.source.is_frozen) else None

    def put(self, data: bytes) -> None:
        now = trio.current_time()
        self.free_at = max(self.free_at, now) + len(data) / self.source.bytes_per_second
        self.pieces.append((self.free_at + self.network.delay(self.source.ip, self.to.ip), self.network.spoil(data)))
        self.size += len(data)
        self.lot.wake()

    def get(self, most: int) -> bytes | None:
        """Bytes that have arrived, b"" at the end, None: wait."""
        if self.broken:
            raise trio.BrokenResourceError("connection reset")
        held = self.to.is_frozen or not self.network.reaches(self.source.ip, self.to.ip)
        if held or not self.pieces or self.pieces[0][0] > trio.current_time():
            return None
        due, data = self.pieces.popleft()
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

    def __init__(self, host: MemoryHost, peer_address: Address, out: _Pipe, back: _Pipe) -> None:
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

    def __init__(self, host: MemoryHost, address: Address) -> None:
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
        return self.queue.popleft() if self.queue and not self._host.is_frozen else None

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
