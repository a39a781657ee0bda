"""What a sync does, decided from three listings of a folder: as both sides last agreed, as it is here, as it is there.

Pure. Nothing that is on either side is lost unless the other side deleted or replaced it, and then only what was
unchanged since both agreed. What both changed is kept twice: ours under its name, theirs under one beside it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

from node.errors import RefusedError
from protocol.manifest import Kind
from protocol.paths import MAX_COMPONENT_BYTES, MAX_PATH_BYTES, path_problem

_ROOM_FOR_TOP = MAX_COMPONENT_BYTES + 1
"""In a manifest every path begins with the folder's name and a slash."""


class Item(NamedTuple):
    """A file, folder or symbolic link in a listing."""

    kind: Kind
    size: int = 0
    """Bytes of a file."""
    mtime_ns: int = 0
    executable: bool = False
    """Of a file."""
    target: bytes = b""
    """Of a symbolic link."""


Listing = Mapping[bytes, Item]
"""By path inside the folder, components separated by ``/``. What a path lies in is a folder of the listing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What makes both sides equal."""

    result: dict[bytes, Item]
    """What both have in the end."""
    remove: tuple[bytes, ...]
    """To be removed here, what is in a folder before the folder."""
    folders: tuple[bytes, ...]
    """To be made here, a folder before what is in it."""
    down: dict[bytes, bytes]
    """Place here -> path there: files and links to be brought down. What is at the place is replaced."""
    kept: dict[bytes, bytes]
    """What both sides changed: its path -> where theirs is kept."""
    up: tuple[bytes, ...]
    """What the other side lacks or has in another state."""
    remove_there: tuple[bytes, ...]


def same(one: Item | None, other: Item | None) -> bool:
    """Whether two items need no copying. A folder's time changes with what is put into it, so it does not count."""
    if one == other:  # by far the most
        return True
    if one is None or other is None or one.kind is not other.kind:
        return False
    return one.kind is not Kind.FILE and one.target == other.target


def make_plan(base: Listing, here: Listing, there: Listing) -> Plan:
    """Decide. With an empty ``base`` whatever differs is kept, on both sides: nothing is removed or replaced.

    Raises:
        RefusedError: What has to be kept twice has too long a path for that.
    """
    ours, theirs = _staying(base, here, there), _staying(base, there, here)
    merge = _Merge(base, here, there, ours)
    for path in sorted(theirs):  # a folder before what is in it
        merge.add(path)
    result = merge.result
    return Plan(
        result=result,
        remove=tuple(path for path in sorted(here, reverse=True) if _must_go(here[path], result.get(path))),
        folders=tuple(
            path
            for path in sorted(result)
            if result[path].kind is Kind.FOLDER and not same(here.get(path), result[path])
        ),
        down={
            place: path
            for place, path in merge.origin.items()
            if result[place].kind is not Kind.FOLDER and not same(here.get(place), result[place])
        },
        kept=merge.kept,
        up=changed(result, there),
        remove_there=missing(there, result),
    )


def changed(listing: Listing, other: Listing) -> tuple[bytes, ...]:
    """Paths of what ``other`` lacks or has in another state."""
    return tuple(path for path in sorted(listing) if not same(listing[path], other.get(path)))


def missing(listing: Listing, other: Listing) -> tuple[bytes, ...]:
    """Paths of what ``other`` lacks."""
    return tuple(path for path in sorted(listing) if path not in other)


def _staying(base: Listing, side: Listing, other: Listing) -> set[bytes]:
    """Paths of one side that stay: what both have, what it changed since both agreed, and the folders around that."""
    staying: set[bytes] = set()
    for path, item in side.items():
        if same(item, other.get(path)) or not same(item, base.get(path)):
            around = path
            while around and around not in staying:
                staying.add(around)
                around = around.rpartition(b"/")[0]
    return staying


def _must_go(item: Item, wanted: Item | None) -> bool:
    """Whether it has to be out of the way first: only a file or link is replaced by another in one step."""
    return wanted is None or (item.kind is not wanted.kind and Kind.FOLDER in (item.kind, wanted.kind))


@dataclass(slots=True)
class _Merge:
    """What stays there is put to what stays here, a path at a time."""

    base: Listing
    here: Listing
    there: Listing
    ours: set[bytes]
    result: dict[bytes, Item] = field(init=False)
    origin: dict[bytes, bytes] = field(default_factory=dict)
    """Place in the result -> path there."""
    kept: dict[bytes, bytes] = field(default_factory=dict)
    _places: dict[bytes, bytes] = field(default_factory=lambda: {b"": b""})
    """Path of a folder there -> its place in the result."""

    def __post_init__(self) -> None:
        self.result = {path: self.here[path] for path in self.ours}

    def add(self, path: bytes) -> None:
        """Put an item from there into the result, at its own path or beside what is there."""
        item = self.there[path]
        parent, _, name = path.rpartition(b"/")
        place = _join(self._places[parent], name)
        if place in self.result and not same(self.result[place], item):
            place = self._beside(place, item)
            self.kept[path] = place
        self.result.setdefault(place, item)
        self.origin[place] = path
        if item.kind is Kind.FOLDER:
            self._places[path] = place

    def _beside(self, place: bytes, item: Item) -> bytes:
        for number in count(1):
            found = kept_path(place, item, number)
            if found in self.result and self._was_kept(found, item):
                return found
            if not any(found in listing for listing in (self.result, self.here, self.there, self.base)):
                return found
        raise AssertionError("unreachable")

    def _was_kept(self, place: bytes, item: Item) -> bool:
        """Whether a sync that was interrupted has kept it here already."""
        return place not in self.there and place not in self.base and same(self.here.get(place), item)


def kept_path(path: bytes, item: Item, number: int = 1, *, remark: str = "from the drive") -> bytes:
    """Where an item from the drive is kept when its path is taken: ``NAME (from the drive, DATE).EXT``.

    Args:
        path: Which is taken.
        item: Its time gives the date (UTC).
        remark: Where it comes from.
        number: Which attempt, from 1: the second and later ones stand in the name.

    Raises:
        RefusedError: No path can be so long.
    """
    parent, _, name = path.rpartition(b"/")
    stem, extension = (name, b"") if item.kind is Kind.FOLDER else os.path.splitext(name)
    date = datetime.fromtimestamp(item.mtime_ns // 10**9, UTC).strftime("%Y-%m-%d")
    ordinal = f", {number}" if number > 1 else ""
    ending = f" ({remark}, {date}{ordinal})".encode()
    if len(extension) > MAX_COMPONENT_BYTES // 4:  # a name with a dot in it, rather than an extension
        stem, extension = name, b""
    found = _join(parent, _cut(stem, MAX_COMPONENT_BYTES - len(ending) - len(extension)) + ending + extension)
    if len(found) > MAX_PATH_BYTES - _ROOM_FOR_TOP or path_problem(found) is not None:
        raise RefusedError(
            f"{os.fsdecode(path)!r} was changed here and in the drive, and its path is too long for keeping both",
            hint="give it or a folder it is in a shorter name",
        )
    return found


def _cut(name: bytes, size: int) -> bytes:
    """At most ``size`` bytes of it, and no part of a UTF-8 character."""
    while len(name) > size > 0 and name[size] & 0xC0 == 0x80:
        size -= 1
    return name[:size]


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
