"""What a home remembers of its deposits (node/journal.py)."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node.errors import MachineError, RefusedError
from node.journal import Attempt, DepositRow, Journal
from protocol.ids import ChunkId, NetworkId, PublicKey, SegmentId
from protocol.leases import Policy
from protocol.segment import Descriptor, Shares, plan

SALT = b"s" * 16
NETWORK = NetworkId(bytes(32))
OTHER = NetworkId(b"o" * 32)


def segment(number: int) -> SegmentId:
    return SegmentId(bytes([number]) * 32)


def source(number: int = 1) -> bytes:
    return bytes([number]) * 32


def descriptor(number: int) -> Descriptor:
    """Of a segment of 12 chunks; another for every number."""
    layout = plan(2**20, Shares())
    return Descriptor(layout, bytes([number]) * 32, tuple(ChunkId(bytes([index]) * 32) for index in range(layout.n)))


def row(root: int, deposit: bytes = b"d" * 16, **more: object) -> DepositRow:
    fields: dict[str, object] = {"name": "naïve", "size": 5, "sequence": 7, "expiry": 9, "policy": Policy()}
    return DepositRow(segment(root), deposit, **(fields | more))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deposits.sqlite"


def publish(journal: Journal, root: int, segments: list[int], deposit: bytes = b"d" * 16) -> DepositRow:
    """One finished publish of its own source."""
    attempt = journal.begin(source(root), deposit, b"")
    found = row(root, deposit)
    journal.finish(attempt, found, [(segment(number), 100 + number) for number in [root, *segments]])
    return found


def test_an_interrupted_attempt_is_taken_up(path: Path) -> None:
    journal = Journal(path, NETWORK)
    first = journal.begin(source(), b"1" * 16, b"")
    journal.close()
    again = Journal(path, NETWORK)
    assert again.begin(source(), b"2" * 16, b"") == first
    other = again.begin(source(2), b"3" * 16, b"")
    assert (other.deposit, other.salt) == (b"3" * 16, b"")
    again.close()


def test_a_finished_one_keeps_its_deposit_id(path: Path) -> None:
    journal = Journal(path, NETWORK)
    publish(journal, 1, [2], b"1" * 16)
    assert journal.begin(source(1), b"2" * 16, b"").deposit == b"1" * 16
    journal.close()


def test_a_fresh_one_is_fresh_once(path: Path) -> None:
    """Interrupted it goes on under its salt; asked for again once finished, it gets a new one."""
    journal = Journal(path, NETWORK)
    first = journal.begin(source(), b"1" * 16, SALT)
    assert journal.begin(source(), b"2" * 16, b"t" * 16) == first
    journal.finish(first, row(1, b"1" * 16), [])
    second = journal.begin(source(), b"2" * 16, b"t" * 16)
    assert (second.deposit, second.salt) == (b"2" * 16, b"t" * 16)
    journal.close()


def test_what_was_put_is_known_for_good(path: Path) -> None:
    journal = Journal(path, NETWORK)
    assert not journal.seen(segment(1))
    journal.putting(segment(1))
    journal.putting(segment(1))
    journal.close()
    again = Journal(path, NETWORK)
    assert again.seen(segment(1))
    assert not again.seen(segment(2))
    publish(again, 1, [])
    again.forget(segment(1))
    assert again.seen(segment(1))
    again.close()


def test_what_a_segment_was_sealed_to(path: Path) -> None:
    journal, other = Journal(path, NETWORK), Journal(path, OTHER)
    assert journal.placed(b"t" * 32) is None
    journal.note_placed(b"t" * 32, descriptor(1))
    journal.note_placed(b"u" * 32, descriptor(2))
    assert other.placed(b"t" * 32) is None
    other.note_placed(b"t" * 32, descriptor(3))
    journal.close()
    other.close()
    again = Journal(path, NETWORK)
    assert again.placed(b"t" * 32) == descriptor(1)
    assert again.placed(b"u" * 32) == descriptor(2)
    again.note_placed(b"t" * 32, descriptor(4))
    assert again.placed(b"t" * 32) == descriptor(4)
    again.close()


def test_descriptors_that_no_deposit_needs_go(path: Path) -> None:
    """With the deposit that is forgotten, and those of publishes that never ended; the other network's stay."""
    journal, other = Journal(path, NETWORK), Journal(path, OTHER)
    for number in range(4):
        journal.note_placed(bytes([number]) * 32, descriptor(number))
        other.note_placed(bytes([number]) * 32, descriptor(number))

    def needs(root: int, *numbers: int) -> None:
        segments = [(descriptor(number).id, 2**20) for number in numbers]
        journal.finish(journal.begin(source(root), b"d" * 16, b""), row(root), segments)

    def known(found: Journal) -> list[int]:
        return [number for number in range(4) if found.placed(bytes([number]) * 32) is not None]

    needs(10, 0, 1)
    needs(11, 1, 2)
    assert known(journal) == [0, 1, 2, 3]
    journal.forget(segment(10))
    assert known(journal) == [1, 2]
    journal.forget(segment(11))
    assert known(journal) == []
    assert known(other) == [0, 1, 2, 3]
    journal.close()
    other.close()


