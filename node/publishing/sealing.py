"""One segment of a publish, from its plaintext on: sealed when some of it has to be sent, and not before."""

from dataclasses import dataclass, field

import trio

from node.blocking import Blocking
from node.buffers import Buffers
from node.journal import Journal
from protocol.hashing import Bytes, digest
from protocol.seal import SealedSegment, commitment, seal_segment
from protocol.segment import Descriptor, Layout, Shares, plan

SEALED_AT_ONCE = 3
KEPT_BYTES = 48 << 20
"""Of memory for segments, kept for the next: the plaintext of one, its sealed blocks and their parity are 40 MiB."""


@dataclass(slots=True)
class Sealer:
    """What the segments of one publish are sealed with."""

    blocking: Blocking
    journal: Journal
    shares: Shares
    buffers: Buffers = field(default_factory=lambda: Buffers(KEPT_BYTES))
    slots: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(SEALED_AT_ONCE))
    turn: trio.Lock = field(default_factory=trio.Lock)
    """Two threads that seal take the interpreter from the event loop, and gain nothing."""

    def segment(self, key: bytes, plaintext: Bytes, *, lent: bool) -> "Segment":
        """Args:
        key: The segment key, derived from this very buffer.
        plaintext: Not to be changed before the segment is released.
        lent: Whether it lies in memory of ``buffers``, and goes back there.
        """
        token = digest("local", key, str(self.shares).encode())
        layout = plan(len(plaintext), self.shares)
        known = self.journal.placed(token)
        if known is not None and (known.layout, known.commitment) != (layout, commitment(key)):
            known = None
        return Segment(self, key, plaintext, lent, layout, token, known)


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
    """What it was sealed to when it was last placed, as the journal knows it."""
    _sealed: SealedSegment | None = None

    async def descriptor(self) -> Descriptor:
        """The segment's; sealed for it, unless it is known."""
        return self.known or (await self.sealed()).descriptor

    async def sealed(self) -> SealedSegment:
        """Its chunks. Waits while too many others are sealed and not released."""
        if self._sealed is None:
            sealer = self.sealer
            await sealer.slots.acquire()
            try:
                async with sealer.turn:
                    self._sealed = await sealer.blocking(
                        seal_segment, self.plaintext, self.key, sealer.shares, sealer.buffers.take
                    )
            finally:
                if self._sealed is None:
                    sealer.slots.release()
            self._return_plaintext()
        return self._sealed

    def release(self) -> None:
        """Give the memory back: nobody needs the plaintext or the chunks any more."""
        if self._sealed is None:
            self._return_plaintext()
        else:
            self.sealer.buffers.give(*self._sealed.memory)
            self._sealed = None
            self.sealer.slots.release()

    def _return_plaintext(self) -> None:
        if self.lent:
            assert isinstance(self.plaintext, memoryview)
            self.sealer.buffers.give(self.plaintext)
        self.plaintext = b""

    def note_placed(self, descriptor: Descriptor) -> None:
        """Have the journal know what it was sealed to: all of it is placed, and announced."""
        if descriptor != self.known:
            self.sealer.journal.note_placed(self.token, descriptor)
