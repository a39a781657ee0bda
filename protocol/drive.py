"""The drive: an account's list of its deposits, names, folders and others' links (docs/spec/drive.md).

A drive is changed on several machines that do not wait for each other. Merging two of them is the join of a
semilattice: in whatever order, and however often, copies are merged, all end up with the same entries, and no
entry is ever dropped by it. An entry is two registers, each of which the last writer wins: its place (where it
stands, and whether it stands at all) and its content. So a move on one machine and a renewal on another both
survive.

Non-goals: what the time is. Whoever changes something hands it in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Annotated, Any, Self

from protocol import codec
from protocol.codec import Flag, Raw, Seq, Struct, Text, Uint
from protocol.errors import DriveFullError, LinkError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import Bytes, digest
from protocol.leases import MAX_AVOIDED, Policy
from protocol.links import (
    MAX_PAYLOAD_BYTES,
    AnyLink,
    Link,
    LinkKind,
    NameLink,
    link_payload,
    parse_payload,
)
from protocol.paths import MAX_PATH_BYTES, path_problem
from protocol.records import MAX_SECONDS, Country

VERSION = 1
ID_BYTES = 16
MAX_ENTRIES = 65_536
MAX_DRIVE_BYTES = 16_777_216
MAX_LABEL_BYTES = 64
MAX_STAMP = 2**63 - 1
REMOVED_MS = 400 * 86_400_000
"""How long a removal is remembered: as long as the longest-lived record leads to a copy that knows nothing of it."""


class EntryKind(IntEnum):
    """What an entry of a drive is."""

    DEPOSIT = 1
    """A deposit of this account."""
    LINK = 2
    """Somebody else's link."""
    NAME = 3
    """A name of this account."""
    FOLDER = 4
    """A folder that is there even if it is empty."""
    SHARE = 5
    """A deposit made to share a part of another one. Not listed."""
    DRIVE = 6
    """The versions of this very drive that one home wrote, which are deposits themselves. Not listed."""


LISTED = frozenset((EntryKind.DEPOSIT, EntryKind.LINK, EntryKind.NAME, EntryKind.FOLDER))
"""What people see as their drive."""
_DEPOSITS = frozenset((EntryKind.DEPOSIT, EntryKind.SHARE, EntryKind.DRIVE))


class _KindShape:
    """An EntryKind, as its number."""

    def load(self, value: object) -> EntryKind:
        return EntryKind(Uint(len(EntryKind)).load(value))

    def dump(self, value: Any) -> object:
        return int(EntryKind(value))


def after(stamp: int, now_ms: int) -> int:
    """The stamp of a change made now: later than the one before, even if a clock was wrong."""
    return min(max(now_ms, stamp + 1), MAX_STAMP)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands. Of two the greater wins, field by field."""

    stamp: Annotated[int, Uint(MAX_STAMP)]
    """Milliseconds since 1970-01-01 UTC, by the clock of whoever put it there."""
    live: Annotated[bool, Flag()]
    """False: it was removed."""
    path: Annotated[bytes, Raw(1, MAX_PATH_BYTES)] = field(repr=False)
    """As paths in a manifest are; of what is removed, where it stood."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Content:
    """What stands there. Of two the greater wins, field by field. What a kind has no use for is as here."""

    stamp: Annotated[int, Uint(MAX_STAMP)] = 0
    """As a place's."""
    link: Annotated[bytes, Raw(0, MAX_PAYLOAD_BYTES)] = field(default=b"", repr=False)
    """The payload of a link."""
    size: Annotated[int, Uint(2**63)] = 0
    """Bytes of files."""
    time: Annotated[int, Uint(MAX_SECONDS)] = 0
    """When it was published or added, seconds since 1970-01-01 UTC."""
    expiry: Annotated[int, Uint(MAX_SECONDS)] = 0
    """When its leases end, or a name's record; 0: not known."""
    spread: Annotated[bool, Flag()] = True
    """The policy of its leases: spread over countries."""
    avoid: Annotated[tuple[str, ...], Seq(Country(known=True), MAX_AVOIDED)] = ()
    """The policy of its leases: claimed countries to avoid."""
    label: Annotated[str, Text(MAX_LABEL_BYTES)] = field(default="", repr=False)
    """Of a name, its label; of a deposit, that of the name it was published under."""

    @property
    def policy(self) -> Policy:
        """The policy of its leases."""
        return Policy(spread_countries=self.spread, avoid=self.avoid)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveEntry:
    """One thing in a drive."""

    id: Annotated[bytes, Raw(ID_BYTES)]
    """The deposit id; of other kinds a hash of what makes it one and the same thing on every machine."""
    kind: Annotated[EntryKind, _KindShape()]
    place: Annotated[Place, Struct(Place)]
    content: Annotated[Content, Struct(Content)]

    @property
    def path(self) -> bytes:
        """Where it stands; two entries may have one path (see ``listed``)."""
        return self.place.path

    @property
    def live(self) -> bool:
        """Whether it has not been removed."""
        return self.place.live

    @property
    def deposit(self) -> bytes | None:
        """The deposit id, if it is a deposit of this account."""
        return self.id if self.kind in _DEPOSITS else None

    @property
    def link(self) -> AnyLink | None:
        """The link; a folder has none."""
        return parse_payload(self.content.link) if self.content.link else None

    def moved(self, path: bytes, now_ms: int) -> Self:
        """The entry at another path; live again, if it was removed."""
        return replace(self, place=Place(after(self.place.stamp, now_ms), True, path))

    def removed(self, now_ms: int) -> Self:
        """What is left of it when it is removed."""
        return replace(self, place=Place(after(self.place.stamp, now_ms), False, self.path))

    def updated(self, content: Content, now_ms: int) -> Self:
        """The entry with another content, whatever its stamp is."""
        return replace(self, content=replace(content, stamp=after(self.content.stamp, now_ms)))

    def merge(self, other: Self) -> Self:
        """The join of two entries of one id: the later place, and the later content."""
        if self.kind != other.kind:  # no id is meant for two kinds; one must win, whole, for a place fits its kind
            return max(self, other, key=lambda entry: entry.kind)
        return replace(self, place=max(self.place, other.place), content=max(self.content, other.content))


