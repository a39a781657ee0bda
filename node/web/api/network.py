"""The network as this node knows it, by claimed country; and how the deposits of the drive stand in it."""

from starlette.requests import Request
from starlette.responses import Response

from node.web.api.driveshapes import COUNT, FLAG, KIND, SURVIVES, TEXT, TEXT_OR_NULL, TIME
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.http.shapes import shape
from node.web.parts import Parts

_COUNTRY = {"type": "string", "pattern": "^[A-Z]{2}$", "description": "As claimed: two letters."}
_CLAIMS = shape({"nodes": COUNT, "storing": COUNT, "free_bytes": COUNT})
_OWN = shape(
    {"country": {**_COUNTRY, "type": ["string", "null"]}, "address": TEXT, "storing": FLAG, "free_bytes": COUNT}
)
_NETWORK = shape(
    {
        "nodes": {**COUNT, "description": "That answered, this one included."},
        "countries": {"type": "object", "propertyNames": _COUNTRY, "additionalProperties": _CLAIMS},
        "unknown": {**_CLAIMS, "description": "Of those that claim no country."},
        "contacts": {**COUNT, "description": "Nodes that this one knows."},
        "asked": {**COUNT, "description": "Of them, in this round or the last."},
        "silent": COUNT,
        "counting": {**FLAG, "description": "Whether they are being asked: look again in a second."},
        "counted": TIME,
        "own": _OWN,
    }
)
_DEPOSIT = shape(
    {
        "id": TEXT,
        "path": TEXT,
        "kind": KIND,
        "state": {"type": "string", "enum": ["whole", "weak", "lost", "unknown"]},
        "live": COUNT,
        "chunks": COUNT,
        "countries": {"type": "object", "propertyNames": _COUNTRY, "additionalProperties": COUNT},
        "unclaimed": {**COUNT, "description": "Live chunks with nodes that claim no country."},
        "survives": {**SURVIVES, "type": ["object", "null"]},
        "why": {**TEXT_OR_NULL, "description": "Why it could not be counted."},
    }
)
_DEPOSITS = shape(
    {
        "deposits": {"type": "array", "items": _DEPOSIT},
        "done": COUNT,
        "total": COUNT,
        "left_out": {**COUNT, "description": "What is in the drive beyond the 1000 that are counted."},
        "counting": {**FLAG, "description": "Whether they are being counted: look again in a second."},
        "counted": TIME,
        "trouble": {**TEXT_OR_NULL, "description": "Why this is not the newest drive, or could not be counted."},
    }
)


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def network(_: Request) -> Response:
        return answer(parts.census.nodes.look())

    async def deposits(_: Request) -> Response:
        return answer(await parts.census.deposits.look())

    return [
        Call(
            method="GET",
            path="/v1/network",
            handler=network,
            summary="The nodes known here, by claimed country. It answers at once, and asks on while `counting`.",
            answers={200: _NETWORK},
        ),
        Call(
            method="GET",
            path="/v1/network/deposits",
            handler=deposits,
            summary="Live chunks of what is in the drive, by claimed country. As above: it counts on while `counting`.",
            answers={200: _DEPOSITS},
        ),
    ]
