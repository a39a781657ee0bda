"""Targets: what programs on this machine ask of a node by HTTP: PROPFIND, ranges, conditions, passwords."""

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree

from starlette.requests import Request

from node.web.dav.access import is_shown
from node.web.dav.places import Place, Thing
from node.web.dav.propfind import MOST_BODY_BYTES, propfind
from node.web.http.answers import HttpError
from node.web.http.ranges import asked_range, has_it
from tests.fuzz.target import Target
from tests.network.asking import scope_of

_FILE = Thing(name=b"a b.txt", is_folder=False, changed=1.0, size=5, kind="text/plain", tag="tag")
_FOLDER = Place(Thing(name=b"top"), lambda: iter((_FILE, Thing(name=b"\xff&<"))))
_HREFS = ["/dav/link/WORD/", "/dav/link/WORD/a%20b.txt", "/dav/link/WORD/%FF%26%3C/"]
_SIZE = 1000
_CHANGED = datetime(2026, 11, 30, tzinfo=UTC)
_HEADERS = ("range", "if-range", "if-none-match", "if-modified-since", "authorization")


def _propfind(data: bytes) -> None:
    try:
        found = propfind(_FOLDER, _HREFS[0], "1", data)
    except HttpError as exc:
        assert exc.status == 400
        return
    assert found.status == 207
    told = ElementTree.fromstring(found.body)
    assert [element.text for element in told.iter("{DAV:}href")] == _HREFS


def _questions() -> Iterator[bytes]:
    yield b""
    for asked in (b"<D:allprop/>", b"<D:name/>", b"<D:prop><D:getetag/><D:resourcetype/><x:y xmlns:x='z'/></D:prop>"):
        yield b"<?xml version='1.0' encoding='utf-8'?><D:propfind xmlns:D='DAV:'>" + asked + b"</D:propfind>"
    yield b"<!DOCTYPE x [<!ENTITY a 'b'>]><D:propfind xmlns:D='DAV:'>&a;</D:propfind>"


def _headers(data: bytes) -> None:
    """Lines, one for each header."""
    told = [(name.encode(), value) for name, value in zip(_HEADERS, data.split(b"\n"), strict=False)]
    request = Request(scope_of("/", "GET", {}) | {"headers": told})
    has_it(request, '"tag"', _CHANGED)
    is_shown(request.headers.get("authorization", ""), "password")
    try:
        found = asked_range(request, _SIZE, '"tag"', _CHANGED)
    except HttpError as exc:
        assert exc.status == 416
        return
    assert found is None or 0 <= found[0] < found[1] <= _SIZE


def _lines() -> Iterator[bytes]:
    yield b'bytes=0-5\n"tag"\n"other", W/"tag"\nMon, 30 Nov 2026 00:00:00 GMT\nBasic YXJjaGlwZWw6cGFzc3dvcmQ='
    yield b"bytes=-7\nMon, 30 Nov 20262026202 00:00:00 GMT\n*\nTue, 31 Feb 2026 25:61:00 +9999\nbasic ="
    yield b"bytes=999-\n\xff\n\xff\n99999999999\nBearer x"


TARGETS = (
    Target("webdav", _propfind, _questions, MOST_BODY_BYTES),
    Target("http-headers", _headers, _lines, 1024),
)
