"""What a node remembers of the other holders (node/healing/ledger.py)."""

from dht.contact import Contact
from node.healing.ledger import CoHolder, Ledger
from protocol.identity import Identity
from protocol.ids import Address, SegmentId

SEGMENT, OTHER = SegmentId(bytes(32)), SegmentId(bytes([1]) * 32)


def contact(number: int) -> Contact:
    return Contact(Identity(bytes([number]) * 32).key, Address(f"10.0.0.{number}", 4110))


def ledger() -> tuple[Ledger, CoHolder, CoHolder]:
    """Ours, a node that is missing, and one that is there."""
    made = Ledger(contact(1), "DE")
    gone, there = made.node(contact(2), "FR", 0.0), made.node(contact(3), "IS", 0.0)
    for segment in (SEGMENT, OTHER):
        made.enter(segment, 1, 3)
        made.proved(segment, 0, made.own)
        made.proved(segment, 1, gone)
    gone.missing_since = 0.0
    return made, gone, there


def test_a_dead_holder_is_forgotten_once_others_hold_what_it_held() -> None:
    made, gone, there = ledger()
    for segment in (SEGMENT, OTHER):
        made.proved(segment, 1, there)
    made.bury(gone)
    assert gone.holdings == 0
    assert made.held_by(SEGMENT, gone) == made.held_by(OTHER, gone) == []
    assert made.held_by(SEGMENT, there) == made.held_by(OTHER, there) == [1]
    made.forget_idle()
    assert made.known(gone.contact.key) is None
    assert made.known(there.contact.key) is there


def test_the_last_holder_of_a_chunk_is_remembered() -> None:
    """Who knows that it is missing, since when and where, unless we do?"""
    made, gone, there = ledger()
    made.proved(SEGMENT, 1, there)
    made.bury(gone)
    assert made.held_by(SEGMENT, gone) == []
    assert made.held_by(OTHER, gone) == [1]
    assert gone.holdings == 1
