"""Whether the node runs, and what it says of itself."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from node.metrics import metrics_text
from node.web.answers import answer
from node.web.calls import Call
from node.web.parts import Parts

_HEALTH = {
    "type": "object",
    "required": ["ok", "storing"],
    "properties": {"ok": {"type": "boolean"}, "storing": {"type": "boolean"}},
}


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def health(_: Request) -> Response:
        return answer({"ok": True, "storing": parts.status.statements.storing})

    async def status(_: Request) -> Response:
        return answer(await parts.status.look())

    async def metrics(_: Request) -> Response:
        text = metrics_text(await parts.status.look())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        Call(
            method="GET",
            path="/healthz",
            handler=health,
            summary="Whether it runs, and whether it stores chunks.",
            private=False,
            answers={200: _HEALTH},
        ),
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
