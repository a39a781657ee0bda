"""Vectors of docs/spec/dht.md: datagrams of each type, and damaged ones. Run by scripts/make_vectors."""

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from protocol import datagrams as d
from protocol.identity import Identity, Network
from protocol.ids import Address, NameId, SegmentId, node_id
from protocol.records import ProviderRecord

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK, OTHER = Network("archipel vectors"), Network("another network")
ASKER, NODE, HOLDER = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
SEGMENT = SegmentId(bytes(range(64, 96)))
NAME = NameId(bytes(range(96, 128)))
ADDRESS, ADDRESS6 = Address("192.0.2.1", 4110), Address("2001:db8::1", 4110)
TRANSACTION = bytes(range(8))
TOKEN = bytes(range(8, 16))
TIME = 1_700_000_000


def provider(index: int, address: Address) -> bytes:
    """A provider record as its holder signed it."""
    return ProviderRecord.sign(HOLDER, NETWORK.id, SEGMENT, index=index, expiry=TIME, country="FR", address=address)


def samples() -> list[d.Message]:
    """A message of each type, with IPv4 and IPv6 where they differ."""
    item = d.Item(segment=SEGMENT, records=(provider(0, ADDRESS), provider(1, ADDRESS6)))
    return [
        d.Ping(),
        d.Pong(observed=ADDRESS),
        d.Pong(observed=ADDRESS6),
        d.FindNode(target=SEGMENT),
        d.Nodes(token=TOKEN, ipv4=b"", ipv6=b""),
        d.Nodes(token=TOKEN, ipv4=NODE.key + ADDRESS.pack(), ipv6=HOLDER.key + ADDRESS6.pack()),
        d.GetProviders(segment=SEGMENT, first=9),
        d.Providers(token=TOKEN, records=(provider(9, ADDRESS),), next=10),
        d.Announce(token=TOKEN, items=(item, d.Item(segment=SegmentId(bytes(32)), records=()))),
        d.Announced(stored=2),
        d.GetRecord(name=NAME, place=1),
        d.GotRecord(token=TOKEN, count=0, record=b""),
        d.GotRecord(token=TOKEN, count=2, record=bytes(range(200)) + bytes(700)),
        d.PutRecord(token=TOKEN, cas=d.ANY_SEQUENCE, record=bytes(range(200))),
        d.RecordPut(code=d.PutCode.FORKED, sequence=2**63 - 1),
    ]


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__}
    return value


def sealed(message: d.Message, **changes: Any) -> bytes:
    """A datagram from ASKER to NODE."""
    options: dict[str, Any] = {"read_only": False, **changes}
    recipient = options.pop("recipient", NODE.node_id)
    return d.seal(ASKER, options.pop("network", NETWORK.id), recipient, TRANSACTION, message, **options)


def signed(kind: int, body: bytes, *, version: int = 1, flags: int = 0, pad: bytes | None = None) -> bytes:
    """A datagram built by hand, whatever is wrong with it, with a right signature."""
    rest = struct.pack(">BBB8s32sH", version, kind, flags, TRANSACTION, ASKER.key, len(body)) + body
    wanted = d.REQUEST_BYTES[d.Kind(kind)] - 64 - len(rest) if kind in d.REQUEST_BYTES else 0
    rest += bytes(max(0, wanted)) if pad is None else pad
    return ASKER.sign("datagram", NETWORK.id + NODE.node_id + rest) + rest


