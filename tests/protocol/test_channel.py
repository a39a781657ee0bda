"""The channel: any chunking gives the same events, and hostile bytes give one kind of error."""

from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from protocol.channel import (
    MAX_RECORD_PLAINTEXT,
    MAX_SEND_BODY,
    BodyEnd,
    Channel,
    Event,
    HandshakeDone,
    Header,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError, SignatureError, WrongNetworkError
from protocol.framing import framed
from protocol.identity import Identity, Network
from protocol.ids import NetworkId, SegmentId
from protocol.messages import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    SEALED_BLOCK_BYTES,
    AuditReply,
    DialBackReply,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Hello,
    Message,
    Put,
    PutReply,
    answers,
    encode_message,
)
from protocol.noise import Handshake
from tests.strategies import IDENTITY, NETWORK, STRANGER, damaged, pieces, replies, requests

NODE, CLIENT = IDENTITY, STRANGER
HELLO = Hello()
SEGMENT = SegmentId(bytes(32))
PREAMBLE = b"ARC\x01" + NETWORK.id[:4]
GET = Get(segment=SEGMENT, index=0, count=128)
PUT = Put(descriptor=b"d", index=0, hashes=bytes(32), lease=b"l")
PUT_REPLY = PutReply(receipt=b"r", provider=b"p")
ERROR = ErrorReply(code=ErrorCode.FULL)


def unconnected(network: Network = NETWORK) -> tuple[Channel, Channel]:
    return (
        Channel.initiator(CLIENT, network.id, b"\x11" * 32, b"\x12" * 32),
        Channel.responder(NODE, NETWORK.id, b"\x21" * 32, b"\x22" * 32),
    )


def pass_on(data: bytes, receiver: Channel) -> Event | None:
    receiver.receive_data(data)
    return receiver.next_event()


def connected() -> tuple[Channel, Channel]:
    initiator, responder = unconnected()
    assert pass_on(initiator.data_to_send(), responder) is None
    assert pass_on(responder.data_to_send(), initiator) == HandshakeDone(NODE.key)
    assert pass_on(initiator.data_to_send(), responder) == HandshakeDone(CLIENT.key)
    return initiator, responder


def sent(channel: Channel, message: Message, body: bytes = b"", part: int = MAX_SEND_BODY) -> bytes:
    """All the bytes of one message."""
    data = channel.send(message, len(body))
    view = memoryview(body)
    for start in range(0, len(body), part):
        data += channel.send_body(view[start : start + part])
    return data


def received(channel: Channel, chunks: list[bytes], room: int) -> Iterator[Event | bytes]:
    """The events of some chunks, with each body as one piece, read through a buffer of ``room`` bytes."""
    body, left = bytearray(), 0
    target = memoryview(bytearray(room))
    for chunk in chunks:
        channel.receive_data(chunk)
        while True:
            if left:
                written = channel.receive_body_into(target[: min(room, left)])
                body += target[:written]
                left -= written
                if not written:
                    break
            elif (event := channel.next_event()) is not None:
                if isinstance(event, BodyEnd):
                    yield bytes(body)
                    body = bytearray()
                elif isinstance(event, Header):
                    left = event.body_bytes
                yield event
            else:
                break


# --- what goes right ---


def test_a_handshake_tells_who_the_peer_is() -> None:
    initiator, responder = connected()
    assert (initiator.peer, responder.peer) == (NODE.key, CLIENT.key)
    assert initiator.data_to_send() == responder.data_to_send() == b""


def test_the_first_bytes_are_the_preamble_and_message_1() -> None:
    initiator, _ = unconnected()
    data = initiator.data_to_send()
    assert data[:8] == PREAMBLE
    assert data[8:10] == b"\x00\x20"
    assert data[10:] == bindings.crypto_scalarmult_base(b"\x12" * 32)


def test_the_initiator_may_look_at_the_key_before_it_tells_its_own() -> None:
    initiator, responder = unconnected()
    responder.receive_data(initiator.data_to_send())
    assert responder.next_event() is None
    assert pass_on(responder.data_to_send(), initiator) == HandshakeDone(NODE.key)
    assert responder.peer is None  # message 3 is still in data_to_send()


