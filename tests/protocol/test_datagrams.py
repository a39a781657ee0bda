"""docs/spec/dht.md sections 1 to 3: datagrams, their byte table, and what garbage makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import datagrams as d
from protocol import errors
from protocol.identity import Identity
from protocol.ids import Address, NameId, NetworkId, NodeId, SegmentId
from tests.strategies import IDENTITY, NETWORK, STRANGER, raw, segment_ids, uint
from tests.vectors import make_dht

PATHS = sorted((Path(__file__).parent.parent / "vectors").glob("dht_*.json"))
TRANSACTION = bytes(8)

records = st.one_of(raw(113), raw(125))
messages: st.SearchStrategy[d.Message] = st.one_of(
    st.just(d.Ping()),
    st.builds(d.FindNode, target=raw(32)),
    st.builds(
        d.Nodes,
        token=raw(8),
        ipv4=st.integers(0, 10).map(lambda count: bytes(38 * count)),
        ipv6=st.integers(0, 10).map(lambda count: bytes(50 * count)),
    ),
    st.builds(d.GetProviders, segment=segment_ids, first=uint(32)),
    st.builds(d.Providers, token=raw(8), records=st.lists(records, max_size=8).map(tuple), next=uint(32)),
    st.builds(
        d.Announce,
        token=raw(8),
        items=st.lists(
            st.builds(d.Item, segment=segment_ids, records=st.lists(records, max_size=1).map(tuple)), max_size=6
        ).map(tuple),
    ),
    st.builds(d.Announced, stored=uint(64)),
    st.builds(d.GetRecord, name=raw(32).map(NameId), place=uint(1)),
    st.builds(d.GotRecord, token=raw(8), count=uint(2), record=raw(0, 900)),
    st.builds(d.PutRecord, token=raw(8), cas=uint(2**64 - 1), record=raw(1, 900)),
    st.builds(d.RecordPut, code=st.sampled_from(d.PutCode), sequence=uint(2**63 - 1)),
)


def seal(message: d.Message, *, read_only: bool = False, recipient: NodeId | None = IDENTITY.node_id) -> bytes:
    """From STRANGER to IDENTITY."""
    return d.seal(STRANGER, NETWORK.id, recipient, TRANSACTION, message, read_only=read_only)


def opened(data: bytes, network: NetworkId = NETWORK.id, recipient: NodeId = IDENTITY.node_id) -> d.Message:
    datagram = d.parse(data)
    datagram.verify(network, recipient)
    return datagram.message()


def _run(inputs: dict[str, str]) -> dict[str, Any]:
    datagram = d.parse(bytes.fromhex(inputs["datagram"]))
    datagram.verify(NetworkId(bytes.fromhex(inputs["network"])), NodeId(bytes.fromhex(inputs["recipient"])))
    message = datagram.message()
    return {
        "message": type(message).__name__,
        "read_only": datagram.read_only,
        "bare": datagram.bare,
        "transaction": datagram.transaction.hex(),
        "sender": datagram.sender.hex(),
        "fields": make_dht.plain(message),
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    if vector["expect"] == "success":
        assert _run(vector["input"]) == vector["output"]
        return
    with pytest.raises(errors.ProtocolError) as raised:
        _run(vector["input"])
    assert type(raised.value).__name__ == vector["expect"]


def test_the_files_are_those_that_the_maker_makes() -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in make_dht.vectors()}
    assert made == {path.stem: json.loads(path.read_text()) for path in PATHS}


@given(messages, st.booleans())
def test_what_is_sealed_is_opened(message: d.Message, read_only: bool) -> None:
    data = seal(message, read_only=read_only)
    datagram = d.parse(data)
    assert datagram.kind is d.KINDS[type(message)]
    assert datagram.kind.is_reply == (type(message) in d.Reply.__args__)
    assert (datagram.read_only, datagram.bare) == (read_only, False)
    assert (datagram.transaction, datagram.sender) == (TRANSACTION, STRANGER.key)
    assert opened(data) == message


@given(messages, st.data())
def test_a_changed_byte_is_noticed(message: d.Message, draw: st.DataObject) -> None:
    data = bytearray(seal(message))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(errors.RemoteProtocolError):
        opened(bytes(data))


@given(messages, st.data())
def test_a_cut_datagram_is_noticed(message: d.Message, draw: st.DataObject) -> None:
    data = seal(message)
    with pytest.raises(errors.RemoteProtocolError):
        opened(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(st.binary(max_size=1300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(errors.RemoteProtocolError):
        opened(data)


@given(st.sampled_from(list(d.Kind)), st.binary(max_size=200))
def test_a_signed_body_of_garbage_is_refused_or_read(kind: d.Kind, body: bytes) -> None:
    data = make_dht.signed(kind, body)
    datagram = d.parse(data)
    datagram.verify(make_dht.NETWORK.id, make_dht.NODE.node_id)
    try:
        message = datagram.message()
    except errors.RemoteProtocolError:
        return
    assert d.KINDS[type(message)] is kind


def test_only_a_ping_may_be_bare() -> None:
    data = seal(d.Ping(), recipient=None)
    assert d.parse(data).bare
    assert opened(data, recipient=NodeId(bytes(range(32)))) == d.Ping()  # whoever gets it
    with pytest.raises(errors.LocalProtocolError, match="needs a recipient"):
        seal(d.FindNode(target=bytes(32)), recipient=None)


def test_a_body_that_does_not_fit_is_our_mistake() -> None:
    with pytest.raises(errors.LocalProtocolError, match="at most 1123 bytes"):
        seal(d.Providers(token=bytes(8), records=(bytes(125),) * 9, next=32))


def test_a_code_is_one_of_the_table() -> None:
    with pytest.raises(errors.LocalProtocolError, match="want a PutCode"):
        seal(d.RecordPut(code=1, sequence=0))  # type: ignore[arg-type]  # on purpose


V4, V6 = Address("192.0.2.1", 4110), Address("2001:db8::1", 4110)
SEGMENT = SegmentId(bytes(32))
NAME = NameId(bytes(32))

BYTE_TABLE = [
    (d.Ping(), d.Pong(observed=V4), 130, 118),
    (d.Ping(), d.Pong(observed=V6), 130, 130),
    (d.FindNode(target=bytes(32)), d.Nodes(token=bytes(8), ipv4=bytes(38 * 20), ipv6=b""), 1125, 885),
    (d.FindNode(target=bytes(32)), d.Nodes(token=bytes(8), ipv4=b"", ipv6=bytes(50 * 20)), 1125, 1125),
    (d.FindNode(target=bytes(32)), d.Nodes(token=bytes(8), ipv4=bytes(38), ipv6=bytes(50 * 19)), 1125, 1113),
    (
        d.GetProviders(segment=SEGMENT, first=32),
        d.Providers(token=bytes(8), records=(bytes(113),) * 9, next=32),
        1232,
        1157,
    ),
    (
        d.GetProviders(segment=SEGMENT, first=0),
        d.Providers(token=bytes(8), records=(bytes(125),) * 8, next=32),
        1232,
        1138,
    ),
    (
        d.GetProviders(segment=SEGMENT, first=0),
        d.Providers(token=bytes(8), records=(bytes(125),) * 6 + (bytes(113),) * 3, next=32),
        1232,
        1229,
    ),
    (d.Announce(token=bytes(8), items=()), d.Announced(stored=64), 130, 111),
    (
        d.Announce(token=bytes(8), items=(d.Item(segment=SEGMENT, records=(bytes(113),) * 8),)),
        d.Announced(stored=8),
        1077,
        111,
    ),
    (
        d.Announce(token=bytes(8), items=(d.Item(segment=SEGMENT, records=(bytes(125),) * 8),)),
        d.Announced(stored=8),
        1173,
        111,
    ),
    (d.GetRecord(name=NAME, place=0), d.GotRecord(token=bytes(8), count=0, record=b""), 1024, 123),
    (d.GetRecord(name=NAME, place=1), d.GotRecord(token=bytes(8), count=2, record=bytes(900)), 1024, 1024),
    (
        d.PutRecord(token=bytes(8), cas=0, record=bytes(1)),
        d.RecordPut(code=d.PutCode.KEPT, sequence=2**63 - 1),
        130,
        120,
    ),
    (
        d.PutRecord(token=bytes(8), cas=2**64 - 1, record=bytes(900)),
        d.RecordPut(code=d.PutCode.REFUSED, sequence=0),
        1032,
        112,
    ),
]
"""Request, a longest reply, and their bytes: docs/spec/dht.md section 3."""


@pytest.mark.parametrize(("request_", "reply", "asked", "answered"), BYTE_TABLE)
def test_the_byte_table(request_: d.Message, reply: d.Message, asked: int, answered: int) -> None:
    """No reply is longer than its request: nobody is flooded through us."""
    assert (len(seal(request_)), len(seal(reply))) == (asked, answered)
    assert answered <= asked <= d.MAX_DATAGRAM_BYTES
    kind = d.KINDS[type(request_)]
    assert d.KINDS[type(reply)] == kind + 64
    assert kind in (d.Kind.ANNOUNCE, d.Kind.PUT_RECORD) or asked == d.REQUEST_BYTES[kind]


@given(messages)
def test_a_reply_never_exceeds_the_shortest_request_that_draws_it(message: d.Message) -> None:
    kind = d.KINDS[type(message)]
    if kind.is_reply:
        assert len(seal(message)) <= d.REQUEST_BYTES[d.Kind(kind - 64)]


def test_contacts_come_apart_as_they_went_in() -> None:
    four = [bytes([number]) * 38 for number in range(3)]
    six = [bytes([number]) * 50 for number in range(2)]
    assert d.Nodes(token=bytes(8), ipv4=b"".join(four), ipv6=b"".join(six)).contacts() == four + six


def test_a_datagram_does_not_open_for_another_identity() -> None:
    with pytest.raises(errors.SignatureError):
        opened(seal(d.Ping()), recipient=Identity(bytes(range(32))).node_id)
