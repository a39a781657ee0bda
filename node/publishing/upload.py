"""Placing the chunks of one segment: who has them already, who gets the rest, and who takes over from the slow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from dht.contact import Contact
from dht.search import Found
from node.client import Client
from node.errors import NetworkError, NodeError, RefusedError
from node.journal import Journal
from node.keeping.audit import audit
from node.keeping.holders import ANSWER_SECONDS, find_holders
from node.net.peers import PeerError, PeerRefused
from node.progress import Progress, ProgressPart
from node.publishing.placement import Candidate, assign, country_bound_met, why_not
from protocol.errors import ProtocolError
from protocol.identity import Identity
from protocol.ids import NodeId, PublicKey, SegmentId
from protocol.leases import Lease, Policy, sign_lease
from protocol.messages import Have, HaveReply, LeaseReply, Put, PutLease, PutReply
from protocol.records import open_provider, open_receipt
from protocol.seal import SealedSegment

STALL_SECONDS = 1.0
"""A put without progress for this long, and for 4 times the usual pause, goes to another node as well."""
GIVE_UP_SECONDS = 15.0
"""Without a byte that any holder took, or a chunk that one acknowledged, for this long a publish ends."""
HELLO_SECONDS = 1.0
_WIDEN_BY = 40
_ENOUGH_LEASE = 0.9
"""A lease that still runs for this share of the time asked is not renewed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every lease of one publish says."""

    deposit: bytes
    sequence: int
    now: int
    expiry: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the chunks of one segment are."""

    segment: SegmentId
    size: int
    k: int
    n: int
    stored_bytes: int
    """Of the chunks that have a holder."""
    holders: dict[int, Candidate]
    country_bound: bool
    """Whether any one claimed country can vanish, as far as the placement policy cares."""


