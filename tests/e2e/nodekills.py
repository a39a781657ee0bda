"""Puts to a real node that is killed at random moments, and a look at what it has and serves when it is back."""

import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from dht.contact import Contact
from node.config import split_host_port
from node.net.peers import PeerError, PeerRefused, Peers
from node.net.transport import SystemTransport
from node.store.chunkfile import Paths
from node.store.quota import HEADROOM_BYTES
from protocol.identity import Network
from protocol.ids import Address
from protocol.messages import ErrorCode, Get, GetReply, Have, HaveReply, LeaseReply, PutLease, PutReply
from protocol.records import open_receipt
from tests.e2e.storefiles import compare_files
from tests.e2e.world import NodeProcess, Nodes
from tests.node.builders import ALICE, DAY, Sample, files_charge, lease_for, sample
from tests.node.serving import put_message

QUOTA_BYTES = 10**9

_NAME = "victim"
_AT_ONCE = 4
"""Connections that put."""
_RENEWED = 0.3
"""The share of puts that are followed by a renewal, whose lease goes into a file of its own."""
_LATEST_SECONDS = 0.05
"""A put takes about so long: the kill comes within it, after an acknowledgement that was drawn."""
_LARGEST_BYTES = 1_500_000
_ROUND_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class _Chunk:
    """One chunk to put, and what the node acknowledged of it."""

    segment: Sample
    index: int
    last: int
    """The sequence of its last lease: 1 if it is not renewed."""
    asked: int = 0
    """The highest sequence that was sent."""
    acknowledged: int = 0
    """The highest sequence that was acknowledged; 0: not even the put."""


