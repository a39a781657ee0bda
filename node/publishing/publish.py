"""Files and folders in, a link out: read, hash, seal and place what the network lacks, three segments at a time."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import trio

from node.client import Client
from node.errors import IntegrityFailure, one_error
from node.home import Depositor
from node.journal import Attempt, DepositRow, Journal
from node.keeping.receiptfile import ReceiptBook
from node.keeping.survival import Holding, Survival, survival
from node.progress import Progress
from node.publishing.content import Content, Room
from node.publishing.sealing import Sealer, Segment
from node.publishing.spread import Terms
from node.publishing.upload import Placed, Uploader
from protocol.hashing import digest, plain_digest
from protocol.leases import DEPOSIT_ID_BYTES, Policy
from protocol.links import Link, LinkKind
from protocol.manifest import Entry, Manifest, SegmentRef, make_root, spill_parts
from protocol.seal import SALT_BYTES, fresh_secret, plaintext_key, root_key, verify_key
from protocol.segment import Shares

SEGMENTS_AHEAD = 3
"""Read and not yet placed. More gain nothing, on whatever a publish spends its time, and take memory."""


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


@dataclass(slots=True, repr=False)
class Run:
    """One publish under way."""

    client: Client
    journal: Journal
    attempt: Attempt
    uploader: Uploader
    secret: bytes
    sealer: Sealer
    started: float = field(default_factory=trio.current_time)
    begun: set[bytes] = field(default_factory=set)
    """Keys of all segments, stored or on their way."""
    placed: dict[bytes, Placed] = field(default_factory=dict)
    """By segment key."""
    slots: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(SEGMENTS_AHEAD))

    async def send(self, plaintexts: AsyncIterator[memoryview], *, content: bool = True) -> tuple[SegmentRef, ...]:
        """Store segments as they are read; returns them in order once all are stored.

        Args:
            plaintexts: Of segments.
            content: Whether they are bytes of the published files, which the progress counts, in memory of the sealer.

        Raises:
            NodeError: One, whatever failed at the same time: a plaintext cannot be read, or as :meth:`Uploader.place`.
        """
        wanted: list[tuple[bytes, int]] = []
        repeated = 0
        async with one_error(), trio.open_nursery() as nursery:
            await self.slots.acquire()
            async for plaintext in plaintexts:
                key = await self.client.world.blocking(plaintext_key, self.secret, plaintext)
                wanted.append((key, len(plaintext)))
                segment = self.sealer.segment(key, plaintext, lent=content)
                del plaintext
                if key in self.begun:
                    repeated += segment.layout.length
                    segment.release()
                    continue
                self.begun.add(key)
                nursery.start_soon(self._store, segment, segment.layout.length if content else 0)
                del segment
                await self.slots.acquire()
            self.slots.release()
        repeated = repeated if content else 0
        self.uploader.progress.step(done=repeated, sealed=repeated)
        return tuple(SegmentRef(id=self.placed[key].segment, length=length, key=key) for key, length in wanted)

    async def refer(
        self, refs: Sequence[SegmentRef], opened: Callable[[SegmentRef], Awaitable[Segment]]
    ) -> tuple[SegmentRef, ...]:
        """Have segments of another deposit kept for this one as well. To be called before anything is sent.

        Args:
            refs: The segments, in order.
            opened: Makes of each what :meth:`Sealer.referred` returns.

        Returns:
            What this deposit refers to: as a rule the same.

        Raises:
            IntegrityFailure: Two of the segments have one key.
            NodeError: As :meth:`send`, or what ``opened`` raises.
        """
        wanted: dict[bytes, SegmentRef] = {}
        restored = 0

        async def one(ref: SegmentRef) -> None:
            nonlocal restored
            segment = await opened(ref)
            self.journal.putting(ref.id)  # the network has it: it is to be looked for
            restored += await self._store(segment, ref.length)

        async with one_error(), trio.open_nursery() as nursery:
            for ref in refs:
                if ref.key not in wanted:
                    wanted[ref.key] = ref
                    await self.slots.acquire()
                    nursery.start_soon(one, ref)
                elif wanted[ref.key] == ref:
                    self.uploader.progress.step(done=ref.length, sealed=ref.length)
                else:
                    raise IntegrityFailure("the link leads to something else than a deposit: two segments have one key")
        self.begun |= set(wanted)
        if restored:
            some = "1 segment" if restored == 1 else f"{restored} segments"
            self.uploader.progress.note(f"chunks of {some} were missing: those that found a holder were placed again")
        return tuple(replace(ref, id=self.placed[ref.key].segment) for ref in refs)

    async def _store(self, segment: Segment, size: int) -> bool:
        """Returns whether it had to be sealed, since some of it was missing."""
        try:
            placed, news = await self.uploader.place(segment, size)
            sealed = segment.is_sealed
        finally:
            segment.release()
            self.slots.release()
        await self.uploader.announce(news)
        if len(placed.holders) == placed.n:
            segment.note_placed(placed.descriptor)
        self.placed[segment.key] = placed
        return sealed

    async def finish(self, manifest: Manifest, skipped: tuple[str, ...]) -> Published:
        """Store the table of contents, and record the deposit.

        Args:
            manifest: Whose segments are stored.
            skipped: What is not in it, each with its reason.
        """
        title, size = await self.client.world.blocking(_title_and_size, manifest.entries)
        link = await self._send_root(manifest)
        terms = self.uploader.terms
        row = DepositRow(
            link.root,
            terms.deposit,
            title,
            size,
            terms.sequence,
            terms.expiry,
            terms.policy,
            self.uploader.identity.key,
        )
        segments = [(item.segment, item.descriptor.layout.length) for item in self.placed.values()]
        self.journal.finish(self.attempt, row, segments)
        return _published(self, skipped, link, size, trio.current_time() - self.started)

    async def _send_root(self, manifest: Manifest) -> Link:
        """Store the manifest's own segments, if it needs them, then the root."""
        blocking = self.client.world.blocking
        parts = spill_parts(await blocking(manifest.encode))
        spill = await self.send(_each(parts), content=False) if parts else ()
        root = await blocking(make_root, self.secret, manifest, spill)
        key = root_key(verify_key(root.read_key))
        await self.slots.acquire()
        await self._store(self.sealer.segment(key, root.plaintext, lent=False), len(manifest.inline))
        return Link(LinkKind.READ, self.placed[key].segment, root.read_key)


