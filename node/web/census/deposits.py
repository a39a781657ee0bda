"""How what is in the account's drive stands: live chunks by claimed country, and what it survives."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Any

from node.account.unlocked import Watch
from node.account.vault import Vault
from node.client import Client
from node.drive.fields import kind_of, state_of
from node.drive.health import Condition, conditions
from node.drive.known import Owner, read_known
from node.drive.service import DriveService, open_cache
from node.drive.tree import Tree
from node.errors import NodeError, NotFoundError, RefusedError
from node.home import Home
from node.journal import Journal
from node.progress import Progress
from node.web.census.rounds import Rounds
from protocol.drive import DriveEntry
from protocol.ids import PublicKey

KEPT_SECONDS = 60.0
"""How long a count holds."""
MOST = 1000
"""Things counted in a round, each by a real check."""
_BATCH = 16
"""Counted, then told."""

OpenOwner = Callable[[], AbstractAsyncContextManager[Owner]]
"""The owner of the drive that the page shows, for a while. Raises NodeError: there is no account, or it is locked."""


class DepositCensus:
    """Counts them all again and again, as long as somebody looks."""

    def __init__(self, open_owner: OpenOwner) -> None:
        self._open_owner = open_owner
        self._rounds = Rounds(self._round, KEPT_SECONDS)
        self._whose: PublicKey | None = None
        self._forget()
        self.run = self._rounds.run

    def _forget(self) -> None:
        self._found: dict[bytes, dict[str, Any]] = {}
        self._done = self._total = self._left_out = 0
        self._ended: int | None = None
        self._trouble: str | None = None
        self._rounds.forget()

    async def look(self) -> dict[str, Any]:
        """What is known now, ready for JSON; if it is old, a round begins.

        Raises:
            NodeError: There is no account, or it is locked. What was known is forgotten.
        """
        try:
            async with self._open_owner() as owner:
                whose = owner.account.identity.key
        except NodeError:
            self._forget()
            self._whose = None
            raise
        if whose != self._whose:
            self._forget()
            self._whose = whose
        self._rounds.look()
        return {
            "deposits": list(self._found.values()),
            "done": self._done,
            "total": self._total,
            "left_out": self._left_out,
            "counting": self._rounds.under_way,
            "counted": self._ended,
            "trouble": self._trouble,
        }

    async def _round(self) -> None:
        try:
            async with self._open_owner() as owner:
                self._trouble = None
                await owner.online(self._count)
                self._ended = int(owner.world.clock.wall())
        except NodeError as exc:
            self._trouble = str(exc)

    async def _count(self, service: DriveService) -> None:
        known = await read_known(service)
        shown = sorted(Tree(known.drive).shown.items())
        whose, wanted = service.account.identity.key, shown[:MOST]
        self._trouble = None if known.why is None else str(known.why)
        self._done, self._total, self._left_out = 0, len(wanted), len(shown) - len(wanted)
        kept = {entry.id for _, entry in wanted}
        self._found = {identifier: found for identifier, found in self._found.items() if identifier in kept}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            found = await conditions(service.client, service.seen, [entry for _, entry in batch], Progress())
            if whose != self._whose:
                return  # it was locked meanwhile, or is another account's page now
            for path, entry in batch:
                self._found[entry.id] = _fields(path, entry, found.get(entry.id, Condition()))
            self._done += len(batch)


def _fields(path: bytes, entry: DriveEntry, condition: Condition) -> dict[str, Any]:
    survives = condition.survives
    return {
        "id": entry.id.hex(),
        "path": os.fsdecode(path),
        "kind": kind_of(entry),
        "state": state_of(condition),
        "live": condition.live,
        "chunks": condition.chunks,
        "countries": {code: count for code, count in condition.countries.items() if code},
        "unclaimed": condition.countries.get("", 0),
        "survives": None
        if survives is None
        else {
            "nodes": survives.nodes,
            "country": list(survives.country),
            "not_country": list(survives.not_country),
        },
        "why": condition.why or None,
    }


def unlocked(client: Client, home: Home | None) -> OpenOwner:
    """Opens the drive of a home's account, while that is unlocked."""
    watch = None if home is None else Watch(home)

    @asynccontextmanager
    async def open_owner() -> AsyncIterator[Owner]:
        if home is None or watch is None or not await client.world.blocking(lambda: Vault.of(home).exists):
            raise NotFoundError("there is no account here", hint="make one, or restore one from its words")
        keys = await client.world.blocking(watch.keys)
        if keys is None:
            raise RefusedError("the account is locked", hint="unlock it")
        cache = open_cache(home, keys, client.network.id, client.world.random_bytes)
        with closing(Journal(home.journal, client.network.id)) as journal:
            yield Owner.of_node(client, home, keys, journal, cache)

    return open_owner
