"""Files and folders in, a link out: read, seal, place, at most three segments at a time."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

import trio

from node.client import Client
from node.errors import machine_error
from node.home import Depositor
from node.journal import Attempt, DepositRow, Journal
from node.keeping.survival import Holding, Survival, survival
from node.progress import Progress
from node.publishing.source import Source, read_into
from node.publishing.spread import Terms
from node.publishing.stream import Pieces, cut
from node.publishing.upload import Placed, Uploader
from protocol.hashing import Bytes, digest, plain_digest
from protocol.ids import SegmentId
from protocol.leases import DEPOSIT_ID_BYTES, Policy
from protocol.links import Link, LinkKind
from protocol.manifest import MAX_INLINE_BYTES, Entry, Kind, Manifest, SegmentRef, make_root, spill_parts
from protocol.seal import SALT_BYTES, SealedSegment, fresh_secret, plaintext_key, root_key, seal_segment, verify_key
from protocol.segment import SEGMENT_BYTES, Shares

SEGMENTS_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to publish."""

    shares: Shares = Shares()
    lease_seconds: int = 180 * 86400
    policy: Policy = Policy()
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A deposit that is stored whole."""

    link: Link
    bytes: int
    """Of file contents."""
    stored_bytes: int
    """Of chunks, as they lie on the holders' disks."""
    sent_bytes: int
    """Of chunks, sent by this run; less than stored when the network had some."""
    segments: int
    chunks: int
    """n of every segment together."""
    placed: int
    """Chunks that have a holder."""
    seconds: float
    survives: Survival
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


class Content(Protocol):
    """What is published: files of this machine, or a stream."""

    @property
    def identity(self) -> bytes:
        """What tells this source from others when a publish is taken up again."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """What cannot be published, each with its reason."""
        ...

    @property
    def total_bytes(self) -> int | None:
        """Of all files, if that is known beforehand."""
        ...

    def inline(self) -> bytes | None:
        """All of it, when it is short enough to live in the manifest. Blocks."""
        ...

    def segments(self) -> Iterator[bytearray]:
        """The plaintext of each segment, in order. Blocks."""
        ...

    def entries(self) -> tuple[Entry, ...]:
        """The manifest's entries, known once all segments were read."""
        ...


@dataclass(slots=True)
class _Run:
    """One publish under way."""

    client: Client
    uploader: Uploader
    secret: bytes
    shares: Shares
    placed: dict[SegmentId, Placed] = field(default_factory=dict)
    sizes: dict[SegmentId, int] = field(default_factory=dict)
    """Of every segment, stored or on its way."""
    slots: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(SEGMENTS_AHEAD))

    async def send(self, plaintexts: AsyncIterator[Bytes], *, content: bool = True) -> tuple[SegmentRef, ...]:
        """Seal and store segments as they are read; returns them in order once all are stored.

        Args:
            plaintexts: Of segments.
            content: Whether they are bytes of the published files, which the progress counts.
        """
        refs: list[SegmentRef] = []
        repeated = 0
        async with trio.open_nursery() as nursery:
            await self.slots.acquire()
            async for plaintext in plaintexts:
                ref, sealed = await self.client.world.blocking(self._seal, plaintext)
                refs.append(ref)
                if ref.id in self.sizes:
                    repeated += ref.length
                    continue
                self.sizes[ref.id] = ref.length
                nursery.start_soon(self._store, sealed, ref.length if content else 0)
                del plaintext, sealed
                await self.slots.acquire()
            self.slots.release()
        self.uploader.progress.step(done=repeated if content else 0)
        return tuple(refs)

    def _seal(self, plaintext: Bytes) -> tuple[SegmentRef, SealedSegment]:
        key = plaintext_key(self.secret, plaintext)
        sealed = seal_segment(plaintext, key, self.shares)
        return SegmentRef(id=sealed.id, length=len(plaintext), key=key), sealed

    async def _store(self, sealed: SealedSegment, size: int) -> None:
        try:
            self.placed[sealed.id] = await self.uploader.store(sealed, size)
        finally:
            self.slots.release()

    async def send_root(self, manifest: Manifest) -> Link:
        """Store the manifest's own segments, if it needs them, then the root."""
        blocking = self.client.world.blocking
        parts = spill_parts(await blocking(manifest.encode))
        spill = await self.send(_each(parts), content=False) if parts else ()
        root = await blocking(make_root, self.secret, manifest, spill)
        key = root_key(verify_key(root.read_key))
        sealed = await blocking(seal_segment, root.plaintext, key, self.shares)
        await self.slots.acquire()
        await self._store(sealed, len(manifest.inline))
        self.sizes[sealed.id] = len(root.plaintext)
        return Link(LinkKind.READ, sealed.id, root.read_key)


