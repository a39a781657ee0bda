"""Segments that were sealed elsewhere come in: stored as by a publish, or nothing at all."""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from dht.contact import Contact
from node.errors import ConfigError, NetworkError, RefusedError
from node.fetching.download import Downloader
from node.healing.handover import TAKE_OVERS_EACH
from node.keeping.holders import fetch_leases
from node.progress import Progress
from node.publishing import placing
from node.web.sealed import receiving
from node.web.sealed.receiving import SealedUploads
from node.web.sealed.room import ROOM_BYTES, Room
from protocol.identity import Identity, Network
from protocol.ids import SegmentId
from protocol.leases import Lease, Policy, sign_lease
from protocol.manifest import SegmentRef
from protocol.seal import SealedSegment, plaintext_key, seal_segment
from protocol.sealedsegment import encode_upload
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES, Descriptor, Shares
from tests.network.archipelago import NETWORK, Archipelago, User, archipelago, failure
from tests.network.sealing import read, reader
from tests.network.swarm import wall_clock

DAY = 86_400
LONGEST = 400 * DAY
PAGE = Identity(b"p" * 32)
"""Made in a page, for one deposit."""


class Page:
    """Seals a segment, and signs that it be kept."""

    def __init__(self, size: int, *, shares: str = "8/12", avoid: tuple[str, ...] = ()) -> None:
        self.plaintext = Random(size).randbytes(size)
        self.key = plaintext_key(b"s" * 32, self.plaintext)
        self.sealed: SealedSegment = seal_segment(self.plaintext, self.key, Shares.parse(shares))
        self.blocks = b"".join(self.sealed.columns[: self.sealed.descriptor.layout.k])
        self.lease = Lease(
            network=NETWORK.id,
            depositor=PAGE.key,
            deposit=b"d" * 16,
            segment=self.sealed.id,
            size=size,
            sequence=int(wall_clock() * 1000),
            expiry=int(wall_clock()) + 30 * DAY,
            policy=Policy(avoid=avoid),
        )

    @property
    def ref(self) -> SegmentRef:
        return SegmentRef(id=self.sealed.id, length=len(self.plaintext), key=self.key)

    def body(self) -> bytes:
        return encode_upload(self.sealed.descriptor, sign_lease(PAGE, self.lease), self.blocks)


async def parts(body: bytes, size: int = 60_000, pause: float = 0.0) -> AsyncGenerator[bytes, None]:
    """As it comes by HTTP."""
    for start in range(0, len(body), size):
        await trio.sleep(pause)
        yield body[start : start + size]


def uploads(user: User) -> SealedUploads:
    return SealedUploads(user.client, Room())


async def fetched(islands: Archipelago, page: Page) -> bool:
    """Whether somebody who has the key reads what was sealed."""
    async with islands.user("reader") as user:
        blocks = page.sealed.descriptor.layout.blocks
        return bytes(await Downloader(user.client, Progress()).blocks(page.ref, 0, blocks)) == page.plaintext


async def test_what_comes_in_can_be_read(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 14) as islands:
        for size in (1, 70_000, BLOCK_BYTES + 1, 11 * BLOCK_BYTES + 5, SEGMENT_BYTES):
            await _comes_in_and_can_be_read(islands, Page(size))


async def _comes_in_and_can_be_read(islands: Archipelago, page: Page) -> None:
    layout = page.sealed.descriptor.layout
    async with islands.user() as user:
        service = uploads(user)
        stored = await service.receive(parts(page.body()), len(page.body()), LONGEST)
        assert service.room.free == ROOM_BYTES
    held = islands.holders()[page.sealed.id.hex()]
    assert set(held) == set(range(layout.n))
    where = Counter(nodes[0].country for nodes in held.values())
    assert (stored.placed, stored.n, stored.k, stored.nodes) == (layout.n, layout.n, layout.k, layout.n)
    assert stored.countries == dict(where)
    assert max(where.values()) <= layout.n - layout.k
    assert all(nodes[0].lease((page.sealed.id.hex(), index)) == page.lease for index, nodes in held.items())
    assert await fetched(islands, page)
    async with reader(islands) as (_, sealed):
        assert b"".join(await read(sealed, page.sealed.id, 0, layout.blocks)) == page.blocks


