"""What a node does for each request (docs/spec/wire.md section 5). Refusals and replies come out; nothing is sent.

Bulk is not handled here: puts and gets stream, in node/serving/serve.py.
"""

from collections.abc import Awaitable, Callable, Sequence

from node.blocking import Blocking
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from node.store.chunkreader import ChunkReader
from node.store.chunkstore import ChunkStore, PutWriter
from node.store.refusal import Refusal
from protocol.errors import RemoteProtocolError
from protocol.ids import Address, PublicKey
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
    Hello,
    HelloReply,
    LeaseReply,
    Put,
    PutLease,
    PutReply,
    audit_statement,
)
from protocol.records import open_node_record
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor

DialBackCheck = Callable[[Address, PublicKey], Awaitable[DialBackReply]]
"""Connects back to a peer that says it is there, by UDP and TCP, within 5 seconds."""


class Requests:
    """Answers requests from a store and a node's statements."""

    def __init__(self, store: ChunkStore, statements: Statements, blocking: Blocking, dial_back: DialBackCheck) -> None:
        self._store = store
        self._statements = statements
        self._blocking = blocking
        self._dial_back = dial_back
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
        have = self._store.have
        return HaveReply(held=await self._blocking(have, message.depositor, message.deposit, message.segments))

    def begin_put(self, message: Put, body_bytes: int) -> PutWriter:
        """Check everything that can be checked before the body is read, and reserve the space. Never waits."""
        if not self._statements.storing:
            raise Refusal(ErrorCode.NOT_STORING, "this node has not been found reachable yet")
        try:
            descriptor = Descriptor.decode(message.descriptor)
        except RemoteProtocolError as exc:
            raise Refusal(ErrorCode.MALFORMED, f"the descriptor: {exc}") from exc
        lease = self._open_lease(message.lease)
        writer = self._store.begin_put(descriptor, message.index, message.hashes, lease, message.lease)
        if body_bytes != writer.body_bytes:
            writer.abort()
            raise Refusal(ErrorCode.MALFORMED, f"a body of {body_bytes} bytes, expected {writer.body_bytes}")
        return writer

    def end_put(self, writer: PutWriter, rest: memoryview) -> PutReply:
        """Take the last blocks and make the chunk durable. Blocks: for a worker thread."""
        writer.write(rest)
        return self._statements.put_reply(writer.commit(), writer.lease.expiry)

    def begin_get(self, message: Get, out: memoryview) -> tuple[ChunkReader, int]:
        """Open the chunk and read the first step into ``out``; returns its bytes. Blocks: for a worker thread."""
        reader = self._store.open_chunk(message.segment, message.index)
        try:
            reader.range_bytes(message.first, message.count)  # all of the range exists
            count = min(message.count, len(out) // SEALED_BLOCK_BYTES)
            return reader, reader.read_into(message.first, count, out)
        except Refusal:
            reader.close()
            raise

    async def lease(self, message: PutLease) -> LeaseReply:
        return await self._blocking(self._lease, self._open_lease(message.lease), message.lease)

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
        with self._store.open_chunk(message.segment, message.index) as reader:
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

    async def dial_back(self, message: DialBack, peer: PublicKey, observed: Address) -> DialBackReply:
        """Nobody can make us dial a stranger: only where the request came from."""
        if message.address.host != observed.host:
            raise Refusal(ErrorCode.REFUSED, f"the request came from {observed.host}")
        return await self._dial_back(message.address, peer)

    def _open_lease(self, data: bytes) -> Lease:
        try:
            return open_lease(data, self._network)
        except RemoteProtocolError as exc:
            raise Refusal(ErrorCode.BAD_LEASE, str(exc)) from exc
