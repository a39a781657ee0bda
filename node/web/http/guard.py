"""Around everything that is served: who may ask by which name, and what browsers are told to do with the answers."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.web.http.answers import HttpError, error_answer

log = logging.getLogger(__name__)

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "frame-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "base-uri 'none'",
    )
)
"""Nothing from elsewhere, nothing inline."""
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""For answers that do not say otherwise themselves."""
_SAFE = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Guard:
    """An ASGI application around another one."""

    app: ASGIApp
    hosts: Collection[str] | None
    """The names by which it may be asked, with the port: a page of elsewhere whose name leads here is none of them
    (DNS rebinding). None: any."""
    schemes: Collection[str] = ("http",)
    """By which it is asked, from a browser's point of view."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        sending = _with_headers(send)
        try:
            self._check(scope)
        except HttpError as exc:
            await error_answer(exc)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)

    def _check(self, scope: Scope) -> None:
        """Raises HttpError: another site asks, or it is asked by another name, or nobody can tell."""
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1 or len(headers.getlist("origin")) > 1:
            raise HttpError(400, "a request has one Host and one Origin at most")
        host = headers.get("host", "")
        if self.hosts is not None and host.lower() not in self.hosts:
            raise HttpError(421, "this node's page has another address", hint="open it by the address the node printed")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"{scheme}://{host.lower()}" for scheme in self.schemes}:
            raise HttpError(403, "another site asks: only the node's own page may")
        fetched_by = headers.get("sec-fetch-site", "none")
        navigating = scope["method"] in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        if fetched_by in ("cross-site", "same-site") and not (navigating and scope["path"] == "/"):
            raise HttpError(403, "another site asks: only the node's own page may")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