async def test_once_more_sends_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 14) as islands, islands.user() as user:
        page = Page(8 * BLOCK_BYTES)
        service = uploads(user)
        first = await service.receive(parts(page.body()), len(page.body()), LONGEST)
        before = sum(user.meter.sent.values())
        assert await service.receive(parts(page.body()), len(page.body()), LONGEST) == first
        assert sum(user.meter.sent.values()) - before < SEALED_BLOCK_BYTES
        lost = islands.holders()[page.sealed.id.hex()][3][0]
        lost.chunk_file((page.sealed.id.hex(), 3)).unlink()
        again = await service.receive(parts(page.body()), len(page.body()), LONGEST)
        assert again.placed == 12
        assert sum(user.meter.sent.values()) - before < 2 * SEALED_BLOCK_BYTES
        page.lease = replace(page.lease, sequence=page.lease.sequence + 1, expiry=page.lease.expiry + 90 * DAY)
        await service.receive(parts(page.body()), len(page.body()), LONGEST)
        assert sum(user.meter.sent.values()) - before < 3 * SEALED_BLOCK_BYTES
        async with islands.user("other") as other:
            shown = [nodes[0] for nodes in islands.holders()[page.sealed.id.hex()].values()]
            assert {await _expiry(other, node.contact, page.sealed.id) for node in shown} == {page.lease.expiry}


async def _expiry(user: User, contact: Contact, segment: SegmentId) -> int:

    ((lease, _),) = await fetch_leases(user.client, contact, segment)
    return lease.expiry


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _bad_bodies() -> dict[str, tuple[bytes, int | None, str]]:
    """Body, the length it is said to have (None: its own), and what is said of it."""
    page = Page(3 * BLOCK_BYTES)
    good, described, blocks = page.body(), page.sealed.descriptor, page.blocks
    other_chunk = Descriptor(
        described.layout, described.commitment, (*described.chunk_ids[:-1], described.chunk_ids[0])
    )

    def leased(**changes: object) -> bytes:
        return encode_upload(described, sign_lease(PAGE, replace(page.lease, **changes)), blocks)  # type: ignore[arg-type]

    for_other = sign_lease(PAGE, replace(page.lease, segment=other_chunk.id))
    now, end = int(wall_clock()), len(good)
    return {
        "nothing": (b"", None, "no sealed segment"),
        "junk": (Random(1).randbytes(5000), None, "no sealed segment"),
        "a block": (_flipped(good, end - 1), None, "chunk 2 is another"),
        "a chunk id": (encode_upload(other_chunk, for_other, blocks), None, "is another"),
        "signature": (_flipped(good, 2 + len(described.encode()) + 2), None, "signature"),
        "network": (leased(network=Network("other").id), None, "network"),
        "segment": (leased(segment=SegmentId(bytes(32))), None, "not one that keeps this segment"),
        "size": (leased(size=1), None, "not one that keeps this segment"),
        "deleted": (leased(deleted=True), None, "not one that keeps this segment"),
        "ended": (leased(expiry=now), None, "the lease has ended"),
        "too long a lease": (leased(expiry=now + 401 * DAY), None, "at most 400 days"),
        "cut": (good[:-1], None, "sealed bytes, not"),
        "longer": (good + b"x", None, "sealed bytes, not"),
        "less comes than was said": (good[:-1], end, "cut short: 1 bytes"),
        "more comes than was said": (good + b"x", end, ""),
        "oversize": (good, 17 << 20, "at most 16782340"),
    }


