"""Changes of the drive: folders, moves, removals, renewals, links that others gave."""

import os
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from node.drive.adding import add_link, describe
from node.drive.fields import renewed_fields
from node.drive.keeping import remove_at, renew_at
from node.drive.shareorder import LEASE_SECONDS
from node.drive.tree import add_folder, drive_path, move
from node.linktext import read_link_text, unseal
from node.progress import Progress
from node.web.api.drive import state_fields
from node.web.api.driveshapes import FLAG, LEFT, LINK, PATH, PATHS, RENEWED, TEXT, changed
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import read_shape, shape
from node.web.parts import Parts
from protocol.links import SealedLink

WORK_SECONDS = 900.0
"""For what asks every holder of every segment."""
DESCRIBE_SECONDS = 60.0

_HERE = shape({"path": PATH})
_MOVE = shape({"from": PATH, "to": PATH})
_REMOVE = shape({"path": PATH, "recursive": FLAG, "forget": FLAG}, optional=("recursive", "forget"))
_RENEW = shape({"path": {**PATH, "type": ["string", "null"], "description": "null: all of the drive."}})
_LINK = shape({"link": LINK, "path": {**PATH, "type": ["string", "null"]}}, optional=("path",))


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    changes = _Changes(parts)
    return [
        Call(
            method="POST",
            path="/v1/drive/folders",
            handler=changes.make_folder,
            summary="Make a folder that stays when it is empty.",
            body=_HERE,
            answers={201: changed(path=TEXT)},
        ),
        Call(
            method="POST",
            path="/v1/drive/move",
            handler=changes.move_it,
            summary="Move or rename something; into what it is moved to, if that is a folder.",
            body=_MOVE,
            answers={200: changed()},
        ),
        Call(
            method="POST",
            path="/v1/drive/remove",
            handler=changes.remove_it,
            summary="Remove something; the leases of deposits are ended first, unless they are to be forgotten.",
            body=_REMOVE,
            answers={200: changed(removed=PATHS, left=LEFT)},
        ),
        Call(
            method="POST",
            path="/v1/drive/renew",
            handler=changes.renew_it,
            summary="Renew what is at a path and below it for 180 days, or all there is.",
            body=_RENEW,
            answers={200: changed(renewed=RENEWED, failed=RENEWED)},
        ),
        Call(
            method="POST",
            path="/v1/drive/links",
            handler=changes.add,
            summary="Keep somebody else's link in the drive.",
            body=_LINK,
            answers={201: changed(path=TEXT)},
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Changes:
    """The handlers."""

    parts: Parts

    async def make_folder(self, request: Request) -> Response:
        path = drive_path((await read_shape(request, _HERE))["path"])
        known = await self.parts.drive.change(lambda drive, now_ms: add_folder(drive, path, now_ms))
        return answer({"path": os.fsdecode(path)} | state_fields(known), 201)

    async def move_it(self, request: Request) -> Response:
        body = await read_shape(request, _MOVE)
        source, target = drive_path(body["from"]), drive_path(body["to"])
        known = await self.parts.drive.change(lambda drive, now_ms: move(drive, source, target, now_ms))
        return answer(state_fields(known))

    async def remove_it(self, request: Request) -> Response:
        body = await read_shape(request, _REMOVE)
        path = drive_path(body["path"])
        async with self.parts.drive.owner(WORK_SECONDS) as owner:
            whole, forget = bool(body["recursive"]), bool(body["forget"])
            done = await remove_at(owner, path, Progress(), whole=whole, forget=forget)
        fields = {
            "removed": [os.fsdecode(entry.path) for entry in done.gone],
            "left": [{"path": os.fsdecode(entry.path), "why": str(why)} for entry, why in done.left],
        }
        return answer(fields | state_fields(self.parts.drive.note(done.known)))

    async def renew_it(self, request: Request) -> Response:
        path = (await read_shape(request, _RENEW))["path"]
        places = [] if path is None else [drive_path(path)]
        async with self.parts.drive.owner(WORK_SECONDS) as owner:
            done = await owner.online(lambda service: renew_at(service, places, LEASE_SECONDS, Progress()))
        fields = {
            "renewed": [renewed_fields(one) for one in done.done if one.failure is None],
            "failed": [renewed_fields(one) for one in done.done if one.failure is not None],
        }
        return answer(fields | state_fields(self.parts.drive.note(done.known)))

    async def add(self, request: Request) -> Response:
        body = await read_shape(request, _LINK)
        link = read_link_text(body["link"])
        if isinstance(link, SealedLink):
            link = unseal(link, await self.parts.accounts.keys())
        path, size = drive_path(body["path"] or ""), 0
        if not path:
            async with self.parts.drive.owner(DESCRIBE_SECONDS) as owner:
                path, size = await owner.online(lambda service: describe(service, link))
        known = await self.parts.drive.change(lambda drive, now_ms: add_link(drive, link, path, size, now_ms))
        return answer({"path": os.fsdecode(path)} | state_fields(known), 201)
