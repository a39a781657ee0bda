"""Memory for sealed segments on their way, shared by all who ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.errors import NetworkError
from protocol.segment import MAX_BLOCKS, SEALED_BLOCK_BYTES

WHOLE_BYTES = MAX_BLOCKS * SEALED_BLOCK_BYTES
"""The sealed blocks of the longest segment."""
ROOM_BYTES = 4 * WHOLE_BYTES
"""For all clients together. What has to be rebuilt takes up to half as much again of what it was granted."""
WAIT_SECONDS = 30.0
"""How long a client waits for memory."""


class Room:
    """Grants memory, or places, first come, first served; to one client no more than half of it."""

    def __init__(self, most: int = ROOM_BYTES) -> None:
        """Args:
        most: Bytes, or places, that there are.
        """
        self.most = most
        self.free = most
        self._turn = trio.Lock()
        self._freed = trio.Event()
        self._shares: dict[str, Room] = {}
        self._users = 0

    @asynccontextmanager
    async def take(self, size: int = 1, client: str = "") -> AsyncIterator[None]:
        """Have ``size`` of it, at most all there is, until the end of the ``with``.

        Args:
            size: How much.
            client: Who else has to wait when this one has much already; empty: it may have all.

        Raises:
            NetworkError: Others had it for 30 seconds.
        """
        if not client:
            async with self._grant(size):
                yield
            return
        share = self._shares.setdefault(client, Room(max(1, self.most // 2)))
        share._users += 1
        try:
            async with share._grant(size), self._grant(size):  # whoever waits for its own does not keep others waiting
                yield
        finally:
            share._users -= 1
            if not share._users:
                del self._shares[client]

    @asynccontextmanager
    async def _grant(self, size: int) -> AsyncIterator[None]:
        size = min(size, self.most)
        with trio.move_on_after(WAIT_SECONDS) as scope:
            async with self._turn:
                while self.free < size:
                    self._freed = trio.Event()
                    await self._freed.wait()
                self.free -= size
        if scope.cancelled_caught:
            raise NetworkError("this node moves too many segments at once", hint="try again in a moment")
        try:
            yield
        finally:
            self.free += size
            self._freed.set()
