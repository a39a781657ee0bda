"""Links that `archipel open` has brought to the node."""

from starlette.requests import Request
from starlette.responses import Response

from node.web.http.answers import answer
from node.web.http.calls import Call
from node.web.parts import Parts

_LINK = {"type": "object", "required": ["link"], "properties": {"link": {"type": "string"}}}
_TICKET = {"name": "ticket", "in": "path", "required": True, "schema": {"type": "string"}}


def calls(parts: Parts) -> list[Call]:
    """The calls of this group."""

    async def redeem(request: Request) -> Response:
        return answer({"link": parts.tickets.redeem(request.path_params["ticket"])})

    return [
        Call(
            method="POST",
            path="/v1/tickets/{ticket}",
            handler=redeem,
            summary="The link that waits for a ticket of `archipel open`; good once.",
            parameters=(_TICKET,),
            answers={200: _LINK},
        )
    ]
