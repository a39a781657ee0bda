"""The drive of the account of a node's home, for WebDAV: its folders, and in each of its things what that leads to."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from node.drive.tree import Item, Tree
from node.reading.opened import Opened
from node.reading.served import Served
from node.reading.tree import children
from node.web.dav.places import Place, Thing, in_deposit
from node.web.desks.drive import DriveDesk
from protocol.drive import DriveEntry
from protocol.links import Link, NameLink
from protocol.manifest import Kind


@dataclass(frozen=True, slots=True)
class DriveView:
    """Of one node. While the account of its home is locked there is nothing to see."""

    served: Served
    desk: DriveDesk

    async def place(self, path: bytes) -> Place:
        """What stands at a path of the drive, or in what stands there.

        Raises:
            NotFoundError: There is nothing, or no account.
            RefusedError: The account is locked.
            NodeError: The drive or a deposit in it cannot be read.
        """
        tree = await self.desk.tree(await self.desk.look())
        if path in tree.folders:
            return Place(Thing(name=path.rpartition(b"/")[2] or b"drive"), lambda: _things(tree, path))
        entry, inside = tree.split(path)
        opened = await self._open(entry)
        shown_at = path[: len(path) - len(inside)].rstrip(b"/")
        return in_deposit(opened, inside, _thing_of(entry, shown_at), _base(opened))

    async def _open(self, entry: DriveEntry) -> Opened:
        link = entry.link
        assert isinstance(link, Link | NameLink), "of what is listed and no folder"
        return await self.served.shelf.open(self.served.client, link)


def _base(opened: Opened) -> bytes:
    """Of a published folder: itself. It stands in the drive already, and need not stand in itself once more."""
    tops = [opened.entry(index) for index in islice(children(opened.manifest, b""), 2)]
    return tops[0].path if len(tops) == 1 and tops[0].kind is Kind.FOLDER else b""


def _things(tree: Tree, folder: bytes) -> Iterator[Thing]:
    for item in tree.items(folder):
        yield _thing(item)


def _thing(item: Item) -> Thing:
    return Thing(name=item.name) if item.entry is None else _thing_of(item.entry, item.path)


def _thing_of(entry: DriveEntry, path: bytes) -> Thing:
    return Thing(name=path.rpartition(b"/")[2], changed=entry.content.time or None)
