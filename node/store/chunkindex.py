"""What a node holds, as a database beside the files: quick to ask, and never the only copy of anything.

SQLite in WAL mode with ``synchronous = NORMAL``: what was written survives the end of the process at any moment; after
a power cut the last rows may be missing, which the comparison with the files at the next start makes good.

Integers of 64 bits are kept as 8 big-endian bytes: SQLite's own have a sign.
"""

import errno
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from node.store.quota import UNIT_BYTES
from node.store.refusal import Refusal
from node.store.transaction import transaction
from protocol.ids import ID_BYTES, ChunkId, NetworkId, SegmentId
from protocol.messages import ErrorCode

FORMAT = 2

_SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE network (id BLOB NOT NULL);
CREATE TABLE chunk (
    segment BLOB NOT NULL, idx INTEGER NOT NULL, id BLOB NOT NULL, length INTEGER NOT NULL,
    bytes INTEGER NOT NULL, depositor BLOB NOT NULL, subnet BLOB,
    PRIMARY KEY (segment, idx)) WITHOUT ROWID;
CREATE TABLE segment (
    segment BLOB NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL, mtime INTEGER NOT NULL, until BLOB) WITHOUT ROWID;
CREATE INDEX segment_until ON segment (until);
CREATE TABLE lease (
    segment BLOB NOT NULL, depositor BLOB NOT NULL, deposit BLOB NOT NULL, sequence BLOB NOT NULL,
    expiry BLOB NOT NULL, deleted INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (segment, depositor, deposit));
CREATE INDEX lease_expiry ON lease (deleted, expiry);
CREATE INDEX lease_depositor ON lease (depositor);
CREATE TABLE folder (prefix INTEGER NOT NULL PRIMARY KEY, mtime INTEGER NOT NULL);
"""
_UNITS = f"(bytes + {UNIT_BYTES - 1}) / {UNIT_BYTES}"
_LEASE_UNITS = f"MAX(1, {_UNITS})"
# Until when a segment's chunks are kept: the latest expiry of a lease that is no deletion, zeros when there is none.
# NULL for a segment of which only deletions are remembered.
_UNTIL = """
    CASE WHEN EXISTS (SELECT 1 FROM chunk WHERE segment = ?1) THEN
        COALESCE((SELECT MAX(expiry) FROM lease WHERE segment = ?1 AND NOT deleted), x'0000000000000000')
    END"""


@dataclass(frozen=True, slots=True)
class HeldChunk:
    """A chunk this node holds."""

    segment: SegmentId
    index: int
    chunk_id: ChunkId
    length: int
    """Plaintext bytes of the segment, as its descriptor says."""


@dataclass(frozen=True, slots=True)
class Account:
    """On whose account a chunk is: shares of the quota are counted by it."""

    depositor: bytes
    """Whose lease it was put under."""
    subnet: bytes | None
    """The public /24 or /48 it came from; None: not counted, or no longer known."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The file of a chunk."""

    size: int
    """Bytes of it."""
    account: Account


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as the index knows it."""

    depositor: bytes
    deposit: bytes
    sequence: int
    expiry: int
    deleted: bool
    data: bytes
    """The signed lease."""

    def live(self, now: float) -> bool:
        """Whether it keeps a chunk."""
        return not self.deleted and self.expiry > now


@dataclass(frozen=True, slots=True)
class LeaseFile:
    """A segment's lease file as it was last written: 0 and 0 when there is none."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is."""

    chunks: int
    segments: int
    depositors: int
    """Those with a lease that they have not deleted."""


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


