"""What this home has seen of names, so that nobody can show it an older version later (docs/spec/names.md section 5).

For each name the highest sequence, and the number and the hash of the version that was there: nothing that opens it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from node.errors import MachineError, machine_error
from protocol.ids import NameId, NetworkId

_FORMAT = 1
_TABLE = """CREATE TABLE IF NOT EXISTS seen (
    network BLOB NOT NULL, name BLOB NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (network, name)) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Sight:
    """The newest that was seen of a name."""

    sequence: int
    number: int
    """Of the version."""
    hash: bytes
    """Of the version, 32 bytes."""


NOTHING = Sight(0, 0, b"")
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
        query = "SELECT sequence, number, hash FROM seen WHERE network = ? AND name = ?"
        with self._open() as db:
            row = db.execute(query, (self._network, name)).fetchone()
        if row is None:
            return NOTHING
        if tuple(map(type, row)) != (int, int, bytes):
            raise self._damaged("a column is of another type")
        return Sight(*row)

    def note(self, name: NameId, sight: Sight) -> None:
        """Remember it, unless as high a sequence was seen before."""
        query = """
            INSERT INTO seen VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
            SET sequence = excluded.sequence, number = excluded.number, hash = excluded.hash
            WHERE excluded.sequence > seen.sequence"""
        with self._open() as db:
            db.execute(query, (self._network, name, sight.sequence, sight.number, sight.hash))

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
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    db.execute(_TABLE)
                    db.execute(f"PRAGMA user_version = {_FORMAT}")
                elif version != _FORMAT:
                    raise self._damaged(f"it has format {version}, this version reads {_FORMAT}")
                yield db
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # what SQLite quotes of a damaged file need not be text
            raise self._damaged(str(exc)) from exc

    def _damaged(self, why: str) -> MachineError:
        return MachineError(
            f"cannot use the file of names {self._path}: {why}",
            hint="if it is damaged, move it away: then an older version of a name may pass for the newest once",
        )