@pytest.mark.parametrize(
    "change", ["descriptor = x'c1'", "descriptor = substr(descriptor, 2)", "segment = zeroblob(32)"]
)
def test_a_damaged_descriptor_is_none(path: Path, change: str) -> None:
    with closing(Journal(path, NETWORK)) as journal:
        journal.note_placed(b"t" * 32, descriptor(1))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"UPDATE placed SET {change}")
        assert journal.placed(b"t" * 32) is None


def test_sequences_only_go_up(path: Path) -> None:
    journal = Journal(path, NETWORK)
    assert journal.next_terms(b"d" * 16, 1000, 50) == (1000, 50)
    assert journal.next_terms(b"d" * 16, 900, 40) == (1001, 50)  # the clock was set back; a shorter lease
    assert journal.next_terms(b"d" * 16, 1001, 60) == (1002, 60)
    assert journal.next_terms(b"e" * 16, 5, 5) == (5, 5)
    journal.close()
    again = Journal(path, NETWORK)
    assert again.next_terms(b"d" * 16, 2000, 10) == (2000, 60)
    again.close()


def test_a_deposit_is_read_as_it_was_written(path: Path) -> None:
    journal = Journal(path, NETWORK)
    policy = Policy(spread_countries=False, avoid=("DE", "FR"))
    written = row(1, name="\N{SNOWMAN} 'quoted'", size=2**40, sequence=2**53, expiry=2**40, policy=policy)
    journal.finish(journal.begin(source(), b"d" * 16, b""), written, [(segment(1), 10), (segment(2), 2**24)])
    journal.close()
    again = Journal(path, NETWORK)
    assert again.deposits(segment(1)) == [written]
    assert again.deposits(segment(2)) == []
    assert sorted(again.segments(segment(1))) == [(segment(1), 10), (segment(2), 2**24)]
    renewed = row(1, sequence=2**53 + 1, expiry=2**41)
    again.update(renewed)
    assert again.deposits(segment(1)) == [renewed]
    again.forget(segment(1))
    assert again.deposits(segment(1)) == []
    assert again.segments(segment(1)) == []
    again.close()


def test_segments_only_one_version_needs(path: Path) -> None:
    """Versions of one deposit id share segments; those of another deposit id have leases of their own."""
    journal = Journal(path, NETWORK)
    old = publish(journal, 1, [10, 11, 12])
    assert len(journal.only_in(old)) == 4
    new = publish(journal, 2, [11, 12, 13])
    publish(journal, 3, [10, 13], b"other deposit id")

    def only(found: DepositRow) -> set[SegmentId]:
        return {identifier for identifier, _ in journal.only_in(found)}

    assert only(old) == {segment(1), segment(10)}
    assert only(new) == {segment(2), segment(13)}
    journal.forget(old.root)
    assert only(new) == {segment(2), segment(11), segment(12), segment(13)}
    journal.close()


