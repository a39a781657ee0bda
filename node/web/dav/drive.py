"""The drive of the account of a node's home, for WebDAV: its folders, and in each of its things what that leads to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import trio

from node.account.unlocked import Watch
from node.drive.service import open_drive
from node.drive.tree import Item, Tree
from node.errors import MachineError, NodeError, RefusedError, told
from node.home import Home
from node.journal import Journal
from node.reading.opened import Opened
from node.reading.served import Served
from node.reading.together import Together
from node.reading.tree import children
from node.web.dav.places import Place, Thing, in_deposit
from protocol.account import AccountKeys
from protocol.drive import DriveEntry
from protocol.ids import PublicKey
from protocol.links import Link, NameLink
from protocol.manifest import Kind

KNOWN_SECONDS = 30.0
"""How long a drive that was read is taken for the newest."""


@dataclass(slots=True)
class DriveView:
    """Of one home. While its account is locked there is nothing to see."""

    served: Served
    home: Home
    _watch: Watch = field(init=False)
    _trees: dict[PublicKey, tuple[Tree, float]] = field(default_factory=dict)
    """The account's drive, and when it was read, by trio's clock."""
    _reading: Together[PublicKey, Tree] = field(default_factory=Together)

    def __post_init__(self) -> None:
        self._watch = Watch(self.home)

    async def place(self, path: bytes) -> Place:
        """What stands at a path of the drive, or in what stands there.

        Raises:
            RefusedError: The account is locked, or there is none.
            NotFoundError: There is nothing.
            NodeError: The drive or a deposit in it cannot be read.
        """
        tree = await self._tree()
        if path in tree.folders:
            return Place(Thing(name=path.rpartition(b"/")[2]), lambda: _things(tree, path))
        entry, inside = tree.split(path)
        opened = await self._open(entry)
        shown_at = path[: len(path) - len(inside)].rstrip(b"/")
        return in_deposit(opened, inside, _thing_of(entry, shown_at), _base(opened))

    async def _open(self, entry: DriveEntry) -> Opened:
        link = entry.link
        assert isinstance(link, Link | NameLink), "of what is listed and no folder"
        return await self.served.shelf.open(self.served.client, link)

    async def _tree(self) -> Tree:
        keys = await self.served.client.world.blocking(self._watch.keys)
        if keys is None:
            self._trees.clear()
            raise RefusedError("the account is locked, or there is none", hint="archipel account unlock")
        known = self._trees.get(keys.identity.key)
        if known is not None and trio.current_time() < known[1] + KNOWN_SECONDS:
            return known[0]
        tree = await self._reading.do(keys.identity.key, lambda: self._read(keys))
        self._trees = {keys.identity.key: (tree, trio.current_time())}
        return tree

    async def _read(self, keys: AccountKeys) -> Tree:
        """The newest drive there is; while the network does not give it, this machine's last copy."""
        client = self.served.client
        blocking = client.world.blocking
        journal = await blocking(Journal, self.home.journal, client.network.id)
        try:
            service = open_drive(client, self.home, keys, journal)
            try:
                cached = await service.read()
            except (NodeError, ExceptionGroup) as exc:
                why = told(exc)
                if isinstance(why, MachineError):
                    raise why from exc
                cached = await blocking(service.cache.load)
        finally:
            journal.close()
        return await blocking(Tree, cached.drive)


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
