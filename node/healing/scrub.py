"""All blocks of what we hold ourselves (docs/spec/healing.md section 1)."""

import logging
from functools import partial

import trio

from node.client import Client
from node.healing.sweep import Sweep, Window
from node.healing.tally import Tally
from node.intervals import Intervals
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import short

log = logging.getLogger(__name__)

_PAGE = 16
"""Of what is due at one tick: a node of 100,000 chunks reads two or three."""


class Scrub:
    """Reads our own chunks, each once in an interval: what has rotted is found before somebody needs it."""

    def __init__(self, store: ChunkStore, client: Client, intervals: Intervals, tally: Tally) -> None:
        self._store = store
        self._wall = client.world.clock.wall
        self._blocking = client.world.blocking
        self._intervals = intervals
        self._tally = tally

    async def run(self) -> None:
        """A few at every tick, until cancelled."""
        sweep = Sweep(self._intervals.scrub)
        while True:
            for window in sweep.due(self._wall()):
                await self._check_all(window)
            await trio.sleep(self._intervals.tick)

    async def _check_all(self, window: Window) -> None:
        after: tuple[bytes, int] = (window.low, -1)
        while page := await self._page(after):
            after = (page[-1].segment, page[-1].index)
            for chunk in page:
                if chunk.segment >= window.high:
                    return
                await self._check(chunk)

    async def _page(self, after: tuple[bytes, int]) -> list[HeldChunk]:
        """Those in the trash as well: a renewal may bring them back."""
        try:
            return await self._blocking(partial(self._store.holdings, after, _PAGE, trash=True))
        except Refusal as exc:
            log.error("could not list what is held: %s", exc)
            return []

    async def _check(self, chunk: HeldChunk) -> None:
        try:
            await self._blocking(self._store.scrub, chunk.segment, chunk.index)
        except Refusal as exc:
            log.error("could not check %s.%d: %s", short(chunk.segment), chunk.index, exc)
        else:
            self._tally.scrubbed_chunks += 1
