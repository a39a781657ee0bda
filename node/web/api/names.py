"""The records of a name, for whoever opens them elsewhere."""

from starlette.requests import Request
from starlette.responses import Response

from node.client import Client
from node.errors import NetworkError
from node.web.http.answers import answer, hex_parameter
from node.web.http.calls import Call
from protocol.ids import PublicKey
from protocol.names import name_id

_KEY = {"name": "key", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}}
_RECORDS = {
    "type": "object",
    "required": ["records", "network"],
    "properties": {
        "network": {"type": "string", "description": "The id of the network, which records are signed for, in hex."},
        "records": {
            "type": "array",
            "items": {"type": "string"},
            "description": "In hex, all of the highest sequence that nodes have; none: nobody has one.",
        },
    },
}


def calls(client: Client) -> list[Call]:
    """The calls of this group."""

    async def records(request: Request) -> Response:
        key = PublicKey(hex_parameter(request, "key", "the key of a name"))
        found = await client.dht.get_records(name_id(key))
        if not found.nodes and not found.holders:
            raise NetworkError("no node near the name answers", hint="is the node online?")
        return answer({"records": [signed.data.hex() for signed in found.newest], "network": client.network.id.hex()})

    return [
        Call(
            method="GET",
            path="/v1/names/{key}",
            handler=records,
            summary="The newest records of a name, as nodes keep them. Whoever asks has to check them.",
            private=False,
            parameters=(_KEY,),
            answers={200: _RECORDS},
        )
    ]
