"""Every message of the chunk protocol: its exact bytes, its bounds, and what no bytes can do."""

import contextlib
import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import Address, PublicKey, SegmentId
from protocol.messages import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    SEALED_BLOCK_BYTES,
    Audit,
    AuditReply,
    DialBack,
    DialBackReply,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Have,
    HaveReply,
    Held,
    Hello,
    HelloReply,
    Holds,
    LeaseReply,
    Leases,
    LeasesReply,
    Message,
    Put,
    PutLease,
    PutReply,
    Shared,
    Survey,
    SurveyReply,
    answers,
    decode_message,
    encode_message,
    is_request,
    max_body_bytes,
)
from tests.strategies import damaged, messages, nested, replies, requests

SEGMENT = SegmentId(b"\xaa" * 32)
HOST = Address("127.0.0.1", 4110)

ID = "c420" + "aa" * 32
V4 = "c406" + "7f000001100e"
V6 = "c412" + "20010db8000000000000000000000001100e"

FULL_SURVEY = Survey(
    nonce=bytes(16), record=bytes(512), segments=(Shared(segment=SEGMENT, indices=bytes(range(32))),) * 128
)
FULL_SURVEY_REPLY = SurveyReply(
    segments=(Holds(indices=bytes(range(32)), missing=32),) * 128, time=2**64 - 1, signature=bytes(64)
)

TABLE: list[tuple[Message, str]] = [
    (Hello(), "9201c400"),
    (Hello(record=b"me"), "9201c4026d65"),
    (HelloReply(record=b"you", observed=HOST), "9341c403796f75" + V4),
    (HelloReply(record=b"you", observed=Address("2001:db8::1", 4110)), "9341c403796f75" + V6),
    (
        Have(depositor=PublicKey(b"\xdd" * 32), deposit=b"\xee" * 16, segments=(SEGMENT, SEGMENT)),
        "9402c420" + "dd" * 32 + "c410" + "ee" * 16 + "92" + ID + ID,
    ),
    (
        HaveReply(held=(Held(indices=b"\x00\x1f", expiry=2**64 - 1), Held())),
        "92429292c402001fcfffffffffffffffff92c40000",
    ),
    (Get(segment=SEGMENT, index=31, first=127, count=128, proof=True), "9603" + ID + "1f7fcc80c3"),
    (Get(segment=SEGMENT, index=0, count=0), "9603" + ID + "000000c2"),
    (GetReply(), "9343c400c400"),
    (GetReply(descriptor=b"d", hashes=b"h" * 256), "9343c40164c50100" + "68" * 256),
    (
        Put(descriptor=b"d", index=3, hashes=b"h" * 32, lease=b"l"),
        "9604c4016403c420" + "68" * 32 + "c4016c" + "c400",
    ),
    (
        Put(descriptor=b"d", index=3, hashes=b"h" * 32, lease=b"l", permit=b"\x55" * 64),
        "9604c4016403c420" + "68" * 32 + "c4016c" + "c440" + "55" * 64,
    ),
    (PutReply(receipt=b"r", provider=b"p"), "9344c40172c40170"),
    (PutLease(lease=b"l"), "9205c4016c"),
    (LeaseReply(), "93459090"),
    (LeaseReply(receipts=(b"r",), providers=(b"p",)), "934591c4017291c40170"),
    (
        Audit(segment=SEGMENT, index=1, block=127, nonce=b"\xcc" * 16),
        "9506" + ID + "017fc410" + "cc" * 16,
    ),
    (
        AuditReply(descriptor=b"d", hashes=b"h" * 32, signature=b"\x55" * 64),
        "9446c40164c420" + "68" * 32 + "c440" + "55" * 64,
    ),
    (DialBack(address=HOST), "9207" + V4),
    (DialBackReply(udp=True, tcp=False), "9347c3c2"),
    (Survey(nonce=b"\xcc" * 16, segments=()), "9408c410" + "cc" * 16 + "c40090"),
    (
        Survey(
            nonce=b"\xcc" * 16,
            record=b"me",
            segments=(Shared(segment=SEGMENT, indices=b"\x00\x1f"), Shared(segment=SEGMENT)),
        ),
        "9408c410" + "cc" * 16 + "c4026d65" + "92" + "92" + ID + "c402001f" + "92" + ID + "c400",
    ),
    (
        SurveyReply(
            segments=(Holds(indices=b"\x05", leases=b"\xee" * 32, missing=32), Holds()),
            time=2**64 - 1,
            signature=b"\x55" * 64,
        ),
        "9448" + "92" + "93c40105c420" + "ee" * 32 + "20" + "93c400c420" + "00" * 32 + "00"
        "cfffffffffffffffffc440" + "55" * 64,
    ),
    (Leases(segment=SEGMENT), "9309" + ID + "00"),
    (Leases(segment=SEGMENT, skip=64), "9309" + ID + "40"),
    (LeasesReply(), "934990c2"),
    (LeasesReply(leases=(b"a", b"l"), more=True), "934992c40161c4016cc3"),
    (ErrorReply(code=ErrorCode.FULL, text="quota"), "937f02a571756f7461"),
    (ErrorReply(code=ErrorCode.DISK), "937f0aa0"),
]
names = [f"{type(message).__name__}-{number}" for number, (message, _) in enumerate(TABLE)]