class ChunkIndex:
    """The database. Calls may come from several threads; each call, and each :meth:`change`, is one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._lock = threading.RLock()
        self.suspect = False
        """Whether the database failed in a way that a full disk does not explain."""

    @classmethod
    def open(cls, path: Path, network: NetworkId) -> Self:
        """Open the database, making it when there is none.

        Raises:
            sqlite3.DatabaseError: It is damaged, or of another format.
            LookupError: It belongs to another network.
        """
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")  # one node to a data folder: no lock for each transaction
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA}")
                db.execute("INSERT INTO network VALUES (?)", (network,))
                db.execute("COMMIT")
            elif version != FORMAT:
                raise sqlite3.DatabaseError(f"index of format {version}")
            if db.execute("SELECT id FROM network").fetchall() != [(network,)]:
                raise LookupError("the index belongs to another network")
        except BaseException:  # whatever it was, the file must not stay open
            db.close()
            raise
        return cls(db)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Everything inside is done, or nothing."""
        with self._lock, transaction(self._db):
            yield

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what the disk or the database says into what a peer is told: a Refusal (full, disk)."""
        try:
            yield
        except OSError as exc:
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
            raise Refusal(ErrorCode.FULL if full else ErrorCode.DISK, exc.strerror or "i/o error") from exc
        except sqlite3.DatabaseError as exc:
            if type(exc) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise  # a mistake in our own SQL
            full = exc.sqlite_errorcode == sqlite3.SQLITE_FULL
            self.suspect = self.suspect or not full
            raise Refusal(ErrorCode.FULL if full else ErrorCode.DISK, f"the index failed: {exc}") from exc

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Chunks

    def chunk(self, segment: bytes, index: int) -> HeldChunk | None:
        query = "SELECT segment, idx, id, length FROM chunk WHERE segment = ? AND idx = ?"
        with self._lock:
            row = self._db.execute(query, (segment, index)).fetchone()
        return row and HeldChunk(*row)

    def chunks(self, segment: bytes) -> list[HeldChunk]:
        query = "SELECT segment, idx, id, length FROM chunk WHERE segment = ? ORDER BY idx"
        with self._lock:
            return [HeldChunk(*row) for row in self._db.execute(query, (segment,))]

    def page(self, after: tuple[bytes, int], limit: int, kept_after: int | None) -> list[HeldChunk]:
        """Chunks behind the (segment, index) ``after``, in order of both.

        Args:
            after: Where to begin.
            limit: Chunks at most.
            kept_after: Only those that a lease keeps beyond this time; None: all.
        """
        query = """
            SELECT segment, idx, id, length FROM chunk
            WHERE (segment, idx) > (?, ?) AND (SELECT until FROM segment AS s WHERE s.segment = chunk.segment) > ?
            ORDER BY segment, idx LIMIT ?"""
        floor = b"" if kept_after is None else _u64(kept_after)
        with self._lock:
            return [HeldChunk(*row) for row in self._db.execute(query, (*after, floor, limit))]

    def chunk_names(self, prefix: int) -> set[tuple[bytes, int]]:
        with self._lock:
            rows = self._db.execute("SELECT segment, idx FROM chunk WHERE segment BETWEEN ? AND ?", _range(prefix))
            return set(rows)

    def count(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT COUNT(*) FROM chunk").fetchone()[0])

    def totals(self) -> Totals:
        """What there is, counted row by row: some 100 ms with 100,000 chunks."""
        with self._lock:
            chunks = self._db.execute("SELECT COUNT(*), COUNT(DISTINCT segment) FROM chunk").fetchone()
            depositors = self._db.execute("SELECT COUNT(DISTINCT depositor) FROM lease WHERE NOT deleted").fetchone()
        return Totals(*chunks, *depositors)

    def charged_bytes(self) -> int:
        """What all files take of the quota."""
        chunks = f"SELECT TOTAL({_UNITS}) FROM chunk"  # noqa: S608 - nothing in it comes from outside
        leases = f"SELECT TOTAL({_LEASE_UNITS}) FROM segment"  # noqa: S608 - likewise
        with self._lock:
            units = sum(self._db.execute(query).fetchone()[0] for query in (chunks, leases))
        return UNIT_BYTES * int(units)

    def accounts(self) -> list[tuple[Account, int, int]]:
        """Who has how much here: an account, its chunks, and the units of 4 KiB that they take."""
        query = f"SELECT depositor, subnet, COUNT(*), SUM({_UNITS}) FROM chunk GROUP BY depositor, subnet"  # noqa: S608 - our own text
        with self._lock:
            return [(Account(row[0], row[1]), row[2], row[3]) for row in self._db.execute(query)]

    def depositors(self, prefix: int) -> list[tuple[bytes, int, int, int, int, bytes | None, bytes | None]]:
        """Of the segments with ids that begin with ``prefix``, for each depositor: segments with chunks on its account,
        those chunks, their units of 4 KiB; its leases, and when the first and the last of these ends."""
        query = f"""
            SELECT depositor, COUNT(DISTINCT segment), COUNT(*), SUM({_UNITS}), 0, NULL, NULL FROM chunk
                WHERE segment BETWEEN ?1 AND ?2 GROUP BY depositor
            UNION ALL SELECT depositor, 0, 0, 0, COUNT(*), MIN(expiry), MAX(expiry) FROM lease
                WHERE segment BETWEEN ?1 AND ?2 AND NOT deleted GROUP BY depositor"""  # noqa: S608 - our own text
        with self._lock:
            return self._db.execute(query, _range(prefix)).fetchall()

    def add_chunk(self, chunk: HeldChunk, stored: Stored) -> None:
        account = stored.account
        row = (
            chunk.segment,
            chunk.index,
            chunk.chunk_id,
            chunk.length,
            stored.size,
            account.depositor,
            account.subnet,
        )
        self._db.execute("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def remove_chunk(self, segment: bytes, index: int) -> Stored | None:
        """Forget a chunk; returns what was known of its file."""
        query = "DELETE FROM chunk WHERE segment = ? AND idx = ? RETURNING bytes, depositor, subnet"
        rows = self._db.execute(query, (segment, index)).fetchall()
        return Stored(rows[0][0], Account(rows[0][1], rows[0][2])) if rows else None

    # What no lease keeps any more

    def ended(self, now: int) -> bytes | None:
        """Of the segments with chunks that no lease keeps, the one whose last lease ended first."""
        query = "SELECT segment FROM segment WHERE until <= ? ORDER BY until LIMIT 1"
        with self._lock:
            row = self._db.execute(query, (_u64(now),)).fetchone()
        return row and bytes(row[0])

    def ended_bytes(self, now: int) -> int:
        """What the segments whose chunks no lease keeps take of the quota."""
        return self._ended_bytes("until <= ?1", (_u64(now),))

    def ended_bytes_of(self, segment: bytes, now: int) -> int:
        """The same of one segment: 0 when a lease keeps it."""
        return self._ended_bytes("until <= ?1 AND segment = ?2", (_u64(now), segment))

    def _ended_bytes(self, where: str, values: tuple[object, ...]) -> int:
        ended = f"(SELECT segment FROM segment WHERE {where})"  # noqa: S608 - our own text
        chunks = f"(SELECT TOTAL({_UNITS}) FROM chunk WHERE segment IN {ended})"  # noqa: S608 - likewise
        leases = f"(SELECT TOTAL({_LEASE_UNITS}) FROM segment WHERE {where})"  # noqa: S608 - likewise
        with self._lock:
            return UNIT_BYTES * int(self._db.execute(f"SELECT {chunks} + {leases}", values).fetchone()[0])

    # Leases

    def lease(self, segment: bytes, depositor: bytes, deposit: bytes) -> HeldLease | None:
        found = self._leases("segment = ? AND depositor = ? AND deposit = ?", (segment, depositor, deposit))
        return found[0] if found else None

    def leases(self, segment: bytes) -> list[HeldLease]:
        return self._leases("segment = ?", (segment,))

    def _leases(self, where: str, values: tuple[object, ...]) -> list[HeldLease]:
        query = f"SELECT depositor, deposit, sequence, expiry, deleted, data FROM lease WHERE {where}"  # noqa: S608 - our own text
        with self._lock:
            rows = self._db.execute(query, values).fetchall()
        return [
            HeldLease(
                row[0], row[1], int.from_bytes(row[2], "big"), int.from_bytes(row[3], "big"), bool(row[4]), row[5]
            )
            for row in rows
        ]

    def due(self, now: int, trash_seconds: int, limit: int) -> list[bytes]:
        """Segments of which something is to be forgotten: deletions when they expire, leases and chunks later."""
        query = """
            SELECT segment FROM lease WHERE deleted = 1 AND expiry <= ?1
            UNION SELECT segment FROM lease WHERE deleted = 0 AND expiry <= ?2
            UNION SELECT segment FROM segment WHERE until <= ?2 LIMIT ?3"""
        with self._lock:
            return [row[0] for row in self._db.execute(query, (_u64(now), _u64(max(0, now - trash_seconds)), limit))]

    def of_depositor(self, depositor: bytes) -> list[bytes]:
        """The segments on which a depositor has a lease, or had one that is remembered."""
        query = "SELECT DISTINCT segment FROM lease WHERE depositor = ?"
        with self._lock:
            return [row[0] for row in self._db.execute(query, (depositor,))]

    def put_lease(self, segment: bytes, lease: HeldLease) -> None:
        row = (
            segment,
            lease.depositor,
            lease.deposit,
            _u64(lease.sequence),
            _u64(lease.expiry),
            lease.deleted,
            lease.data,
        )
        self._db.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def set_leases(self, segment: bytes, leases: Iterable[HeldLease]) -> None:
        """Keep exactly these leases of a segment."""
        self._db.execute("DELETE FROM lease WHERE segment = ?", (segment,))
        for lease in leases:
            self.put_lease(segment, lease)

    # Lease files

    def lease_file(self, segment: bytes) -> LeaseFile | None:
        """None when the segment is not known at all."""
        with self._lock:
            row = self._db.execute("SELECT bytes, mtime FROM segment WHERE segment = ?", (segment,)).fetchone()
        return row and LeaseFile(*row)

    def lease_files(self, prefix: int) -> dict[bytes, LeaseFile]:
        query = "SELECT segment, bytes, mtime FROM segment WHERE segment BETWEEN ? AND ?"
        with self._lock:
            return {row[0]: LeaseFile(row[1], row[2]) for row in self._db.execute(query, _range(prefix))}

    def set_lease_file(self, segment: bytes, file: LeaseFile | None) -> None:
        """Say how the lease file is now; None forgets the segment. To be called last in each change of a segment."""
        if file is None:
            self._db.execute("DELETE FROM segment WHERE segment = ?", (segment,))
        else:
            query = f"INSERT OR REPLACE INTO segment SELECT ?1, ?2, ?3, {_UNTIL}"
            self._db.execute(query, (segment, file.size, file.mtime_ns))

    # Folders

    def take_folders(self) -> dict[int, int]:
        """The folders' modification times at the last orderly close; they are forgotten by this call."""
        with self.change():
            found = dict(self._db.execute("SELECT prefix, mtime FROM folder"))
            self._db.execute("DELETE FROM folder")
        return found

    def keep_folders(self, mtimes: dict[int, int]) -> None:
        with self.change():
            self._db.executemany("INSERT OR REPLACE INTO folder VALUES (?, ?)", mtimes.items())


def _range(prefix: int) -> tuple[bytes, bytes]:
    return bytes([prefix]), bytes([prefix]) + b"\xff" * (ID_BYTES - 1)
