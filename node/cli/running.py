"""From a command's function to an event loop and back; standard input for what runs there."""

import gc
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from node.errors import ConfigError
from node.slowsteps import instruments

T = TypeVar("T")

_LOOK_UP_SECONDS = 0.1
"""How long a thread waits for standard input before it looks whether it is still wanted."""
_READ_BYTES = 1 << 20
_COLLECT_AFTER = (10_000, 20, 100)
"""Allocations, and rounds, between two searches for garbage: the usual (700, 10, 10) go over a manifest of many
thousand entries again and again while it is made, and nothing else runs meanwhile."""


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` to its end; SIGTERM interrupts it as Ctrl-C does.

    Either comes to this function's own task, where it waits, and from there to all others. Raised wherever the
    interpreter happens to be, as Python does it, Ctrl-C gets lost in a callback whose errors are dropped, or comes in
    the middle of a change that is not meant to be left half done.
    """

    async def main() -> T:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_interrupt_on_sigterm)
            result = await work()
            nursery.cancel_scope.cancel()
        return result

    gc.freeze()  # what has been imported stays
    gc.set_threshold(*_COLLECT_AFTER)
    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True, instruments=instruments(os.environ))


async def _interrupt_on_sigterm() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


class StandardInput:
    """Standard input, for a worker thread of trio: interrupted, it stops waiting for what may never come."""

    def __init__(self) -> None:
        if sys.stdin is None:
            raise ConfigError("standard input is closed")
        self._handle = sys.stdin.fileno()

    def read(self, size: int) -> bytes:
        """1 to ``size`` bytes; none at the end. Raises OSError."""
        while not select.select([self._handle], [], [], _LOOK_UP_SECONDS)[0]:
            trio.from_thread.check_cancelled()
        return os.read(self._handle, min(size, _READ_BYTES))
