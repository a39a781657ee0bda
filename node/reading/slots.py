"""How many may do something at once; who comes then waits, though not for ever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.errors import NetworkError

WAIT_SECONDS = 30.0


class Slots:
    """Places for those who do what takes memory."""

    def __init__(self, count: int, doing: str) -> None:
        """
        Args:
            count: Places, 1 or more.
            doing: What is done there, for the error: ``reading files``.
        """
        self._semaphore = trio.Semaphore(count)
        self._doing = doing

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """With a place, which is waited for at most 30 seconds.

        Raises:
            NetworkError: None became free.
        """
        with trio.move_on_after(WAIT_SECONDS) as scope:
            await self._semaphore.acquire()
        if scope.cancelled_caught:
            raise NetworkError(f"too many are {self._doing} at once", hint="try again")
        try:
            yield
        finally:
            self._semaphore.release()
