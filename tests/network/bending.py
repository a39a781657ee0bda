"""Real nodes whose insides a test can look at, and bend: what they answer, and what their store says it has.

Until something is bent, everything is as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from node.client import Client
from node.healing.ledger import CoHolder, Ledger
from node.healing.service import Healing
from node.healing.tally import Tally
from node.intervals import Intervals
from node.serving.requests import Requests
from node.serving.statements import Statements
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import Address, NodeId, PublicKey, SegmentId
from protocol.links import Link
from protocol.messages import (
    Audit,
    AuditReply,
    ErrorCode,
    Get,
    LeaseReply,
    Leases,
    LeasesReply,
    Message,
    Put,
    PutLease,
    Survey,
    SurveyReply,
)
from protocol.records import ProviderRecord
from protocol.segment import block_hash
from protocol.statements import audit_statement, survey_statement
from tests.network.archipelago import NETWORK, Archipelago, Chunk, Node
from tests.network.healing import NOTE, QUICK, descriptor, missing, only_segment
from tests.network.swarm import wall_clock

LIVELY = replace(QUICK, ping=40, survey=60, audit=120, announce=600, grace=90, short_grace=60, rank=20, tick=4)
"""Under which all there is to do is done within minutes."""
FOUND_OUT = 3 * LIVELY.audit
"""An audit is due, and due again; whoever finds something waits for its rank and repairs."""

Digests = list[tuple[bytes, bytes]]


class Store(ChunkStore):
    """May say that it has what it has not."""

    lie: Callable[[Sequence[SegmentId], Digests], Digests] | None = None
    scrubbed: list[tuple[float, Chunk]] | None = None
    """When which chunk was read by a scrub."""

    def scrub(self, segment: SegmentId, index: int) -> bool:
        if self.scrubbed is not None:
            self.scrubbed.append((wall_clock(), (segment.hex(), index)))
        return super().scrub(segment, index)

    def digests(self, segments: Sequence[SegmentId]) -> Digests:
        truth = super().digests(segments)
        return truth if self.lie is None else self.lie(segments, truth)


class Server(Requests):
    """May answer audits and surveys in another way; counts what it is asked."""

    on_audit: Callable[["Server", Audit, AuditReply, memoryview], tuple[AuditReply, memoryview]] | None = None
    on_survey: Callable[["Server", Survey, SurveyReply], SurveyReply] | None = None
    on_leases: Callable[["Server", Leases, LeasesReply], LeasesReply] | None = None
    gets_nothing = False

    def __init__(self, store: ChunkStore, statements: Statements, *rest: Any) -> None:
        super().__init__(store, statements, *rest)
        self.identity = statements.identity
        self.asked: list[Message] = []
        self.times: list[tuple[float, Message]] = []
        self.askers: list[PublicKey] = []

    async def audit(self, message: Audit) -> tuple[AuditReply, memoryview]:
        self.asked.append(message)
        self.times.append((wall_clock(), message))
        reply, block = await super().audit(message)
        return (reply, block) if self.on_audit is None else self.on_audit(self, message, reply, block)

    async def survey(self, message: Survey, peer: PublicKey, observed: Address) -> SurveyReply:
        self.asked.append(message)
        self.askers.append(peer)
        reply = await super().survey(message, peer, observed)
        return reply if self.on_survey is None else self.on_survey(self, message, reply)

    async def leases(self, message: Leases) -> LeasesReply:
        self.asked.append(message)
        reply = await super().leases(message)
        return reply if self.on_leases is None else self.on_leases(self, message, reply)

    async def lease(self, message: PutLease) -> LeaseReply:
        self.asked.append(message)
        return await super().lease(message)

    async def admit(self, message: Put, *rest: Any) -> Any:
        self.asked.append(message)
        return await super().admit(message, *rest)

    def count(self, *kinds: type[Message]) -> int:
        """Requests of some kinds."""
        return sum(isinstance(message, kinds) for message in self.asked)

    def begin_get(self, message: Get, out: memoryview) -> Any:
        self.asked.append(message)
        if self.gets_nothing and message.count:
            raise Refusal(ErrorCode.NOT_FOUND, "it is not here")
        return super().begin_get(message, out)


@dataclass(eq=False)
class Insides:
    """Of one node that runs."""

    client: Client
    store: Store
    statements: Statements
    healing: Healing
    servers: list[Server] = field(default_factory=list)

    @property
    def server(self) -> Server:
        return self.servers[0]

    @property
    def ledger(self) -> Ledger:
        return self.healing._ledger

    @property
    def tally(self) -> Tally:
        return self.healing.tally

    def sees(self, node: Node) -> CoHolder | None:
        """What it knows of another."""
        return self.ledger.known(node.identity.key)

    async def announce(self, segment: SegmentId, indices: Sequence[int]) -> None:
        """Claim chunks in the DHT."""
        records = [
            ProviderRecord.sign(
                self.statements.identity,
                NETWORK.id,
                segment,
                index=index,
                expiry=int(wall_clock()) + 86_400,
                country=self.statements.country,
                address=self.statements.address,
            )
            for index in indices
        ]
        await self.client.dht.announce(segment, records, await self.client.dht.lookup(segment))


Everybody = dict[NodeId, Insides]


def bendable(monkeypatch: pytest.MonkeyPatch) -> Everybody:
    """The insides of all nodes started from now on, by their id; of a node started again, the new ones."""
    found: Everybody = {}

    def healing(client: Client, store: Store, statements: Statements, intervals: Intervals, folder: Path) -> Healing:
        made = Healing(client, store, statements, intervals, folder)
        found[statements.identity.node_id] = Insides(client, store, statements, made)
        return made

    def requests(store: ChunkStore, statements: Statements, *rest: Any) -> Server:
        made = Server(store, statements, *rest)
        found[statements.identity.node_id].servers.append(made)
        return made

    monkeypatch.setattr("node.app.ChunkStore", Store)
    monkeypatch.setattr("node.app.Healing", healing)
    monkeypatch.setattr("node.app.Requests", requests)
    return found


# Lies


def keeps_hashes_only(server: Server, asked: Audit, reply: AuditReply, block: memoryview) -> Any:
    """Signs what is right, and sends something else."""
    return reply, memoryview(bytes(len(block)))


def serves_junk(server: Server, asked: Audit, reply: AuditReply, block: memoryview) -> Any:
    """Signs for other bytes, and sends them."""
    junk = bytes(len(block))
    statement = audit_statement(
        network=NETWORK.id,
        nonce=asked.nonce,
        segment=asked.segment,
        index=asked.index,
        block=asked.block,
        block_hash=block_hash(junk),
    )
    return replace(reply, signature=server.identity.sign("audit", statement)), memoryview(junk)


def unsigned_junk(server: Server, asked: Audit, reply: AuditReply, block: memoryview) -> Any:
    """Sends something else, and what might be a signature."""
    return replace(reply, signature=bytes(64)), memoryview(bytes(len(block)))


def resigned(server: Server, asked: Survey, reply: SurveyReply) -> SurveyReply:
    """A reply that was changed, signed again."""
    statement = survey_statement(
        network=NETWORK.id,
        nonce=asked.nonce,
        time=reply.time,
        segments=[shared.segment for shared in asked.segments],
        answers=reply.segments,
    )
    return replace(reply, signature=server.identity.sign("survey", statement))


def claims_all(n: int) -> Callable[[Sequence[SegmentId], Digests], Digests]:
    """Says of any segment that it has all chunks of it, under the leases it really has."""
    return lambda segments, truth: [(bytes(range(n)), leases) for _, leases in truth]


def keeps_saying(chunks: set[Chunk]) -> Callable[[Sequence[SegmentId], Digests], Digests]:
    """Says that it has what it once had."""
    return lambda segments, truth: [
        (bytes(sorted(index for segment, index in chunks if segment == asked.hex())), leases)
        for asked, (_, leases) in zip(segments, truth, strict=True)
    ]


async def publish_note(islands: Archipelago) -> tuple[Link, str]:
    """A deposit of one small segment, 1 of 5; the link, and the segment. Its holders know each other."""
    async with islands.user() as alice:
        published = await alice.publish(islands.file("note", NOTE))
    await trio.sleep(5 * LIVELY.tick)
    assert not missing(islands)
    return published.link, only_segment(islands)


def sid(segment: str) -> SegmentId:
    return SegmentId(bytes.fromhex(segment))


def whole_without(islands: Archipelago, segment: str, *liars: Node) -> bool:
    """Whether every chunk of a segment lies on the disk of an honest node."""
    n = descriptor(islands, segment).layout.n
    honest = {index for index, nodes in islands.holders()[segment].items() for node in nodes if node not in liars}
    return honest == set(range(n))


def honest(islands: Archipelago, insides: Everybody, *liars: Node) -> Iterator[Insides]:
    return (insides[node.node_id] for node in islands.nodes if node not in liars)
