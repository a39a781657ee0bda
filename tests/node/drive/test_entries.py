"""What publishing, renewing and deleting mean for a drive, and what of it ends soon."""

from dataclasses import replace

import pytest

from node.drive.ending import ending
from node.drive.entries import (
    find_name,
    kept_of,
    name_link_of,
    of_root,
    own_deposits,
    published_entry,
    renewed,
    title_of,
    without,
)
from node.drive.keeping import to_renew
from node.errors import NotFoundError, RefusedError
from protocol.drive import Content, Drive, DriveEntry, EntryKind, deposit_entry, folder_entry, link_entry, name_entry
from protocol.ids import Address, SegmentId
from protocol.leases import Policy
from protocol.links import Link, LinkKind, NameLink
from protocol.manifest import Entry, Kind
from protocol.names import NameKeys

DAY = 86_400
NOW = 1_900_000_000
KEYS = NameKeys(b"n" * 32)
NAME = NameLink(KEYS.identity.key, KEYS.read_key)


def link(number: int) -> Link:
    return Link(LinkKind.READ, SegmentId(bytes([number]) * 32), bytes(32))


def deposit(number: int, path: bytes, expiry: int, kind: EntryKind = EntryKind.DEPOSIT) -> DriveEntry:
    entry = published_entry(kind, bytes([number]) * 16, path, link(number), size=1, expiry=expiry, policy=Policy())
    return replace(entry, place=replace(entry.place, stamp=1000))


DRIVE = Drive.of(
    (
        deposit(1, b"photos/2028", NOW + 100 * DAY),
        deposit(2, b"photos/2029", NOW + 20 * DAY),
        deposit(3, b"part", NOW - DAY, EntryKind.SHARE),
        deposit_entry(EntryKind.DRIVE, b"d" * 16, b"drive", Content(expiry=NOW + 25 * DAY), 1000),
        link_entry(link(9), b"theirs", Content(expiry=NOW), 1000),
        name_entry(NAME, "blog", b"blog", Content(expiry=NOW + 29 * DAY), 1000),
        name_entry(NAME, "new", b"new", Content(), 1000),
        folder_entry(b"empty", 1000),
        deposit(4, b"gone", NOW).removed(2000),
    )
)


@pytest.mark.parametrize(
    ("paths", "title"),
    [
        ((b"photos", b"photos/a"), b"photos"),
        ((b"a", b"b"), b"a, b"),
        ((b"\xff\xfe",), b"\xff\xfe"),
        ((b"x" * 255,), b"x" * 255),
        (("ü".encode() * 100, b"b" * 200), "ü".encode() * 100 + b", " + b"b" * 53),
        ((b"x" * 254, "ü".encode()), b"x" * 254 + b","),
        (("€".encode() * 85, b"y"), "€".encode() * 85),
        ((b"y" + "€".encode() * 84, "€€".encode()), b"y" + "€".encode() * 84 + b", "),
    ],
)
def test_titles(paths: tuple[bytes, ...], title: bytes) -> None:
    assert title_of([Entry(path=path, kind=Kind.FILE, size=0) for path in paths]) == title


def test_an_entry_of_a_deposit() -> None:
    policy = Policy(spread_countries=False, avoid=("FR",))
    hinted = replace(link(1), hints=(Address("127.0.0.1", 4110),))
    entry = published_entry(EntryKind.DEPOSIT, b"i" * 16, b"p", hinted, size=7, expiry=NOW, policy=policy, label="blog")
    kept = kept_of(entry)
    assert (kept.link, kept.deposit, kept.policy, kept.expiry) == (link(1), b"i" * 16, policy, NOW)
    assert (entry.content.size, entry.content.label) == (7, "blog")


def test_which_are_the_accounts_own() -> None:
    assert [entry.path for entry in own_deposits(DRIVE)] == [b"photos/2028", b"photos/2029", b"part"]
    assert of_root(DRIVE, link(2).root, [b"\x01" * 16, b"\x02" * 16]) == [DRIVE.by_id()[b"\x02" * 16]]
    assert not of_root(DRIVE, link(2).root, [b"\x01" * 16])
    assert name_link_of(find_name(DRIVE, "blog")) == NAME
    with pytest.raises(NotFoundError, match="no name 'blag'"):
        find_name(DRIVE, "blag")


def test_nothing_ends_sooner_nor_comes_back() -> None:
    one, two = DRIVE.by_id()[b"\x01" * 16], DRIVE.by_id()[b"\x02" * 16]
    gone = DRIVE.by_id()[b"\x04" * 16]
    newer = two.updated(replace(two.content, link=one.content.link), 3000)
    drive = DRIVE.merge(Drive.of([newer]))
    after = renewed(drive, [(one, NOW), (two, NOW + 50 * DAY), (gone, NOW + 50 * DAY)], 4000).by_id()
    assert after[one.id] == one
    assert after[two.id] == newer, "what was renewed is an older version"
    assert not after[gone.id].live
    assert renewed(DRIVE, [(two, NOW + 50 * DAY)], 4000).by_id()[two.id].content.expiry == NOW + 50 * DAY
    assert [entry.path for entry in own_deposits(without(DRIVE, [one.id, b"?" * 16], 4000))] == [
        b"photos/2029",
        b"part",
    ]


def test_what_ends_soon() -> None:
    found = [(None if item.entry is None else item.entry.path, item.expiry) for item in ending(DRIVE, NOW)]
    assert found == [
        (b"part", NOW - DAY),
        (b"photos/2029", NOW + 20 * DAY),
        (None, NOW + 25 * DAY),
        (b"blog", NOW + 29 * DAY),
    ]
    assert not ending(Drive(), NOW)


def test_what_can_be_renewed() -> None:
    everything = {entry.path for entry in to_renew(DRIVE, [])}
    assert everything == {b"photos/2028", b"photos/2029", b"part", b"blog"}
    assert [entry.path for entry in to_renew(DRIVE, [b"photos", b"photos/2028"])] == [b"photos/2028", b"photos/2029"]
    for path, why in ((b"theirs", "somebody else's"), (b"new", "leads nowhere yet")):
        with pytest.raises(RefusedError, match=why):
            to_renew(DRIVE, [path])
    with pytest.raises(NotFoundError):
        to_renew(DRIVE, [b"nothing"])
