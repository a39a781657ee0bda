"""Targets: what arrives on the two sockets, apart from the channel itself."""

from collections.abc import Callable
from contextlib import suppress

from dht.contact import believable, scope, unpack_contact
from protocol import codec, datagrams, messages
from protocol.datagrams import HEADER_BYTES, KINDS, MAX_BODY_BYTES, MAX_DATAGRAM_BYTES, Announce, Datagram, Kind
from protocol.errors import RemoteProtocolError, SignatureError, WrongNetworkError
from protocol.identity import SIGNATURE_BYTES, verify
from protocol.ids import NetworkId, SegmentId
from protocol.leases import MAX_LEASE_BYTES, open_lease, sign_lease
from protocol.messages import MAX_HEADER_BYTES, Message, answers, decode_message, encode_message, is_request
from protocol.records import (
    MAX_NODE_RECORD_BYTES,
    ProviderRecord,
    open_node_record,
    open_provider,
    open_receipt,
    sign_node_record,
    sign_receipt,
)
from protocol.statements import survey_statement
from tests.fuzz.corpus import hex_values
from tests.fuzz.mutation import ANNOUNCEMENTS
from tests.fuzz.target import Target
from tests.vectors import make_dht, make_wire
from tests.vectors.make_wire import CLIENT, NETWORK, NODE, SEGMENT

_KINDS = tuple(Kind)


# --- datagrams ---


def _run_datagram(data: bytes) -> None:
    """``data`` as a datagram; and, a byte for the type before it, as the body of a signed one."""
    _read_datagram(data)
    body = data[1:]
    if data and len(body) <= MAX_BODY_BYTES:
        kind = _KINDS[data[0] % len(_KINDS)]
        rest = datagrams._HEADER.pack(1, kind, data[0] >> 7, bytes(8), NODE.key, len(body)) + body
        rest = rest.ljust(datagrams.REQUEST_BYTES.get(kind, 0) - SIGNATURE_BYTES, b"\0")
        signed = NODE.sign("datagram", NETWORK.id + CLIENT.node_id + rest) + rest
        datagram = datagrams.parse(signed)
        datagram.verify(NETWORK.id, CLIENT.node_id)
        _read_body(datagram)


def _read_datagram(data: bytes) -> None:
    try:
        datagram = datagrams.parse(data)
    except RemoteProtocolError:
        return
    assert HEADER_BYTES <= len(data) <= MAX_DATAGRAM_BYTES
    with suppress(SignatureError):
        datagram.verify(NETWORK.id, CLIENT.node_id)
    _read_body(datagram)


def _read_body(datagram: Datagram) -> None:
    try:
        message = datagram.message()
    except RemoteProtocolError:
        return
    assert KINDS[type(message)] is datagram.kind
    sealed = datagrams.seal(NODE, NETWORK.id, CLIENT.node_id, bytes(8), message, read_only=datagram.read_only)
    again = datagrams.parse(sealed)
    again.verify(NETWORK.id, CLIENT.node_id)
    assert again.message() == message
    assert again.read_only == datagram.read_only
    if isinstance(message, datagrams.Nodes):
        _read_contacts(message)
    if isinstance(message, datagrams.Providers):
        _read_providers(SEGMENT, message.records)
    if isinstance(message, Announce):
        for item in message.items:
            _read_providers(item.segment, item.records)


def _read_contacts(message: datagrams.Nodes) -> None:
    packed = message.contacts()
    assert len(packed) <= datagrams.MAX_CONTACTS
    for one in packed:
        with suppress(RemoteProtocolError):
            contact = unpack_contact(one)
            assert contact.pack() == one
            scope(contact.address.host)
            assert believable(contact.address, contact.address) in (True, False)


def _read_providers(segment: SegmentId, records: tuple[bytes, ...]) -> None:
    for record in records:
        with suppress(RemoteProtocolError):
            open_provider(NETWORK.id, segment, record)


def _datagram_seeds() -> list[bytes]:
    bodies = [bytes([_KINDS.index(KINDS[type(one)])]) + codec.encode(one) for one in make_dht.samples()]
    return bodies + [data for data in hex_values("dht_*") if len(data) >= HEADER_BYTES]


# --- messages ---


def _run_messages(data: bytes) -> None:
    try:
        message = decode_message(data)
    except RemoteProtocolError as exc:
        for other in (bytearray(data), memoryview(data)):
            try:
                decode_message(other)
            except RemoteProtocolError as again:
                assert str(again) == str(exc)
            else:
                raise AssertionError("only some kinds of buffer are refused")
        return
    encoded = encode_message(message)
    assert len(encoded) <= MAX_HEADER_BYTES
    assert decode_message(encoded) == message
    _check_turns(message)


