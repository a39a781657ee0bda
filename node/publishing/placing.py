"""The puts of one segment: who gets which chunk, and who takes over from the slow and the refusing."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NetworkError, NodeError, RefusedError
from node.net.pace import Flight, Pace
from node.net.peers import PeerError, PeerRefused
from node.progress import ProgressPart
from node.publishing.outdoing import outdo
from node.publishing.placement import Candidate, assign, why_not
from node.publishing.spread import Column, Spread
from protocol.errors import ProtocolError
from protocol.identity import Identity
from protocol.ids import PublicKey
from protocol.messages import ErrorCode, Put, PutReply
from protocol.records import open_provider, open_receipt
from protocol.statements import permit_statement

GIVE_UP_SECONDS = 15.0
"""Without a byte that any holder took, or a chunk that one acknowledged, for this long a publish ends."""
AT_ONCE = 2
"""Chunks without a permit that one node is given at the same time: healing/handover.py takes no more from one asker."""


@dataclass(slots=True)
class _Put:
    """One put under way."""

    index: int
    candidate: Candidate
    flight: Flight
    stalled: bool = False


class Placing:
    """The puts of one segment's missing chunks."""

    def __init__(
        self,
        client: Client,
        identity: Identity | None,
        pace: Pace,
        spread: Spread,
        chunks: Mapping[int, Column],
        part: ProgressPart,
    ) -> None:
        """Args:
        client: Who asks.
        identity: The depositor's, who permits each put; None: the lease was signed elsewhere, and puts have no permit.
        pace: Of the whole publish.
        spread: The segment; its holders and records are filled in.
        chunks: Its missing chunks by index. Others that are missing are left to another time.
        part: Told of every chunk that is acknowledged.
        """
        self._client = client
        self._identity = identity
        self._pace = pace
        self._spread = spread
        self._chunks = chunks
        self._part = part
        self._layout = spread.layout
        self._candidates = list(spread.candidates)
        self._most_nodes = len({c.node_id for c in spread.holders.values()}) + len(spread.missing)
        """On so many distinct nodes the chunks can be: what an earlier run put together on one stays there."""
        self.sent_bytes = 0
        """Of chunks that were acknowledged."""
        self._running: list[_Put] = []
        self._failures: list[tuple[Candidate, Exception]] = []
        self._unanswered = 0
        self._chunk_bytes = max(self._layout.column_bytes(index) for index in range(self._layout.n))
        self._event = trio.Event()

    async def run(self) -> None:
        """Return once every chunk has a holder, or nobody is left to ask and those there are suffice.

        Raises:
            RefusedError: The nodes that answer refuse.
            NetworkError: Too few nodes can be reached, or nothing moved for 15 seconds.
        """
        async with trio.open_nursery() as nursery:
            while True:
                self._event = trio.Event()
                waiting = self._start(nursery)
                if not waiting and self._settled():
                    break
                with trio.move_on_at(self._next_check()):
                    await self._event.wait()
                self._mark_stalled()
                if trio.current_time() >= self._pace.moved_at + GIVE_UP_SECONDS:
                    break
            self._unanswered = len(self._running)
            nursery.cancel_scope.cancel()
        if not self._enough():
            raise self._failed()

    def _start(self, nursery: trio.Nursery) -> bool:
        """Give every chunk without a holder, and without a put that moves, to somebody.

        Returns:
            Whether some have to wait until the line, or a node, has room.
        """
        moving = {put.index for put in self._running if not put.stalled}
        missing = [index for index in self._spread.missing if index in self._chunks and index not in moving]
        taken = {put.index: put.candidate for put in self._running if not put.stalled} | self._spread.holders
        policy = self._spread.terms.policy
        candidates = self._candidates
        if any(put.stalled for put in self._running):  # whoever takes over should not be the next to stall
            candidates = [c for c in candidates if not self._in_doubt(c)] or candidates
        plan = assign(missing, candidates, taken, policy, chunk_bytes=self._chunk_bytes)
        for index, candidate in plan.items():
            size = self._layout.column_bytes(index)
            if self._as_many_as_it_takes(candidate) or not self._pace.room(size, self._event):
                return True
            put = _Put(index, candidate, self._pace.begin(size, candidate.node_id))
            self._running.append(put)
            nursery.start_soon(self._put, put)
        return False

    def _as_many_as_it_takes(self, candidate: Candidate) -> bool:
        """Whether a node would answer ``busy`` to one more: it looks up who has the chunk before it takes one without a
        permit."""
        if self._identity is not None:
            return False
        return sum(put.candidate.node_id == candidate.node_id for put in self._running) >= AT_ONCE

    def _in_doubt(self, candidate: Candidate) -> bool:
        """Whether it stalled, or is about to, over another segment."""
        return self._client.is_suspect(candidate.contact) or self._pace.doubtful(candidate.node_id)

    def _settled(self) -> bool:
        """Whether nothing moves any more, and nothing more need: what is stalled is not waited for."""
        moving = any(not put.stalled for put in self._running)
        return not moving and (self._enough() or not self._running)

    def _next_check(self) -> float:
        """When to look again, by trio's clock: the same sums as below, or a rounding error has us look in vain."""
        stalls = [put.flight.stalled_at for put in self._running if not put.stalled]
        return min([*stalls, self._pace.moved_at + GIVE_UP_SECONDS])

    def _mark_stalled(self) -> None:
        for put in self._running:
            if not put.stalled and trio.current_time() >= put.flight.stalled_at:
                put.stalled = True
                put.flight.end()
                self._client.suspect(put.candidate.contact)
                self._leave_out(put.candidate)

    def _leave_out(self, candidate: Candidate) -> None:
        self._candidates = [c for c in self._candidates if c.node_id != candidate.node_id]

    def _enough(self) -> bool:
        """k+1 chunks (k if there is no parity), on as many distinct nodes as are to be had for what was missing."""
        layout = self._layout
        need = layout.k if layout.n == layout.k else layout.k + 1
        nodes = {holder.node_id for holder in self._spread.holders.values()}
        available = nodes | {c.node_id for c in self._candidates if self._why_not(c) is None}
        return len(self._spread.holders) >= need and len(nodes) >= min(need, len(available), self._most_nodes)

    def _why_not(self, candidate: Candidate) -> str | None:
        """What keeps chunks from a node that answers."""
        return why_not(candidate, self._spread.terms.policy, self._chunk_bytes)

    async def _put(self, put: _Put) -> None:
        chunk, contact = self._chunks[put.index], put.candidate.contact
        lease = self._spread.lease
        message = Put(
            descriptor=self._spread.descriptor.encode(),
            index=put.index,
            hashes=chunk.hashes,
            lease=lease,
            permit=self._permit(put.index, contact.key),
        )

        def moved(_: int) -> None:
            put.flight.alive()

        try:
            reply, _ = await self._client.peers.request(contact, message, body=(chunk.data,), on_body=moved)
            assert isinstance(reply, PutReply)
            self._acknowledged(put, reply)
        except (PeerError, ProtocolError) as exc:
            if not await self._outdone(contact, lease, exc):  # else it is given to somebody again, with another lease
                self._failed_at(put.candidate, exc)
        finally:
            put.flight.end()
            self._running.remove(put)
            self._event.set()

    async def _outdone(self, contact: Contact, lease: bytes, exc: Exception) -> bool:
        """Whether a put failed since the holder has a later lease, and it was outdone."""
        if self._identity is None or not isinstance(exc, PeerRefused) or exc.code is not ErrorCode.STALE:
            return False
        with suppress(PeerError, ProtocolError, trio.TooSlowError):
            return await outdo(self._client, self._identity, self._spread, contact, lease)
        return False

    def _failed_at(self, candidate: Candidate, exc: Exception) -> None:
        self._failures.append((candidate, exc))
        self._leave_out(candidate)
        if isinstance(exc, PeerRefused):
            self._client.refusals.note(candidate.contact, candidate.country, exc)
        else:
            self._client.suspect(candidate.contact)

    def _permit(self, index: int, holder: PublicKey) -> bytes:
        """Only the depositor can say so: this node may take this chunk."""
        if self._identity is None:
            return b""
        statement = permit_statement(
            network=self._client.network.id, segment=self._spread.descriptor.id, index=index, holder=holder
        )
        return self._identity.sign("permit", statement)

    def _acknowledged(self, put: _Put, reply: PutReply) -> None:
        """Count a chunk once the holder's receipt and provider record are seen to be about it."""
        network, descriptor, key = self._client.network.id, self._spread.descriptor, put.candidate.contact.key
        receipt = open_receipt(reply.receipt, network)
        provider = open_provider(network, descriptor.id, reply.provider)
        if (receipt.key, receipt.segment, receipt.index, receipt.chunk_id) != (
            key,
            descriptor.id,
            put.index,
            descriptor.chunk_ids[put.index],
        ) or (provider.key, provider.index) != (key, put.index):
            raise ProtocolError("the receipt is for something else")
        put.flight.arrived(0)
        if put.index in self._spread.holders:
            return
        self._spread.holders[put.index] = put.candidate
        self._spread.records[put.index] = reply.provider
        self._spread.receipts[put.index] = reply.receipt
        size = self._layout.column_bytes(put.index)
        self.sent_bytes += size
        self._part.held([(put.candidate.node_id, put.candidate.country)])
        self._part.confirmed(len(self._spread.holders), moved=size)

    def _failed(self) -> NodeError:
        need = self._layout.k if self._layout.n == self._layout.k else self._layout.k + 1
        refusals = [(c, why) for c in self._candidates if (why := self._why_not(c)) is not None]
        reasons = Counter(f"{c.country or 'unknown country'}: {why}" for c, why in (*self._failures, *refusals))
        told = "; ".join(f"{text}" + (f" ({count}x)" if count > 1 else "") for text, count in reasons.most_common(6))
        told += f"; {self._unanswered} stopped answering" if self._unanswered else ""
        summary = f"placed {len(self._spread.holders)} of {self._layout.n} chunks of a segment, {need} are needed"
        message = f"{summary} ({told.lstrip('; ') or 'no node answers that stores'})"
        if reasons and not self._unanswered and all(isinstance(exc, PeerRefused) for _, exc in self._failures):
            return RefusedError(message, hint="add nodes or space; what is stored is not sent twice")
        return NetworkError(message, hint="publish again later: what is stored is not sent twice")