@pytest.mark.parametrize(("message", "packed"), TABLE, ids=names)
def test_exact_bytes(message: Message, packed: str) -> None:
    assert encode_message(message).hex() == packed
    assert decode_message(bytes.fromhex(packed)) == message
    assert decode_message(memoryview(bytes.fromhex(packed))) == message


@pytest.mark.parametrize(("message", "packed"), TABLE, ids=names)
def test_no_truncation_or_addition_is_accepted(message: Message, packed: str) -> None:
    data = bytes.fromhex(packed)
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            decode_message(data[:size])
    for more in (b"\0", b"\xc0", b"\x90", b"\xc1", data):
        with pytest.raises(RemoteProtocolError):
            decode_message(data + more)
    with pytest.raises(RemoteProtocolError):  # a field more
        decode_message(bytes([data[0] + 1]) + data[1:] + b"\xc0")


def test_the_table_has_every_message() -> None:
    assert {type(message) for message, _ in TABLE} == set(Message.__args__)


@given(messages)
def test_decoding_undoes_encoding(message: Message) -> None:
    header = encode_message(message)
    assert decode_message(header) == message
    assert len(header) <= MAX_HEADER_BYTES


BYTES_AT_LIMITS: list[tuple[type[Message], str, int, int]] = [
    (Hello, "record", 0, 512),
    (HelloReply, "record", 1, 512),
    (Have, "depositor", 32, 32),
    (Have, "deposit", 16, 16),
    (Get, "segment", 32, 32),
    (GetReply, "descriptor", 0, 2048),
    (GetReply, "hashes", 0, 4096),
    (Put, "descriptor", 1, 2048),
    (Put, "hashes", 32, 4096),
    (Put, "lease", 1, 1024),
    (Put, "permit", 0, 64),
    (PutReply, "receipt", 1, 512),
    (PutReply, "provider", 1, 256),
    (PutLease, "lease", 1, 1024),
    (Audit, "segment", 32, 32),
    (Audit, "nonce", 16, 16),
    (AuditReply, "descriptor", 1, 2048),
    (AuditReply, "hashes", 32, 4096),
    (AuditReply, "signature", 64, 64),
    (Survey, "nonce", 16, 16),
    (Survey, "record", 0, 512),
    (SurveyReply, "signature", 64, 64),
    (Leases, "segment", 32, 32),
]
NUMBERS_AT_LIMITS: list[tuple[type[Message], str, int]] = [
    (Get, "index", 31),
    (Get, "first", 127),
    (Get, "count", 128),
    (Put, "index", 31),
    (Audit, "index", 31),
    (Audit, "block", 127),
    (SurveyReply, "time", 2**64 - 1),
    (Leases, "skip", 64),
]
samples: dict[type, tuple[Any, list[Any]]] = {
    type(message): (message, msgpack.unpackb(bytes.fromhex(packed))) for message, packed in reversed(TABLE)
}


def both_ways(cls: type[Message], field: str, value: Any) -> tuple[Message, bytes]:
    """A message with one field replaced, as we would send it and as a peer that checks nothing would."""
    message, plain = samples[cls]
    at = [known.name for known in dataclasses.fields(cls)].index(field) + 1
    packed: bytes = msgpack.packb([*plain[:at], value, *plain[at + 1 :]])
    return dataclasses.replace(message, **{field: value}), packed


def check(cls: type[Message], field: str, value: Any, fits: bool) -> None:
    message, packed = both_ways(cls, field, value)
    if fits:
        assert encode_message(message) == packed
        assert decode_message(packed) == message
    else:
        with pytest.raises(LocalProtocolError, match=field):
            encode_message(message)
        with pytest.raises(RemoteProtocolError, match=field):
            decode_message(packed)


