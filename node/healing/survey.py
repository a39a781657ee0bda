"""What holders of the same segments ask each other: who has which chunks, under which leases.

docs/spec/healing.md sections 1 and 6.
"""

import logging
from collections.abc import Sequence
from itertools import islice

import trio

from dht.contact import Contact, believable
from node.client import Client
from node.healing.ledger import CoHolder, Ledger
from node.healing.tally import Tally
from node.keeping.holders import ANSWER_SECONDS
from node.keeping.shown import fetch_leases
from node.net.peers import PeerRefused
from node.serving.statements import Statements
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import RemoteProtocolError
from protocol.identity import verify
from protocol.ids import Address, PublicKey, SegmentId, short
from protocol.messages import (
    LEASES_PAGE,
    MAX_SURVEYED,
    NONCE_BYTES,
    ErrorCode,
    Holds,
    Leases,
    LeasesReply,
    PutLease,
    Shared,
    Survey,
    SurveyReply,
)
from protocol.records import open_node_record
from protocol.statements import survey_statement

log = logging.getLogger(__name__)

EXCHANGE_SECONDS = 20.0
"""For one survey and all leases that have to be exchanged with it: what is left comes with the next one."""


class Surveys:
    """Both sides of it."""

    def __init__(self, ledger: Ledger, client: Client, store: ChunkStore, statements: Statements, tally: Tally) -> None:
        self._ledger = ledger
        self._client = client
        self._store = store
        self._statements = statements
        self._tally = tally
        self._blocking = client.world.blocking

    # Asking

    async def ask(self, node: CoHolder) -> None:
        """Survey a node about every segment shared with it. Raises PeerError, ProtocolError, trio.TooSlowError."""
        remaining = iter(list(self._ledger.shared_with(node)))
        while segments := list(islice(remaining, MAX_SURVEYED)):
            await self.ask_about(node, segments)
        node.surveyed = trio.current_time()

    async def ask_about(self, node: CoHolder, segments: Sequence[SegmentId]) -> tuple[Holds, ...]:
        """Survey a node about at most 128 segments, leases included; returns what it says of each.

        Raises:
            PeerError, ProtocolError, trio.TooSlowError, Refusal.
        """
        with trio.fail_after(EXCHANGE_SECONDS):
            return await self._ask_about(node, segments)

    async def _ask_about(self, node: CoHolder, segments: Sequence[SegmentId]) -> tuple[Holds, ...]:
        nonce = self._client.world.random_bytes(NONCE_BYTES)
        own = await self._blocking(self._store.digests, segments)
        message = Survey(
            nonce=nonce,
            record=self._statements.node_record(),
            segments=tuple(
                Shared(segment=segment, indices=indices) for segment, (indices, _) in zip(segments, own, strict=True)
            ),
        )
        with trio.fail_after(ANSWER_SECONDS):
            reply, _ = await self._client.peers.request(node.contact, message)
        assert isinstance(reply, SurveyReply)
        self._check(node, nonce, segments, reply)
        self._tally.surveys_asked += 1
        for segment, (_, digest), holds in zip(segments, own, reply.segments, strict=True):
            self._ledger.says(segment, node, holds.indices)
            if holds.leases != digest and (holds.indices or any(holds.leases)):
                await self._exchange(node, segment, they_hold=bool(holds.indices))
        return reply.segments

    def _check(self, node: CoHolder, nonce: bytes, segments: Sequence[SegmentId], reply: SurveyReply) -> None:
        statement = survey_statement(
            network=self._client.network.id,
            nonce=nonce,
            time=reply.time,
            segments=segments,
            answers=reply.segments,
        )
        verify(node.contact.key, "survey", statement, reply.signature)

    # Answering

    async def answer(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        """What we hold of the segments asked about; a node that asks says the same of itself. Raises Refusal."""
        segments = [shared.segment for shared in message.segments]
        own = await self._blocking(self._store.digests, segments)
        if message.record:
            self._learn(message, peer, observed)
        answers = tuple(
            Holds(indices=indices, leases=digest, missing=self._missing(segment))
            for segment, (indices, digest) in zip(segments, own, strict=True)
        )
        now = int(self._client.world.clock.wall())
        statement = survey_statement(
            network=self._client.network.id, nonce=message.nonce, time=now, segments=segments, answers=answers
        )
        self._tally.surveys_answered += 1
        signature = self._statements.identity.sign("survey", statement)
        return SurveyReply(segments=answers, time=now, signature=signature)

    def _missing(self, segment: SegmentId) -> int:
        trouble = self._ledger.troubles.get(segment)
        return len(trouble.lost) if trouble is not None else 0

    def _learn(self, message: Survey, peer: PublicKey, observed: Address) -> None:
        """Believe what a node says of itself, but for an address that it may not send us to."""
        try:
            record = open_node_record(message.record, self._client.network.id)
        except RemoteProtocolError as exc:
            raise Refusal(ErrorCode.MALFORMED, f"the node record: {exc}") from exc
        if record.key != peer:
            raise Refusal(ErrorCode.MALFORMED, "the node record is another node's")
        if not believable(record.address, observed):
            return
        known = [shared for shared in message.segments if shared.segment in self._ledger]
        if known:
            node = self._ledger.node(Contact(peer, record.address), record.country, trio.current_time())
            for shared in known:
                self._ledger.says(shared.segment, node, shared.indices)

    # Leases

    async def leases(self, message: Leases) -> LeasesReply:
        """A page of a segment's leases."""
        found = sorted(await self._blocking(self._store.leases, message.segment))
        page = tuple(found[message.skip : message.skip + LEASES_PAGE])
        return LeasesReply(leases=page, more=len(found) > message.skip + len(page))

    async def _exchange(self, node: CoHolder, segment: SegmentId, *, they_hold: bool) -> None:
        """Take what is newer there, and bring there what is newer here."""
        theirs = await fetch_leases(self._client, node.contact, segment)
        before = set(await self._blocking(self._store.leases, segment))
        await self._blocking(self._store.merge_leases, segment, theirs)
        after = set(await self._blocking(self._store.leases, segment))
        if after != before:
            self._tally.leases_learned += len(after - before)
            log.debug("segment %s: leases learned from %s", short(segment), short(node.node_id))
            ((indices, _),) = await self._blocking(self._store.digests, [segment])
            if not indices:  # a deletion was among them
                self._ledger.forget(segment)
        for data in sorted(after.difference(data for _, data in theirs)) if they_hold else ():
            try:
                with trio.fail_after(ANSWER_SECONDS):
                    await self._client.peers.request(node.contact, PutLease(lease=data))
            except PeerRefused as exc:
                log.debug("%s does not take a lease: %s", short(node.node_id), exc)
