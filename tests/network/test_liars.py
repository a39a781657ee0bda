"""Holders that lie: what they send is never used, they are not asked twice, and the truth is found elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from node.errors import IntegrityFailure
from node.net.wire import Wire
from protocol.ids import SegmentId
from protocol.messages import (
    Audit,
    AuditReply,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Message,
    Put,
    PutReply,
)
from protocol.records import Receipt, sign_receipt
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, Descriptor, block_hash
from protocol.statements import audit_statement
from tests.network.archipelago import NETWORK, Archipelago, Node, User, archipelago, failure
from tests.network.holder import Behaviour, Holder, holder, holds_nothing
from tests.network.swarm import wall_clock

MIB = 1 << 20


@dataclass(frozen=True)
class Truth:
    """What an honest holder of one chunk would send."""

    descriptor: bytes
    hashes: bytes
    body: bytes

    @classmethod
    def of(cls, node: Node, segment: str, index: int) -> "Truth":
        trailer = node.trailer((segment, index))
        layout = Descriptor.decode(trailer.descriptor).layout
        data = node.chunk_file((segment, index)).read_bytes()
        return cls(trailer.descriptor, trailer.hashes, data[: layout.column_bytes(index)])

    def part(self, message: Get) -> bytes:
        start = message.first * SEALED_BLOCK_BYTES
        return self.body[start : start + message.count * SEALED_BLOCK_BYTES]


def flip(data: bytes, at: int = -1) -> bytes:
    """``data`` with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


Lie = Callable[[Truth, Wire, Get], Awaitable[bool]]
"""Answers a get; says whether that was a lie. Some lies can be told only where blocks were asked for."""


async def _reply(wire: Wire, descriptor: bytes, hashes: bytes, body: bytes) -> bool:
    await wire.send(GetReply(descriptor=descriptor, hashes=hashes), (memoryview(body),) if body else ())
    return True


async def wrong_bytes(truth: Truth, wire: Wire, message: Get) -> bool:
    await _reply(wire, truth.descriptor, truth.hashes, flip(truth.part(message)) if message.count else b"")
    return message.count > 0


async def wrong_hashes(truth: Truth, wire: Wire, message: Get) -> bool:
    return await _reply(wire, truth.descriptor, flip(truth.hashes), truth.part(message))


async def no_hashes(truth: Truth, wire: Wire, message: Get) -> bool:
    return await _reply(wire, truth.descriptor, b"", truth.part(message))


async def wrong_descriptor(truth: Truth, wire: Wire, message: Get) -> bool:
    return await _reply(wire, flip(truth.descriptor), truth.hashes, truth.part(message))


async def no_descriptor(truth: Truth, wire: Wire, message: Get) -> bool:
    return await _reply(wire, b"", truth.hashes, truth.part(message))


async def too_short(truth: Truth, wire: Wire, message: Get) -> bool:
    await _reply(wire, truth.descriptor, truth.hashes, truth.part(message)[:-1])
    return message.count > 0


async def too_long(truth: Truth, wire: Wire, message: Get) -> bool:
    body = truth.part(message)
    longer = body + b"x" if len(body) < message.count * SEALED_BLOCK_BYTES else body
    await _reply(wire, truth.descriptor, truth.hashes, longer)
    return longer != body


async def a_long_error(truth: Truth, wire: Wire, message: Get) -> bool:
    await wire.send(ErrorReply(code=ErrorCode.BUSY, text="x" * 256))
    return True


async def hangs_up(truth: Truth, wire: Wire, message: Get) -> bool:
    await wire.send_header(GetReply(descriptor=truth.descriptor, hashes=truth.hashes), len(truth.part(message)))
    await wire.close()
    return message.count > 0


async def never_begins(truth: Truth, wire: Wire, message: Get) -> bool:
    await trio.sleep(10_000)
    return True


