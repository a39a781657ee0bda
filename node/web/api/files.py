"""Files by link, as programs take them that know nothing of archipel: curl, a player of films, a browser."""

import json
import os
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

import trio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from node.errors import NotFoundError
from node.reading.opened import Opened
from node.reading.served import Served
from node.reading.tree import children, file_at, find, only_file
from node.web.content import file_answer
from node.web.http.answers import raw_rest
from node.web.http.calls import Call
from protocol.manifest import Kind

_LINES = 500
_LINK = {
    "name": "link",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The link's word.",
}
_PATH = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}, "description": "In the deposit."}
_RANGE = {"name": "Range", "in": "header", "schema": {"type": "string"}, "description": "One range of bytes."}


def calls(served: Served) -> list[Call]:
    """The calls of this group. Whoever has the link may make them: it is all that opens the deposit."""

    async def file(request: Request) -> Response:
        link, path = _place(request)
        opened = await served.open(link)
        index = _index(opened, path)
        file = None if index is None else file_at(opened.manifest, index)
        if file is not None:
            assert index is not None
            name = os.fsdecode(opened.entry(index).path.rpartition(b"/")[2])
            return file_answer(request, served, opened, file, name)
        if index is not None and opened.entry(index).kind is Kind.SYMLINK:
            raise NotFoundError("this is a symbolic link that leads to no file of the deposit")
        return StreamingResponse(_listing(opened, path.strip(b"/")), media_type="application/json")

    answers = {200: "*/*", 206: "*/*", 304: None}
    return [
        Call(
            method="GET",
            path="/v1/files/{link}",
            handler=file,
            summary="The same, of the one file of a deposit; of more than one, of its top.",
            private=False,
            parameters=(_LINK, _RANGE),
            answers=answers,
        ),
        Call(
            method="GET",
            path="/v1/files/{link}/{path:path}",
            handler=file,
            summary="The bytes of a file, of whatever type it is; of a folder JSON, `entries` (docs/operations.md).",
            private=False,
            parameters=(_LINK, _PATH, _RANGE),
            answers=answers,
        ),
    ]


def _place(request: Request) -> tuple[str, bytes]:
    """The link, and the path as its bytes: what is no UTF-8 would be lost in the path that was decoded."""
    link, slash, path = raw_rest(request, b"/v1/files/").partition(b"/")
    return unquote_to_bytes(link).decode("ascii", "replace"), slash + unquote_to_bytes(path)


def _index(opened: Opened, path: bytes) -> int | None:
    """Of what is at a path; None: of the deposit itself. Without as much as a slash, its one file is meant.

    Raises:
        NotFoundError: There is nothing.
    """
    bare = path.strip(b"/")
    if not bare:
        return None if path else only_file(opened.manifest)
    index = find(opened.manifest, bare)
    if index is None:
        raise NotFoundError("the deposit has no such path", hint="its folder lists what it has")
    return index


async def _listing(opened: Opened, folder: bytes) -> AsyncIterator[bytes]:
    """JSON, some entries at a time: there may be a million."""
    indices = children(opened.manifest, folder)
    between = '{"entries": ['
    while batch := [json.dumps(_told(opened, index)) for index in islice(indices, _LINES)]:
        yield (between + ", ".join(batch)).encode()
        between = ", "
        await trio.lowlevel.checkpoint()
    yield b"]}" if between == ", " else b'{"entries": []}'


def _told(opened: Opened, index: int) -> dict[str, Any]:
    entry = opened.entry(index)
    told: dict[str, Any] = {
        "name": os.fsdecode(entry.path.rpartition(b"/")[2]),
        "kind": entry.kind.name.lower(),
        "size": entry.size,
        "mtime": entry.mtime_ns / 10**9,
        "executable": entry.executable,
    }
    return told | ({"target": os.fsdecode(entry.target)} if entry.kind is Kind.SYMLINK else {})
