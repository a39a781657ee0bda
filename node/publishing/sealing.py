"""One segment of a publish, from its plaintext on: sealed when some of it has to be sent, and not before."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import trio

from node.blocking import Blocking
from node.buffers import Buffers
from node.journal import Journal
from protocol.hashing import Bytes, digest
from protocol.seal import SealedSegment, commitment, seal_segment
from protocol.segment import Descriptor, Layout, Shares, plan

KEPT_BYTES = 48 << 20
"""Of memory for segments, kept for the next: the plaintext of one, its sealed blocks and their parity are 40 MiB."""


@dataclass(slots=True)
class Sealer:
    """What the segments of one publish are sealed with."""

    blocking: Blocking
    journal: Journal
    shares: Shares
    buffers: Buffers = field(default_factory=lambda: Buffers(KEPT_BYTES))
    turn: trio.Lock = field(default_factory=trio.Lock)
    """Two threads that seal take the interpreter from the event loop, and gain nothing."""

    def room(self, size: int) -> memoryview:
        """Memory for a plaintext of ``size`` bytes, long enough to be used for sealed blocks next."""
        return self.buffers.take(plan(size, self.shares).sealed_bytes)[:size]

    def segment(self, key: bytes, plaintext: Bytes, *, lent: bool) -> "Segment":
        """Args:
        key: The segment key, derived from this very buffer.
        plaintext: Not to be changed before the segment is released.
        lent: Whether it lies in memory that ``room`` gave, or that may go there.
        """
        layout = plan(len(plaintext), self.shares)
        return Segment(self, key, plaintext, lent, layout, self._token(key), self.known(key, len(plaintext)))

    def referred(self, key: bytes, descriptor: Descriptor, fetch: Callable[[], Awaitable[memoryview]]) -> "Segment":
        """A segment that is stored already, as part of another deposit.

        Args:
            key: The segment key.
            descriptor: The segment's.
            fetch: Gets its plaintext, should some of it have to be stored again: in memory that may be kept.
        """
        layout = descriptor.layout
        alike = layout == plan(layout.length, self.shares)
        sealer = self if alike else replace(self, shares=Shares(layout.k, layout.n))
        return Segment(sealer, key, b"", True, layout, sealer._token(key), descriptor, fetch)

    def known(self, key: bytes, length: int) -> Descriptor | None:
        """What the plaintext of ``length`` bytes that the key is of was sealed to when it was last placed."""
        known = self.journal.placed(self._token(key))
        if known is not None and (known.layout, known.commitment) == (plan(length, self.shares), commitment(key)):
            return known
        return None

    def _token(self, key: bytes) -> bytes:
        return digest("local", key, str(self.shares).encode())


@dataclass(slots=True, repr=False)
class Segment:
    """A segment to be stored."""

    sealer: Sealer
    key: bytes
    plaintext: Bytes
    lent: bool
    layout: Layout
    token: bytes
    """What the journal knows it by."""
    known: Descriptor | None
    """What it was sealed to when it was last placed, as the journal knows it, or a holder."""
    fetch: Callable[[], Awaitable[memoryview]] | None = None
    """Gets the plaintext, when it is not here."""
    _sealed: SealedSegment | None = None

    async def descriptor(self) -> Descriptor:
        """The segment's; sealed for it, unless it is known."""
        return self.known or (await self.sealed()).descriptor

    async def sealed(self) -> SealedSegment:
        """Its chunks.

        Raises:
            NodeError: What ``fetch`` raises.
        """
        if self._sealed is None:
            sealer = self.sealer
            if self.fetch is not None:
                self.plaintext = await self.fetch()
            async with sealer.turn:
                self._sealed = await sealer.blocking(
                    seal_segment, self.plaintext, self.key, sealer.shares, sealer.buffers.take
                )
            self._return_plaintext()
        return self._sealed

    @property
    def is_sealed(self) -> bool:
        """Whether its chunks have been asked for, since some have to be sent."""
        return self._sealed is not None

    def release(self) -> None:
        """Give the memory back: nobody needs the plaintext or the chunks any more."""
        if self._sealed is None:
            self._return_plaintext()
        else:
            self.sealer.buffers.give(*self._sealed.memory)
            self._sealed = None

    def _return_plaintext(self) -> None:
        if self.lent and self.plaintext:
            assert isinstance(self.plaintext, memoryview)
            self.sealer.buffers.give(self.plaintext)
        self.plaintext = b""

    def note_placed(self, descriptor: Descriptor) -> None:
        """Have the journal know what it was sealed to: all of it is placed, and announced."""
        if descriptor != self.known:
            self.sealer.journal.note_placed(self.token, descriptor)
