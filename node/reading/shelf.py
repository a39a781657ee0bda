"""Links are opened here, and what they lead to is kept for a while: who reads a file asks a hundred times."""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial

import trio

from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.home import Home
from node.names.reading import resolve
from node.names.seen import Seen
from node.progress import Progress
from node.reading.opened import Opened
from node.reading.slots import Slots
from node.reading.together import Together
from protocol.links import Link, NameLink
from protocol.names import NameReader

MOST_WEIGHT = 200_000
"""Entries of all deposits that are kept, about 80 MB; one that has more is kept alone."""
MOST_KEPT = 64
"""Deposits; and names, of which it is known what they lead to."""
AT_ONCE = 4
"""Deposits that are being opened: a table of contents may take 256 MiB, and a stranger may have made it."""
NAME_SECONDS = 30.0
"""How long a name is taken to lead where it led."""


@dataclass(slots=True)
class Shelf:
    """Opens links for one home, on one network."""

    home: Home
    _deposits: OrderedDict[Link, Opened] = field(default_factory=OrderedDict)
    """The one that was used last is the last."""
    _names: OrderedDict[NameLink, tuple[Link, float]] = field(default_factory=OrderedDict)
    """Where each leads, and when that was asked, by trio's clock."""
    _room: Slots = field(default_factory=partial(Slots, AT_ONCE, "opening deposits"))
    _opening: Together[Link, Opened] = field(default_factory=Together)
    _resolving: Together[NameLink, Link] = field(default_factory=Together)

    async def open(self, client: Client, link: Link | NameLink) -> Opened:
        """What a link leads to; of a name, what it led to not more than 30 seconds ago.

        Raises:
            ConfigError: A verify link reads nothing.
            NotFoundError, IntegrityFailure, NetworkError, MachineError: As :func:`read_contents` and :func:`resolve`.
        """
        bare = await self._lead(client, link) if isinstance(link, NameLink) else Link(link.kind, link.root, link.key)
        found = self._deposits.get(bare)
        if found is None:
            found = await self._opening.do(bare, lambda: self._fetch(client, bare))
        self._deposits[bare] = found
        self._deposits.move_to_end(bare)
        self._put_away()
        return found

    async def _fetch(self, client: Client, link: Link) -> Opened:
        downloader = Downloader(client, Progress())
        async with self._room.taken():
            opened = Opened(link, await read_contents(downloader, link))
        opened.learn(downloader)
        return opened

    async def _lead(self, client: Client, name: NameLink) -> Link:
        bare = NameLink(name.name, name.read_key)
        known = self._names.get(bare)
        if known is not None and trio.current_time() < known[1] + NAME_SECONDS:
            return known[0]
        link = await self._resolving.do(bare, lambda: self._resolve(client, bare))
        self._names[bare] = link, trio.current_time()
        self._names.move_to_end(bare)
        while len(self._names) > MOST_KEPT:
            self._names.popitem(last=False)
        return link

    async def _resolve(self, client: Client, name: NameLink) -> Link:
        shown = await resolve(client, NameReader(name.name, name.read_key), Seen(self.home.names, client.network.id))
        return shown.link

    def _put_away(self) -> None:
        weight = sum(opened.weight for opened in self._deposits.values())
        while len(self._deposits) > 1 and (weight > MOST_WEIGHT or len(self._deposits) > MOST_KEPT):
            _, gone = self._deposits.popitem(last=False)
            weight -= gone.weight
