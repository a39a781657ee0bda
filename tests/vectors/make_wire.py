"""Vectors of docs/spec/wire.md and of leases: messages, signed records, a channel. Run by scripts/make_vectors."""

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass, replace
from typing import Any

import msgpack

from protocol import messages as m
from protocol.channel import Channel
from protocol.identity import Identity, Network
from protocol.ids import Address, ChunkId, SegmentId
from protocol.leases import Lease, Policy, lease_set_digest, sign_lease
from protocol.messages import ErrorCode, Message, encode_message
from protocol.records import NodeRecord, ProviderRecord, Receipt, sign_node_record, sign_receipt
from protocol.statements import permit_statement, survey_statement

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK = Network("archipel vectors")
OTHER = Network("another network")
NODE, CLIENT = Identity(bytes(range(32))), Identity(bytes(range(32, 64)))
SEGMENT = SegmentId(bytes(range(64, 96)))
ADDRESS, ADDRESS6 = Address("192.0.2.1", 4110), Address("2001:db8::1", 4110)
TIME = 1_700_000_000
NONCE = bytes(range(16))
SURVEYED = (m.Shared(segment=SEGMENT, indices=b"\x00\x1f"), m.Shared(segment=SegmentId(bytes(32))))
HOLDS = (m.Holds(indices=b"\x05\x0b", leases=lease_set_digest([b"lease"]), missing=2), m.Holds())
SEEDS = {
    "initiator": {"identity": bytes(range(32, 64)), "static": b"\x11" * 32, "ephemeral": b"\x12" * 32},
    "responder": {"identity": bytes(range(32)), "static": b"\x21" * 32, "ephemeral": b"\x22" * 32},
}


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/wire.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes in hex, addresses as text, dataclasses by field."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in _fields(value).items()}
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in asdict(value)}


def _samples() -> list[Message]:
    return [
        m.Hello(),
        m.HelloReply(record=b"node record", observed=ADDRESS),
        m.HelloReply(record=b"node record", observed=ADDRESS6),
        m.Have(depositor=CLIENT.key, deposit=bytes(16), segments=(SEGMENT, SegmentId(bytes(32)))),
        m.HaveReply(held=(m.Held(indices=b"\x00\x05\x1f", expiry=TIME), m.Held())),
        m.Get(segment=SEGMENT, index=11, first=3, count=128, proof=True),
        m.GetReply(),
        m.GetReply(descriptor=b"descriptor", hashes=bytes(64)),
        m.Put(descriptor=b"descriptor", index=11, hashes=bytes(32), lease=b"lease"),
        m.Put(descriptor=b"descriptor", index=11, hashes=bytes(32), lease=b"lease", permit=bytes(64)),
        m.PutReply(receipt=b"receipt", provider=b"provider record"),
        m.PutLease(lease=b"lease"),
        m.LeaseReply(receipts=(b"receipt",), providers=(b"provider record",)),
        m.LeaseReply(),
        m.Audit(segment=SEGMENT, index=11, block=127, nonce=bytes(range(16))),
        m.AuditReply(descriptor=b"descriptor", hashes=bytes(32), signature=bytes(64)),
        m.DialBack(address=ADDRESS),
        m.DialBackReply(udp=True, tcp=False),
        m.Survey(nonce=NONCE, segments=()),
        m.Survey(nonce=NONCE, record=b"node record", segments=SURVEYED),
        m.SurveyReply(segments=HOLDS, time=TIME, signature=bytes(64)),
        m.Leases(segment=SEGMENT),
        m.Leases(segment=SEGMENT, skip=64),
        m.LeasesReply(),
        m.LeasesReply(leases=(b"a lease", b"lease"), more=True),
        m.ErrorReply(code=ErrorCode.NOT_FOUND, text="no such segment: Île"),
    ]


