"""What of the drive is given to others: links of things in it, or of parts of them."""

from starlette.requests import Request
from starlette.responses import Response

from node.drive.known import Known
from node.drive.service import DriveService
from node.drive.shareorder import Order, Shared, Told, carry_out, from_copy, recipient
from node.drive.sharing import shared_link
from node.drive.tree import drive_path
from node.errors import ConfigError, RefusedError
from node.progress import Progress
from node.web.api.driveshapes import FLAG, LINK, PATH, TEXT, TEXT_OR_NULL
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import read_shape, shape
from node.web.parts import Parts
from protocol.links import Link

SHARE_SECONDS = 900.0

_ITEM = shape({"path": PATH})
_LINKS = shape({"link": TEXT, "verify_link": TEXT_OR_NULL})
_ORDER = shape(
    {
        "path": {**PATH, "minLength": 1},
        "inside": {**PATH, "type": ["string", "null"], "description": "In what stands there; null: all of it."},
        "to": {**LINK, "type": ["string", "null"], "description": "An account key: useless to anybody else."},
        "verify": {**FLAG, "description": "Whether it is for checking only."},
    },
    optional=("inside", "to", "verify"),
)


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    desk, world = parts.drive, parts.client.world

    async def link_of(request: Request) -> Response:
        path = drive_path((await read_shape(request, _ITEM))["path"])
        item = (await desk.tree(await desk.look())).find(path)
        if item.entry is None:
            raise RefusedError("a folder of the drive has no link", hint="share one of the things that lie in it")
        link = shared_link(item.entry)
        checks = link.verify_link() if isinstance(link, Link) else None
        return answer({"link": str(link), "verify_link": None if checks is None else str(checks)})

    async def share(request: Request) -> Response:
        body = await read_shape(request, _ORDER)
        place, inside = drive_path(body["path"]), drive_path(body["inside"] or "")
        if not place:
            raise ConfigError("a path is empty")
        order = Order(
            link=None,
            path=place + b"/" + inside if inside else place,
            to=None if body["to"] is None else recipient(body["to"]),
            verify=bool(body["verify"]),
            lease_seconds=None,
        )
        shared = await _share(order)
        return answer({"link": str(order.printed(shared.link, world.random_bytes))})

    async def _share(order: Order) -> Shared:
        found = from_copy(order, await desk.look())  # a link of its own is at hand, and no network is needed
        if found is not None:
            return found

        async def work(service: DriveService) -> Shared:
            journal, seen, depositor = service.journal, service.seen, service.depositor
            heard = Told(known=_note)
            return await carry_out(order, parts.client, journal, depositor, seen, service, Progress(), heard)

        async with desk.owner(SHARE_SECONDS) as owner:
            return await owner.online(work)

    def _note(known: Known) -> None:
        desk.note(known)

    return [
        Call(
            method="POST",
            path="/v1/drive/link",
            handler=link_of,
            summary="The links of a thing in the drive: to read it, and to check it only.",
            body=_ITEM,
            answers={200: _LINKS},
        ),
        Call(
            method="POST",
            path="/v1/drive/share",
            handler=share,
            summary="A link that opens one thing, or a file or folder in it, and nothing else.",
            body=_ORDER,
            answers={200: shape({"link": TEXT})},
        ),
    ]
