"""What goes back: JSON, and errors, which say the same as the command line does; reading JSON that comes in."""

import errno
import json
import logging
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from node.errors import ConfigError, NodeError, NotFoundError, TakenError

log = logging.getLogger(__name__)

BODY_SECONDS = 15.0
"""For a JSON body to come, all of it."""
_STATUS = {2: 400, 3: 404, 4: 403, 5: 503, 6: 502, 7: 500}
"""Exit code of an error -> HTTP status; anything else is a bug of ours, 500."""
_EXIT = {400: 2, 404: 3, 405: 2, 408: 5, 413: 2, 415: 2, 416: 2, 507: 7}
"""The other way round; any other refusal is 4."""


class HttpError(NodeError):
    """A call that HTTP has a status of its own for: who asks it wrongly, too often, or without the right to."""

    def __init__(
        self, status: int, message: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.exit_code = _EXIT.get(status, 4)
        self.headers = dict(headers or {})


def answer(found: object, status: int = 200) -> Response:
    """``found`` as JSON, in ASCII: a path that is no UTF-8 has lone surrogates, which only escapes can show."""
    return _json(found, status, {})


def _json(found: object, status: int, headers: Mapping[str, str]) -> Response:
    return Response(json.dumps(found, separators=(",", ":")), status, headers, "application/json")


def error_fields(exc: NodeError) -> dict[str, Any]:
    """An error as the API tells it: ``exit`` is the exit code of the command line."""
    return {"exit": exc.exit_code, "text": str(exc), "hint": exc.hint}


def error_answer(exc: NodeError) -> Response:
    """What a call ended with."""
    status, headers = _STATUS.get(exc.exit_code, 500), {}
    if isinstance(exc, HttpError):
        status, headers = exc.status, exc.headers
    elif isinstance(exc, TakenError):
        status = 409
    elif isinstance(exc.__cause__, OSError) and exc.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
        status = 507
    return _json({"error": error_fields(exc)}, status, headers)


def hex_parameter(request: Request, name: str, what: str) -> bytes:
    """The 32 bytes that a part of the path is in hex. Raises ConfigError, about ``what``: it is something else."""
    text = request.path_params[name]
    if re.fullmatch("[0-9a-fA-F]{64}", text, re.ASCII) is None:
        raise ConfigError(f"{what} has 64 hex digits")
    return bytes.fromhex(text)


def raw_rest(request: Request, begin: bytes) -> bytes:
    """What follows ``begin`` in the path as it was sent, escaped.

    Raises:
        NotFoundError: It begins otherwise: only unescaped is it what leads here, as ``/dav%2flink``.
    """
    raw: bytes = request.scope["raw_path"]
    if not raw.startswith(begin):
        raise NotFoundError("there is nothing here")
    return raw[len(begin) :]


async def read_body(request: Request, limit: int) -> bytes:
    """A body of at most ``limit`` bytes; nothing beyond it is kept.

    Raises:
        HttpError: It is longer, or does not come within 15 seconds.
    """
    body = bytearray()
    try:
        with trio.fail_after(BODY_SECONDS):
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > limit:
                        raise HttpError(413, f"a body of this call has at most {limit} bytes")
    except trio.TooSlowError as exc:
        raise HttpError(408, f"the body did not come within {BODY_SECONDS:.0f} seconds") from exc
    except ClientDisconnect as exc:
        raise HttpError(400, "the body was cut short") from exc
    return bytes(body)


def _number(digits: str) -> float:
    """To JSON 1.0 and 1 are the same, and a schema takes either for a whole number."""
    found = float(digits)
    return int(found) if found.is_integer() else found


def whole(digits: str) -> int:
    """``int``, but of ours: when a thread reads a long text, the others have their turn at each call of Python."""
    return int(digits)


async def read_object(request: Request, limit: int = 64 * 1024) -> dict[str, Any]:
    """The JSON object in the body; without a body an empty one.

    Raises:
        HttpError: It is longer than ``limit``, or does not come.
        ConfigError: It is no JSON object.
    """
    return parse_object(await read_body(request, limit))


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; an empty one, if it is empty. One of megabytes blocks. Raises ConfigError."""
    if not body:
        return {}
    try:
        found = json.loads(body, parse_float=_number, parse_int=whole)
    except (ValueError, RecursionError) as exc:
        raise ConfigError("the body is not JSON") from exc
    if not isinstance(found, dict):
        raise ConfigError("the body is no JSON object")
    return found
