"""What a node does for each request (docs/spec/wire.md section 5). Refusals and replies come out; nothing is sent.

Bulk is not handled here: puts and gets stream, in node/serving/serve.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.blocking import Blocking
from node.serving.policy import AccessLists
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkreader import ChunkReader
from node.store.chunkstore import ChunkStore
from node.store.putting import PutWriter
from node.store.refusal import Refusal
from protocol.errors import RemoteProtocolError, SignatureError
from protocol.identity import verify
from protocol.ids import Address, PublicKey, SegmentId
from protocol.leases import Lease, open_lease
from protocol.messages import (
    Audit,
    AuditReply,
    DialBack,
    DialBackReply,
    ErrorCode,
    Get,
    Have,
    HaveReply,
    Held,
    Hello,
    HelloReply,
    LeaseReply,
    Leases,
    LeasesReply,
    Put,
    PutLease,
    PutReply,
    Survey,
    SurveyReply,
)
from protocol.records import open_node_record
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor
from protocol.statements import audit_statement, permit_statement

DialBackCheck = Callable[[Address, PublicKey], Awaitable[DialBackReply]]
"""Connects back to a peer that says it is there, by UDP and TCP, within 5 seconds."""


class Healer(Protocol):
    """What holders of the same segments do for each other (node/healing/)."""

    async def take_over(self, descriptor: Descriptor, index: int, lease: Lease, peer: PublicKey, source: str) -> None:
        """Return if a chunk may be taken from a node that is not its depositor. Raises Refusal if not.

        ``source`` is the IP address that the question comes from.
        """

    async def answer_survey(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        """What is held of some segments, and under which leases. Raises Refusal."""

    async def leases(self, message: Leases) -> LeasesReply:
        """A page of a segment's leases. Raises Refusal."""

    def stored(self, segment: SegmentId, index: int, *, taken_over: bool) -> None:
        """Told of every chunk that was put; from a worker thread."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a put says, opened and checked."""

    descriptor: Descriptor
    lease: Lease
    taken_over: bool
    """Whether it comes from another node rather than from the depositor."""


