"""Memory for sealed segments on their way, shared by all who ask."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import trio

from node.errors import NetworkError
from protocol.segment import MAX_BLOCKS, SEALED_BLOCK_BYTES

WHOLE_BYTES = MAX_BLOCKS * SEALED_BLOCK_BYTES
"""The sealed blocks of the longest segment."""
ROOM_BYTES = 5 * WHOLE_BYTES
"""For all clients together. What has to be rebuilt takes up to half as much again of what it was granted."""
WAIT_SECONDS = 30.0
"""How long a client waits for memory."""


class Room:
    """Grants memory, or places, first come, first served; to one client no more than a quarter of it.

    Some is kept for the user of this node, however many clients there are.
    """

    def __init__(self, most: int = ROOM_BYTES, kept: int = WHOLE_BYTES) -> None:
        """Args:
        most: Bytes, or places, that there are.
        kept: Of these, what all clients together leave.
        """
        self._all = _Part(most)
        self._clients = _Part(most - kept)
        self._shares: dict[str, _Part] = {}

    @property
    def free(self) -> int:
        return self._all.free

    @asynccontextmanager
    async def take(self, size: int = 1, client: str = "") -> AsyncIterator[None]:
        """Have ``size`` of it, at most all there is, until the end of the ``with``.

        Args:
            size: How much.
            client: Who else has to wait when this one has much already; empty: the user of this node.

        Raises:
            NetworkError: Others had it for 30 seconds.
        """
        parts = [self._all]
        if client:  # whoever waits for its own does not keep others waiting, nor do clients the user
            share = self._shares.setdefault(client, _Part(max(1, self._all.most // 4)))
            share.users += 1
            parts = [share, self._clients, self._all]
        try:
            with ExitStack() as having:
                with trio.move_on_after(WAIT_SECONDS) as scope:
                    for part in parts:
                        having.callback(part.put, await part.get(size))
                if scope.cancelled_caught:
                    raise NetworkError("this node moves too many segments at once", hint="try again in a moment")
                yield
        finally:
            if client:
                share.users -= 1
                if not share.users:
                    del self._shares[client]


class _Part:
    """What some may have of it together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.free = most
        self.users = 0
        self._turn = trio.Lock()
        self._freed = trio.Event()

    async def get(self, size: int) -> int:
        """Returns what was granted: at most all of it."""
        size = min(size, self.most)
        async with self._turn:
            while self.free < size:
                self._freed = trio.Event()
                await self._freed.wait()
            self.free -= size
        return size

    def put(self, size: int) -> None:
        self.free += size
        self._freed.set()
