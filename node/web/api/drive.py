"""The drive, as it is looked at: a folder, a search, how things are."""

import os

from starlette.requests import Request
from starlette.responses import Response

from node.drive.ending import ending
from node.drive.fields import ending_fields, kind_of, state_of, version_fields
from node.drive.health import Condition
from node.drive.known import Known
from node.drive.tree import Item, drive_path
from node.errors import ConfigError, NotFoundError
from node.keeping.survival import survival_fields
from node.web.api.driveshapes import FOLDER, FOUND, HEALTHS, MAX_PATH_CHARACTERS
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import parameter, query
from node.web.parts import Parts
from protocol.drive import EntryKind, folder_entry

MAX_FOUND = 500
MAX_QUERY_CHARACTERS = 1024
HEALTH_SECONDS = 45.0
"""After so long what is not counted yet is named, and may be asked for again."""
_MINE = frozenset((EntryKind.DEPOSIT, EntryKind.NAME, EntryKind.SHARE))


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    desk = parts.drive

    async def show(request: Request) -> Response:
        path = _path(request)
        known = await desk.look()
        tree = await desk.tree(known)
        items = [] if known.is_new and not path else tree.items(path)
        soon = ending(known.drive, parts.client.world.clock.wall())
        fields = {
            "path": os.fsdecode(path),
            "items": [item_fields(item) for item in items],
            "ending": [ending_fields(found) for found in soon],
            "refreshing": desk.refreshing,
        }
        return answer(fields | state_fields(known))

    async def search(request: Request) -> Response:
        text = query(request, "q")
        if not text or len(text) > MAX_QUERY_CHARACTERS:
            raise ConfigError(f"q: want 1 to {MAX_QUERY_CHARACTERS} characters to look for")
        known = await desk.look()
        found, more = await desk.search(known, text, MAX_FOUND)
        return answer({"items": [item_fields(item) for item in found], "more": more} | state_fields(known))

    async def health(request: Request) -> Response:
        tree = await desk.tree(await desk.look())
        items = tree.items(_path(request))
        entries = [item.entry for item in items if item.entry is not None and item.entry.link is not None]
        found = await desk.conditions(entries, HEALTH_SECONDS)
        return answer(
            {
                "items": {entry.id.hex(): health_fields(found[entry.id]) for entry in entries if entry.id in found},
                "waiting": [entry.id.hex() for entry in entries if entry.id not in found],
            }
        )

    path = parameter("path", "A folder, or a thing; none: all of it.", maxLength=MAX_PATH_CHARACTERS)
    text = parameter("q", "What to look for in paths.", required=True, minLength=1, maxLength=MAX_QUERY_CHARACTERS)
    return [
        Call(
            method="GET",
            path="/v1/drive",
            handler=show,
            summary="What lies in a folder of the drive, as this machine knows it.",
            parameters=(path,),
            answers={200: FOLDER},
        ),
        Call(
            method="GET",
            path="/v1/drive/search",
            handler=search,
            summary="What has a text in its path, in whatever case: 500 things at most.",
            parameters=(text,),
            answers={200: FOUND},
        ),
        Call(
            method="GET",
            path="/v1/drive/health",
            handler=health,
            summary="How the things in a folder are, counted within the last minute.",
            parameters=(path,),
            answers={200: HEALTHS},
        ),
    ]


def _path(request: Request) -> bytes:
    text = query(request, "path") or ""
    if len(text) > MAX_PATH_CHARACTERS:
        raise ConfigError(f"path: want at most {MAX_PATH_CHARACTERS} characters")
    return drive_path(text)


def state_fields(known: Known) -> dict[str, object]:
    """Whether this is the network's newest drive. That there is none yet is no failure."""
    none_yet = known.is_new and isinstance(known.why, NotFoundError)
    offline = None if known.why is None or none_yet else str(known.why)
    return {"seen": known.cached.seen or None, "unsent": known.cached.unsent, "offline": offline}


def item_fields(item: Item) -> dict[str, object]:
    """One thing in a folder's list."""
    entry = item.entry
    fields: dict[str, object] = {
        "id": (folder_entry(item.path, 0) if entry is None else entry).id.hex(),
        "path": os.fsdecode(item.path),
        "name": os.fsdecode(item.name),
        "kind": kind_of(entry),
    }
    if entry is None:
        return fields | {"size": None, "published": None, "expiry": None, "mine": True, "label": None}
    content = entry.content
    return fields | {
        "size": content.size,
        "published": content.time or None,
        "expiry": content.expiry or None,
        "mine": entry.kind in _MINE,
        "label": content.label or None,
    }


def health_fields(condition: Condition) -> dict[str, object]:
    """How one thing is."""
    state = state_of(condition)
    newest = condition.newest
    return {
        "state": state,
        "healthy": state == "whole",
        "live": condition.live,
        "chunks": condition.chunks,
        "lost_segments": condition.lost,
        "survives": None if condition.survives is None else survival_fields(condition.survives),
        "countries": condition.countries,
        "expiry": (condition.expires if newest is None else newest.expiry) or None,
        "version": version_fields(condition),
        "error": condition.why or None,
    }
