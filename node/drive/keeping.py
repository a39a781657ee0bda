"""Renewing what is in a drive, and ending it: by the drive alone, on machines that never published any of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from node.drive.entries import OWN, kept_of, renewed, without
from node.drive.known import Known, Owner, change_known, read_known
from node.drive.service import DriveService
from node.drive.tree import Tree, remove
from node.errors import NetworkError, NodeError, RefusedError, told
from node.keeping.kept import delete_kept, renew_kept
from node.keeping.tend import tend
from node.names.writing import renew_name
from node.progress import Progress
from protocol.drive import Drive, DriveEntry, EntryKind
from protocol.drivecache import CachedDrive
from protocol.ids import SegmentId
from protocol.names import MAX_LIFE_SECONDS, NameKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What became of one entry."""

    entry: DriveEntry
    expiry: int = 0
    """When its leases end now, or a name's record, seconds since 1970-01-01 UTC; 0: it is as it was."""
    restored: int = 0
    """Chunks made again and placed."""
    failure: NodeError | None = None
    """Why it was not renewed."""
    undone: tuple[str, ...] = ()
    """What is missing of it and could not be restored, and why."""


def renewable(entry: DriveEntry) -> bool:
    """Whether there is something to renew: leases of ours, or the record of a name that leads somewhere."""
    if entry.kind is EntryKind.NAME:
        return entry.content.expiry > 0
    return entry.kind in OWN


async def renew_entry(service: DriveService, entry: DriveEntry, lease_seconds: int, progress: Progress) -> Renewed:
    """Renew one thing, and restore what is missing of it; that it fails is told. The drive is not changed.

    Args:
        service: The drive it is from.
        entry: One that is :func:`renewable`.
        lease_seconds: For how long from now; a name for 400 days at most.
        progress: Told of it.
    """
    try:
        if entry.kind is EntryKind.NAME:
            return await _renew_name(service, entry, lease_seconds)
        return await _renew_deposit(service, entry, lease_seconds, progress)
    except (NodeError, ExceptionGroup) as exc:
        return Renewed(entry=entry, failure=told(exc))


async def _renew_name(service: DriveService, entry: DriveEntry, lease_seconds: int) -> Renewed:
    keys = NameKeys(service.account.name_secret(entry.content.label))
    now = int(service.client.world.clock.wall())
    written = await renew_name(service.client, keys, service.seen, now + min(lease_seconds, MAX_LIFE_SECONDS))
    return Renewed(entry=entry, expiry=written.expiry)


async def _renew_deposit(service: DriveService, entry: DriveEntry, lease_seconds: int, progress: Progress) -> Renewed:
    """Its leases first, for what has none any more cannot be restored; then whatever is missing of it."""
    client, depositor, kept = service.client, service.depositor, kept_of(entry)
    changed = await renew_kept(client, depositor, kept, lease_seconds, progress)
    try:
        kept = replace(kept, expiry=changed.expiry, sequence=changed.sequence)
        tended = await tend(client, depositor, kept, lease_seconds, progress)
    except (NodeError, ExceptionGroup) as exc:
        return Renewed(entry=entry, expiry=changed.expiry, undone=(str(told(exc)),))
    undone = tuple(dict.fromkeys(item.why for item in tended.undone))
    return Renewed(entry=entry, expiry=changed.expiry, restored=tended.restored, undone=undone)


