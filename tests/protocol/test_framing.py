"""Pieces come out whole, however the bytes come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.framing import MAX_UNREAD_BYTES, Inbox, framed
from tests.strategies import pieces


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.data())
def test_any_chunking_gives_the_same_pieces(wanted: list[bytes], data: st.DataObject) -> None:
    inbox, taken = Inbox(), []
    for chunk in data.draw(pieces(b"".join(map(framed, wanted)))):
        inbox.feed(chunk)
        if data.draw(st.booleans()):  # the caller need not drain after every receive
            continue
        while (piece := inbox.take_framed(1, 40)) is not None:
            taken.append(bytes(piece))
    while (piece := inbox.take_framed(1, 40)) is not None:
        taken.append(bytes(piece))
    assert taken == wanted


def test_a_piece_within_one_receive_is_not_copied() -> None:
    data = bytearray(framed(b"one") + framed(b"two"))
    inbox = Inbox()
    inbox.feed(data)
    piece = inbox.take_framed(1, 3)
    assert isinstance(piece, memoryview)
    assert piece.obj is data


@pytest.mark.parametrize("length", [0, 9, 21, 65_535])
def test_a_length_is_checked_before_anything_is_waited_for(length: int) -> None:
    inbox = Inbox()
    inbox.feed(length.to_bytes(2, "big"))
    with pytest.raises(RemoteProtocolError, match=f"{length} bytes, expected 10 to 20"):
        inbox.take_framed(10, 20)


def test_what_nobody_takes_is_bounded() -> None:
    inbox = Inbox()
    inbox.feed(bytes(MAX_UNREAD_BYTES))
    inbox.feed(b"x")
    with pytest.raises(RemoteProtocolError, match="more than it was asked"):
        inbox.feed(b"x")
