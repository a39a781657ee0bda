"""An account's drive on the network: read, changed, kept (docs/spec/drive.md).

The drive is a deposit like any other; the account's drive name leads to its newest version. Several machines change it
and do not wait for each other: whoever writes reads first, merges, and is told if somebody else was quicker. A change
is on this machine's disk before it is sent, so that nothing is lost if it cannot be sent now.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO

import trio

from node.blocking import Blocking
from node.client import Client
from node.drive.cache import DriveCache, Step
from node.drive.tree import encode_drive
from node.drive.versions import PATH, ends, heard, succeeded, versions, written_by
from node.errors import IntegrityFailure, MachineError, NodeError, NotFoundError, told
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_runs, read_segments
from node.home import Depositor, Home
from node.journal import Journal
from node.keeping.kept import Kept, delete_kept
from node.keeping.lifetime import delete_root
from node.names.reading import Shown, resolve
from node.names.seen import Seen
from node.names.writing import NameConflictError, publish_version
from node.progress import Progress
from node.publishing.content import StreamContent
from node.publishing.publish import Options, begin, publish_run
from protocol.account import AccountKeys
from protocol.drive import MAX_DRIVE_BYTES, Drive
from protocol.drivecache import CachedDrive
from protocol.errors import RemoteProtocolError
from protocol.hashing import digest
from protocol.ids import NetworkId, SegmentId
from protocol.links import Link
from protocol.names import MAX_LIFE_SECONDS, NameKeys, name_id

log = logging.getLogger(__name__)

Change = Callable[[Drive, int], Drive]
"""From a drive and the time (milliseconds since 1970-01-01 UTC) to the changed drive. Called once."""

TRIES = 5
"""How often a change is merged with what other machines have written meanwhile."""
PAUSE_SECONDS = 1.0
"""Half the longest pause before the second try; it doubles with each."""
LEASE_SECONDS = MAX_LIFE_SECONDS
"""Of a version: what its record leads to must be there as long as the record."""
FRESH_SECONDS = LEASE_SECONDS // 2
"""A drive whose leases, or whose record, end sooner is published anew."""
WARN_SECONDS = 30 * 86_400
_TIDY_SECONDS = 15.0
"""What the leases of a version that nobody needs any more may take to be ended: they end by themselves otherwise."""
_LOST = "try again later; if it is lost for good, give it up: archipel drive renew --all --forget-lost"


def open_drive(
    client: Client, home: Home, account: AccountKeys, journal: Journal, cache: DriveCache | None = None
) -> "DriveService":
    """The drive of an account on the client's network, as this home knows it; ``cache`` if that is open already."""
    cache = cache or open_cache(home, account, client.network.id, client.world.random_bytes)
    return DriveService(client, account, cache, journal, Seen(home.names, client.network.id))


def open_cache(
    home: Home, account: AccountKeys, network: NetworkId, random_bytes: Callable[[int], bytes]
) -> DriveCache:
    """What this home remembers of the account's drive on a network: all there is while that cannot be reached."""
    return DriveCache(home.drive(network), account.cache_key, network, random_bytes)


@dataclass(frozen=True, slots=True)
class _Met:
    """What is remembered here, after it was joined with what the network has."""

    cached: CachedDrive
    head: Shown | None = None
    """The newest version there; None: there is none."""
    before: Mapping[bytes, Link] = field(default_factory=dict)
    """Its link, and those of its forks, by the deposit ids of the homes that wrote them."""


