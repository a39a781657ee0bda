"""Bringing the index and the files of a chunk store together at start.

The files are the truth. At an orderly close the index notes each folder's modification time; a folder that still has
it needs no look, so that a start after a close costs 256 ``stat`` calls at most, however many chunks there are. After a
crash the names in every folder are compared with the index, and only what differs is opened. A missing or damaged index
is the same case with nothing in it.
"""

import logging
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from node.errors import ConfigError, machine_error
from node.store.chunkfile import (
    MAX_LEASES,
    ChunkFile,
    DamagedError,
    Paths,
    pack_leases,
    parse_name,
    read_leases,
    replace_file,
    sync_folder,
)
from node.store.chunkindex import Account, ChunkIndex, HeldChunk, HeldLease, LeaseFile, Stored
from protocol.errors import RemoteProtocolError, WrongNetworkError
from protocol.ids import NetworkId, SegmentId, short
from protocol.leases import open_lease

log = logging.getLogger(__name__)

_FOLDERS = {f"{prefix:02x}": prefix for prefix in range(256)}
# What SQLite quotes of a damaged file in its message need not be text.
_DAMAGED_INDEX = (sqlite3.DatabaseError, UnicodeDecodeError)


def prepare_folders(paths: Paths) -> None:
    """Make the folders that are missing, and empty tmp/.

    Raises:
        MachineError: The disk says no.
    """
    try:
        paths.tmp.mkdir(parents=True, exist_ok=True, mode=0o700)
        for draft in paths.tmp.iterdir():
            draft.unlink()
        paths.chunks.mkdir(exist_ok=True, mode=0o700)
        sync_folder(paths.root)
    except OSError as exc:
        raise machine_error("prepare the data folder", exc) from exc


def open_index(paths: Paths, network: NetworkId) -> ChunkIndex:
    """The index, agreeing with the files.

    Raises:
        MachineError: The disk says no.
        ConfigError: The folder holds the chunks of another network.
    """
    try:
        try:
            return _open_and_compare(paths, network)
        except _DAMAGED_INDEX as exc:
            log.warning("making the index anew from the files: %s", exc)
            _unlink_index(paths)
            return _open_and_compare(paths, network)
    except OSError as exc:
        raise machine_error("read the data folder", exc) from exc
    except sqlite3.DatabaseError as exc:
        raise machine_error("make the index", OSError(str(exc))) from exc
    except (LookupError, WrongNetworkError) as exc:
        if isinstance(exc, WrongNetworkError):
            _unlink_index(paths)  # it was made just now, under the wrong name
        raise ConfigError(
            f"{paths.root} holds the chunks of another network",
            hint="give each network a data folder of its own",
        ) from exc


def _unlink_index(paths: Paths) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{paths.index}{suffix}").unlink(missing_ok=True)


def folder_mtimes(paths: Paths) -> dict[int, int]:
    """When each folder of chunks last changed, in nanoseconds; nothing for those that are not there."""
    mtimes = {}
    for name in sorted(_FOLDERS.keys() & os.listdir(paths.chunks)):
        with suppress(FileNotFoundError):
            mtimes[_FOLDERS[name]] = (paths.chunks / name).stat().st_mtime_ns
    return mtimes


def _open_and_compare(paths: Paths, network: NetworkId) -> ChunkIndex:
    index = ChunkIndex.open(paths.index, network)
    try:
        noted = index.take_folders()
        now = folder_mtimes(paths)
        # A new store has neither files nor anything in its index: 256 comparisons of nothing would take 10 ms.
        for prefix in _FOLDERS.values() if noted or index.charged_bytes() else now:
            if not noted or noted.get(prefix) != now.get(prefix):
                with index.change():
                    _Comparison(paths, network, index).run(prefix)
    except BaseException:  # whatever it was, the database must not stay open
        index.close()
        raise
    return index