def _vector(text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
    inputs = {"network": NETWORK.id.hex(), "recipient": NODE.node_id.hex(), "datagram": data.hex()}
    vector = {"spec": "docs/spec/dht.md", "operation": "datagram", "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def _good() -> Named:
    seen: dict[str, int] = {}
    cases: list[tuple[d.Message, Vector]] = [(message, {}) for message in samples()]
    cases += [(d.Ping(), {"recipient": None}), (d.FindNode(target=SEGMENT), {"read_only": True})]
    for message, options in cases:
        name = type(message).__name__.lower()
        seen[name] = seen.get(name, 0) + 1
        output = {
            "message": type(message).__name__,
            "read_only": options.get("read_only", False),
            "bare": "recipient" in options,
            "transaction": TRANSACTION.hex(),
            "sender": ASKER.key.hex(),
            "fields": plain(message),
        }
        data = sealed(message, **options)
        yield f"dht_{name}_{seen[name]}", _vector(f"a {type(message).__name__}", data, "success", output)


def _damaged() -> Named:
    def bad(name: str, text: str, data: bytes, expect: str = "RemoteProtocolError") -> tuple[str, Vector]:
        return f"dht_bad_{name}", _vector(text, data, expect)

    ping, find = sealed(d.Ping()), sealed(d.FindNode(target=SEGMENT))
    target = msgpack.packb([SEGMENT])
    yield bad("flipped", "one bit of the signature is flipped", bytes([ping[0] ^ 1]) + ping[1:], "SignatureError")
    other = sealed(d.Ping(), network=OTHER.id)
    yield bad("network", "signed for another network", other, "SignatureError")
    other = sealed(d.Ping(), recipient=node_id(HOLDER.key))
    yield bad("recipient", "signed for another recipient", other, "SignatureError")
    stolen = ping[:75] + HOLDER.key + ping[107:]
    yield bad("sender", "another sender's key is put in", stolen, "SignatureError")
    yield bad("empty", "no bytes", b"")
    yield bad("short", "108 bytes", ping[:108])
    yield bad("cut", "a find_node shorter than its longest reply", find[:-1])
    yield bad("long", "1,233 bytes", signed(65, msgpack.packb([ADDRESS.pack()]), pad=bytes(1115)))
    yield bad("version", "version 2", signed(1, b"\x90", version=2))
    yield bad("kind", "no such type", signed(5, b"\x90", pad=bytes(100)))
    yield bad("flags", "an unknown flag", signed(1, b"\x90", flags=4))
    yield bad("bare", "a bare find_node", signed(2, target, flags=2))
    yield bad("bare_reply", "a bare reply", signed(65, msgpack.packb([ADDRESS.pack()]), flags=2))
    yield bad("padding", "padding that is not zeros", signed(1, b"\x90", pad=bytes(20) + b"\x01"))
    yield bad("body", "a body longer than the datagram", ping[:107] + b"\xff\xff" + ping[109:])
    yield bad("trailing", "a byte after the message", signed(1, b"\x90\xc0"))
    yield bad("field", "a find_node without target", signed(2, b"\x90"))
    yield bad("target", "a target of 31 bytes", signed(2, msgpack.packb([SEGMENT[:31]])))
    yield bad("map", "a map instead of an array", signed(2, b"\x80"))
    nodes = msgpack.packb([TOKEN, bytes(39), b""])
    yield bad("contact_cut", "a contact of 39 bytes", signed(66, nodes))
    nodes = msgpack.packb([TOKEN, bytes(38 * 11), bytes(50 * 10)])
    yield bad("contacts", "21 contacts", signed(66, nodes))
    yield bad("first", "first is 33", signed(3, msgpack.packb([SEGMENT, 33])))
    record = provider(0, ADDRESS)
    items = msgpack.packb([TOKEN, [[SEGMENT, [record[:112]]]]])
    yield bad("record", "a provider record of 112 bytes", signed(4, items))
    items = msgpack.packb([TOKEN, [[SEGMENT, []]] * 9])
    yield bad("items", "nine items", signed(4, items))
    yield bad("kind_7", "no such type", signed(7, b"\x90", pad=bytes(100)))
    yield bad("name", "a name id of 31 bytes", signed(5, msgpack.packb([NAME[:31], 0])))
    yield bad("place", "place 2", signed(5, msgpack.packb([NAME, 2])))
    yield bad("get_short", "a get_record shorter than its longest reply", sealed(d.GetRecord(name=NAME, place=0))[:-1])
    yield bad("count", "three records of a name", signed(69, msgpack.packb([TOKEN, 3, b""])))
    yield bad("record_long", "a record of 901 bytes", signed(69, msgpack.packb([TOKEN, 1, bytes(901)])))
    yield bad("put_empty", "an empty record", signed(6, msgpack.packb([TOKEN, 0, b""])))
    yield bad("put_long", "a record of 901 bytes is put", signed(6, msgpack.packb([TOKEN, 0, bytes(901)])))
    yield bad("code", "code 5", signed(70, msgpack.packb([5, 1])))


def vectors() -> Named:
    """File stem and content of each vector."""
    yield from _good()
    yield from _damaged()