def test_request_and_reply_alternate() -> None:
    initiator, responder = connected()
    for _ in range(3):
        assert pass_on(initiator.send(HELLO), responder) == Header(HELLO, 0)
        assert responder.next_event() == BodyEnd()
        assert responder.next_event() is None
        assert pass_on(responder.send(ERROR), initiator) == Header(ERROR, 0)
        assert initiator.next_event() == BodyEnd()


bodies = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        (
            MAX_RECORD_PLAINTEXT - 1,
            MAX_RECORD_PLAINTEXT,
            MAX_RECORD_PLAINTEXT + 1,
            SEALED_BLOCK_BYTES,
            MAX_SEND_BODY,
            MAX_SEND_BODY + 1,
        )
    ).map(lambda size: bytes(index % 251 for index in range(size))),
)


@settings(max_examples=50, deadline=None)
@given(bodies, bodies, st.sampled_from((1000, 100_000, MAX_SEND_BODY)), st.sampled_from((7, 70_000, 10**6)), st.data())
def test_any_chunking_gives_the_same_events(
    question: bytes, answer: bytes, part: int, room: int, data: st.DataObject
) -> None:
    initiator, responder = unconnected()
    stream = initiator.data_to_send()
    events = list(received(responder, data.draw(pieces(stream)), room))
    assert events == []
    stream = responder.data_to_send()
    assert list(received(initiator, data.draw(pieces(stream)), room)) == [HandshakeDone(NODE.key)]
    stream = initiator.data_to_send() + sent(initiator, PUT, question, part)
    events = list(received(responder, data.draw(pieces(stream)), room))
    assert events == [HandshakeDone(CLIENT.key), Header(PUT, len(question)), question, BodyEnd()]
    assert pass_on(sent(responder, PUT_REPLY), initiator) == Header(PUT_REPLY, 0)
    assert initiator.next_event() == BodyEnd()
    assert pass_on(initiator.send(GET), responder) == Header(GET, 0)
    assert responder.next_event() == BodyEnd()
    stream = sent(responder, GetReply(), answer, part)
    events = list(received(initiator, data.draw(pieces(stream)), room))
    assert events == [Header(GetReply(), len(answer)), answer, BodyEnd()]


@given(requests, replies)
def test_every_message_passes(request: Message, reply: Message) -> None:
    initiator, responder = connected()
    assert pass_on(initiator.send(request), responder) == Header(request, 0)
    if answers(reply, request):
        assert pass_on(responder.send(reply), initiator) == Header(reply, 0)
    else:
        with pytest.raises(LocalProtocolError):
            responder.send(reply)


def test_byte_by_byte() -> None:
    initiator, responder = connected()
    stream = [bytes([byte]) for byte in sent(initiator, PUT, b"body" * 30)]
    assert list(received(responder, stream, 1000)) == [Header(PUT, 120), b"body" * 30, BodyEnd()]


def test_records_are_full_where_they_can_be() -> None:
    initiator, _ = connected()
    initiator.send(PUT, MAX_SEND_BODY + 1)
    body = memoryview(bytes(MAX_SEND_BODY))
    records = initiator.send_body(body)
    assert len(records) == 8 * 65_537
    assert [bytes(records[at : at + 2]) for at in range(0, len(records), 65_537)] == [b"\xff\xff"] * 8
    assert len(initiator.send_body(body[:1])) == 19


def test_how_much_of_a_record_is_there() -> None:
    initiator, responder = connected()
    stream = sent(initiator, PUT, bytes(100))
    assert responder.unread == 0
    responder.receive_data(stream[:-30])
    assert responder.next_event() == Header(PUT, 100)
    assert responder.unread == 2 + 100 + 16 - 30
    assert responder.receive_body_into(memoryview(bytearray(100))) == 0
    assert responder.unread == 100 + 16 - 30  # the length has been read


