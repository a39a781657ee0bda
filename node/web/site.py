"""Which calls and files there are, and around them who may use them: on the node's own page, and on a gateway."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from node.home import Home
from node.reading.served import Served
from node.reading.shelf import Shelf
from node.serving.statements import software
from node.web.api import (
    account,
    drive,
    drivechanges,
    events,
    names,
    network,
    opened,
    operator,
    segments,
    sharing,
    status,
    transfers,
    uploads,
)
from node.web.api import files as plain
from node.web.dav.mount import Dav
from node.web.files import Page, PageFile
from node.web.http.answers import HttpError, answer, error_answer
from node.web.http.calls import Call, Check
from node.web.http.guard import Guard
from node.web.http.limits import Limits, neighbour
from node.web.http.openapi import document
from node.web.http.session import Session
from node.web.parts import Parts
from protocol.ids import Address

HTTP_PORT = 80
"""Browsers leave it out of a host's name."""
_OWN = (status, opened, account, drive, drivechanges, sharing, uploads, transfers, events, network, operator)
"""Groups of calls that the node's own page alone has."""


def own_site(parts: Parts, files: dict[str, PageFile], address: Address) -> ASGIApp:
    """All of it, for the user who runs the node.

    Args:
        parts: Of the node.
        files: Of the page.
        address: Where it is served, a loopback address.
    """
    world = parts.client.world
    session = Session.begin(world.random_bytes, software(), world.blocking)
    give = Call(
        method="POST",
        path="/v1/session",
        handler=session.give,
        summary="The session token, for the node's own page.",
        private=False,
        answers={200: _SESSION},
    )
    served = Served(parts.client, Shelf(parts.home or Home(parts.data)), parts.buffers)
    groups = [group.calls(parts) for group in _OWN]
    groups += [
        segments.calls(parts.segments, segments.nobody_else),
        segments.upload_calls(parts.uploads, segments.OWN_LEASE_SECONDS, segments.nobody_else, private=True),
        names.calls(parts.client),
        plain.calls(served),
    ]
    calls = [give, *(call for group in groups for call in group)]
    app = _application(calls, session.check, Page(files), Dav(served, parts.home, parts.drive).route())
    return Guard(app, _names(address))


def gateway_site(parts: Parts, files: dict[str, PageFile], *, uploads: bool, secure: bool) -> ASGIApp:
    """What everybody may use: the page that opens links, sealed segments, and whether the node runs.

    Args:
        parts: Of the node.
        files: Of the page.
        uploads: Whether segments are taken that browsers have sealed.
        secure: Whether it is served with TLS.
    """
    calls = [
        *status.gateway_calls(parts, uploads=uploads),
        *segments.calls(parts.segments, neighbour),
        *names.calls(parts.client),
    ]
    if uploads:
        calls += segments.upload_calls(parts.uploads, segments.GATEWAY_LEASE_SECONDS, neighbour, private=False)
    app = _application(calls, _nobody, Page(files))
    schemes = ("https",) if secure else ("http", "https")  # a reverse proxy's, which we do not see
    return Limits(Guard(app, None, schemes))


def _nobody(_: Request) -> None:
    raise HttpError(401, "a gateway has no private calls")


_SESSION = {
    "type": "object",
    "required": ["token", "version"],
    "properties": {"token": {"type": "string"}, "version": {"type": "string"}},
}


def _application(calls: Sequence[Call], check: Check, page: Page, *more: Route) -> Starlette:
    described = document(calls, software())

    async def openapi(_: Request) -> Response:
        return answer(described)

    routes: list[BaseRoute] = [call.route(check) for call in calls]
    routes += [Route(path, _OtherMethods(allowed)) for path, allowed in _methods(calls).items()]
    routes += more
    routes.append(Route("/openapi.json", openapi))
    routes.append(Route("/v1/{path:path}", _NoCall()))
    routes.append(Route("/{path:path}", page.serve))
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_such, HttpError: _failed})


def _methods(calls: Sequence[Call]) -> dict[str, list[str]]:
    """Path -> what may be done there."""
    found: dict[str, list[str]] = {}
    for call in calls:
        found.setdefault(call.path, []).extend([call.method, "HEAD"] if call.method == "GET" else [call.method])
    return found


@dataclass(frozen=True, slots=True)
class _OtherMethods:
    """An ASGI application for what may not be done at a path: else the page would be looked for there."""

    allowed: Sequence[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exc = HttpError(405, _NOT_THERE, headers={"Allow": ", ".join(self.allowed)})
        await error_answer(exc)(scope, receive, send)


class _NoCall:
    """An ASGI application for where no call is, whatever is to be done there: it is not for a page to be read only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await error_answer(HttpError(404, _NOTHING))(scope, receive, send)


_NOT_THERE, _NOTHING = "this is not to be done there", "there is nothing here"


async def _no_such(_: Request, exc: Exception) -> Response:
    """No such path, or no such method there."""
    assert isinstance(exc, HTTPException)
    text = {404: _NOTHING, 405: _NOT_THERE}.get(exc.status_code, exc.detail)
    return error_answer(HttpError(exc.status_code, text, headers=exc.headers))


async def _failed(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HttpError)
    return error_answer(exc)


def _names(address: Address) -> frozenset[str]:
    """What a browser on this machine may call it."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    names = {"127.0.0.1", "localhost", "[::1]", host}
    return frozenset(names if address.port == HTTP_PORT else (f"{name}:{address.port}" for name in names))
