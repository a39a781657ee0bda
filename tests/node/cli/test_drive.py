"""What `archipel drive` says, and what it refuses; with a network it is tried in tests/e2e."""

import json
from dataclasses import replace

import pytest

from node.cli.drivelist import listing_fields, listing_text, tell_ending, tell_known
from node.drive.ending import ending
from node.drive.health import Condition
from node.drive.known import Known
from node.drive.listing import Listing, below
from node.drive.tree import Tree
from node.errors import NetworkError, NotFoundError
from node.home import Home
from node.names.reading import Shown
from protocol.drive import Drive
from protocol.drivecache import CachedDrive
from protocol.names import NameValue
from tests.node.cli.conftest import Cli
from tests.node.drive.test_entries import DRIVE, NOW, link

SEEN = CachedDrive(drive=DRIVE, sequence=3, seen=NOW - 100)
VALUE = NameValue(number=2, kind=1, root=link(1).root, key=bytes(32), time=NOW - 5000, previous=bytes(32))
FORKED = Shown(2, VALUE, 2, NOW + 86_400 * 390, (VALUE,), True)


def listing(conditions: dict[str, Condition], known: Known | None = None) -> Listing:
    known = known or Known(SEEN)
    items = below(Tree(known.drive), b"")
    ids = {item.path.rpartition(b"/")[2].decode(): item.entry.id for item in items if item.entry is not None}
    found = {ids[name]: condition for name, condition in conditions.items()}
    return Listing(known, items, tuple(ending(known.drive, NOW)), found)


CONDITIONS = {
    "2028": Condition(live=12, chunks=12),
    "2029": Condition(live=7, chunks=24, lost=1),
    "theirs": Condition(why="not counted within 30 seconds"),
    "blog": Condition(newest=FORKED, live=4, chunks=5),
    "new": Condition(why="nothing was published under it yet"),
}


def test_a_list_for_people() -> None:
    text = listing_text(listing(CONDITIONS), links=False)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert set(lines) == {"blog", "empty/", "new", "photos/", "photos/2028", "photos/2029", "theirs"}
    assert "12 of 12 chunks live; until 2030-06" in lines["photos/2028"]
    assert "7 of 24 chunks live, 1 segment with too few" in lines["photos/2029"]
    assert "somebody's link; health unknown: not counted within 30 seconds" in lines["theirs"]
    assert "name, version 2 of 2030-03-17 16:23 UTC, and it has forked; 4 of 5 chunks live; until 2031" in lines["blog"]
    assert lines["new"].endswith("name; health unknown: nothing was published under it yet")
    assert not any("archipel:" in line for line in lines.values())
    shown = listing_text(listing(CONDITIONS), links=True)
    assert str(link(1)) in shown


def test_a_list_for_programs() -> None:
    fields = json.loads(json.dumps(listing_fields(listing(CONDITIONS))))
    found = {entry["path"]: entry for entry in fields["entries"]}
    states = {path: entry["health"]["state"] for path, entry in found.items() if entry["kind"] != "folder"}
    assert states == {
        "photos/2028": "whole",
        "photos/2029": "lost",
        "theirs": "unknown",
        "blog": "weak",
        "new": "unknown",
    }
    assert found["blog"]["version"] == {"number": 2, "time": VALUE.time, "link": str(link(1)), "forks": 1}
    assert (found["new"]["expires"], found["new"]["version"]) == (None, None)
    assert [item["kind"] for item in fields["ending"]] == ["share", "deposit", "drive", "name"]


def test_what_is_said_of_the_last_copy(capsys: pytest.CaptureFixture[str]) -> None:
    changed = DRIVE.merge(Drive.of([DRIVE.entries[0].moved(b"a\nb", NOW * 1000)]))
    known = Known(replace(SEEN, drive=changed, unsent=True), NetworkError("nobody to join"))
    tell_known(known)
    told = capsys.readouterr().err
    assert "could not be read or written: nobody to join; this is the last copy of 2030-03-17 17:45 UTC" in told
    assert told.endswith("sent with the next change: what was changed here since: a\\nb\n")
    assert "health unknown: offline" in listing_text(listing({}, known), links=False)
    tell_known(Known(CachedDrive(drive=Drive()), NotFoundError("nobody has this name")))
    assert "no drive of this account was found, on the network or here: nobody has" in capsys.readouterr().err
    tell_known(Known(SEEN))
    assert capsys.readouterr().err == ""


def test_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    tell_ending(tuple(ending(DRIVE, NOW)))
    first, second, third, more = capsys.readouterr().err.splitlines()
    assert first.startswith("archipel: warning: the leases of part end on 2030-03-16")
    assert "photos/2029" in second
    assert "the drive itself ends on" in third
    assert more == "archipel: warning: and 1 thing more"


def test_without_a_network_nor_a_copy(cli: Cli, unlocked: Home) -> None:
    told = cli("drive")
    assert (told.code, told.out) == (0, "")
    assert "no drive of this account was found, on the network or here: nobody to join" in told.err
    told = cli("--json", "drive", "mkdir", "films")
    assert told.code == 0
    assert json.loads(told.out)["unsent"] is True
    told = cli("drive")
    assert "films/" in told.out
    assert [path.suffix for path in sorted(unlocked.path.glob("drive-*"))] == ["", ".lock"]
    assert cli("drive", "rm", "films").out == "removed 1 thing\n"
    assert "nothing is there" in cli("drive").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("renew",), 2, "want paths of the drive, or --all"),
        (("renew", "a", "--all"), 2, "want paths of the drive, or --all"),
        (("renew", "--all", "--lease", "5"), 2, "--lease: want a duration"),
        (("renew", "--all"), 5, "nobody to join"),
        (("sync", ""), 2, "a path is empty"),
        (("sync", "/"), 2, "has no name"),
        (("add", "nonsense"), 2, "hint: copy the whole link"),
        (("add", str(link(1))), 5, "nobody to join"),
        (("add", str(link(1)), "--path", "/"), 2, "a path is empty"),
        (("add", str(link(1)), "--path", "a/../b"), 2, "cannot be a path in the drive"),
        (("mv", "a", "b"), 3, "there is nothing at 'a' in the drive"),
        (("rm", "a"), 3, "there is nothing at 'a' in the drive"),
        (("rm", ""), 4, "the drive itself cannot be removed"),
        (("ls", "a"), 3, "there is nothing at 'a' in the drive"),
    ],
)
def test_refused(cli: Cli, unlocked: Home, arguments: tuple[str, ...], code: int, message: str) -> None:
    told = cli("drive", *arguments)
    assert (told.code, told.out) == (code, "")
    assert message in told.err


def test_without_an_account(cli: Cli) -> None:
    for arguments in (("drive",), ("drive", "ls"), ("publish", ".", "--as", "blog")):
        told = cli(*arguments)
        assert told.code == 3
        assert "this home has no account" in told.err
