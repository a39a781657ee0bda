"""Which earlier versions of a synced folder a version follows, as it says itself (docs/spec/drive.md section 6).

A version that does not follow the one this machine agreed on was made without it, by another machine at the same time:
what it lacks was not deleted.
"""

from bisect import bisect_left
from collections.abc import Sequence

from node.publishing.source import Source
from node.syncing.workfolder import WORK_NAME
from protocol.hashing import digest
from protocol.links import Link
from protocol.manifest import Entry, Kind

VERSION_BYTES = 16
MAX_FOLLOWED = 64
"""A machine that has not synced for so many versions finds nothing deleted."""
_FOLLOWS = WORK_NAME + b"/follows"


def version_of(link: Link) -> bytes:
    """What a version is called in later ones: 16 bytes, which lead nobody to it."""
    return digest("drive version", link.root)[:VERSION_BYTES]


def followed(entries: Sequence[Entry], top: bytes) -> tuple[bytes, ...]:
    """The versions that a version follows, newest first; of what makes no sense, none."""
    path = top + b"/" + _FOLLOWS
    target = next((entry.target for entry in entries if entry.path == path and entry.kind is Kind.SYMLINK), b"")
    try:
        versions = tuple(bytes.fromhex(name.decode("ascii")) for name in target.split(b"/"))
    except ValueError:
        return ()
    good = len(versions) <= MAX_FOLLOWED and all(len(version) == VERSION_BYTES for version in versions)
    return versions if good else ()


def note_followed(source: Source, top: bytes, there: Link | None, entries: Sequence[Entry]) -> None:
    """Have what is published say what it follows.

    Args:
        source: What is published. It has nothing of the working folder.
        top: The name of the folder.
        there: The version before; None: there is none.
        entries: Of its manifest.
    """
    if there is None:
        return
    versions = (version_of(there), *followed(entries, top))[:MAX_FOLLOWED]
    target = b"/".join(version.hex().encode() for version in versions)
    added = (
        Entry(path=top + b"/" + WORK_NAME, kind=Kind.FOLDER),
        Entry(path=top + b"/" + _FOLLOWS, kind=Kind.SYMLINK, target=target),
    )
    for entry in added:
        number = bisect_left(source.entries, entry.path, key=lambda other: other.path)
        source.entries.insert(number, entry)
        source.stamps.insert(number, 0)