@pytest.mark.parametrize(("cls", "field", "least", "most"), BYTES_AT_LIMITS)
def test_lengths_at_their_limits(cls: type[Message], field: str, least: int, most: int) -> None:
    for size in (least - 1, least, most, most + 1, 30_000):
        if size >= 0:
            check(cls, field, bytes(size), least <= size <= most)
    check(cls, field, "x" * most, False)
    check(cls, field, None, False)


@pytest.mark.parametrize(("cls", "field", "most"), NUMBERS_AT_LIMITS)
def test_numbers_at_their_limits(cls: type[Message], field: str, most: int) -> None:
    for number in {-1, 0, most, min(most + 1, 2**64 - 1), 2**64 - 1}:
        check(cls, field, number, 0 <= number <= most)
    check(cls, field, True, False)
    check(cls, field, 0.0, False)


@pytest.mark.parametrize(
    ("cls", "field", "item", "most"),
    [
        (Have, "segments", bytes(32), 256),
        (LeaseReply, "receipts", b"r", 32),
        (LeaseReply, "providers", b"p", 32),
        (LeasesReply, "leases", b"l", 24),
    ],
)
def test_lists_at_their_limits(cls: type[Message], field: str, item: bytes, most: int) -> None:
    for count in (0, 1, most, most + 1):
        check(cls, field, (item,) * count, count <= most)
    check(cls, field, (b"",), False)
    check(cls, field, (bytes(1025),), False)


def test_as_many_segments_are_answered_about_as_can_be_asked_for() -> None:
    held = Held(indices=bytes(range(32)), expiry=2**64 - 1)
    asked, told = FULL_SURVEY.segments, FULL_SURVEY_REPLY.segments
    for message in (HaveReply(held=(held,) * 256), FULL_SURVEY, FULL_SURVEY_REPLY):
        assert decode_message(encode_message(message)) == message
    for longer in (
        HaveReply(held=(held,) * 257),
        dataclasses.replace(FULL_SURVEY, segments=(*asked, asked[0])),
        dataclasses.replace(FULL_SURVEY_REPLY, segments=(*told, told[0])),
    ):
        with pytest.raises(LocalProtocolError, match=r"held|segments"):
            encode_message(longer)


def test_what_a_holder_knows_has_bounds() -> None:
    for bad in ([b"", bytes(31), 0], [b"", bytes(33), 0], [b"", bytes(32), 33], [b"", bytes(32), -1], [b"", bytes(32)]):
        with pytest.raises(RemoteProtocolError):
            decode_message(msgpack.packb([72, [bad], 0, bytes(64)]))


@pytest.mark.parametrize("indices", [b"\x20", b"\xff", b"\x01\x00", b"\x01\x01", bytes(33)])
def test_indices_ascend_within_their_range(indices: bytes) -> None:
    shared = Shared(segment=SEGMENT, indices=indices)
    for message in (HaveReply(held=(Held(indices=indices),)), Survey(nonce=bytes(16), segments=(shared,))):
        with pytest.raises(LocalProtocolError, match="indices"):
            encode_message(message)
    survey, told = [8, bytes(16), b"", [[SEGMENT, indices]]], [72, [[indices, bytes(32), 0]], 0, bytes(64)]
    for packed in ([66, [[indices, 0]]], survey, told):
        with pytest.raises(RemoteProtocolError, match="indices"):
            decode_message(msgpack.packb(packed))


@pytest.mark.parametrize("packed", [b"", bytes(5), bytes(6), bytes(17), b"\0" * 10 + b"\xff\xff" + b"\1" * 6])
def test_addresses_are_checked(packed: bytes) -> None:
    for data in ([7, packed], [65, b"record", packed]):
        with pytest.raises(RemoteProtocolError):
            decode_message(msgpack.packb(data))


@pytest.mark.parametrize(
    "address", [Address("1.2.3.4", 0), Address("1.2.3.4", 65_536), Address("::ffff:1.2.3.4", 1), Address("x", 1), b"x"]
)
def test_our_own_addresses_are_checked(address: Any) -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(DialBack(address=address))


def test_an_unknown_error_code_is_read_as_refused() -> None:
    for code in (0, 11, 255):
        assert decode_message(msgpack.packb([127, code, "why"])) == ErrorReply(code=ErrorCode.REFUSED, text="why")
    for bad in (-1, 256, None, "2", True):
        with pytest.raises(RemoteProtocolError):
            decode_message(msgpack.packb([127, bad, ""]))
    with pytest.raises(LocalProtocolError):
        encode_message(ErrorReply(code=2))  # type: ignore[arg-type]  # the mistake under test