async def _each(parts: Sequence[memoryview]) -> AsyncGenerator[memoryview, None]:
    for part in parts:
        yield part


async def publish(
    client: Client,
    depositor: Depositor,
    journal: Journal,
    content: Content,
    options: Options,
    progress: Progress,
    book: ReceiptBook | None = None,
) -> Published:
    """Store ``content`` and return its link. Run again, it sends only what the network lacks.

    With a ``book`` the receipts of all holders go there, of chunks that are there already as well.

    Raises:
        MachineError: The source cannot be read or changed meanwhile.
        RefusedError, NetworkError: A segment could not be placed (see :class:`Uploader`).
    """
    return await publish_run(begin(client, depositor, journal, content.identity, options, progress, book), content)


async def publish_run(run: Run, content: Content) -> Published:
    """Store ``content`` in a publish that has begun; then others may begin one of the same. Raises as :func:`publish`
    does."""
    try:
        return await _publish_run(run, content)
    finally:
        run.journal.release(run.attempt)


async def _publish_run(run: Run, content: Content) -> Published:
    inline = await run.client.world.blocking(content.inline)
    refs: tuple[SegmentRef, ...] = ()
    if inline is None:
        async with aclosing(_read_ahead(run.client, content, run.sealer.room)) as plaintexts:
            refs = await run.send(plaintexts)
    entries = await run.client.world.blocking(content.entries)
    return await run.finish(Manifest(entries=entries, segments=refs, inline=inline or b""), content.skipped)


def begin(
    client: Client,
    depositor: Depositor,
    journal: Journal,
    identity: bytes,
    options: Options,
    progress: Progress,
    book: ReceiptBook | None = None,
    *,
    deposit: bytes | None = None,
) -> Run:
    """Start a publish, or take it up again.

    Args:
        client: Who asks.
        depositor: Who signs.
        journal: Where it is noted.
        identity: What tells its source from others.
        options: How to publish.
        progress: Told of all that is stored.
        book: As for :func:`publish`.
        deposit: The deposit id of its leases, 16 bytes, where other machines publish it as well; each publish of one
            ``identity`` names the same. None: one that this home makes up.
    """
    attempt = _attempt(client, depositor, journal, identity, options, deposit)
    secret = depositor.convergence_secret
    if attempt.salt:
        secret = fresh_secret(secret, attempt.salt)
    terms = _terms(client, journal, attempt, options, never_shorter=book is not None)
    uploader = Uploader(client, depositor.identity, journal, terms, progress, book=book)
    return Run(client, journal, attempt, uploader, secret, Sealer(client.world.blocking, journal, options.shares))


def _attempt(
    client: Client, depositor: Depositor, journal: Journal, identity: bytes, options: Options, deposit: bytes | None
) -> Attempt:
    how = f"{options.shares} {options.fresh}".encode()
    if depositor.account:  # another deposit id than the unnamed identity's: it would tell that both are one person
        how += b" " + depositor.identity.key
    source = digest("local", plain_digest(how), identity)
    salt = client.world.random_bytes(SALT_BYTES) if options.fresh else b""
    return journal.begin(source, deposit or client.world.random_bytes(DEPOSIT_ID_BYTES), salt)


def _terms(client: Client, journal: Journal, attempt: Attempt, options: Options, *, never_shorter: bool) -> Terms:
    """What the leases say. For a receipt a holder is given the lease again, also one that it has for longer."""
    now = client.world.clock.wall()
    expiry = int(now) + options.lease_seconds
    if never_shorter:
        expiry = max(expiry, journal.expiry(attempt.deposit))
    sequence, _ = journal.next_terms(attempt.deposit, int(now * 1000), expiry)
    return Terms(attempt.deposit, sequence, int(now), expiry, options.policy)


async def _read_ahead(client: Client, content: Content, room: Room) -> AsyncGenerator[memoryview, None]:
    """The plaintexts, each read in a worker thread."""
    segments = content.segments(room)
    while (plaintext := await client.world.blocking(next, segments, None)) is not None:
        yield plaintext


def _title_and_size(entries: Sequence[Entry]) -> tuple[str, int]:
    """The deposit's title and the size of its files: a second's work, for a million."""
    tops = [os.fsdecode(entry.path) for entry in entries if b"/" not in entry.path]
    title = ", ".join(tops)[:200].encode("utf-8", "replace").decode()
    return title, sum(entry.size for entry in entries)


def _published(run: Run, skipped: tuple[str, ...], link: Link, size: int, seconds: float) -> Published:
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
        skipped=skipped,
        notes=tuple(notes),
    )
