"""Calls of the page's API, asked without a socket."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from node.web.http.answers import HttpError, error_answer
from node.web.http.calls import Call


def application(calls: Sequence[Call]) -> Starlette:
    """Nothing but these calls, for everybody."""

    async def failed(_: Request, exc: Exception) -> Any:
        assert isinstance(exc, HttpError)
        return error_answer(exc)

    return Starlette(routes=[call.route(lambda _: None) for call in calls], exception_handlers={HttpError: failed})


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Browser:
    """Asks an application."""

    app: ASGIApp
    pause: float = 0.0
    """Seconds that it takes to read a piece of an answer."""
    gone: trio.Event = field(default_factory=trio.Event)
    """Whether it has closed the connection."""

    async def ask(
        self, path: str, method: str = "GET", body: bytes = b"", *, cut: bool = False, **headers: str
    ) -> Answer:
        """Ask; header names with underscores.

        Args:
            path: Where.
            method: How.
            body: Sent in pieces, with its length.
            cut: Whether the connection is closed before the last piece.
        """
        found = Answer()
        left = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
        given = {"host": "archipel", **({"content_length": str(len(body))} if body else {}), **headers}

        async def receive() -> Message:
            await trio.lowlevel.checkpoint()
            if len(left) == 1 and cut:
                return {"type": "http.disconnect"}
            if left:
                return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}
            if body == b"" and not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await trio.sleep(self.pause)
            if message["type"] == "http.response.start":
                found.status = message["status"]
                found.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                found.body += bytes(message["body"])

        asked: list[bool] = []
        raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in given.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "root_path": "",
            "headers": raw,
            "client": ("192.0.2.1", 1),
        }
        await self.app(scope, receive, send)
        return found
