"""What the operator of the node sees and changes: whose chunks it keeps, its limits, its lists; and to leave."""

from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import trio
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from node.control import Handler
from node.errors import RefusedError
from node.healing.leave import TOLD_SECONDS, Leave
from node.net.throttle import MIN_BYTES_PER_SECOND
from node.serving.depositors import joined
from node.serving.limits import MOST_BYTES
from node.web.api.driveshapes import COUNT, FLAG, TEXT, TEXT_OR_NULL
from node.web.http.answers import answer, read_object
from node.web.http.calls import Call
from node.web.http.shapes import Schema, check, read_shape, shape
from node.web.parts import Parts

_PART: Schema = {"type": "number", "minimum": 0}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_FLAG_OR_NULL: Schema = {"type": ["boolean", "null"]}
_DEPOSITOR = shape(
    {
        "key": _ID,
        "segments": COUNT,
        "chunks": COUNT,
        "bytes": COUNT,
        "part": _PART,
        "share": _PART,
        "leases": COUNT,
        "first_expires": _COUNT_OR_NULL,
        "last_expires": _COUNT_OR_NULL,
        "refused": FLAG,
        "allowed": _FLAG_OR_NULL,
    }
)
_DEPOSITORS = shape(
    {"total": COUNT, "more": COUNT, "quota_bytes": COUNT, "depositors": {"type": "array", "items": _DEPOSITOR}}
)
_KEY: Schema = {
    "type": "string",
    "pattern": r"^\s*([0-9a-fA-F]{64}|[Aa]rchipel-key:[a-zA-Z2-7]{50,200})\s*$",
    "description": "A public key: 64 hexadecimal digits, or archipel-key:..., as a person copies it.",
}
_WHOM = shape({"depositor": _KEY})
_SAID = shape(
    {
        "key": _ID,
        "changed": FLAG,
        "allowed": _FLAG_OR_NULL,
        "refused": FLAG,
        "share": {"type": ["number", "null"]},
        "removed_chunks": COUNT,
    }
)
_RATE: Schema = {"type": ["integer", "null"], "minimum": MIN_BYTES_PER_SECOND, "maximum": MOST_BYTES}
_CHANGES = shape(
    {"quota_bytes": {**COUNT, "maximum": MOST_BYTES}, "up_bytes_per_second": _RATE, "down_bytes_per_second": _RATE},
    optional=("quota_bytes", "up_bytes_per_second", "down_bytes_per_second"),
) | {"minProperties": 1}
_GIVEN: Schema = {
    "type": "array",
    "items": TEXT,
    "description": "Those that the command line names: at the next start they are as it says.",
}
_LIMITS = shape(
    {
        "quota_bytes": COUNT,
        "up_bytes_per_second": _COUNT_OR_NULL,
        "down_bytes_per_second": _COUNT_OR_NULL,
        "used_bytes": COUNT,
        "given": _GIVEN,
    }
)
_LIST: dict[str, Schema] = {"file": TEXT, "depositors": COUNT, "shares": COUNT}
_LISTS = shape(
    {
        "allow": {**shape(_LIST), "type": ["object", "null"]},
        "deny": {**shape(_LIST | {"segments": COUNT}), "type": ["object", "null"]},
    }
)
_PROGRESS = shape(
    {
        "moved": COUNT,
        "left": COUNT,
        "gone": COUNT,
        "total": COUNT,
        "failed": COUNT,
        "bytes": COUNT,
        "why": {"type": "object", "additionalProperties": COUNT},
    }
)
_STANDING = shape(
    {
        "state": {"type": "string", "enum": ["not leaving", "leaving", "stayed", "left"]},
        "progress": {**_PROGRESS, "type": ["object", "null"]},
        "trouble": TEXT_OR_NULL,
    }
)
_WHICH = shape({"node_id": {**_ID, "description": "Of this node, so that nobody makes another one leave."}})


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


async def tell_leaving(parts: Parts) -> None:
    """Say to all pages how far leaving has come, as long as it is under way; until cancelled."""
    while True:
        await parts.leave.begun()
        before = None
        while (now := standing_fields(parts.leave)) != before or now["state"] == "leaving":
            if now != before:
                parts.told.say("leaving", now)
            before = now
            await trio.sleep(TOLD_SECONDS)
        if parts.leave.done.is_set():
            return


def standing_fields(leave: Leave) -> dict[str, Any]:
    """How leaving stands, ready for JSON."""
    standing = leave.standing()
    progress = None if standing.progress is None else standing.progress.fields()
    return {"state": standing.state, "progress": progress, "trouble": standing.trouble or None}


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
        wanted = await read_object(request)
        check(wanted, _CHANGES, "")
        await self._parts.limits.change(wanted)
        return answer(self._limits())

    def _limits(self) -> dict[str, Any]:
        desk = self._parts.limits
        used = self._parts.desk.store.used_bytes
        return {**asdict(desk.limits), "used_bytes": used, "given": sorted(desk.given)}

    async def leave(self, request: Request) -> Response:
        asked = str((await read_shape(request, _WHICH))["node_id"])
        own = self._parts.status.statements.identity.node_id.hex()
        if asked != own:
            raise RefusedError("this is another node than the one that is to leave", hint=f"this one is {own}")
        self._parts.leave.begin()
        return answer(standing_fields(self._parts.leave), 202)

    async def leaving(self, _: Request) -> Response:
        """Whoever has been told that it has left holds up the node's end no longer."""
        standing = standing_fields(self._parts.leave)
        told = BackgroundTask(self._told) if standing["state"] == "left" else None
        return JSONResponse(standing, background=told)

    async def _told(self) -> None:
        self._parts.leave.told.set()


async def _said(handler: Handler, request: Request) -> Response:
    key = (await read_shape(request, _WHOM))["depositor"]
    async with aclosing(handler({"key": key})) as replies:
        async for reply in replies:
            return answer(reply)
    raise AssertionError("it ends without a reply")
