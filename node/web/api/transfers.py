"""Uploads and downloads under way: their list, what is to become of them; and downloads begun."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import read_shape, shape
from node.web.parts import Parts
from node.web.transfers.live import Live
from node.web.transfers.row import Kind, State
from protocol.links import MAX_TEXT

_TIME = {"type": "integer", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT_OR_NONE = {"type": ["string", "null"]}

ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "description": "Of the transfer.",
}

TRANSFER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "kind": {"enum": [kind.value for kind in Kind]},
        "name": {"type": "string", "description": "What it is called; empty while a download does not know it."},
        "folder": {**_TEXT_OR_NONE, "description": "Of the drive, that an upload goes to; empty: its top."},
        "to": {**_TEXT_OR_NONE, "description": "Folder of this machine, that a download goes to."},
        "state": {"enum": [state.value for state in State]},
        "waits_for": {"enum": ["turn", "network", "account", None], "description": "While it waits."},
        "files": _COUNT,
        "total_bytes": {"type": ["integer", "null"], "minimum": 0, "description": "Null: not known yet."},
        "received_bytes": {**_COUNT, "description": "Of an upload: sent by the browser, and on the node's disk."},
        "sealed_bytes": {**_COUNT, "description": "Of an upload: of files, in chunks that are made."},
        "placed_chunks": {**_COUNT, "description": "Confirmed by their holders: receipt, audit, or verified blocks."},
        "chunks": {**_COUNT, "description": "Of all segments that have been begun; 0 of a download."},
        "confirmed_bytes": {
            **_COUNT,
            "description": "Of files: whose chunks holders have acknowledged as on disk; or verified and written here.",
        },
        "sent_bytes": {**_COUNT, "description": "Of chunks: sent and acknowledged; or received and verified."},
        "nodes": {**_COUNT, "description": "Distinct nodes that confirmed a chunk."},
        "countries": {
            "type": "object",
            "additionalProperties": _COUNT,
            "description": "Confirmed chunks by the country that their holders claim; empty: unknown.",
        },
        "error": {
            "type": ["object", "null"],
            "required": ["exit", "text", "hint"],
            "properties": {"exit": {"type": "integer"}, "text": {"type": "string"}, "hint": _TEXT_OR_NONE},
        },
        "notes": {"type": "array", "items": {"type": "string"}, "description": "What a person should know."},
        "link_path": {**_TEXT_OR_NONE, "description": "Where it stands in the drive, or came from."},
        "created": _TIME,
        "finished": {"type": ["integer", "null"], "minimum": 0},
    },
}
TRANSFER["required"] = list(TRANSFER["properties"])
TRANSFER["additionalProperties"] = False

_LIST = {
    "type": "object",
    "required": ["transfers"],
    "properties": {"transfers": {"type": "array", "items": TRANSFER}},
}
_PATH = {"type": ["string", "null"], "maxLength": 4096}
_DOWNLOAD = shape(
    {
        "link": {"type": ["string", "null"], "maxLength": MAX_TEXT, "description": "Either this, or a path."},
        "path": {**_PATH, "description": "In the drive."},
        "inside": {**_PATH, "description": "In the deposit; null: all of it."},
        "to": {**_PATH, "description": "A folder of this machine; null: where this user's downloads go."},
    },
    optional=("link", "path", "inside", "to"),
)
_DOES = {
    "pause": "Stop a transfer: what is confirmed stays so.",
    "resume": "Have a transfer go on that was paused or has failed.",
    "cancel": "Give a transfer up, with all that was kept for it.",
    "forget": "Do not show a transfer any more that has ended.",
}


def told(live: Live, status: int = 200) -> Response:
    """A transfer, as an answer."""
    return answer(live.fields(), status)


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    transfers = parts.transfers

    async def listed(_: Request) -> Response:
        return answer({"transfers": [live.fields() for live in await transfers.all()]})

    async def download(request: Request) -> Response:
        wanted = await read_shape(request, _DOWNLOAD)
        return told(await transfers.download(**wanted), 201)

    def doing(act: Callable[[str], Awaitable[Live]]) -> Callable[[Request], Awaitable[Response]]:
        async def do(request: Request) -> Response:
            return told(await act(request.path_params["id"]))

        return do

    acts = {
        "pause": transfers.pause,
        "resume": transfers.resume,
        "cancel": transfers.cancel,
        "forget": transfers.forget,
    }
    return [
        Call(
            method="GET",
            path="/v1/transfers",
            handler=listed,
            summary="All transfers, the oldest first.",
            answers={200: _LIST},
        ),
        Call(
            method="POST",
            path="/v1/downloads",
            handler=download,
            summary="Fetch a deposit, or a part of it, into a folder of this machine.",
            body=_DOWNLOAD,
            answers={201: TRANSFER},
        ),
        *(
            Call(
                method="POST",
                path=f"/v1/transfers/{{id}}/{act}",
                handler=doing(acts[act]),
                summary=summary,
                parameters=(ID,),
                answers={200: TRANSFER},
            )
            for act, summary in _DOES.items()
        ),
    ]
