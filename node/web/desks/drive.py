"""The drive of the node's account, for its page: shown at once as this home knows it, and read anew meanwhile.

Goals: who looks never waits for the network, but the first time; what is shown says how old it is, and why; changes of
several tabs come one after another, and those of commands and of the caretaker do not disturb them (the locks of
``DriveCache``). Nothing that an unlocked account opens is kept here once nobody has looked for a minute.
"""

import logging
import os
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import trio

from node.client import Client
from node.drive.cache import DriveCache
from node.drive.health import Condition
from node.drive.known import Known, Owner, read_known
from node.drive.service import Change, open_cache
from node.drive.tree import Item, Tree
from node.errors import NetworkError, NodeError, NotFoundError, RefusedError, place_of, told
from node.journal import Journal
from node.names.seen import Seen
from node.web.desks.account import AccountDesk
from node.web.desks.health import HealthBook
from protocol.account import AccountKeys
from protocol.drive import DriveEntry
from protocol.ids import PublicKey

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""So long after the network was asked it is not asked again."""
FIRST_SECONDS = 10.0
"""How long who looks waits for the network, where this home has never seen a drive."""
REFRESH_SECONDS = 180.0
CHANGE_SECONDS = 120.0
PATIENCE_SECONDS = 60.0
"""How long a change waits for another one."""
IDLE_SECONDS = 60.0
"""How long the last copy is held open when nobody looks."""


class DriveDesk:
    """Of one node. Start :meth:`run` as a task."""

    def __init__(self, accounts: AccountDesk, client: Client) -> None:
        """
        Args:
            accounts: Whose drive.
            client: The node's.
        """
        self.accounts = accounts
        self.client = client
        self._book = HealthBook(client)
        self._open: tuple[PublicKey, DriveCache] | None = None
        self._tree: Tree | None = None
        self._wanted = trio.Event()
        self._heard = trio.Event()
        self._asked: float | None = None
        """When the network was last asked; None: never, for this account."""
        self._why: NodeError | None = None
        """Why it did not give its newest."""
        self._changing = trio.Lock()

    async def run(self) -> None:
        """Read the drive from the network when somebody looks, until cancelled. Nothing ends it."""
        while True:
            with trio.move_on_after(IDLE_SECONDS):
                await self._wanted.wait()
            if not self._wanted.is_set():
                self._close()
                await self._wanted.wait()
            await self._refresh()
            self._wanted = trio.Event()
            self._heard.set()
            self._heard = trio.Event()

    def forget(self) -> None:
        """What was opened with the account's keys: it has been locked, or another one is there."""
        self._close()
        self._book.clear()
        self._asked = self._why = None

    @property
    def refreshing(self) -> bool:
        """Whether the network is being asked."""
        return self._wanted.is_set()

    async def look(self) -> Known:
        """The drive as this home knows it; if that is a while ago the network is asked meanwhile.

        Raises:
            NotFoundError, RefusedError: There is no account; it is locked.
            MachineError: The last copy cannot be used.
        """
        keys = await self._keys()
        known = await self._copy(keys)
        if self._asked is None or trio.current_time() - self._asked >= FRESH_SECONDS:
            first = self._asked is None and known.is_new
            self._wanted.set()
            if first:
                with trio.move_on_after(FIRST_SECONDS):
                    await self._heard.wait()
                known = await self._copy(keys)
        return known

    async def tree(self, known: Known) -> Tree:
        """A drive by the paths it is shown at."""
        found = self._tree
        if found is None or found.drive is not known.drive:
            found = self._tree = await self.client.world.blocking(Tree, known.drive)
        return found

    async def search(self, known: Known, text: str, most: int) -> tuple[list[Item], bool]:
        """What has ``text`` in its path, in whatever case; whether there is more than ``most``."""
        return await self.client.world.blocking(_search, await self.tree(known), text, most)

    async def conditions(self, entries: Sequence[DriveEntry], seconds: float) -> dict[bytes, Condition]:
        """How some entries are, by their ids; what is not known within so many seconds is left out, and may be asked
        for again."""
        seen = Seen(self.accounts.home.names, self.client.network.id)
        return await self._book.conditions(seen, entries, seconds)

    async def change(self, change: Change) -> Known:
        """Change the drive: here, and then on the network if that can be reached.

        Raises:
            NodeError: As ``change``: nothing was changed.
            RefusedError: Others are changing it all the time.
            NetworkError: It took too long: it may be changed here.
        """
        with trio.move_on_after(PATIENCE_SECONDS) as scope:
            await self._changing.acquire()
        if scope.cancelled_caught:
            raise RefusedError("the drive is being changed", hint="try again later")
        try:
            async with self.owner(CHANGE_SECONDS) as owner:
                known = await owner.change(change)
        finally:
            self._changing.release()
        return self.note(known)

    def note(self, known: Known) -> Known:
        """Remember that the network was asked just now, and with what success."""
        self._why, self._asked = known.why, trio.current_time()
        return known

    @asynccontextmanager
    async def owner(self, seconds: float) -> AsyncIterator[Owner]:
        """The owner of the drive, for work that takes so many seconds at most.

        Raises:
            NotFoundError, RefusedError: There is no account; it is locked.
            NetworkError: The time is over: what was done is done.
        """
        keys = await self._keys()
        with trio.move_on_after(seconds) as scope:
            with closing(Journal(self.accounts.home.journal, self.client.network.id)) as journal:
                yield Owner.of_node(self.client, self.accounts.home, keys, journal, self._cache(keys))
        if scope.cancelled_caught:
            raise NetworkError(
                f"it was not done within {seconds:.0f} seconds", hint="look what was done, and try again"
            )

    async def _keys(self) -> AccountKeys:
        try:
            return await self.accounts.keys()
        except (NotFoundError, RefusedError):
            self.forget()
            raise

    def _cache(self, keys: AccountKeys) -> DriveCache:
        key = keys.identity.key
        if self._open is None or self._open[0] != key:
            world = self.client.world
            cache = open_cache(self.accounts.home, keys, self.client.network.id, world.random_bytes)
            self._open = key, cache
        return self._open[1]

    async def _copy(self, keys: AccountKeys) -> Known:
        cache = self._cache(keys)
        return Known(await self.client.world.blocking(cache.load), self._why)

    def _close(self) -> None:
        self._open = self._tree = None

    async def _refresh(self) -> None:
        why: NodeError | None = None
        try:
            async with self.owner(REFRESH_SECONDS) as owner:
                why = (await owner.online(read_known)).why
        except (NodeError, ExceptionGroup) as exc:
            try:
                why = told(exc)
            except ExceptionGroup:
                log.error("a bug has ended a reading of the drive: %s", place_of(exc))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the node has others' chunks to look after
            log.error("a bug has ended a reading of the drive: %s", place_of(exc))
        self._why, self._asked = why, trio.current_time()


def _search(tree: Tree, text: str, most: int) -> tuple[list[Item], bool]:
    wanted = _folded(text)
    items = [Item(path, None) for path in tree.folders if path]
    items += [Item(path, entry) for path, entry in tree.shown.items()]
    found = [item for item in sorted(items, key=lambda item: item.path) if wanted in _folded(os.fsdecode(item.path))]
    return found[:most], len(found) > most


def _folded(text: str) -> str:
    """One keyboard gives an accented letter as one character, another as two."""
    return unicodedata.normalize("NFC", text).casefold()
