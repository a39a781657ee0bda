"""What of a drive ends soon: to be told in time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from node.drive.service import WARN_SECONDS
from node.drive.versions import ends
from protocol.drive import Drive, DriveEntry, EntryKind

_LEASED = frozenset((EntryKind.DEPOSIT, EntryKind.SHARE, EntryKind.NAME))


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that needs to be renewed."""

    entry: DriveEntry | None
    """None: the drive itself."""
    expiry: int
    """When its leases end, or a name's record: seconds since 1970-01-01 UTC. It may be over."""


def ending(drive: Drive, now: float) -> list[Ending]:
    """What ends within 30 days, or has ended, the first first."""
    return sorted(_ending(drive, now + WARN_SECONDS), key=lambda found: found.expiry)


def _ending(drive: Drive, before: float) -> Iterator[Ending]:
    if 0 < ends(drive) < before:
        yield Ending(None, ends(drive))
    for entry in drive.entries:
        if entry.live and entry.kind in _LEASED and 0 < entry.content.expiry < before:
            yield Ending(entry, entry.content.expiry)
