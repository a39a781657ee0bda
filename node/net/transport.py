"""Where sockets come from: the machine's own, or a test's network in memory.

Everything in this package dials and listens through a ``Transport``, so that many nodes run in one test process on a
network that delays, refuses and cuts as told.
"""

import errno
import ipaddress
import logging
import math
import socket
from contextlib import suppress
from typing import Protocol

import trio
from trio.abc import Listener, Stream

from dht.socket import DatagramSocket, open_udp
from protocol.ids import Address

_SEND_AHEAD_BYTES = 512 * 1024
"""What the system may hold of one connection before it is sent: as much as a channel encrypts at once."""
_BACKLOG = 512  # a publisher with many deposits in flight connects in bursts
_OVERLOADED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RETRY_SECONDS = 0.1
_WARN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Transport(Protocol):
    """Opens streams, listeners and datagram sockets."""

    async def dial(self, address: Address) -> Stream:
        """Connect to ``address``. Raises OSError; the deadline is the caller's."""
        ...

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        """Listen on ``address`` (port 0: any free one); also says the address that was bound. Raises OSError."""
        ...

    async def open_udp(self, address: Address) -> DatagramSocket:
        """Bind a datagram socket to ``address``. Raises OSError."""
        ...


class SystemTransport:
    """The machine's own sockets."""

    async def dial(self, address: Address) -> trio.SocketStream:
        sock = trio.socket.socket(_family(address.host), trio.socket.SOCK_STREAM)
        try:
            await sock.connect((address.host, address.port))
        except BaseException:  # also when cancelled: the socket must not outlive the attempt
            sock.close()
            raise
        return _tuned(trio.SocketStream(sock))

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        family = _family(address.host)
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            if family == trio.socket.AF_INET6:
                sock.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, address.host != "::")
            await sock.bind((address.host, address.port))
            sock.listen(_BACKLOG)
        except BaseException:  # also when cancelled, as above
            sock.close()
            raise
        bound = sock.getsockname()
        return _TunedListener(trio.SocketListener(sock)), Address(bound[0], bound[1])

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await open_udp(address)


class _TunedListener(Listener[trio.SocketStream]):
    """A socket listener whose streams are set up for bulk. While the system has no room for one, they wait in line."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._warned_at = -math.inf

    async def accept(self) -> trio.SocketStream:
        # trio.serve_listeners would try again as well, but log an error with a traceback each time, ten in a
        # second, as long as somebody keeps our descriptors busy.
        while True:
            try:
                return _tuned(await self._listener.accept())
            except OSError as exc:
                if exc.errno not in _OVERLOADED:
                    raise
                self._warn(exc)
                await trio.sleep(_RETRY_SECONDS)

    def _warn(self, exc: OSError) -> None:
        """Say it once a minute: it is tried again ten times a second."""
        if trio.current_time() >= self._warned_at + _WARN_SECONDS:
            self._warned_at = trio.current_time()
            log.warning("cannot accept connections: %s", exc.strerror)

    async def aclose(self) -> None:
        await self._listener.aclose()


def _tuned(stream: trio.SocketStream) -> trio.SocketStream:
    """Let a send run on well ahead of the network. Trio's own 16 KiB suits chat, and takes a third off our speed."""
    if hasattr(trio.socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):
            stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, _SEND_AHEAD_BYTES)
    return stream


def _family(host: str) -> int:
    return trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET


def is_unspecified(host: str) -> bool:
    """Whether ``host`` means "every address of this machine", which no peer can dial."""
    return ipaddress.ip_address(host).is_unspecified


def peer_address(stream: Stream) -> Address | None:
    """Where the other end of ``stream`` is; None when it went away already or the stream has no address."""
    given = getattr(stream, "peer_address", None)  # what a network in memory says
    if isinstance(given, Address):
        return given
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None
    host = ipaddress.ip_address(name[0].partition("%")[0])
    mapped = getattr(host, "ipv4_mapped", None)  # IPv4 that came in by the socket of "::"
    return Address(str(mapped or host), name[1])


def outbound_host(*, version: int) -> str:
    """The address this machine would send from to the internet; loopback when it has no route out. Sends nothing.

    Args:
        version: 4 or 6.
    """
    family, target, loopback = (
        (socket.AF_INET, "192.0.2.1", "127.0.0.1") if version == 4 else (socket.AF_INET6, "2001:db8::1", "::1")
    )
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # the documentation ranges: chosen for the routing table's answer alone
        except OSError:
            return loopback
        host: str = probe.getsockname()[0]
    return host