def _check_turns(message: Message) -> None:
    """Of a request and a reply one answers the other, and a body is bounded beforehand."""
    error = messages.ErrorReply(code=messages.ErrorCode.BUSY)
    if is_request(message):
        assert answers(error, message)
        assert 0 <= messages.max_body_bytes(message) <= messages.MAX_BODY_BYTES
        assert 0 <= messages.max_body_bytes(messages.GetReply(), message) <= messages.MAX_BODY_BYTES
    else:
        assert not is_request(message)
        if isinstance(message, messages.SurveyReply):
            _check_survey(message)
        assert 0 <= messages.max_body_bytes(message) <= messages.MAX_BODY_BYTES


def _check_survey(reply: messages.SurveyReply) -> None:
    """Whatever was answered, the bytes that should have been signed can be joined."""
    asked = tuple(messages.Shared(segment=SEGMENT) for _ in reply.segments)
    assert answers(reply, messages.Survey(nonce=bytes(16), segments=asked))
    statement = survey_statement(
        network=NETWORK.id, nonce=bytes(16), time=reply.time, segments=[SEGMENT] * len(asked), answers=reply.segments
    )
    with suppress(SignatureError):
        verify(NODE.key, "survey", statement, reply.signature)


def _message_seeds() -> list[bytes]:
    """The vectors, and a `hello` whose only field announces what does not follow."""
    return hex_values("wire_message*", "wire_survey*") + [b"\x92\x01" + announced for announced in ANNOUNCEMENTS]


# --- leases and records: signed bodies ---


def _run_lease(data: bytes) -> None:
    """``data`` as a signed lease; and as a lease's body, signed by the depositor it may name."""
    for signed in (data, NODE.sign_body("lease", data)):
        try:
            lease = open_lease(signed, NETWORK.id)
        except RemoteProtocolError:
            continue
        if lease.depositor == NODE.key:
            again = sign_lease(NODE, lease)
            assert len(again) <= MAX_LEASE_BYTES
            assert open_lease(again, NETWORK.id) == lease
            _refused_elsewhere(open_lease, again)


def _refused_elsewhere(opened: Callable[[bytes, NetworkId], object], signed: bytes) -> None:
    try:
        opened(signed, make_wire.OTHER.id)
    except WrongNetworkError:
        return
    raise AssertionError("what was signed for one network is good in another")


def _run_records(data: bytes) -> None:
    """``data`` as each kind of record, and as the body of each, signed by the node it may name."""
    for signed in (data, NODE.sign_body("node record", data)):
        with suppress(RemoteProtocolError):
            record = open_node_record(signed, NETWORK.id)
            if record.key == NODE.key:
                again = sign_node_record(NODE, record)
                assert len(again) <= MAX_NODE_RECORD_BYTES
                _same(open_node_record(again, NETWORK.id), record)
                _refused_elsewhere(open_node_record, again)
    for signed in (data, NODE.sign_body("receipt", data)):
        with suppress(RemoteProtocolError):
            receipt = open_receipt(signed, NETWORK.id)
            if receipt.key == NODE.key:
                _same(open_receipt(sign_receipt(NODE, receipt), NETWORK.id), receipt)
    for signed in (data, data + NODE.sign("provider", NETWORK.id + SEGMENT + data)):
        with suppress(RemoteProtocolError):
            _check_provider(open_provider(NETWORK.id, SEGMENT, signed), signed)


def _same(one: object, other: object) -> None:
    assert one == other


def _check_provider(record: ProviderRecord, signed: bytes) -> None:
    """Packed by hand: a record has one encoding, and one signature of it."""
    if record.key == NODE.key:
        again = ProviderRecord.sign(
            NODE, NETWORK.id, SEGMENT,
            index=record.index, expiry=record.expiry, country=record.country, address=record.address,
        )  # fmt: skip
        assert again == signed


def _signed_seeds(*patterns: str) -> list[bytes]:
    """Vectors as they are, and their bodies alone."""
    found = [data for data in hex_values(*patterns) if len(data) > SIGNATURE_BYTES]
    return found + [data[SIGNATURE_BYTES:] for data in found]


def _record_seeds() -> list[bytes]:
    provided = [data for data in hex_values("wire_provider_*") if len(data) > SIGNATURE_BYTES]
    return _signed_seeds("wire_node_record*", "wire_receipt*") + provided + [one[:-SIGNATURE_BYTES] for one in provided]


TARGETS = (
    Target("datagram", _run_datagram, _datagram_seeds, 1400),
    Target("messages", _run_messages, _message_seeds, 33_000),
    Target("lease", _run_lease, lambda: _signed_seeds("wire_lease*"), 1100),
    Target("records", _run_records, _record_seeds, 700),
)
