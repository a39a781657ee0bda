"""Whether the node runs, and what it says of itself."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from node.metrics import metrics_text
from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.parts import Parts

_HEALTH = {
    "type": "object",
    "required": ["ok", "storing", "page", "uploads", "network"],
    "properties": {
        "ok": {"type": "boolean"},
        "storing": {"type": "boolean"},
        "page": {
            "enum": ["own", "gateway"],
            "description": "Whose page this is: the user's who runs the node, or everybody's.",
        },
        "network": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "The id of the network, in hex."},
        "uploads": {"type": "boolean", "description": "Whether sealed segments are taken: POST /v1/segments."},
    },
}


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def status(_: Request) -> Response:
        return answer(await parts.status.look())

    async def metrics(_: Request) -> Response:
        text = metrics_text(await parts.status.look())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        _health(parts, page="own", uploads=True),
        Call(
            method="GET",
            path="/metrics",
            handler=metrics,
            summary="The same as /v1/status, for Prometheus.",
            private=False,
            answers={200: "text/plain"},
        ),
        Call(
            method="GET",
            path="/v1/status",
            handler=status,
            summary="What the node says of itself, as `archipel node status --json`.",
            answers={200: {"type": "object"}},
        ),
    ]


def gateway_calls(parts: Parts, *, uploads: bool) -> list[Call]:
    """Those of them that a gateway has."""
    return [_health(parts, page="gateway", uploads=uploads)]


def _health(parts: Parts, *, page: str, uploads: bool) -> Call:
    told = {"ok": True, "page": page, "uploads": uploads, "network": parts.client.network.id.hex()}

    async def health(_: Request) -> Response:
        return answer({**told, "storing": parts.status.statements.storing})

    return Call(
        method="GET",
        path="/healthz",
        handler=health,
        summary="Whether it runs, and what it does.",
        private=False,
        answers={200: _HEALTH},
    )
