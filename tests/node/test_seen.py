"""What a home has seen of names."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node.errors import MachineError
from node.home import Home
from node.names.seen import NOTHING, Seen, Sight
from protocol.identity import Network
from protocol.ids import NameId

NETWORK = Network("tests")
NAME, OTHER = NameId(bytes(32)), NameId(b"\x01" * 32)
FIRST, SECOND = Sight(5, 2, b"\xaa" * 32), Sight(9, 3, b"\xbb" * 32)


def test_the_highest_sequence_is_remembered(tmp_path: Path) -> None:
    path = Home(tmp_path / "home").names
    seen = Seen(path, NETWORK.id)
    assert seen.get(NAME) == NOTHING
    seen.note(NAME, FIRST)
    seen.note(NAME, SECOND)
    seen.note(NAME, FIRST)
    seen.note(NAME, Sight(9, 8, b"\xcc" * 32))
    assert Seen(path, NETWORK.id).get(NAME) == SECOND
    assert seen.get(OTHER) == NOTHING
    assert Seen(path, Network("elsewhere").id).get(NAME) == NOTHING
    assert path.stat().st_mode & 0o777 == 0o600


def test_large_sequences_fit(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "names.sqlite", NETWORK.id)
    seen.note(NAME, Sight(2**63 - 1, 2**32 - 1, bytes(32)))
    assert seen.get(NAME).sequence == 2**63 - 1


@pytest.mark.parametrize("damage", ["garbage", "format", "type"])
def test_a_damaged_file_is_told_and_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "names.sqlite"
    seen = Seen(path, NETWORK.id)
    seen.note(NAME, FIRST)
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


def test_a_home_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot use the file of names"):
        Seen(tmp_path / "file" / "names.sqlite", NETWORK.id).get(NAME)
