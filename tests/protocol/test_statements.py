"""The bytes behind signatures about chunks, written out; and that no two sayings share them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import SignatureError
from protocol.hashing import digest
from protocol.identity import verify
from protocol.ids import NetworkId, SegmentId
from protocol.messages import Holds
from protocol.statements import audit_statement, permit_statement, survey_statement
from tests.strategies import IDENTITY, STRANGER, chunk_indices, holds, segment_ids

NET = NetworkId(b"n" * 32)
SEGMENT, OTHER = SegmentId(b"\xaa" * 32), SegmentId(b"\xbb" * 32)
NONCE = b"c" * 16


def test_what_an_audit_reply_signs() -> None:
    statement = audit_statement(network=NET, nonce=NONCE, segment=SEGMENT, index=31, block=127, block_hash=b"h" * 32)
    assert statement == b"n" * 32 + b"c" * 16 + b"\xaa" * 32 + b"\x1f" + b"\x7f" + b"h" * 32


def test_what_a_permit_signs() -> None:
    statement = permit_statement(network=NET, segment=SEGMENT, index=31, holder=STRANGER.key)
    assert statement == b"n" * 32 + b"\xaa" * 32 + b"\x1f" + STRANGER.key


def test_what_a_survey_reply_signs() -> None:
    answers = (Holds(indices=b"\x05\x1f", leases=b"\xee" * 32, missing=3), Holds())
    statement = survey_statement(network=NET, nonce=NONCE, time=258, segments=(SEGMENT, OTHER), answers=answers)
    first = b"\xaa" * 32 + b"\x02" + b"\x05\x1f" + b"\xee" * 32 + b"\x03"
    second = b"\xbb" * 32 + b"\x00" + bytes(32) + b"\x00"
    assert statement == b"n" * 32 + b"c" * 16 + b"\0\0\0\0\0\0\1\2" + digest("survey", first + second)
    nothing = survey_statement(network=NET, nonce=NONCE, time=0, segments=(), answers=())
    assert nothing == b"n" * 32 + b"c" * 16 + bytes(8) + digest("survey", b"")


def test_a_survey_is_answered_segment_by_segment() -> None:
    for answers in ((), (Holds(),) * 2):
        with pytest.raises(ValueError, match="zip"):
            survey_statement(network=NET, nonce=NONCE, time=0, segments=(SEGMENT,), answers=answers)


surveys = st.lists(st.tuples(segment_ids, holds), max_size=4)


@given(surveys, surveys)
def test_no_two_surveys_are_signed_alike(
    one: list[tuple[SegmentId, Holds]], other: list[tuple[SegmentId, Holds]]
) -> None:
    statements = [
        survey_statement(network=NET, nonce=NONCE, time=0, segments=[s for s, _ in told], answers=[h for _, h in told])
        for told in (one, other)
    ]
    assert (statements[0] == statements[1]) == (one == other)


@given(segment_ids, chunk_indices, st.integers(0, 31))
def test_a_chunk_moved_to_the_neighbour_is_another_saying(segment: SegmentId, indices: bytes, missing: int) -> None:
    """The lengths differ from segment to segment: the boundary between two is signed too."""
    first, second = Holds(indices=indices, missing=missing), Holds(indices=b"", missing=missing)
    statements = {
        survey_statement(network=NET, nonce=NONCE, time=0, segments=(segment, segment), answers=answers)
        for answers in ((first, second), (second, first))
    }
    assert len(statements) == (2 if indices else 1)


def test_a_signature_is_good_for_one_label_alone() -> None:
    statement = permit_statement(network=NET, segment=SEGMENT, index=0, holder=STRANGER.key)
    signature = IDENTITY.sign("permit", statement)
    verify(IDENTITY.key, "permit", statement, signature)
    for label in ("survey", "audit", "lease"):
        with pytest.raises(SignatureError):
            verify(IDENTITY.key, label, statement, signature)
    with pytest.raises(SignatureError):
        verify(STRANGER.key, "permit", statement, signature)