def deposit_entry(kind: EntryKind, deposit: bytes, path: bytes, content: Content, now_ms: int) -> DriveEntry:
    """A new entry for a deposit of this account: of kind DEPOSIT, SHARE or DRIVE; ``deposit`` has 16 bytes."""
    return DriveEntry(id=deposit, kind=kind, place=Place(now_ms, True, path), content=replace(content, stamp=now_ms))


def link_entry(link: Link | NameLink, path: bytes, content: Content, now_ms: int) -> DriveEntry:
    """A new entry for somebody else's link, which ``content`` need not hold."""
    content = replace(content, stamp=now_ms, link=link_payload(link))
    return DriveEntry(id=_link_id(link), kind=EntryKind.LINK, place=Place(now_ms, True, path), content=content)


def name_entry(link: NameLink, label: str, path: bytes, content: Content, now_ms: int) -> DriveEntry:
    """A new entry for a name of this account; link and label need not be in ``content``."""
    content = replace(content, stamp=now_ms, link=link_payload(link), label=label)
    return DriveEntry(id=_name_id(label), kind=EntryKind.NAME, place=Place(now_ms, True, path), content=content)


def folder_entry(path: bytes, now_ms: int) -> DriveEntry:
    """A new entry for a folder. It has no content, and cannot be moved: another path is another folder."""
    return DriveEntry(id=_folder_id(path), kind=EntryKind.FOLDER, place=Place(now_ms, True, path), content=Content())


def _link_id(link: AnyLink) -> bytes:
    assert isinstance(link, Link | NameLink)
    return digest("drive link", link_payload(replace(link, hints=())))[:ID_BYTES]


def _name_id(label: str) -> bytes:
    return digest("drive name", label.encode("utf-8", "surrogatepass"))[:ID_BYTES]