async def end_leases(service: DriveService, entry: DriveEntry, progress: Progress) -> None:
    """End the leases of a deposit of the account, and forget it in this home's journal if it was published here.

    Raises:
        NotFoundError: Some holder did not answer; or the root cannot be read.
        RefusedError, IntegrityFailure, NetworkError: As :func:`delete_kept`.
    """
    kept, journal = kept_of(entry), service.journal
    rows = journal.deposits(kept.link.root)
    spare: set[SegmentId] = set()
    for row in rows:
        if row.deposit == entry.id:  # another version of it, under the same deposit id, may need some of the segments
            ours = {segment for segment, _ in journal.only_in(row)}
            spare = {segment for segment, _ in journal.segments(row.root)} - ours
    await delete_kept(service.client, service.depositor, kept, progress, spare)
    if all(row.deposit == entry.id for row in rows):
        journal.forget(kept.link.root)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from a drive."""

    known: Known
    """The drive after that."""
    gone: tuple[DriveEntry, ...]
    left: tuple[tuple[DriveEntry, NodeError], ...] = ()
    """Deposits that stay in the drive, since not all their leases could be ended, each with the reason."""


async def remove_at(owner: Owner, path: bytes, progress: Progress, *, whole: bool, forget: bool) -> Removed:
    """Remove what is shown at a path; the leases of deposits of the account are ended first.

    Args:
        owner: Whose drive.
        path: Not empty.
        progress: Told of the leases.
        whole: Whether a folder may go with what lies in it.
        forget: Leave the leases as they are: then no network is needed.

    Raises:
        NotFoundError, RefusedError: As :func:`node.drive.tree.remove`. Nothing was changed.
        NetworkError: There are leases to be ended.
        MachineError: The last copy cannot be used.
    """
    try:
        if not forget:
            return await owner.online(partial(_end_and_remove, path, whole, progress))
    except NetworkError as exc:
        copy: CachedDrive = await owner.world.blocking(owner.cache.load)
        _, gone = remove(copy.drive, path, 0, whole=whole)
        if any(entry.kind is EntryKind.DEPOSIT for entry in gone):
            raise NetworkError(
                f"{exc}: no leases can be ended", hint="--forget removes it from the list alone"
            ) from exc
    found: tuple[DriveEntry, ...] = ()

    def change(drive: Drive, now_ms: int) -> Drive:
        nonlocal found
        drive, found = remove(drive, path, now_ms, whole=whole)
        return drive

    known = await owner.change(change)
    return Removed(known, found)


async def _end_and_remove(path: bytes, whole: bool, progress: Progress, service: DriveService) -> Removed:
    _, wanted = remove((await read_known(service)).drive, path, 0, whole=whole)
    left: list[tuple[DriveEntry, NodeError]] = []
    for entry in wanted:
        if entry.kind is EntryKind.DEPOSIT:
            try:
                await end_leases(service, entry, progress)
            except (NodeError, ExceptionGroup) as exc:
                left.append((entry, told(exc)))
    kept = {entry.id for entry, _ in left}
    gone = tuple(entry for entry in wanted if entry.id not in kept)
    ids = {entry.id for entry in gone}
    known = await change_known(service, lambda drive, now_ms: without(drive, ids, now_ms))
    return Removed(known, gone, tuple(left))


def to_renew(drive: Drive, paths: Sequence[bytes]) -> list[DriveEntry]:
    """What can be renewed at some paths, and below them, each once; without paths in all of the drive, shares included.

    Raises:
        NotFoundError: Nothing is at a path.
        RefusedError: What is there is not the account's, or has nothing to renew.
    """
    if not paths:
        return [entry for entry in drive.entries if entry.live and renewable(entry)]
    tree = Tree(drive)
    found: dict[bytes, DriveEntry] = {}
    for path in paths:
        item = tree.find(path)
        if item.entry is not None and not renewable(item.entry):
            what = "somebody else's" if item.entry.kind is EntryKind.LINK else "a name that leads nowhere yet"
            raise RefusedError(f"what is at {os.fsdecode(path)!r} cannot be renewed: it is {what}")
        entries = tree.below(path) if item.entry is None else (item.entry,)
        found |= {entry.id: entry for entry in entries if renewable(entry)}
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Renewal:
    """What was renewed of a drive."""

    known: Known
    """The drive after that."""
    done: tuple[Renewed, ...]
    lost: NodeError | None = None
    """Why the drive's newest version could not be read, which this machine's copy has replaced."""


async def renew_at(
    service: DriveService,
    paths: Sequence[bytes],
    lease_seconds: int,
    progress: Progress,
    *,
    forget_lost: bool = False,
) -> Renewal:
    """Renew what is at some paths and below them, or without paths all there is; the drive says so then, and with it
    is published anew itself.

    Args:
        service: The drive.
        paths: In it.
        lease_seconds: For how long from now.
        progress: Told of it.
        forget_lost: If the drive's newest version cannot be read, put this machine's copy in its place.

    Raises:
        NotFoundError, RefusedError: As :func:`to_renew`. Nothing was done.
        NodeError: Nothing can be put in the place of what is lost.
        MachineError: The drive's last copy cannot be used.
    """
    lost = await service.replace_lost() if forget_lost else None
    entries = to_renew((await read_known(service)).drive, paths)
    done = [await renew_entry(service, entry, lease_seconds, progress) for entry in entries]
    until = [(one.entry, one.expiry) for one in done if one.failure is None]
    known = await change_known(service, lambda drive, now_ms: renewed(drive, until, now_ms))
    return Renewal(known, tuple(done), lost)
