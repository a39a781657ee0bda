"""What happens, as server-sent events: read with `fetch`, which can show the session token."""

import json
from collections.abc import Iterable
from contextlib import suppress

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from node.errors import NodeError
from node.web.http.answers import HttpError, error_answer
from node.web.http.calls import Call
from node.web.parts import Parts
from node.web.told import LaggingError, Listener, News

QUIET_SECONDS = 10.0
"""After so long without an event a comment is sent: whoever is gone is noticed, and a proxy does not give up."""
PAUSE_SECONDS = 0.2
"""Between two writes: what changes more often is told as it is then."""
WRITE_SECONDS = 30.0
"""Whoever takes nothing in for so long is hung up on."""
_TYPE = "text/event-stream"
_COMMENT = b": \n\n"
_END_SECONDS = 1.0


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def events(_: Request) -> Response:
        return EventStream(parts)

    return [
        Call(
            method="GET",
            path="/v1/events",
            handler=events,
            summary="What happens: all transfers at first, then `transfer`, `gone` and others as they change.",
            answers={200: _TYPE},
        )
    ]


class EventStream(Response):
    """An answer that does not end before its client does."""

    media_type = _TYPE

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = self._parts.told
        if told.full:
            full = HttpError(429, "too many listen already", headers={"Retry-After": "10"})
            await error_answer(full)(scope, receive, send)
            return
        with told.listen() as listener:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hang_up, receive, nursery.cancel_scope)
                with suppress(LaggingError, trio.TooSlowError):
                    await self._tell(listener, send)
                nursery.cancel_scope.cancel()
            with trio.move_on_after(_END_SECONDS):
                await send({"type": "http.response.body", "body": b""})

    async def _tell(self, listener: Listener, send: Send) -> None:
        """Raises LaggingError, TooSlowError: the client does not take it in."""
        await _write(send, _packed(await self._first()) or _COMMENT)
        while True:
            news: list[News] = []
            with trio.move_on_after(QUIET_SECONDS):
                news = await listener.take()
            await _write(send, _packed(news) or _COMMENT)
            await trio.sleep(PAUSE_SECONDS)

    async def _first(self) -> list[News]:
        """How things are."""
        try:
            return [("transfer", live.fields()) for live in await self._parts.transfers.all()]
        except NodeError:  # there are none, as /v1/transfers says
            return []


def _packed(news: Iterable[News]) -> bytes:
    return b"".join(f"event: {kind}\ndata: {json.dumps(fields)}\n\n".encode() for kind, fields in news)


async def _write(send: Send, data: bytes) -> None:
    """Raises TooSlowError."""
    with trio.fail_after(WRITE_SECONDS):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _hang_up(receive: Receive, scope: trio.CancelScope) -> None:
    """When the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
