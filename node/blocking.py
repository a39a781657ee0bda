"""How disk and CPU work leaves the event loop.

Whatever may take over a millisecond (fsync, hashing or coding a megabyte) is handed to a ``Blocking``. Tests hand in
one that calls straight through: trio's MockClock would jump while a thread works.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Blocking(Protocol):
    """Runs a synchronous function without holding up the event loop."""

    async def __call__(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return ``fn(*args)``. The call is never abandoned: when cancelled, it first waits for ``fn`` to end."""
        ...


class ThreadBlocking:
    """Worker threads, at most ``limit`` at a time; further calls queue in order."""

    def __init__(self, limit: int) -> None:
        """Args:
        limit: Threads at once, 1 or more. Each may hold one step of a body (1 MiB).
        """
        self._limiter = trio.CapacityLimiter(limit)

    async def __call__(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(fn, *args, limiter=self._limiter)


class InlineBlocking:
    """Calls straight through, for tests under a mock clock."""

    async def __call__(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return fn(*args)