def _folder_id(path: bytes) -> bytes:
    return digest("drive folder", path)[:ID_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drive:
    version: Annotated[int, Uint(255)]
    entries: Annotated[tuple[DriveEntry, ...], Seq(Struct(DriveEntry), MAX_ENTRIES)]


@dataclass(frozen=True, slots=True)
class Drive:
    """What one machine knows of an account's drive."""

    entries: tuple[DriveEntry, ...] = ()
    """In ascending order of id, each id once, the removed ones too."""

    @classmethod
    def of(cls, entries: Iterable[DriveEntry]) -> Self:
        """A drive of these entries, in any order; those of one id are merged."""
        known: dict[bytes, DriveEntry] = {}
        for entry in entries:
            known[entry.id] = known[entry.id].merge(entry) if entry.id in known else entry
        return cls(tuple(known[identifier] for identifier in sorted(known)))

    def by_id(self) -> dict[bytes, DriveEntry]:
        """Its entries by their ids."""
        return {entry.id: entry for entry in self.entries}

    def merge(self, other: Self) -> Self:
        """The join of two drives: commutative, associative, idempotent. No id of either is lost."""
        return type(self).of((*self.entries, *other.entries))

    def purged(self, now_ms: int) -> Self:
        """Without removals of more than 400 days ago: for a writer, just before it publishes."""
        kept = (entry for entry in self.entries if entry.live or entry.place.stamp > now_ms - REMOVED_MS)
        return type(self)(tuple(kept))

    def encode(self) -> bytes:
        """The drive's bytes.

        Raises:
            DriveFullError: It has more than 65,536 entries or 16 MiB.
            LocalProtocolError: An entry breaks the rules.
        """
        if len(self.entries) > MAX_ENTRIES:
            raise DriveFullError(f"a drive has at most {MAX_ENTRIES} entries, got {len(self.entries)}")
        try:
            _check_entries(self.entries)
        except ValueError as exc:
            raise LocalProtocolError(f"cannot make a drive: {exc}") from exc
        data = codec.encode(_Drive(version=VERSION, entries=self.entries))
        if len(data) > MAX_DRIVE_BYTES:
            raise DriveFullError(f"a drive has at most {MAX_DRIVE_BYTES} bytes, got {len(data)}")
        return data

    @classmethod
    def decode(cls, data: Bytes) -> Self:
        """Inverse of ``encode``; seconds of work for the largest.

        Raises:
            RemoteProtocolError: Malformed, too large, of another version, or an entry breaks the rules.
        """
        if len(data) > MAX_DRIVE_BYTES:
            raise RemoteProtocolError(f"a drive has at most {MAX_DRIVE_BYTES} bytes, got {len(data)}")
        fields = codec.decode(_Drive, data)
        if fields.version != VERSION:
            raise RemoteProtocolError(f"a drive of version {fields.version} is not known here")
        try:
            _check_entries(fields.entries)
        except ValueError as exc:
            raise RemoteProtocolError(f"a drive breaks the rules: {exc}") from exc
        return cls(fields.entries)


def _check_entries(entries: tuple[DriveEntry, ...]) -> None:
    """Raises ValueError; the message names an entry by its number: paths and labels are private."""
    previous = b""
    for number, entry in enumerate(entries):
        problem = path_problem(entry.path) or _content_problem(entry)
        if number and entry.id <= previous:
            problem = "it is a duplicate, or out of order"
        if problem is not None:
            raise ValueError(f"entry {number}: {problem}")
        previous = entry.id


def _content_problem(entry: DriveEntry) -> str | None:
    """What forbids the content of an entry of its kind, or its id."""
    content, kind = entry.content, entry.kind
    if kind is EntryKind.FOLDER:
        if content != Content():
            return "a folder has no content"
        return None if entry.id == _folder_id(entry.path) else "its id is not that of its path"
    if content.label and kind not in (EntryKind.DEPOSIT, EntryKind.NAME):
        return "only a deposit or a name has a label"
    if not content.link:
        return None if kind is EntryKind.DRIVE else "it has no link"
    try:
        link = parse_payload(content.link)
    except LinkError as exc:
        return str(exc)
    if kind in _DEPOSITS:
        return None if isinstance(link, Link) and link.kind is LinkKind.READ else "a deposit has a read link"
    if kind is EntryKind.NAME:
        good = isinstance(link, NameLink) and content.label and entry.id == _name_id(content.label)
        return None if good else "a name has a name link, a label, and the id of its label"
    good = isinstance(link, Link | NameLink) and entry.id == _link_id(link)
    return None if good else "its link is sealed, or its id is not that of its link"


def parents(path: bytes) -> Iterable[bytes]:
    """The folders a path lies in, the innermost first."""
    while path := path.rpartition(b"/")[0]:
        yield path


def folders(drive: Drive) -> frozenset[bytes]:
    """The paths of all folders: those with an entry, and those that something listed lies in."""
    found: set[bytes] = set()
    for entry in drive.entries:
        if entry.live and entry.kind in LISTED:
            if entry.kind is EntryKind.FOLDER:
                found.add(entry.path)
            for folder in parents(entry.path):
                if folder in found:
                    break  # and so are those above it: each was added with all of its own
                found.add(folder)
    return frozenset(found)


def listed(drive: Drive) -> dict[bytes, DriveEntry]:
    """What a drive shows besides folders, by the path it is shown at, in order of path.

    A path leads to one thing: to a folder, if there is one, else to the entry with the lowest id. The others are
    shown as ``path (2)``, ``path (3)`` and so on, wherever nothing else stands (docs/spec/drive.md section 4).
    """
    shown: dict[bytes, DriveEntry] = {}
    others: list[DriveEntry] = []
    taken = folders(drive)
    for entry in drive.entries:
        if entry.live and entry.kind in LISTED and entry.kind is not EntryKind.FOLDER:
            if entry.path in taken or entry.path in shown:
                others.append(entry)
            else:
                shown[entry.path] = entry
    numbers: dict[bytes, int] = {}
    for entry in sorted(others, key=lambda other: (other.path, other.id)):
        number = numbers.get(entry.path, 2)
        while (path := b"%b (%d)" % (entry.path, number)) in taken or path in shown:
            number += 1
        shown[path] = entry
        numbers[entry.path] = number + 1
    return dict(sorted(shown.items()))
