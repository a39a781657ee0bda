"""Drives: encoded, merged in any order without a loss, and shown (docs/spec/drive.md)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import drive as drives
from protocol.drive import (
    LISTED,
    MAX_STAMP,
    REMOVED_MS,
    Content,
    Drive,
    DriveEntry,
    EntryKind,
    Place,
    after,
    deposit_entry,
    folder_entry,
    folders,
    link_entry,
    listed,
    name_entry,
    parents,
)
from protocol.errors import DriveFullError, LocalProtocolError, RemoteProtocolError
from protocol.ids import Address, SegmentId
from protocol.leases import Policy
from protocol.links import Link, LinkKind, NameLink, link_payload
from tests.strategies import STRANGER, countries, damaged, raw, texts, uint
from tests.vectors import make_drive
from tests.vectors.make_drive import ALL, DEPOSIT, NOW

READ = Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))
NAME = NameLink(STRANGER.key, bytes(32))
SOME_LINKS: tuple[Link | NameLink, ...] = (READ, READ.verify_link(), NAME)
PAYLOAD = link_payload(READ)

stamps = st.one_of(st.integers(0, 3), uint(MAX_STAMP))
"""Few, so that they tie."""
paths = st.lists(st.sampled_from((b"a", b"b", b"a (2)", b"\xff")), min_size=1, max_size=3).map(b"/".join)
places = st.builds(Place, stamps, st.booleans(), paths)


def contents(link: bytes, labels: st.SearchStrategy[str]) -> st.SearchStrategy[Content]:
    return st.builds(
        Content,
        stamp=stamps,
        link=st.just(link),
        size=uint(2**63),
        time=uint(2**64 - 1),
        expiry=uint(2**64 - 1),
        spread=st.booleans(),
        avoid=st.lists(countries, max_size=3).map(tuple),
        label=labels,
    )


@st.composite
def entries(draw: st.DrawFn) -> DriveEntry:
    kind = draw(st.sampled_from(EntryKind))
    place = draw(places)
    match kind:
        case EntryKind.FOLDER:
            return replace(folder_entry(place.path, 0), place=place)
        case EntryKind.LINK:
            link: Link | NameLink = draw(st.sampled_from(SOME_LINKS))
            content = draw(contents(link_payload(link), st.just("")))
            return replace(link_entry(link, place.path, Content(), 0), place=place, content=content)
        case EntryKind.NAME:
            label = draw(texts(64).filter(bool))
            content = draw(contents(link_payload(NAME), st.just(label)))
            return replace(name_entry(NAME, label, place.path, Content(), 0), place=place, content=content)
        case _:
            identifier = draw(st.one_of(st.sampled_from((b"\x01" * 16, b"\x02" * 16)), raw(16)))
            labels = texts(64) if kind is EntryKind.DEPOSIT else st.just("")
            return DriveEntry(id=identifier, kind=kind, place=place, content=draw(contents(PAYLOAD, labels)))


some_drives = st.lists(entries(), max_size=5).map(Drive.of)


@given(some_drives)
def test_a_drive_is_read_as_it_was_written(drive: Drive) -> None:
    assert Drive.decode(drive.encode()) == drive
    assert drive.by_id() == {entry.id: entry for entry in drive.entries}


@given(some_drives, some_drives, some_drives)
def test_merging_is_commutative_associative_and_idempotent(one: Drive, two: Drive, three: Drive) -> None:
    both = one.merge(two)
    assert two.merge(one) == both
    assert both.merge(three) == one.merge(two.merge(three))
    assert both.merge(one) == both.merge(both) == both
    assert one.merge(one) == one


@given(some_drives, some_drives)
def test_merging_loses_nothing(one: Drive, two: Drive) -> None:
    """Each id stays; and each entry of it has the latest place and the latest content of either."""
    merged = one.merge(two)
    assert set(merged.by_id()) == set(one.by_id()) | set(two.by_id())
    for entry in merged.entries:
        known = [drive.by_id()[entry.id] for drive in (one, two) if entry.id in drive.by_id()]
        alike = [other for other in known if other.kind == entry.kind]
        assert entry.kind == max(other.kind for other in known)
        assert entry.place.stamp == max(other.place.stamp for other in alike)
        assert entry.content.stamp == max(other.content.stamp for other in alike)
        assert entry.place in [other.place for other in alike]
        assert entry.content in [other.content for other in alike]
    assert Drive.decode(merged.encode()) == merged  # what follows the rules follows them when it is merged


@given(some_drives, stamps)
def test_a_change_wins_over_what_it_changes(drive: Drive, now: int) -> None:
    for entry in drive.entries:
        if entry.kind is EntryKind.FOLDER or MAX_STAMP in (entry.place.stamp, entry.content.stamp):
            continue
        changed = entry.moved(b"elsewhere", now).updated(replace(entry.content, size=7), now)
        assert entry.merge(changed) == changed
        assert entry.merge(changed.removed(now)) == changed.removed(now)
        assert not changed.removed(now).live


@given(some_drives)
def test_every_listed_entry_is_shown_once_and_at_a_path_of_its_own(drive: Drive) -> None:
    shown, taken = listed(drive), folders(drive)
    wanted = [entry.id for entry in drive.entries if entry.live and entry.kind in LISTED - {EntryKind.FOLDER}]
    assert sorted(entry.id for entry in shown.values()) == sorted(wanted)
    assert not taken & set(shown)
    assert list(shown) == sorted(shown)
    for path, entry in shown.items():
        assert path == entry.path or path.startswith(entry.path + b" (")
        assert set(parents(path)) <= taken
    for entry in drive.entries:
        if entry.live and entry.kind is EntryKind.FOLDER:
            assert entry.path in taken


def test_paths_that_collide_are_numbered() -> None:
    shown = {path: entry.id[0] for path, entry in listed(ALL).items() if entry.kind is EntryKind.DEPOSIT}
    assert shown == {
        b"photos (2)": 0x13,
        b"photos/2029": 0x10,
        b"photos/2029 (2)": 0x12,
        b"photos/2029 (3)": 0x11,
    }
    assert folders(ALL) == {b"photos", b"empty"}


def test_many_entries_with_one_path() -> None:
    alike = [replace(DEPOSIT, id=number.to_bytes(16, "big")) for number in range(100)]
    expected = [DEPOSIT.path, *(DEPOSIT.path + b" (%d)" % number for number in range(2, 101))]
    shown = listed(Drive.of(alike))
    assert [shown[path] for path in expected] == alike


def test_removals_are_forgotten_after_400_days() -> None:
    drive = Drive((DEPOSIT, replace(DEPOSIT, id=b"\x20" * 16, place=Place(NOW, False, b"gone"))))
    assert drive.purged(NOW + REMOVED_MS - 1) == drive
    assert drive.purged(NOW + REMOVED_MS) == Drive((DEPOSIT,))


@pytest.mark.parametrize(("stamp", "now", "later"), [(5, 9, 9), (9, 9, 10), (9, 5, 10), (MAX_STAMP, 5, MAX_STAMP)])
def test_a_clock_that_is_behind_loses_no_change(stamp: int, now: int, later: int) -> None:
    assert after(stamp, now) == later


def test_a_link_has_one_entry_whatever_hints_it_came_with() -> None:
    hinted = replace(READ, hints=(Address("192.0.2.1", 1),))
    one, two = (link_entry(link, b"a", Content(), 1) for link in (READ, hinted))
    assert one.id == two.id
    assert two.link == hinted
    assert one.id != link_entry(READ.verify_link(), b"a", Content(), 1).id


def test_what_an_entry_tells_of_itself() -> None:
    assert DEPOSIT.deposit == DEPOSIT.id
    assert DEPOSIT.link == make_drive.READ
    assert DEPOSIT.content.policy == Policy(spread_countries=False, avoid=("DE", "FR"))
    assert folder_entry(b"a", 1).link is None
    assert folder_entry(b"a", 1).deposit is None
    new = deposit_entry(EntryKind.SHARE, b"\x01" * 16, b"a", replace(DEPOSIT.content, stamp=0), 7)
    assert (new.place.stamp, new.content.stamp, new.live, new.path) == (7, 7, True, b"a")


def test_nothing_private_is_in_a_repr() -> None:
    text = repr(Drive((replace(DEPOSIT, content=replace(DEPOSIT.content, label="a label")),)))
    for private in ("photos", "a label", repr(DEPOSIT.content.link), DEPOSIT.content.link.hex()):
        assert private not in text


def test_a_drive_is_full_some_day(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Drive((DEPOSIT, replace(DEPOSIT, id=b"\x11" * 16)))
    monkeypatch.setattr(drives, "MAX_ENTRIES", 1)
    with pytest.raises(DriveFullError, match="at most 1 entries, got 2"):
        two.encode()
    monkeypatch.undo()
    size = len(two.encode())
    monkeypatch.setattr(drives, "MAX_DRIVE_BYTES", size - 1)
    with pytest.raises(DriveFullError, match="bytes"):
        two.encode()
    with pytest.raises(RemoteProtocolError, match=f"got {size}"):
        Drive.decode(raw_of(two))


def raw_of(drive: Drive) -> bytes:
    return make_drive.raw_drive(*drive.entries)


def test_a_drive_that_breaks_the_rules_is_not_made() -> None:
    with pytest.raises(LocalProtocolError, match="entry 1: it is a duplicate, or out of order"):
        Drive((DEPOSIT, DEPOSIT)).encode()
    with pytest.raises(LocalProtocolError, match="entry 0: a path is absolute"):
        Drive((DEPOSIT.moved(b"/a", 1),)).encode()


@given(st.data())
def test_a_damaged_drive_is_refused_or_another_drive(data: st.DataObject) -> None:
    changed = data.draw(damaged(ALL.encode()))
    try:
        read = Drive.decode(changed)
    except RemoteProtocolError:
        return
    assert Drive.decode(read.encode()) == read


@given(st.binary(max_size=200))
def test_garbage_is_no_drive(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Drive.decode(data)
