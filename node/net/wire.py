"""One connection: a stream and the channel spoken over it. Both sides use it (docs/spec/wire.md sections 3 and 4).

Every wait here is bounded by the caller. After any error, cancellation included, the connection is of no use.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio
from trio.abc import Stream

from node.net.intake import Intake
from node.net.throttle import ThrottledStream
from protocol.channel import MAX_SEND_BODY, BodyEnd, Channel, HandshakeDone, Header
from protocol.errors import RemoteProtocolError, WrongNetworkError
from protocol.ids import PublicKey
from protocol.messages import Message

_DRAIN_BYTES: Final = 8 * 1024
"""Taken at once of a body that nobody wants: many peers may send one at once, and no budget counts it."""
_SEND_BYTES: Final = 64 * 1024
"""Given at once to a stream that says nothing until it has taken all of it."""


class HungUpError(Exception):
    """The peer closed the connection, or it broke."""


class Wire:
    """A stream with a channel on it."""

    def __init__(self, stream: Stream, channel: Channel) -> None:
        self._stream = stream
        self._intake = Intake(stream)
        self._channel = channel
        self.on_progress: Callable[[], None] = _nothing
        """Called whenever the peer took some of what is sent (a record's worth at most between two calls, as far as the
        system tells), or a record of a body came from it."""
        self.on_held: Callable[[float], None] = _nothing
        """Told for how many seconds our own rate limit kept us from receiving what came next."""
        self.heard = False
        """Whether anything was received since the last :meth:`send`."""
        self._received_bytes = 0
        self._sent_bytes = 0

    async def handshake(self) -> PublicKey:
        """Go through the handshake; returns the key the peer proved.

        Raises:
            HungUpError: The peer hung up.
            RemoteProtocolError: It does not speak the protocol.
            WrongNetworkError: It is of another network; the reply that says so has been sent.
        """
        channel = self._channel
        while True:
            try:
                event = channel.next_event()
            except WrongNetworkError:
                await self._send(channel.data_to_send())
                raise
            await self._send(channel.data_to_send())
            if event is None:
                if not await self._feed():
                    raise HungUpError("hung up during the handshake")
            elif isinstance(event, HandshakeDone):
                self.heard = False
                return event.peer
            else:
                raise RemoteProtocolError("a message before the handshake")

    async def send(
        self,
        message: Message,
        body: Sequence[memoryview] = (),
        *,
        on_body: Callable[[int], None] | None = None,
    ) -> None:
        """Send a message with its whole body.

        Args:
            message: A request from the initiator, a reply from the responder.
            body: Views, sent one behind the other; empty ones are allowed.
            on_body: Told how many bytes of the body have been handed to the system so far, as they are.

        Raises:
            HungUpError: The peer hung up.
        """
        total = sum(map(len, body))
        await self.send_header(message, total)
        sent = 0
        for view in body:
            await self.send_body(view, on_body=None if on_body is None else _counted_from(sent, on_body))
            sent += len(view)

    async def send_header(self, message: Message, body_bytes: int) -> None:
        """Begin a message; exactly ``body_bytes`` must follow by :meth:`send_body`."""
        self.heard = False
        await self._send(self._channel.send(message, body_bytes))

    async def send_body(self, view: memoryview, *, on_body: Callable[[int], None] | None = None) -> None:
        """Send a part of the body; ``on_body`` is told how many bytes of ``view`` have gone so far."""
        for start in range(0, len(view), MAX_SEND_BODY):
            part = view[start : start + MAX_SEND_BODY]
            records = self._channel.send_body(part)
            left = len(records)
            while left:
                left -= await self._send_some(records[-left:])
                if on_body is not None:
                    on_body(start + len(part) * (len(records) - left) // len(records))

    async def receive_header(self) -> Header | None:
        """The next message; None when the peer closed the connection between two messages.

        Raises:
            HungUpError: It hung up within a message.
            RemoteProtocolError: It breaks the protocol.
        """
        while True:
            event = self._channel.next_event()
            if isinstance(event, Header):
                return event
            if event is None and not await self._feed():
                if self.heard:
                    raise HungUpError("hung up within a message")
                return None

    async def receive_body(self, target: memoryview, *, on_body: Callable[[int], None] | None = None) -> None:
        """Fill ``target`` with the next part of the body, which has at least that many bytes left.

        Args:
            target: Where the bytes go, decrypted in place.
            on_body: Told how many bytes of ``target`` are filled so far.

        Raises:
            HungUpError: The peer hung up.
            RemoteProtocolError: It breaks the protocol.
        """
        filled = 0
        while filled < len(target):
            got = self._channel.receive_body_into(target[filled:])
            if got:
                filled += got
                self.on_progress()
                if on_body is not None:
                    on_body(filled)
            elif not await self._feed(len(target) - filled):
                raise HungUpError("hung up within a body")

    async def drain(self, body_bytes: int) -> None:
        """Receive ``body_bytes`` of the body and drop them. Raises as :meth:`receive_body`."""
        scratch = memoryview(bytearray(min(body_bytes, _DRAIN_BYTES)))
        while body_bytes:
            part = scratch[:body_bytes]
            await self.receive_body(part)
            body_bytes -= len(part)

    def take_counts(self) -> tuple[int, int]:
        """Bytes received and sent on the stream since the last call, but for what came early and was not used yet."""
        early = self._channel.unread
        counts = self._received_bytes - early, self._sent_bytes
        self._received_bytes, self._sent_bytes = early, 0
        return counts

    def end_body(self) -> None:
        """Say that the body has been taken, all of it."""
        event = self._channel.next_event()
        assert isinstance(event, BodyEnd)
        self._intake.rest()

    async def close(self) -> None:
        """Close the connection at once. May be called twice, and while being cancelled."""
        await trio.aclose_forcefully(self._stream)

    async def _send(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[await self._send_some(view) :]

    async def _send_some(self, data: memoryview) -> int:
        """Send as much of ``data`` as goes at once; returns how much that was.

        A system socket is asked itself: ``send_all`` of a large part would show no progress for minutes on a slow line,
        and many small ones cost more calls than the fast path needs.
        """
        stream = self._stream.sender if isinstance(self._stream, ThrottledStream) else self._stream
        try:
            if isinstance(stream, trio.SocketStream):
                sent = await stream.socket.send(data)
            elif isinstance(stream, ThrottledStream):
                sent = await stream.send_some(data)
            else:
                sent = min(len(data), _SEND_BYTES)
                await stream.send_all(data[:sent])
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as exc:
            raise HungUpError("connection lost") from exc
        self._sent_bytes += sent
        self.on_progress()
        return sent

    async def _feed(self, awaited: int = 0) -> bool:
        """Receive some bytes, where so many of a body are awaited; False at the end of the stream."""
        try:
            data = await self._intake.receive(max(0, awaited - self._channel.unread))
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as exc:
            raise HungUpError("connection lost") from exc
        if isinstance(self._stream, ThrottledStream):
            self.on_held(self._stream.take_held())
        if not data:
            return False
        self._received_bytes += len(data)
        self.heard = True
        self._channel.receive_data(data)
        return True


def _nothing(*_: float) -> None:
    """Nobody asked to be told."""


def _counted_from(before: int, on_body: Callable[[int], None]) -> Callable[[int], None]:
    return lambda sent: on_body(before + sent)
