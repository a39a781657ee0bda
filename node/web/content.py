"""A file of a deposit as an HTTP answer: its type and name, conditions and ranges, and its bytes as they come."""

import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from node.errors import NodeError
from node.reading.opened import Opened
from node.reading.served import Served
from node.web.http.answers import error_answer
from node.web.http.ranges import asked_range, has_it
from protocol.manifest import Entry

POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; frame-ancestors 'self'"
)
"""A stranger's file runs nothing, and loads nothing. What a browser makes around a picture or a film may be styled."""

_SEND_BYTES = 256 * 1024
_TYPES = mimetypes.MimeTypes()  # Python's own table: not what this machine happens to have
for _type, _ends in {
    "audio/flac": (".flac",),
    "audio/mp4": (".m4a",),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "image/avif": (".avif",),
    "image/webp": (".webp",),
    "text/markdown": (".md", ".markdown"),
    "video/matroska": (".mkv",),
    "video/mp4": (".m4v",),
    "video/ogg": (".ogv",),
}.items():
    for _end in _ends:
        _TYPES.add_type(_type, _end)
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_SHOWN = ("text/plain", "text/csv", "text/markdown")
_LAST_YEAR = 253_402_300_800  # of four digits, in seconds


def content_type(name: str) -> str:
    """The media type that a name ends in; text is taken for UTF-8."""
    kind, packing = _TYPES.guess_type(name.rpartition("/")[2] or name)
    if packing is not None:
        return _PACKED.get(packing, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _disposition(name: str, kind: str) -> str:
    """Shown by browsers: pictures, sound, films and plain text. Everything else is saved: they might run it."""
    bare = kind.partition(";")[0]
    shown = bare in _SHOWN or (bare.startswith(("image/", "audio/", "video/")) and bare != "image/svg+xml")
    plain = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\%' else "_" for letter in name
    )
    full = quote(name.encode("utf-8", "replace"), safe="")
    return f"{'inline' if shown else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{full}"


def last_modified(entry: Entry) -> datetime | None:
    """When a file was changed, in whole seconds; None: its publisher does not say, or nothing that HTTP can tell."""
    seconds = entry.mtime_ns // 10**9
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LAST_YEAR else None


def file_answer(request: Request, served: Served, opened: Opened, index: int, name: str) -> Response:
    """A file, or the part of it that is asked for; or that the client has it already.

    Args:
        request: GET or HEAD.
        served: Where its bytes come from.
        opened: The deposit.
        index: Of the file's entry.
        name: What it is to be called.

    Raises:
        HttpError: The range lies beyond its end.
    """
    entry = opened.entry(index)
    kind, tag, changed = content_type(name), f'"{opened.tag(index)}"', last_modified(entry)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition(name, kind),
        "Content-Security-Policy": POLICY,
        "Content-Type": kind,
        "ETag": tag,
    }
    if changed is not None:
        headers["Last-Modified"] = format_datetime(changed, usegmt=True)
    if has_it(request, tag, changed):
        del headers["Content-Type"], headers["Content-Disposition"]
        return Response(status_code=304, headers=headers)
    wanted = asked_range(request, entry.size, tag, changed)
    start, stop = wanted or (0, entry.size)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    return _FileAnswer(served, opened, index, (start, stop), 200 if wanted is None else 206, headers)


class _FileAnswer(Response):
    """The bytes of a file; nothing is fetched for HEAD, nor for a client that has gone."""

    def __init__(
        self, served: Served, opened: Opened, index: int, span: tuple[int, int], status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        self._served, self._opened, self._index, self._span = served, opened, index, span
        self.headers["Content-Length"] = str(span[1] - span[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, stop = self._span
        if scope["method"] == "HEAD" or start == stop:
            await self._begin(send)
            await send({"type": "http.response.body", "body": b""})
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            begun = False
            try:
                async with self._served.stream(self._opened, self._index, start, stop) as parts:
                    async for part in parts:
                        if not begun:
                            await self._begin(send)
                            begun = True
                        await _send_part(send, part)
            except NodeError as exc:
                if not begun:
                    await error_answer(exc)(scope, receive, send)
                nursery.cancel_scope.cancel()  # else it is cut short: the connection ends before the length it named
                return
            await send({"type": "http.response.body", "body": b""})
            nursery.cancel_scope.cancel()

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


async def _send_part(send: Send, part: memoryview) -> None:
    for at in range(0, len(part), _SEND_BYTES):
        await send({"type": "http.response.body", "body": bytes(part[at : at + _SEND_BYTES]), "more_body": True})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
