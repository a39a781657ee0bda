"""Receipt and evidence files on this machine: written whole or not at all, read one frame at a time."""

import fcntl
import mmap
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from node.blocking import Blocking
from node.errors import ConfigError, IntegrityFailure, NetworkError, RefusedError, machine_error
from node.fetching.staging import exists, staging_name
from protocol.errors import IntegrityError, ProtocolError, SignatureError, WrongNetworkError
from protocol.ids import NetworkId, PublicKey
from protocol.receipts import (
    CheckedPromises,
    Promises,
    Proof,
    begin_file,
    end_file,
    promises_frame,
    read_evidence,
    read_receipts,
)
from protocol.records import Receipt
from protocol.segment import Descriptor

_BUFFER_BYTES = 64 * 1024


class NewFile:
    """A file on its way, in ``PATH.part`` until it is whole. Readable by its owner alone."""

    def __init__(self, path: Path, first_line: bytes, network: NetworkId) -> None:
        """Find out now whether the file can be written.

        Raises:
            RefusedError: ``path`` exists, or another command is writing it.
            MachineError: It cannot be written.
        """
        self._path = path
        if not path.name or exists(path):
            raise RefusedError(f"{str(path)!r} exists", hint="name another file, or move that one away")
        self._part = path.with_name(staging_name(path.name))
        with _faults("write", path):
            handle = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                self._claim(handle, first_line)
                os.ftruncate(handle, 0)
                os.fchmod(handle, 0o600)
            except BaseException:
                os.close(handle)
                raise
            self._file = os.fdopen(handle, "w+b", _BUFFER_BYTES)
        self.add(begin_file(first_line, network))

    def _claim(self, handle: int, first_line: bytes) -> None:
        """Lock the part, which a command that was killed may have left, if it is one of ours."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            moved = not os.path.samestat(os.fstat(handle), os.lstat(self._part))
        except (BlockingIOError, FileNotFoundError):
            moved = True
        if moved:
            raise RefusedError(f"another command is writing {str(self._path)!r}", hint="wait for it, or name another")
        ours = stat.S_ISREG(os.fstat(handle).st_mode) and os.pread(handle, len(first_line), 0) in (b"", first_line)
        if not ours:
            raise RefusedError(f"{str(self._part)!r} is in the way", hint="it is not ours: move it away")

    def add(self, data: bytes) -> None:
        """Append. Blocks: for a worker thread; several may at once. Raises MachineError."""
        with _faults("write", self._path):
            self._file.write(data)

    def finish(self) -> None:
        """Put what was added on the disk, under its name.

        Raises:
            RefusedError: Somebody else has put a file there.
            MachineError: It cannot be written.
        """
        with _faults("write", self._path):
            self._file.flush()
            with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end = end_file(memoryview(content))
            self._file.write(end)
            self._file.flush()
            os.fsync(self._file.fileno())
            if exists(self._path):
                raise RefusedError(
                    f"{str(self._path)!r} exists", hint="it appeared meanwhile; run it again with another file"
                )
            os.rename(self._part, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Release the file; what is unfinished is removed."""
        with suppress(OSError):  # what could not be written is not wanted any more
            if os.path.samestat(os.fstat(self._file.fileno()), os.lstat(self._part)):
                os.unlink(self._part)
        with suppress(OSError):
            self._file.close()


@contextmanager
def new_file(path: Path, first_line: bytes, network: NetworkId) -> Iterator[NewFile]:
    """A file to be added to, and finished; if it is not, nothing is left of it. Raises as :class:`NewFile` does."""
    file = NewFile(path, first_line, network)
    try:
        yield file
    finally:
        file.close()


@dataclass(slots=True)
class ReceiptBook:
    """The receipts of one publish, on their way into a file."""

    file: NewFile
    receipts: int = 0
    holders: set[PublicKey] = field(default_factory=set)

    async def add(
        self, blocking: Blocking, descriptor: Descriptor, expiry: int, receipts: Mapping[int, tuple[PublicKey, bytes]]
    ) -> None:
        """Write what the holders of one segment signed.

        Args:
            blocking: Where the disk is waited for.
            descriptor: Of the segment.
            expiry: Of the lease that was asked for.
            receipts: Holder and signed receipt, by chunk index; checked.

        Raises:
            MachineError: It cannot be written.
        """
        ordered = tuple(receipts[index][1] for index in sorted(receipts))
        frame = promises_frame(Promises(descriptor=descriptor.encode(), expiry=expiry, receipts=ordered))
        await blocking(self.file.add, frame)
        self.receipts += len(receipts)
        self.holders.update(key for key, _ in receipts.values())