class _Comparison:
    """One folder against the index, inside one transaction."""

    def __init__(self, paths: Paths, network: NetworkId, index: ChunkIndex) -> None:
        self._paths = paths
        self._network = network
        self._index = index

    def run(self, prefix: int) -> None:
        chunks: dict[SegmentId, set[int]] = defaultdict(set)
        lease_files: set[SegmentId] = set()
        folder = self._paths.folder(prefix)
        for name in os.listdir(folder) if folder.exists() else ():
            parsed = parse_name(name)
            if parsed is None:
                log.warning("%s is no file of ours", folder / name)
            elif parsed[1] is None:
                lease_files.add(parsed[0])
            else:
                chunks[parsed[0]].add(parsed[1])
        known: dict[SegmentId, set[int]] = defaultdict(set)
        for segment, index in self._index.chunk_names(prefix):
            known[SegmentId(segment)].add(index)
        files = self._index.lease_files(prefix)
        for segment in {*chunks, *known, *lease_files, *map(SegmentId, files)}:
            noted = files.get(segment, None)
            same = noted is not None and noted == self._stat_leases(segment, segment in lease_files)
            if not same or chunks.get(segment) != known.get(segment):
                self._mend(segment, chunks.get(segment, set()), known.get(segment, set()))

    def _stat_leases(self, segment: SegmentId, present: bool) -> LeaseFile:
        if not present:
            return LeaseFile(0, 0)
        stat = self._paths.leases(segment).stat()
        return LeaseFile(stat.st_size, stat.st_mtime_ns)

    def _mend(self, segment: SegmentId, present: set[int], known: set[int]) -> None:
        """Make the index say what the files of ``segment`` say; what only the index knew of leases is kept."""
        on_disk: list[HeldLease] = self._read_lease_file(segment)
        for index in known - present:
            self._index.remove_chunk(segment, index)
        left = present & known
        for index in present - known:
            lease = self._take_chunk(segment, index)
            if lease is not None:
                left.add(index)
                on_disk.append(lease)
        leases = _newest([*self._index.leases(segment), *on_disk])
        if not left:
            leases = [lease for lease in leases if lease.deleted]
        path = self._paths.leases(segment)
        if not left and not leases:
            path.unlink(missing_ok=True)
        elif not set(leases) <= set(on_disk):
            data = pack_leases(lease.data for lease in leases)
            replace_file(self._paths.tmp / "mend", data, path)
        self._index.set_leases(segment, leases)
        file = self._stat_leases(segment, path.exists()) if left or leases else None
        self._index.set_lease_file(segment, file)
        log.info("mended segment %s: %d chunks, %d leases", short(segment), len(left), len(leases))

    def _take_chunk(self, segment: SegmentId, index: int) -> HeldLease | None:
        """Index a chunk that the index did not know; one that is damaged is removed, since it can never be served."""
        path = self._paths.chunk(segment, index)
        try:
            file = ChunkFile.open(path, segment, index)
            file.close()
            lease = self._open_lease(file.trailer.lease, segment)
            if lease is None:
                raise DamagedError("its lease does not verify")
        except DamagedError as exc:
            log.warning("%s is damaged and has been removed: %s", path.name, exc)
            path.unlink(missing_ok=True)
            return None
        descriptor = file.descriptor
        chunk = HeldChunk(segment, index, descriptor.chunk_ids[index], descriptor.layout.length)
        # the files do not say whence a chunk came: after the loss of an index no neighbourhood is charged for it
        self._index.add_chunk(chunk, Stored(file.size, Account(lease.depositor, None)))
        return lease

    def _read_lease_file(self, segment: SegmentId) -> list[HeldLease]:
        try:
            found = read_leases(self._paths.leases(segment))
        except FileNotFoundError:
            return []
        except DamagedError as exc:
            log.warning("a lease file is damaged: %s", exc)
            return []
        opened = (self._open_lease(data, segment) for data in found)
        return [lease for lease in opened if lease is not None]

    def _open_lease(self, data: bytes, segment: SegmentId) -> HeldLease | None:
        try:
            lease = open_lease(data, self._network)
        except WrongNetworkError:
            raise  # not damage: an operator's mistake, and no reason to remove anything
        except RemoteProtocolError:
            return None
        if lease.segment != segment:
            return None
        return HeldLease(lease.depositor, lease.deposit, lease.sequence, lease.expiry, lease.deleted, data)


def _newest(leases: Iterable[HeldLease]) -> list[HeldLease]:
    """One lease for each (depositor, deposit): the one with the highest sequence."""
    best: dict[tuple[bytes, bytes], HeldLease] = {}
    for lease in leases:
        known = best.get((lease.depositor, lease.deposit))
        if known is None or lease.sequence > known.sequence:
            best[lease.depositor, lease.deposit] = lease
    return sorted(best.values(), key=lambda lease: (lease.deleted, -lease.expiry))[:MAX_LEASES]
