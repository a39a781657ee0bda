"""Segments that come in sealed: checked, coded, placed and announced under the lease that came along.

Goals: nothing is sent to anybody before everything is checked; the node signs nothing and keeps nothing; bounded
memory. Non-goals: who may do it, and how often.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import trio

from node.client import Client
from node.errors import ConfigError, NetworkError
from node.keeping.holders import Questions
from node.net.pace import MAX_SILENCE_SECONDS, Pace
from node.progress import Progress
from node.publishing.candidates import seek
from node.publishing.placing import Placing
from node.publishing.present import find_present
from node.publishing.spread import Column, Spread, Terms
from node.publishing.upload import News, announce
from node.web.sealed.room import WHOLE_BYTES, Room
from protocol.errors import ProtocolError
from protocol.leases import Lease
from protocol.seal import SealedSegment, code_segment
from protocol.sealedsegment import MAX_UPLOAD_BYTES, MAX_UPLOAD_HEAD_BYTES, Upload
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Layout

MOST_CHUNK_BYTES = 2 * WHOLE_BYTES
"""Of all chunks of one segment: 8 of 12 are three quarters of that. Whoever asked for 2 of 32 would have the node send
sixteen times what came."""
AT_ONCE = 3
"""Uploads received or placed side by side: two of the longest, of clients, leave them memory to read; one place is kept
for the user of this node."""
SILENCE_SECONDS = 15.0
"""How long a body may be silent."""
BYTES_PER_SECOND = 16 * 1024
"""That come on the average, beginning with the 15th second: else the body is given up."""
BODY_SECONDS = 300.0
"""For all of it to come: 56 KB/s for the longest."""
CLOCK_SECONDS = 3600
"""By so much the depositor's clock may be ahead, as far as the longest lease is concerned."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a segment that came in is now."""

    placed: int
    """Chunks that have a holder."""
    n: int
    k: int
    nodes: int
    """Distinct holders."""
    countries: dict[str, int]
    """Claimed country -> chunks; empty for unknown."""


@dataclass(slots=True)
class SealedUploads:
    """What all who send segments share."""

    client: Client
    room: Room
    """Shared with those who read."""
    _places: Room = field(default_factory=lambda: Room(AT_ONCE, kept=1))
    _placing: trio.Lock = field(default_factory=trio.Lock)
    """One segment after the other: a holder takes two chunks without a permit at once, whosesoever they are."""
    _pace: Pace = field(default_factory=partial(Pace, MAX_SILENCE_SECONDS, MAX_SILENCE_SECONDS))
    """Holders look somebody up before they read: that silence is no stall."""
    _questions: Questions = field(default_factory=Questions)

    async def receive(
        self, body: AsyncGenerator[bytes, None], body_bytes: int, most_seconds: int, client: str = ""
    ) -> Stored:
        """Take a segment in, and have its chunks stored and announced.

        Args:
            body: The upload as it comes (docs/spec/web.md section 2); closed in the end.
            body_bytes: How long it is.
            most_seconds: For so long, from now, a lease may run.
            client: Who sends, one of many; empty: the user of this node.

        Raises:
            ConfigError: It is not what it should be: nothing was stored.
            RefusedError: The nodes that answer refuse.
            NetworkError: This node is busy, too few nodes can be reached, the body does not come, or nothing moved for
                15 seconds. What is stored is not sent again if the same body comes again.
        """
        async with aclosing(body), self._places.take(client=client):
            if body_bytes > MAX_UPLOAD_BYTES:
                raise ConfigError(f"a sealed segment is sent in at most {MAX_UPLOAD_BYTES} bytes, not {body_bytes}")
            coming = _Body(body)
            upload = self._checked(await coming.first(min(body_bytes, MAX_UPLOAD_HEAD_BYTES)), body_bytes)
            self._check_time(upload.lease, most_seconds)
            layout = upload.descriptor.layout
            async with self.room.take(layout.sealed_bytes + _parity_bytes(layout), client):
                sealed = await coming.rest(upload.head_bytes, layout.sealed_bytes)
                coded = await self.client.world.blocking(_coded, upload.descriptor, sealed)
                return await self._place(upload, coded)

    def _checked(self, beginning: bytes, body_bytes: int) -> Upload:
        """What goes before the blocks, once all is well that can be told from it. Raises ConfigError."""
        try:
            upload = Upload.decode(beginning, self.client.network.id, body_bytes)
        except ProtocolError as exc:
            raise ConfigError(f"this is no sealed segment: {exc}") from exc
        layout = upload.descriptor.layout
        size = sum(layout.column_bytes(index) for index in range(layout.n))
        if size > MOST_CHUNK_BYTES:
            raise ConfigError(
                f"the chunks of the segment have {size} bytes together, of at most {MOST_CHUNK_BYTES}",
                hint="ask for fewer parity chunks",
            )
        return upload

    def _check_time(self, lease: Lease, most_seconds: int) -> None:
        now = self.client.world.clock.wall()
        if lease.expiry <= now:
            raise ConfigError("the lease has ended", hint="is the clock of the machine that signed it right?")
        if lease.expiry > now + most_seconds + CLOCK_SECONDS:
            raise ConfigError(f"this node takes leases of at most {most_seconds // 86400} days")

    async def _place(self, upload: Upload, coded: SealedSegment) -> Stored:
        """As a publish does, but that the lease is there already and nothing else can be signed."""
        client, lease = self.client, upload.lease
        terms = Terms(lease.deposit, lease.sequence, int(client.world.clock.wall()), lease.expiry, lease.policy)
        spread = Spread(upload.descriptor, upload.signed_lease, terms, lease.depositor)
        await find_present(client, None, spread, self._questions, partial(seek, client, spread))
        if spread.missing:
            chunks = {index: Column(index, coded.columns[index], coded.hashes[index]) for index in spread.missing}
            part = Progress().part(0, spread.layout.n)
            async with self._placing:
                self._pace.moved_at = trio.current_time()
                await Placing(client, None, self._pace, spread, chunks, part).run()
        if spread.records:
            await announce(client, News(coded.id, tuple(spread.records.values()), spread.nearest))
        holders = spread.holders.values()
        countries = Counter(holder.country for holder in holders)
        return Stored(
            placed=len(holders),
            n=spread.layout.n,
            k=spread.layout.k,
            nodes=len({holder.node_id for holder in holders}),
            countries=dict(sorted(countries.items())),
        )


