"""/openapi.json: what every call says of itself, in one document (OpenAPI 3.1)."""

import re
from collections.abc import Iterable
from typing import Any

from node.web.http.calls import Call

_CONVERTER = re.compile(r":[a-z]+}")

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["exit", "text", "hint"],
            "properties": {
                "exit": {"type": "integer", "description": "The exit code of the command line for the same failure."},
                "text": {"type": "string"},
                "hint": {"type": ["string", "null"], "description": "What to do about it."},
            },
        }
    },
}

FAILURES = {
    400: "The request cannot be: it does not fit what is written here, or means nothing.",
    401: "The session token is missing or old.",
    403: "Refused, by the node or by whom it asked: another site's request, a locked account, a wrong passphrase.",
    404: "There is no such thing, or no node has it.",
    408: "The body did not come in time.",
    409: "What is to be made exists already.",
    411: "The length of the body is needed.",
    413: "The body is too large.",
    416: "The range is not in it.",
    421: "Asked by a name that is not this node's.",
    429: "Too many: again after the time in `Retry-After`.",
    500: "This machine cannot, or a bug of the node.",
    502: "What nodes gave is damaged or not what was asked for.",
    503: "Too few nodes answer, or the node has no room for it now.",
    507: "The disk is full.",
}
"""HTTP status of an error -> what it means. Any call may end with any of them."""


def document(calls: Iterable[Call], version: str) -> dict[str, Any]:
    """The description of ``calls``, ready for JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(_CONVERTER.sub("}", call.path), {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "archipel", "version": version, "description": "A node, by its own page and by programs."},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "responses": {
                str(status): {"description": what, "content": _json(_ref("schemas/Error"))}
                for status, what in FAILURES.items()
            },
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer", "description": "The token that POST /v1/session gives."}
            },
        },
    }


def _operation(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": call.summary, "responses": {}}
    if call.private:
        found["security"] = [{"session": []}]
    if call.parameters:
        found["parameters"] = list(call.parameters)
    if call.body is not None:
        found["requestBody"] = {"required": bool(call.body.get("required")), "content": _json(dict(call.body))}
    elif call.binary:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        found["requestBody"] = {"required": True, "content": content}
    found["responses"] = {str(status): _ref(f"responses/{status}") for status in FAILURES}
    for status, what in (call.answers or {200: {}}).items():
        found["responses"][str(status)] = _response(what)
    return found


def _response(what: Any) -> dict[str, Any]:
    if what is None:
        return {"description": "Done."}
    if isinstance(what, str):
        return {"description": "What was asked for.", "content": {what: {}}}
    return {"description": "What was asked for.", "content": _json(dict(what))}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(place: str) -> dict[str, str]:
    return {"$ref": f"#/components/{place}"}