@contextmanager
def _faults(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        exc.filename = exc.filename or str(path)  # a disk that is full does not say where
        raise machine_error(doing, exc) from exc


def _map(path: Path) -> memoryview:
    """The bytes of a file without reading them. Raises ConfigError, MachineError."""
    with _faults("read", path):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{str(path)!r} is not a file")
            # Closed with the last view of it. An empty file cannot be mapped.
            return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ) if found.st_size else b"")
        finally:
            os.close(handle)


@contextmanager
def _verdict(path: Path) -> Iterator[None]:
    """What is wrong with a file, told to a person."""
    try:
        yield
    except WrongNetworkError as exc:
        raise NetworkError(f"{str(path)!r}: {exc}", hint="name its network: --network NAME") from exc
    except (IntegrityError, SignatureError) as exc:
        raise IntegrityFailure(f"{str(path)!r} is not to be believed: {exc}") from exc
    except ProtocolError as exc:
        raise ConfigError(f"{str(path)!r} cannot be read: {exc}") from exc


def promises_in(path: Path, network: NetworkId) -> Iterator[CheckedPromises]:
    """The segments of a receipt file, everything about them checked.

    Raises:
        IntegrityFailure: A signature or hash is wrong.
        ConfigError: It is not a receipt file, or malformed.
        NetworkError: It is one of another network.
        MachineError: It cannot be read.
    """
    with _verdict(path):
        yield from read_receipts(_map(path), network)


@dataclass(slots=True)
class Signer:
    """One holder that signed receipts."""

    countries: set[str] = field(default_factory=set)
    """Claimed in them; more than one, if it changed its word."""
    receipts: int = 0
    until: int = 0
    """When the first of them ends, seconds since 1970-01-01 UTC."""


@dataclass(slots=True)
class Summary:
    """What a receipt file comes to."""

    segments: int = 0
    bytes: int = 0
    """Of plaintext, in these segments."""
    chunks: int = 0
    """n of every segment together."""
    receipts: int = 0
    countries: Counter[str] = field(default_factory=Counter)
    """Receipts by claimed country."""
    signers: dict[PublicKey, Signer] = field(default_factory=dict)
    first: int = 0
    """When the first receipt ends, seconds since 1970-01-01 UTC."""
    last: int = 0
    expired: int = 0
    shortened: int = 0
    """Receipts that end before the lease that was asked for."""

    def add(self, promises: CheckedPromises, now: float) -> None:
        """Count one segment."""
        layout = promises.descriptor.layout
        self.segments += 1
        self.bytes += layout.length
        self.chunks += layout.n
        for receipt, _ in promises.receipts:
            self.receipts += 1
            self.countries[receipt.country] += 1
            self.first = min(self.first or receipt.expiry, receipt.expiry)
            self.last = max(self.last, receipt.expiry)
            self.expired += receipt.expiry <= now
            self.shortened += receipt.expiry < promises.expiry
            signer = self.signers.setdefault(receipt.key, Signer())
            signer.countries.add(receipt.country)
            signer.receipts += 1
            signer.until = min(signer.until or receipt.expiry, receipt.expiry)


def sum_up(path: Path, network: NetworkId, now: float) -> Summary:
    """Check all of a receipt file. Blocks: for a worker thread. Raises as :func:`promises_in` does."""
    summary = Summary()
    for promises in promises_in(path, network):
        summary.add(promises, now)
    return summary


def convicted(path: Path, evidence: Path, network: NetworkId) -> list[tuple[Receipt, Proof]]:
    """The receipts of a file against whose signers ``evidence`` has proof, each once, with the last proof of them.

    Raises:
        IntegrityFailure: A proof is wrong, or is about a receipt that is not in the file.
        ConfigError, NetworkError, MachineError: As :func:`promises_in` does, of either file.
    """
    with _verdict(evidence):
        accused = {proof.receipt: (receipt, proof) for receipt, proof in read_evidence(_map(evidence), network)}
    wanted = set(accused)
    segments = {receipt.segment for receipt, _ in accused.values()}
    for promises in promises_in(path, network):
        if promises.descriptor.id in segments:
            wanted.difference_update(data for _, data in promises.receipts)
    if wanted:
        raise IntegrityFailure(f"{str(evidence)!r}: {len(wanted)} of its receipts are not in {str(path)!r}")
    return sorted(accused.values(), key=lambda found: (found[0].key, found[0].segment, found[0].index))
