"""A folder of this machine and a deposit in the drive: what is around a sync (node/syncing/sync.py).

All machines of an account publish a synced folder under one deposit id, so that it is one thing in the drive, and
whoever publishes does so only if the drive has what this machine has just looked at.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from node.drive.entries import kept_of, published_entry
from node.drive.service import DriveService
from node.drive.tree import Tree, put
from node.errors import NotFoundError, RefusedError
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.home import Home
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options, Published, begin, publish_run
from node.publishing.source import Source
from node.syncing.state import SyncState
from node.syncing.sync import Synced, sync
from protocol.drive import Drive, DriveEntry, EntryKind
from protocol.hashing import digest
from protocol.links import Link


@dataclass(slots=True)
class DriveSync:
    """One sync with a path of the drive."""

    service: DriveService
    path: bytes
    """In the drive."""
    entry: DriveEntry | None
    """What is there; None: nothing yet."""
    folder: Path
    """Absolute, with no symbolic link in it."""
    progress: Progress
    published: Published | None = None
    """What went up."""

    async def publish(self, source: Source) -> Link:
        """Store the folder as listed, and make it what the drive has at the path.

        Raises:
            RefusedError: Another machine has changed it since this one looked.
            NodeError: As ``publish``, and as :meth:`DriveService.amend`.
        """
        service, old = self.service, self.entry
        journal, options = service.journal, Options()
        identity = digest("local", b"sync", os.fsencode(self.folder), self.path)
        deposit = None
        if old is not None:
            identity, deposit = digest("local", b"sync", old.id), old.id
            now = int(service.client.world.clock.wall())
            lease_seconds = max(options.lease_seconds, old.content.expiry - now)
            options = replace(options, policy=old.content.policy, lease_seconds=lease_seconds)
            # Whatever another machine signed for this deposit was signed before it said so in the drive.
            journal.next_terms(old.id, old.content.stamp, old.content.expiry)
            for segment in await read_segments(Downloader(service.client, Progress()), kept_of(old).link):
                journal.putting(segment)  # the network has it, whoever put it: it is to be looked for
        content = FileContent(source, identity)
        self.progress.total, self.progress.done = content.total_bytes, 0
        run = begin(service.client, service.depositor, journal, identity, options, self.progress, deposit=deposit)
        self.published = published = await publish_run(run, content)
        terms = run.uploader.terms
        entry = published_entry(
            EntryKind.DEPOSIT,
            terms.deposit,
            self.path,
            published.link,
            size=published.bytes,
            expiry=terms.expiry,
            policy=terms.policy,
        )
        time = int(service.client.world.clock.wall())
        entry = replace(entry, content=replace(entry.content, time=time))
        await service.amend(lambda drive, now_ms: self._amended(drive, entry, now_ms))
        return published.link

    def _amended(self, drive: Drive, entry: DriveEntry, now_ms: int) -> Drive:
        """The drive with what was published; called again if another machine was quicker."""
        found = drive.by_id().get(entry.id)
        if found is not None and found.live and found.content.link == entry.content.link:
            return drive  # an answer was lost
        if self.entry is None:
            Tree(drive).check_room(self.path)
        elif found is None or (found.place, found.content.link) != (self.entry.place, self.entry.content.link):
            raise RefusedError("another machine changed it in the drive at the same time", hint="run it again")
        return put(drive, entry, now_ms)


async def sync_with_drive(
    service: DriveService, home: Home, folder: Path, path: bytes, progress: Progress
) -> tuple[Synced, Published | None]:
    """Make a folder and what the drive has at a path equal. Returns what went up, too.

    Args:
        service: The drive.
        home: Where the base is kept.
        folder: Absolute, with no symbolic link in it.
        path: In the drive, not empty.
        progress: Told of what comes down, then of what goes up.

    Raises:
        RefusedError: The drive has something else at the path; or another machine changes it at the same time.
        NodeError: The drive cannot be read from the network: its last copy would undo what is newer; or as ``sync``.
    """
    entry = _entry_at(await _newest(service), path)
    work = DriveSync(service, path, entry, folder, progress)
    state = SyncState(home.path, service.account.identity.key, folder, path)
    there = None if entry is None else kept_of(entry).link
    return await sync(service.client, there, state, work.publish, progress), work.published


async def _newest(service: DriveService) -> Drive:
    try:
        return (await service.keep()).drive
    except NotFoundError:
        cached = await service.client.world.blocking(service.cache.load)
        if cached.sequence or cached.drive.entries:
            raise
    return Drive()  # the account has none yet


def _entry_at(drive: Drive, path: bytes) -> DriveEntry | None:
    """The deposit at a path; None: nothing is there.

    Raises:
        RefusedError: Something else is there.
    """
    tree = Tree(drive)
    if path in tree.folders:
        raise RefusedError(
            f"{os.fsdecode(path)!r} is a folder of the drive itself: it holds deposits",
            hint="name a path in it: archipel drive sync DIR DRIVE-PATH",
        )
    entry = tree.shown.get(path)
    if entry is None:
        tree.check_room(path)
    elif entry.kind is not EntryKind.DEPOSIT:
        raise RefusedError(
            f"what the drive has at {os.fsdecode(path)!r} is not a deposit of this account",
            hint="fetch it, or sync with another path of the drive",
        )
    return entry
