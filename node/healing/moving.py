"""Chunks on their way from this node to others: rebuilt ones, and our own that are handed on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from dht.contact import Contact
from dht.search import Found
from node.client import Client
from node.healing.budget import Budget
from node.healing.ledger import Ledger
from node.healing.margin import joint_policy
from node.healing.rebuild import Column
from node.healing.segments import depositors_own
from node.healing.tally import Tally
from node.net.peers import PeerBroke, PeerError, PeerRefused, PeerUnreachable
from node.publishing.candidates import find_candidates
from node.publishing.placement import Candidate, assign, why_not
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import SegmentId, short
from protocol.leases import Lease, Policy
from protocol.messages import ErrorCode, Put, PutLease, PutReply
from protocol.records import open_provider, open_receipt
from protocol.segment import Descriptor

log = logging.getLogger(__name__)

BEGIN_SECONDS = 60.0
"""How long it may take until the first of a chunk has gone: others on their way to the same node go first."""
STALL_SECONDS = 30.0
"""How long 64 KiB more may take: the receiver looks the recorded holders up and audits them before it reads. Slow is no
fault: a chunk has no limit in all."""
STORED_SECONDS = 60.0
"""How long the answer may take when all of it has gone: on a slow line the system still sends then."""
LEASE_SECONDS = 5.0
_STEP_BYTES = 64 * 1024

SignedLeases = Sequence[tuple[Lease, bytes]]
"""Live leases of one segment, each with what was signed."""


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who might take chunks of one segment."""

    candidates: Sequence[Candidate]
    """Nearest to the segment first; those that hold a chunk of it already included."""
    policy: Policy
    """Of the leases below."""
    leases: SignedLeases
    """Under which the chunks go: the first goes with the put."""
    nearest: Sequence[Found]
    """To be told who holds them then."""


