"""The account of the node's home: made, restored, unlocked, locked."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from node.account.device import MAX_CHARACTERS
from node.account.drafts import ASKED
from node.account.oskeyring import MAX_SECONDS
from node.account.phrase import MAX_PHRASE_CHARACTERS, WORDS
from node.account.vault import MIN_PASSPHRASE_CHARACTERS
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import read_shape, shape
from node.web.parts import Parts
from protocol.accountfile import MAX_PASSPHRASE_BYTES
from protocol.accountkey import format_account_key

_PASSPHRASE = {"type": "string", "minLength": 1, "maxLength": MAX_PASSPHRASE_BYTES, "format": "password"}
_NEW_PASSPHRASE = {**_PASSPHRASE, "minLength": MIN_PASSPHRASE_CHARACTERS}
_DEVICE = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_CHARACTERS}
_PLACE = {"type": "integer", "minimum": 1, "maximum": WORDS}
_WORD = {"type": "string", "maxLength": 64}
_TIME = {"type": ["integer", "null"], "description": "Seconds since 1970-01-01 UTC."}
_DRAFT = {"type": "string", "maxLength": 64}

ACCOUNT = shape(
    {
        "exists": {"type": "boolean"},
        "key": {"type": ["string", "null"], "description": "The account key, which others may know."},
        "unlocked": {"type": "boolean"},
        "until": _TIME,
        "keeper": {"type": ["string", "null"], "enum": ["agent", "keyring", None]},
        "device": {"type": ["string", "null"], "description": "What this machine is called."},
    }
)
_WORDS = shape(
    {
        "draft": _DRAFT,
        "words": {"type": "array", "items": {"type": "string"}, "minItems": WORDS, "maxItems": WORDS},
        "ask": {"type": "array", "items": _PLACE, "minItems": ASKED, "maxItems": ASKED},
        "key": {"type": "string"},
    }
)
_NOTHING = shape({})
_NEW = shape(
    {
        "draft": _DRAFT,
        "answers": {
            "type": "object",
            "description": "The place of a word, from 1, -> the word: those of `ask`.",
            "additionalProperties": _WORD,
            "maxProperties": ASKED,
        },
        "passphrase": _NEW_PASSPHRASE,
        "device": _DEVICE,
    },
    optional=("device",),
)
_RESTORED = shape(
    {
        "words": {"type": "string", "maxLength": MAX_PHRASE_CHARACTERS, "format": "password"},
        "passphrase": _NEW_PASSPHRASE,
        "device": _DEVICE,
    },
    optional=("device",),
)
_UNLOCKED = shape(
    {"passphrase": _PASSPHRASE, "seconds": {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS}},
)


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""
    desk = parts.accounts

    async def show(_: Request) -> Response:
        return answer(await desk.state())

    async def draft(request: Request) -> Response:
        await read_shape(request, _NOTHING)
        found = await desk.draft()
        key = format_account_key(found.keys.identity.key)
        return answer({"draft": found.id, "words": found.words, "ask": found.asked, "key": key})

    async def create(request: Request) -> Response:
        body = await read_shape(request, _NEW)
        await desk.create(body["draft"], _places(body["answers"]), body["passphrase"], body["device"])
        return answer(await desk.state(), 201)

    async def restore(request: Request) -> Response:
        body = await read_shape(request, _RESTORED)
        await desk.restore(body["words"], body["passphrase"], body["device"])
        return answer(await desk.state(), 201)

    async def unlock(request: Request) -> Response:
        body = await read_shape(request, _UNLOCKED)
        await desk.unlock(body["passphrase"], body["seconds"])
        return answer(await desk.state())

    async def lock(request: Request) -> Response:
        await read_shape(request, _NOTHING)
        await desk.lock()
        parts.drive.forget()
        return answer(await desk.state())

    def post(path: str, handler: Any, summary: str, body: Mapping[str, Any], done: int, schema: Any = ACCOUNT) -> Call:
        return Call(method="POST", path=path, handler=handler, summary=summary, body=body, answers={done: schema})

    return [
        Call(
            method="GET",
            path="/v1/account",
            handler=show,
            summary="Whether there is an account, and whether it is unlocked.",
            answers={200: ACCOUNT},
        ),
        post(
            "/v1/account/words",
            draft,
            "The words of an account that is none yet: kept for 30 minutes.",
            _NOTHING,
            200,
            _WORDS,
        ),
        post(
            "/v1/account",
            create,
            "Make the account whose words were written down; it is unlocked for 8 hours.",
            _NEW,
            201,
        ),
        post(
            "/v1/account/restore",
            restore,
            "Bring an account back from its 24 words; it is unlocked for 8 hours.",
            _RESTORED,
            201,
        ),
        post("/v1/account/unlock", unlock, "Keep the account unlocked for a while.", _UNLOCKED, 200),
        post("/v1/account/lock", lock, "Forget the unlocked account.", _NOTHING, 200),
    ]


def _places(answers: Mapping[str, str]) -> dict[int, str]:
    """By number; what is none is at place 0, where no word is."""
    return {
        int(place) if place.isascii() and place.isdecimal() and len(place) <= 2 else 0: word
        for place, word in answers.items()
    }
