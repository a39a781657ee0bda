"""Who of the other holders is there: one sign of life counts for all segments shared with a node."""

import logging
from collections.abc import Awaitable, Callable

import trio

from dht.service import Dht
from node.healing.audits import SILENCES
from node.healing.ledger import CoHolder, Ledger
from node.healing.rights import Rights
from node.healing.tally import Tally
from node.intervals import Intervals
from protocol.ids import PublicKey, short

log = logging.getLogger(__name__)

AGAIN_SECONDS = 30.0
"""After an unanswered ping another follows; at most so much later. Two unanswered: the node is missing."""
_PINGS_AT_ONCE = 32


class Liveness:
    """Hears of every signed datagram, and pings those who are silent."""

    def __init__(
        self,
        ledger: Ledger,
        dht: Dht,
        answers_audit: Callable[[CoHolder], Awaitable[bool]],
        rights: Rights,
        intervals: Intervals,
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._dht = dht
        self._answers_audit = answers_audit
        self._intervals = intervals
        self._tally = tally
        self._rights = rights
        self._heard_any = 0.0
        self._places = trio.Semaphore(_PINGS_AT_ONCE)
        dht.on_heard = self.heard

    def heard(self, key: PublicKey) -> None:
        """A node has just signed something for us."""
        if self._heard_any:
            self._rights.was_away(trio.current_time() - self._heard_any)
        self._heard_any = trio.current_time()
        node = self._ledger.known(key)
        if node is None or node is self._ledger.own:
            return
        node.heard = trio.current_time()
        if node.missing_since is not None and not _is_deaf(node):
            log.info("node %s is back after %.0f s", short(node.node_id), node.heard - node.missing_since)
            node.missing_since = None

    async def run(self) -> None:
        """Ping, until cancelled, whoever has been silent for an interval."""
        pause = self._intervals.ping / 4
        while True:
            await trio.sleep(pause)
            before = trio.current_time() - self._intervals.ping + pause / 2
            shared = [node for node in self._ledger.others() if node.holdings]
            silent = [node for node in shared if max(node.heard, node.pinged) <= before]
            async with trio.open_nursery() as nursery:
                for node in silent:
                    await self._places.acquire()
                    nursery.start_soon(self._in_place, self._look_for, node)
                for node in shared:
                    if _is_deaf(node) and node.heard > before:  # else it is perhaps us who are cut off
                        await self._places.acquire()
                        nursery.start_soon(self._in_place, self._audit_deaf, node)
            self._count()

    async def _in_place(self, look: Callable[[CoHolder], Awaitable[None]], node: CoHolder) -> None:
        try:
            await look(node)
        finally:
            self._places.release()

    async def _audit_deaf(self, node: CoHolder) -> None:
        """A node that answers pings but no audits is missing, until it answers one."""
        if await self._answers_audit(node):
            self.heard(node.contact.key)
        elif node.missing_since is None:
            self._is_missing(node, trio.current_time(), "answers no audits")

    async def _look_for(self, node: CoHolder) -> None:
        """Ping a node; if it is silent, once more; and then look whether it has moved.

        Who is missing already is pinged, and no more: were it looked for as well, every time, a network that has lost a
        third of its nodes would do little else. When it comes back it shows itself (docs/spec/healing.md section 1).
        """
        began = node.pinged = trio.current_time()
        if await self._answers(node) or node.missing_since is not None:
            return
        self._places.release()  # a third of the network may have gone: their second pings need not queue as well
        await trio.sleep(min(AGAIN_SECONDS, self._intervals.ping / 4))
        await self._places.acquire()
        if await self._answers(node):
            return
        for found in await self._dht.lookup(node.node_id):
            if found.contact.key == node.contact.key:  # which has just answered from there
                node.contact = found.contact
                return
        cut_off = self._heard_any < began  # nobody answers us: it is us who are missing
        if node.missing_since is None and node.heard < began and not cut_off:
            self._is_missing(node, began, "does not answer any more")

    def _is_missing(self, node: CoHolder, since: float, why: str) -> None:
        node.missing_since = since
        log.info("node %s %s", short(node.node_id), why)
        for segment in self._ledger.shared_with(node):
            self._ledger.doubt(segment)

    async def _answers(self, node: CoHolder) -> bool:
        self._tally.pings += 1
        return await self._dht.ping(node.contact.address, node.contact.key) is not None

    def _count(self) -> None:
        others = self._ledger.others()
        self._tally.co_holders = sum(node.holdings > 0 for node in others)
        self._tally.missing_nodes = sum(node.holdings > 0 and node.missing_since is not None for node in others)


def _is_deaf(node: CoHolder) -> bool:
    return node.unanswered >= SILENCES
