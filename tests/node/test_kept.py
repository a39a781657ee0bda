"""What is signed for a deposit of which there is no journal, and what is rebuilt at once."""

from types import SimpleNamespace
from typing import Any

import pytest

from node.errors import RefusedError
from node.keeping.kept import Kept, KeptTerms
from node.keeping.restoring import MOST_BYTES, _batches
from node.keeping.shown import Shown
from protocol.identity import Identity, Network
from protocol.ids import SegmentId
from protocol.leases import MAX_SEQUENCE, Lease, Policy
from protocol.links import Link, LinkKind
from protocol.segment import SEGMENT_BYTES, Layout

NOW = 1_800_000_000
SEGMENT = SegmentId(b"s" * 32)
POLICY = Policy(avoid=("NZ",))
OWN = Identity(b"o" * 32)
KEPT = Kept(Link(LinkKind.VERIFY, SEGMENT, b"k" * 32), b"d" * 16, POLICY, NOW + 1000)


def which(kept: Kept = KEPT, *, expiry: int = NOW + 5000, deleted: bool = False) -> KeptTerms:
    clock = SimpleNamespace(wall=lambda: NOW + 0.25)
    client: Any = SimpleNamespace(world=SimpleNamespace(clock=clock))
    return KeptTerms(client, OWN, kept, expiry, deleted)


def shown(sequence: int, expiry: int, *, deleted: bool = False, foreign: bool = False) -> Shown:
    lease = Lease(
        network=Network("archipelago").id,
        depositor=OWN.key,
        deposit=KEPT.deposit,
        segment=SEGMENT,
        size=1,
        sequence=sequence,
        expiry=expiry,
        deleted=deleted,
    )
    return Shown(lease, b"signed", foreign)


@pytest.mark.parametrize(
    ("known", "seen", "signed"),
    [
        (0, None, NOW * 1000 + 250),
        (5, 7, NOW * 1000 + 250),
        (NOW * 2000, None, NOW * 2000 + 1),
        (NOW * 2000, NOW * 3000, NOW * 3000 + 1),
        (0, MAX_SEQUENCE, MAX_SEQUENCE),
    ],
)
def test_the_sequence_is_above_all_that_is_known(known: int, seen: int | None, signed: int) -> None:
    work = which(Kept(KEPT.link, KEPT.deposit, POLICY, KEPT.expiry, known))
    terms = work.after(SEGMENT, Shown() if seen is None else shown(seen, NOW + 1))
    assert terms is not None
    assert (terms.sequence, work.sequence) == (signed, signed)
    assert (terms.deposit, terms.policy, terms.expiry) == (KEPT.deposit, POLICY, NOW + 5000)


@pytest.mark.parametrize("deleted", [True, False])
def test_nothing_is_shortened(deleted: bool) -> None:
    work = which(deleted=deleted)
    terms = work.after(SEGMENT, shown(1, NOW + 9000))
    assert terms is not None
    assert (terms.expiry, work.longest) == (NOW + 9000, NOW + 9000)


def test_what_a_depositor_leaves_alone() -> None:
    """What it has deleted itself, unless it deletes; and what only another one has signed for."""
    assert which().after(SEGMENT, shown(1, NOW + 1, deleted=True)) is None
    assert which(deleted=True).after(SEGMENT, shown(1, NOW + 1, deleted=True)) is not None
    assert which().after(SEGMENT, shown(1, NOW + 1, foreign=True)) is not None, "somebody has added a lease"
    for deleting in (True, False):
        work = which(deleted=deleting)
        assert work.after(SEGMENT, Shown(foreign=True)) is None
        with pytest.raises(RefusedError, match="the leases of 1 of 3 segments are left as they are: another depositor"):
            work.check(3)


def test_what_has_ended_needs_no_deletion() -> None:
    work = which(expiry=NOW, deleted=True)
    assert work.after(SEGMENT, Shown()) is None
    work.check(1)


def test_rebuilt_chunks_are_bounded() -> None:
    """Of a segment that is kept as 32 plain copies of 16 MiB, one at a time."""
    copies = Layout(SEGMENT_BYTES, 1, 32)
    assert list(_batches(copies, range(1, 32))) == [[index] for index in range(1, 32)]
    usual = Layout(SEGMENT_BYTES, 8, 12)
    assert list(_batches(usual, [0, 3, 11])) == [[0, 3, 11]]
    wide = Layout(SEGMENT_BYTES, 8, 32)
    groups = list(_batches(wide, range(24)))
    assert [index for group in groups for index in group] == list(range(24))
    assert all(sum(map(wide.column_bytes, group)) <= MOST_BYTES for group in groups)
    assert list(_batches(wide, [])) == []


def test_its_text_shows_no_key() -> None:
    kept = Kept(Link(LinkKind.READ, SEGMENT, b"secret" * 5 + b"!!"), b"d" * 16)
    assert "secret" not in repr(kept)
    assert str(kept.link) not in repr(kept)
