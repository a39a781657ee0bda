"""What a node does unasked: keep its table true, show itself, forget the expired (docs/spec/dht.md section 4)."""

from collections.abc import Awaitable, Callable

import trio

from dht.core import Core
from dht.lookup import lookup
from dht.routing import random_in
from protocol.datagrams import Ping

UPKEEP_SECONDS = 10.0
QUIET_SECONDS = 900.0
"""A contact not heard for so long is pinged (BEP 5: questionable after 15 minutes)."""
REFRESH_SECONDS = 3600.0
"""A bucket not used for so long is refreshed (Kademlia section 2.3)."""
REJOIN_SECONDS = 30.0
"""How often a node that knows nobody tries those again that it joined through."""
SETTLE_SECONDS = (0.0, 0.5, 2.5, 10.0, 60.0)
"""When a node that has joined, or has become a storage node, looks up itself: nodes that join at the same
moment do not hear of each other at once."""

MAX_REFRESHED = 32


class Upkeep:
    """One node's upkeep; :meth:`run` does it."""

    def __init__(
        self,
        core: Core,
        purge: Callable[[float], None],
        wall_clock: Callable[[], float],
        enter: Callable[[], Awaitable[None]],
    ) -> None:
        """``purge`` drops what has expired by the wall clock; ``enter`` goes through the ways in once more."""
        self._core = core
        self._purge = purge
        self._wall_clock = wall_clock
        self._enter = enter
        self._settling = trio.Event()
        self._due: list[float] = []

    def settle(self) -> None:
        """Make sure that the nodes around us know us. Clients do not want that."""
        if not self._core.read_only:
            self._settling.set()

    async def run(self) -> None:
        """Until cancelled."""
        rejoin = trio.current_time() + REJOIN_SECONDS
        tick = trio.current_time() + UPKEEP_SECONDS
        while True:
            with trio.move_on_at(min([*self._due[:1], tick])):
                await self._settling.wait()
            now = trio.current_time()
            if self._settling.is_set():
                self._settling = trio.Event()
                self._due = [now + after for after in SETTLE_SECONDS]
            if self._due and now >= self._due[0]:
                del self._due[0]
                await self._show()
            if now < tick:
                continue
            tick = now + UPKEEP_SECONDS
            self._purge(self._wall_clock())
            await self._wake_quiet(now)
            await self.refresh(now - REFRESH_SECONDS)
            if not len(self._core.table) and now >= rejoin:
                rejoin = now + REJOIN_SECONDS
                await self._enter()

    async def _show(self) -> None:
        """Ask the nodes around us, so that they ask us, and know us."""
        if len(self._core.table):
            await lookup(self._core, self._core.identity.node_id, afresh=True)
        else:
            await self._enter()

    async def _wake_quiet(self, now: float) -> None:
        """Ping the least recently heard contact of each bucket if it has been quiet for long."""
        for bucket in list(self._core.table.buckets):
            entry = next(iter(bucket.nodes.values()), None)
            if entry is not None and now - entry.heard > QUIET_SECONDS:
                await self._core.ask(entry.contact, Ping())

    async def refresh(self, before: float) -> None:
        """Look up a random id in each bucket that no lookup has touched since ``before``.

        A lookup may split a bucket, and leave one half untouched: so again and again, but not without end.
        """
        for _ in range(MAX_REFRESHED):
            stale = self._core.table.stale(before)
            if not stale or not len(self._core.table):
                return
            await lookup(self._core, random_in(stale[0], self._core.random_bytes))
