"""Shares and the drive: what a path in it leads to, and how a part that was shared is kept with all else."""

from dataclasses import replace

from node.drive.entries import published_entry
from node.drive.publishing import record
from node.drive.service import DriveService
from node.drive.stored import Recorded
from node.errors import MachineError
from node.publishing.publish import Published
from protocol.drive import DriveEntry, EntryKind
from protocol.links import Link, NameLink


def shared_link(entry: DriveEntry) -> Link | NameLink:
    """The link of something that a drive shows and that is no folder."""
    link = entry.link
    assert isinstance(link, Link | NameLink)
    return link


async def record_share(service: DriveService, shared: Published, path: bytes) -> Recorded:
    """Put a part that the account has just shared into its drive, unlisted, so that it is renewed with all else.

    Args:
        service: The drive.
        shared: The part, which the journal has.
        path: Where it was found: a path in the drive, or in what some link opens.
    """
    rows = service.journal.deposits(shared.link.root)
    row = next(row for row in rows if row.depositor == service.depositor.identity.key)
    entry = published_entry(
        EntryKind.SHARE,
        row.deposit,
        path,
        shared.link,
        size=shared.bytes,
        expiry=row.expiry,
        policy=row.policy,
    )
    recorded = await record(service, [entry])
    return replace(recorded, path=None if isinstance(recorded.why, MachineError) else path)
