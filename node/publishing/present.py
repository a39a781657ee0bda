"""Which chunks of a segment the network has already: counted only after an audit, on nodes that suit the policy."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import trio

from dht.contact import Contact
from node.client import Client
from node.keeping.audit import answered_rightly
from node.keeping.holders import ANSWER_SECONDS, Questions
from node.net.peers import PeerError, PeerRefused
from node.publishing.outdoing import outdo
from node.publishing.placement import ENOUGH_COUNTRIES, Candidate
from node.publishing.spread import Spread
from protocol.errors import ProtocolError
from protocol.identity import Identity
from protocol.ids import NodeId, PublicKey
from protocol.messages import ErrorCode, Have, HaveReply, LeaseReply, PutLease
from protocol.receipts import check_receipt
from protocol.records import ProviderRecord, open_provider

_ENOUGH_LEASE = 0.9
"""A lease that still runs for this share of the time asked is not renewed."""


async def find_present(
    client: Client,
    identity: Identity | None,
    spread: Spread,
    questions: Questions,
    seek: Callable[[], Awaitable[None]],
) -> None:
    """Find chunks that are on suitable nodes already: each proved by an audit, under this deposit's lease.

    Fills ``spread.holders``, and ``spread.records`` with what has yet to be announced: an earlier run may have
    been killed between a put and its announcement. Those who announced the chunks are asked first. Only when they
    do not have all of it ``seek`` is called, which fills ``spread.candidates``, and these are asked as well.

    ``identity`` is the depositor's; None: the lease was signed elsewhere, and who has a later one does not count.
    """
    work = _Presence(client, identity, spread, questions)
    async with aclosing(client.dht.providers(spread.descriptor.id)) as batches:
        async for records in batches:
            work.known += records
            if len({record.index for record in work.known}) == spread.layout.n:
                break
        await work.ask()
        if not work.settled:
            async for records in batches:
                work.known += records
            await seek()
            await work.ask()


@dataclass(slots=True)
class _Presence:
    """What is found out about one segment."""

    client: Client
    identity: Identity | None
    spread: Spread
    questions: Questions
    known: list[ProviderRecord] = field(default_factory=list)
    """Who is announced to hold it."""
    asked: set[NodeId] = field(default_factory=set)
    proved: list["_Chunk"] = field(default_factory=list)
    settled: bool = False
    """Whether asking more nodes would change nothing."""

    async def ask(self) -> None:
        """Have all who may hold something prove it who were not asked before, and choose whom to count as holders."""
        spread, client = self.spread, self.client
        candidates = spread.candidates + _farther(self.known, spread.candidates)
        suitable = [c for c in candidates if c.country not in spread.terms.policy.avoid]
        async with trio.open_nursery() as nursery:
            for candidate in suitable:
                if candidate.node_id not in self.asked and not client.is_suspect(candidate.contact):
                    self.asked.add(candidate.node_id)
                    nursery.start_soon(self._ask, candidate)
        self._choose(candidates, len({c.country for c in suitable}))

    async def _ask(self, candidate: Candidate) -> None:
        work = _Proof(self.client, self.identity, self.spread, candidate, self.questions)
        try:
            found = await work.run({(holder.index, holder.key) for holder in self.known})
        except (PeerError, ProtocolError, trio.TooSlowError) as exc:
            if isinstance(exc, PeerRefused):
                self.client.refusals.note(candidate.contact, candidate.country, exc)
            self.client.suspect(candidate.contact)
        else:
            self.proved += found

    def _choose(self, candidates: Sequence[Candidate], countries: int) -> None:
        spread, layout = self.spread, self.spread.layout
        order = {candidate.node_id: rank for rank, candidate in enumerate(candidates)}
        evenly = spread.terms.policy.spread_countries
        per_country: Counter[str] = Counter()
        spread.holders, spread.records, spread.receipts = {}, {}, {}
        for chunk in sorted(self.proved, key=lambda chunk: (chunk.index, order[chunk.holder.node_id])):
            index, country = chunk.index, chunk.holder.country
            full = evenly and countries >= ENOUGH_COUNTRIES and per_country[country] >= layout.n - layout.k > 0
            if index in spread.holders or full:
                continue
            spread.holders[index] = chunk.holder
            per_country[country] += 1
            if chunk.record is not None:
                spread.records[index] = chunk.record
            if chunk.receipt is not None:
                spread.receipts[index] = chunk.receipt
        self.settled = not spread.missing and (not evenly or countries >= ENOUGH_COUNTRIES)


def _farther(known: Sequence[ProviderRecord], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Holders that are not among the nearest nodes any more: the network has grown since. They get nothing new."""
    near = {candidate.node_id for candidate in candidates}
    farther = {holder.key: Candidate(Contact(holder.key, holder.address), holder.country, 0) for holder in known}
    return [candidate for candidate in farther.values() if candidate.node_id not in near]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk that a node has proved to hold, with the lease seen to."""

    index: int
    holder: Candidate
    record: bytes | None = None
    """Its provider record, if that is not announced yet."""
    receipt: bytes | None = None
    """Its receipt for this lease, if the lease had to be taken there."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """What one node can prove to hold."""

    client: Client
    identity: Identity | None
    spread: Spread
    holder: Candidate
    questions: Questions

    async def run(self, announced: set[tuple[int, PublicKey]]) -> list[_Chunk]:
        """The chunks it proved to hold. Where receipts are wanted, those that it signed for as well.

        Raises:
            PeerError, ProtocolError, trio.TooSlowError: It refuses, lies or does not answer.
        """
        descriptor, terms = self.spread.descriptor, self.spread.terms
        ask = Have(depositor=self.spread.depositor, deposit=terms.deposit, segments=(descriptor.id,))
        with trio.fail_after(ANSWER_SECONDS):
            reply, _ = await self.client.peers.request(self.holder.contact, ask)
        assert isinstance(reply, HaveReply)
        (held,) = reply.held
        good = [i for i in held.indices if i < descriptor.layout.n and await self._audited(i)]
        new = {index for index in good if (index, self.holder.contact.key) not in announced}
        ending = held.expiry < terms.now + _ENOUGH_LEASE * (terms.expiry - terms.now)
        if not new and not (good and (ending or self.spread.receipts_wanted)):
            return [_Chunk(index, self.holder) for index in good]
        reply = await self._leased()
        records, receipts = self._records(reply), self._receipts(reply)
        signed = [index for index in good if index in receipts or not self.spread.receipts_wanted]
        return [
            _Chunk(index, self.holder, records.get(index) if index in new else None, receipts.get(index))
            for index in signed
        ]

    async def _audited(self, index: int) -> bool:
        question = partial(answered_rightly, self.client, self.holder.contact, self.spread.descriptor, index)
        return await self.questions.ask(ANSWER_SECONDS, question)

    async def _leased(self) -> LeaseReply:
        """Take the lease there; one above what it has, should it have a later one."""
        while True:
            lease = self.spread.lease
            try:
                with trio.fail_after(ANSWER_SECONDS):
                    reply, _ = await self.client.peers.request(self.holder.contact, PutLease(lease=lease))
            except PeerRefused as exc:
                if exc.code is not ErrorCode.STALE or self.identity is None:
                    raise
                if not await outdo(self.client, self.identity, self.spread, self.holder.contact, lease):
                    raise
            else:
                assert isinstance(reply, LeaseReply)
                return reply

    def _records(self, reply: LeaseReply) -> dict[int, bytes]:
        """The provider records of the chunks it keeps, by index."""
        segment = self.spread.descriptor.id
        opened = [(open_provider(self.client.network.id, segment, data), data) for data in reply.providers]
        return {record.index: data for record, data in opened if record.key == self.holder.contact.key}

    def _receipts(self, reply: LeaseReply) -> dict[int, bytes]:
        """The receipts for them, if they are wanted."""
        if not self.spread.receipts_wanted:
            return {}
        network, descriptor = self.client.network.id, self.spread.descriptor
        opened = [(check_receipt(data, network, descriptor), data) for data in reply.receipts]
        return {receipt.index: data for receipt, data in opened if receipt.key == self.holder.contact.key}
