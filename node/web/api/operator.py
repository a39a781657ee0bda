"""What the operator of the node sees and changes: whose chunks it keeps, its limits, its lists; and to leave."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from node.control import Handler
from node.errors import ConfigError
from node.net.throttle import MIN_BYTES_PER_SECOND
from node.serving.depositors import joined
from node.serving.limits import MOST_BYTES
from node.web.answers import answer, read_object
from node.web.calls import Call
from node.web.parts import Parts
from node.web.schemas import COUNT, FLAG, ID, MAYBE_COUNT, MAYBE_FLAG, MAYBE_TEXT, TEXT, or_null, record, rows

_PART = {"type": "number", "minimum": 0}
_DEPOSITOR = record(
    key=ID,
    segments=COUNT,
    chunks=COUNT,
    bytes=COUNT,
    part=_PART,
    share=_PART,
    leases=COUNT,
    first_expires=MAYBE_COUNT,
    last_expires=MAYBE_COUNT,
    refused=FLAG,
    allowed=MAYBE_FLAG,
)
_DEPOSITORS = record(total=COUNT, more=COUNT, quota_bytes=COUNT, depositors=rows(_DEPOSITOR))
_WHOM = record(depositor={**TEXT, "description": "A public key: 64 hexadecimal digits, or archipel-key:..."})
_SAID = record(
    key=ID,
    changed=FLAG,
    allowed=MAYBE_FLAG,
    refused=FLAG,
    share={"type": ["number", "null"]},
    removed_chunks=COUNT,
)
_RATE = {"type": ["integer", "null"], "minimum": MIN_BYTES_PER_SECOND, "maximum": MOST_BYTES}
_CHANGES = {
    "type": "object",
    "properties": {
        "quota_bytes": {**COUNT, "maximum": MOST_BYTES},
        "up_bytes_per_second": _RATE,
        "down_bytes_per_second": _RATE,
    },
    "additionalProperties": False,
}
_LIMITS = record(
    quota_bytes=COUNT,
    up_bytes_per_second=MAYBE_COUNT,
    down_bytes_per_second=MAYBE_COUNT,
    used_bytes=COUNT,
    given={
        "type": "array",
        "items": TEXT,
        "description": "Those that the command line names: at the next start they are as it says.",
    },
)
_LIST: dict[str, Mapping[str, Any]] = {"file": TEXT, "depositors": COUNT, "shares": COUNT}
_LISTS = record(
    allow=or_null(record(**_LIST)),
    deny=or_null(record(**_LIST, segments=COUNT)),
)
_PROGRESS = record(
    moved=COUNT,
    left=COUNT,
    gone=COUNT,
    total=COUNT,
    failed=COUNT,
    bytes=COUNT,
    why={"type": "object", "additionalProperties": COUNT},
)
_STANDING = record(
    state={"enum": ["not leaving", "leaving", "stayed", "left"]},
    progress=or_null(_PROGRESS),
    trouble=MAYBE_TEXT,
)
_WHICH = record(node_id={**TEXT, "description": "Of this node, so that nobody makes another one leave."})


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    desk = _Desk(parts)
    return [
        Call(
            method="GET",
            path="/v1/operator/depositors",
            handler=desk.depositors,
            summary="For whom the node keeps how much, as `archipel node depositors --json`.",
            answers={200: _DEPOSITORS},
        ),
        Call(
            method="POST",
            path="/v1/operator/refuse",
            handler=desk.refuse,
            summary="Put a depositor on the denylist; what is kept for nobody else is removed.",
            body=_WHOM,
            answers={200: _SAID},
        ),
        Call(
            method="POST",
            path="/v1/operator/admit",
            handler=desk.admit,
            summary="Take a depositor off the denylist, and put it on the allow-list if there is one.",
            body=_WHOM,
            answers={200: _SAID},
        ),
        Call(
            method="GET",
            path="/v1/operator/lists",
            handler=desk.lists,
            summary="The allow-list and the denylist: which files, how many entries.",
            answers={200: _LISTS},
        ),
        Call(
            method="GET",
            path="/v1/operator/limits",
            handler=desk.limits,
            summary="The quota, and what the node sends and receives at most.",
            answers={200: _LIMITS},
        ),
        Call(
            method="PATCH",
            path="/v1/operator/limits",
            handler=desk.change,
            summary="Change some of them, at once and for the next start. A rate that is null is no limit.",
            body=_CHANGES,
            answers={200: _LIMITS},
        ),
        Call(
            method="GET",
            path="/v1/operator/leave",
            handler=desk.leaving,
            summary="Whether the node is leaving, and how far it has come.",
            answers={200: _STANDING},
        ),
        Call(
            method="POST",
            path="/v1/operator/leave",
            handler=desk.leave,
            summary="Hand every chunk on to other nodes; then the node stops.",
            body=_WHICH,
            answers={202: _STANDING},
        ),
    ]


class _Desk:
    """Answers them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def depositors(self, _: Request) -> Response:
        async with aclosing(self._parts.desk.tell({})) as replies:
            return answer(joined([reply async for reply in replies]))

    async def refuse(self, request: Request) -> Response:
        return await _said(self._parts.desk.refuse, request)

    async def admit(self, request: Request) -> Response:
        return await _said(self._parts.desk.admit, request)

    async def lists(self, _: Request) -> Response:
        return answer(self._parts.desk.lists.told())

    async def limits(self, _: Request) -> Response:
        return answer(self._limits())

    async def change(self, request: Request) -> Response:
        await self._parts.limits.change(await read_object(request))
        return answer(self._limits())

    def _limits(self) -> dict[str, Any]:
        desk = self._parts.limits
        used = self._parts.desk.store.used_bytes
        return {**asdict(desk.limits), "used_bytes": used, "given": sorted(desk.given)}

    async def leave(self, request: Request) -> Response:
        asked = _only(await read_object(request), "node_id")
        own = self._parts.status.statements.identity.node_id.hex()
        if asked.lower() != own:
            raise ConfigError("this is another node than the one that is to leave", hint=f"this one is {own}")
        self._parts.leave.begin()
        return answer(self._standing(), 202)

    async def leaving(self, _: Request) -> Response:
        """Whoever has been told that it has left holds up the node's end no longer."""
        standing = self._standing()
        told = BackgroundTask(self._told) if standing["state"] == "left" else None
        return JSONResponse(standing, background=told)

    async def _told(self) -> None:
        self._parts.leave.told.set()

    def _standing(self) -> dict[str, Any]:
        standing = self._parts.leave.standing()
        progress = None if standing.progress is None else standing.progress.fields()
        return {"state": standing.state, "progress": progress, "trouble": standing.trouble or None}


async def _said(handler: Handler, request: Request) -> Response:
    key = _only(await read_object(request), "depositor")
    async with aclosing(handler({"key": key})) as replies:
        async for reply in replies:
            return answer(reply)
    raise AssertionError("it ends without a reply")


def _only(found: Mapping[str, Any], name: str) -> str:
    """The one text that a body has. Raises ConfigError."""
    if set(found) != {name} or not isinstance(found[name], str):
        raise ConfigError(f"the body has {name}, a text, and nothing else")
    return str(found[name])
