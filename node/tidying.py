"""Memory that a load has left behind goes back to the system once the load is over.

Python keeps what it has freed, and finds late what only its collector can free: what was cancelled leaves frames that
refer to each other, with all that they held.
"""

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import trio

from node.blocking import Blocking
from node.buffers import Buffers

SECONDS = 20.0
"""Between two times. What nobody used for one to two of them goes."""


async def tidy(buffers: Buffers, blocking: Blocking) -> None:
    """Do so until cancelled.

    What is there when it begins stays as it is and is never looked at again, or each time would hold up everything
    else for 40 ms; with what comes after it, a few.

    Args:
        buffers: What is kept for the next, and may go.
        blocking: Runs what takes time.
    """
    gc.freeze()
    while True:
        await trio.sleep(SECONDS)
        buffers.sweep()
        gc.collect()
        await blocking(give_back)


def give_back() -> None:
    """Let the system have what the C library keeps free. It alone knows how: without it, nothing is done."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
