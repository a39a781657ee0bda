"""Sealed segments, for whoever opens and seals them elsewhere (docs/spec/web.md)."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from node.errors import NodeError, one_error
from node.web.http.answers import HttpError, answer, hex_parameter
from node.web.http.calls import Call
from node.web.http.ranges import asked_range, has_it
from node.web.sealed.counting import count_holders
from node.web.sealed.gather import SealedSegments
from node.web.sealed.receiving import SealedUploads
from protocol.ids import SegmentId
from protocol.sealedsegment import MAX_HEAD_BYTES, MAX_UPLOAD_BYTES, Head

SEND_SECONDS, SEND_BYTES_PER_SECOND = 30.0, 64 * 1024
"""For an answer to be taken: so long, and longer by its length. Whoever reads more slowly holds everybody's memory."""
DRAIN_SECONDS = 15.0
"""For the rest of a body that is refused."""
_DAY = 86_400
OWN_LEASE_SECONDS, GATEWAY_LEASE_SECONDS = 400 * _DAY, 30 * _DAY

_BYTES = "application/octet-stream"
_SEGMENT = {
    "name": "segment",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "One range of bytes. What ends before byte 6,146 may be answered with the head alone.",
}
_COUNTRIES = {"type": "object", "additionalProperties": {"type": "integer"}}
_STORED = {
    "type": "object",
    "required": ["placed", "n", "k", "nodes", "countries"],
    "properties": {
        **{name: {"type": "integer"} for name in ("placed", "n", "k", "nodes")},
        "countries": {**_COUNTRIES, "description": "Claimed country to chunks; empty: unknown."},
    },
}
_HOLDERS = {
    "type": "object",
    "required": ["k", "n", "holders"],
    "properties": {
        "k": {"type": ["integer", "null"]},
        "n": {"type": ["integer", "null"]},
        "holders": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "country", "live"],
                "properties": {
                    "index": {"type": "integer"},
                    "country": {"type": ["string", "null"]},
                    "live": {"type": "boolean", "description": "Whether it answers that it holds the chunk."},
                },
            },
        },
    },
}


def calls(sealed: SealedSegments, client_of: Callable[[Scope], str]) -> list[Call]:
    """What can be read.

    Args:
        sealed: Who gathers it.
        client_of: Who of many asks; empty: the user of the node.
    """

    async def read(request: Request) -> Response:
        segment = _segment(request)
        if has_it(request, _tag(segment), exists=False):
            return Response(status_code=304, headers=_headers(segment))
        release = AsyncExitStack()
        try:
            return await _while_there(request, _answered(request, sealed, segment, client_of(request.scope), release))
        except BaseException:
            await release.aclose()
            raise

    async def holders(request: Request) -> Response:
        counted = await count_holders(sealed.client, _segment(request))
        layout = counted.layout
        found = [
            {"index": holder.index, "country": holder.country or None, "live": counted.is_live(holder)}
            for holder in counted.holders
        ]
        return answer({"k": layout and layout.k, "n": layout and layout.n, "holders": found})

    return [
        Call(
            method="GET",
            path="/v1/segments/{segment}",
            handler=read,
            summary="A sealed segment: descriptor, block hashes, blocks; with Range.",
            private=False,
            parameters=(_SEGMENT, _RANGE),
            answers={200: _BYTES, 206: _BYTES, 304: None},
        ),
        Call(
            method="GET",
            path="/v1/segments/{segment}/holders",
            handler=holders,
            summary="Who is announced to hold its chunks, and who of them answers.",
            private=False,
            parameters=(_SEGMENT,),
            answers={200: _HOLDERS},
        ),
    ]


def upload_calls(
    uploads: SealedUploads, most_seconds: int, client_of: Callable[[Scope], str], *, private: bool
) -> list[Call]:
    """What can be stored.

    Args:
        uploads: Who takes it in.
        most_seconds: For so long, from now, a lease may run.
        client_of: As for :func:`calls`.
        private: Whether only the node's own page may.
    """

    async def store(request: Request) -> Response:
        size, body = _length(request), _Incoming(request)
        try:
            stored = await uploads.receive(body.parts(), size, most_seconds, client_of(request.scope))
        except (NodeError, ExceptionGroup):
            await body.drain()
            raise
        return answer(asdict(stored), 201)

    return [
        Call(
            method="POST",
            path="/v1/segments",
            handler=store,
            summary="Store a segment that was sealed elsewhere, under the lease that comes along.",
            private=private,
            binary=True,
            answers={201: _STORED},
        )
    ]


