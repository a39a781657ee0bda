"""The versions of a drive: how they stand in it themselves, and how one is joined with what a home remembers. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from node.keeping.kept import Kept
from protocol.drive import REMOVED_MS, Content, Drive, DriveEntry, EntryKind, deposit_entry
from protocol.drivecache import CachedDrive
from protocol.links import Link, link_payload

PATH = b"drive"
"""What the file in each version is called, and where their entries stand."""


def versions(drive: Drive) -> list[DriveEntry]:
    """The entries of the drive's own versions, one for each home that wrote any; the last is that of the newest."""
    found = [entry for entry in drive.entries if entry.kind is EntryKind.DRIVE and entry.live]
    return sorted(found, key=lambda entry: entry.place)


def ends(drive: Drive) -> int:
    """When the leases of the newest version end, seconds since 1970-01-01 UTC; 0: not known."""
    known = versions(drive)
    return known[-1].content.expiry if known else 0


def written_by(drive: Drive, link: Link) -> dict[bytes, Link]:
    """A version's link under the deposit id of the home that wrote it.

    Args:
        drive: The version; other changes than those of whole versions may have been merged into it.
        link: Leads to it. It cannot be in it.
    """
    return {entry.id: link for entry in versions(drive)[-1:]}


def succeeded(
    drive: Drive, before: Mapping[bytes, Link], deposit: bytes, expiry: int, now_ms: int
) -> tuple[Drive, list[Kept]]:
    """The drive as it is to be written next, and the versions whose leases are to be ended then.

    Args:
        drive: All that is to be in it.
        before: What is to have a successor: a version by the deposit id of its home, more of them after a fork.
        deposit: The deposit id of this home's versions.
        expiry: When the leases of the next version end.
        now_ms: Milliseconds since 1970-01-01 UTC.
    """
    known = versions(drive)
    ended = [
        Kept(link=link, deposit=entry.id, policy=entry.content.policy, expiry=entry.content.expiry)
        for entry in known
        if isinstance(link := entry.link, Link) and link != before.get(entry.id)
    ]
    changed = []
    for entry in known:
        payload = link_payload(before[entry.id]) if entry.id in before else b""
        if entry.content.link != payload:
            changed.append(entry.updated(replace(entry.content, link=payload), now_ms))
    drive = drive.merge(Drive.of(changed))
    own = drive.by_id().get(deposit)
    if own is None:
        own = deposit_entry(EntryKind.DRIVE, deposit, PATH, Content(), now_ms)
    content = replace(own.content, time=now_ms // 1000, expiry=expiry)
    newest = max((entry.place.stamp for entry in known), default=0)  # by whichever clock: this version comes after it
    own = own.moved(PATH, max(now_ms, newest + 1)).updated(content, now_ms)
    return drive.merge(Drive.of([own])).purged(now_ms), ended


def heard(cached: CachedDrive, looked: int, sequence: int, newest: Drive, found: Drive, now_ms: int) -> CachedDrive:
    """What a home remembers after it has heard of the network's newest version.

    Args:
        cached: What it remembers now.
        looked: The sequence that it remembered when it began to ask.
        sequence: Of the newest version's record.
        newest: That version.
        found: The same, with its forks.
        now_ms: Milliseconds since 1970-01-01 UTC.
    """
    drive = found.merge(_still_known(cached, found, now_ms))
    if sequence < cached.sequence != looked:  # another command was quicker, and has heard of a newer one
        return replace(cached, drive=drive, unsent=cached.unsent or drive != cached.drive)
    unsent = drive.purged(now_ms) != newest.purged(now_ms)
    return CachedDrive(drive=drive, sequence=sequence, seen=now_ms // 1000, unsent=unsent)


def _still_known(cached: CachedDrive, found: Drive, now_ms: int) -> Drive:
    """What is remembered here, but for what may have been removed so long ago that the network knows nothing of it."""
    since = cached.seen * 1000
    if now_ms - since <= REMOVED_MS:
        return cached.drive
    there = found.by_id()
    return Drive(
        tuple(
            entry
            for entry in cached.drive.entries
            if entry.id in there or max(entry.place.stamp, entry.content.stamp) > since
        )
    )
