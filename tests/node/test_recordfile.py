"""The file of records of names: what was acknowledged is in it, and a damaged one stops no node."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dht.records import Kept, RecordStore
from node.blocking import InlineBlocking
from node.errors import MachineError
from node.store.recordfile import RECORDS_FILE, RecordFile, persisting
from protocol.datagrams import ANY_SEQUENCE
from protocol.ids import NameId
from protocol.names import name_id
from tests.dht.test_records import BY, NAMES, NETWORK, NOW, kept, record


def name(number: int = 0) -> NameId:
    return name_id(NAMES[number].identity.key)


def saved(path: Path, *records: bytes) -> RecordStore:
    """A store in which these were put, and whose file is at ``path``."""
    store = RecordStore(NETWORK)
    with closing(RecordFile.open(path)) as file:
        for data in records:
            store.add(data, ANY_SEQUENCE, BY, NOW)
            file.save(store.take_unsaved())
    return store


def loaded(path: Path, now: float = NOW) -> RecordStore:
    store = RecordStore(NETWORK)
    with closing(RecordFile.open(path)) as file:
        file.load_into(store, now)
    return store


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / RECORDS_FILE
    newest, one, other = record(2), record(5, name=1), record(5, name=1)
    store = saved(path, record(1), newest, one, other)
    again = loaded(path)
    assert [kept(again, number) for number in (0, 1)] == [(newest,), (one, other)]
    assert again.take_unsaved() == {}
    again.add(record(3), ANY_SEQUENCE, BY, NOW)
    store.add(record(3), ANY_SEQUENCE, BY, NOW)
    assert again.take_unsaved()[name()].source == store.take_unsaved()[name()].source == bytes([45, 0, 0])


def test_what_has_ended_goes(tmp_path: Path) -> None:
    path = tmp_path / RECORDS_FILE
    long = record(name=1, life=1000)
    saved(path, record(life=10), long)
    assert len(loaded(path, NOW + 10)) == 1
    with closing(RecordFile.open(path)) as file:
        file.expire(NOW + 9)
        assert file._db.execute("SELECT COUNT(*) FROM record").fetchone() == (2,)
        file.expire(NOW + 10)
        assert file._db.execute("SELECT data FROM record").fetchall() == [(long,)]


def test_what_was_let_go_goes(tmp_path: Path) -> None:
    path = tmp_path / RECORDS_FILE
    saved(path, record(), record(name=1))
    store = RecordStore(NETWORK)
    with closing(RecordFile.open(path)) as file:
        file.load_into(store, NOW)
        store.drop(name())
        file.save(store.take_unsaved())
    assert loaded(path).names() == [name(1)]


def test_a_file_of_format_1_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / RECORDS_FILE
    one, other, single = record(5), record(5), record(name=1)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE record (name BLOB NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL,"
            " expiry INTEGER NOT NULL, source BLOB, PRIMARY KEY (name, place)) WITHOUT ROWID;"
            "CREATE INDEX record_expiry ON record (expiry); PRAGMA user_version = 1;"
        )
        rows = [(name(), 0, one, NOW + 9, None), (name(), 1, other, NOW + 9, None), (name(1), 0, single, NOW + 9, b"x")]
        db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
        db.commit()
    store = loaded(path)
    assert (kept(store), kept(store, 1)) == ((one, other), (single,))
    newest = record(6)
    saved(path, newest)
    store = loaded(path)
    assert (kept(store), kept(store, 1)) == ((newest,), (single,))


def test_a_record_in_the_place_of_another_costs_the_disk_two_pages(tmp_path: Path) -> None:
    path = tmp_path / RECORDS_FILE
    with closing(RecordFile.open(path)) as file:
        many = {NameId(number.to_bytes(32, "big")): Kept((bytes(900),), NOW + 9, None) for number in range(500)}
        file.save(many)
        file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(0, 500, 25):
            file.save({NameId(number.to_bytes(32, "big")): Kept((b"x" * 900,), NOW + 99 + number, None)})
        assert path.with_name("records.sqlite-wal").stat().st_size < 20 * 2.5 * 4120


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    with closing(RecordFile.open(tmp_path / RECORDS_FILE)) as file:
        assert file._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert file._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_not_in_order_is_not_loaded(tmp_path: Path) -> None:
    """Somebody wrote into the file: a record that nobody signed, and one of another network."""
    path = tmp_path / RECORDS_FILE
    with closing(RecordFile.open(path)) as file:
        file.save({name(2): Kept((b"x" * 100, record(network=type(NETWORK)("elsewhere"))), NOW + 9, None)})
        good = record(name=3)
        file.save({name(3): Kept((good,), NOW + 9, None)})
    assert loaded(path).names() == [name(3)]


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def _other_format(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")


def _no_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE record")


def _other_type(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE record SET data = 'text'")
        db.commit()


@pytest.mark.parametrize("damage", [_garbage, _cut, _middle, _other_format, _no_table, _other_type])
def test_a_damaged_file_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / RECORDS_FILE
    saved(path, *(record(name=number) for number in range(12)))
    damage(path)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert len(loaded(path)) == 0
    assert "is damaged and was set aside" in caplog.text
    assert path.with_name("records.sqlite.damaged").read_bytes()[:4000] == damaged[:4000]
    data = record()
    saved(path, data)
    assert kept(loaded(path)) == (data,)


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot use"):
        RecordFile.open(tmp_path / "nowhere" / RECORDS_FILE)
    (tmp_path / RECORDS_FILE).mkdir()
    with pytest.raises(MachineError, match="cannot use"):
        RecordFile.open(tmp_path / RECORDS_FILE)


async def test_a_disk_that_fails_is_told_to_the_operator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(RecordFile.open(tmp_path / RECORDS_FILE)) as file:
        persist = persisting(file, InlineBlocking())
        assert await persist({name(): Kept((record(),), NOW + 9, None)})
        file._db.execute("PRAGMA max_page_count = 1")
        many = {name(number): Kept((record(name=number),) * 2, NOW + 9, None) for number in range(12)}
        assert not await persist(many)
        assert "could not write records of names" in caplog.text
        file._db.execute("PRAGMA max_page_count = 10000")
        assert await persist(many)
        assert file._db.execute("SELECT COUNT(*) FROM record").fetchone() == (24,)