def test_error_text_is_bounded_in_bytes() -> None:
    check(ErrorReply, "text", "é" * 128, True)
    check(ErrorReply, "text", "é" * 128 + "x", False)
    check(ErrorReply, "text", b"bytes", False)


@pytest.mark.parametrize("number", [0, 10, 63, 64, 74, 126, 128, 255, 256, -1, None, "1", True, 1.0, []])
def test_unknown_types_are_refused(number: Any) -> None:
    with pytest.raises(RemoteProtocolError, match=r"type|integer"):
        decode_message(msgpack.packb([number, b""]))


def test_a_header_is_bounded() -> None:
    with pytest.raises(RemoteProtocolError, match="at most"):
        decode_message(bytes(MAX_HEADER_BYTES + 1))
    with pytest.raises(RemoteProtocolError, match="decode"):
        decode_message(bytes(MAX_HEADER_BYTES))


def test_the_longest_message_fits_a_header() -> None:
    longest = LeaseReply(receipts=(bytes(512),) * 32, providers=(bytes(256),) * 32)
    assert len(encode_message(longest)) == 24_776 < MAX_HEADER_BYTES
    assert decode_message(encode_message(longest)) == longest
    put = Put(descriptor=bytes(2048), index=31, hashes=bytes(4096), lease=bytes(1024), permit=bytes(64))
    for other in (LeasesReply(leases=(bytes(1024),) * 24, more=True), put, FULL_SURVEY, FULL_SURVEY_REPLY):
        assert len(encode_message(other)) < 24_776


def test_deep_nesting_is_refused() -> None:
    for data in (nested(b"\xc0", 32_000), b"\x92\x01" + nested(b"\xc0", 32_000), b"\xdd\xff\xff\xff\xff" * 6_000):
        with pytest.raises(RemoteProtocolError):
            decode_message(data)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        encode_message(decode_message(data))


@given(st.data())
def test_damaged_headers_are_valid_or_refused(data: st.DataObject) -> None:
    bad = data.draw(damaged(encode_message(data.draw(messages))))
    with contextlib.suppress(RemoteProtocolError):
        encode_message(decode_message(bad))


@given(requests, replies)
def test_requests_and_replies(request: Message, reply: Message) -> None:
    assert is_request(request)
    assert not is_request(reply)
    assert not answers(request, request)


def test_what_answers_what() -> None:
    pairs = [(Hello, HelloReply), (Get, GetReply), (Put, PutReply), (PutLease, LeaseReply), (Audit, AuditReply)]
    pairs += [(DialBack, DialBackReply), (Leases, LeasesReply)]
    error = ErrorReply(code=ErrorCode.BUSY)
    for request, reply in pairs:
        for other, _ in pairs:
            assert answers(samples[reply][0], samples[other][0]) == (other is request)
        assert answers(error, samples[request][0])
    have = Have(depositor=PublicKey(bytes(32)), deposit=bytes(16), segments=(SEGMENT, SEGMENT))
    assert answers(HaveReply(held=(Held(), Held())), have)
    assert not answers(HaveReply(held=(Held(),)), have)
    assert not answers(HaveReply(held=()), Hello())
    assert answers(error, have)
    assert answers(FULL_SURVEY_REPLY, FULL_SURVEY)
    assert not answers(dataclasses.replace(FULL_SURVEY_REPLY, segments=(Holds(),) * 127), FULL_SURVEY)
    assert not answers(HaveReply(held=(Held(),) * 128), FULL_SURVEY)
    assert not answers(FULL_SURVEY_REPLY, dataclasses.replace(have, segments=(SEGMENT,) * 128))
    assert answers(error, FULL_SURVEY)


def test_only_three_messages_have_a_body() -> None:
    bounds = {cls: max_body_bytes(message) for cls, (message, _) in samples.items()}
    assert {cls: bound for cls, bound in bounds.items() if bound} == {
        Put: MAX_BODY_BYTES,
        GetReply: MAX_BODY_BYTES,
        AuditReply: SEALED_BLOCK_BYTES,
    }
    assert MAX_BODY_BYTES == 128 * SEALED_BLOCK_BYTES


def test_a_get_reply_has_no_more_body_than_was_asked_for() -> None:
    for count in (0, 3, 128):
        request = Get(segment=SEGMENT, index=0, count=count)
        assert max_body_bytes(GetReply(), request) == count * SEALED_BLOCK_BYTES
        assert max_body_bytes(ErrorReply(code=ErrorCode.BUSY), request) == 0
