"""What this depositor has published, and what it was publishing when it was interrupted.

One SQLite file in the home folder. It holds no key and no link: only ids, which mean nothing without them.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.errors import MachineError, RefusedError, machine_error
from protocol.ids import SegmentId
from protocol.leases import Policy

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempt (
    source BLOB PRIMARY KEY, deposit BLOB NOT NULL, salt BLOB NOT NULL, finished INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS terms (
    deposit BLOB PRIMARY KEY, sequence INTEGER NOT NULL, expiry INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS put (segment BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deposit (
    root BLOB NOT NULL, deposit BLOB NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
    sequence INTEGER NOT NULL, expiry INTEGER NOT NULL, policy TEXT NOT NULL, PRIMARY KEY (root, deposit));
CREATE TABLE IF NOT EXISTS deposit_segment (
    root BLOB NOT NULL, segment BLOB NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (root, segment)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One publish of one source."""

    source: bytes
    """Hash of what is published and how (32 bytes)."""
    deposit: bytes
    """The random deposit id (16 bytes) all its leases carry."""
    salt: bytes
    """16 bytes if ``--fresh`` was asked, else empty."""


@dataclass(frozen=True, slots=True)
class DepositRow:
    """One finished deposit."""

    root: SegmentId
    deposit: bytes
    name: str
    size: int
    sequence: int
    expiry: int
    policy: Policy


class Journal:
    """The journal's file. Every call is short; what it has answered is in the system's cache, safe from kill -9."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            path.chmod(0o600)
            self._claims = os.open(path.with_name("publishing.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (sqlite3.Error, OSError) as exc:
            raise MachineError(f"cannot use the journal {path}: {exc}") from exc

    def close(self) -> None:
        self._db.close()
        os.close(self._claims)

    def begin(self, source: bytes, deposit: bytes, salt: bytes) -> Attempt:
        """Start or take up the publish of ``source``.

        The earlier deposit id is kept, so that leases are renewed rather than doubled. A finished publish with a salt
        was asked to be fresh once; asked again, it gets the new salt and deposit id.

        Raises:
            RefusedError: Another process is publishing the same source: their leases would outdo each other's.
        """
        self._claim(source)
        row = self._db.execute("SELECT deposit, salt, finished FROM attempt WHERE source = ?", (source,)).fetchone()
        if row is not None and not (row[2] and salt):
            self._db.execute("UPDATE attempt SET finished = 0 WHERE source = ?", (source,))
            return Attempt(source, row[0], row[1])
        self._db.execute("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, 0)", (source, deposit, salt))
        return Attempt(source, deposit, salt)

    def next_terms(self, deposit: bytes, sequence: int, expiry: int) -> tuple[int, int]:
        """Note the leases of a deposit id that are about to be signed.

        Args:
            deposit: The deposit id.
            sequence: What they would carry: the time in milliseconds. A clock may have been set back.
            expiry: When they end, seconds since 1970-01-01 UTC.

        Returns:
            The sequence they must carry, higher than any before; and the latest expiry of all ever signed, which a
            deletion must not come before.
        """
        row = self._db.execute("SELECT sequence, expiry FROM terms WHERE deposit = ?", (deposit,)).fetchone()
        if row is not None:
            sequence, expiry = max(sequence, row[0] + 1), max(expiry, row[1])
        self._db.execute("INSERT OR REPLACE INTO terms VALUES (?, ?, ?)", (deposit, sequence, expiry))
        return sequence, expiry

    def _claim(self, source: bytes) -> None:
        """Lock the byte of a file that stands for a source, until this process closes the journal or dies."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int.from_bytes(source[:7], "big"))
        except (BlockingIOError, PermissionError):
            raise RefusedError("this is being published already", hint="wait until the other publish ends") from None
        except OSError as exc:
            raise machine_error("lock the journal", exc) from exc

    def seen(self, segment: SegmentId) -> bool:
        """Whether this home began to put this segment before; if not, the network cannot have it from us."""
        row = self._db.execute("SELECT 1 FROM put WHERE segment = ?", (segment,)).fetchone()
        return row is not None

    def putting(self, segment: SegmentId) -> None:
        """Note, before its first put, that this segment may be on the network from now on."""
        self._db.execute("INSERT OR IGNORE INTO put VALUES (?)", (segment,))

    def finish(self, attempt: Attempt, row: DepositRow, segments: Iterable[tuple[SegmentId, int]]) -> None:
        """Record a deposit that is stored whole."""
        with self._transaction():
            self._db.execute("UPDATE attempt SET finished = 1 WHERE source = ?", (attempt.source,))
            self._save(row)
            self._db.executemany(
                "INSERT OR IGNORE INTO deposit_segment VALUES (?, ?, ?)",
                [(row.root, segment, size) for segment, size in segments],
            )

    def deposits(self, root: SegmentId) -> list[DepositRow]:
        """The deposits with this root that this home published: more than one, if the same was published from
        several places, each with leases of its own."""
        found = self._db.execute("SELECT * FROM deposit WHERE root = ? ORDER BY deposit", (root,)).fetchall()
        return [_deposit_row(row) for row in found]

    def update(self, row: DepositRow) -> None:
        """Record a renewal."""
        with self._transaction():
            self._save(row)

    def only_in(self, row: DepositRow) -> list[tuple[SegmentId, int]]:
        """(segment, size) of a root's segments that no other root of the same deposit id needs."""
        return self._db.execute(
            """SELECT segment, size FROM deposit_segment WHERE root = ?1 AND segment NOT IN (
                   SELECT segment FROM deposit_segment JOIN deposit USING (root) WHERE deposit = ?2 AND root != ?1)""",
            (row.root, row.deposit),
        ).fetchall()

    def segments(self, root: SegmentId) -> list[tuple[SegmentId, int]]:
        """(segment, size) of all segments of a root, the root segment included."""
        return self._db.execute("SELECT segment, size FROM deposit_segment WHERE root = ?", (root,)).fetchall()

    def forget(self, root: SegmentId) -> None:
        """Drop the deposits of a root. What was ever put stays noted: a holder that was away may still have it."""
        with self._transaction():
            self._db.execute("DELETE FROM deposit WHERE root = ?", (root,))
            self._db.execute("DELETE FROM deposit_segment WHERE root = ?", (root,))

    def _save(self, row: DepositRow) -> None:
        policy = json.dumps({"spread_countries": row.policy.spread_countries, "avoid": row.policy.avoid})
        self._db.execute(
            "INSERT OR REPLACE INTO deposit VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.root, row.deposit, row.name, row.size, row.sequence, row.expiry, policy),
        )

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


def _deposit_row(row: tuple[bytes, bytes, str, int, int, int, str]) -> DepositRow:
    root, deposit, name, size, sequence, expiry, text = row
    policy = json.loads(text)
    lease_policy = Policy(policy["spread_countries"], tuple(policy["avoid"]))
    return DepositRow(SegmentId(root), deposit, name, size, sequence, expiry, lease_policy)


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