async def test_a_bad_body_changes_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5) as islands, islands.user() as user:
        service = uploads(user)
        for name, (body, said, told) in _bad_bodies().items():
            error = await failure(service.receive(parts(body, 1 << 20), len(body) if said is None else said, LONGEST))
            assert isinstance(error, ConfigError), name
            assert told in str(error), name
            assert not user.meter.sent, name
            assert not islands.holders(), name
            assert service.room.free == ROOM_BYTES, name


async def test_too_much_parity_is_refused(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5) as islands, islands.user() as user:
        page = Page(65 * BLOCK_BYTES, shares="2/12")
        error = await failure(uploads(user).receive(parts(page.body()), len(page.body()), LONGEST))
        assert isinstance(error, ConfigError)
        assert "fewer parity chunks" in str(error.hint)


async def test_a_body_that_stops(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 5) as islands, islands.user() as user:
        body, service = Page(64 * BLOCK_BYTES).body(), uploads(user)
        silence, rate = receiving.SILENCE_SECONDS, receiving.BYTES_PER_SECOND
        for size, pause, at_most in (
            (10_000, 1000.0, silence),
            (10_000, 10.0, silence),  # that is 1 kB/s
            (rate // 2, 1.0, silence),
            (rate * 6 // 5, 1.0, receiving.BODY_SECONDS),
        ):
            began = trio.current_time()
            error = await failure(service.receive(parts(body, size, pause), len(body), LONGEST))
            assert isinstance(error, NetworkError)
            assert trio.current_time() - began == pytest.approx(at_most, abs=0.01)
        assert service.room.free == ROOM_BYTES
        assert not islands.holders()


async def test_several_at_once_and_few_nodes(autojump_clock: MockClock, base: Path) -> None:
    """A node takes two chunks without a permit at once, and a small network means four of each segment."""
    assert placing.AT_ONCE == TAKE_OVERS_EACH
    async with archipelago(base, 3) as islands, islands.user() as user:
        service = uploads(user)
        pages = [Page(8 * BLOCK_BYTES + number) for number in range(4)]
        async with trio.open_nursery() as nursery:
            for page in pages:
                nursery.start_soon(service.receive, parts(page.body()), len(page.body()), LONGEST)
        for page in pages:
            assert len(islands.holders()[page.sealed.id.hex()]) == page.sealed.descriptor.layout.n
            assert await fetched(islands, page)


async def test_holders_that_are_frozen_or_refuse(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 16) as islands, islands.user() as user:
        for node in islands.nodes[3:6]:
            node.host.freeze()
        page = Page(8 * BLOCK_BYTES)
        began = trio.current_time()
        stored = await uploads(user).receive(parts(page.body()), len(page.body()), LONGEST)
        assert stored.placed == 12
        assert trio.current_time() - began < 20
        nowhere = Page(9 * BLOCK_BYTES, avoid=("DE", "FR", "IS", "NZ"))
        error = await failure(uploads(user).receive(parts(nowhere.body()), len(nowhere.body()), LONGEST))
        assert isinstance(error, RefusedError)
        assert nowhere.sealed.id.hex() not in islands.holders()


async def test_a_holder_with_a_later_lease_is_passed_over(autojump_clock: MockClock, base: Path) -> None:
    """The node can sign nothing above it; whoever deleted a segment meanwhile is not overruled."""
    async with archipelago(base, 14) as islands, islands.user() as user:
        page, service = Page(8 * BLOCK_BYTES), uploads(user)
        late = page.lease
        page.lease = replace(late, sequence=late.sequence + 5, expiry=late.expiry + DAY)
        await service.receive(parts(page.body()), len(page.body()), LONGEST)
        held = islands.holders()[page.sealed.id.hex()]
        page.lease = replace(late, expiry=late.expiry + 200 * DAY)
        await failure(service.receive(parts(page.body()), len(page.body()), LONGEST))
        assert islands.holders()[page.sealed.id.hex()] == held
