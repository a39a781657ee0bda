"""The transfers of one home on one network, on the disk: a SQLite file that only its owner can read.

What is wanted of a transfer (names of files, the link of a download) is there until nothing more is to be done for it,
and overwritten then: in the file by SQLite, and by us in its journal, to which it copies what a transaction changes.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from node.errors import MachineError, RefusedError, machine_error
from node.store.transaction import transaction
from node.web.http.answers import whole
from node.web.transfers.row import Row
from node.web.transfers.spool import full
from protocol.ids import NetworkId

_FORMAT = 1
_TABLES = (
    """CREATE TABLE transfer (
        network BLOB NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, told TEXT NOT NULL, wanted TEXT NOT NULL,
        PRIMARY KEY (network, id)) WITHOUT ROWID""",
)
_DAMAGED = "if it is damaged, move it away: transfers under way are lost then, and what is in the drive is not"
_OUT_OF_ORDER = "look whether the disk of the home folder is there, has room, and can be written to"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_STEP_BYTES = 1 << 20


class Table:
    """The file. Every call blocks, is on the disk when it returns, and may raise MachineError; one at a time."""

    def __init__(self, path: Path, network: NetworkId) -> None:
        """
        Args:
            path: The file, made when there is none.
            network: The network whose transfers these are.

        Raises:
            RefusedError: Another node of this home has them.
        """
        self._path = path
        self._network = network
        self._lock = _locked(path.with_name(path.name + ".lock"))
        try:
            self._db = self._open()
        except BaseException:  # whatever it was, others may try
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            with suppress(FileExistsError):  # made first: SQLite would give it another mode
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._path.chmod(0o600)
        except OSError as exc:
            raise machine_error("use the file of transfers", exc) from exc
        with self._faults():
            db = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA secure_delete = ON")  # links
                db.execute("PRAGMA journal_mode = PERSIST")  # one that is removed cannot be overwritten any more
                self._prepare(db)
                self._wipe_journal()
            except BaseException:  # whatever it was, the file must not stay open
                db.close()
                raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        ((version,),) = db.execute("PRAGMA user_version")
        if version == _FORMAT:
            return
        if version != 0:
            raise self._unusable(f"it has format {version}, this version reads {_FORMAT}")
        with transaction(db):
            for statement in (*_TABLES, f"PRAGMA user_version = {_FORMAT}"):
                db.execute(statement)

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def rows(self) -> list[Row]:
        """All transfers, the oldest first."""
        query = "SELECT told FROM transfer WHERE network = ? ORDER BY created, id"
        with self._faults():
            found = self._db.execute(query, (self._network,)).fetchall()
        try:
            return [Row.restored(json.loads(told)) for (told,) in found]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise self._unusable("a row is none") from exc

    def add(self, row: Row, wanted: Any) -> None:
        """A new transfer.

        Args:
            row: What is told of it.
            wanted: What is to be done, as JSON knows it.
        """
        values = (self._network, row.id, row.created, json.dumps(row.stored()), _json(wanted))
        self._execute("INSERT INTO transfer VALUES (?, ?, ?, ?, ?)", values)

    def save(self, row: Row) -> None:
        """What is told of one now."""
        values = (json.dumps(row.stored()), self._network, row.id)
        self._execute("UPDATE transfer SET told = ? WHERE network = ? AND id = ?", values)

    def want(self, identifier: str, wanted: Any) -> None:
        """What is to be done now; None: nothing more."""
        values = (json.dumps(wanted), self._network, identifier)
        self._execute("UPDATE transfer SET wanted = ? WHERE network = ? AND id = ?", values)
        self._wipe_journal()

    def wanted(self, identifier: str) -> Any:
        """What is to be done, as it was given."""
        with self._faults():
            query = "SELECT wanted FROM transfer WHERE network = ? AND id = ?"
            found = self._db.execute(query, (self._network, identifier)).fetchone()
        try:
            return None if found is None else json.loads(found[0], parse_int=whole)
        except (ValueError, TypeError, RecursionError) as exc:
            raise self._unusable("a row is none") from exc

    def remove(self, identifier: str) -> None:
        """Forget a transfer."""
        self._execute("DELETE FROM transfer WHERE network = ? AND id = ?", (self._network, identifier))
        self._wipe_journal()

    def _execute(self, sql: str, values: tuple[object, ...]) -> None:
        with self._faults():
            self._db.execute(sql, values)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest says how it came to that
            if code == sqlite3.SQLITE_FULL:
                raise full("cannot note it in the file of transfers: the disk is full") from exc
            raise self._unusable(str(exc), _DAMAGED if code in _DAMAGE else _OUT_OF_ORDER) from exc
        except UnicodeDecodeError as exc:  # what SQLite quotes of a damaged file need not be text
            raise self._unusable("it is damaged") from exc

    def _unusable(self, why: str, hint: str = _DAMAGED) -> MachineError:
        return MachineError(f"cannot use the file of transfers {self._path}: {why}", hint=hint)

    def _wipe_journal(self) -> None:
        """Zeros over what the last transactions have put down there: between them, that is no journal to SQLite."""
        try:
            with suppress(FileNotFoundError), self._path.with_name(self._path.name + "-journal").open("r+b") as journal:
                while data := journal.read(_STEP_BYTES):
                    if data.strip(b"\0"):
                        journal.seek(-len(data), os.SEEK_CUR)
                        journal.write(bytes(len(data)))
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as exc:
            raise machine_error("overwrite what stood in the file of transfers", exc) from exc


def _json(wanted: Any) -> str:
    """Of a long list piece by piece, between which the other threads have their turn."""
    return "".join(json.JSONEncoder().iterencode(wanted))


def _locked(path: Path) -> int:
    """An open lock file: two nodes of one home would both do everything."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise machine_error("use the file of transfers", exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(handle)
        if isinstance(exc, BlockingIOError):
            raise RefusedError(
                "another node with this home has its transfers", hint="use the page of that node, or stop it"
            ) from None
        raise machine_error("lock the file of transfers", exc) from exc
    return handle
