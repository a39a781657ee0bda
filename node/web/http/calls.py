"""One call of the API: its route, and what /openapi.json says of it."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.errors import NodeError, leaves, told
from node.web.http.answers import error_answer

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
"""A NodeError that it raises, alone or in groups, goes to the client as itself."""
Check = Callable[[Request], None]
"""Raises a NodeError."""
Schema = Mapping[str, Any]
"""A JSON schema, as OpenAPI 3.1 has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A method on a path."""

    method: str
    """``GET`` answers ``HEAD``, too."""
    path: str
    """With parameters in braces, as Starlette and OpenAPI both write them, but for the converters of Starlette's."""
    handler: Handler
    summary: str
    """One line, for whoever reads the documentation."""
    private: bool = True
    """Whether it needs the session token."""
    parameters: tuple[Schema, ...] = ()
    """OpenAPI's parameter objects, those of the path included."""
    body: Schema | None = None
    """Of the JSON object that it takes."""
    binary: bool = False
    """Whether it takes bytes instead."""
    answers: Mapping[int, Schema | str | None] = field(default_factory=dict)
    """Status -> schema of its JSON, or a media type, or None for nothing. Errors are the same everywhere."""

    def route(self, check: Check) -> Route:
        """As Starlette serves it.

        Args:
            check: Whether a request may make a private call.
        """
        handler = _checked(self.handler, check) if self.private else self.handler
        return Route(self.path, telling(handler), methods=[self.method])


def _checked(handler: Handler, check: Check) -> Handler:
    """``handler`` for those who pass the check."""

    async def checked(request: Request) -> Response:
        check(request)
        return await handler(request)

    return checked


def telling(handler: Handler) -> Handler:
    """``handler``, whose errors become answers."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except (NodeError, ExceptionGroup) as exc:
            try:
                return error_answer(told(exc))
            except ExceptionGroup:
                failed: Exception = exc
        except Exception as exc:  # noqa: BLE001 - a bug: the client is told, but the node, which keeps others' chunks, goes on
            failed = exc
        kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves(failed)}))
        log.error("a bug in an answer of the page's API: %s", kinds, exc_info=_without_text(failed))
        return error_answer(NodeError("this is a bug of the node: see its log"))

    return endpoint


def _without_text(exc: Exception) -> BaseException:
    """Its traceback alone: the text of an error may hold a link."""
    first = next(leaves(exc))
    return RuntimeError(type(first).__name__).with_traceback(first.__traceback__)
