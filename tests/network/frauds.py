"""Holders that stand in the DHT as storage nodes do, take chunks, sign for them, and betray them afterwards."""

from collections.abc import Callable

import trio

from node.net.wire import Wire
from protocol.ids import SegmentId
from protocol.messages import (
    Audit,
    AuditReply,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Have,
    HaveReply,
    Held,
    Message,
    Put,
    PutReply,
)
from protocol.records import Receipt, sign_receipt
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, block_hash
from protocol.statements import audit_statement
from tests.network.archipelago import NETWORK
from tests.network.holder import Holder
from tests.network.swarm import wall_clock


class Fraud:
    """Acknowledges every put, keeps only what was said of the chunk, and claims to have everything."""

    def __init__(self) -> None:
        self.taken: dict[tuple[SegmentId, int], Put] = {}

    async def __call__(self, liar: Holder, wire: Wire, message: Message) -> None:
        match message:
            case Put():
                await self._put(liar, wire, message)
            case Get():
                await self._get(liar, wire, message)
            case Have():
                held = Held(indices=bytes(range(12)), expiry=int(wall_clock()) + 10**8)
                await wire.send(HaveReply(held=(held,) * len(message.segments)))
            case Audit():
                await self._audit(liar, wire, message)
            case _:
                await wire.send(ErrorReply(code=ErrorCode.REFUSED))

    async def _put(self, liar: Holder, wire: Wire, message: Put) -> None:
        descriptor = Descriptor.decode(message.descriptor)
        self.taken[descriptor.id, message.index] = message
        now = int(wall_clock())
        receipt = Receipt(
            network=NETWORK.id,
            key=liar.identity.key,
            segment=descriptor.id,
            index=message.index,
            chunk_id=descriptor.chunk_ids[message.index],
            expiry=now + 86_400,
            country=liar.country,
            time=now,
        )
        provider = liar.provider(descriptor.id, message.index)
        await wire.send(PutReply(receipt=sign_receipt(liar.identity, receipt), provider=provider))

    async def _get(self, liar: Holder, wire: Wire, message: Get) -> None:
        await wire.send(ErrorReply(code=ErrorCode.NOT_FOUND))

    async def _audit(self, liar: Holder, wire: Wire, message: Audit) -> None:
        put = self.taken.get((message.segment, message.index))
        if put is None:
            await wire.send(ErrorReply(code=ErrorCode.NOT_FOUND))
            return
        block = liar.random.randbytes(SEALED_BLOCK_BYTES)
        statement = audit_statement(
            network=NETWORK.id,
            nonce=message.nonce,
            segment=message.segment,
            index=message.index,
            block=message.block,
            block_hash=block_hash(block),
        )
        signature = liar.identity.sign("audit", statement)
        await wire.send(
            AuditReply(descriptor=put.descriptor, hashes=put.hashes, signature=signature), [memoryview(block)]
        )


class Forger(Fraud):
    """Sends bytes of the right form, under the right descriptor and hashes, that are not the right ones."""

    async def _get(self, liar: Holder, wire: Wire, message: Get) -> None:
        put = self.taken.get((message.segment, message.index))
        if put is None:
            await super()._get(liar, wire, message)
            return
        start = message.first * SEALED_BLOCK_BYTES
        end = start + message.count * SEALED_BLOCK_BYTES
        size = max(0, min(end, Descriptor.decode(put.descriptor).layout.column_bytes(message.index)) - start)
        await wire.send_header(GetReply(descriptor=put.descriptor, hashes=put.hashes), size)
        await self._body(wire, memoryview(liar.random.randbytes(size)))

    async def _body(self, wire: Wire, body: memoryview) -> None:
        await wire.send_body(body)


class Dripper(Forger):
    """Sends a byte now and then: never silent, and never done."""

    async def _body(self, wire: Wire, body: memoryview) -> None:
        for start in range(len(body)):
            await wire.send_body(body[start : start + 1])
            await trio.sleep(0.9)


FRAUDS: tuple[Callable[[], Fraud], ...] = (Fraud, Forger, Dripper)
