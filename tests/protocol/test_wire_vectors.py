"""The vectors of docs/spec/wire.md, one operation each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import errors
from protocol.channel import MAX_SEND_BODY
from protocol.identity import Network, verify
from protocol.ids import NetworkId, PublicKey, SegmentId
from protocol.leases import open_lease
from protocol.messages import Message, Survey, SurveyReply, answers, decode_message, encode_message
from protocol.records import open_node_record, open_provider, open_receipt
from protocol.statements import permit_statement, survey_statement
from tests.vectors import make_wire

PATHS = sorted((Path(__file__).parent.parent / "vectors").glob("wire_*.json"))

Json = dict[str, Any]


def _messages(inputs: Json) -> None:
    for case in inputs["messages"]:
        message = decode_message(bytes.fromhex(case["hex"]))
        assert type(message).__name__ == case["message"]
        assert make_wire.plain(message) == case["fields"]
        assert encode_message(message).hex() == case["hex"]
    assert {case["message"] for case in inputs["messages"]} == {cls.__name__ for cls in Message.__args__}


def _message(inputs: Json) -> None:
    decode_message(bytes.fromhex(inputs["header"]))


def _signed(opener: Callable[[bytes, NetworkId], object]) -> Callable[[Json], Json]:
    def run(inputs: Json) -> Json:
        record = opener(bytes.fromhex(inputs["data"]), NetworkId(bytes.fromhex(inputs["network"])))
        plain: Json = make_wire.plain(record)
        return plain

    return run


def _provider(inputs: Json) -> Json:
    network, segment, data = (bytes.fromhex(inputs[name]) for name in ("network", "segment", "data"))
    plain: Json = make_wire.plain(open_provider(NetworkId(network), SegmentId(segment), data))
    return plain


def _permit(inputs: Json) -> Json:
    names = ("network", "depositor", "segment", "holder", "permit")
    network, depositor, segment, holder, permit = (bytes.fromhex(inputs[name]) for name in names)
    statement = permit_statement(
        network=NetworkId(network), segment=SegmentId(segment), index=inputs["index"], holder=PublicKey(holder)
    )
    verify(PublicKey(depositor), "permit", statement, permit)
    return {"statement": statement.hex()}


def _survey(inputs: Json) -> Json:
    request, reply = (decode_message(bytes.fromhex(inputs[name])) for name in ("request", "reply"))
    assert isinstance(request, Survey)
    assert isinstance(reply, SurveyReply)
    assert answers(reply, request)
    statement = survey_statement(
        network=NetworkId(bytes.fromhex(inputs["network"])),
        nonce=request.nonce,
        time=reply.time,
        segments=[shared.segment for shared in request.segments],
        answers=reply.segments,
    )
    verify(PublicKey(bytes.fromhex(inputs["holder"])), "survey", statement, reply.signature)
    return {"statement": statement.hex()}


def _channel(inputs: Json) -> Json:
    network = Network(inputs["network"])
    sides = [make_wire.channel(side, inputs[side], network) for side in ("initiator", "responder")]
    sent = make_wire.conversation(*sides)
    initiator = sides[0]
    for side, data in sent[4:]:
        assert side == "responder"
        initiator.receive_data(data)
    initiator.next_event()
    body = bytearray(MAX_SEND_BODY)
    assert body[: initiator.receive_body_into(memoryview(body))] == bytes(range(100))
    return {"sent": [{"by": side, "data": data.hex()} for side, data in sent]}


def _responder(inputs: Json) -> None:
    responder = make_wire.channel("responder", inputs["responder"], Network(inputs["network"]))
    responder.receive_data(bytes.fromhex(inputs["received"]))
    while responder.next_event() is not None:
        pass


OPERATIONS: dict[str, Callable[[Json], Json | None]] = {
    "messages": _messages,
    "message": _message,
    "node record": _signed(open_node_record),
    "receipt": _signed(open_receipt),
    "lease": _signed(open_lease),
    "provider record": _provider,
    "permit": _permit,
    "survey": _survey,
    "channel": _channel,
    "responder": _responder,
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    run = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert run(vector["input"]) == vector.get("output")
        return
    with pytest.raises(errors.ProtocolError) as raised:
        run(vector["input"])
    assert type(raised.value).__name__ == vector["expect"]


def test_the_files_are_those_that_the_maker_makes() -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in make_wire.vectors()}
    assert made == {path.stem: json.loads(path.read_text()) for path in PATHS}
