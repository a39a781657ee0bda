"""Requests that are answered before all of their body has come.

Hypercorn puts what it reads into a queue of ten, and the end of a request as well. Once nobody takes anything out of
it, the one that reads from the client waits for room, and so does the one that answers: for ever. So what is left of a
body is taken and dropped; first while the client may still be told, which reads no answer before it has sent all of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_SECONDS = 15.0
"""For the rest of a body; then the connection ends."""


@dataclass(frozen=True, slots=True)
class Draining:
    """An ASGI application around another one, for one connection."""

    app: ASGIApp
    nursery: trio.Nursery
    """Of the connection: what runs there ends with it."""
    close: Callable[[], None]
    """Ends the connection at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive)

        async def sending(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body") or body.over:
                await send(message)
                return
            await send({**message, "more_body": True})
            with trio.move_on_after(DRAIN_SECONDS):
                await body.drain()
            self._go_on(body)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await self.app(scope, body.receive, sending)
        finally:
            self._go_on(body)

    def _go_on(self, body: "_Body") -> None:
        """See to it that the queue has room while Hypercorn ends the request."""
        if not body.over:
            self.nursery.start_soon(self._until_end, body)

    async def _until_end(self, body: "_Body") -> None:
        with trio.move_on_after(DRAIN_SECONDS) as scope:
            await body.drain()
        if scope.cancelled_caught:
            self.close()
            await body.drain()


class _Body:
    """What comes of a request's body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.over = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self.over = True
        return message

    async def drain(self) -> None:
        """Take all that comes until it is over."""
        while not self.over:
            await self.receive()
