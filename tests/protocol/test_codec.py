"""The codec: what it accepts is exactly what the shapes say, and hostile bytes cost nothing."""

import contextlib
import time
from dataclasses import dataclass
from typing import Annotated, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import (
    Flag,
    Int,
    Raw,
    Seq,
    Struct,
    Text,
    Uint,
    decode,
    decode_tagged,
    encode,
    encode_tagged,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from tests.strategies import damaged, nested, pieces, raw, texts, uint


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    flag: Annotated[bool, Flag()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: Annotated[int, Uint(255)]
    offset: Annotated[int, Int()]
    exact: Annotated[bytes, Raw(4)]
    some: Annotated[bytes, Raw(1, 3)]
    text: Annotated[str, Text(4)]
    inner: Annotated[Inner, Struct(Inner)]
    items: Annotated[tuple[Inner, ...], Seq(Struct(Inner), 2)]
    lists: Annotated[tuple[tuple[int, ...], ...], Seq(Seq(Uint(1), 2), 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optional:
    """A shape is found inside the other parts of a type as well."""

    value: Annotated[int, Uint(1)] | None = None


GOOD: dict[str, Any] = {
    "count": 255,
    "offset": -1,
    "exact": b"abcd",
    "some": b"x",
    "text": "é",
    "inner": Inner(flag=True),
    "items": (Inner(flag=False),),
    "lists": ((0, 1), ()),
}
GOOD_HEX = (
    "98"  # array of 8
    "ccff"  # count
    "ff"  # offset: -1
    "c40461626364"  # exact
    "c40178"  # some
    "a2c3a9"  # text
    "91c3"  # inner
    "9191c2"  # items
    "92"
    "920001"
    "90"  # lists
)

outers = st.builds(
    Outer,
    count=uint(255),
    offset=st.integers(-(2**63), 2**63 - 1),
    exact=raw(4),
    some=raw(1, 3),
    text=texts(4),
    inner=st.builds(Inner, flag=st.booleans()),
    items=st.lists(st.builds(Inner, flag=st.booleans()), max_size=2).map(tuple),
    lists=st.lists(st.lists(uint(1), max_size=2).map(tuple), max_size=2).map(tuple),
)


def packed_with(**changes: Any) -> bytes:
    """What a peer would send with some values replaced, whatever they are."""
    plain = {**GOOD, "inner": [True], "items": [[False]], "lists": [[0, 1], []]}
    assert changes.keys() <= plain.keys()
    packed: bytes = msgpack.packb(list((plain | changes).values()))
    return packed


def test_a_dataclass_is_an_array_of_its_fields() -> None:
    assert encode(Outer(**GOOD)).hex() == GOOD_HEX
    assert decode(Outer, bytes.fromhex(GOOD_HEX)) == Outer(**GOOD)


def test_any_buffer_is_decoded() -> None:
    data = bytes.fromhex(GOOD_HEX)
    assert decode(Outer, bytearray(data)) == decode(Outer, memoryview(data)) == Outer(**GOOD)


@given(outers)
def test_decoding_undoes_encoding(outer: Outer) -> None:
    assert decode(Outer, encode(outer)) == outer
    assert decode_tagged({7: Inner, 9: Outer}, encode_tagged(9, outer)) == outer


@pytest.mark.parametrize(
    "changes",
    [
        {"count": -1},
        {"count": 256},
        {"count": True},
        {"count": 1.0},
        {"count": None},
        {"offset": 2**63},
        {"offset": False},
        {"exact": b"abc"},
        {"exact": b"abcde"},
        {"exact": "abcd"},
        {"some": b""},
        {"some": b"1234"},
        {"text": "12345"},
        {"text": "éé\0"},
        {"text": b"abc"},
        {"inner": []},
        {"inner": [True, True]},
        {"inner": [1]},
        {"inner": True},
        {"inner": {}},
        {"items": [[True]] * 3},
        {"items": None},
        {"items": [True]},
        {"items": {}},
        {"lists": [[0, 0, 0]]},
        {"lists": [[2]]},
        {"lists": [[[]]]},
        {"lists": [0]},
        {"count": {}},
        {"count": {1: 2}},
        {"count": []},
        {"count": [1]},
        {"count": msgpack.ExtType(1, b"")},
        {"count": msgpack.ExtType(1, b"abcd")},
        {"count": msgpack.Timestamp(1)},
    ],
)
def test_a_field_that_breaks_its_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match=r"cannot decode Outer: \w+: "):
        decode(Outer, packed_with(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 256},
        {"count": True},
        {"offset": -(2**63) - 1},
        {"exact": bytearray(4)},
        {"some": b""},
        {"text": "\ud800"},
        {"text": "12345"},
        {"inner": None},
        {"items": []},
        {"items": (Inner(flag=True),) * 3},
        {"lists": ((2,),)},
    ],
)
def test_our_own_mistakes_are_local_errors(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="cannot encode Outer"):
        encode(Outer(**(GOOD | changes)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\xc1",  # the one byte msgpack never uses
        b"\x80",
        b"\x97",
        bytes.fromhex("97" + GOOD_HEX[2:-2]),  # a field short
        bytes.fromhex("99" + GOOD_HEX[2:] + "c0"),  # a field long
        bytes.fromhex(GOOD_HEX + "c0"),  # trailing bytes
        bytes.fromhex(GOOD_HEX + "c1"),
        bytes.fromhex(GOOD_HEX.replace("a2c3a9", "a2c328")),  # not UTF-8
        b"\xdd\xff\xff\xff\xff",  # arrays, binaries and texts that announce 4 GiB
        b"\x98\xc6\xff\xff\xff\xff",
        b"\x98\xdb\xff\xff\xff\xff",
        b"\x98\xdf\xff\xff\xff\xff",
        b"\x98\xc9\xff\xff\xff\xff\x01",
    ],
)
def test_bytes_that_are_not_the_message_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(Outer, data)
    with pytest.raises(RemoteProtocolError):
        decode_tagged({8: Outer}, data)


def test_every_truncation_is_refused() -> None:
    data = bytes.fromhex(GOOD_HEX)
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            decode(Outer, data[:size])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("920ac3", "unknown type 10"),
        ("92c3c3", "want an integer"),
        ("92cd0100c3", "want an integer of 0 to 255"),
        ("92ffc3", "want an integer"),
        ("90", "No more data"),
        ("9007", "want 1 fields, got -1"),
        ("9107", "want 1 fields, got 0"),
        ("9307c3c3", "want 1 fields, got 2"),
        ("9207c3c3", "trailing bytes"),
        ("920700", "flag: want true or false"),
    ],
)
def test_a_tag_must_be_known_and_followed_by_its_fields(data: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        decode_tagged({7: Inner}, bytes.fromhex(data))


def test_a_tag_goes_before_the_fields() -> None:
    assert encode_tagged(7, Inner(flag=True)).hex() == "9207c3"
    assert decode_tagged({7: Inner}, b"\x92\x07\xc3") == Inner(flag=True)


def test_the_shape_is_found_in_a_union() -> None:
    assert decode(Optional, encode(Optional(value=1))) == Optional(value=1)


@pytest.mark.parametrize("depth", [1, 500, 2_000, 1_000_000])
def test_deep_nesting_is_refused_at_the_first_level(depth: int) -> None:
    for data in (nested(b"\xc0", depth), b"\x98" + nested(b"\xc0", depth), b"\x81\xc0" * depth):
        with pytest.raises(RemoteProtocolError):
            decode(Outer, data)


def test_nested_arrays_that_announce_millions_cost_nothing() -> None:
    bomb = (b"\xdd" + (1 << 20).to_bytes(4, "big")) * 200_000
    started = time.process_time()
    for data in (bomb, b"\x98" + bomb, b"\x98\x01\x01\xc4\x04abcd\xc4\x01x\xa0\x91\xc3\x90" + bomb):
        with pytest.raises(RemoteProtocolError):
            decode(Outer, data)
    assert time.process_time() - started < 1  # msgpack alone: over a minute


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert type(decode(Outer, data)) is Outer
    with contextlib.suppress(RemoteProtocolError):
        assert type(decode_tagged({1: Inner, 2: Outer}, data)) in (Inner, Outer)


@given(st.data())
def test_damaged_bytes_decode_to_something_valid_or_not_at_all(data: st.DataObject) -> None:
    bad = data.draw(damaged(encode(data.draw(outers))))
    try:
        message = decode(Outer, bad)
    except RemoteProtocolError:
        return
    assert decode(Outer, encode(message)) == message


@given(st.data())
def test_pieces_are_the_whole(data: st.DataObject) -> None:
    """The strategy that the chunking tests rest on."""
    whole = data.draw(st.binary(max_size=50))
    assert b"".join(data.draw(pieces(whole))) == whole