def test_a_record_is_decrypted_into_the_target() -> None:
    initiator, responder = connected()
    body = bytes(range(200)) * 1000
    stream = sent(initiator, PUT, body)
    target = memoryview(bytearray(len(body)))
    responder.receive_data(stream)
    assert responder.next_event() == Header(PUT, len(body))
    assert responder.receive_body_into(target) == len(body)
    assert target == body
    assert responder.next_event() == BodyEnd()


def test_an_early_error_reply_and_the_rest_of_the_body() -> None:
    """The holder refuses before it has read the body, then reads and drops it."""
    initiator, responder = connected()
    body = memoryview(bytes(1000))
    assert pass_on(initiator.send(PUT, 1000), responder) == Header(PUT, 1000)
    early = bytes(initiator.send_body(body[:600]))
    assert pass_on(responder.send(ERROR), initiator) == Header(ERROR, 0)
    assert initiator.next_event() == BodyEnd()
    with pytest.raises(LocalProtocolError):  # not before the body is complete
        initiator.send(HELLO)
    responder.receive_data(early + initiator.send_body(body[600:]))
    assert responder.receive_body_into(memoryview(bytearray(1000))) == 1000
    assert responder.next_event() == BodyEnd()
    assert pass_on(initiator.send(HELLO), responder) == Header(HELLO, 0)


# --- our own mistakes ---


def test_nothing_is_sent_before_the_handshake() -> None:
    for channel in unconnected():
        with pytest.raises(LocalProtocolError):
            channel.send(HELLO)
        with pytest.raises(LocalProtocolError):
            channel.send_body(memoryview(b"x"))
        with pytest.raises(LocalProtocolError):
            channel.receive_body_into(memoryview(bytearray(1)))


def test_messages_are_sent_in_turn() -> None:
    initiator, responder = connected()
    for message in (HELLO, ERROR):
        with pytest.raises(LocalProtocolError):
            responder.send(message)  # nobody asked
    with pytest.raises(LocalProtocolError):
        initiator.send(ERROR)  # a reply
    assert pass_on(initiator.send(GET), responder) == Header(GET, 0)
    with pytest.raises(LocalProtocolError):
        initiator.send(GET)  # not answered yet
    for wrong in (HELLO, DialBackReply(udp=True, tcp=True)):
        with pytest.raises(LocalProtocolError):
            responder.send(wrong)
    responder.send(GetReply())
    with pytest.raises(LocalProtocolError):
        responder.send(GetReply())


@pytest.mark.parametrize("size", [-1, MAX_BODY_BYTES + 1])
def test_a_body_of_ours_is_within_bounds(size: int) -> None:
    initiator, _ = connected()
    with pytest.raises(LocalProtocolError):
        initiator.send(PUT, size)
    with pytest.raises(LocalProtocolError):
        initiator.send(HELLO, 1)
    initiator.send(PUT, MAX_BODY_BYTES)


def test_a_body_of_ours_is_as_long_as_we_said() -> None:
    initiator, _ = connected()
    initiator.send(PUT, 10)
    for size in (0, 11, MAX_SEND_BODY + 1):
        with pytest.raises(LocalProtocolError):
            initiator.send_body(memoryview(bytes(size)))
    initiator.send_body(memoryview(bytes(10)))
    with pytest.raises(LocalProtocolError):
        initiator.send_body(memoryview(b"x"))


def test_a_body_has_to_be_taken_before_the_next_event() -> None:
    initiator, responder = connected()
    responder.receive_data(sent(initiator, PUT, b"body"))
    assert responder.next_event() == Header(PUT, 4)
    with pytest.raises(LocalProtocolError):
        responder.next_event()
    assert responder.receive_body_into(memoryview(bytearray(3))) == 3
    with pytest.raises(LocalProtocolError):
        responder.next_event()
    rest = bytearray(9)
    assert responder.receive_body_into(memoryview(rest)) == 1
    assert rest[:1] == b"y"
    assert responder.next_event() == BodyEnd()
    with pytest.raises(LocalProtocolError):
        responder.receive_body_into(memoryview(rest))


