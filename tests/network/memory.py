"""A network in memory: UDP and TCP between hosts, on trio's clock, with faults drawn from a seed.

A :class:`MemoryHost` opens sockets as ``node.net.transport.Transport`` does. With ``MockClock(autojump_threshold=0)``
hours pass in no time, and a run repeats exactly. Nothing here needs a nursery: a datagram or a byte carries the moment
at which it arrives, and whoever receives waits for that.

Faults: every datagram may be lost, doubled, damaged or late; a host may be killed (connections break, dials are
refused), cut off (nothing gets in or out, and nobody is told), frozen (as by SIGSTOP), slow, or half-open: by TCP it
takes what comes and never answers, or what it answers is lost. Its streams may be damaged, or torn at any byte.
"""

import errno
import heapq
import math
import os
from collections.abc import Callable
from itertools import count
from random import Random
from weakref import WeakSet

import trio

from dht.socket import DatagramSocket
from protocol.ids import Address
from tests.network.lot import Lot
from tests.network.streams import WINDOW_BYTES, Line, MemoryListener, MemoryStream, Pipe

INBOX = 1024
"""Datagrams a socket keeps; the kernel drops more, too."""
BACKLOG = 512
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
        self.on_piece: Callable[[bytes, str, str], None] = lambda data, source, to: None
        """Sees every piece given to a stream; an empty one is its end."""
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

    def spoil(self, data: bytes, damage: float = 0.0) -> bytes:
        """Perhaps change a byte, more likely so with a chance of its own."""
        if not data or self.random.random() >= max(self.damage, damage):
            return data
        at = self.random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ self.random.randrange(1, 256)]) + data[at + 1 :]


class MemoryHost:
    """A machine: its sockets and its state. Satisfies ``node.net.transport.Transport``."""

    def __init__(self, network: MemoryNetwork, ip: str) -> None:
        self.network = network
        self.ip = ip
        self.bytes_per_second = math.inf
        """Of each stream it sends on."""
        self.uplink = Line()
        self.downlink = Line()
        self.damage = 0.0
        """Chance that a byte of a piece it sends on a stream is changed."""
        self.tearing = 0.0
        """Chance that a stream is reset in the middle of a piece it sends."""
        self.is_cut = False
        self.is_frozen = False
        self.is_mute = False
        self.is_swallowing = False
        """What it sends on a stream never arrives, nor does anything after it; datagrams do."""
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

    def mute(self, value: bool = True) -> None:
        """By TCP it accepts, and hears nothing (or does again, what has come meanwhile, too); by UDP it answers."""
        self.is_mute = value
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
        there_and_back = ((self.ip, address.host), (address.host, self.ip))
        await self._lot.wait(lambda: all(network.reaches(*way) for way in there_and_back) or None)
        await trio.sleep(2 * network.delay(self.ip, address.host))
        there = network.hosts.get(address.host)
        listener = None if there is None else there.listeners.get(address.port)
        if there is None or listener is None or len(listener.queue) >= BACKLOG:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours = Address(self.ip, next(self._ports))
        out, back = Pipe(self, there), Pipe(there, self)
        out.twin, back.twin = back, out
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


__all__ = [
    "BACKLOG",
    "INBOX",
    "WINDOW_BYTES",
    "MemoryDatagrams",
    "MemoryHost",
    "MemoryListener",
    "MemoryNetwork",
    "MemoryStream",
]
