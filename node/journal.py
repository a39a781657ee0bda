"""What this depositor has published, and what it was publishing when it was interrupted.

One SQLite file in the home folder: names, sizes, ids, descriptors, expiries, who signed, and the salts of ``--fresh``.
It holds no secret key and no link, so that nothing can be read with it; but whoever reads it knows what was published,
and the mode is 0600.

A home may be used in several networks: every row belongs to one of them, and a journal shows those of its own.
"""

import fcntl
import json
import os
import platform
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import MachineError, RefusedError, machine_error
from protocol.errors import ProtocolError
from protocol.identity import KEY_BYTES
from protocol.ids import NetworkId, PublicKey, SegmentId
from protocol.leases import Policy
from protocol.records import is_country
from protocol.segment import Descriptor

_FORMAT = 4
_PLACED = """CREATE TABLE placed (
    network BLOB NOT NULL, token BLOB NOT NULL, segment BLOB NOT NULL, descriptor BLOB NOT NULL,
    PRIMARY KEY (network, token)) WITHOUT ROWID"""
_TABLES = (
    """CREATE TABLE attempt (
        network BLOB NOT NULL, source BLOB NOT NULL, deposit BLOB NOT NULL, salt BLOB NOT NULL,
        finished INTEGER NOT NULL,
        PRIMARY KEY (network, source)) WITHOUT ROWID""",
    """CREATE TABLE terms (
        network BLOB NOT NULL, deposit BLOB NOT NULL, sequence INTEGER NOT NULL, expiry INTEGER NOT NULL,
        PRIMARY KEY (network, deposit)) WITHOUT ROWID""",
    """CREATE TABLE put (
        network BLOB NOT NULL, segment BLOB NOT NULL,
        PRIMARY KEY (network, segment)) WITHOUT ROWID""",
    """CREATE TABLE deposit (
        network BLOB NOT NULL, root BLOB NOT NULL, deposit BLOB NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
        sequence INTEGER NOT NULL, expiry INTEGER NOT NULL, policy TEXT NOT NULL,
        depositor BLOB NOT NULL DEFAULT x'',
        PRIMARY KEY (network, root, deposit)) WITHOUT ROWID""",
    """CREATE TABLE deposit_segment (
        network BLOB NOT NULL, root BLOB NOT NULL, segment BLOB NOT NULL, size INTEGER NOT NULL,
        PRIMARY KEY (network, root, segment)) WITHOUT ROWID""",
    _PLACED,
)
_DEPOSITOR = "ALTER TABLE deposit ADD COLUMN depositor BLOB NOT NULL DEFAULT x''"
_MISSING = {0: _TABLES, 2: (_PLACED, _DEPOSITOR), 3: (_DEPOSITOR,)}
"""Format of a file -> what it lacks. 0 is a new file."""


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
    depositor: PublicKey | None = None
    """Who signs its leases; None: the unnamed identity of this home, as in journals of format 3."""


_OPEN_FILE_LOCKS = platform.system() == "Linux"


def _lock_byte(handle: int, kind: int, place: int) -> None:
    """Take, or give back, the lock of one byte. Raises OSError: another journal has it.

    On Linux it belongs to the open file. Elsewhere to the process, which loses it when it closes any other journal.
    """
    if _OPEN_FILE_LOCKS:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, os.SEEK_SET, place, 1, 0))
        return
    fcntl.lockf(handle, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)


