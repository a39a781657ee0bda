"""An account's drive on the network: read, changed, kept (docs/spec/drive.md).

The drive is a deposit like any other; the account's drive name leads to its newest version. Several machines change it
and do not wait for each other: whoever writes reads first, merges, and is told if somebody else was quicker. A change
is on this machine's disk before it is sent, so that nothing is lost if it cannot be sent now.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO

import trio

from node.client import Client
from node.drive.cache import DriveCache
from node.drive.tree import encode_drive
from node.errors import IntegrityFailure, NodeError, NotFoundError
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_runs
from node.home import Depositor, Home
from node.journal import Journal
from node.keeping.kept import Kept, delete_kept
from node.names.reading import Shown, resolve
from node.names.seen import Seen
from node.names.writing import NameConflictError, publish_version
from node.progress import Progress
from node.publishing.content import StreamContent
from node.publishing.publish import Options, begin, publish_run
from protocol.account import AccountKeys
from protocol.drive import MAX_DRIVE_BYTES, Content, Drive, DriveEntry, EntryKind, deposit_entry
from protocol.drivecache import CachedDrive
from protocol.errors import RemoteProtocolError
from protocol.hashing import digest
from protocol.ids import NetworkId
from protocol.links import Link, link_payload
from protocol.names import MAX_LIFE_SECONDS, NameKeys

log = logging.getLogger(__name__)

Change = Callable[[Drive, int], Drive]
"""From a drive and the time (milliseconds since 1970-01-01 UTC) to the changed drive. Called once."""

TRIES = 5
"""How often a change is merged with what other machines have written meanwhile."""
LEASE_SECONDS = 180 * 86_400
FRESH_SECONDS = LEASE_SECONDS // 2
"""A drive whose leases end sooner is published anew."""
WARN_SECONDS = 30 * 86_400
_TIDY_SECONDS = 15.0
"""What the leases of a version that nobody needs any more may take to be ended: they end by themselves otherwise."""
_PATH = b"drive"


def open_drive(client: Client, home: Home, account: AccountKeys, journal: Journal) -> "DriveService":
    """The drive of an account on the client's network, as this home knows it."""
    cache = open_cache(home, account, client.network.id, client.world.random_bytes)
    return DriveService(client, account, cache, journal, Seen(home.names, client.network.id))


def open_cache(
    home: Home, account: AccountKeys, network: NetworkId, random_bytes: Callable[[int], bytes]
) -> DriveCache:
    """What this home remembers of the account's drive on a network: all there is while that cannot be reached."""
    return DriveCache(home.drive(network), account.cache_key, network, random_bytes)


