"""What a home has seen of names."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.errors import MachineError
from node.home import Home
from node.names.seen import NOTHING, Seen, Sight
from protocol.identity import Network
from protocol.ids import NameId

NETWORK = Network("tests")
NAME, OTHER = NameId(bytes(32)), NameId(b"\x01" * 32)
NOW = 1_700_000_000
END = NOW + 100
FIRST, SECOND = Sight(5, 2, b"\xaa" * 32, END), Sight(9, 3, b"\xbb" * 32, END)


def test_the_highest_sequence_is_remembered(tmp_path: Path) -> None:
    path = Home(tmp_path / "home").names
    seen = Seen(path, NETWORK.id)
    assert seen.get(NAME) == NOTHING
    seen.note(NAME, FIRST, NOW)
    seen.note(NAME, SECOND, NOW)
    seen.note(NAME, FIRST, NOW)
    seen.note(NAME, Sight(9, 8, b"\xcc" * 32, END), NOW)
    assert Seen(path, NETWORK.id).get(NAME) == SECOND
    assert seen.get(OTHER) == NOTHING
    assert Seen(path, Network("elsewhere").id).get(NAME) == NOTHING
    assert path.stat().st_mode & 0o777 == 0o600


def test_large_sequences_fit(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "names.sqlite", NETWORK.id)
    seen.note(NAME, Sight(2**63 - 1, 2**32 - 1, bytes(32), 2**64 - 1), NOW)
    assert seen.get(NAME).sequence == 2**63 - 1
    assert seen.get(NAME).expiry == NOW + 402 * 86_400, "no node keeps a record for longer"


def test_what_has_ended_gives_way_to_less(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "names.sqlite", NETWORK.id)
    seen.note(NAME, SECOND, NOW)
    anew = Sight(1, 1, b"\xdd" * 32, END + 50)
    seen.note(NAME, anew, END - 1)
    assert seen.get(NAME) == SECOND
    assert SECOND.binds(END - 1)
    assert not SECOND.binds(END)
    seen.note(NAME, anew, END)
    assert seen.get(NAME) == anew


def test_of_one_sequence_the_first_is_remembered_and_the_latest_end(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "names.sqlite", NETWORK.id)
    for expiry in (END, END + 7, END + 3):
        seen.note(NAME, Sight(5, 2, b"%d" % expiry * 3, expiry), NOW)
    assert seen.get(NAME) == Sight(5, 2, b"%d" % END * 3, END + 7)


def test_an_older_record_that_lives_longer_binds_too(tmp_path: Path) -> None:
    """Its writer should have made the newer one last: else the older one could come back when that has ended."""
    seen = Seen(tmp_path / "names.sqlite", NETWORK.id)
    seen.note(NAME, FIRST, NOW)
    seen.note(NAME, Sight(9, 3, SECOND.hash, END - 50), NOW)
    assert seen.get(NAME) == SECOND


def test_a_file_of_format_1_is_taken_over(tmp_path: Path) -> None:
    """It did not say when a record ends: what was seen binds as long as nodes can have it."""
    path = tmp_path / "names.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "CREATE TABLE seen (network BLOB NOT NULL, name BLOB NOT NULL, sequence INTEGER NOT NULL, "
            "number INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (network, name)) WITHOUT ROWID"
        )
        db.execute("INSERT INTO seen VALUES (?, ?, 5, 2, ?)", (NETWORK.id, NAME, FIRST.hash))
        db.execute("PRAGMA user_version = 1")
    seen = Seen(path, NETWORK.id)
    sight = seen.get(NAME)
    assert (sight.sequence, sight.number, sight.hash) == (5, 2, FIRST.hash)
    assert abs(sight.expiry - time.time() - 402 * 86_400) < 60
    seen.note(NAME, SECOND, NOW)
    assert seen.get(NAME) == replace(SECOND, expiry=sight.expiry)


@pytest.mark.parametrize("damage", ["garbage", "format", "type"])
def test_a_damaged_file_is_told_and_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "names.sqlite"
    seen = Seen(path, NETWORK.id)
    seen.note(NAME, FIRST, NOW)
    if damage == "garbage":
        path.write_bytes(b"no database" * 500)
    else:
        statement = "PRAGMA user_version = 7" if damage == "format" else "UPDATE seen SET hash = 'text'"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(statement)
    before = path.read_bytes()
    with pytest.raises(MachineError, match="cannot use the file of names") as raised:
        seen.get(NAME)
    assert "move it away" in str(raised.value.hint)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("trouble", "hint"),
    [("busy", "another process is using it"), ("full", "the disk is full"), ("read-only", "yours to write")],
)
def test_what_is_no_damage_is_not_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, hint: str
) -> None:
    path = tmp_path / "names.sqlite"
    seen = Seen(path, NETWORK.id)
    seen.note(NAME, FIRST, NOW)
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def troubled(path: Path, **options: Any) -> sqlite3.Connection:
        if trouble == "read-only":
            return connect(f"{path.as_uri()}?mode=ro", uri=True, **options)
        db = connect(path, **{**options, "timeout": 0})
        if trouble == "full":
            db.execute("PRAGMA max_page_count = 1")  # as many as there are
        return db

    with closing(connect(path, isolation_level=None)) as other:
        if trouble == "busy":
            other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", troubled)
        with pytest.raises(MachineError, match="cannot use the file of names") as raised:
            for number in range(200):
                seen.note(NameId(number.to_bytes(32, "big")), SECOND, NOW)
    assert hint in str(raised.value.hint)
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert seen.get(NAME).sequence >= FIRST.sequence


def test_a_home_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot use the file of names"):
        Seen(tmp_path / "file" / "names.sqlite", NETWORK.id).get(NAME)
