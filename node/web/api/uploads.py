"""Uploads: begun with the list of their files, which are then sent one by one, each from where it was left."""

import json
import os
from collections.abc import Mapping
from contextlib import aclosing, suppress
from itertools import islice
from typing import Any

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from node.errors import ConfigError
from node.web.api.transfers import ID, TRANSFER, told
from node.web.http.answers import HttpError, answer, error_fields, parse_object, read_body
from node.web.http.calls import Call
from node.web.parts import Parts
from node.web.transfers.receiving import OffsetError
from node.web.transfers.spool import SMALL_BYTES, Spool
from node.web.transfers.wanted import MAX_BYTES, MAX_FILES, MAX_MTIME, Upload, UploadFile

MAX_BODY_BYTES = 8 << 20
"""Of the list of files."""
_OFFSET = "Upload-Offset"
_MAX_DIGITS = 19
_FILES_AT_ONCE = 500
_compact = json.JSONEncoder(separators=(",", ":")).encode
_SILENT = 408
_DISCARDED_BYTES, _DISCARD_SECONDS = 128 << 20, 2.0

_UPLOAD = {
    "type": "object",
    "required": ["name", "files"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "What it is to be called in the drive."},
        "folder": {"type": "string", "description": "Of the drive; empty: its top."},
        "files": {
            "type": "array",
            "maxItems": MAX_FILES,
            "description": "None: the upload is an empty folder of this name.",
            "items": {
                "type": "object",
                "required": ["path", "size"],
                "properties": {
                    "path": {"type": "string", "minLength": 1, "description": "In the deposit."},
                    "size": {"type": "integer", "minimum": 0, "maximum": MAX_BYTES},
                    "mtime": {"type": "number", "minimum": 0, "maximum": MAX_MTIME, "description": "0: not known."},
                },
            },
        },
    },
}
_RECEIVED = {"type": "integer", "minimum": 0, "description": "Bytes of the file that are on the node's disk."}
_ONE = {"type": "object", "required": ["received"], "properties": {"received": _RECEIVED}}
_CONFLICT = {
    "type": "object",
    "required": ["error"],
    "properties": {"received": _RECEIVED, "error": {"type": "object"}},
}
_FILE = {
    "type": "object",
    "required": ["path", "size", "mtime_ms", "received"],
    "properties": {
        "path": {"type": "string"},
        "size": {"type": "integer", "minimum": 0},
        "mtime_ms": {"type": "integer", "minimum": 0, "description": "As the list had it."},
        "received": _RECEIVED,
    },
}
_ALL = {
    "type": "object",
    "required": ["transfer", "files", "pack"],
    "properties": {
        "transfer": TRANSFER,
        "files": {"type": "array", "items": _FILE, "description": "Empty once nothing is to be sent any more."},
        "pack": {
            "type": ["object", "null"],
            "required": ["below", "bytes", "received"],
            "properties": {
                "below": {"type": "integer", "description": "Files of fewer bytes are in it."},
                "bytes": {"type": "integer", "description": "Of all of them."},
                "received": _RECEIVED,
            },
        },
    },
}
_NUMBER = {
    "name": "number",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_FILES - 1},
    "description": "Of the file, in the order of the list.",
}
_OFFSET_HEADER = {
    "name": _OFFSET,
    "in": "header",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_BYTES},
    "description": "Where in the file the first byte of the body belongs: after what has been received of it.",
}


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    transfers, blocking = parts.transfers, parts.client.world.blocking

    async def create(request: Request) -> Response:
        body = await read_body(request, MAX_BODY_BYTES)
        upload = await blocking(lambda: Upload.asked(parse_object(body)))
        return told(await transfers.upload(upload), 201)

    async def send(request: Request, number: int | None) -> Response:
        offset = _number(request.headers.get(_OFFSET), _OFFSET)
        length = request.headers.get("content-length")
        announced = None if length is None else _number(length, "Content-Length")
        body = request.stream()
        try:
            received = await transfers.receive(request.path_params["id"], number, offset, body, announced)
        except HttpError as exc:
            if exc.status != _SILENT:
                await _discard(request)
            if isinstance(exc, OffsetError):
                return answer({"received": exc.received, "error": error_fields(exc)}, 409)
            raise
        return answer({"received": received})

    async def send_file(request: Request) -> Response:
        return await send(request, request.path_params["number"])

    async def send_pack(request: Request) -> Response:
        return await send(request, None)

    async def state(request: Request) -> Response:
        live = await transfers.get(request.path_params["id"])
        if live.receiving is None:
            return answer({"transfer": live.fields(), "files": [], "pack": None})
        spool = live.receiving.spool
        asked = await transfers.asked(live.row.id)
        return Response(await blocking(_all, live.fields(), spool, asked), media_type="application/json")

    return [
        Call(
            method="POST",
            path="/v1/uploads",
            handler=create,
            summary="Begin an upload: its files are sent next, and published when all of them are there.",
            body=_UPLOAD,
            answers={201: TRANSFER},
        ),
        Call(
            method="PUT",
            path="/v1/uploads/{id}/files/{number:int}",
            handler=send_file,
            summary="Send the bytes of a file, from where it was left; what is answered as received is on the disk.",
            parameters=(ID, _NUMBER, _OFFSET_HEADER),
            binary=True,
            answers={200: _ONE, 409: _CONFLICT},
        ),
        Call(
            method="PUT",
            path="/v1/uploads/{id}/pack",
            handler=send_pack,
            summary="The same for all files below 1 MiB at once: their bytes, joined in the order of the list.",
            parameters=(ID, _OFFSET_HEADER),
            binary=True,
            answers={200: _ONE, 409: _CONFLICT},
        ),
        Call(
            method="GET",
            path="/v1/uploads/{id}",
            handler=state,
            summary="The files of an upload, and what has been received of each: for a page that was loaded anew.",
            parameters=(ID,),
            answers={200: _ALL},
        ),
    ]


def _all(transfer: Mapping[str, Any], spool: Spool, upload: Upload) -> bytes:
    """An upload with all its files, as JSON: some at a time, as the other threads wait for each. Blocks."""
    files = enumerate(upload.files)
    pieces = list[str]()
    while some := [_one(number, file, spool) for number, file in islice(files, _FILES_AT_ONCE)]:
        pieces.append(_compact(some)[1:-1])
    pack = {"below": SMALL_BYTES, "bytes": spool.size(spool.pack), "received": spool.received(spool.pack)}
    return f'{{"transfer":{_compact(transfer)},"files":[{",".join(pieces)}],"pack":{_compact(pack)}}}'.encode()


def _one(number: int, file: UploadFile, spool: Spool) -> dict[str, Any]:
    return {
        "path": os.fsdecode(file.path),
        "size": file.size,
        "mtime_ms": file.mtime_ns // 10**6,
        "received": spool.received(number),
    }


async def _discard(request: Request) -> None:
    """Take in what is left of a body that is not wanted: a client that still sends would not see the answer."""
    left = _DISCARDED_BYTES
    with trio.move_on_after(_DISCARD_SECONDS), suppress(ClientDisconnect, RuntimeError):  # RuntimeError: it has ended
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                left -= len(part)
                if left < 0:
                    return


def _number(text: str | None, name: str) -> int:
    """A number in a header. Raises ConfigError, HttpError: it is none."""
    if text is None:
        raise ConfigError(f"the header {name} is missing", hint="0 for a file of which nothing was sent before")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise HttpError(400, f"the header {name} is no number of bytes")
    return int(text)