async def never_ends(truth: Truth, wire: Wire, message: Get) -> bool:
    body = memoryview(truth.part(message))
    await wire.send_header(GetReply(descriptor=truth.descriptor, hashes=truth.hashes), len(body))
    if body:
        await wire.send_body(body[:-1])
        await trio.sleep(10_000)
    return False


async def drips(truth: Truth, wire: Wire, message: Get) -> bool:
    """A byte now and then: never silent for a whole second."""
    body = memoryview(truth.part(message))
    await wire.send_header(GetReply(descriptor=truth.descriptor, hashes=truth.hashes), len(body))
    for start in range(len(body)):
        await wire.send_body(body[start : start + 1])
        await trio.sleep(0.9)
    return False


LIES: tuple[Lie, ...] = (
    wrong_bytes,
    wrong_hashes,
    no_hashes,
    wrong_descriptor,
    no_descriptor,
    too_short,
    too_long,
    a_long_error,
    hangs_up,
    never_begins,
    never_ends,
    drips,
)

LIES_ABOUT_BLOCKS = (wrong_bytes, too_short, too_long, hangs_up, never_ends, drips)
LIES_ABOUT_ROOTS = (wrong_bytes, wrong_descriptor, too_long, never_begins, drips)

LENGTH = 7 * BLOCK_BYTES + 1000
"""Eight blocks, 8 of 12; the last one is short."""


class Liar:
    """Lies about one chunk."""

    def __init__(self, lie: Lie, truth: Truth) -> None:
        self._lie = lie
        self._truth = truth
        self.gets = 0
        self.lies = 0

    async def __call__(self, _: Holder, wire: Wire, message: Message) -> None:
        assert isinstance(message, Get)
        self.gets += 1
        self.lies += await self._lie(self._truth, wire, message)


@asynccontextmanager
async def liar_instead(
    islands: Archipelago, lie: Lie, segment: SegmentId, index: int, country: str = "XX"
) -> AsyncIterator[Liar]:
    """A liar who announces a chunk; its true holder has lost it."""
    (node,) = islands.holders()[segment.hex()][index]
    liar = Liar(lie, Truth.of(node, segment.hex(), index))
    node.chunk_file((segment.hex(), index)).unlink()
    async with holder(islands, liar, country=country) as found:
        await found.announce(segment, index)
        yield liar


def content_segment(islands: Archipelago, before: Iterable[str]) -> SegmentId:
    """The new segment that is not a root."""
    (segment,) = (s for s, held in islands.holders().items() if s not in before and len(held) == 12)
    return SegmentId(bytes.fromhex(segment))


