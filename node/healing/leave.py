"""A node that leaves hands every chunk on before it goes. What is left after a break is what is left to do."""

import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass

import trio

from node.client import Client
from node.healing.handover import TAKE_OVERS_EACH, Handover
from node.healing.ledger import Ledger
from node.healing.repair import Repairs
from node.net.peers import PeerError
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import short

log = logging.getLogger(__name__)

PASSES = 3
"""How often what nobody took is offered again."""
AGAIN_SECONDS = 10.0
AT_ONCE = TAKE_OVERS_EACH
"""More would find a network of two busy, and be taken for what nobody takes."""
TOLD_SECONDS = 1.0
"""How often it is told how far it has come."""
_PAGE = 256


@dataclass(slots=True)
class LeaveProgress:
    """How far it has come. All of it is confirmed: a chunk counts as moved when another node has acknowledged it."""

    total: int
    """Chunks at the beginning."""
    moved: int = 0
    failed: int = 0
    """Chunks that nobody took in the pass that is under way, or was last."""
    bytes: int = 0
    """Of the chunks that were moved."""

    def fields(self) -> dict[str, int]:
        return asdict(self) | {"left": self.total - self.moved}


class Leave:
    """Hands on all that this node holds. Once it has begun, the node takes nothing any more."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        store: ChunkStore,
        statements: Statements,
        repairs: Repairs,
        handover: Handover,
    ) -> None:
        self._ledger = ledger
        self._blocking = client.world.blocking
        self._store = store
        self._statements = statements
        self._repairs = repairs
        self._handover = handover
        self._wanted = trio.Event()
        self.done = trio.Event()
        """Set when all that can be moved has been."""
        self.told = trio.Event()
        """Set when whoever watched to the end has heard of it."""
        self.progress = LeaveProgress(0)

    async def watch(self) -> AsyncGenerator[LeaveProgress, None]:
        """Begin to leave, or watch it go on; the last progress is the outcome. Whoever stops watching stops nothing."""
        self._wanted.set()
        while not self.done.is_set():
            with trio.move_on_after(TOLD_SECONDS):
                await self.done.wait()
            yield self.progress
        self.told.set()

    async def run(self) -> None:
        """Wait until somebody wants it, then do it."""
        await self._wanted.wait()
        self._statements.leaving = True
        held = await self._held()
        self.progress = LeaveProgress(len(held))
        log.info("leaving: %d chunks to be handed on", len(held))
        for tries_left in reversed(range(PASSES)):
            self.progress.failed = 0
            await self._pass(held)
            held = await self._held()
            if not held:
                break
            log.info("leaving: nobody has taken %d chunks", len(held))
            if tries_left:
                await trio.sleep(AGAIN_SECONDS)
        log.info("leaving: %d of %d chunks handed on", self.progress.moved, self.progress.total)
        self.done.set()

    async def _held(self) -> list[HeldChunk]:
        """What is to be handed on. Some 300 bytes each: a node with a million chunks can spare that when it leaves."""
        held: list[HeldChunk] = []
        after = (b"", 0)
        while page := await self._blocking(self._store.holdings, after, _PAGE):
            held += page
            after = (page[-1].segment, page[-1].index)
        return held

    async def _pass(self, held: Sequence[HeldChunk]) -> None:
        places = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for chunk in held:
                await places.acquire()
                nursery.start_soon(self._move, chunk, places)

    async def _move(self, chunk: HeldChunk, places: trio.Semaphore) -> None:
        moved = 0
        try:
            await self._repairs.learn(chunk.segment)
            moved = await self._handover.hand_on(chunk.segment, chunk.index, only_better=False)
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
            log.info("%s.%d could not be handed on: %s", short(chunk.segment), chunk.index, exc or "too slow")
        finally:
            places.release()
        self.progress.moved += moved > 0
        self.progress.failed += not moved
        self.progress.bytes += moved
