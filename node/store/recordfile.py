"""Records of names that a node keeps for the DHT, on its disk: `records.sqlite` (docs/spec/dht.md section 8).

The DHT holds them in memory, and has what changed written here before it says that it is kept. What comes out of the
file is checked like what comes from a stranger. A damaged file is set aside: other nodes have the same records.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dht.keeping import Persist
from dht.records import Kept, RecordStore
from node.blocking import Blocking
from node.errors import MachineError
from node.store.transaction import transaction
from protocol.ids import NameId

log = logging.getLogger(__name__)

RECORDS_FILE = "records.sqlite"
FORMAT = 2
_SCHEMA = f"""
CREATE TABLE record (
    name BLOB NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL, expiry INTEGER NOT NULL, source BLOB);
CREATE UNIQUE INDEX record_name ON record (name, place);
PRAGMA user_version = {FORMAT};
"""
_SET_BY = """
ALTER TABLE record RENAME TO former;
DROP INDEX IF EXISTS record_expiry;
"""
_TAKE_OVER = """
INSERT INTO record SELECT name, place, data, expiry, source FROM former ORDER BY name, place;
DROP TABLE former;
"""
_STEPS = {0: _SCHEMA, 1: _SET_BY + _SCHEMA + _TAKE_OVER}
"""What brings a file to this format, by the one it has; 0: none. Format 1 had the records in the tree of their names,
and an index of expiries: three times as much was written when one took another's place."""
_KEEP = """
INSERT INTO record VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, place)
DO UPDATE SET data = excluded.data, expiry = excluded.expiry, source = excluded.source
"""

_MACHINES = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PERM,
}

Row = tuple[bytes, bytes | None]
"""A record, and the subnet that its name was first put from."""


class RecordFile:
    """The file. Calls may come from several threads; each is one transaction, on the disk when it returns."""

    def __init__(self, db: sqlite3.Connection, rows: list[Row]) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._rows = rows

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, making it when there is none, and read all of it.

        Raises:
            MachineError: It cannot be opened, or written. A damaged one is set aside, with a warning.
        """
        try:
            return cls(*_open(path))
        except (sqlite3.Error, ValueError) as exc:
            if _is_the_machines(exc):
                raise MachineError(f"cannot use {path}: {exc}") from exc
            log.warning("%s is damaged and was set aside: other nodes have what was in it (%s)", path, exc)
        try:
            _set_aside(path)
            return cls(*_open(path))
        except (sqlite3.Error, OSError) as exc:
            raise MachineError(f"cannot use {path}: {exc}") from exc

    def load_into(self, store: RecordStore, now: float) -> None:
        """Give a store what was in the file when it was opened: each record is checked."""
        rows, self._rows = self._rows, []
        store.load(rows, now)

    def save(self, changed: Mapping[NameId, Kept]) -> None:
        """Keep this, and only this, of each name. Raises sqlite3.Error: then all is as it was."""
        with self._lock, _faults(), transaction(self._db):
            for name, kept in changed.items():
                self._db.execute("DELETE FROM record WHERE name = ? AND place >= ?", (name, len(kept.records)))
                rows = [(name, place, data, kept.expiry, kept.source) for place, data in enumerate(kept.records)]
                self._db.executemany(_KEEP, rows)

    def expire(self, now: float) -> None:
        """Drop what has ended, by this wall clock. Raises sqlite3.Error."""
        with self._lock, _faults():
            self._db.execute("DELETE FROM record WHERE expiry <= ?", (int(now),))

    def close(self) -> None:
        with self._lock:
            self._db.close()


def persisting(file: RecordFile, blocking: Blocking) -> Persist:
    """What the DHT calls to have records written: in a worker thread; a disk that fails is told to the operator."""

    async def persist(changed: Mapping[NameId, Kept]) -> bool:
        try:
            await blocking(file.save, changed)
        except sqlite3.Error as exc:
            log.error("could not write records of names: %s", exc)
            return False
        return True

    return persist


@contextmanager
def _faults() -> Iterator[None]:
    """What SQLite quotes of a damaged file need not be text: then Python fails in its place."""
    try:
        yield
    except UnicodeDecodeError as exc:
        raise sqlite3.DatabaseError("the file is damaged") from exc


def _is_the_machines(exc: Exception) -> bool:
    """Whether the disk or a permission is to blame, and the file may be in order."""
    code = exc.sqlite_errorcode if isinstance(exc, sqlite3.OperationalError) else sqlite3.SQLITE_CORRUPT
    return code & 0xFF in _MACHINES  # above these bits: the exact reason


def _open(path: Path) -> tuple[sqlite3.Connection, list[Row]]:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # one node to a data folder: no lock for each transaction
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # what was acknowledged is on the disk
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version in _STEPS:
            db.executescript(f"BEGIN; {_STEPS[version]} COMMIT;")
        elif version != FORMAT:
            raise ValueError(f"it has format {version}")
        rows = db.execute("SELECT data, source FROM record ORDER BY name, place").fetchall()
        if any(type(data) is not bytes or not isinstance(source, bytes | None) for data, source in rows):
            raise ValueError("a column is of another type")
    except BaseException:  # whatever it was, the file must not stay open
        db.close()
        raise
    return db, rows


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(path.name + ".damaged"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
