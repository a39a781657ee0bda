"""Cutting received bytes into pieces that say their length first (docs/spec/wire.md sections 3 and 4)."""

from typing import Final

from protocol.errors import RemoteProtocolError
from protocol.hashing import Bytes

LENGTH_BYTES: Final = 2
MAX_RECORD_BYTES: Final = 65_535
MAX_UNREAD_BYTES: Final = 2 * (LENGTH_BYTES + MAX_RECORD_BYTES)
"""Two of the longest records: whoever takes all it can before it feeds again never has as much left."""

_NOTHING = memoryview(b"")


class Inbox:
    """Received bytes, handed out in pieces of exact size; only a piece that spans two receives is copied."""

    __slots__ = ("_length", "_part", "_view")

    def __init__(self) -> None:
        self._part = bytearray()  # the beginning of a piece whose end has not arrived
        self._view = _NOTHING  # received, not handed out
        self._length = 0  # of the piece whose length has been read; 0 when the next length is awaited

    def __len__(self) -> int:
        """Bytes taken and not handed out, but for a length that has been read."""
        return len(self._part) + len(self._view)

    def feed(self, data: Bytes) -> None:
        """Take what was received; it must not change until :meth:`take` says that there is not enough of it.

        Raises:
            RemoteProtocolError: Two records lie here already, which nobody asked for.
        """
        if len(self._view) > MAX_UNREAD_BYTES:
            raise RemoteProtocolError("the peer sends more than it was asked for")
        self._view = memoryview(self._view.tobytes() + data if self._view else data)

    def take(self, count: int) -> Bytes | None:
        """The next ``count`` bytes (1 or more), or None until they are here. Ask for the same count again."""
        if not self._part and len(self._view) >= count:
            return self._cut(count)
        self._part += self._cut(count - len(self._part))
        if len(self._part) < count:
            return None
        piece, self._part = self._part, bytearray()
        return piece

    def _cut(self, count: int) -> memoryview:
        """Take up to ``count`` bytes off what was received; once it is empty, it is not kept in memory."""
        view = self._view
        self._view = view[count:] if len(view) > count else _NOTHING
        return view[:count]

    def take_framed(self, least: int, most: int) -> Bytes | None:
        """The next piece that has its length before it, without that length; None until all of it is here.

        Raises:
            RemoteProtocolError: The length is not ``least`` (1 or more) to ``most``; nothing was buffered.
        """
        if not self._length:
            prefix = self.take(LENGTH_BYTES)
            if prefix is None:
                return None
            length = int.from_bytes(prefix, "big")
            if not least <= length <= most:
                raise RemoteProtocolError(f"a record of {length} bytes, expected {least} to {most}")
            self._length = length
        piece = self.take(self._length)
        if piece is not None:
            self._length = 0
        return piece


def framed(piece: bytes) -> bytes:
    """``piece`` with its length before it."""
    return len(piece).to_bytes(LENGTH_BYTES, "big") + piece
