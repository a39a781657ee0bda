"""The network as this node knows it, by claimed country; and how the deposits of the drive stand in it."""

from starlette.requests import Request
from starlette.responses import Response

from node.web.answers import answer
from node.web.calls import Call
from node.web.parts import Parts
from node.web.schemas import COUNT, COUNTRY, FLAG, MAYBE_COUNT, MAYBE_TEXT, TEXT, by_country, or_null, record, rows

_CLAIMS = record(nodes=COUNT, storing=COUNT, free_bytes=COUNT)
_NETWORK = record(
    nodes=COUNT,
    countries=by_country(_CLAIMS),
    unknown=_CLAIMS,
    contacts=COUNT,
    asked=COUNT,
    silent=COUNT,
    counting=FLAG,
    counted=MAYBE_COUNT,
    own=record(country=or_null(COUNTRY), address=TEXT, storing=FLAG, free_bytes=COUNT),
)
_SURVIVES = record(nodes={"type": "integer", "minimum": -1}, country=rows(COUNTRY), not_country=rows(COUNTRY))
_DEPOSIT = record(
    id={"type": "string"},
    path=TEXT,
    kind={"enum": ["deposit", "link", "name"]},
    state={"enum": ["whole", "weak", "lost", "unknown"]},
    live=COUNT,
    chunks=COUNT,
    countries=by_country(COUNT),
    unclaimed=COUNT,
    survives=or_null(_SURVIVES),
    why=MAYBE_TEXT,
)
_DEPOSITS = record(
    deposits=rows(_DEPOSIT),
    done=COUNT,
    total=COUNT,
    left_out=COUNT,
    counting=FLAG,
    counted=MAYBE_COUNT,
    trouble=MAYBE_TEXT,
)


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def network(_: Request) -> Response:
        return answer(parts.nodes.look())

    async def deposits(_: Request) -> Response:
        return answer(await parts.deposits.look())

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
