"""Who may have which chunk of a segment, and reading verified blocks from them (docs/spec/healing.md section 4).

Goals: nothing unverified comes out; who fails, lies or falls silent is not asked again. Non-goals: whom to ask when.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from dht.contact import Contact
from node.blocking import Blocking
from node.client import Client
from node.net.peers import PeerRefused, PeerUnreachable
from node.store.chunkstore import ChunkStore
from protocol.errors import IntegrityError
from protocol.ids import SegmentId
from protocol.messages import Get, GetReply, Reply
from protocol.segment import MAX_N, SEALED_BLOCK_BYTES, Descriptor, check_block, check_hashes

SILENT_SECONDS = 5.0
"""A holder that is silent for so long is not asked again."""


@dataclass(frozen=True, slots=True)
class LocalChunks:
    """The chunks of one segment that this node holds itself."""

    store: ChunkStore
    blocking: Blocking
    segment: SegmentId

    async def indices(self) -> list[int]:
        """Which they are. Raises Refusal."""
        found = await self.blocking(self.store.holdings, (self.segment, -1), MAX_N)
        return [chunk.index for chunk in found if chunk.segment == self.segment]

    async def read(self, index: int, first: int, count: int) -> memoryview:
        """``count`` blocks of a chunk from ``first``, which the store has checked against the segment id.

        Raises:
            Refusal: Not held; rotten, and dropped now; or the disk failed.
        """
        return memoryview(await self.blocking(self.store.read, self.segment, index, first, count))


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who may have one chunk."""

    index: int
    contact: Contact | None
    """None: this node."""

    def __str__(self) -> str:
        where = "on this node" if self.contact is None else f"at {self.contact.address}"
        return f"chunk {self.index} {where}"


class Sources:
    """Who may have which chunk, and what is known of them so far."""

    def __init__(
        self, client: Client, descriptor: Descriptor, own: LocalChunks | None, on_bytes: Callable[[int], None]
    ) -> None:
        self._client = client
        self._descriptor = descriptor
        self._own = own
        self._on_bytes = on_bytes
        self._all: list[Source] = []
        self._hashes: dict[int, tuple[bytes, ...]] = {}
        self._slow: set[Source] = set()
        self.failures: dict[Source, str] = {}

    def add(self, index: int, contact: Contact | None) -> None:
        """Take in that somebody, or this node (None), is said to have a chunk."""
        source = Source(index, contact)
        if index < self._descriptor.layout.n and source not in self._all:
            self._all.append(source)

    def usable(self) -> list[Source]:
        """Those that have not failed: this node first, the slow and the suspect last."""
        return sorted((source for source in self._all if source not in self.failures), key=self._order)

    def _order(self, source: Source) -> tuple[bool, bool, bool, int]:
        suspect = source.contact is not None and self._client.is_suspect(source.contact)
        return source.contact is not None, source in self._slow, suspect, source.index

    def note_slow(self, source: Source) -> None:
        self._slow.add(source)

    def note_failure(self, source: Source, exc: Exception) -> None:
        """Not to be asked again. Who did worse than refuse is not asked for any other chunk either."""
        if isinstance(exc, PeerRefused):
            self.failures[source] = exc.code.name.lower().replace("_", " ")  # its text is a stranger's
            return
        self.failures[source] = str(exc)
        if source.contact is not None:
            self._client.suspect(source.contact)
            for other in self._all:
                if other.contact == source.contact:
                    self.failures.setdefault(other, str(exc))

    async def read(self, source: Source, first: int, count: int, on_moved: Callable[[], None]) -> memoryview:
        """``count`` blocks of a chunk from ``first``, joined, each of them verified.

        Raises:
            PeerError, ProtocolError, Refusal.
        """
        if source.contact is None:
            assert self._own is not None
            return await self._own.read(source.index, first, count)
        with trio.CancelScope(deadline=trio.current_time() + SILENT_SECONDS) as scope:

            def moved() -> None:
                scope.deadline = trio.current_time() + SILENT_SECONDS
                on_moved()

            return await self._get(source.index, source.contact, first, count, moved)
        raise PeerUnreachable(f"silent for {SILENT_SECONDS:.0f} s")

    async def _get(
        self, index: int, contact: Contact, first: int, count: int, on_moved: Callable[[], None]
    ) -> memoryview:
        layout = self._descriptor.layout
        size = sum(layout.block_bytes(index, row) for row in range(first, first + count))
        proof = index not in self._hashes
        came = 0

        def into(reply: Reply, body_bytes: int) -> memoryview:
            assert isinstance(reply, GetReply)
            if proof:
                self._hashes[index] = check_hashes(self._descriptor, index, reply.hashes)
            if body_bytes != size:
                raise IntegrityError(f"sent {body_bytes} bytes instead of {size}")
            return memoryview(bytearray(size))

        def on_body(received: int) -> None:
            nonlocal came
            self._on_bytes(received - came)
            came = received
            on_moved()

        message = Get(segment=self._descriptor.id, index=index, first=first, count=count, proof=proof)
        _, body = await self._client.peers.request(contact, message, into=into, on_body=on_body)
        for number, expected in enumerate(self._hashes[index][first : first + count]):
            check_block(expected, body[number * SEALED_BLOCK_BYTES : (number + 1) * SEALED_BLOCK_BYTES])
        return body
