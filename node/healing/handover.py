"""Chunks that change hands: from another holder to us, from us to a better one (docs/spec/healing.md section 5)."""

import logging
from collections import Counter
from dataclasses import dataclass

import trio

from dht.contact import Contact, subnet
from node.client import Client
from node.healing.audits import Audits
from node.healing.ledger import CoHolder, Ledger
from node.healing.moving import Mover, Receivers, own_column
from node.healing.repair import Repairs
from node.healing.rights import Rights
from node.healing.segments import Segments, depositors_own
from node.healing.tally import Tally
from node.keeping.audit import Verdict
from node.keeping.holders import find_holders
from node.net.peers import PeerError
from node.publishing.placement import why_not
from node.serving.statements import Statements
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import PublicKey, SegmentId, short
from protocol.leases import Lease
from protocol.messages import ErrorCode
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

log = logging.getLogger(__name__)

TAKE_OVERS = 16
"""Chunks about to be taken over side by side: each costs a lookup and an audit of every recorded holder."""
TAKE_OVERS_EACH = 2
"""Of these, by one asker."""
TAKE_OVERS_NEIGHBOURS = 4
"""Of these, from one public /24 or /48: keys cost nothing."""
LOOK_SECONDS = 15.0
"""For the lookup and the audits together."""


UNWANTED = "no longer wanted"
"""Why a chunk is not handed on that no lease keeps."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """What came of handing a chunk on: another node holds it now, or why none does."""

    bytes: int = 0
    """Of the chunk, when another node holds it now."""
    why: str = ""
    """One of a few texts, to be counted: what kept it here."""


class TakeOver:
    """The receiver's side: whether a chunk may be taken from somebody who is not its depositor."""

    def __init__(self, client: Client, statements: Statements, ledger: Ledger, audits: Audits, tally: Tally) -> None:
        self._client = client
        self._statements = statements
        self._ledger = ledger
        self._audits = audits
        self._tally = tally
        self._running: Counter[bytes] = Counter()
        """By key, and by neighbourhood."""
        self._places = TAKE_OVERS

    async def __call__(self, descriptor: Descriptor, index: int, lease: Lease, peer: PublicKey, source: str) -> None:
        """Return if it may. Whoever is recorded as its holder is the asker itself, or fails an audit.

        Raises:
            Refusal: refused, busy or malformed.
        """
        if index >= descriptor.layout.n:
            raise Refusal(ErrorCode.MALFORMED, f"there are {descriptor.layout.n} chunks")
        if self._statements.country in lease.policy.avoid:
            raise Refusal(ErrorCode.REFUSED, "the depositor avoids the country claimed here")
        askers: dict[bytes, int] = {peer: TAKE_OVERS_EACH}
        neighbours = subnet(source)
        if neighbours is not None:
            askers[neighbours] = TAKE_OVERS_NEIGHBOURS
        if not self._places or any(self._running[asker] >= most for asker, most in askers.items()):
            raise Refusal(ErrorCode.BUSY, "too many chunks are being taken over")
        self._places -= 1
        self._running.update(askers.keys())
        try:
            with trio.fail_after(LOOK_SECONDS):
                await self._see_that_it_is_lost(descriptor, index, peer)
        except trio.TooSlowError:
            raise Refusal(ErrorCode.BUSY, "its recorded holders could not be looked up in time") from None
        except Refusal:
            self._tally.take_overs_refused += 1
            raise
        finally:
            self._places += 1
            self._running.subtract(askers.keys())
            for asker in askers:
                if not self._running[asker]:
                    del self._running[asker]
        self._tally.taken_over += 1

    async def _see_that_it_is_lost(self, descriptor: Descriptor, index: int, peer: PublicKey) -> None:
        recorded = [
            record
            for record in await find_holders(self._client, descriptor.id)
            if record.index == index and record.key not in (peer, self._statements.identity.key)
        ]

        async def ask(record: ProviderRecord) -> None:
            contact = Contact(record.key, record.address)
            node = self._ledger.known(record.key)
            if node is not None and node.distrusted:
                return
            verdict = await self._audits.ask(descriptor, index, contact)
            if verdict is Verdict.BUSY:
                busy.append(contact)
            if verdict is Verdict.RIGHT:
                there.append(contact)
                nursery.cancel_scope.cancel()

        there: list[Contact] = []
        busy: list[Contact] = []
        async with trio.open_nursery() as nursery:
            for record in recorded:
                nursery.start_soon(ask, record)
        if there:
            raise Refusal(ErrorCode.REFUSED, f"node {short(there[0].node_id)} holds the chunk")
        if busy:
            raise Refusal(ErrorCode.BUSY, f"node {short(busy[0].node_id)}, which is recorded, is busy")


