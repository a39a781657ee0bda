"""A node that leaves hands every chunk on before it goes. What is left after a break is what is left to do."""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import trio

from node.client import Client
from node.errors import MachineError
from node.healing.handover import TAKE_OVERS_EACH, UNWANTED, HandOver, Handover
from node.healing.ledger import Ledger
from node.healing.moving import reason
from node.healing.repair import Repairs
from node.net.peers import PeerError
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import SegmentId, short

log = logging.getLogger(__name__)

PASSES = 3
"""How often what nobody took is offered again."""
AGAIN_SECONDS = 10.0
AT_ONCE = TAKE_OVERS_EACH
"""More would find a network of two busy, and be taken for what nobody takes."""
PUTS_SECONDS = 60.0
"""How long puts that were under way are waited for."""
LOOK_SECONDS = 0.5
"""How often it is looked whether they have ended."""
TOLD_SECONDS = 1.0
"""How often it is told how far it has come."""
_PAGE = 256

_Chunk = tuple[SegmentId, int]


@dataclass(slots=True)
class LeaveProgress:
    """How far it has come. All of it is confirmed: a chunk counts as moved when another node has acknowledged it."""

    moved: int = 0
    left: int = 0
    """Chunks that are here still."""
    gone: int = 0
    """Chunks that went otherwise: deleted, ended, removed. Counted after each pass."""
    total: int = 0
    """Chunks that were here: those at the beginning, and the few that came later."""
    failed: int = 0
    """Chunks that nobody took in the pass that is under way, or was last."""
    bytes: int = 0
    """Of the chunks that were moved."""
    why: dict[str, int] = field(default_factory=dict)
    """What kept how many of the chunks that are left, most frequent first; as of the last pass."""

    def fields(self) -> dict[str, object]:
        return asdict(self)

    def count(self, before: Sequence[HeldChunk], held: Sequence[HeldChunk], why: Mapping[_Chunk, str]) -> None:
        """Take account of what is held after a pass over ``before``, and of why that was not handed on."""
        known = {(chunk.segment, chunk.index) for chunk in before}
        now = [(chunk.segment, chunk.index) for chunk in held]
        self.total += sum(chunk not in known for chunk in now)
        self.left = self.failed = len(now)
        self.gone = max(0, self.total - self.moved - self.left)
        self.why = dict(Counter(why.get(chunk, "came meanwhile") for chunk in now).most_common())


@dataclass(slots=True, eq=False)
class _Attempt:
    """From the moment that somebody wants it until nothing is left, or nobody takes what is."""

    wanted: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    progress: LeaveProgress = field(default_factory=LeaveProgress)
    trouble: str = ""
    """Why it is not even known what is left."""


LeaveState = Literal["not leaving", "leaving", "stayed", "left"]
"""``stayed``: not everything could be handed on, so the node goes on; ``left``: nothing is left, and it stops."""


@dataclass(frozen=True, slots=True)
class LeaveStanding:
    """How leaving stands."""

    state: LeaveState
    progress: LeaveProgress | None
    """Of what is under way, or was over last; None: nobody has wanted it yet."""
    trouble: str = ""
    """Why it is not known what is left."""


