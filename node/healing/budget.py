"""What repair may take of this node's line."""

import trio

_BURST_SECONDS = 10.0


class Budget:
    """Bytes that come at a steady rate. Whoever takes more than are there waits until the debt is paid."""

    def __init__(self, rate: float) -> None:
        """``rate``: bytes a second, both ways together."""
        self._rate = rate
        self._room = rate * _BURST_SECONDS
        self._filled = 0.0
        self._turn = trio.Lock()

    async def take(self, count: int) -> None:
        """Wait for one's turn and, if others have used up what there was, until it has come again."""
        async with self._turn:
            now = trio.current_time()
            self._room = min(self._rate * _BURST_SECONDS, self._room + (now - self._filled) * self._rate)
            self._filled = now
            if self._room < 0:
                await trio.sleep(-self._room / self._rate)
            self._room -= count