@dataclass(slots=True)
class Uploader:
    """Stores sealed segments. One per publish, shared by its segments."""

    client: Client
    identity: Identity
    journal: Journal
    terms: Terms
    progress: Progress
    moved_at: float = field(default_factory=trio.current_time)
    """When any holder last took bytes or acknowledged a chunk."""
    usual_pause: float = 0.0
    """Seconds between two steps of a put, a moving average: a slow line is not a stalled holder."""
    sent_bytes: int = 0

    @property
    def stall_seconds(self) -> float:
        return max(STALL_SECONDS, 4 * self.usual_pause)

    def moved(self, since: float) -> float:
        """Note that a put went on after a pause that began at ``since``; returns now."""
        self.moved_at = trio.current_time()
        self.usual_pause += 0.2 * (self.moved_at - since - self.usual_pause)
        return self.moved_at

    async def store(self, sealed: SealedSegment, size: int) -> Placed:
        """Place and announce every chunk that the network lacks.

        Args:
            sealed: The segment.
            size: Bytes of the published files that it stands for: what the progress counts.

        Raises:
            RefusedError: The nodes that answer refuse.
            NetworkError: Too few nodes can be reached, or nothing was acknowledged for 15 seconds.
        """
        layout = sealed.descriptor.layout
        found = await self.client.dht.lookup(sealed.id)
        candidates = await self._candidates([item.contact for item in found], layout.n)
        holders: dict[int, Candidate] = {}
        records: dict[int, bytes] = {}
        lease = self._lease(sealed)
        part = self.progress.part(size, layout.n)
        if self.journal.seen(sealed.id):
            await self._already_there(sealed, lease, candidates, holders, records)
            part.confirmed(len(holders))
            self.moved_at = trio.current_time()
        else:
            self.journal.putting(sealed.id)
        if len(holders) < layout.n:
            await _Placing(self, sealed, lease, candidates, holders, records, part).run()
        await self._announce(sealed.id, records, found)
        part.confirmed(layout.n)  # some may have found no holder: it is done all the same
        bound = country_bound_met(holders.values(), layout.n, layout.k)
        stored = sum(layout.column_bytes(index) for index in holders)
        return Placed(sealed.id, layout.length, layout.k, layout.n, stored, holders, bound)

    def _lease(self, sealed: SealedSegment) -> bytes:
        terms = self.terms
        return sign_lease(
            self.identity,
            Lease(
                network=self.client.network.id,
                depositor=self.identity.key,
                deposit=terms.deposit,
                segment=sealed.id,
                size=sealed.descriptor.layout.length,
                sequence=terms.sequence,
                expiry=terms.expiry,
                policy=terms.policy,
            ),
        )

    async def _candidates(self, nearest: Sequence[Contact], chunks: int) -> list[Candidate]:
        """Those of the nearest nodes that answer and store; widened while nodes or countries do not suffice."""
        candidates = await self._ask_records(nearest)
        usable = [c for c in candidates if c.country not in self.terms.policy.avoid]
        few_countries = self.terms.policy.spread_countries and len({c.country for c in usable}) < 3
        if few_countries or len(usable) < chunks:
            known = {contact.node_id for contact in nearest}
            others = [c for c in self.client.dht.contacts() if c.node_id not in known]
            if others:
                candidates += await self._ask_records(others[:_WIDEN_BY])
        return candidates

    async def _ask_records(self, contacts: Sequence[Contact]) -> list[Candidate]:
        answers: dict[NodeId, Candidate] = {}

        async def ask(contact: Contact) -> None:
            record = await self.client.record(contact, HELLO_SECONDS)
            if record is not None and record.storing:
                answers[contact.node_id] = Candidate(contact, record.country, record.free_bytes)

        async with trio.open_nursery() as nursery:
            for contact in contacts:
                # A peer that stalled a moment ago is not waited for again.
                if not self.client.is_suspect(contact):
                    nursery.start_soon(ask, contact)
        return [answers[contact.node_id] for contact in contacts if contact.node_id in answers]

    async def _already_there(
        self,
        sealed: SealedSegment,
        lease: bytes,
        candidates: Sequence[Candidate],
        holders: dict[int, Candidate],
        records: dict[int, bytes],
    ) -> None:
        """Find chunks that are on suitable nodes already: each proved by an audit, under this deposit's lease.

        Fills ``holders``, and ``records`` with what has yet to be announced: an earlier run may have been killed
        between a put and its announcement.
        """
        suitable = [c for c in candidates if c.country not in self.terms.policy.avoid]
        announced = {(h.index, h.key) for h in await find_holders(self.client, sealed.id)}
        proved: list[tuple[int, Candidate, bytes | None]] = []

        async def ask(candidate: Candidate) -> None:
            with trio.move_on_after(ANSWER_SECONDS) as scope:
                found = await self._proved(sealed, lease, candidate, announced)
                proved.extend((index, candidate, record) for index, record in found.items())
            if scope.cancelled_caught:
                self.client.suspect(candidate.contact)

        async with trio.open_nursery() as nursery:
            for candidate in suitable:
                nursery.start_soon(ask, candidate)
        layout = sealed.descriptor.layout
        order = {candidate.node_id: rank for rank, candidate in enumerate(candidates)}
        many = len({c.country for c in suitable}) >= 3 and self.terms.policy.spread_countries
        per_country: Counter[str] = Counter()
        for index, candidate, record in sorted(proved, key=lambda item: (item[0], order[item[1].node_id])):
            if index in holders or (many and per_country[candidate.country] >= layout.n - layout.k > 0):
                continue
            holders[index] = candidate
            per_country[candidate.country] += 1
            if record is not None:
                records[index] = record

    async def _proved(
        self, sealed: SealedSegment, lease: bytes, candidate: Candidate, announced: set[tuple[int, PublicKey]]
    ) -> dict[int, bytes | None]:
        """The chunks this node proved to hold, with the lease seen to, and provider records not announced yet."""
        contact = candidate.contact
        ask = Have(depositor=self.identity.key, deposit=self.terms.deposit, segments=(sealed.id,))
        try:
            reply, _ = await self.client.peers.request(contact, ask)
            assert isinstance(reply, HaveReply)
            (held,) = reply.held
            indices = [index for index in held.indices if index < sealed.descriptor.layout.n]
            good = [i for i in indices if await audit(self.client, contact, sealed.descriptor, i)]
            found: dict[int, bytes | None] = dict.fromkeys(good)
            new = {index for index in good if (index, contact.key) not in announced}
            wanted = self.terms.now + _ENOUGH_LEASE * (self.terms.expiry - self.terms.now)
            if new or (good and held.expiry < wanted):
                reply, _ = await self.client.peers.request(contact, PutLease(lease=lease))
                assert isinstance(reply, LeaseReply)
                for data in reply.providers:
                    record = open_provider(self.client.network.id, sealed.id, data)
                    if record.key == contact.key and record.index in new:
                        found[record.index] = data
        except (PeerError, ProtocolError):
            self.client.suspect(contact)
            return {}
        return found

    async def _announce(self, segment: SegmentId, records: dict[int, bytes], found: Sequence[Found]) -> None:
        if records and await self.client.dht.announce(segment, list(records.values()), found) == 0:
            raise NetworkError(
                "no node took the announcement of a segment",
                hint="publish again: what is stored is not sent twice",
            )