class Leave:
    """Hands on all that this node holds. Meanwhile the node takes nothing; if anything is left, it stays, and does."""

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
        self._attempt = _Attempt()
        """The next one, or the one under way, or the one that left nothing."""
        self.done = trio.Event()
        """Set when nothing is left."""
        self.told = trio.Event()
        """Set when whoever watched to that end has heard of it."""
        self._last: _Attempt | None = None
        """The one that was over last."""

    def begin(self) -> None:
        """Begin to leave, or go on if it has begun."""
        self._attempt.wanted.set()

    async def begun(self) -> None:
        """Until somebody wants it."""
        await self._attempt.wanted.wait()

    def standing(self) -> LeaveStanding:
        """How it stands, for those who look now and then."""
        if self._attempt.wanted.is_set() and not self.done.is_set():
            return LeaveStanding("leaving", self._attempt.progress)
        if self._last is None:
            return LeaveStanding("not leaving", None)
        state: LeaveState = "left" if self.done.is_set() else "stayed"
        return LeaveStanding(state, self._last.progress, self._last.trouble)

    async def watch(self) -> AsyncGenerator[LeaveProgress, None]:
        """Begin to leave, or watch it go on; the last progress is the outcome. Whoever stops watching stops nothing.

        Raises:
            MachineError: What is held could not be read.
        """
        attempt = self._attempt
        self.begin()
        over = False
        while not over:
            with trio.move_on_after(TOLD_SECONDS):
                await attempt.over.wait()
            over = attempt.over.is_set()
            yield attempt.progress
        if attempt.trouble:
            raise MachineError(f"the node cannot read what it holds: {attempt.trouble}", hint="it has not left")
        if self.done.is_set():
            self.told.set()

    async def run(self) -> None:
        """Do it whenever somebody wants it, until nothing is left."""
        while not self.done.is_set():
            attempt = self._attempt
            await attempt.wanted.wait()
            self._statements.leaving = True
            try:
                await self._hand_all_on(attempt.progress)
            except Refusal as exc:
                attempt.trouble = str(exc)
                log.error("leaving: could not read what is held: %s", exc)
            self._last = attempt
            if attempt.trouble or attempt.progress.left:
                self._statements.leaving = False
                self._attempt = _Attempt()
            else:
                self.done.set()
            attempt.over.set()

    async def _hand_all_on(self, progress: LeaveProgress) -> None:
        """Offer all there is, and again what nobody took. Raises Refusal."""
        await self._puts_end()
        held = await self._held()
        progress.count((), held, {})
        log.info("leaving: %d chunks to be handed on", len(held))
        for tries_left in reversed(range(PASSES)):
            progress.failed = 0
            why = await self._pass(held, progress)
            before, held = held, await self._held()
            progress.count(before, held, why)
            if not held:
                break
            log.info("leaving: nobody has taken %d chunks", len(held))
            if tries_left:
                await trio.sleep(AGAIN_SECONDS)
        log.info("leaving: %d of %d chunks handed on", progress.moved, progress.total)
        if held:
            told = ", ".join(f"{text} {count}" for text, count in progress.why.items())
            log.warning("leaving: %d chunks are left and stay here, for nobody has taken them: %s", len(held), told)

    async def _puts_end(self) -> None:
        """Wait for those that were let in before, so that what they bring is handed on as well."""
        with trio.move_on_after(PUTS_SECONDS):
            while self._store.puts_under_way():  # noqa: ASYNC110 - they end in threads, and set no event
                await trio.sleep(LOOK_SECONDS)

    async def _held(self) -> list[HeldChunk]:
        """What is to be handed on. Some 500 bytes each: a node with a million chunks can spare that when it leaves."""
        held: list[HeldChunk] = []
        after = (b"", 0)
        while page := await self._blocking(self._store.holdings, after, _PAGE):
            held += page
            after = (page[-1].segment, page[-1].index)
        return held

    async def _pass(self, held: Sequence[HeldChunk], progress: LeaveProgress) -> dict[_Chunk, str]:
        """Offer each chunk once; returns why those that are left were not handed on."""
        why: dict[_Chunk, str] = {}
        places = trio.Semaphore(AT_ONCE)

        async def move(chunk: HeldChunk) -> None:
            try:
                done = await self._move(chunk.segment, chunk.index)
            finally:
                places.release()
            if done.why:
                why[chunk.segment, chunk.index] = done.why
                progress.failed += done.why != UNWANTED
            else:
                progress.moved += 1
                progress.left -= 1
                progress.bytes += done.bytes

        async with trio.open_nursery() as nursery:
            for chunk in held:
                await places.acquire()
                nursery.start_soon(move, chunk)
        return why

    async def _move(self, segment: SegmentId, index: int) -> HandOver:
        """Hand one chunk on, also one that came so lately that nobody else has been told of it."""
        try:
            ((here, _),) = await self._blocking(self._store.digests, [segment])
            if index not in here:
                return HandOver(why=UNWANTED)
            self._ledger.enter(segment)
            self._ledger.proved(segment, index, self._ledger.own)
            await self._repairs.learn(segment)
            done = await self._handover.hand_on(segment, index, only_better=False)
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
            log.info("%s.%d could not be handed on: %s", short(segment), index, str(exc) or "too slow")
            return HandOver(why=reason(exc))
        if done.why:
            log.info("%s.%d is not handed on: %s", short(segment), index, done.why)
        return done
