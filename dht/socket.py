"""Datagrams in and out: what the DHT needs of a network, and the real thing on UDP."""

import ipaddress
import socket as stdlib
from functools import lru_cache
from typing import Protocol

import trio

from protocol.ids import Address

_BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel, which gives what it may: a burst of announcements must not overflow it."""
_TURN = 16
"""Datagrams received in a row before other tasks get a turn."""
_SEND_SECONDS = 0.2
"""How long a full send buffer may hold a datagram up. After that it counts as lost, as UDP allows."""
_READ_BYTES = 2048
"""More than any datagram of ours: a longer one arrives cut, but still too long, and is dropped for it."""


class DatagramSocket(Protocol):
    """Unreliable datagrams: each may be lost, repeated or late, and nothing says so."""

    @property
    def address(self) -> Address:
        """Where this socket receives; the port is the real one."""

    async def send(self, data: bytes, to: Address) -> None:
        """Send, or lose, a datagram. Raises trio.ClosedResourceError after close(), nothing else."""

    async def receive(self) -> tuple[bytes, Address]:
        """The next datagram and its source. Raises trio.ClosedResourceError after close(), nothing else."""

    def close(self) -> None:
        """Stop receiving. May be called twice."""


@lru_cache(4096)
def _plain(host: str) -> str:
    """The canonical text of an IPv6 source: no zone, and IPv4 as IPv4."""
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or address)


class UdpSocket:
    """A bound UDP socket. Not trio's: that one resolves names and takes a turn for every datagram."""

    def __init__(self, sock: stdlib.socket) -> None:
        """Take over a bound, non-blocking socket."""
        self._socket = sock
        self._six = sock.family == stdlib.AF_INET6
        name = sock.getsockname()
        self.address = Address(_plain(name[0]) if self._six else name[0], name[1])
        self._streak = 0

    async def send(self, data: bytes, to: Address) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        host = f"::ffff:{to.host}" if self._six and ":" not in to.host else to.host
        if self._sent(data, (host, to.port)):
            return
        with trio.move_on_after(_SEND_SECONDS):  # the buffer is full, which is rare: only now does it cost a scope
            while not self._sent(data, (host, to.port)):
                await trio.lowlevel.wait_writable(self._socket)

    def _sent(self, data: bytes, to: tuple[str, int]) -> bool:
        """Whether the datagram is on its way or lost; False: it has to wait."""
        try:
            self._socket.sendto(data, to)
        except BlockingIOError:
            return False
        except OSError:  # no route, refused, wrong family: to the sender all of them are a lost datagram
            self._check_open()
        return True

    async def receive(self) -> tuple[bytes, Address]:
        self._streak += 1
        if self._streak >= _TURN:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                data, source = self._socket.recvfrom(_READ_BYTES)
                if source[1]:  # port 0 cannot be answered
                    return data, Address(_plain(source[0]) if self._six else source[0], source[1])
            except BlockingIOError:
                self._streak = 0
                await trio.lowlevel.wait_readable(self._socket)
            except OSError:  # an ICMP error about something sent earlier: nothing was received, nothing is wrong
                self._check_open()
                await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("the socket is closed")

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def open_udp(address: Address) -> UdpSocket:
    """Bind a UDP socket; port 0 lets the kernel choose. ``::`` takes IPv4 as well.

    Raises:
        OSError: The address is taken or not ours.
    """
    six = ":" in address.host
    sock = stdlib.socket(stdlib.AF_INET6 if six else stdlib.AF_INET, stdlib.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if six:
            sock.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, address.host != "::")
        for option in (stdlib.SO_RCVBUF, stdlib.SO_SNDBUF):
            sock.setsockopt(stdlib.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.bind((address.host, address.port))
    except BaseException:  # whatever it was, the socket must not stay open
        sock.close()
        raise
    await trio.lowlevel.checkpoint()
    return UdpSocket(sock)
