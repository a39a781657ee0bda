"""A folder as it is on one side; on ours, told by what was known of its files when both sides last agreed.

Size and time do not tell everything: some programs give a file that they wrote to its old time, and some file systems
cannot keep the time or the executable bit that came from the drive. So the stamp and a digest of each file are
remembered. A file with the stamp it had then is what was agreed then, whatever the file system says of it; one with
another stamp that looks the same is read, and if its bytes differ it gets a time of its own in the drive.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from node.errors import RefusedError
from node.publishing.source import Source
from node.syncing.folder import SyncedFolder
from node.syncing.plan import Item, same
from node.syncing.state import Known
from node.syncing.workfolder import WORK_NAME
from protocol.manifest import Entry, Kind

_BUMP_NS = 999_999_999


@dataclass(frozen=True, slots=True)
class Side:
    """The folder as it is on one side."""

    items: dict[bytes, Item]
    numbers: dict[bytes, int]
    """Path -> index of its entry."""


def side(entries: Sequence[Entry], top: bytes) -> Side:
    """What is in the folder, but for our own working folder, which a manifest might name too.

    Args:
        entries: Their paths begin with ``top``.
        top: The name of the folder.
    """
    items: dict[bytes, Item] = {}
    numbers: dict[bytes, int] = {}
    start = len(top) + 1
    for number, entry in enumerate(entries):
        path = entry.path[start:]
        if path and WORK_NAME not in path.split(b"/"):
            items[path] = _item(entry)
            numbers[path] = number
    return Side(items, numbers)


def check_skipped(source: Source, top: bytes, there: Mapping[bytes, Item]) -> None:
    """What cannot be published must not pass for deleted.

    Raises:
        RefusedError: It stands where the drive has something.
    """
    for path, why in zip(source.skipped_paths, source.skipped, strict=True):
        if path[len(top) + 1 :] in there:
            raise RefusedError(
                f"the drive has something where there is, here, what cannot be published: {why}",
                hint="move it out of the folder: then what the drive has goes as well, as if deleted here",
            )


def recognise(folder: SyncedFolder, source: Source, top: bytes, known: Mapping[bytes, Known]) -> Iterator[None]:
    """Correct what a listing says of files that were known before, step by step. Blocks; raises MachineError."""
    for number, entry in enumerate(source.entries):
        was = known.get(entry.path[len(top) + 1 :])
        if was is None or entry.kind is not Kind.FILE or was.item.kind is not Kind.FILE:
            continue
        item = was.item
        if source.stamps[number] != was.stamp:
            if not same(item, _item(entry)):
                continue
            found = yield from folder.digest(entry.path[len(top) + 1 :], source.stamps[number])
            if found is None or found == was.digest:  # None: it is being written to, and will not be replaced
                continue
            item = _at_a_time_of_its_own(item, found)
        source.entries[number] = replace(entry, mtime_ns=item.mtime_ns, executable=item.executable)


def learn(
    folder: SyncedFolder, source: Source, top: bytes, known: Mapping[bytes, Known], learnt: dict[bytes, Known]
) -> Iterator[None]:
    """Put all that is listed into ``learnt``, to be remembered, step by step. Blocks; raises MachineError."""
    here = side(source.entries, top)
    for path, item in here.items.items():
        stamp, was, found = source.stamps[here.numbers[path]], known.get(path), None
        if was is not None and was.stamp == stamp:
            found = was.digest
        if not found and item.kind is Kind.FILE:
            found = yield from folder.digest(path, stamp)
        learnt[path] = Known(item, stamp, found or b"")


def _item(entry: Entry) -> Item:
    return Item(entry.kind, entry.size, entry.mtime_ns, entry.executable, entry.target)


def _at_a_time_of_its_own(item: Item, digest: bytes) -> Item:
    """The item less than a second from its time: other bytes have, almost certainly, another time."""
    bump = 1 + int.from_bytes(digest[:8], "big") % _BUMP_NS
    return item._replace(mtime_ns=item.mtime_ns + (bump if item.mtime_ns < 0 else -bump))
