"""Large buffers used again.

A buffer of megabytes comes fresh from the system each time, page by page as it is touched: that costs more than
encrypting what goes into it (docs/benchmarks.md).
"""

import threading


class Buffers:
    """Takes buffers back and hands them out again. Any thread may call."""

    def __init__(self, most_bytes: int) -> None:
        """Args:
        most_bytes: What is kept for later, at most.
        """
        self._most_bytes = most_bytes
        self._kept: list[bytearray] = []
        self._idle = True
        self._lock = threading.Lock()

    def take(self, size: int) -> memoryview:
        """Room for ``size`` bytes, with anything in it."""
        with self._lock:
            self._idle = False
            for number, buffer in enumerate(self._kept):
                if size <= len(buffer) < 2 * size:  # a long one is not spent on a little: not sealed blocks' on parity
                    del self._kept[number]
                    return memoryview(buffer)[:size]
        return memoryview(bytearray(size))

    def give(self, *rooms: memoryview) -> None:
        """Take rooms back. Nobody may read or write them any more, nor any view of them."""
        with self._lock:
            for room in rooms:
                assert isinstance(room.obj, bytearray)
                assert all(room.obj is not kept for kept in self._kept), "given back twice"
                if room.obj:
                    self._kept.append(room.obj)
            while sum(map(len, self._kept)) > self._most_bytes:
                del self._kept[0]

    def sweep(self) -> None:
        """Let go of all that is kept, if nobody took any since this was called last."""
        with self._lock:
            if self._idle:
                self._kept.clear()
            self._idle = True


class Loan(Buffers):
    """What one reader takes of shared buffers: in the end all of it goes back, whatever became of the reader.

    One that is cancelled leaves frames behind, with views of what they read, which Python's collector finds much later:
    meanwhile the next ones use that memory.
    """

    def __init__(self, lender: Buffers) -> None:
        """Args:
        lender: Whose they are.
        """
        super().__init__(0)
        self._lender = lender
        self._taken: dict[int, memoryview] = {}

    def take(self, size: int) -> memoryview:
        room = self._lender.take(size)
        with self._lock:
            self._taken[id(room.obj)] = room
        return room

    def give(self, *rooms: memoryview) -> None:
        with self._lock:
            for room in rooms:
                self._taken.pop(id(room.obj), None)
        self._lender.give(*rooms)

    def close(self) -> None:
        """Give back what was taken and not given back. Nobody reads or writes any of it any more."""
        self.give(*list(self._taken.values()))