@dataclass(slots=True)
class DriveService:
    """The drive of one account, as one command or one node uses it."""

    client: Client
    account: AccountKeys
    cache: DriveCache
    journal: Journal
    seen: Seen
    keys: NameKeys = field(init=False)
    begun: bool = False
    """Whether a new drive was begun, since none was found: one whose keepers are away is joined when they are back."""

    def __post_init__(self) -> None:
        self.keys = NameKeys(self.account.drive_secret)

    @property
    def depositor(self) -> Depositor:
        """Who signs the leases of the drive, and of what is in it."""
        return Depositor(self.account.identity, self.account.convergence_secret, account=True)

    async def read(self) -> CachedDrive:
        """The newest drive there is, with the changes of this machine; it is remembered here.

        Raises:
            NotFoundError: The network has none, or only an older one than this machine has seen.
            NetworkError, IntegrityFailure: It cannot be had.
            MachineError: What is remembered here cannot be used.
        """
        return (await self._join(await resolve(self.client, self.keys.reader, self.seen))).cached

    async def change(self, change: Change) -> CachedDrive:
        """Change the drive: here, then on the network.

        Raises:
            NodeError: As :meth:`remember`, and then nothing was changed; or as :meth:`send`.
        """
        await self.remember(change)
        return await self.send()

    async def remember(self, change: Change) -> CachedDrive:
        """Change the drive here, to be sent with :meth:`send`, or with whatever is sent next.

        Raises:
            RefusedError: It is full; or as ``change`` does. Nothing was changed.
            MachineError: What is remembered here cannot be read or written.
        """
        return await remember(self.cache, change, self.client.world.blocking, self._now_ms())

    async def send(self) -> CachedDrive:
        """Bring what is remembered here to the network, merged with what there is.

        Raises:
            RefusedError: Other machines went on writing meanwhile, or another command of this home did; or nodes
                refuse it.
            NetworkError, NotFoundError, IntegrityFailure: It could not be brought there. It stays remembered here, and
                goes with the next change.
            MachineError: This machine's disk.
        """
        return await self.amend(lambda drive, _: drive)

    async def amend(self, change: Change) -> CachedDrive:
        """Change the newest drive there is, or nothing: what cannot be sent now is not remembered here.

        ``change`` is called again, with what is there then, if another machine was quicker: so it can refuse because of
        what the other one did, and must do nothing to a drive that has its change already.

        Raises:
            NodeError: As :meth:`send`; the drive is as it was, here and there. But an answer may have been lost.
        """
        async with self.cache.sending():
            for number in range(TRIES):
                if number:
                    await trio.sleep(self._pause(number))
                met = await self._meet()
                drive, same = await self.client.world.blocking(_changed, change, met.cached.drive, self._now_ms())
                if same and not self._has_news(met):
                    return met.cached
                try:
                    return await self._publish(met, drive)
                except NameConflictError as exc:
                    conflict = exc
        raise NameConflictError(
            f"other machines changed the drive at the same time, {TRIES} times in a row", hint="run it again later"
        ) from conflict

    def _pause(self, number: int) -> float:
        """Seconds until the next try: random, or all who were in each other's way would be so again."""
        return self.client.random_below(int(1000 * PAUSE_SECONDS) << number) / 1000

    async def keep(self) -> CachedDrive:
        """Have the drive kept: sent if it holds what the network has not, and anew if its leases or its record end
        soon. One that the network has lost is brought back, as this machine remembers it.

        Raises:
            NodeError: As :meth:`read` and :meth:`change`.
        """
        try:
            head = await resolve(self.client, self.keys.reader, self.seen)
        except NotFoundError:
            if not (await self._load()).drive.entries:
                raise
            log.warning("nobody has the newest version of the drive any more: its last copy is published again")
            return await self.send()
        met = await self._join(head)
        return await self.send() if self._has_news(met) else met.cached

    async def replace_lost(self) -> NodeError | None:
        """Publish what is remembered here in the place of the newest version, even if that cannot be read any more.

        Returns:
            Why it could not be read: what only it said is lost. None: nothing is lost.

        Raises:
            NodeError: As :meth:`send`.
        """
        async with self.cache.sending():
            met, lost = await self._meet_lost()
            await self._publish(met, met.cached.drive)
        return lost

    async def _meet_lost(self) -> tuple[_Met, NodeError | None]:
        try:
            head = await resolve(self.client, self.keys.reader, self.seen)
        except NotFoundError as exc:
            return _Met(await self._load()), exc
        try:
            return await self._join(head), None
        except (NodeError, ExceptionGroup) as exc:
            lost = told(exc)
        if isinstance(lost, MachineError):
            raise lost
        return _Met(await self._load(), head), lost

    async def kept(self, cached: CachedDrive) -> Kept:
        """The newest version of the drive, as the deposit it is, to be tended like any other.

        Args:
            cached: As :meth:`read`, :meth:`change` or :meth:`keep` has returned it just now.

        Raises:
            NotFoundError, NetworkError, IntegrityFailure, MachineError: Its name cannot be resolved.
        """
        head = await resolve(self.client, self.keys.reader, self.seen)
        own = versions(cached.drive)[-1]
        return Kept(head.link.verify_link(), own.id, own.content.policy, own.content.expiry)

    async def _meet(self) -> _Met:
        """What is remembered here, joined with the newest version on the network if there is one.

        Raises:
            NotFoundError: There was one, which was never read here: what is sent now would take its place.
        """
        try:
            head = await resolve(self.client, self.keys.reader, self.seen)
        except NotFoundError as exc:
            sight = await self.client.world.blocking(self.seen.get, name_id(self.keys.reader.key))
            cached = await self._load()
            if sight.sequence > cached.sequence and sight.binds(self.client.world.clock.wall()):
                raise NotFoundError(str(exc), hint=_LOST) from exc
            return _Met(cached)
        return await self._join(head)

    async def _join(self, head: Shown) -> _Met:
        """What is remembered here, joined with what a version on the network says; all versions, if it forked."""
        looked = await self._load()
        if head.sequence == looked.sequence and not head.forks and not head.replaced:
            before = written_by(looked.drive, head.link)
            cached = await self._update(partial(_looked, head.sequence, self._now_ms() // 1000))
            return _Met(cached, head, before)
        newest = found = await self._fetch(head.link)
        before = written_by(newest, head.link)
        for fork in head.forks:
            link = replace(head, value=fork).link
            other = await self._fetch(link)
            before.update(written_by(other, link))
            found = await self.client.world.blocking(found.merge, other)
        now_ms = self._now_ms()
        step = partial(heard, looked=looked.sequence, sequence=head.sequence, newest=newest, found=found, now_ms=now_ms)
        return _Met(await self._update(step), head, before)

    def _has_news(self, met: _Met) -> bool:
        """Whether the network has to be told anything."""
        if met.head is None or met.head.forks or met.cached.unsent:
            return True
        return min(ends(met.cached.drive), met.head.expiry) - self.client.world.clock.wall() <= FRESH_SECONDS

    async def _fetch(self, link: Link) -> Drive:
        try:
            return await self._version(link)
        except (NotFoundError, IntegrityFailure) as exc:
            raise type(exc)(f"the drive's newest version cannot be read: {exc}", hint=_LOST) from exc

    async def _version(self, link: Link) -> Drive:
        downloader = Downloader(self.client, Progress())
        manifest = await read_contents(downloader, link)
        size = manifest.content_bytes
        if len(manifest.entries) != 1 or size > MAX_DRIVE_BYTES:
            raise IntegrityFailure("the drive's name leads to something else than a drive")
        parts = []
        async with read_runs(downloader, manifest, [(0, 0, size)] if size else []) as runs:
            async for run in runs:
                parts.append(bytes(run.data))
        try:
            drive: Drive = await self.client.world.blocking(Drive.decode, b"".join(parts))
        except RemoteProtocolError as exc:
            raise IntegrityFailure(f"the drive's name leads to something else than a drive: {exc}") from exc
        return drive

    async def _publish(self, met: _Met, drive: Drive) -> CachedDrive:
        client, now_ms = self.client, self._now_ms()
        blocking = client.world.blocking
        options = Options(lease_seconds=LEASE_SECONDS)
        run = begin(client, self.depositor, self.journal, digest("local", b"drive"), options, Progress())
        terms = run.uploader.terms
        try:
            drive, ended = await blocking(succeeded, drive, met.before, terms.deposit, terms.expiry, now_ms)
            data = await blocking(encode_drive, drive)
            published = await publish_run(run, StreamContent(BytesIO(data), PATH, b""))
        finally:
            self.journal.release(run.attempt)
        expiry = min(terms.expiry, now_ms // 1000 + MAX_LIFE_SECONDS)
        head = met.head
        merged = [] if head is None else [value.hash for value in (head.value, *head.forks) if value is not None]
        written = await publish_version(
            client, self.keys, self.seen, published.link, expiry, archive=False, merged=merged
        )
        step = partial(
            heard, looked=met.cached.sequence, sequence=written.sequence, newest=drive, found=drive, now_ms=now_ms
        )
        self.begun = self.begun or (head is None and not met.cached.sequence)
        cached = await self._update(lambda cached: step(replace(cached, drive=cached.drive.purged(now_ms))))
        await self._tidy(ended, terms.deposit, [published.link, *met.before.values()])
        return cached

    async def _tidy(self, ended: Sequence[Kept], deposit: bytes, needed: Sequence[Link]) -> None:
        """End the leases of versions that nobody reads any more.

        Args:
            ended: Those of other homes, as the drive named them.
            deposit: The deposit id of this home's versions, which are in its journal: also those that no name ever led
                to, because another machine was quicker, or this one was stopped.
            needed: The newest version, and those before it.
        """
        client, journal = self.client, self.journal
        roots = {link.root for link in needed}
        for root in [root for root in journal.roots(deposit) if root not in roots]:
            await self._ending(delete_root(client, self.depositor, journal, root, Progress()))
            journal.forget(root)
        others = [kept for kept in ended if kept.deposit != deposit]
        if not others:
            return
        spare: set[SegmentId] = set()
        with trio.move_on_after(_TIDY_SECONDS):
            try:
                for link in needed[1:]:
                    spare.update(await read_segments(Downloader(client, Progress()), link))
            except (NodeError, ExceptionGroup) as exc:
                log.info("old versions of the drive are kept until their leases end: %s", told(exc))
                return
            for kept in others:
                await self._ending(delete_kept(client, self.depositor, kept, Progress(), spare))

    async def _ending(self, work: Awaitable[object]) -> None:
        """That it fails, or takes too long, matters little: leases end by themselves."""
        with trio.move_on_after(_TIDY_SECONDS):
            try:
                await work
            except (NodeError, ExceptionGroup) as exc:
                log.info("an old version of the drive is kept until its leases end: %s", told(exc))

    async def _load(self) -> CachedDrive:
        cached: CachedDrive = await self.client.world.blocking(self.cache.load)
        return cached

    async def _update(self, step: Step) -> CachedDrive:
        return await self.cache.update(self.client.world.blocking, step)

    def _now_ms(self) -> int:
        return int(self.client.world.clock.wall() * 1000)


async def remember(cache: DriveCache, change: Change, blocking: Blocking, now_ms: int) -> CachedDrive:
    """Change what a home remembers of the drive, to be sent some time.

    Args:
        cache: The copy in the home.
        change: What is to be changed.
        blocking: Takes the work.
        now_ms: Milliseconds since 1970-01-01 UTC.

    Raises:
        NodeError: As :meth:`DriveService.remember`.
    """

    def step(cached: CachedDrive) -> CachedDrive:
        return replace(cached, drive=change(cached.drive, now_ms), unsent=True)

    return await cache.update(blocking, step)


def _changed(change: Change, drive: Drive, now_ms: int) -> tuple[Drive, bool]:
    """The changed drive, and whether it is as it was."""
    changed = change(drive, now_ms)
    return changed, changed == drive


def _looked(sequence: int, now: int, cached: CachedDrive) -> CachedDrive:
    """What is remembered, if the network has nothing else."""
    return replace(cached, seen=now) if cached.sequence == sequence else cached
