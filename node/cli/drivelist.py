"""A list of things in a drive, for people and for programs."""

import os

from node.cli.output import note
from node.cli.recorded import BEGUN
from node.cli.text import clock_text, count_text, date_text, size_text, visible
from node.drive.ending import Ending
from node.drive.fields import ending_fields, expiry_of, health_fields, kind_of, known_fields, version_fields
from node.drive.health import Condition
from node.drive.known import Known
from node.drive.listing import Listing
from node.drive.tree import Item
from node.drive.versions import ends
from protocol.drive import DriveEntry, EntryKind
from protocol.links import AnyLink

_NAMED = 3
"""Things that a note names; of more it says how many."""


def path_text(path: bytes) -> str:
    """A path of the drive on a terminal."""
    return visible(os.fsdecode(path))


def tell_known(known: Known) -> None:
    """That this is not the network's newest drive, or that the network has not what was changed here; and why."""
    cached = known.cached
    if known.begun:
        note(BEGUN)
    if known.why is not None and known.is_new:
        note(f"note: no drive of this account was found, on the network or here: {known.why}")
    elif known.why is not None:
        when = f" of {clock_text(cached.seen)}" if cached.seen else ""
        note(f"note: the network's drive could not be read or written: {known.why}; this is the last copy{when}")
    if cached.unsent:
        changed = [path_text(entry.path) for entry in known.unsent]
        more = [f"and {len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
        what = f": {', '.join([*changed[:_NAMED], *more])}" if changed else ""
        note(f"note: not sent yet, and sent with the next change: what was changed here since{what}")


def tell_ending(ending: tuple[Ending, ...]) -> None:
    """What ends soon."""
    for found in ending[:_NAMED]:
        if found.entry is None:
            what = "the drive itself"
        else:
            what = "the name " if found.entry.kind is EntryKind.NAME else "the leases of "
            what += path_text(found.entry.path)
        verb = "end" if found.entry is not None and found.entry.kind is not EntryKind.NAME else "ends"
        note(f"warning: {what} {verb} on {date_text(found.expiry)}: archipel drive renew --all")
    if len(ending) > _NAMED:
        note(f"warning: and {count_text(len(ending) - _NAMED, 'thing')} more")


def listing_text(listing: Listing, *, links: bool) -> str:
    """A line for each thing, in columns; with ``links`` another below it."""
    rows = [_row(item, listing) for item in listing.items]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    lines: list[str] = []
    for item, (name, size, rest) in zip(listing.items, rows, strict=True):
        lines.append(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {rest}".rstrip())
        if links and item.entry is not None and item.entry.link is not None:
            lines.append(f"    {item.entry.link}")
    return "\n".join(lines)


def _row(item: Item, listing: Listing) -> tuple[str, str, str]:
    entry = item.entry
    if entry is None:
        return f"{path_text(item.path)}/", "", ""
    condition = listing.conditions.get(entry.id)
    rest = [part for part in (_kind_text(entry, condition), _health_text(condition, listing)) if part]
    expiry = expiry_of(entry, condition)
    if expiry:
        rest.append(f"until {date_text(expiry)}")
    elif entry.kind is not EntryKind.NAME or entry.content.expiry:
        rest.append("until: unknown")
    return path_text(item.path), size_text(entry.content.size), "; ".join(rest)


def _kind_text(entry: DriveEntry, condition: Condition | None) -> str:
    if entry.kind is EntryKind.LINK:
        mine = "somebody's link"
    elif entry.kind is EntryKind.NAME:
        mine = "name"
    else:
        mine = f"published as {visible(entry.content.label)}" if entry.content.label else ""
    if condition is None or condition.newest is None or condition.newest.value is None:
        return mine
    newest = condition.newest
    assert newest.value is not None
    forked = ", and it has forked" if newest.forks else ""
    return f"{mine}, version {newest.number} of {clock_text(newest.value.time)}{forked}"


def _health_text(condition: Condition | None, listing: Listing) -> str:
    if condition is None:
        return "health unknown: offline" if listing.known.why is not None and not listing.conditions else ""
    if condition.lost and condition.why:
        return f"cannot be read: {condition.why}"
    if not condition.counted:
        return f"health unknown: {condition.why}" if condition.why else ""
    told = f"{condition.live} of {condition.chunks} chunks live"
    return f"{told}, {count_text(condition.lost, 'segment')} with too few" if condition.lost else told


def listing_fields(listing: Listing) -> dict[str, object]:
    """The same for programs."""
    return {
        "entries": [_item_fields(item, listing) for item in listing.items],
        "ending": [ending_fields(found) for found in listing.ending],
        "ends": ends(listing.known.drive) or None,
        **known_fields(listing.known),
    }


def _item_fields(item: Item, listing: Listing) -> dict[str, object]:
    entry = item.entry
    fields: dict[str, object] = {"path": os.fsdecode(item.path), "kind": kind_of(entry)}
    if entry is None:
        return fields
    condition = listing.conditions.get(entry.id)
    return fields | {
        "link": _text(entry.link),
        "size": entry.content.size,
        "time": entry.content.time or None,
        "expires": expiry_of(entry, condition) or None,
        "label": entry.content.label or None,
        "health": health_fields(condition),
        "version": version_fields(condition),
    }


def _text(link: AnyLink | None) -> str | None:
    return None if link is None else str(link)