@dataclass(slots=True)
class DriveService:
    """The drive of one account, as one command or one node uses it."""

    client: Client
    account: AccountKeys
    cache: DriveCache
    journal: Journal
    seen: Seen
    keys: NameKeys = field(init=False)

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
        return await self._with(await resolve(self.client, self.keys.reader, self.seen))

    async def change(self, change: Change) -> CachedDrive:
        """Change the drive: here, then on the network.

        Raises:
            RefusedError: Other machines went on writing meanwhile; or nodes refuse it; or ``change`` does.
            NetworkError, NotFoundError, IntegrityFailure: It could not be brought to the network. It is remembered
                here, and goes with the next change.
            MachineError: This machine's disk.
        """
        async with self.cache.locked():
            cached = await self._load()
            changed = change(cached.drive, self._now_ms())
            await self._save(replace(cached, drive=changed, unsent=True))
            return await self._send()

    async def amend(self, change: Change) -> CachedDrive:
        """Change the newest drive there is, or nothing: what cannot be sent now is not remembered here.

        ``change`` is called again, with what is there then, if another machine was quicker: so it can refuse because of
        what the other one did, and must do nothing to a drive that has its change already.

        Raises:
            NodeError: As :meth:`change`; the drive is as it was, here and there. But an answer may have been lost.
        """
        async with self.cache.locked():
            for left in reversed(range(TRIES)):
                head = await self._head()
                cached = await self._load() if head is None else await self._with(head)
                changed = change(cached.drive, self._now_ms())
                if changed == cached.drive and not cached.unsent and head is not None and not head.forks:
                    return cached
                try:
                    return await self._publish(replace(cached, drive=changed), head)
                except NameConflictError:
                    if not left:
                        raise
        raise AssertionError("the last try returns or raises")

    async def keep(self) -> CachedDrive:
        """Have the drive kept: sent if it holds what the network has not, and anew if its leases end soon. One that
        the network has lost is brought back, as this machine remembers it.

        Raises:
            NodeError: As :meth:`read` and :meth:`change`.
        """
        async with self.cache.locked():
            try:
                cached = await self.read()
            except NotFoundError:
                if not (await self._load()).drive.entries:
                    raise
                log.warning("nobody has the newest version of the drive any more: its last copy is published again")
                return await self._send()
            if not cached.unsent and ends(cached.drive) - self.client.world.clock.wall() > FRESH_SECONDS:
                return cached
            return await self._send()

    async def kept(self, cached: CachedDrive) -> Kept:
        """The newest version of the drive, as the deposit it is, to be tended like any other.

        Args:
            cached: As :meth:`read`, :meth:`change` or :meth:`keep` has returned it just now.

        Raises:
            NotFoundError, NetworkError, IntegrityFailure, MachineError: Its name cannot be resolved.
        """
        head = await resolve(self.client, self.keys.reader, self.seen)
        own = _versions(cached.drive)[-1]
        return Kept(head.link.verify_link(), own.id, own.content.policy, own.content.expiry)

    async def _send(self) -> CachedDrive:
        """Publish what is remembered here, merged with what there is."""
        for left in reversed(range(TRIES)):
            head = await self._head()
            cached = await self._load() if head is None else await self._with(head)
            try:
                return await self._publish(cached, head)
            except NameConflictError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _head(self) -> Shown | None:
        """The newest version on the network; None: there is none newer than what is remembered here."""
        try:
            return await resolve(self.client, self.keys.reader, self.seen)
        except NotFoundError:
            return None

    async def _with(self, head: Shown) -> CachedDrive:
        """What is remembered here, and what a version on the network says besides; both versions, if it forked."""
        cached = await self._load()
        if head.sequence == cached.sequence and not head.forks and not head.replaced:
            drive, unsent = cached.drive, cached.unsent
        else:
            assert head.value is not None
            newest = drive = await self._fetch(head.link)
            for fork in head.forks:
                drive = drive.merge(await self._fetch(replace(head, value=fork).link))
            drive = drive.merge(cached.drive)
            unsent = drive != newest
        found = CachedDrive(drive=drive, sequence=head.sequence, seen=self._now_ms() // 1000, unsent=unsent)
        await self._save(found)
        return found

    async def _fetch(self, link: Link) -> Drive:
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

    async def _publish(self, cached: CachedDrive, head: Shown | None) -> CachedDrive:
        client, now_ms = self.client, self._now_ms()
        options = Options(lease_seconds=LEASE_SECONDS)
        run = begin(client, self.depositor, self.journal, digest("local", b"drive"), options, Progress())
        terms = run.uploader.terms
        drive, ended = _succeeded(
            cached.drive, None if head is None else head.link, terms.deposit, terms.expiry, now_ms
        )
        drive = drive.purged(now_ms)
        data = await client.world.blocking(encode_drive, drive)
        published = await publish_run(run, StreamContent(BytesIO(data), _PATH, b""))
        expiry = now_ms // 1000 + MAX_LIFE_SECONDS
        merged = [] if head is None else [value.hash for value in (head.value, *head.forks) if value is not None]
        written = await publish_version(
            client, self.keys, self.seen, published.link, expiry, archive=False, merged=merged
        )
        cached = CachedDrive(drive=drive, sequence=written.sequence, seen=now_ms // 1000)
        await self._save(cached)
        await self._tidy(ended)
        return cached

    async def _tidy(self, ended: list[Kept]) -> None:
        """End the leases of versions that have had a successor for a while: nobody is reading them any more."""
        with trio.move_on_after(_TIDY_SECONDS):
            for kept in ended:
                try:
                    await delete_kept(self.client, self.depositor, kept, Progress())
                except NodeError as exc:
                    log.info("an old version of the drive is kept until its leases end: %s", exc)
                self.journal.forget(kept.link.root)

    async def _load(self) -> CachedDrive:
        cached: CachedDrive = await self.client.world.blocking(self.cache.load)
        return cached

    async def _save(self, cached: CachedDrive) -> None:
        await self.client.world.blocking(self.cache.save, cached)

    def _now_ms(self) -> int:
        return int(self.client.world.clock.wall() * 1000)


def _versions(drive: Drive) -> list[DriveEntry]:
    """The entries of the drive's own versions, one for each home that wrote any; the last is that of the newest."""
    found = [entry for entry in drive.entries if entry.kind is EntryKind.DRIVE and entry.live]
    return sorted(found, key=lambda entry: entry.place)


def ends(drive: Drive) -> int:
    """When the leases of the newest version end, seconds since 1970-01-01 UTC; 0: not known."""
    versions = _versions(drive)
    return versions[-1].content.expiry if versions else 0


def _succeeded(drive: Drive, before: Link | None, deposit: bytes, expiry: int, now_ms: int) -> tuple[Drive, list[Kept]]:
    """The drive as it is to be written next, and the versions whose leases are to be ended then.

    Args:
        drive: All that is to be in it.
        before: The version that is to have a successor, if there is one.
        deposit: The deposit id of this home's versions.
        expiry: When the leases of the next version end.
        now_ms: Milliseconds since 1970-01-01 UTC.
    """
    versions = _versions(drive)
    ended = [
        Kept(link=link, deposit=entry.id, policy=entry.content.policy, expiry=entry.content.expiry)
        for entry in versions
        if isinstance(link := entry.link, Link) and link != before
    ]
    changed = [entry.updated(replace(entry.content, link=b""), now_ms) for entry in versions if entry.content.link]
    if before is not None and versions:  # whoever wrote it could not know its link
        newest = next((entry for entry in changed if entry.id == versions[-1].id), versions[-1])
        changed.append(newest.updated(replace(newest.content, link=link_payload(before)), now_ms))
    drive = drive.merge(Drive.of(changed))
    own = drive.by_id().get(deposit)
    if own is None:
        own = deposit_entry(EntryKind.DRIVE, deposit, _PATH, Content(), now_ms)
    content = replace(own.content, time=now_ms // 1000, expiry=expiry)
    return drive.merge(Drive.of([own.moved(_PATH, now_ms).updated(content, now_ms)])), ended