def _messages() -> Named:
    listed = [
        {"message": type(message).__name__, "fields": plain(message), "hex": encode_message(message).hex()}
        for message in _samples()
    ]
    text = "one header or more of each type"
    yield "wire_messages", _vector("messages", text, {"messages": listed}, "success")

    def bad(name: str, text: str, data: bytes) -> tuple[str, Vector]:
        vector = _vector("message", text, {"header": data.hex()}, "RemoteProtocolError")
        return f"wire_message_{name}", vector

    get = encode_message(m.Get(segment=SEGMENT, index=11, count=1))
    fields = msgpack.unpackb(get)
    yield bad("empty", "no bytes", b"")
    yield bad("cut", "the last byte is missing", get[:-1])
    yield bad("trailing", "a byte after the header", get + b"\xc0")
    yield bad("few", "a field is missing", msgpack.packb(fields[:-1]))
    yield bad("many", "a field too many", msgpack.packb([*fields, 0]))
    yield bad("map", "a map instead of an array", msgpack.packb({0: 1}))
    yield bad("type", "no such type", msgpack.packb([63, b""]))
    yield bad("no_type", "an array of nothing", b"\x90")
    yield bad("range", "index 32", msgpack.packb([3, SEGMENT, 32, 0, 1, False]))
    yield bad("negative", "index -1", msgpack.packb([3, SEGMENT, -1, 0, 1, False]))
    yield bad("short_id", "a segment id of 31 bytes", msgpack.packb([3, SEGMENT[:31], 11, 0, 1, False]))
    yield bad("number_for_bool", "proof is 1", msgpack.packb([3, SEGMENT, 11, 0, 1, 1]))
    yield bad("float", "count is 1.0", msgpack.packb([3, SEGMENT, 11, 0, 1.0, False]))
    yield bad("text_for_bytes", "a segment id as text", msgpack.packb([3, "x" * 32, 11, 0, 1, False]))
    yield bad("long_list", "257 segments", msgpack.packb([2, bytes(32), bytes(16), [SEGMENT] * 257]))
    yield bad("long_text", "257 bytes of text", msgpack.packb([127, 1, "é" * 128 + "x"]))
    yield bad("not_utf8", "text that is not UTF-8", b"\x93\x7f\x01\xa2\xc3\x28")
    yield bad("nested", "arrays in arrays", b"\x92\x01" + b"\x91" * 2000 + b"\xc0")
    yield bad("announced", "an array that announces 4 billion items", b"\xdd\xff\xff\xff\xff\x01")
    yield bad("port", "port 0", msgpack.packb([7, ADDRESS.pack()[:4] + bytes(2)]))
    yield bad("mapped", "::ffff:192.0.2.1", msgpack.packb([7, bytes(10) + b"\xff\xff" + ADDRESS.pack()]))
    yield bad("address", "an address of 7 bytes", msgpack.packb([7, ADDRESS.pack() + b"\0"]))
    yield bad("indices_order", "held indices 1, 0", msgpack.packb([66, [[b"\x01\x00", 0]]]))
    yield bad("indices_range", "held index 32", msgpack.packb([66, [[b"\x20", 0]]]))
    yield bad("permit", "a permit of 65 bytes", msgpack.packb([4, b"d", 11, bytes(32), b"l", bytes(65)]))
    yield bad("no_permit", "a put that ends with the lease", msgpack.packb([4, b"d", 11, bytes(32), b"l"]))
    yield bad("survey_list", "129 segments", msgpack.packb([8, NONCE, b"", [[SEGMENT, b""]] * 129]))
    yield bad("survey_nonce", "a nonce of 15 bytes", msgpack.packb([8, NONCE[1:], b"", []]))
    yield bad("survey_indices", "indices 1, 0", msgpack.packb([8, NONCE, b"", [[SEGMENT, b"\x01\x00"]]]))
    yield bad("holds_missing", "33 chunks missing", msgpack.packb([72, [[b"", bytes(32), 33]], TIME, bytes(64)]))
    yield bad("holds_leases", "a digest of 31 bytes", msgpack.packb([72, [[b"", bytes(31), 0]], TIME, bytes(64)]))
    yield bad("leases_skip", "65 leases left out", msgpack.packb([9, SEGMENT, 65]))
    yield bad("leases_list", "25 leases", msgpack.packb([73, [b"l"] * 25, False]))


