"""Renewing what is in a drive, and ending it: by the drive alone, on machines that never published any of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from node.drive.entries import kept_of
from node.drive.service import DriveService
from node.errors import NodeError, told
from node.keeping.kept import delete_kept, renew_kept
from node.keeping.tend import tend
from node.names.writing import renew_name
from node.progress import Progress
from protocol.drive import DriveEntry, EntryKind
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
    """Whether there is something to renew: leases of ours, or the record of a name that something was published under."""
    if entry.kind is EntryKind.NAME:
        return entry.content.expiry > 0
    return entry.live and entry.kind in (EntryKind.DEPOSIT, EntryKind.SHARE)


async def renew_entries(
    service: DriveService, entries: Sequence[DriveEntry], lease_seconds: int, progress: Progress
) -> AsyncIterator[Renewed]:
    """Renew one entry after the other; what fails keeps nobody from the next. The drive is not changed.

    Args:
        service: The drive they are from.
        entries: Those that are :func:`renewable`.
        lease_seconds: For how long from now; names for 400 days at most.
        progress: Told of each.
    """
    for entry in entries:
        try:
            if entry.kind is EntryKind.NAME:
                yield await _renew_name(service, entry, lease_seconds)
            else:
                yield await _renew_deposit(service, entry, lease_seconds, progress)
        except (NodeError, ExceptionGroup) as exc:
            yield Renewed(entry=entry, failure=told(exc))


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
