"""Where tasks of the network in memory wait for something to change."""

import math
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Lot:
    """Where tasks wait for something to change."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        self._lot.unpark_all()

    async def wait(self, ready: Callable[[], T | None], due: Callable[[], float] = lambda: math.inf) -> T:
        """Wait until ``ready`` gives something; it is asked again at ``due()`` and after each wake()."""
        await trio.lowlevel.checkpoint()
        while (result := ready()) is None:
            with trio.move_on_at(due()):
                await self._lot.park()
        return result
