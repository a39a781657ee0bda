"""A drive as a tree: listed, found, moved, removed; names that collide."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.drive.tree import Tree, add, add_folder, drive_path, encode_drive, move, put, remove
from node.errors import ConfigError, NodeError, NotFoundError, RefusedError
from protocol import drive as drives
from protocol.drive import Content, Drive, DriveEntry, EntryKind, Place, deposit_entry, folder_entry, link_entry
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, link_payload

READ = Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))
CONTENT = Content(link=link_payload(READ))
T0, T1 = 1_000, 2_000


def deposit(number: int, path: bytes) -> DriveEntry:
    return deposit_entry(EntryKind.DEPOSIT, bytes([number]) * 16, path, CONTENT, T0)


DRIVE = Drive.of(
    (
        deposit(1, b"photos/2028"),
        deposit(2, b"photos/2029"),
        deposit(3, b"photos/2029"),
        deposit(4, b"photos"),
        deposit(5, b"letter"),
        folder_entry(b"empty", T0),
        folder_entry(b"photos/best/of", T0),
        deposit_entry(EntryKind.SHARE, b"\x06" * 16, b"photos/2028", CONTENT, T0),
        deposit(7, b"gone").removed(T0),
    )
)


def paths(drive: Drive, folder: bytes = b"") -> list[bytes]:
    return [item.path + b"/" * item.is_folder for item in Tree(drive).items(folder)]


def everything(drive: Drive) -> dict[bytes, int]:
    """What is shown besides folders, by the first byte of its id."""
    return {path: entry.id[0] for path, entry in Tree(drive).shown.items()}


def test_what_lies_in_a_folder() -> None:
    assert paths(DRIVE) == [b"empty/", b"letter", b"photos/", b"photos (2)"]
    inside = [b"photos/2028", b"photos/2029", b"photos/2029 (2)", b"photos/best/"]
    assert paths(DRIVE, b"photos") == inside
    assert paths(DRIVE, b"photos/best") == [b"photos/best/of/"]
    assert paths(DRIVE, b"empty") == []
    assert paths(DRIVE, b"letter") == [b"letter"]
    assert paths(Drive()) == []
    assert [item.name for item in Tree(DRIVE).items(b"photos")][:2] == [b"2028", b"2029"]


def test_what_is_found() -> None:
    tree = Tree(DRIVE)
    for path, number in ((b"photos/2029", 2), (b"photos/2029 (2)", 3), (b"photos (2)", 4), (b"letter", 5)):
        entry = tree.find(path).entry
        assert entry is not None
        assert entry.id[0] == number
    assert tree.find(b"").is_folder
    assert tree.find(b"photos").is_folder
    for path in (b"gone", b"photos/2027", b"pho", b"letter/x"):
        with pytest.raises(NotFoundError, match="there is nothing at"):
            tree.find(path)


@pytest.mark.parametrize(
    ("text", "path"), [("", b""), ("/", b""), ("/a/b/", b"a/b"), ("\udcff", b"\xff"), ("a b", b"a b")]
)
def test_paths_as_people_type_them(text: str, path: bytes) -> None:
    assert drive_path(text) == path


@pytest.mark.parametrize("text", ["a//b", ".", "a/../b", "a\0", "x" * 256, "a/" * 300])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a path in the drive"):
        drive_path(text)


def test_one_thing_is_moved() -> None:
    moved = move(DRIVE, b"letter", b"post/letter to you", T1)
    assert everything(moved)[b"post/letter to you"] == 5
    assert paths(moved) == [b"empty/", b"photos/", b"photos (2)", b"post/"]


def test_something_is_moved_into_a_folder_under_its_own_name() -> None:
    assert everything(move(DRIVE, b"letter", b"empty", T1))[b"empty/letter"] == 5
    assert everything(move(DRIVE, b"photos/2029 (2)", b"empty", T1))[b"empty/2029"] == 3
    assert everything(move(DRIVE, b"photos/2028", b"", T1))[b"2028"] == 1


def test_what_is_there_already_is_not_moved() -> None:
    assert move(DRIVE, b"letter", b"", T1) == DRIVE
    assert move(DRIVE, b"letter", b"letter", T1) == DRIVE
    assert move(DRIVE, b"photos/2029 (2)", b"photos", T1) == DRIVE


def test_a_folder_is_moved_with_all_that_lies_in_it() -> None:
    moved = move(DRIVE, b"photos", b"pictures", T1)
    assert everything(moved) == {
        b"letter": 5,
        b"photos": 4,  # which was "photos (2)"
        b"pictures/2028": 1,
        b"pictures/2029": 2,
        b"pictures/2029 (2)": 3,
    }
    assert paths(moved, b"pictures/best") == [b"pictures/best/of/"]
    inside = move(DRIVE, b"photos", b"empty", T1)
    assert paths(inside, b"empty/photos/best") == [b"empty/photos/best/of/"]
    assert inside.by_id()[b"\x06" * 16].path == b"photos/2028", "a share is where it was made"


def test_a_folder_is_moved_there_and_back() -> None:
    back = move(move(DRIVE, b"photos", b"pictures", T1), b"pictures", b"album", T1)
    again = move(back, b"album", b"pictures", T1)
    assert paths(again, b"pictures/best") == [b"pictures/best/of/"]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"letter", b"photos/2028", "there is something at 'photos/2028'"),
        (b"photos/2029", b"letter", "there is something at 'letter'"),
        (b"letter", b"photos/2028/x", "'photos/2028' is no folder"),
        (b"photos", b"letter/x", "'letter' is no folder"),
        (b"photos", b"photos/best/x", "cannot be moved into itself"),
        (b"photos", b"photos", "cannot be moved into itself"),
        (b"photos/best", b"photos", "there is something at 'photos/best'"),
        (b"", b"photos", "the drive itself cannot be moved"),
    ],
)
def test_what_cannot_be_moved(source: bytes, target: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        move(DRIVE, source, target, T1)


def test_moving_to_what_is_no_path() -> None:
    with pytest.raises(ConfigError):
        move(DRIVE, b"letter", b"a//b", T1)
    deep = b"/".join([b"x"] * 255)
    with pytest.raises(ConfigError, match="at most 256 components"):
        move(DRIVE, b"photos", deep, T1)
    with pytest.raises(NotFoundError):
        move(DRIVE, b"nothing", b"x", T1)


def test_one_thing_is_removed() -> None:
    left, gone = remove(DRIVE, b"photos/2029 (2)", T1)
    assert [entry.id[0] for entry in gone] == [3]
    assert paths(left, b"photos") == [b"photos/2028", b"photos/2029", b"photos/best/"]
    assert set(left.by_id()) == set(DRIVE.by_id()), "a removal is remembered"


def test_a_folder_is_removed() -> None:
    left, gone = remove(DRIVE, b"empty", T1)
    assert [entry.path for entry in gone] == [b"empty"]
    assert b"empty/" not in paths(left)
    with pytest.raises(RefusedError, match="'photos' is a folder with 4 things in it"):
        remove(DRIVE, b"photos", T1)
    left, gone = remove(DRIVE, b"photos", T1, whole=True)
    assert sorted(entry.path for entry in gone) == [
        b"photos/2028",
        b"photos/2029",
        b"photos/2029",
        b"photos/best/of",
    ]
    assert everything(left) == {b"letter": 5, b"photos": 4}


def test_what_cannot_be_removed() -> None:
    with pytest.raises(NotFoundError):
        remove(DRIVE, b"nothing", T1)
    with pytest.raises(RefusedError, match="the drive itself"):
        remove(DRIVE, b"", T1, whole=True)


def test_what_another_machine_added_to_a_removed_folder_stays() -> None:
    left, _ = remove(DRIVE, b"photos", T1, whole=True)
    other = put(DRIVE, deposit(9, b"photos/new"), T1)
    assert everything(left.merge(other)) == {b"letter": 5, b"photos (2)": 4, b"photos/new": 9}


def test_a_folder_is_added() -> None:
    assert b"new/" in paths(add_folder(DRIVE, b"new", T1))
    assert paths(add_folder(DRIVE, b"a/b", T1), b"a") == [b"a/b/"]
    kept = add_folder(DRIVE, b"photos", T1)
    left, _ = remove(kept, b"photos/best", T1, whole=True)
    for path in (b"photos/2028", b"photos/2029 (2)", b"photos/2029"):
        left, _ = remove(left, path, T1)
    assert paths(left, b"photos") == []
    again = add_folder(remove(DRIVE, b"empty", T1)[0], b"empty", T1)
    assert b"empty/" in paths(again), "removed and added at one instant"
    for path in (b"", b"empty", b"letter", b"letter/x"):
        with pytest.raises(RefusedError):
            add_folder(DRIVE, path, T1)
    with pytest.raises(ConfigError):
        add_folder(DRIVE, b"a//b", T1)


def test_a_link_is_added() -> None:
    entry = link_entry(READ.verify_link(), b"from a friend", Content(size=5), T0)
    added = add(DRIVE, entry, T1)
    assert Tree(added).find(b"from a friend").entry == entry.moved(entry.path, T1).updated(entry.content, T1)
    with pytest.raises(RefusedError, match="it is in the drive already, at 'from a friend'"):
        add(added, replace(entry, place=Place(T0, True, b"elsewhere")), T1)
    with pytest.raises(RefusedError, match="there is something at 'letter'"):
        add(DRIVE, replace(entry, place=Place(T0, True, b"letter")), T1)
    with pytest.raises(ConfigError):
        add(DRIVE, replace(entry, place=Place(T0, True, b"a//b")), T1)
    again = add(remove(added, b"from a friend", T1)[0], replace(entry, place=Place(T0, True, b"again")), T0)
    assert everything(again)[b"again"] == entry.id[0]


def test_what_has_happened_is_put_whatever_stands_there() -> None:
    again = put(DRIVE, deposit(8, b"letter"), T1)
    assert everything(again)[b"letter (2)"] == 8
    renewed = put(DRIVE, replace(deposit(5, b"ignored"), content=replace(CONTENT, expiry=77)), T1)
    entry = Tree(renewed).find(b"letter").entry
    assert entry is not None
    assert entry.content.expiry == 77
    back = put(DRIVE, deposit(7, b"back"), T0)
    assert everything(back)[b"back"] == 7


def test_a_full_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Drive.decode(encode_drive(DRIVE)) == DRIVE
    monkeypatch.setattr(drives, "MAX_ENTRIES", 3)
    with pytest.raises(RefusedError, match="the drive is full"):
        encode_drive(DRIVE)


names = st.sampled_from((b"a", b"b", b"a (2)", b"a/b", b"a/b/c", b"b/a", b""))
changes = st.lists(st.tuples(st.sampled_from(("add", "folder", "move", "remove")), names, names), max_size=12)


@given(changes, changes)
def test_whatever_people_do_on_two_machines(
    ours: list[tuple[str, bytes, bytes]], theirs: list[tuple[str, bytes, bytes]]
) -> None:
    """Every drive can be written; merged ones too; and what is added is there unless it was removed."""
    one, two = _done(ours, 0), _done(theirs, 100)
    both = one.merge(two)
    assert Drive.decode(encode_drive(both)) == both
    live = {
        entry.id for drive in (one, two) for entry in drive.entries if entry.kind is EntryKind.DEPOSIT and entry.live
    }
    assert {entry.id for entry in Tree(both).shown.values()} == live


def _done(done: list[tuple[str, bytes, bytes]], first: int) -> Drive:
    drive = Drive()
    for number, (what, one, other) in enumerate(done, first):
        try:
            if what == "add":
                drive = add(drive, deposit(number, one), T1 + number)
            elif what == "folder":
                drive = add_folder(drive, one, T1 + number)
            elif what == "move":
                drive = move(drive, one, other, T1 + number)
            else:
                drive, _ = remove(drive, one, T1 + number, whole=True)
        except NodeError:
            continue
    return drive


@pytest.mark.parametrize(
    ("path", "number", "rest"),
    [
        (b"letter", 5, b""),
        (b"letter/page/1", 5, b"page/1"),
        (b"photos/2028", 1, b""),
        (b"photos/2028/a", 1, b"a"),
        (b"photos/2029 (2)/a/b", 3, b"a/b"),
        (b"photos (2)/2028", 4, b"2028"),
    ],
)
def test_a_path_that_goes_on_in_a_deposit(path: bytes, number: int, rest: bytes) -> None:
    entry, behind = Tree(DRIVE).split(path)
    assert (entry.id[0], behind) == (number, rest)


def test_a_path_that_leads_to_no_deposit() -> None:
    for path in (b"photos", b"photos/best", b"empty", b""):
        with pytest.raises(RefusedError, match="is a folder of the drive"):
            Tree(DRIVE).split(path)
    for path in (b"gone", b"photos/2030", b"empty/x", b"let"):
        with pytest.raises(NotFoundError, match="there is nothing at"):
            Tree(DRIVE).split(path)
