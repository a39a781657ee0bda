"""What this home has seen of names, so that nobody can show it an older version later (docs/spec/names.md section 5).

For each name the highest sequence, the number and the hash of the version that was there, and when its record ends:
nothing that opens it. What has ended binds no more: its owner may have begun anew, from a machine that knows nothing.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dht.records import SLACK_SECONDS
from node.errors import MachineError, machine_error
from node.store.transaction import transaction
from protocol.ids import NameId, NetworkId
from protocol.names import MAX_LIFE_SECONDS

_FORMAT = 2
_LONGEST = MAX_LIFE_SECONDS + SLACK_SECONDS
"""How long nodes keep a record at most."""
_STEPS = {
    0: (
        """CREATE TABLE seen (
            network BLOB NOT NULL, name BLOB NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL,
            hash BLOB NOT NULL, expiry INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (network, name)) WITHOUT ROWID""",
    ),
    1: (
        "ALTER TABLE seen ADD COLUMN expiry INTEGER NOT NULL DEFAULT 0",
        # when it ends was not noted: no record that was seen by now lives longer than 402 days
        "UPDATE seen SET expiry = strftime('%s', 'now', '402 days')",
    ),
}
"""What leads from a format to that of today."""


_DAMAGED = "if it is damaged, move it away: then an older version of a name may pass for the newest once"
_HINTS = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), "another process is using it: run it again"),
    sqlite3.SQLITE_FULL: "the disk is full: make room on it",
    **dict.fromkeys(
        (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
        "the file and its folder have to be yours to write",
    ),
    sqlite3.SQLITE_IOERR: "its disk does not read or write: is it full, or failing?",
}
"""What to do about what is no damage, by SQLite's code."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The newest that was seen of a name."""

    sequence: int
    number: int
    """Of the version."""
    hash: bytes
    """Of the version, 32 bytes."""
    expiry: int
    """When its records end, and those before, seconds since 1970-01-01 UTC, as far as this home has seen."""

    def binds(self, now: float) -> bool:
        """Whether nothing older may be shown: its record is alive, if nodes keep it."""
        return now < self.expiry


NOTHING = Sight(0, 0, b"", 0)
"""Of a name that was never seen."""


class Seen:
    """The file. Any number of processes may use it at once; what a call has noted is on the disk when it returns.

    Every call may raise MachineError: the file cannot be read or written, or is damaged. It is not set aside by itself:
    without it older versions would pass for new ones.
    """

    def __init__(self, path: Path, network: NetworkId) -> None:
        """
        Args:
            path: The file, made when it is first used.
            network: The network whose names these are.
        """
        self._path = path
        self._network = network

    def get(self, name: NameId) -> Sight:
        """What was seen of a name; NOTHING if nothing was."""
        query = "SELECT sequence, number, hash, expiry FROM seen WHERE network = ? AND name = ?"
        with self._open() as db:
            row = db.execute(query, (self._network, name)).fetchone()
        if row is None:
            return NOTHING
        if tuple(map(type, row)) != (int, int, bytes, int):
            raise self._unusable("a column is of another type")
        return Sight(*row)

    def note(self, name: NameId, sight: Sight, now: float) -> None:
        """Remember it, unless as high a sequence was seen before, whose record is alive.

        Args:
            name: Of whose head.
            sight: What is there now. Its expiry counts no further than nodes keep a record.
            now: Wall clock, seconds since 1970-01-01 UTC.
        """
        expiry = min(sight.expiry, int(now) + _LONGEST)
        replace = """
            INSERT INTO seen (network, name, sequence, number, hash, expiry) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET sequence = excluded.sequence, number = excluded.number, hash = excluded.hash,
            expiry = max(excluded.expiry, seen.expiry) WHERE excluded.sequence > seen.sequence OR seen.expiry <= ?"""
        prolong = "UPDATE seen SET expiry = ? WHERE network = ? AND name = ? AND sequence = ? AND expiry < ?"
        with self._open() as db:
            row = (self._network, name, sight.sequence, sight.number, sight.hash, expiry)
            db.execute(replace, (*row, int(now)))
            db.execute(prolong, (expiry, self._network, name, sight.sequence, expiry))  # another record with it

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # made first: SQLite would give it another mode
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise machine_error("use the file of names", exc) from exc
        try:
            with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                if _version(db) != _FORMAT:
                    self._convert(db)
                yield db
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # what SQLite quotes of a damaged file need not be text
            code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # without what it adds in detail
            raise self._unusable(str(exc), _HINTS.get(code, _DAMAGED)) from exc

    def _convert(self, db: sqlite3.Connection) -> None:
        """Make the table, or take over that of an older format: all of it, or nothing."""
        with transaction(db):
            version = _version(db)  # another process may have been faster
            if version != _FORMAT and version not in _STEPS:
                raise self._unusable(f"it has format {version}, this version reads {_FORMAT}")
            for statement in _STEPS.get(version, ()):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_FORMAT}")

    def _unusable(self, why: str, hint: str = _DAMAGED) -> MachineError:
        return MachineError(f"cannot use the file of names {self._path}: {why}", hint=hint)


def _version(db: sqlite3.Connection) -> int:
    ((version,),) = db.execute("PRAGMA user_version")
    return int(version)