async def _each(parts: Sequence[memoryview]) -> AsyncGenerator[Bytes, None]:
    for part in parts:
        yield part


async def publish(
    client: Client,
    depositor: Depositor,
    journal: Journal,
    content: Content,
    options: Options,
    progress: Progress,
) -> Published:
    """Store ``content`` and return its link. Run again, it sends only what the network lacks.

    Raises:
        MachineError: The source cannot be read or changed meanwhile.
        RefusedError, NetworkError: A segment could not be placed (see :class:`Uploader`).
    """
    started = trio.current_time()
    attempt = _begin(client, journal, content, options)
    secret = depositor.convergence_secret
    if attempt.salt:
        secret = fresh_secret(secret, attempt.salt)
    uploader = Uploader(client, depositor.identity, journal, _terms(client, journal, attempt, options), progress)
    run = _Run(client, uploader, secret, options.shares)
    inline = await client.world.blocking(content.inline)
    refs: tuple[SegmentRef, ...] = ()
    if inline is None:
        async with aclosing(_read_ahead(client, content)) as plaintexts:
            refs = await run.send(plaintexts)
    entries = content.entries()
    link = await run.send_root(Manifest(entries=entries, segments=refs, inline=inline or b""))
    size = sum(entry.size for entry in entries)
    terms = uploader.terms
    row = DepositRow(link.root, terms.deposit, _title(entries), size, terms.sequence, terms.expiry, terms.policy)
    journal.finish(attempt, row, run.sizes.items())
    return _published(run, content, link, size, trio.current_time() - started)


def _begin(client: Client, journal: Journal, content: Content, options: Options) -> Attempt:
    how = f"{options.shares} {options.fresh}".encode()
    source = digest("local", plain_digest(how), content.identity)
    salt = client.world.random_bytes(SALT_BYTES) if options.fresh else b""
    return journal.begin(source, client.world.random_bytes(DEPOSIT_ID_BYTES), salt)


def _terms(client: Client, journal: Journal, attempt: Attempt, options: Options) -> Terms:
    now = client.world.clock.wall()
    expiry = int(now) + options.lease_seconds
    sequence, _ = journal.next_terms(attempt.deposit, int(now * 1000), expiry)
    return Terms(attempt.deposit, sequence, int(now), expiry, options.policy)


async def _read_ahead(client: Client, content: Content) -> AsyncGenerator[Bytes, None]:
    """The plaintexts, each read in a worker thread."""
    segments = content.segments()
    while (plaintext := await client.world.blocking(next, segments, None)) is not None:
        yield plaintext


def _title(entries: Sequence[Entry]) -> str:
    tops = [os.fsdecode(entry.path) for entry in entries if b"/" not in entry.path]
    return ", ".join(tops)[:200].encode("utf-8", "replace").decode()


