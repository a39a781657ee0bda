"""How much a server takes on at once: connections, in all and from one neighbour, and memory for bodies."""

import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from dht.contact import subnet
from node.store.refusal import Refusal
from protocol.messages import ErrorCode

MAX_CONNECTIONS = 320
MAX_PER_NEIGHBOUR = 64
"""From one public IPv4 address or IPv6 /64. Loopback and private ranges are one neighbour to us, and share all."""
BUDGET_BLOCKS = 128
"""Blocks of all bodies on their way at once: 16 MiB. With it a node stays below 100 MB, whatever peers do."""
NEIGHBOUR_SHARE = 4
"""One neighbour, here a public /24 or /48, may hold one part in so many of the budget."""
STEP_BLOCKS = 16
"""Blocks of one body on their way at once, when there is room: 2 MiB, a whole chunk of the usual kind."""
_ROOM_PARTS = 8
"""One body gets no more than one part in so many of what is left."""
BUSY_SECONDS = 5.0
"""How long a request waits for memory before it is answered with `busy`."""


class Connections:
    """Counts open connections. Where there is no room, whoever has been longest at its handshake makes room.

    So connections that say nothing keep nobody out, however many there are: a peer is done with it in two round trips.
    Who has said the first half of it goes behind all that are there then, once: were the silent ones always the first
    to go, a byte each would do to keep newcomers out.
    """

    def __init__(self, *, total: int = MAX_CONNECTIONS, per_neighbour: int = MAX_PER_NEIGHBOUR) -> None:
        self._total = total
        self._per_neighbour = per_neighbour
        self._open = 0
        self._from: Counter[str] = Counter()
        self._half_open: dict[trio.CancelScope, None] = {}  # in the order in which they go

    @property
    def open(self) -> int:
        return self._open

    def enter(self, host: str | None) -> bool:
        """Count a connection from ``host``; False when there are too many, and then it is not counted."""
        neighbour = _neighbour(host)
        if neighbour and self._from[neighbour] >= self._per_neighbour:
            return False
        if self._open >= self._total and not self._drop_half_open():
            return False
        self._open += 1
        self._from[neighbour] += 1
        return True

    @contextmanager
    def half_open(self, handshake: trio.CancelScope) -> Iterator[Callable[[], None]]:
        """Inside, ``handshake`` may be cancelled to make room for somebody else. To be told when it was answered."""

        def answered() -> None:
            if handshake in self._half_open:
                del self._half_open[handshake]
                self._half_open[handshake] = None

        self._half_open[handshake] = None
        try:
            yield answered
        finally:
            self._half_open.pop(handshake, None)

    def _drop_half_open(self) -> bool:
        """Cancel the first handshake in line; it leaves as soon as its task runs. False when there is none."""
        for handshake in self._half_open:
            del self._half_open[handshake]
            handshake.cancel()
            return True
        return False

    def leave(self, host: str | None) -> None:
        """Undo :meth:`enter`."""
        neighbour = _neighbour(host)
        self._open -= 1
        self._from[neighbour] -= 1
        if not self._from[neighbour]:
            del self._from[neighbour]


def _neighbour(host: str | None) -> str:
    """What counts as one neighbour; empty for those that are not counted."""
    if host is None:
        return ""
    address = ipaddress.ip_address(host)
    if not address.is_global:
        return ""
    return host if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class Memory:
    """Shares out memory for bodies. The fewer blocks are left, the shorter the steps.

    Peers that hold what they have been granted for long cannot take all: those of one neighbour have a share, which is
    shared out among them by the same rule. Loopback and private addresses have no share but the whole.
    """

    def __init__(self, blocks: int = BUDGET_BLOCKS) -> None:
        self._free = blocks
        self._share = max(1, blocks // NEIGHBOUR_SHARE)
        self._held: Counter[bytes] = Counter()
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def take(self, wanted: int, host: str | None = None) -> AsyncIterator[int]:
        """Grant 1 to ``wanted`` blocks until the end of the ``with``; first come, first served.

        Args:
            wanted: Blocks.
            host: Who holds them.

        Raises:
            Refusal: busy.
        """
        neighbour = None if host is None else subnet(host)
        room = self._room(neighbour)
        if room and not any(self._room(waiter.neighbour) for waiter in self._waiting):
            granted = max(1, min(wanted, room // _ROOM_PARTS, STEP_BLOCKS))
            self._grant(granted, neighbour)
        else:
            await self._queue(neighbour)
            granted = 1
        try:
            yield granted
        finally:
            self._release(granted, neighbour)

    def _room(self, neighbour: bytes | None) -> int:
        """Blocks that this neighbour may have now."""
        return self._free if neighbour is None else min(self._free, self._share - self._held[neighbour])

    def _grant(self, blocks: int, neighbour: bytes | None) -> None:
        self._free -= blocks
        if neighbour is not None:
            self._held[neighbour] += blocks

    async def _queue(self, neighbour: bytes | None) -> None:
        """Wait for one block, which whoever releases it hands over."""
        waiter = _Waiter(neighbour)
        self._waiting.append(waiter)
        try:
            with trio.fail_after(BUSY_SECONDS):
                await waiter.granted.wait()
        except BaseException as exc:  # also when cancelled: a block handed over just now goes to the next
            if waiter.granted.is_set():
                self._release(1, neighbour)
            else:
                self._waiting.remove(waiter)
            if isinstance(exc, trio.TooSlowError):
                raise Refusal(ErrorCode.BUSY, "too many requests at once") from exc
            raise

    def _release(self, blocks: int, neighbour: bytes | None) -> None:
        self._free += blocks
        if neighbour is not None:
            self._held[neighbour] -= blocks
            if not self._held[neighbour]:
                del self._held[neighbour]
        while waiter := next((waiter for waiter in self._waiting if self._room(waiter.neighbour)), None):
            self._waiting.remove(waiter)
            self._grant(1, waiter.neighbour)
            waiter.granted.set()


@dataclass(slots=True, eq=False)
class _Waiter:
    neighbour: bytes | None
    granted: trio.Event = field(default_factory=trio.Event)
