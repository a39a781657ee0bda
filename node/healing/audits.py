"""Random blocks of what others hold (docs/spec/healing.md section 1)."""

import logging
from collections.abc import Awaitable, Callable

import trio

from dht.contact import Contact
from node.client import Client
from node.healing.budget import Budget
from node.healing.ledger import Claim, CoHolder, Ledger
from node.healing.margin import successor
from node.healing.survey import Surveys
from node.healing.sweep import Sweep
from node.healing.tally import Tally
from node.intervals import Intervals
from node.keeping.audit import Verdict
from node.keeping.audit import examine as put_question
from node.keeping.holders import ANSWER_SECONDS
from node.net.peers import PeerError, PeerUnreachable
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import SegmentId, short
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor

log = logging.getLogger(__name__)

FAILURES = 2
"""Audits failed in a row, after which a chunk counts as lost."""
SILENCES = 3
"""Audits left without an answer in a row, after which a node is missing, whatever else it answers."""
AGAIN_SECONDS = 60.0
"""Between two of either: what was a moment's fault is not one any more."""
CLAIMS_SECONDS = 60.0
"""After which repair goes on without the claims that have not been shown by then."""
_AT_ONCE = 4


class Audits:
    """Asks other holders for blocks, each chunk once in an interval by one of its co-holders."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        descriptor: Callable[[SegmentId], Awaitable[Descriptor | None]],
        surveys: Surveys,
        budget: Budget,
        intervals: Intervals,
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._descriptor = descriptor
        self._surveys = surveys
        self._budget = budget
        self._intervals = intervals
        self._tally = tally
        self._turns = trio.Semaphore(_AT_ONCE)
        self._places = trio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Audit what falls due at every tick, until cancelled."""
        sweep = Sweep(self._intervals.audit)
        epoch = None
        async with trio.open_nursery() as nursery:
            while True:
                for window in sweep.due(self._client.world.clock.wall()):
                    if window.epoch != epoch:
                        epoch = window.epoch
                        self._ledger.forgive()
                    for segment in self._ledger.between(window.low, window.high):
                        await self._turns.acquire()
                        nursery.start_soon(self._audit_in_turn, segment, epoch)
                await trio.sleep(self._intervals.tick)

    async def _audit_in_turn(self, segment: SegmentId, epoch: int) -> None:
        try:
            await self._audit(segment, epoch)
        finally:
            self._turns.release()

    async def check_claims(self, segment: SegmentId | None = None) -> None:
        """Have those who say that they hold a chunk that is missed, or that another holds too, show it.

        Args:
            segment: Of this one alone; None: of all.
        """
        segments = list(self._ledger.claims) if segment is None else [segment]
        with trio.move_on_after(CLAIMS_SECONDS):
            async with trio.open_nursery() as nursery:
                for one in segments:
                    for claim in list(self._ledger.claims.get(one, ())):
                        await self._places.acquire()
                        nursery.start_soon(self._check_claim, one, claim)

    async def _check_claim(self, segment: SegmentId, claim: Claim) -> None:
        """Who is counted as a holder already loses that no sooner than by any audit."""
        index, node = claim
        tries = FAILURES if index in self._ledger.held_by(segment, node) else 1
        try:
            await self._budget.take(SEALED_BLOCK_BYTES)  # whoever claims much does not make us spend more
            passed = None if node.distrusted else await self.examine(segment, index, node, tries=tries)
            if passed:
                self._ledger.proved(segment, index, node)
            elif passed is None:
                self._ledger.silent(segment, claim)
            self._ledger.settled(segment, claim)
        finally:
            self._places.release()

    async def _audit(self, segment: SegmentId, epoch: int) -> None:
        """Audit whoever comes behind us in this period's order, if it is there."""
        live = {node.node_id: node for _, node in self._ledger.holders(segment) if node.live}
        middle = (epoch + 0.5) * self._intervals.audit
        chosen = successor(live, self._ledger.own.node_id, segment, middle, self._intervals.audit)
        node = live.get(chosen) if chosen is not None else None
        if node is None:
            return
        for index in self._ledger.held_by(segment, node):
            passed = await self.examine(segment, index, node)
            while passed is None and 0 < node.unanswered < SILENCES and node.live:
                await self._pause()
                passed = await self.examine(segment, index, node)

    async def answers(self, node: CoHolder) -> bool:
        """Whether a node that left audits without an answer does answer one now."""
        segment = next(self._ledger.shared_with(node), None)
        if segment is None:
            return True
        await self.examine(segment, self._ledger.held_by(segment, node)[0], node)
        return not node.unanswered

    async def examine(self, segment: SegmentId, index: int, node: CoHolder, tries: int = FAILURES) -> bool | None:
        """Audit a chunk, and again if that fails. Returns whether it passed; None: nobody answered."""
        descriptor = await self._descriptor(segment)
        if descriptor is None or index >= descriptor.layout.n:
            return None
        for tries_left in reversed(range(tries)):
            verdict = await self.ask(descriptor, index, node.contact)
            if verdict is None or verdict is Verdict.BUSY:
                node.unanswered += 1
                return None
            node.unanswered = 0
            if verdict is Verdict.RIGHT:
                return True
            if verdict is Verdict.LIE:
                return False
            if tries_left:
                await self._pause()
        if verdict is Verdict.ABSENT and not await self._still_says(segment, index, node):
            self._ledger.denied(segment, index, node)
            return False
        log.info("node %s fails the audit of %s.%d", short(node.node_id), short(segment), index)
        self._ledger.disproved(segment, index, node)
        return False

    async def _still_says(self, segment: SegmentId, index: int, node: CoHolder) -> bool:
        """Whether a node says that it holds what it did not show: it need not have been its own word that we had."""
        try:
            (holds,) = await self._surveys.ask_about(node, [segment])
        except (Refusal, PeerError, ProtocolError, trio.TooSlowError):
            return True
        return index in holds.indices

    async def ask(self, descriptor: Descriptor, index: int, contact: Contact) -> Verdict | None:
        """Audit a chunk once. None: no answer. Whoever lies is not trusted any more."""
        verdict = None
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                verdict = await put_question(self._client, contact, descriptor, index)
            except PeerUnreachable:
                verdict = None
        if verdict is None or verdict is Verdict.BUSY:
            self._tally.audits_silent += 1
        elif verdict is Verdict.RIGHT:
            self._tally.audits_passed += 1
        else:
            self._tally.audits_failed += 1
        if verdict is Verdict.LIE:
            self._tally.audits_proven += 1
            self._distrust(contact, descriptor.id, index)
        return verdict

    def _distrust(self, contact: Contact, segment: SegmentId, index: int) -> None:
        node = self._ledger.known(contact.key)
        if node is not None and not node.distrusted:
            log.warning(
                "node %s signed a wrong answer to the audit of %s.%d: all it holds counts as lost",
                short(contact.node_id), short(segment), index,
            )  # fmt: skip
            self._ledger.distrust(node)

    async def _pause(self) -> None:
        await trio.sleep(min(AGAIN_SECONDS, self._intervals.ping))
