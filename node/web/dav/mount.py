"""`/dav/`: who may read what there, and how it is answered."""

import importlib
import os
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.errors import NotFoundError
from node.home import Home
from node.reading.served import Served
from node.reading.slots import Slots
from node.web.content import file_answer
from node.web.dav.access import is_shown, password
from node.web.dav.drive import DriveView
from node.web.dav.places import Place, Thing, in_deposit
from node.web.desks.drive import DriveDesk
from node.web.http.answers import HttpError, raw_rest, read_body
from node.web.http.calls import telling

METHODS = ("OPTIONS", "GET", "HEAD", "PROPFIND")
_OPTIONS = {"Allow": ", ".join(METHODS), "DAV": "1", "MS-Author-Via": "DAV"}
_OF_FOLDERS = {"Allow": ", ".join(method for method in METHODS if method not in ("GET", "HEAD"))}
_FINITE = b'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>'
_BODY_BYTES = 16 * 1024
_AT_ONCE = 2
"""Folders that are told at the same time: each takes a thread, and memory."""


@dataclass(slots=True)
class Dav:
    """What is beneath ``/dav/``."""

    served: Served
    home: Home | None
    """Whose drive it shows; None: nobody's."""
    desk: DriveDesk | None
    """Its drive."""
    _room: Slots = field(default_factory=partial(Slots, _AT_ONCE, "listing folders"))

    def route(self) -> Route:
        """For a site."""
        return Route("/dav/{path:path}", telling(self._answer), methods=METHODS)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=_OPTIONS)
        place = await self._place(request)
        if request.method == "PROPFIND":
            return await self._told(request, place)
        if place.file is None:
            raise HttpError(405, "this is a folder", hint="open it with a file manager", headers=_OF_FOLDERS)
        return file_answer(request, self.served, *place.file, os.fsdecode(place.thing.name))

    async def _place(self, request: Request) -> Place:
        """What the request's path leads to.

        Raises:
            HttpError: It needs the password.
            NodeError: There is nothing, or it cannot be had.
        """
        kind, *rest = raw_rest(request, b"/dav/").split(b"/")
        steps = [unquote_to_bytes(step) for step in rest if step]
        if kind == b"link" and steps:
            opened = await self.served.open(steps[0].decode("ascii", "replace"))
            return in_deposit(opened, b"/".join(steps[1:]), Thing(name=b"deposit"))
        if kind == b"drive" and self.home is not None and self.desk is not None:
            await self._check_password(request, self.home)
            return await DriveView(self.served, self.desk).place(b"/".join(steps))
        raise NotFoundError("there is nothing here", hint="/dav/link/LINK/ and /dav/drive/ can be opened")

    async def _check_password(self, request: Request, home: Home) -> None:
        wanted = await self.served.client.world.blocking(password, home)
        if not is_shown(request.headers.get("authorization", ""), wanted):
            raise HttpError(
                401,
                "the drive is opened by its password",
                hint="archipel open --webdav prints it",
                headers={"WWW-Authenticate": 'Basic realm="archipel drive", charset="UTF-8"'},
            )

    async def _told(self, request: Request, place: Place) -> Response:
        depth = request.headers.get("depth", "infinity").strip().lower()
        if depth not in ("0", "1"):
            return Response(_FINITE, 403, media_type="application/xml; charset=utf-8")
        body = await read_body(request, _BODY_BYTES)
        href = request.scope["raw_path"].decode("ascii")
        blocking = self.served.client.world.blocking
        async with self._room.taken():
            answerer = await blocking(importlib.import_module, "node.web.dav.propfind")  # 40 ms, 7 MB, when it is used
            found = await blocking(answerer.propfind, place, href, depth, body)
        return Response(found.body, found.status, headers=found.headers)