# --- hostile bytes ---


def test_another_network_is_told_to_both() -> None:
    initiator, responder = unconnected(Network("other"))
    with pytest.raises(WrongNetworkError):
        pass_on(initiator.data_to_send(), responder)
    answer = responder.data_to_send()
    assert answer == PREAMBLE
    with pytest.raises(WrongNetworkError):
        pass_on(answer, initiator)
    assert initiator.data_to_send() == b""


def test_networks_whose_ids_begin_alike_are_still_told_apart() -> None:
    """The preamble has 4 bytes of the id, the prologue all 32."""
    twin = NetworkId(NETWORK.id[:4] + bytes(28))
    initiator = Channel.initiator(CLIENT, twin, b"\x11" * 32, b"\x12" * 32)
    _, responder = unconnected()
    assert pass_on(initiator.data_to_send(), responder) is None
    with pytest.raises(RemoteProtocolError):
        pass_on(responder.data_to_send(), initiator)


def test_a_version_of_the_future_is_another_network() -> None:
    _, responder = unconnected()
    with pytest.raises(WrongNetworkError):
        pass_on(b"ARC\x02" + NETWORK.id[:4], responder)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"AR\x00\x01....", bytes(8)]
)
def test_another_protocol_gets_no_answer(data: bytes) -> None:
    for channel in unconnected():
        channel.data_to_send()
        with pytest.raises(RemoteProtocolError, match="does not speak"):
            pass_on(data, channel)
        assert channel.data_to_send() == b""


def test_a_failed_channel_stays_failed() -> None:
    _, responder = connected()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            pass_on(b"\x00\x00", responder)
    with pytest.raises(RemoteProtocolError, match="has failed"):
        responder.next_event()


@pytest.mark.parametrize("length", [0, 513, 65_535])
def test_a_handshake_message_is_bounded_before_it_is_buffered(length: int) -> None:
    for channel in unconnected():
        with pytest.raises(RemoteProtocolError, match="expected 1 to 512"):
            pass_on(PREAMBLE + length.to_bytes(2, "big"), channel)


@pytest.mark.parametrize("length", [0, 1, 16, 20, 16 + 4 + MAX_HEADER_BYTES + 1, 65_535])
def test_a_header_record_is_bounded_before_it_is_buffered(length: int) -> None:
    for channel in connected():
        with pytest.raises(RemoteProtocolError, match="expected 21 to 32788"):
            pass_on(length.to_bytes(2, "big"), channel)


@pytest.mark.parametrize("length", [0, 1, 16])
def test_a_body_record_is_not_empty(length: int) -> None:
    initiator, responder = connected()
    assert pass_on(initiator.send(PUT, 10), responder) == Header(PUT, 10)
    responder.receive_data(length.to_bytes(2, "big"))
    with pytest.raises(RemoteProtocolError, match="expected 17 to 65535"):
        responder.receive_body_into(memoryview(bytearray(10)))
    with pytest.raises(RemoteProtocolError, match="has failed"):
        responder.next_event()


def test_message_1_has_no_payload() -> None:
    _, responder = unconnected()
    with pytest.raises(RemoteProtocolError, match="payload"):
        pass_on(PREAMBLE + framed(bindings.crypto_scalarmult_base(b"\x12" * 32) + b"!"), responder)


def binding(identity: Identity, label: str, *parts: bytes) -> bytes:
    return b"\x92" + b"\xc4\x20" + identity.key + b"\xc4\x40" + identity.sign(label, b"".join(parts))


def honest(static_key: bytes, before: bytes) -> bytes:
    return binding(CLIENT, "noise", static_key, NETWORK.id, before)


