"""Who refused and why: each once, no more than some, and what a person is told of it."""

import pytest

from dht.contact import Contact
from node.cli.refusals import refusal_fields, refusal_notes, refusals_told
from node.errors import RefusedError
from node.net.peers import PeerRefused
from node.refusals import MAX_REFUSALS, REASONS_PER_NODE, Refusals
from protocol.ids import Address, PublicKey
from protocol.messages import ErrorCode

DENIED = PeerRefused(ErrorCode.REFUSED, "the operator's denylist names that depositor")


def contact(number: int) -> Contact:
    return Contact(PublicKey(number.to_bytes(32, "big")), Address("10.0.0.1", 4110))


def test_each_node_and_reason_once() -> None:
    refusals = Refusals()
    for _ in range(3):
        refusals.note(contact(1), "FR", DENIED)
        refusals.note(contact(1), "FR", PeerRefused(ErrorCode.FULL, "the quota is used up"))
    assert [(item.country, item.code) for item in refusals.found] == [("FR", ErrorCode.REFUSED), ("FR", ErrorCode.FULL)]


def test_not_to_hold_something_is_no_refusal() -> None:
    refusals = Refusals()
    refusals.note(contact(1), "FR", PeerRefused(ErrorCode.NOT_FOUND, "no chunk of the segment is held here"))
    assert refusals.found == []


def test_one_node_does_not_fill_the_list_nor_do_all_together() -> None:
    refusals = Refusals()
    for count in range(100):
        refusals.note(contact(1), None, PeerRefused(ErrorCode.REFUSED, f"no, for the {count}th time"))
    assert len(refusals.found) == REASONS_PER_NODE
    for number in range(2, 2 * MAX_REFUSALS):
        refusals.note(contact(number), None, DENIED)
    assert len(refusals.found) == MAX_REFUSALS


def test_what_a_person_is_told() -> None:
    refusals = Refusals()
    refusals.note(contact(9), "DE", PeerRefused(ErrorCode.FULL, "the quota is used up"))
    refusals.note(contact(1), "FR", DENIED)
    refusals.note(contact(2), None, DENIED)
    refusals.note(contact(3), "", PeerRefused(ErrorCode.BAD_LEASE, ""))
    ids = [contact(number).node_id[:4].hex() for number in (9, 1, 2, 3)]
    assert refusal_notes(refusals.found) == [
        f"2 nodes refuse you: the operator's denylist names that depositor ({ids[1]} FR, {ids[2]})",
        f"1 node is full: the quota is used up ({ids[0]} DE)",
        f"1 node bad lease: it was not done there ({ids[3]})",
    ]
    assert refusal_fields(refusals)[2] == {
        "node": contact(2).node_id.hex(), "country": None, "code": "refused", "reason": DENIED.text,
    }  # fmt: skip


def test_many_are_told_in_few_lines() -> None:
    refusals = Refusals()
    for number in range(20):
        refusals.note(contact(number), "FR", DENIED)
        refusals.note(contact(number), "FR", PeerRefused(ErrorCode.REFUSED, f"reason {number}"))
    lines = refusal_notes(refusals.found)
    assert len(lines) == 9
    assert lines[0].startswith("20 nodes refuse you: ")
    assert lines[0].endswith(", and 14 more)")
    assert lines[-1] == "13 other reasons of nodes that refused: --json names all"


def test_it_is_told_also_when_the_command_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedError), refusals_told() as refusals:
        refusals.note(contact(1), "FR", PeerRefused(ErrorCode.REFUSED, "no\x1b[2J"))
        raise RefusedError("placed 0 of 12 chunks of a segment, 9 are needed")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("archipel: note: 1 node refuses you: no\\x1b[2J ("), "a stranger's words are not obeyed"