class NodeKills:
    """One node, put to and killed again and again."""

    def __init__(self, nodes: Nodes, *, seed: int, puts: int, kills: int) -> None:
        """
        Args:
            nodes: Where the node is started.
            seed: Of the chunks and of the moments.
            puts: Chunks of segments of their own.
            kills: At most as many as puts.
        """
        self._nodes = nodes
        self._random = random.Random(seed)
        self._network = Network(nodes.network)
        self._paths = Paths(nodes.folder / _NAME)
        self._began = int(time.time())
        self._rounds = kills + 1
        self._chunks = [self._draw(number) for number in range(puts)]
        self._acknowledged = 0
        self._enough = trio.Event()
        self._killed = False
        self.unheard = 0
        """Chunks that were found stored, whole, though the kill came before their acknowledgement."""

    def _draw(self, number: int) -> _Chunk:
        length = int(_LARGEST_BYTES ** self._random.uniform(0.6, 1.0))
        segment = sample(self._random.getrandbits(64), length)
        index = self._random.randrange(segment.descriptor.layout.n)
        return _Chunk(segment, index, 2 if self._random.random() < _RENEWED else 1)

    def run(self) -> None:
        """Put all chunks, with a kill in every round but the last. After each round the node is looked at."""
        node = self._start()
        left: list[_Chunk] = []
        for number in range(self._rounds):
            first, end = (len(self._chunks) * n // self._rounds for n in (number, number + 1))
            left += self._chunks[first:end]
            last = number == self._rounds - 1
            trio.run(self._round, node, left, not last)
            if not last:
                node.kill()  # it is dead already: wait for it
                node = self._start()
            self._look(node)
            left = [chunk for chunk in left if chunk.acknowledged < chunk.last]
        assert not left
        assert node.stop() == 0
        self._look(self._start())

    def _start(self) -> NodeProcess:
        return self._nodes.start(_NAME, "--quota", f"{QUOTA_BYTES}")

    # Putting

    async def _round(self, node: NodeProcess, chunks: Sequence[_Chunk], kill: bool) -> None:
        self._acknowledged, self._enough, self._killed = 0, trio.Event(), False
        after = self._random.randrange(len(chunks)) if kill else len(chunks)
        moment = self._random.uniform(0, _LATEST_SECONDS)
        todo = iter(chunks)
        with trio.fail_after(_ROUND_SECONDS):
            async with self._asking(node) as (peers, contact), trio.open_nursery() as nursery:
                for _ in range(_AT_ONCE):
                    nursery.start_soon(self._put_each, peers, contact, todo, after)
                if kill:
                    await self._enough.wait()
                    await trio.sleep(moment)  # not to wait for anything: it is the moment that was drawn
                    self._killed = True
                    node.process.kill()

    @asynccontextmanager
    async def _asking(self, node: NodeProcess) -> AsyncIterator[tuple[Peers, Contact]]:
        host, port = split_host_port(node.address)
        address = Address(host, port)
        peers = Peers(ALICE, self._network, SystemTransport(), self._random.randbytes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peers.run)
            yield peers, Contact(await peers.probe(address), address)
            nursery.cancel_scope.cancel()

    async def _put_each(self, peers: Peers, contact: Contact, todo: Iterator[_Chunk], after: int) -> None:
        if after == 0:
            self._enough.set()
        for chunk in todo:
            try:
                await self._put(peers, contact, chunk)
            except PeerError:
                if not self._killed:
                    raise
                return
            self._acknowledged += 1
            if self._acknowledged == after:
                self._enough.set()

    async def _put(self, peers: Peers, contact: Contact, chunk: _Chunk) -> None:
        """What of a chunk is not acknowledged yet: the put, and its renewal."""
        segment, index = chunk.segment, chunk.index
        if not chunk.acknowledged:
            chunk.asked = 1
            lease = self._lease(chunk, 1)
            message = put_message(segment, index, lease, holder=contact.key, network=self._network)
            reply, _ = await peers.request(contact, message, body=(memoryview(segment.columns[index]),))
            assert isinstance(reply, PutReply)
            receipt = open_receipt(reply.receipt, self._network.id)
            assert receipt.chunk_id == segment.descriptor.chunk_ids[index]
            chunk.acknowledged = 1
        if chunk.acknowledged < chunk.last:
            chunk.asked = chunk.last
            reply, _ = await peers.request(contact, PutLease(lease=self._lease(chunk, chunk.last)))
            assert isinstance(reply, LeaseReply)
            chunk.acknowledged = chunk.last

    def _lease(self, chunk: _Chunk, sequence: int) -> bytes:
        expiry = self._expiry(sequence)
        return lease_for(chunk.segment, sequence=sequence, expiry=expiry, network=self._network)[1]

    def _expiry(self, sequence: int) -> int:
        return self._began + (30 + sequence) * DAY if sequence else 0

    # Looking

    def _look(self, node: NodeProcess) -> None:
        """From outside and from inside: nothing acknowledged is missing, nothing is torn, everything agrees."""
        trio.run(self._ask_for_everything, node)
        compare_files(self._paths)

    async def _ask_for_everything(self, node: NodeProcess) -> None:
        with trio.fail_after(_ROUND_SECONDS):
            async with self._asking(node) as (peers, contact):
                for chunk in self._chunks:
                    if chunk.asked:
                        await self._ask_for(peers, contact, chunk)
                record, _ = await peers.hello(contact)
        assert record.storing
        assert record.free_bytes == QUOTA_BYTES - HEADROOM_BYTES - files_charge(self._paths.root)

    async def _ask_for(self, peers: Peers, contact: Contact, chunk: _Chunk) -> None:
        """A chunk is served as it was put; one that was not acknowledged may be missing, and is nothing else."""
        segment, index = chunk.segment, chunk.index
        blocks = segment.descriptor.layout.column_blocks(index)
        try:
            reply, body = await peers.request(contact, Get(segment=segment.id, index=index, count=blocks, proof=True))
        except PeerRefused as exc:
            assert exc.code is ErrorCode.NOT_FOUND, exc
            assert not chunk.acknowledged, "what was acknowledged is gone"
            found = False
        else:
            assert isinstance(reply, GetReply)
            assert (reply.descriptor, reply.hashes) == (segment.descriptor.encode(), segment.hashes[index])
            assert body == segment.columns[index]
            found = True
            self.unheard += not chunk.acknowledged
        ask = Have(depositor=ALICE.key, deposit=bytes(16), segments=(segment.id,))
        reply, _ = await peers.request(contact, ask)
        assert isinstance(reply, HaveReply)
        (held,) = reply.held
        assert held.indices == (bytes([index]) if found else b"")
        possible = range(max(1, chunk.acknowledged), chunk.asked + 1) if found else (0,)
        assert held.expiry in [self._expiry(sequence) for sequence in possible]