def _parity_bytes(layout: Layout) -> int:
    """Memory that coding takes."""
    return 0 if layout.k == 1 else (layout.n - layout.k) * layout.rows * SEALED_BLOCK_BYTES


def _coded(descriptor: Descriptor, sealed: memoryview) -> SealedSegment:
    try:
        return code_segment(descriptor, sealed)
    except ProtocolError as exc:
        raise ConfigError(f"this is no sealed segment: {exc}") from exc


class _Body:
    """A body as it comes, in memory of a size that is known beforehand."""

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        self._parts = parts
        self._deadline = trio.current_time() + BODY_SECONDS
        self._come = bytearray()
        self._size = 0
        self._waited = 0.0
        """Seconds, for parts; not for memory, when nobody reads."""

    async def first(self, size: int) -> bytes:
        """The first ``size`` bytes, or a few more. Raises ConfigError, NetworkError: they do not come."""
        await self._read(self._come.extend, lambda: size - len(self._come))
        return bytes(self._come)

    async def rest(self, start: int, size: int) -> memoryview:
        """The bytes from ``start`` on, ``size`` of them, and there are no others. Raises as :meth:`first`."""
        room = memoryview(bytearray(size))
        at = 0

        def put(part: bytes) -> None:
            nonlocal at
            if at + len(part) > size:
                raise ConfigError("the body goes on behind its end")
            room[at : at + len(part)] = part
            at += len(part)

        put(bytes(memoryview(self._come)[start:]))
        self._come.clear()
        await self._read(put, lambda: size - at)
        return room

    async def _read(self, put: Callable[[bytes], None], missing: Callable[[], int]) -> None:
        while missing() > 0:
            now = trio.current_time()
            too_slow = now - self._waited + max(SILENCE_SECONDS, self._size / BYTES_PER_SECOND)
            try:
                with trio.fail_at(min(self._deadline, now + SILENCE_SECONDS, too_slow)):
                    part = await anext(self._parts)
                put(part)
                self._size += len(part)
                self._waited += trio.current_time() - now
            except StopAsyncIteration:
                raise ConfigError(f"the body is cut short: {missing()} bytes are missing") from None
            except trio.TooSlowError:
                raise NetworkError("the body does not come in time") from None