async def test_no_lie_is_believed_or_told_twice(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, islands.user("alice") as alice:
        for lie in LIES:
            for place in _places(lie):
                await _one_lie(islands, alice, lie, place)


def _places(lie: Lie) -> tuple[str, ...]:
    """Where a lie tells anything new: of the content's chunks the one asked first, or one asked later; or the root."""
    last = ("last",) if lie in LIES_ABOUT_BLOCKS else ()
    return ("first", *last, "root") if lie in LIES_ABOUT_ROOTS else ("first", *last)


async def _one_lie(islands: Archipelago, alice: User, lie: Lie, place: str) -> None:
    name = f"{lie.__name__} {place}"
    before = set(islands.holders())
    source = islands.file(name, LENGTH)
    link = (await alice.publish(source)).link
    content = content_segment(islands, before)
    chunk = {"first": (content, 0), "last": (content, 7), "root": (link.root, 0)}[place]
    copy = islands.base / f"copy of {name}"
    async with liar_instead(islands, lie, *chunk) as liar, islands.user(f"bob {name}") as bob:
        began = trio.current_time()
        await bob.fetch(link, copy)
        assert trio.current_time() - began < (12 if lie is drips else 4), name
        assert copy.read_bytes() == source.read_bytes(), name
        assert 1 <= liar.gets <= 2, name  # the proof, then the blocks
        assert liar.lies <= 1, name


async def test_a_liar_is_not_asked_for_another_chunk(autojump_clock: MockClock, base: Path) -> None:
    """Who lied about one chunk of a segment is not asked for the others it claims."""
    async with archipelago(base, 12) as islands, islands.user("alice") as alice:
        source = islands.file("film", LENGTH)
        link = (await alice.publish(source)).link
        content = content_segment(islands, ())
        held = islands.holders()[content.hex()]
        liar = Liar(wrong_hashes, Truth.of(held[0][0], content.hex(), 0))
        for index in range(4):
            held[index][0].chunk_file((content.hex(), index)).unlink()
        async with holder(islands, liar) as found:
            await found.announce(content, *range(12))
            async with islands.user("bob") as bob:
                await bob.fetch(link, base / "copy")
            assert (base / "copy").read_bytes() == source.read_bytes()
            assert liar.gets == liar.lies == 1
            held[4][0].chunk_file((content.hex(), 4)).unlink()
            async with islands.user("carol") as carol:
                await failure(carol.fetch(link, base / "other"))  # nobody else is left to ask, and yet
            assert liar.gets == liar.lies == 2


async def test_only_liars_are_left(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, AsyncExitStack() as liars:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", LENGTH))).link
        content = content_segment(islands, ())
        found = [
            await liars.enter_async_context(liar_instead(islands, wrong_bytes, content, index, "QQ"))
            for index in range(5)
        ]
        async with islands.user("bob") as bob:
            began = trio.current_time()
            error = await failure(bob.fetch(link, base / "copy"))
            assert trio.current_time() - began < 5
        assert all(liar.lies == 1 and liar.gets <= 2 for liar in found)
        assert isinstance(error, IntegrityFailure)
        assert "have 7 of 8 chunks" in str(error)
        assert "QQ: 5 a block does not match its hash" in str(error)
        assert not (base / "copy").exists()


async def test_a_stranger_at_a_holders_address(autojump_clock: MockClock, base: Path) -> None:
    """A provider record names a key; who proves another one is not asked."""
    async with archipelago(base, 12) as islands:
        source = islands.file("film", LENGTH)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        victim = next(node for node in islands.nodes if (content_segment(islands, ()).hex(), 0) in node.chunks())
        victim.kill()
        await trio.testing.wait_all_tasks_blocked()
        async with holder(islands, holds_nothing, ip=victim.host.ip) as stranger, islands.user("bob") as bob:
            await bob.fetch(link, base / "copy")
            assert not stranger.asked
        assert (base / "copy").read_bytes() == source.read_bytes()


async def _ignores(_: Holder, wire: Wire, message: Message) -> None:
    await trio.sleep(10_000)


async def _refuses(_: Holder, wire: Wire, message: Message) -> None:
    await wire.send(ErrorReply(code=ErrorCode.REFUSED, text="not for you"))


async def _acknowledges_another_chunk(liar: Holder, wire: Wire, message: Message) -> None:
    """A receipt and provider record rightly signed, but for another index."""
    if not isinstance(message, Put):
        return await holds_nothing(liar, wire, message)
    descriptor = Descriptor.decode(message.descriptor)
    other = (message.index + 1) % descriptor.layout.n
    receipt = Receipt(
        network=NETWORK.id,
        key=liar.identity.key,
        segment=descriptor.id,
        index=other,
        chunk_id=descriptor.chunk_ids[other],
        expiry=int(wall_clock()) + 1000,
        country="XX",
        time=int(wall_clock()),
    )
    provider = liar.provider(descriptor.id, other)
    return await wire.send(PutReply(receipt=sign_receipt(liar.identity, receipt), provider=provider))


async def _acknowledges_rubbish(liar: Holder, wire: Wire, message: Message) -> None:
    if not isinstance(message, Put):
        return await holds_nothing(liar, wire, message)
    return await wire.send(PutReply(receipt=b"yes", provider=b"sure"))


@pytest.mark.parametrize("behaviour", [_ignores, _refuses, _acknowledges_another_chunk, _acknowledges_rubbish])
async def test_who_does_not_take_a_chunk_is_replaced(
    autojump_clock: MockClock, base: Path, behaviour: Behaviour
) -> None:
    async with archipelago(base, 12) as islands, AsyncExitStack() as stack:
        liars = [
            await stack.enter_async_context(holder(islands, behaviour, country="FR", read_only=False)) for _ in range(3)
        ]
        await trio.sleep(1)
        source = islands.file("film", LENGTH)
        async with islands.user("alice") as alice:
            began = trio.current_time()
            published = await alice.publish(source)
            assert trio.current_time() - began < 5
            assert published.placed == published.chunks
            assert sum(len(held) for held in islands.holders().values()) == published.chunks
            assert any(liar.count(Put) for liar in liars)
            assert all(liar.count(Put) <= 2 for liar in liars)  # once per segment
            health = await alice.check(published.link)
        assert health.healthy
        assert {h.node for s in health.segments for h in s.holdings} <= {node.node_id for node in islands.nodes}


_truths: dict[tuple[SegmentId, int], Truth] = {}
"""What a holder that signs wrongly got from elsewhere."""


async def _signs_wrongly(liar: Holder, wire: Wire, message: Message) -> None:
    """The true block, got from elsewhere, under a signature for another question."""
    if not isinstance(message, Audit):
        return await holds_nothing(liar, wire, message)
    truth = _truths[message.segment, message.index]
    return await _answer(liar, wire, message, truth, truth.body, nonce=bytes(16))


async def _proves_another_block(liar: Holder, wire: Wire, message: Message) -> None:
    """A block that is not the right one, under a good signature for it."""
    if not isinstance(message, Audit):
        return await holds_nothing(liar, wire, message)
    truth = _truths[message.segment, message.index]
    return await _answer(liar, wire, message, truth, flip(truth.body), nonce=message.nonce)


async def _answer(liar: Holder, wire: Wire, message: Audit, truth: Truth, block: bytes, *, nonce: bytes) -> None:
    statement = audit_statement(
        network=NETWORK.id,
        nonce=nonce,
        segment=message.segment,
        index=message.index,
        block=message.block,
        block_hash=block_hash(block),
    )
    signature = liar.identity.sign("audit", statement)
    reply = AuditReply(descriptor=truth.descriptor, hashes=truth.hashes, signature=signature)
    await wire.send(reply, (memoryview(block),))


@pytest.mark.parametrize("behaviour", [holds_nothing, _signs_wrongly, _proves_another_block, _ignores])
async def test_check_counts_what_is_proved(autojump_clock: MockClock, base: Path, behaviour: Behaviour) -> None:
    """A holder that only says it holds, one whose copy rotted, and one that is dead are not counted."""
    async with archipelago(base, 12) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", LENGTH))).link
        content = content_segment(islands, ())
        held = {index: nodes[0] for index, nodes in islands.holders()[content.hex()].items()}
        truth = Truth.of(held[0], content.hex(), 0)
        held[0].chunk_file((content.hex(), 0)).unlink()
        rotten = held[1].chunk_file((content.hex(), 1))
        rotten.write_bytes(flip(rotten.read_bytes(), 5000))
        held[2].kill()
        async with holder(islands, behaviour) as liar, islands.user("bob") as bob:
            _truths[content, 0] = truth
            await liar.announce(content, 0)
            began = trio.current_time()
            health = await bob.check(link.verify_link())
            assert trio.current_time() - began < 25
        (found,) = (segment for segment in health.segments if segment.id == content)
        assert found.live == 9
        assert {holding.index for holding in found.holdings} == set(range(3, 12))
        assert "XX" not in found.countries
        assert not health.healthy
        assert health.readable
        assert not rotten.exists()