def _signed(
    stem: str, operation: str, label: str, record: Any, data: bytes, other_network: bytes, bad: dict[str, Any]
) -> Named:
    """One kind of signed body: good, and damaged; ``bad`` has field values that are signed all the same."""

    def vector(text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
        return _vector(operation, text, {"network": NETWORK.id.hex(), "data": data.hex()}, expect, output)

    yield stem, vector(f"a {operation}", data, "success", plain(record))
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    yield f"{stem}_flipped", vector("one bit is flipped", flipped, "SignatureError")
    yield f"{stem}_label", vector("signed as something else", NODE.sign_body("x", data[64:]), "SignatureError")
    yield f"{stem}_signature", vector("a signature and nothing else", data[:64], "RemoteProtocolError")
    yield (
        f"{stem}_trailing",
        vector("a byte after the body, signed", NODE.sign_body(label, data[64:] + b"\0"), "RemoteProtocolError"),
    )
    yield f"{stem}_network", vector("for another network", other_network, "WrongNetworkError")
    for name, (at, value) in bad.items():
        fields = msgpack.unpackb(data[64:])
        fields[at] = value
        changed = NODE.sign_body(label, msgpack.packb(fields))
        yield f"{stem}_{name}", vector(f"field {at} is {value!r}", changed, "RemoteProtocolError")


def _records() -> Named:
    node = NodeRecord(
        network=NETWORK.id,
        key=NODE.key,
        address=ADDRESS,
        country="NZ",
        free_bytes=50_000_000_000,
        storing=True,
        time=TIME,
        software="archipel 0.1.0",
    )
    elsewhere = sign_node_record(NODE, replace(node, network=OTHER.id))
    bad: dict[str, Any] = {"version": (0, 2), "country": (4, "nz"), "port": (3, bytes(6)), "free": (5, -1)}
    data = sign_node_record(NODE, node)
    yield from _signed("wire_node_record", "node record", "node record", node, data, elsewhere, bad)
    receipt = Receipt(
        network=NETWORK.id,
        key=NODE.key,
        segment=SEGMENT,
        index=11,
        chunk_id=ChunkId(bytes(range(96, 128))),
        expiry=TIME + 86_400,
        country="",
        time=TIME,
    )
    elsewhere = sign_receipt(NODE, replace(receipt, network=OTHER.id))
    bad = {"version": (0, 0), "index": (4, 32), "chunk_id": (5, bytes(31))}
    yield from _signed("wire_receipt", "receipt", "receipt", receipt, sign_receipt(NODE, receipt), elsewhere, bad)
    lease = Lease(
        network=NETWORK.id,
        depositor=NODE.key,
        deposit=bytes(range(16)),
        segment=SEGMENT,
        size=16_777_216,
        sequence=TIME * 1000,
        expiry=TIME + 86_400,
        deleted=False,
        policy=Policy(spread_countries=True, avoid=("AQ",)),
    )
    elsewhere = sign_lease(NODE, replace(lease, network=OTHER.id))
    bad = {"version": (0, 2), "size": (5, 0), "size_over": (5, 16_777_217), "avoid": (10, [""])}
    yield from _signed("wire_lease", "lease", "lease", lease, sign_lease(NODE, lease), elsewhere, bad)


def _providers() -> Named:
    def vector(text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
        inputs = {"network": NETWORK.id.hex(), "segment": SEGMENT.hex(), "data": data.hex()}
        return _vector("provider record", text, inputs, expect, output)

    def signed(body: bytes, network: Network = NETWORK, segment: bytes = SEGMENT) -> bytes:
        return body + NODE.sign("provider", network.id + segment + body)

    for stem, country, address in (("4", "NZ", ADDRESS), ("6", "", ADDRESS6)):
        record = ProviderRecord(index=11, key=NODE.key, expiry=TIME, country=country, address=address)
        data = ProviderRecord.sign(NODE, NETWORK.id, SEGMENT, index=11, expiry=TIME, country=country, address=address)
        yield f"wire_provider_{stem}", vector(f"{len(data)} bytes", data, "success", plain(record))
    body = data[:-64]
    yield "wire_provider_flipped", vector("one bit", data[:-1] + bytes([data[-1] ^ 1]), "SignatureError")
    yield "wire_provider_network", vector("for another network", signed(body, OTHER), "SignatureError")
    yield "wire_provider_segment", vector("another segment", signed(body, segment=bytes(32)), "SignatureError")
    yield "wire_provider_cut", vector("a byte short", data[1:], "RemoteProtocolError")
    yield "wire_provider_index", vector("index 32", signed(b"\x20" + body[1:]), "RemoteProtocolError")
    small = body[:41] + b"nz" + body[43:]
    yield "wire_provider_country", vector("a country in small letters", signed(small), "RemoteProtocolError")
    yield "wire_provider_port", vector("port 0", signed(body[:-2] + bytes(2)), "RemoteProtocolError")
    mapped = body[:43] + bytes(10) + b"\xff\xff" + ADDRESS.pack()
    yield "wire_provider_mapped", vector("::ffff:192.0.2.1", signed(mapped), "RemoteProtocolError")


def _permits() -> Named:
    """CLIENT is the depositor and NODE the holder."""

    def vector(text: str, signature: bytes, expect: str = "SignatureError", output: Vector | None = None) -> Vector:
        inputs = {
            "network": NETWORK.id.hex(),
            "depositor": CLIENT.key.hex(),
            "segment": SEGMENT.hex(),
            "index": 11,
            "holder": NODE.key.hex(),
            "permit": signature.hex(),
        }
        return _vector("permit", text, inputs, expect, output)

    said: Vector = {"network": NETWORK.id, "segment": SEGMENT, "index": 11, "holder": NODE.key}

    def signed(label: str = "permit", by: Identity = CLIENT, **other: Any) -> bytes:
        return by.sign(label, permit_statement(**(said | other)))

    good = signed()
    output = {"statement": permit_statement(**said).hex()}
    yield "wire_permit", vector("a permit", good, "success", output)
    yield "wire_permit_flipped", vector("one bit is flipped", good[:-1] + bytes([good[-1] ^ 1]))
    yield "wire_permit_cut", vector("a byte short", good[:-1])
    yield "wire_permit_label", vector("signed as something else", signed("audit"))
    yield "wire_permit_depositor", vector("signed by the holder", signed(by=NODE))
    yield "wire_permit_holder", vector("for another holder", signed(holder=CLIENT.key))
    yield "wire_permit_index", vector("for another index", signed(index=12))
    yield "wire_permit_segment", vector("for another segment", signed(segment=SegmentId(bytes(32))))
    yield "wire_permit_network", vector("for another network", signed(network=OTHER.id))


def _surveys() -> Named:
    """CLIENT asks and NODE answers."""
    request = m.Survey(nonce=NONCE, segments=SURVEYED)
    said: Vector = {
        "network": NETWORK.id,
        "nonce": NONCE,
        "time": TIME,
        "segments": [shared.segment for shared in SURVEYED],
        "answers": HOLDS,
    }

    def signed(label: str = "survey", by: Identity = NODE, **other: Any) -> bytes:
        return by.sign(label, survey_statement(**(said | other)))

    def vector(text: str, signature: bytes, expect: str = "SignatureError", output: Vector | None = None) -> Vector:
        inputs = {
            "network": NETWORK.id.hex(),
            "holder": NODE.key.hex(),
            "request": encode_message(request).hex(),
            "reply": encode_message(m.SurveyReply(segments=HOLDS, time=TIME, signature=signature)).hex(),
        }
        return _vector("survey", text, inputs, expect, output)

    good = signed()
    output = {"statement": survey_statement(**said).hex()}
    yield "wire_survey", vector("a survey of two segments, of one of which nothing is held", good, "success", output)
    yield "wire_survey_flipped", vector("one bit is flipped", good[:-1] + bytes([good[-1] ^ 1]))
    yield "wire_survey_label", vector("signed as something else", signed("audit"))
    yield "wire_survey_holder", vector("signed by the asker", signed(by=CLIENT))
    yield "wire_survey_nonce", vector("for another nonce", signed(nonce=bytes(16)))
    yield "wire_survey_time", vector("of another time", signed(time=TIME + 1))
    yield "wire_survey_network", vector("for another network", signed(network=OTHER.id))
    yield "wire_survey_order", vector("of the segments the other way round", signed(segments=said["segments"][::-1]))
    for name, fields in (
        ("indices", {"indices": b"\x05"}),
        ("leases", {"leases": bytes(32)}),
        ("missing", {"missing": 3}),
    ):
        other = (replace(HOLDS[0], **fields), HOLDS[1])
        yield f"wire_survey_{name}", vector(f"signed with other {name}", signed(answers=other))


def channel(side: str, seeds: Vector, network: Network = NETWORK) -> Channel:
    """One side of a channel from its seeds, in hex or as bytes."""
    identity, static, ephemeral = (
        bytes.fromhex(seed) if isinstance(seed, str) else seed
        for seed in (seeds["identity"], seeds["static"], seeds["ephemeral"])
    )
    make = Channel.initiator if side == "initiator" else Channel.responder
    return make(Identity(identity), network.id, static, ephemeral)


def conversation(initiator: Channel, responder: Channel) -> list[tuple[str, bytes]]:
    """The handshake, a request and a reply with a body of 100 bytes in two records: who sends what."""
    sent = [("initiator", initiator.data_to_send())]
    responder.receive_data(sent[-1][1])
    responder.next_event()
    sent.append(("responder", responder.data_to_send()))
    initiator.receive_data(sent[-1][1])
    initiator.next_event()
    sent.append(("initiator", initiator.data_to_send()))
    responder.receive_data(sent[-1][1])
    responder.next_event()
    sent.append(("initiator", initiator.send(m.Get(segment=SEGMENT, index=11, count=1))))
    responder.receive_data(sent[-1][1])
    responder.next_event()
    responder.next_event()
    sent.append(("responder", responder.send(m.GetReply(), 100)))
    body = memoryview(bytes(range(100)))
    sent.append(("responder", bytes(responder.send_body(body[:60]))))
    sent.append(("responder", bytes(responder.send_body(body[60:]))))
    return sent


def _channels() -> Named:
    hexed = {side: {name: seed.hex() for name, seed in seeds.items()} for side, seeds in SEEDS.items()}
    inputs = {"network": NETWORK.name, **hexed}
    sent = conversation(channel("initiator", SEEDS["initiator"]), channel("responder", SEEDS["responder"]))
    text = "handshake, get, get reply with the body 00 01 .. 63 in records of 60 and 40 bytes"
    output = {"sent": [{"by": side, "data": data.hex()} for side, data in sent]}
    yield "wire_channel", _vector("channel", text, inputs, "success", output)

    first, answer, third = (data for _, data in sent[:3])
    third_and_get = third + sent[3][1]

    def bad(name: str, text: str, data: bytes, expect: str = "RemoteProtocolError") -> tuple[str, Vector]:
        received = {**inputs, "received": data.hex()}
        return f"wire_channel_{name}", _vector("responder", text, received, expect)

    foreign = channel("initiator", SEEDS["initiator"], OTHER).data_to_send()
    yield bad("network", "another network", foreign, "WrongNetworkError")
    yield bad("version", "version 2", b"ARC\x02" + first[4:], "WrongNetworkError")
    yield bad("magic", "another protocol", b"GET / HTTP/1.1\r\n\r\n")
    yield bad("long_handshake", "513 bytes announced", first[:8] + b"\x02\x01")
    yield bad("no_handshake", "a message of no bytes", first[:8] + bytes(2))
    yield bad("payload", "message 1 has a payload", first[:8] + b"\x00\x21" + first[10:] + b"\x00")
    yield bad("short_key", "message 1 is a byte short", first[:8] + b"\x00\x1f" + first[10:41])
    yield bad("small_order", "an ephemeral key of small order", first[:10] + bytes(32))
    yield bad("third", "one bit of message 3 is flipped", first + third[:-1] + bytes([third[-1] ^ 1]))
    yield bad("reflected", "our own message 2 comes back", first + answer[8:])
    flipped = third_and_get[:-1] + bytes([third_and_get[-1] ^ 1])
    yield bad("record", "one bit of a record is flipped", first + flipped)
    yield bad("replay", "a record comes twice", first + third_and_get + sent[3][1])
    yield bad("short_record", "a record of 16 bytes", first + third + b"\x00\x10" + bytes(16))
    yield bad("long_header", "a header record of 32,789 bytes", first + third + b"\x80\x15")


def vectors() -> Named:
    """(file stem, content) of every vector."""
    yield from _messages()
    yield from _records()
    yield from _providers()
    yield from _permits()
    yield from _surveys()
    yield from _channels()