def nobody_else(_: Scope) -> str:
    """On the node's own page: whoever asks is its user."""
    return ""


def _segment(request: Request) -> SegmentId:
    return SegmentId(hex_parameter(request, "segment", "a segment id"))


def _tag(segment: SegmentId) -> str:
    return f'"{segment.hex()}"'


def _headers(segment: SegmentId) -> dict[str, str]:
    """Whatever the bytes are, they are the same for ever."""
    return {
        "ETag": _tag(segment),
        "Cache-Control": "public, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Type": _BYTES,
    }


async def _answered(
    request: Request, sealed: SealedSegments, segment: SegmentId, client: str, release: AsyncExitStack
) -> "_PiecesResponse":
    """The segment or a range of it. The memory of its blocks goes with ``release``."""
    headers = _headers(segment)
    if request.method == "GET" and "range" not in request.headers:
        head, blocks = await release.enter_async_context(sealed.whole(segment, client))
        headers["Content-Length"] = str(head.whole_bytes)
        return _PiecesResponse([memoryview(head.encode()), *blocks], 200, headers, release)
    head = await sealed.head(segment, client)
    whole = head.whole_bytes
    wanted = asked_range(request, whole, _tag(segment))
    start, stop = (0, whole) if wanted is None else _without_a_block(head, *wanted)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{whole}"
    headers["Content-Length"] = str(stop - start)
    pieces: list[memoryview] = []
    if request.method != "HEAD":
        pieces.append(memoryview(head.encode())[start:stop])
        first, end = head.blocks_of(start, stop)
        if first < end:
            blocks = await release.enter_async_context(sealed.blocks(segment, first, end - first, client))
            begin = head.offset(first)
            pieces += _cut(blocks, start - begin, stop - begin)
    return _PiecesResponse(pieces, 200 if wanted is None else 206, headers, release)


def _without_a_block(head: Head, start: int, stop: int) -> tuple[int, int]:
    """Of whoever takes the first 6,146 bytes for the sake of the head, all that is wanted is the head.

    Not of a single block: with that it is one round trip.
    """
    before = len(head.encode())
    if start < before < stop <= MAX_HEAD_BYTES and head.descriptor.layout.blocks > 1:
        return start, before
    return start, stop


def _cut(blocks: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """What bytes ``start`` to ``stop - 1`` of the blocks are, joined; ``start`` may be before them."""
    found = []
    at = 0
    for block in blocks:
        found.append(block[max(0, start - at) : max(0, stop - at)])
        at += len(block)
    return found


class _PiecesResponse(Response):
    """Sends pieces of memory, which is given back then, or when the client does not take them."""

    def __init__(
        self, pieces: Sequence[memoryview], status: int, headers: dict[str, str], release: AsyncExitStack
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        self._pieces = pieces
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seconds = SEND_SECONDS + sum(map(len, self._pieces)) / SEND_BYTES_PER_SECOND
        async with self._release:
            with trio.move_on_after(seconds):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _while_there(request: Request, work: Awaitable[Response]) -> Response:
    """What ``work`` gives; nothing that anybody sees once the client has gone."""
    found = Response(status_code=499)

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()

    async with one_error(), trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        found = await work
        nursery.cancel_scope.cancel()
    return found


def _length(request: Request) -> int:
    """What the client says. Raises HttpError: nothing, or too much."""
    text = request.headers.get("content-length", "")
    if re.fullmatch("[0-9]{1,18}", text, re.ASCII) is None:
        raise HttpError(411, "the length of the body is needed")
    if int(text) > MAX_UPLOAD_BYTES:
        raise HttpError(413, f"a sealed segment is sent in at most {MAX_UPLOAD_BYTES} bytes, not {text}")
    return int(text)


class _Incoming:
    """A body as it comes; it ends where the client goes away."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._over = False

    async def parts(self) -> AsyncGenerator[bytes, None]:
        while not self._over:
            message = await self._receive()
            self._over = message["type"] == "http.disconnect" or not message.get("more_body", False)
            if part := message.get("body", b""):
                yield part

    async def drain(self) -> None:
        """Read what else comes: until it has sent all, a browser does not look at the answer."""
        with trio.move_on_after(DRAIN_SECONDS):
            async with aclosing(self.parts()) as parts:
                async for _ in parts:
                    pass
