"""What the calls of the drive take and give, as OpenAPI has it."""

from typing import Any

from node.web.http.shapes import Schema, shape

MAX_PATH_CHARACTERS = 4096
MAX_LINK_CHARACTERS = 8192

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": ["integer", "null"], "description": "Seconds since 1970-01-01 UTC; null: not known."}
PATH: Schema = {"type": "string", "maxLength": MAX_PATH_CHARACTERS, "description": "In the drive, as the CLI takes it."}
LINK: Schema = {"type": "string", "maxLength": MAX_LINK_CHARACTERS}
KIND: Schema = {"type": "string", "enum": ["folder", "deposit", "name", "link", "share"]}
COUNTRIES: Schema = {"type": "object", "additionalProperties": COUNT, "description": "Claimed country -> chunks."}
SURVIVES: Schema = shape(
    {
        "nodes": {"type": "integer", "minimum": -1, "description": "Any so many nodes may vanish; -1: it is lost now."},
        "country": {"type": "array", "items": TEXT, "description": "Any one of these may vanish."},
        "not_country": {"type": "array", "items": TEXT, "description": "None of these may."},
    }
)
VERSION: Schema = shape({"number": COUNT, "time": COUNT, "link": TEXT, "forks": COUNT})

KNOWN: dict[str, Schema] = {
    "seen": {**TIME, "description": "When the network's newest was last read, seconds since 1970; null: never."},
    "unsent": {**FLAG, "description": "Whether it holds changes that the network has not."},
    "offline": {**TEXT_OR_NULL, "description": "Why the network's newest could not be read, or written."},
}
"""Of every answer about the drive."""
ITEM = shape(
    {
        "id": TEXT,
        "path": TEXT,
        "name": TEXT,
        "kind": KIND,
        "size": {"type": ["integer", "null"]},
        "published": TIME,
        "expiry": TIME,
        "mine": FLAG,
        "label": TEXT_OR_NULL,
    }
)
_ITEMS = {"type": "array", "items": ITEM}
_ENDING = shape({"path": TEXT_OR_NULL, "kind": TEXT, "expires": COUNT})
FOLDER = shape(
    {
        "path": TEXT,
        "items": _ITEMS,
        "ending": {"type": "array", "items": _ENDING, "description": "What ends within 30 days, of the whole drive."},
        "refreshing": {**FLAG, "description": "Whether the network is being asked: look again in a second."},
        **KNOWN,
    }
)
FOUND = shape({"items": _ITEMS, "more": FLAG, **KNOWN})
HEALTH = shape(
    {
        "state": {"type": "string", "enum": ["whole", "weak", "lost", "unknown"]},
        "healthy": FLAG,
        "live": COUNT,
        "chunks": COUNT,
        "lost_segments": COUNT,
        "survives": {**SURVIVES, "type": ["object", "null"]},
        "countries": COUNTRIES,
        "expiry": TIME,
        "version": {**VERSION, "type": ["object", "null"]},
        "error": {**TEXT_OR_NULL, "description": "Why it could not be found out."},
    }
)
HEALTHS = shape(
    {
        "items": {"type": "object", "additionalProperties": HEALTH, "description": "By the items' ids."},
        "waiting": {"type": "array", "items": TEXT, "description": "Ids of what is not counted yet: ask again."},
    }
)


def changed(**more: Schema) -> dict[str, Any]:
    """Of a change."""
    return shape({**more, **KNOWN})


PATHS: Schema = {"type": "array", "items": TEXT}
LEFT: Schema = {"type": "array", "items": shape({"path": TEXT, "why": TEXT})}
RENEWED: Schema = {
    "type": "array",
    "items": shape(
        {
            "path": TEXT,
            "kind": KIND,
            "expires": TIME,
            "restored_chunks": COUNT,
            "undone": PATHS,
            "why": TEXT_OR_NULL,
        }
    ),
}