class Rogue:
    """A peer that knows the protocol and keeps to it as long as it likes."""

    def __init__(self, payload_for: Callable[[bytes, bytes], bytes] = honest, *, initiator: bool = True) -> None:
        self.victim = unconnected()[1 if initiator else 0]
        self.handshake = Handshake(
            initiator=initiator, prologue=PREAMBLE + NETWORK.id, static=b"\x31" * 32, ephemeral=b"\x32" * 32
        )
        if initiator:
            first = self.handshake.write(lambda _hash: b"")
            assert pass_on(PREAMBLE + framed(first), self.victim) is None
        self.handshake.read(self.victim.data_to_send()[10:])
        message = framed(self.handshake.write(lambda before: payload_for(self.handshake.static_key, before)))
        self.message = message if initiator else PREAMBLE + message

    def connected(self) -> Self:
        assert pass_on(self.message, self.victim) == HandshakeDone(CLIENT.key)
        if not self.handshake.done:
            self.handshake.read(self.victim.data_to_send()[2:])
        self.cipher = self.handshake.split()[0]
        return self

    def record(self, plaintext: bytes) -> bytes:
        sealed = bytearray(len(plaintext) + 16)
        self.cipher.encrypt_into(plaintext, memoryview(sealed))
        return framed(bytes(sealed))

    def header(self, message: Message, body_bytes: int = 0) -> bytes:
        return self.record(body_bytes.to_bytes(4, "big") + encode_message(message))


def test_the_binding_byte_by_byte() -> None:
    for initiator in (True, False):
        assert Rogue(initiator=initiator).connected().victim.peer == CLIENT.key


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize(
    "payload_for",
    [
        lambda key, before: binding(CLIENT, "audit", key, NETWORK.id, before),
        lambda key, before: binding(CLIENT, "noise", bytes(32), NETWORK.id, before),
        lambda key, before: binding(CLIENT, "noise", key, bytes(32), before),
        lambda key, before: binding(CLIENT, "noise", key, NETWORK.id, bytes(64)),
        lambda key, before: honest(key, before).replace(CLIENT.key, NODE.key),
    ],
)
def test_a_binding_is_for_this_key_network_and_handshake(payload_for: Any, initiator: bool) -> None:
    rogue = Rogue(payload_for, initiator=initiator)
    with pytest.raises(SignatureError):
        pass_on(rogue.message, rogue.victim)
    assert rogue.victim.peer is None
    assert rogue.victim.data_to_send() == b""


@pytest.mark.parametrize("payload", [b"", b"\x92", b"\xc0", b"\x91" * 100, bytes(101)])
def test_a_binding_has_its_shape(payload: bytes) -> None:
    rogue = Rogue(lambda _key, _before: payload)
    with pytest.raises(RemoteProtocolError):
        pass_on(rogue.message, rogue.victim)


@pytest.mark.parametrize(
    ("message", "body_bytes"), [(HELLO, 1), (PUT, MAX_BODY_BYTES + 1), (PUT, 2**32 - 1), (GET, SEALED_BLOCK_BYTES)]
)
def test_a_body_is_bounded_before_it_is_read(message: Message, body_bytes: int) -> None:
    rogue = Rogue().connected()
    with pytest.raises(RemoteProtocolError, match=f"a body of {body_bytes} bytes"):
        pass_on(rogue.header(message, body_bytes), rogue.victim)


def test_a_body_of_just_the_limit_is_fine() -> None:
    rogue = Rogue().connected()
    assert pass_on(rogue.header(PUT, MAX_BODY_BYTES), rogue.victim) == Header(PUT, MAX_BODY_BYTES)


@pytest.mark.parametrize("message", [ERROR, GetReply(), PUT_REPLY])
def test_a_responder_takes_requests_only(message: Message) -> None:
    rogue = Rogue().connected()
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        pass_on(rogue.header(message), rogue.victim)


def test_a_second_request_before_the_reply_is_refused() -> None:
    rogue = Rogue().connected()
    assert pass_on(rogue.header(HELLO), rogue.victim) == Header(HELLO, 0)
    assert rogue.victim.next_event() == BodyEnd()
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        pass_on(rogue.header(HELLO), rogue.victim)


