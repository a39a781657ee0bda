"""What publishing, renewing and deleting mean for a drive: which entries there are then. Pure."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from node.errors import NotFoundError
from node.keeping.kept import Kept
from protocol.drive import Content, Drive, DriveEntry, EntryKind, deposit_entry
from protocol.ids import SegmentId
from protocol.leases import Policy
from protocol.links import Link, NameLink, link_payload
from protocol.manifest import Entry
from protocol.paths import MAX_COMPONENT_BYTES, path_problem

OWN = frozenset((EntryKind.DEPOSIT, EntryKind.SHARE))
"""Deposits of the account that it looks after by their entries; the drive looks after its own."""
_UNTITLED = b"deposit"


def title_of(entries: Sequence[Entry]) -> bytes:
    """What a deposit is called in the drive: the names of what lies at its top, cut to what one component may have."""
    title = b", ".join(entry.path for entry in entries if b"/" not in entry.path)
    if len(title) > MAX_COMPONENT_BYTES:  # cut between two characters
        title = os.fsencode(title[:MAX_COMPONENT_BYTES].decode(errors="ignore"))
    return title if path_problem(title) is None else _UNTITLED


def published_entry(
    kind: EntryKind, deposit: bytes, path: bytes, link: Link, *, size: int, expiry: int, policy: Policy, label: str = ""
) -> DriveEntry:
    """The entry of a deposit that is stored; whoever puts it into a drive gives it its stamps.

    Args:
        kind: DEPOSIT or SHARE.
        deposit: The deposit id, 16 bytes.
        path: Where it is to stand if it is new.
        link: Its read link; hints are left out.
        size: Bytes of its files.
        expiry: When its leases end, seconds since 1970-01-01 UTC.
        policy: Of its leases.
        label: Of the name it was published under, if it was.
    """
    content = Content(
        link=link_payload(replace(link, hints=())),
        size=size,
        expiry=expiry,
        spread=policy.spread_countries,
        avoid=policy.avoid,
        label=label,
    )
    return deposit_entry(kind, deposit, path, content, 0)


def kept_of(entry: DriveEntry) -> Kept:
    """What has to be known of a deposit of the account to keep it."""
    link = entry.link
    assert isinstance(link, Link)
    return Kept(link=link, deposit=entry.id, policy=entry.content.policy, expiry=entry.content.expiry)


def own_deposits(drive: Drive) -> list[DriveEntry]:
    """The deposits of the account that it looks after by their entries, shares included, in order of id."""
    return [entry for entry in drive.entries if entry.live and entry.kind in OWN]


def of_root(drive: Drive, root: SegmentId, deposits: Collection[bytes]) -> list[DriveEntry]:
    """The entries of some deposit ids, if it is this root that they lead to: no older or newer version."""
    return [entry for entry in own_deposits(drive) if entry.id in deposits and kept_of(entry).link.root == root]


def find_name(drive: Drive, label: str) -> DriveEntry:
    """The entry of a name of the account. Raises NotFoundError: the drive has none with this label."""
    for entry in drive.entries:
        if entry.live and entry.kind is EntryKind.NAME and entry.content.label == label:
            return entry
    raise NotFoundError(f"the account has no name {label!r}", hint="archipel name new LABEL makes one")


def name_link_of(entry: DriveEntry) -> NameLink:
    """The link of a name's entry."""
    link = entry.link
    assert isinstance(link, NameLink)
    return link


def renewed(drive: Drive, until: Sequence[tuple[DriveEntry, int]], now_ms: int) -> Drive:
    """The drive with later ends of some entries; one that has been removed meanwhile stays removed.

    Args:
        drive: What is changed.
        until: Entries, each with when its leases, or its record, end now: seconds since 1970-01-01 UTC.
        now_ms: Milliseconds since 1970-01-01 UTC.
    """
    known = drive.by_id()

    def changed() -> Iterator[DriveEntry]:
        for entry, expiry in until:
            current = known.get(entry.id, entry)
            if current.content.link == entry.content.link and current.content.expiry < expiry:
                yield current.updated(replace(current.content, expiry=expiry), now_ms)

    return drive.merge(Drive.of(changed()))


def without(drive: Drive, ids: Collection[bytes], now_ms: int) -> Drive:
    """The drive without these entries."""
    return drive.merge(Drive.of(entry.removed(now_ms) for entry in drive.entries if entry.live and entry.id in ids))
