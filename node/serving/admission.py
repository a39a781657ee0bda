"""How much a server takes on at once: connections, in all and from one neighbour, and memory for bodies."""

import ipaddress
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.store.refusal import Refusal
from protocol.messages import ErrorCode

MAX_CONNECTIONS = 320
MAX_PER_NEIGHBOUR = 64
"""From one public IPv4 address or IPv6 /64. Loopback and private ranges are one neighbour to us, and share all."""
BUDGET_BLOCKS = 96
"""Blocks of all bodies on their way at once: 12 MiB. With it a node stays below 100 MB, whatever peers do."""
STEP_BLOCKS = 8
"""Blocks of one body on their way at once, when there is room: 1 MiB."""
BUSY_SECONDS = 5.0
"""How long a request waits for memory before it is answered with `busy`."""


class Connections:
    """Counts open connections."""

    def __init__(self, *, total: int = MAX_CONNECTIONS, per_neighbour: int = MAX_PER_NEIGHBOUR) -> None:
        self._total = total
        self._per_neighbour = per_neighbour
        self._open = 0
        self._from: Counter[str] = Counter()

    @property
    def open(self) -> int:
        return self._open

    def enter(self, host: str | None) -> bool:
        """Count a connection from ``host``; False when there are too many, and then it is not counted."""
        neighbour = _neighbour(host)
        if self._open >= self._total or (neighbour and self._from[neighbour] >= self._per_neighbour):
            return False
        self._open += 1
        self._from[neighbour] += 1
        return True

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
    """Shares out memory for bodies. The fewer blocks are left, the shorter the steps: slow peers cannot take all."""

    def __init__(self, blocks: int = BUDGET_BLOCKS) -> None:
        self._free = blocks
        self._waiting: deque[trio.Event] = deque()

    @asynccontextmanager
    async def take(self, wanted: int) -> AsyncIterator[int]:
        """Grant 1 to ``wanted`` blocks until the end of the ``with``; first come, first served.

        Raises:
            Refusal: busy.
        """
        if self._free and not self._waiting:
            granted = max(1, min(wanted, self._free // STEP_BLOCKS, STEP_BLOCKS))
            self._free -= granted
        else:
            await self._queue()
            granted = 1
        try:
            yield granted
        finally:
            self._release(granted)

    async def _queue(self) -> None:
        """Wait for one block, which whoever releases it hands over."""
        event = trio.Event()
        self._waiting.append(event)
        try:
            with trio.fail_after(BUSY_SECONDS):
                await event.wait()
        except BaseException as exc:  # also when cancelled: a block handed over just now goes to the next
            if event.is_set():
                self._release(1)
            else:
                self._waiting.remove(event)
            if isinstance(exc, trio.TooSlowError):
                raise Refusal(ErrorCode.BUSY, "too many requests at once") from exc
            raise

    def _release(self, blocks: int) -> None:
        self._free += blocks
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().set()
