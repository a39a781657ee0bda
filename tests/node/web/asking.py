"""Asks what a node serves by HTTP, in this process and without sockets: as a browser, or whoever, would over Hypercorn.

    browser = Browser(own_site(parts_of(client, home=home), {}, ADDRESS))
    await browser.begin()
    answer = await browser.ask("POST", "/v1/drive/folders", json={"path": "films"})
    assert answer.status == 201

What an application raises comes out: Hypercorn would answer 500, and a test has found a bug.
"""

import json as json_module
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import unquote

import trio
from starlette.types import ASGIApp, Message, Scope

from node.blocking import InlineBlocking
from node.client import Client, World
from node.healing.leave import Leave
from node.home import Home
from node.serving.depositors import DepositorDesk
from node.serving.limits import LimitsDesk
from node.status import Status
from node.web.desks.account import AccountDesk
from node.web.http import peeruid
from node.web.http.shapes import check
from node.web.parts import Parts
from node.web.tickets import Tickets
from protocol.identity import Network
from protocol.ids import Address
from tests.vectors.make_account import CHEAP

ADDRESS = Address("127.0.0.1", 8420)
ANSWER_SECONDS = 600.0
"""Of a virtual clock, mostly."""
_AWAY = ("127.0.0.1", 50_000)
_BODILESS = (204, 304)


def parts_of(
    client: Client | None = None,
    *,
    home: Home | None = None,
    data: Path = Path("/nowhere"),
    status: Status | None = None,
    desk: DepositorDesk | None = None,
    limits: LimitsDesk | None = None,
    leave: Leave | None = None,
) -> Parts:
    """Of a node that is there as far as the test needs it: what is left out must not be asked."""
    client = offline_client() if client is None else client
    return Parts.of(
        client=client,
        accounts=AccountDesk(home, client.world.blocking, CHEAP),
        status=cast(Status, status),
        desk=cast(DepositorDesk, desk),
        limits=cast(LimitsDesk, limits),
        leave=cast(Leave, leave),
        home=home,
        tickets=Tickets(client.world.random_bytes, ADDRESS),
        data=data,
    )


def offline_client() -> Client:
    """Without a network: whatever goes out fails the test."""
    return Client(Network("test"), World(blocking=InlineBlocking()), cast(Any, None), cast(Any, None))