def test_one_root_published_from_two_places(path: Path) -> None:
    """The same content under two deposit ids: two deposits, whose leases are ended each for itself."""
    journal = Journal(path, NETWORK)
    one = row(1, b"1" * 16)
    two = row(1, b"2" * 16)
    segments = [(segment(1), 5), (segment(9), 6)]
    journal.finish(journal.begin(source(1), b"1" * 16, b""), one, segments)
    journal.finish(journal.begin(source(2), b"2" * 16, b""), two, segments)
    assert journal.deposits(segment(1)) == [one, two]
    assert len(journal.only_in(one)) == len(journal.only_in(two)) == 2
    journal.forget(segment(1))
    assert journal.deposits(segment(1)) == []
    journal.close()


def test_nobody_else_reads_it(path: Path) -> None:
    Journal(path, NETWORK).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_else_reads_its_companions(path: Path) -> None:
    """SQLite gives -wal and -shm the mode of the file, so that it must have its own before they are there."""
    journal = Journal(path, NETWORK)
    publish(journal, 1, [2])
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert {f"{path.name}-wal", f"{path.name}-shm", path.name} <= set(modes)
    assert set(modes.values()) == {0o600}
    journal.close()


def test_two_networks_in_one_home(path: Path) -> None:
    """The same folder published on both: nothing of the one is taken for the other's."""
    here, there = Journal(path, NETWORK), Journal(path, OTHER)
    written = publish(here, 1, [2, 3], b"1" * 16)
    here.putting(segment(2))
    assert here.next_terms(b"1" * 16, 1000, 50) == (1000, 50)
    assert not there.seen(segment(2))
    assert there.deposits(segment(1)) == []
    assert there.segments(segment(1)) == []
    attempt = there.begin(source(1), b"2" * 16, b"")
    assert attempt.deposit == b"2" * 16
    assert there.next_terms(b"1" * 16, 10, 5) == (10, 5)
    there.finish(attempt, row(1, b"1" * 16, size=7), [(segment(1), 5)])
    there.finish(there.begin(source(4), b"1" * 16, b""), row(4, b"1" * 16), [(segment(2), 5)])
    assert len(here.only_in(written)) == 3, "the other network's deposits need nothing of this one's"
    there.forget(segment(1))
    assert here.deposits(segment(1)) == [written]
    assert len(here.segments(segment(1))) == 3
    here.close()
    there.close()


def test_whatever_the_database_says_is_this_machines_fault(path: Path) -> None:
    journal = Journal(path, NETWORK)
    found = publish(journal, 1, [2])
    other = sqlite3.connect(path, isolation_level=None)
    for table in ("attempt", "terms", "put", "deposit", "deposit_segment", "placed"):
        other.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
    for call in (
        lambda: journal.begin(source(2), b"1" * 16, b""),
        lambda: journal.next_terms(b"d" * 16, 1, 1),
        lambda: journal.seen(segment(1)),
        lambda: journal.putting(segment(1)),
        lambda: journal.placed(b"t" * 32),
        lambda: journal.note_placed(b"t" * 32, descriptor(1)),
        lambda: journal.finish(Attempt(source(), b"d" * 16, b""), found, []),
        lambda: journal.deposits(segment(1)),
        lambda: journal.update(found),
        lambda: journal.only_in(found),
        lambda: journal.segments(segment(1)),
        lambda: journal.forget(segment(1)),
    ):
        with pytest.raises(MachineError, match=r"cannot use the journal .*no such table") as caught:
            call()
        assert caught.value.exit_code == 7
    for table in ("attempt", "terms", "put", "deposit", "deposit_segment", "placed"):
        other.execute(f"ALTER TABLE gone_{table} RENAME TO {table}")
    other.close()
    journal.putting(segment(1))  # no transaction was left open
    journal.close()


def test_a_journal_of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(MachineError, match="format 1"):
        Journal(path, NETWORK)


def test_a_journal_of_format_2_is_taken_over(path: Path) -> None:
    """It has everything but the descriptors and who signed."""
    with closing(Journal(path, NETWORK)) as journal:
        found = publish(journal, 1, [2])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE placed")
        db.execute("ALTER TABLE deposit DROP COLUMN depositor")
        db.execute("PRAGMA user_version = 2")
    for _ in range(2):
        with closing(Journal(path, NETWORK)) as journal:
            assert journal.deposits(segment(1)) == [found]
            journal.note_placed(b"t" * 32, descriptor(1))
            assert journal.placed(b"t" * 32) == descriptor(1)


