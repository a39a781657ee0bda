"""Work in the background that is done when somebody looks, and what is known is old."""

import math
from collections.abc import Awaitable, Callable

import trio


class Rounds:
    """Does one round after another, as long as somebody looks."""

    def __init__(self, work: Callable[[], Awaitable[None]], kept_seconds: float) -> None:
        """
        Args:
            work: A round. What it raises is a bug.
            kept_seconds: How long what it found is not looked for again.
        """
        self._work = work
        self._kept_seconds = kept_seconds
        self._wanted = trio.Event()
        self._ended_at = -math.inf

    @property
    def under_way(self) -> bool:
        """Whether a round is, or begins at once."""
        return self._wanted.is_set()

    def look(self) -> None:
        """Somebody looks."""
        if trio.current_time() >= self._ended_at + self._kept_seconds:
            self._wanted.set()

    def forget(self) -> None:
        """What was found holds no longer: the next look begins a round."""
        self._ended_at = -math.inf

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            await self._work()
            self._ended_at = trio.current_time()
            self._wanted = trio.Event()