@dataclass(slots=True)
class _Put:
    """One put under way."""

    index: int
    candidate: Candidate
    moved_at: float
    stalled: bool = False


class _Placing:
    """The puts of one segment's missing chunks."""

    def __init__(
        self,
        uploader: Uploader,
        sealed: SealedSegment,
        lease: bytes,
        candidates: Sequence[Candidate],
        holders: dict[int, Candidate],
        records: dict[int, bytes],
        part: ProgressPart,
    ) -> None:
        self._uploader = uploader
        self._part = part
        self._client = uploader.client
        self._sealed = sealed
        self._layout = sealed.descriptor.layout
        self._lease = lease
        self._candidates = list(candidates)
        self._holders = holders
        self._records = records
        self._running: list[_Put] = []
        self._failures: list[tuple[Candidate, Exception]] = []
        self._chunk_bytes = max(self._layout.column_bytes(index) for index in range(self._layout.n))
        self._event = trio.Event()

    async def run(self) -> None:
        """Fill ``holders`` and ``records``; returns once every chunk has a holder or nobody is left to ask."""
        async with trio.open_nursery() as nursery:
            while True:
                self._event = trio.Event()
                self._start(nursery)
                if not any(not put.stalled for put in self._running) and (self._enough() or not self._running):
                    break
                with trio.move_on_at(self._next_check()):
                    await self._event.wait()
                self._mark_stalled()
                if trio.current_time() >= self._uploader.moved_at + GIVE_UP_SECONDS:
                    break
            nursery.cancel_scope.cancel()
        if not self._enough():
            raise self._failed()

    def _start(self, nursery: trio.Nursery) -> None:
        """Give every chunk without a holder, and without a put that moves, to somebody."""
        moving = {put.index for put in self._running if not put.stalled}
        missing = [i for i in range(self._layout.n) if i not in self._holders and i not in moving]
        taken = {put.index: put.candidate for put in self._running if not put.stalled} | self._holders
        policy = self._uploader.terms.policy
        plan = assign(missing, self._candidates, taken, policy, chunk_bytes=self._chunk_bytes)
        for index, candidate in plan.items():
            put = _Put(index, candidate, trio.current_time())
            self._running.append(put)
            nursery.start_soon(self._put, put)

    def _next_check(self) -> float:
        """When to look again, by trio's clock: the same sums as below, or a rounding error has us look in vain."""
        moving = [put.moved_at for put in self._running if not put.stalled]
        oldest = min(moving, default=trio.current_time())
        return min(oldest + self._uploader.stall_seconds, self._uploader.moved_at + GIVE_UP_SECONDS)

    def _mark_stalled(self) -> None:
        for put in self._running:
            if not put.stalled and trio.current_time() >= put.moved_at + self._uploader.stall_seconds:
                put.stalled = True
                self._client.suspect(put.candidate.contact)
                self._leave_out(put.candidate)

    def _leave_out(self, candidate: Candidate) -> None:
        self._candidates = [c for c in self._candidates if c.node_id != candidate.node_id]

    def _enough(self) -> bool:
        """k+1 chunks (k if there is no parity) on as many distinct nodes as there are to be had."""
        layout = self._layout
        need = layout.k if layout.n == layout.k else layout.k + 1
        nodes = {holder.node_id for holder in self._holders.values()}
        available = nodes | {c.node_id for c in self._candidates if self._why_not(c) is None}
        return len(self._holders) >= need and len(nodes) >= min(need, len(available))

    def _why_not(self, candidate: Candidate) -> str | None:
        """What keeps chunks from a node that answers."""
        return why_not(candidate, self._uploader.terms.policy, self._chunk_bytes)

    async def _put(self, put: _Put) -> None:
        sealed, contact = self._sealed, put.candidate.contact
        message = Put(
            descriptor=sealed.descriptor.encode(),
            index=put.index,
            hashes=sealed.hashes[put.index],
            lease=self._lease,
        )

        def moved(_: int) -> None:
            put.moved_at = self._uploader.moved(put.moved_at)

        try:
            reply, _ = await self._client.peers.request(
                contact, message, body=(sealed.columns[put.index],), on_body=moved
            )
            assert isinstance(reply, PutReply)
            self._acknowledged(put, reply)
        except (PeerError, ProtocolError) as exc:
            self._failures.append((put.candidate, exc))
            self._leave_out(put.candidate)
            if not isinstance(exc, PeerRefused):
                self._client.suspect(contact)
        finally:
            self._running.remove(put)
            self._event.set()

    def _acknowledged(self, put: _Put, reply: PutReply) -> None:
        """Count a chunk once the holder's receipt and provider record are seen to be about it."""
        network, sealed, key = self._client.network.id, self._sealed, put.candidate.contact.key
        receipt = open_receipt(reply.receipt, network)
        provider = open_provider(network, sealed.id, reply.provider)
        if (receipt.key, receipt.segment, receipt.index, receipt.chunk_id) != (
            key,
            sealed.id,
            put.index,
            sealed.descriptor.chunk_ids[put.index],
        ) or (provider.key, provider.index) != (key, put.index):
            raise ProtocolError("the receipt is for something else")
        put.moved_at = self._uploader.moved(put.moved_at)
        if put.index in self._holders:
            return
        self._holders[put.index] = put.candidate
        self._records[put.index] = reply.provider
        size = self._layout.column_bytes(put.index)
        self._uploader.sent_bytes += size
        self._part.confirmed(len(self._holders), moved=size)

    def _failed(self) -> NodeError:
        need = self._layout.k if self._layout.n == self._layout.k else self._layout.k + 1
        refusals = [(c, why) for c in self._candidates if (why := self._why_not(c)) is not None]
        reasons = Counter(f"{c.country or 'unknown country'}: {why}" for c, why in (*self._failures, *refusals))
        told = "; ".join(f"{text}" + (f" ({count}x)" if count > 1 else "") for text, count in reasons.most_common(6))
        stalled = sum(put.stalled for put in self._running)
        told += f"; {stalled} stopped answering" if stalled else ""
        summary = f"placed {len(self._holders)} of {self._layout.n} chunks of a segment, {need} are needed"
        message = f"{summary} ({told.lstrip('; ') or 'no node answers that stores'})"
        if reasons and not stalled and all(isinstance(exc, PeerRefused) for _, exc in self._failures):
            return RefusedError(message, hint="add nodes or space; what is stored is not sent twice")
        return NetworkError(message, hint="publish again later: what is stored is not sent twice")