class Journal:
    """The journal's file. Every call is short; what it has answered is in the system's cache, safe from kill -9.

    Every call may raise MachineError: the file cannot be read or written, is damaged, or is locked for too long.
    """

    def __init__(self, path: Path, network: NetworkId) -> None:
        """
        Args:
            path: The file, made when there is none.
            network: The network whose deposits these are.
        """
        self._network = network
        try:
            self._db = _Database(path)
            self._claims = os.open(path.with_name("publishing.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise MachineError(f"cannot use the journal {path}: {exc}") from exc

    def close(self) -> None:
        self._db.close()
        os.close(self._claims)

    def begin(self, source: bytes, deposit: bytes, salt: bytes) -> Attempt:
        """Start or take up the publish of ``source``.

        The earlier deposit id is kept, so that leases are renewed rather than doubled. A finished publish with a salt
        was asked to be fresh once; asked again, it gets the new salt and deposit id.

        Raises:
            RefusedError: Another one is publishing the same source: their leases would outdo each other's.
        """
        self._claim(source)
        key = (self._network, source)
        query = "SELECT deposit, salt, finished FROM attempt WHERE network = ? AND source = ?"
        rows = self._db.select(query, key, bytes, bytes, int)
        if rows and not (rows[0][2] and salt):
            self._db.execute("UPDATE attempt SET finished = 0 WHERE network = ? AND source = ?", key)
            return Attempt(source, rows[0][0], rows[0][1])
        self._db.execute("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, 0)", (*key, deposit, salt))
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
        key = (self._network, deposit)
        with self._db.transaction():
            query = "SELECT sequence, expiry FROM terms WHERE network = ? AND deposit = ?"
            for known in self._db.select(query, key, int, int):
                sequence, expiry = max(sequence, known[0] + 1), max(expiry, known[1])
            self._db.execute("INSERT OR REPLACE INTO terms VALUES (?, ?, ?, ?)", (*key, sequence, expiry))
        return sequence, expiry

    def _claim(self, source: bytes) -> None:
        """Lock the byte of a file that stands for a source, until it is released, or this journal is closed, or the
        process dies."""
        try:
            _lock_byte(self._claims, fcntl.F_WRLCK, self._place(source))
        except (BlockingIOError, PermissionError):
            raise RefusedError("this is being published already", hint="wait until the other publish ends") from None
        except OSError as exc:
            raise machine_error("lock the journal", exc) from exc

    def release(self, attempt: Attempt) -> None:
        """Let others publish its source: it is finished, or has failed and is left as it is."""
        try:
            _lock_byte(self._claims, fcntl.F_UNLCK, self._place(attempt.source))
        except OSError as exc:
            raise machine_error("unlock the journal", exc) from exc

    def _place(self, source: bytes) -> int:
        return int.from_bytes(source[:7], "big") ^ int.from_bytes(self._network[:7], "big")

    def seen(self, segment: SegmentId) -> bool:
        """Whether this home began to put this segment before; if not, the network cannot have it from us."""
        return bool(self._db.execute("SELECT 1 FROM put WHERE network = ? AND segment = ?", (self._network, segment)))

    def putting(self, segment: SegmentId) -> None:
        """Note, before its first put, that this segment may be on the network from now on."""
        self._db.execute("INSERT OR IGNORE INTO put VALUES (?, ?)", (self._network, segment))

    def placed(self, token: bytes) -> Descriptor | None:
        """What the segment was sealed to that :meth:`note_placed` noted under this token."""
        query = "SELECT segment, descriptor FROM placed WHERE network = ? AND token = ?"
        for segment, data in self._db.select(query, (self._network, token), bytes, bytes):
            with suppress(ProtocolError):  # rotten, or of a version not known here: it is sealed anew then
                return Descriptor.decode(data, segment)
        return None

    def note_placed(self, token: bytes, descriptor: Descriptor) -> None:
        """Note a segment that every chunk of has been placed and announced.

        Args:
            token: What names its key and its shares, and tells neither (32 bytes).
            descriptor: What the two sealed it to.
        """
        row = (self._network, token, descriptor.id, descriptor.encode())
        self._db.execute("INSERT OR REPLACE INTO placed VALUES (?, ?, ?, ?)", row)

    def finish(self, attempt: Attempt, row: DepositRow, segments: Iterable[tuple[SegmentId, int]]) -> None:
        """Record a deposit that is stored whole."""
        key = (self._network, attempt.source)
        with self._db.transaction():
            self._db.execute("UPDATE attempt SET finished = 1 WHERE network = ? AND source = ?", key)
            self._save(row)
            self._db.execute_many(
                "INSERT OR IGNORE INTO deposit_segment VALUES (?, ?, ?, ?)",
                [(self._network, row.root, segment, size) for segment, size in segments],
            )

    def deposits(self, root: SegmentId) -> list[DepositRow]:
        """The deposits with this root that this home published: more than one, if the same was published from
        several places, each with leases of its own."""
        found = self._db.select(
            """SELECT root, deposit, name, bytes, sequence, expiry, policy, depositor FROM deposit
               WHERE network = ? AND root = ? ORDER BY deposit""",
            (self._network, root),
            bytes, bytes, str, int, int, int, str, bytes,
        )  # fmt: skip
        try:
            return [_deposit_row(row) for row in found]
        except (ValueError, RecursionError) as exc:  # a damaged key or policy, or one that is nested without end
            raise self._db.damaged() from exc

    def roots(self, deposit: bytes) -> list[SegmentId]:
        """The roots of a deposit id's finished deposits."""
        query = "SELECT root FROM deposit WHERE network = ? AND deposit = ? ORDER BY root"
        return [SegmentId(root) for (root,) in self._db.select(query, (self._network, deposit), bytes)]

    def expiry(self, deposit: bytes) -> int:
        """When the last lease of a deposit id's finished deposits ends, all versions together; 0 if there are none."""
        query = "SELECT COALESCE(MAX(expiry), 0) FROM deposit WHERE network = ? AND deposit = ?"
        ((expiry,),) = self._db.select(query, (self._network, deposit), int)
        found: int = expiry
        return found

    def update(self, row: DepositRow) -> None:
        """Record a renewal."""
        self._save(row)

    def only_in(self, row: DepositRow) -> list[tuple[SegmentId, int]]:
        """(segment, size) of a root's segments that no other root of the same deposit id needs."""
        return self._db.select(
            """SELECT segment, size FROM deposit_segment WHERE network = ?1 AND root = ?2 AND segment NOT IN (
                   SELECT segment FROM deposit_segment JOIN deposit USING (network, root)
                   WHERE network = ?1 AND root != ?2 AND deposit = ?3)""",
            (self._network, row.root, row.deposit),
            bytes, int,
        )  # fmt: skip

    def segments(self, root: SegmentId) -> list[tuple[SegmentId, int]]:
        """(segment, size) of all segments of a root, the root segment included."""
        key = (self._network, root)
        query = "SELECT segment, size FROM deposit_segment WHERE network = ? AND root = ?"
        return self._db.select(query, key, bytes, int)

    def forget(self, root: SegmentId) -> None:
        """Drop the deposits of a root, and the descriptors that no other deposit needs: also those of publishes that
        never ended, which seal anew should they be taken up. What was ever put stays noted: a holder that was away
        may still have it."""
        key = (self._network, root)
        with self._db.transaction():
            self._db.execute("DELETE FROM deposit WHERE network = ? AND root = ?", key)
            self._db.execute("DELETE FROM deposit_segment WHERE network = ? AND root = ?", key)
            self._db.execute(
                """DELETE FROM placed WHERE network = ?1
                   AND segment NOT IN (SELECT segment FROM deposit_segment WHERE network = ?1)""",
                (self._network,),
            )

    def _save(self, row: DepositRow) -> None:
        policy = json.dumps({"spread_countries": row.policy.spread_countries, "avoid": row.policy.avoid})
        self._db.execute(
            """INSERT OR REPLACE INTO deposit
               (network, root, deposit, name, bytes, sequence, expiry, policy, depositor)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                self._network,
                row.root,
                row.deposit,
                row.name,
                row.size,
                row.sequence,
                row.expiry,
                policy,
                row.depositor or b"",
            ),
        )


def _deposit_row(row: tuple[bytes, bytes, str, int, int, int, str, bytes]) -> DepositRow:
    root, deposit, name, size, sequence, expiry, text, key = row
    if len(key) not in (0, KEY_BYTES):
        raise ValueError("not a key")
    depositor = PublicKey(key) if key else None
    match json.loads(text):
        case {"spread_countries": bool(spread), "avoid": [*avoid]} if all(map(_is_country, avoid)):
            policy = Policy(spread, tuple(avoid))
            return DepositRow(SegmentId(root), deposit, name, size, sequence, expiry, policy, depositor)
    raise ValueError("not a policy")


def _is_country(value: object) -> bool:
    return isinstance(value, str) and is_country(value)


class _Database:
    """One connection. Whatever SQLite has to complain about is a matter of this machine: MachineError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(FileExistsError):  # made first: SQLite gives -wal and -shm the mode that the file has
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if path.is_file():
            path.chmod(0o600)
        with self._faults():
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = NORMAL")
            self._prepare()
        except BaseException:  # whatever it was, the file must not stay open
            self._db.close()
            raise

    def _prepare(self) -> None:
        with self.transaction():  # of two processes that come first at once, one makes the tables
            ((version,),) = self.execute("PRAGMA user_version")
            if version in _MISSING:
                for statement in (*_MISSING[version], f"PRAGMA user_version = {_FORMAT}"):
                    self.execute(statement)
            elif version != _FORMAT:
                raise MachineError(
                    f"cannot use the journal {self._path}: it has format {version}, this version reads {_FORMAT}",
                    hint="use the version that wrote it, or move it away, and with it the means to renew and delete",
                )

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement; returns its rows."""
        with self._faults():
            return self._db.execute(sql, values).fetchall()

    def select(self, sql: str, values: Sequence[object], *types: type) -> list[Any]:
        """Run a query; returns its rows, whose columns have these types: in a damaged file they may have any."""
        rows = self.execute(sql, values)
        if any(type(value) is not kind for row in rows for value, kind in zip(row, types, strict=True)):
            raise self.damaged()
        return rows

    def damaged(self) -> MachineError:
        return MachineError(f"the journal {self._path} is damaged", hint="restore it from a backup, or move it away")

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once for every row."""
        with self._faults():
            self._db.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is done, or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:  # undone and passed on, whatever it was
            if self._db.in_transaction:
                self.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with self._faults():
            self._db.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # what SQLite quotes of a damaged file need not be text
            raise MachineError(f"cannot use the journal {self._path}: {exc}") from exc
