"""What programs are told of a drive: the command line's ``--json``, and the API of the page."""

import os

from node.drive.ending import Ending
from node.drive.health import Condition
from node.drive.keeping import Renewed
from node.drive.known import Known
from protocol.drive import DriveEntry, EntryKind


def kind_of(entry: DriveEntry | None) -> str:
    """A word for each kind of entry."""
    return "folder" if entry is None else entry.kind.name.lower()


def known_fields(known: Known) -> dict[str, object]:
    """Whether a drive is the network's newest, and says all that was changed here."""
    return {
        "seen": known.cached.seen or None,
        "unsent": known.cached.unsent,
        "unsent_paths": [os.fsdecode(entry.path) for entry in known.unsent],
        "why": None if known.why is None else str(known.why),
    }


def ending_fields(found: Ending) -> dict[str, object]:
    """What ends soon, and when."""
    path = None if found.entry is None else os.fsdecode(found.entry.path)
    return {"path": path, "kind": "drive" if found.entry is None else kind_of(found.entry), "expires": found.expiry}


def expiry_of(entry: DriveEntry, condition: Condition | None) -> int:
    """When it ends, as far as is known; 0: it is not."""
    if entry.kind is EntryKind.LINK or condition is None or condition.newest is None:
        shown = condition.expires if condition is not None and entry.kind is EntryKind.LINK else 0
        return shown or entry.content.expiry
    return condition.newest.expiry


def state_of(condition: Condition | None) -> str:
    """``whole``, ``weak``, ``lost`` or ``unknown``."""
    if condition is not None and condition.lost:
        return "lost"
    if condition is None or not condition.counted:
        return "unknown"
    return "whole" if condition.whole else "weak"


def health_fields(condition: Condition | None) -> dict[str, object]:
    """How a thing is: ``state`` is ``whole``, ``weak``, ``lost`` or ``unknown``."""
    known = condition or Condition()
    return {
        "state": state_of(condition),
        "live": known.live,
        "chunks": known.chunks,
        "lost_segments": known.lost,
        "why": known.why or None,
    }


def version_fields(condition: Condition | None) -> dict[str, object] | None:
    """The newest version of a name; None: it is none, or not known."""
    if condition is None or condition.newest is None or condition.newest.value is None:
        return None
    newest = condition.newest
    assert newest.value is not None
    return {
        "number": newest.number,
        "time": newest.value.time,
        "link": str(newest.link),
        "forks": len(newest.forks),
    }


def renewed_fields(done: Renewed) -> dict[str, object]:
    """What became of one thing that was to be renewed."""
    return {
        "path": os.fsdecode(done.entry.path),
        "kind": kind_of(done.entry),
        "expires": done.expiry or None,
        "restored_chunks": done.restored,
        "undone": list(done.undone),
        "why": None if done.failure is None else str(done.failure),
    }