class Handover:
    """The giver's side: duplicates go, chunks that share a node are spread, and whoever leaves hands all of it on."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        store: ChunkStore,
        segments: Segments,
        audits: Audits,
        repairs: Repairs,
        mover: Mover,
        rights: Rights,
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._store = store
        self._rights = rights
        self._segments = segments
        self._audits = audits
        self._repairs = repairs
        self._mover = mover
        self._tally = tally

    async def tidy(self, segment: SegmentId) -> None:
        """Drop what another holds better; hand on what somebody who holds none could take."""
        own = self._ledger.held_by(segment, self._ledger.own)
        rivals = [node for index, node in self._ledger.holders(segment) if index in own and self._is_rival(node)]
        if rivals or len(own) > 1 or await self._avoided(segment):
            try:
                await self._repairs.refresh(segment)
                await self._drop_duplicates(segment)
                await self._spread(segment)
            except (Refusal, PeerError, ProtocolError, trio.TooSlowError) as exc:
                log.info("segment %s could not be tidied: %s", short(segment), str(exc) or "too slow")

    def _is_rival(self, node: CoHolder) -> bool:
        return node.live and node is not self._ledger.own

    async def _avoided(self, segment: SegmentId) -> bool:
        """Whether the depositor avoids the country claimed here. A stranger's lease has no say in that."""
        country = self._ledger.own.country
        if not country:
            return False
        leases = await self._segments.live_leases(segment)
        return any(country in lease.policy.avoid for lease in depositors_own(leases))

    async def _drop_duplicates(self, segment: SegmentId) -> None:
        """Of two copies the one goes whose node holds more of the segment, or else is farther; after an audit.

        But only one that came from another holder, or of a node that was away: what its depositor put here stays, or
        whoever makes keys near a segment's id could push out everybody else with copies of their own.
        """
        own = self._ledger.own
        for index in self._ledger.held_by(segment, own):
            rivals = [node for i, node in self._ledger.holders(segment) if i == index and self._is_rival(node)]
            for rival in rivals:
                better = self._standing(segment, own) < self._standing(segment, rival)
                if not self._rights.may_drop(segment, index, better=better):
                    continue  # theirs goes, or neither
                if await self._audits.examine(segment, index, rival, tries=1):
                    await self._drop(segment, index)
                    self._tally.duplicates_dropped += 1
                    log.info("%s.%d: dropped, node %s has it", short(segment), index, short(rival.node_id))
                    break

    def _standing(self, segment: SegmentId, node: CoHolder) -> tuple[int, int]:
        """Who has the lower one keeps a chunk that two hold."""
        distance = int.from_bytes(node.node_id, "big") ^ int.from_bytes(segment, "big")
        return len(self._ledger.held_by(segment, node)), distance

    async def _drop(self, segment: SegmentId, index: int) -> None:
        await self._client.world.blocking(self._store.drop, segment, index)
        self._rights.gone(segment, index)
        left = set(self._ledger.held_by(segment, self._ledger.own)) - {index}
        self._ledger.says(segment, self._ledger.own, left)
        if not left:
            self._ledger.forget(segment)

    async def _spread(self, segment: SegmentId) -> None:
        """Hand one chunk on where somebody who holds none of the segment could take it."""
        own = self._ledger.held_by(segment, self._ledger.own)
        if not own:
            return
        if len(own) > 1 or await self._avoided(segment):
            await self.hand_on(segment, own[-1], only_better=len(own) > 1)

    async def _is_elsewhere(self, segment: SegmentId, index: int) -> bool:
        """Whether another node holds one of our chunks, and shows it: then nobody would take it from us."""
        await self._audits.check_claims(segment)
        for i, node in self._ledger.holders(segment):
            if i == index and self._is_rival(node) and await self._audits.examine(segment, index, node, tries=1):
                return True
        return False

    async def hand_on(self, segment: SegmentId, index: int, *, only_better: bool) -> HandOver:
        """Give a chunk of our own to the node that placement chooses, and drop it here once that node has it.

        Args:
            segment: Which we hold.
            index: Of a chunk we hold.
            only_better: Only to a node that holds no chunk of the segment.

        Raises:
            Refusal, PeerError, ProtocolError, trio.TooSlowError: As reading, asking and putting do.
        """
        descriptor = await self._segments.descriptor(segment)
        leases = await self._segments.live_leases(segment)
        if not leases:
            return HandOver(why=UNWANTED)
        if descriptor is None:
            return HandOver(why="not readable here")
        if not only_better and await self._is_elsewhere(segment, index):
            await self._drop(segment, index)
            self._tally.duplicates_dropped += 1
            log.info("%s.%d: dropped, another node has shown that it holds it", short(segment), index)
            return HandOver(descriptor.layout.column_bytes(index))
        to = await self._mover.receivers(descriptor, leases, 1)
        holding = {node.node_id for _, node in self._ledger.holders(segment) if node.live}
        left_out = holding if only_better else {self._ledger.own.node_id}
        others = [candidate for candidate in to.candidates if candidate.node_id not in left_out]
        why = Counter(why_not(candidate, to.policy, descriptor.layout.column_bytes(0)) for candidate in others)
        if not why[None]:
            return HandOver(why=_foremost(why) or "no other node")
        column = await own_column(self._client, self._store, descriptor, index)
        await self._mover.budget.take(len(column.data))
        refusals: list[str] = []
        to = Receivers(others, to.policy, to.leases, to.nearest)
        if not await self._mover.place(descriptor, [column], to, refusals):
            return HandOver(why=_foremost(Counter(refusals)) or "no other node")
        await self._drop(segment, index)
        self._tally.handed_on += 1
        return HandOver(len(column.data))


def _foremost(why: Counter[str | None] | Counter[str]) -> str:
    """What is said most often, if anything is."""
    ((reason, count),) = why.most_common(1) or [(None, 0)]
    if not reason or not count:
        return ""
    return "avoided country" if reason == "avoided" else reason