def _published(run: _Run, content: Content, link: Link, size: int, seconds: float) -> Published:
    placed = list(run.placed.values())
    holdings = [(item.k, [Holding(i, c.node_id, c.country) for i, c in item.holders.items()]) for item in placed]
    notes = list(run.uploader.progress.notes)
    if run.uploader.terms.policy.spread_countries and not all(item.country_bound for item in placed):
        notes.append("too few countries: the loss of one claimed country can lose this deposit")
    return Published(
        link=link,
        bytes=size,
        stored_bytes=sum(item.stored_bytes for item in placed),
        sent_bytes=run.uploader.sent_bytes,
        segments=len(placed),
        chunks=sum(item.n for item in placed),
        placed=sum(len(item.holders) for item in placed),
        seconds=seconds,
        survives=survival(holdings),
        skipped=content.skipped,
        notes=tuple(notes),
    )


class FileContent:
    """Files and folders of this machine."""

    def __init__(self, source: Source, identity: bytes) -> None:
        self._source = source
        self.identity = identity
        self.skipped = source.skipped
        self.total_bytes = source.total_bytes
        self._where: dict[int, tuple[int, int]] = {}

    def inline(self) -> bytes | None:
        if self._source.total_bytes > MAX_INLINE_BYTES:
            return None
        content = bytearray(self._source.total_bytes)
        offset = 0
        for index, entry in enumerate(self._source.entries):
            if entry.kind is Kind.FILE:
                self._where[index] = (0, offset)
                read_into(entry, 0, memoryview(content)[offset : offset + entry.size])
                offset += entry.size
        return bytes(content)

    def segments(self) -> Iterator[bytearray]:
        for position, pieces in enumerate(cut(self._source.entries)):
            yield self._fill(position, pieces)

    def _fill(self, position: int, pieces: Pieces) -> bytearray:
        content = bytearray(sum(piece.size for piece in pieces))
        offset = 0
        for piece in pieces:
            self._where.setdefault(piece.entry, (position, offset))
            target = memoryview(content)[offset : offset + piece.size]
            read_into(self._source.entries[piece.entry], piece.offset, target)
            offset += piece.size
        return content

    def entries(self) -> tuple[Entry, ...]:
        made = []
        for index, entry in enumerate(self._source.entries):
            segment, offset = self._where.get(index, (0, 0)) if entry.size else (0, 0)
            made.append(
                Entry(
                    path=entry.path,
                    kind=entry.kind,
                    executable=entry.executable,
                    mtime_ns=entry.mtime_ns,
                    size=entry.size,
                    segment=segment,
                    offset=offset,
                    target=entry.target,
                )
            )
        return tuple(made)


class ByteStream(Protocol):
    """Where bytes come from once, in order."""

    def read(self, size: int, /) -> bytes:
        """1 to ``size`` bytes, or none at the end. Blocks. Raises OSError."""
        ...


class StreamContent:
    """Bytes that come once, such as standard input. They have no time of their own: mtime 0."""

    skipped: tuple[str, ...] = ()
    total_bytes: int | None = None

    def __init__(self, stream: ByteStream, name: bytes, identity: bytes) -> None:
        self._stream = stream
        self._name = name
        self.identity = identity
        self._head = b""
        self._size = 0

    def inline(self) -> bytes | None:
        self._head = bytes(self._read(MAX_INLINE_BYTES + 1))
        if len(self._head) > MAX_INLINE_BYTES:
            return None
        self._size = len(self._head)
        return self._head

    def _read(self, size: int) -> bytearray:
        """``size`` bytes, or fewer at the end."""
        content = bytearray(self._head)
        self._head = b""
        try:
            while len(content) < size and (more := self._stream.read(size - len(content))):
                content += more
        except OSError as exc:
            raise machine_error("read standard input", exc) from exc
        return content

    def segments(self) -> Iterator[bytearray]:
        while content := self._read(SEGMENT_BYTES):
            self._size += len(content)
            yield content

    def entries(self) -> tuple[Entry, ...]:
        return (Entry(path=self._name, kind=Kind.FILE, size=self._size),)