@pytest.mark.parametrize(
    "plaintext", [b"\0\0\0\0\xc0", b"\0\0\0\0\x92\x01", bytes(100), b"\0\0\0\0" + b"\x91" * 32_000]
)
def test_a_header_has_its_shape(plaintext: bytes) -> None:
    rogue = Rogue().connected()
    with pytest.raises(RemoteProtocolError):
        pass_on(rogue.record(plaintext), rogue.victim)


def test_a_body_is_no_longer_than_announced() -> None:
    rogue = Rogue().connected()
    assert pass_on(rogue.header(PUT, 10), rogue.victim) == Header(PUT, 10)
    rogue.victim.receive_data(rogue.record(bytes(11)))
    with pytest.raises(RemoteProtocolError, match="11 bytes where 10 bytes"):
        rogue.victim.receive_body_into(memoryview(bytearray(100)))


def test_a_peer_that_floods_is_cut_off() -> None:
    """A request is being worked on, nobody drains, and the peer goes on: two records and one receive at most."""
    rogue = Rogue().connected()
    pass_on(rogue.header(HELLO), rogue.victim)
    rogue.victim.receive_data(bytes(200_000))
    with pytest.raises(RemoteProtocolError, match="more than it was asked"):
        rogue.victim.receive_data(b"x")


@pytest.mark.parametrize(
    ("reply", "body_bytes", "why"),
    [
        (GetReply(), 2 * SEALED_BLOCK_BYTES + 1, "a body of"),
        (PUT_REPLY, 0, "out of turn"),
        (HELLO, 0, "out of turn"),
        (AuditReply(descriptor=b"d", hashes=bytes(32), signature=bytes(64)), 0, "out of turn"),
    ],
)
def test_a_reply_fits_its_request(reply: Message, body_bytes: int, why: str) -> None:
    rogue = Rogue(initiator=False).connected()
    rogue.victim.send(Get(segment=SEGMENT, index=0, count=2))
    with pytest.raises(RemoteProtocolError, match=why):
        pass_on(rogue.header(reply, body_bytes), rogue.victim)


def test_an_answer_to_nothing_is_refused() -> None:
    rogue = Rogue(initiator=False).connected()
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        pass_on(rogue.header(ERROR), rogue.victim)


def drain(channel: Channel, chunks: list[bytes]) -> list[Event | bytes]:
    """The events up to the first error; anything but a RemoteProtocolError goes through."""
    events = []
    try:
        for event in received(channel, chunks, 1000):
            events.append(event)
    except RemoteProtocolError:
        pass
    return events


@given(st.binary(max_size=700), st.booleans(), st.integers(0, 42))
def test_garbage_at_the_start(data: bytes, initiate: bool, valid: int) -> None:
    sides = unconnected()
    prefix = sides[0].data_to_send()[:valid]
    assert drain(sides[0 if initiate else 1], [prefix + data]) == []


@given(st.binary(max_size=700))
def test_garbage_after_the_handshake(data: bytes) -> None:
    for channel in connected():
        assert drain(channel, [data]) == []


@settings(max_examples=200)
@given(st.data())
def test_damage_never_gives_a_wrong_event(data: st.DataObject) -> None:
    """Every event before the damage, none after it."""
    initiator, responder = unconnected()
    responder.receive_data(initiator.data_to_send())
    responder.next_event()
    initiator.receive_data(responder.data_to_send())
    initiator.next_event()
    stream = initiator.data_to_send() + sent(initiator, PUT, b"body" * 50, part=70)
    expected = [HandshakeDone(CLIENT.key), Header(PUT, 200), b"body" * 50, BodyEnd()]
    bad = data.draw(damaged(stream))
    events = drain(responder, data.draw(pieces(bad)))
    assert events == expected[: len(events)]
    if len(bad) <= len(stream):
        assert len(events) < len(expected)


def test_every_truncation_waits_for_more() -> None:
    initiator, _ = unconnected()
    stream = initiator.data_to_send()
    for size in range(len(stream)):
        _, responder = unconnected()
        assert drain(responder, [stream[:size]]) == []
        assert responder.data_to_send() == b""