class Mover:
    """Finds receivers, puts, announces."""

    def __init__(
        self, ledger: Ledger, client: Client, store: ChunkStore, statements: Statements, budget: Budget, tally: Tally
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._store = store
        self._statements = statements
        self._tally = tally
        self.budget = budget

    async def receivers(self, descriptor: Descriptor, leases: SignedLeases, chunks: int) -> Receivers:
        """Who might take ``chunks`` chunks under the policies of all leases of the depositor together.

        Where these leave nobody, under the policy of one of them alone, the first that does not.
        """
        nearest = await self._client.dht.lookup(descriptor.id)
        own = depositors_own(leases)
        joint = joint_policy(own)
        # Asked once: who suits one of them was also asked for all of them together, of whom fewer suit.
        found = await find_candidates(self._client, [item.contact for item in nearest], joint, chunks)
        candidates = [*filter(self._trusted, found), *self._ourselves(descriptor.id)]
        size = descriptor.layout.column_bytes(0)
        alone = [(lease.policy, [(lease, data)]) for lease, data in leases[: len(own)] if len(own) > 1]
        for policy, kept in [(joint, leases), *alone]:
            if any(why_not(candidate, policy, size) is None for candidate in candidates):
                return Receivers(candidates, policy, kept, nearest)
        return Receivers(candidates, joint, leases, nearest)  # nobody suits, and these tell why

    def _trusted(self, candidate: Candidate) -> bool:
        node = self._ledger.known(candidate.contact.key)
        return node is None or not (node.distrusted or node.failed)

    def _ourselves(self, segment: SegmentId) -> list[Candidate]:
        """This node, when it has lost what it held."""
        own = self._ledger.own
        if self._ledger.held_by(segment, own) or not self._statements.storing:
            return []
        return [Candidate(own.contact, own.country, self._store.free_bytes)]

    async def place(
        self, descriptor: Descriptor, columns: Sequence[Column], to: Receivers, refusals: list[str] | None = None
    ) -> int:
        """Place chunks of a segment on nodes that suit; returns how many were. Who refuses is left out.

        Args:
            descriptor: Of the segment.
            columns: The chunks.
            to: Who might take them.
            refusals: Where it goes why a node that suited has not taken one: one of a few texts.

        Raises:
            Refusal: Our own store failed.
        """
        left = {column.index: column for column in columns}
        candidates = list(to.candidates)
        while left and candidates:
            plan = assign(
                left,
                candidates,
                self._placed(descriptor.id, leaving=left),
                to.policy,
                chunk_bytes=descriptor.layout.column_bytes(0),
            )
            if not plan:
                break
            index, candidate = next(iter(plan.items()))  # one by one: each changes where the next should go
            refusal = await self._put(descriptor, left[index], candidate, to)
            if not refusal:
                del left[index]
                continue
            candidates.remove(candidate)
            if refusals is not None:
                refusals.append(refusal)
        return len(columns) - len(left)

    def _placed(self, segment: SegmentId, *, leaving: Sequence[int] | dict[int, Column]) -> dict[int, Candidate]:
        """The live holders of a segment's chunks, but of those that are being placed."""
        return {
            index: Candidate(node.contact, node.country, 0)
            for index, node in self._ledger.holders(segment)
            if node.live and index not in leaving
        }

    async def _put(self, descriptor: Descriptor, column: Column, candidate: Candidate, to: Receivers) -> str:
        """Have one node take a chunk and the leases; returns why it does not, nothing once it has."""
        segment, contact = descriptor.id, candidate.contact
        message = Put(descriptor=descriptor.encode(), index=column.index, hashes=column.hashes, lease=to.leases[0][1])
        try:
            if contact == self._ledger.own.contact:
                record = await self._client.world.blocking(self._put_here, descriptor, column, to)
            else:
                reply = await self._sent(contact, message, column.data)
                record = self._acknowledged(descriptor, column.index, contact, reply)
                await self._bring_leases(contact, to)
        except (PeerError, ProtocolError, trio.TooSlowError, Refusal) as exc:
            log.info(
                "%s.%d: node %s does not take it: %s",
                short(segment), column.index, short(contact.node_id), str(exc) or "too slow",
            )  # fmt: skip
            return reason(exc)
        self._tally.repair_written_bytes += len(column.data)
        node = self._ledger.node(contact, candidate.country, trio.current_time())
        self._ledger.enter(segment, descriptor.layout.k, descriptor.layout.n)
        self._ledger.proved(segment, column.index, node)
        await self._client.dht.announce(segment, [record], to.nearest)
        log.info("%s.%d is at node %s (%s)", short(segment), column.index, short(contact.node_id), candidate.country)
        return ""

    async def _sent(self, contact: Contact, message: Put, data: memoryview) -> object:
        """Put, for as long as the chunk moves; returns the reply. Raises PeerError, trio.TooSlowError."""
        counted = 0

        def on_body(gone: int) -> None:
            nonlocal counted
            if gone == len(data):
                scope.deadline = trio.current_time() + STORED_SECONDS
            elif gone < counted or gone - counted >= _STEP_BYTES:  # less: it has begun anew, on another connection
                scope.deadline = trio.current_time() + STALL_SECONDS
                counted = gone

        with trio.fail_after(BEGIN_SECONDS) as scope:
            reply, _ = await self._client.peers.request(contact, message, body=(data,), on_body=on_body)
        return reply

    async def announce_own(self, descriptor: Descriptor, indices: Sequence[int]) -> None:
        """Tell the DHT of chunks of a segment that lie here."""
        segment, length = descriptor.id, descriptor.layout.length
        held = [HeldChunk(segment, index, descriptor.chunk_ids[index], length) for index in indices]
        records = [self._statements.provider(chunk) for chunk in held]
        await self._client.dht.announce(segment, records, await self._client.dht.lookup(segment))

    def _put_here(self, descriptor: Descriptor, column: Column, to: Receivers) -> bytes:
        """Take a chunk ourselves; returns its provider record. For a worker thread. Raises Refusal."""
        lease, data = to.leases[0]
        writer = self._store.begin_put(descriptor, column.index, column.hashes, lease, data)
        try:
            writer.write(column.data)
            chunk = writer.commit()
        finally:
            writer.abort()
        self._store.merge_leases(descriptor.id, list(to.leases[1:]))
        return self._statements.provider(chunk)

    def _acknowledged(self, descriptor: Descriptor, index: int, contact: Contact, reply: object) -> bytes:
        """The provider record, once it and the receipt are seen to be about this chunk and from this node."""
        assert isinstance(reply, PutReply)
        network = self._client.network.id
        receipt = open_receipt(reply.receipt, network)
        provider = open_provider(network, descriptor.id, reply.provider)
        said = (receipt.key, receipt.segment, receipt.index, receipt.chunk_id, provider.key, provider.index)
        if said != (contact.key, descriptor.id, index, descriptor.chunk_ids[index], contact.key, index):
            raise PeerBroke("the receipt is for something else")
        return reply.provider

    async def _bring_leases(self, contact: Contact, to: Receivers) -> None:
        """The other leases. What does not arrive now comes with the next survey."""
        for _, data in to.leases[1:]:
            try:
                with trio.fail_after(LEASE_SECONDS):
                    await self._client.peers.request(contact, PutLease(lease=data))
            except (PeerError, trio.TooSlowError) as exc:
                log.debug("node %s has not taken a lease: %s", short(contact.node_id), str(exc) or "too slow")


def reason(exc: Exception) -> str:
    """Why a node has not taken a chunk, in a few words that can be counted."""
    if isinstance(exc, PeerRefused):
        return "too little space" if exc.code is ErrorCode.FULL else exc.code.name.lower().replace("_", " ")
    if isinstance(exc, PeerUnreachable):
        return "no answer"
    if isinstance(exc, trio.TooSlowError):
        return "too slow"
    return "this node's store failed" if isinstance(exc, Refusal) else "wrong answer"


async def own_column(client: Client, store: ChunkStore, descriptor: Descriptor, index: int) -> Column:
    """A chunk of our own, read whole and checked. Raises Refusal."""

    def read() -> Column:
        with store.open_chunk(descriptor.id, index) as chunk:
            data = chunk.read(0, descriptor.layout.column_blocks(index))
            return Column(index, memoryview(data), chunk.proof[1])

    return await client.world.blocking(read)