@dataclass(frozen=True)
class Answer:
    """What came back, all of it."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json_module.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """``exit``, ``text`` and ``hint`` of what went wrong."""
        assert self.status >= 400, f"it went well: {self.status}"
        found: dict[str, Any] = self.json()["error"]
        assert set(found) == {"exit", "text", "hint"}
        return found


@dataclass(frozen=True)
class Opened:
    """An answer that is still coming."""

    status: int
    headers: Mapping[str, str]
    parts: AsyncIterator[bytes]
    """Of the body, as they come."""


@dataclass
class Cut:
    """A body that breaks off after these bytes."""

    sent: bytes


@dataclass
class Browser:
    """A page of the node in a browser of the node's user; with other headers, anybody."""

    app: ASGIApp
    address: Address = ADDRESS
    """Where it believes to be."""
    token: str | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    """Sent with every request; None: left out."""
    described: dict[str, Any] = field(default_factory=dict)
    """What /openapi.json says, once the session has begun: every answer is held against it."""

    async def begin(self) -> "Browser":
        """Get the session token, as the node's own user. No connection of ours is in the kernel's table."""
        with patch.object(peeruid, "user_of", lambda *_: os.getuid()):
            answer = await self.ask("POST", "/v1/session")
        assert answer.status == 200, answer.body
        self.token = answer.json()["token"]
        self.described = (await self.ask("GET", "/openapi.json")).json()["paths"]
        return self

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | AsyncIterable[bytes] | Cut | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Make a request, and wait for the whole answer.

        Args:
            method: Of HTTP.
            path: Escaped, with its query.
            json: What the body is to say.
            body: The body itself, whole, in parts, or cut off.
            headers: Beside or instead of those that a browser sends for a page; None: left out.
        """
        messages: list[Message] = []

        async def send(message: Message) -> None:
            await trio.lowlevel.checkpoint()
            messages.append(message)

        scope, given = self._scope(method, path, json, body, headers)
        with trio.fail_after(ANSWER_SECONDS):
            async with aclosing(_Request(given)) as request:
                await self.app(scope, request.receive, send)
        start, *rest = messages
        bodiless = method == "HEAD" or start["status"] in _BODILESS
        sent = b"" if bodiless else b"".join(message.get("body", b"") for message in rest)
        assert not rest[-1].get("more_body"), "the answer has no end"
        answer = Answer(start["status"], _named(start), sent)
        if not bodiless:
            self._check_described(method, path.partition("?")[0], answer)
        return answer

    def _check_described(self, method: str, path: str, answer: Answer) -> None:
        """That the answer is one of those that the documentation tells of."""
        for template, operations in self.described.items():
            operation = operations.get(method.lower())
            if operation is None or re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) is None:
                continue
            told = operation["responses"].get(str(answer.status))
            if told is None:
                assert answer.error["text"], f"{answer.status} of {method} {path} is not described"
            elif "schema" in (content := told.get("content", {}).get("application/json", {})):
                check(answer.json(), content["schema"], f"{method} {path}")

    @asynccontextmanager
    async def open(
        self, method: str, path: str, *, json: object = None, headers: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[Opened]:
        """Make a request whose answer is read as it comes; leaving the block hangs up."""
        sending, receiving = trio.open_memory_channel[Message](0)
        scope, given = self._scope(method, path, json, None, headers)
        request = _Request(given)

        async def run() -> None:
            async with sending, aclosing(request):
                await self.app(scope, request.receive, sending.send)

        async def parts() -> AsyncGenerator[bytes, None]:
            async for message in receiving:
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body"):
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            start = await receiving.receive()
            async with aclosing(parts()) as found:
                yield Opened(start["status"], _named(start), found)
            request.gone.set()
            nursery.cancel_scope.cancel()

    def _scope(
        self,
        method: str,
        path: str,
        json: object,
        body: bytes | AsyncIterable[bytes] | Cut | None,
        headers: Mapping[str, str | None] | None,
    ) -> tuple[Scope, bytes | AsyncIterable[bytes] | Cut]:
        host = str(self.address)
        sent: dict[str, str | None] = {"Host": host, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        if method not in ("GET", "HEAD"):
            sent["Origin"] = f"http://{host}"
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if json is not None:
            assert body is None
            body, sent["Content-Type"] = json_module.dumps(json).encode(), "application/json"
        if isinstance(body, bytes):
            sent["Content-Length"] = str(len(body))
        sent |= self.headers | dict(headers or {})
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items() if v is not None],
            "client": _AWAY,
            "server": (self.address.host, self.address.port),
        }
        return scope, b"" if body is None else body


def _named(start: Message) -> dict[str, str]:
    assert start["type"] == "http.response.start"
    return {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}


class _Request:
    """What an application receives of a request. Waiting for it may be given up and begun again."""

    def __init__(self, body: bytes | AsyncIterable[bytes] | Cut) -> None:
        self._body = body
        self._parts = _parts(body)
        self._cut = isinstance(body, Cut)
        self._whole = False
        self.gone = trio.Event()
        """Set: whoever asked has hung up."""

    async def receive(self) -> Message:
        if self._whole:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        part = await anext(self._parts, None)
        if part is not None:
            return {"type": "http.request", "body": part, "more_body": True}
        self._whole = True
        if self._cut:
            self.gone.set()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def aclose(self) -> None:
        await self._parts.aclose()
        if isinstance(self._body, AsyncGenerator):
            await self._body.aclose()


async def _parts(body: bytes | AsyncIterable[bytes] | Cut) -> AsyncGenerator[bytes, None]:
    if isinstance(body, AsyncIterable):
        async for part in body:
            yield part
    elif sent := body.sent if isinstance(body, Cut) else body:
        yield sent