def test_a_journal_of_format_3_is_taken_over(path: Path) -> None:
    """Whatever is in it was signed by the unnamed identity; what comes from now on says by whom."""
    with closing(Journal(path, NETWORK)) as journal:
        found = publish(journal, 1, [2])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE deposit DROP COLUMN depositor")
        db.execute("PRAGMA user_version = 3")
    named = row(3, depositor=PublicKey(b"k" * 32))
    for _ in range(2):
        with closing(Journal(path, NETWORK)) as journal:
            assert journal.deposits(segment(1)) == [found]
            assert found.depositor is None
            journal.finish(journal.begin(source(3), b"d" * 16, b""), named, [])
            assert journal.deposits(segment(3)) == [named]


@pytest.mark.parametrize("size", [1, 31, 33])
def test_a_damaged_depositor_is_told(path: Path, size: int) -> None:
    with closing(Journal(path, NETWORK)) as journal:
        publish(journal, 1, [2])
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE deposit SET depositor = zeroblob(?)", (size,))
        with pytest.raises(MachineError, match="is damaged"):
            journal.deposits(segment(1))


def test_a_file_that_is_no_journal(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(MachineError, match="cannot use the journal"):
        Journal(path, NETWORK)
    os.remove(path)
    path.mkdir()
    with pytest.raises(MachineError, match="cannot use the journal"):
        Journal(path, NETWORK)


def test_a_journal_damaged_where_sqlite_quotes_it(path: Path) -> None:
    """SQLite names the table it cannot read, and sqlite3 fails to decode that name: found by fuzzing."""
    Journal(path, NETWORK).close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE attempt (", b"CREATE TABLE attempt \x83"))
    with pytest.raises(MachineError, match="cannot use the journal"):
        Journal(path, NETWORK)


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "[]",
        "{}",
        '{"spread_countries": 1, "avoid": []}',
        '{"spread_countries": true, "avoid": "FR"}',
        '{"spread_countries": true, "avoid": ["F"]}',
        '{"spread_countries": true, "avoid": [5]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_policy(path: Path, policy: str) -> None:
    with closing(Journal(path, NETWORK)) as journal:
        publish(journal, 1, [])
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE deposit SET policy = ?", (policy,))
        with pytest.raises(MachineError, match="is damaged"):
            journal.deposits(segment(1))


def test_damaged_rows(path: Path) -> None:
    """A value whose type has rotted: SQLite gives back what is there."""
    with closing(Journal(path, NETWORK)) as journal:
        found = publish(journal, 1, [2])
        journal.next_terms(found.deposit, 1, 1)
        journal.note_placed(b"t" * 32, descriptor(1))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE terms SET sequence = x'00'")
            db.execute("UPDATE attempt SET deposit = 'text'")
            db.execute("UPDATE deposit_segment SET size = x'00'")
            db.execute("UPDATE deposit SET name = x'00'")
            db.execute("UPDATE placed SET descriptor = 'text'")
        for call in (
            lambda: journal.next_terms(found.deposit, 1, 1),
            lambda: journal.begin(source(1), b"d" * 16, b""),
            lambda: journal.segments(segment(1)),
            lambda: journal.only_in(found),
            lambda: journal.deposits(segment(1)),
            lambda: journal.placed(b"t" * 32),
        ):
            with pytest.raises(MachineError, match="is damaged"):
                call()


def test_two_in_one_process_are_two(tmp_path: Path) -> None:
    """A node has several open at once: what one publishes the other cannot begin, nor let go of by being closed."""
    with closing(Journal(tmp_path / "j", NETWORK)) as first:
        first.begin(source(), b"d" * 16, b"")
        for _ in range(2):
            with closing(Journal(tmp_path / "j", NETWORK)) as second, pytest.raises(RefusedError, match="already"):
                second.begin(source(), b"d" * 16, b"")
