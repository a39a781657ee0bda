"""A client of an ASGI application in the same process: what it answers, as it comes, and a client that goes away."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import trio
from starlette.types import ASGIApp, Message

Headers = Mapping[str, str]


@dataclass
class Answered:
    """What came back so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    @property
    def content(self) -> bytes:
        return bytes(self.body)


async def ask(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    headers: Headers | None = None,
    body: bytes = b"",
    gone_after: int | None = None,
    stalls_after: int | None = None,
    then: Callable[[], None] = lambda: None,
) -> Answered:
    """Ask once.

    Args:
        app: Who answers.
        path: As it stands in the request, percent-encoded.
        method: Of the request.
        headers: Besides Host.
        body: Of the request.
        gone_after: The client goes away after so many bytes of the answer.
        then: What happens when the answer begins.
        stalls_after: It stops reading after so many bytes, and goes away a minute later.
    """
    found = Answered()
    gone = trio.Event()
    asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            then()
            found.status = message["status"]
            found.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            return
        found.body += message["body"]
        found.whole = not message.get("more_body", False)
        if gone_after is not None and len(found.body) > gone_after:
            gone.set()
        if stalls_after is not None and len(found.body) > stalls_after:
            await trio.sleep(60)
            gone.set()

    await app(scope_of(path, method, {"host": "127.0.0.1:8420", **(headers or {})}), receive, send)
    return found


def scope_of(path: str, method: str, headers: Headers) -> dict[str, Any]:
    """As Hypercorn makes it."""
    named: Sequence[tuple[bytes, bytes]] = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()]
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.partition("?")[0]),
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "root_path": "",
        "headers": named,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8420),
        "state": {},
        "extensions": {},
    }