class Requests:
    """Answers requests from a store and a node's statements."""

    def __init__(
        self,
        store: ChunkStore,
        statements: Statements,
        blocking: Blocking,
        dial_back: DialBackCheck,
        healer: Healer,
        lists: AccessLists | None = None,
    ) -> None:
        self._store = store
        self._statements = statements
        self._blocking = blocking
        self._dial_back = dial_back
        self._healer = healer
        self._lists = lists or AccessLists()
        self._network = statements.network.id

    def hello(self, message: Hello, observed: Address) -> HelloReply:
        """The node record. A peer's own is checked, for a node that sends a bad one is broken or lying."""
        if message.record:
            try:
                open_node_record(message.record, self._network)
            except RemoteProtocolError as exc:
                raise Refusal(ErrorCode.MALFORMED, f"the node record: {exc}") from exc
        return HelloReply(record=self._statements.node_record(), observed=observed)

    async def have(self, message: Have) -> HaveReply:
        return HaveReply(held=await self._blocking(self._have, message))

    def _have(self, message: Have) -> tuple[Held, ...]:
        found = self._store.have(message.depositor, message.deposit, message.segments)
        return tuple(
            Held() if held.indices and self._lists.hides(segment, self._store) else held
            for segment, held in zip(message.segments, found, strict=True)
        )

    async def admit(self, message: Put, peer: PublicKey, body_bytes: int, source: str) -> Offer:
        """Check by whose word a chunk is put: the depositor's, whose permit comes with it, or else a holder's.

        Before others are asked about it, everything is checked that takes no asking; nothing is reserved yet.
        """
        if not self._statements.storing:
            raise Refusal(ErrorCode.NOT_STORING, "this node has not been found reachable yet")
        try:
            offer = Offer(
                Descriptor.decode(message.descriptor), self._open_lease(message.lease), taken_over=not message.permit
            )
        except RemoteProtocolError as exc:
            raise Refusal(ErrorCode.MALFORMED, f"the descriptor: {exc}") from exc
        self._lists.check(offer.lease)  # before anybody is asked, and before there is talk of room
        if offer.taken_over:
            self.begin_put(message, offer, body_bytes, source).abort()
            if not await self._blocking(self._store.holds_under, offer.lease, message.lease, message.index):
                await self._healer.take_over(offer.descriptor, message.index, offer.lease, peer, source)
            return offer
        own = self._statements.identity.key
        statement = permit_statement(
            network=self._network, segment=offer.descriptor.id, index=message.index, holder=own
        )
        try:
            verify(offer.lease.depositor, "permit", statement, message.permit)
        except SignatureError as exc:
            raise Refusal(ErrorCode.BAD_LEASE, "the permit is not the depositor's, or for another node") from exc
        return offer

    def begin_put(self, message: Put, offer: Offer, body_bytes: int, source: str) -> PutWriter:
        """Check what else can be checked before the body is read, and reserve the space. Never waits."""
        if not self._statements.storing:  # it may have begun to leave while others were asked
            raise Refusal(ErrorCode.NOT_STORING, "this node takes no chunks any more")
        writer = self._store.begin_put(
            offer.descriptor, message.index, message.hashes, offer.lease, message.lease, source
        )
        if body_bytes != writer.body_bytes:
            writer.abort()
            raise Refusal(ErrorCode.MALFORMED, f"a body of {body_bytes} bytes, expected {writer.body_bytes}")
        return writer

    def end_put(self, writer: PutWriter, offer: Offer, rest: memoryview) -> PutReply:
        """Take the last blocks and make the chunk durable. Blocks: for a worker thread."""
        writer.write(rest)
        chunk = writer.commit()
        self._healer.stored(chunk.segment, chunk.index, taken_over=offer.taken_over)
        return self._statements.put_reply(chunk, writer.lease.expiry)

    def begin_get(self, message: Get, out: memoryview) -> tuple[ChunkReader, int]:
        """Open the chunk and read the first step into ``out``; returns its bytes. Blocks: for a worker thread."""
        reader = self._open_chunk(message.segment, message.index)
        try:
            reader.range_bytes(message.first, message.count)  # all of the range exists
            count = min(message.count, len(out) // SEALED_BLOCK_BYTES)
            return reader, reader.read_into(message.first, count, out)
        except Refusal:
            reader.close()
            raise

    async def lease(self, message: PutLease) -> LeaseReply:
        lease = self._open_lease(message.lease)
        self._lists.check(lease)
        return await self._blocking(self._lease, lease, message.lease)

    def _lease(self, lease: Lease, data: bytes) -> LeaseReply:
        chunks: Sequence[HeldChunk] = self._store.apply_lease(lease, data)
        return LeaseReply(
            receipts=tuple(self._statements.receipt(chunk, lease.expiry) for chunk in chunks),
            providers=tuple(map(self._statements.provider, chunks)),
        )

    async def audit(self, message: Audit) -> tuple[AuditReply, memoryview]:
        """The block asked for, and what shows that it is the right one."""
        return await self._blocking(self._audit, message)

    def _audit(self, message: Audit) -> tuple[AuditReply, memoryview]:
        with self._open_chunk(message.segment, message.index) as reader:
            block = reader.read(message.block, 1)
            descriptor, hashes = reader.proof
            block_hash = reader.block_hash(message.block)
        statement = audit_statement(
            network=self._network,
            nonce=message.nonce,
            segment=message.segment,
            index=message.index,
            block=message.block,
            block_hash=block_hash,
        )
        signature = self._statements.identity.sign("audit", statement)
        return AuditReply(descriptor=descriptor, hashes=hashes, signature=signature), memoryview(block)

    async def survey(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        return await self._healer.answer_survey(message, peer, observed)

    async def leases(self, message: Leases) -> LeasesReply:
        return await self._healer.leases(message)

    async def dial_back(self, message: DialBack, peer: PublicKey, observed: Address) -> DialBackReply:
        """Nobody can make us dial a stranger: only where the request came from."""
        if message.address.host != observed.host:
            raise Refusal(ErrorCode.REFUSED, f"the request came from {observed.host}")
        return await self._dial_back(message.address, peer)

    def _open_chunk(self, segment: SegmentId, index: int) -> ChunkReader:
        if self._lists.hides(segment, self._store):
            raise Refusal(ErrorCode.NOT_FOUND, f"chunk {index} is not held here")
        return self._store.open_chunk(segment, index)

    def _open_lease(self, data: bytes) -> Lease:
        try:
            return open_lease(data, self._network)
        except RemoteProtocolError as exc:
            raise Refusal(ErrorCode.BAD_LEASE, str(exc)) from exc
