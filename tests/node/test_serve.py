"""The chunk server: whatever comes in, a reply, an error reply, or the end of that one connection."""

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from node.net.peers import PeerBroke, PeerUnreachable
from node.net.wire import HungUpError, Wire
from node.serving.admission import BUSY_SECONDS, Connections, Memory
from node.serving.serve import HANDSHAKE_SECONDS, IDLE_SECONDS, STALL_SECONDS
from node.store.refusal import Refusal
from protocol.channel import Channel
from protocol.errors import RemoteProtocolError, WrongNetworkError
from protocol.identity import Network, verify
from protocol.ids import Address
from protocol.messages import (
    Audit,
    AuditReply,
    DialBack,
    DialBackReply,
    ErrorCode,
    Get,
    GetReply,
    Have,
    HaveReply,
    Hello,
    HelloReply,
    LeaseReply,
    Put,
    PutLease,
    PutReply,
)
from protocol.records import open_node_record, open_provider, open_receipt
from protocol.segment import SEALED_BLOCK_BYTES, Shares, block_hash
from protocol.statements import audit_statement
from tests.node.builders import (
    ALICE,
    BOB,
    NETWORK,
    NOW,
    Sample,
    lease_for,
    permit_for,
    put,
    sample,
)
from tests.node.serving import ADDRESS, CONTACT, NODE, bench, put_message


async def test_a_chunk_there_and_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample(3, 16_777_216, Shares(1, 2))
        reply = await it.ask(put_message(segment, 1), segment.columns[1])
        assert isinstance(reply, PutReply)
        receipt = open_receipt(reply.receipt, NETWORK.id)
        assert (receipt.key, receipt.segment, receipt.index) == (NODE.key, segment.id, 1)
        assert receipt.chunk_id == segment.descriptor.chunk_ids[1]
        assert (receipt.expiry, receipt.country, receipt.time) == (lease_for(segment)[0].expiry, "NZ", int(NOW))
        provider = open_provider(NETWORK.id, segment.id, reply.provider)
        assert (provider.index, provider.key, provider.address, provider.country) == (1, NODE.key, ADDRESS, "NZ")
        reply = await it.ask(Get(segment=segment.id, index=1, first=0, count=128, proof=True))
        assert reply == GetReply(descriptor=segment.descriptor.encode(), hashes=segment.hashes[1])
        assert it.body == segment.columns[1]


async def test_ranges_of_a_chunk(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample(4, 30 * 131_072 + 5, Shares(2, 2))
        put(it.store, segment, 1)
        layout = segment.descriptor.layout
        for first, count in ((0, 1), (14, 1), (3, 9), (0, 15), (7, 0)):
            assert await it.ask(Get(segment=segment.id, index=1, first=first, count=count)) == GetReply()
            start = first * SEALED_BLOCK_BYTES
            assert it.body == segment.columns[1][start:][: count * SEALED_BLOCK_BYTES]
        assert layout.column_blocks(1) == 15
        for first, count in ((15, 1), (0, 16), (100, 128)):
            assert await it.code(Get(segment=segment.id, index=1, first=first, count=count)) is ErrorCode.MALFORMED
        assert await it.code(Get(segment=segment.id, index=0, count=1)) is ErrorCode.NOT_FOUND


async def test_hello_shows_the_node(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        reply = await it.ask(Hello())
        assert isinstance(reply, HelloReply)
        record = open_node_record(reply.record, NETWORK.id)
        assert (record.key, record.address, record.country, record.storing) == (NODE.key, ADDRESS, "NZ", True)
        assert record.free_bytes == it.store.free_bytes
        assert reply.observed.host == "10.0.0.2"
        assert await it.code(Hello(record=b"x" * 80)) is ErrorCode.MALFORMED
        assert isinstance(await it.ask(Hello(record=it.statements.node_record())), HelloReply)


async def test_have_lease_and_audit(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment, other = sample(1), sample(2)
        put(it.store, segment, 0)
        put(it.store, segment, 2)
        reply = await it.ask(Have(depositor=ALICE.key, deposit=bytes(16), segments=(other.id, segment.id)))
        assert isinstance(reply, HaveReply)
        assert [held.indices for held in reply.held] == [b"", b"\x00\x02"]

        lease, data = lease_for(segment, sequence=2, expiry=NOW + 1000)
        reply = await it.ask(PutLease(lease=data))
        assert isinstance(reply, LeaseReply)
        receipts = [open_receipt(receipt, NETWORK.id) for receipt in reply.receipts]
        assert [(receipt.index, receipt.expiry) for receipt in receipts] == [(0, lease.expiry), (2, lease.expiry)]
        assert [open_provider(NETWORK.id, segment.id, record).index for record in reply.providers] == [0, 2]

        nonce = b"0123456789abcdef"
        reply = await it.ask(Audit(segment=segment.id, index=2, block=1, nonce=nonce))
        assert isinstance(reply, AuditReply)
        assert (reply.descriptor, reply.hashes) == (segment.descriptor.encode(), segment.hashes[2])
        assert it.body == list(segment.blocks(2))[1]
        statement = audit_statement(
            network=NETWORK.id,
            nonce=nonce,
            segment=segment.id,
            index=2,
            block=1,
            block_hash=block_hash(it.body),
        )
        verify(NODE.key, "audit", statement, reply.signature)
        assert await it.code(Audit(segment=segment.id, index=2, block=2, nonce=nonce)) is ErrorCode.MALFORMED
        assert await it.code(Audit(segment=other.id, index=2, block=2, nonce=nonce)) is ErrorCode.NOT_FOUND

        deletion = lease_for(segment, sequence=3, deleted=True)[1]
        assert await it.ask(PutLease(lease=deletion)) == LeaseReply()
        assert it.store.holdings() == []


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda s: PutLease(lease=b"x" * 200), ErrorCode.BAD_LEASE),
        (lambda s: PutLease(lease=lease_for(s, network=Network("other"))[1]), ErrorCode.BAD_LEASE),
        (lambda s: PutLease(lease=lease_for(s, sequence=0)[1]), ErrorCode.STALE),
        (lambda s: PutLease(lease=lease_for(sample(9))[1]), ErrorCode.NOT_FOUND),
    ],
)
async def test_leases_that_do_not_fit(
    autojump_clock: MockClock, tmp_path: Path, make: Callable[[Sample], PutLease], code: ErrorCode
) -> None:
    async with bench(tmp_path) as it:
        put(it.store, sample(), 0)
        assert await it.code(make(sample())) is code


async def test_dial_back_goes_only_where_the_request_came_from(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        here = Address("10.0.0.2", 9999)
        assert await it.ask(DialBack(address=here)) == DialBackReply(udp=True, tcp=False)
        assert it.dialled == [(here, ALICE.key)]
        assert await it.code(DialBack(address=Address("10.0.0.9", 9999))) is ErrorCode.REFUSED
        assert it.dialled == [(here, ALICE.key)]


def bad_puts() -> list[tuple[str, Callable[[Sample], tuple[Put, bytes]], ErrorCode]]:
    def swapped(segment: Sample) -> bytes:
        return bytes([segment.columns[0][0] ^ 1]) + segment.columns[0][1:]

    def late(segment: Sample) -> bytes:
        return segment.columns[0][:-1] + bytes([segment.columns[0][-1] ^ 1])

    def change(segment: Sample, index: int = 0, **fields: bytes) -> Put:
        permit = permit_for(segment, index, NODE.key)
        return replace(put_message(segment, 0), index=index, permit=permit, **fields)

    return [
        ("descriptor", lambda s: (change(s, descriptor=b"x"), s.columns[0]), ErrorCode.MALFORMED),
        ("index", lambda s: (change(s, index=31), s.columns[0]), ErrorCode.MALFORMED),
        ("other index", lambda s: (change(s, index=2), s.columns[0]), ErrorCode.MALFORMED),
        ("hashes", lambda s: (change(s, hashes=bytes(64)), s.columns[0]), ErrorCode.MALFORMED),
        ("lease", lambda s: (change(s, lease=bytes(80)), s.columns[0]), ErrorCode.BAD_LEASE),
        ("another's lease", lambda s: (change(s, lease=lease_for(sample(9))[1]), s.columns[0]), ErrorCode.BAD_LEASE),
        ("expired", lambda s: (change(s, lease=lease_for(s, expiry=NOW)[1]), s.columns[0]), ErrorCode.BAD_LEASE),
        ("no body", lambda s: (change(s), b""), ErrorCode.MALFORMED),
        ("short body", lambda s: (change(s), s.columns[0][:-1]), ErrorCode.MALFORMED),
        ("long body", lambda s: (change(s), s.columns[0] + b"x"), ErrorCode.MALFORMED),
        ("first block", lambda s: (change(s), swapped(s)), ErrorCode.MALFORMED),
        ("last block", lambda s: (change(s), late(s)), ErrorCode.MALFORMED),
    ]


@pytest.mark.parametrize(("name", "make", "code"), bad_puts(), ids=[name for name, _, _ in bad_puts()])
async def test_a_bad_put_is_refused_and_the_connection_goes_on(
    autojump_clock: MockClock,
    tmp_path: Path,
    name: str,
    make: Callable[[Sample], tuple[Put, bytes]],
    code: ErrorCode,
) -> None:
    async with bench(tmp_path) as it:
        segment = sample(5, 20 * 131_072, Shares(2, 3))
        message, body = make(segment)
        assert await it.code(message, body) is code
        assert it.store.used_bytes == 0
        assert isinstance(await it.ask(put_message(segment, 0), segment.columns[0]), PutReply)
        assert len(it.host(ADDRESS.host).streams) == 1, "one connection did for both"


async def test_a_node_that_is_not_storing_or_full_says_so(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path, quota=200_000) as it:
        segment = sample()
        assert await it.code(put_message(segment, 0), segment.columns[0]) is ErrorCode.FULL
        it.statements.reachable = False
        assert await it.code(put_message(segment, 0), segment.columns[0]) is ErrorCode.NOT_STORING
        reply = await it.ask(Hello())
        assert isinstance(reply, HelloReply)
        record = open_node_record(reply.record, NETWORK.id)
        assert (record.storing, record.free_bytes) == (False, 0)


async def test_a_rotten_chunk_is_reported_and_dropped(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample(5, 20 * 131_072, Shares(1, 3))
        for index in (0, 1, 2):
            put(it.store, segment, index)
            path = tmp_path / "chunks" / segment.id.hex()[:2] / f"{segment.id.hex()}.{index}"
            data = bytearray(path.read_bytes())
            data[17 * SEALED_BLOCK_BYTES] ^= 1
            path.write_bytes(data)
        whole = partial(Get, segment=segment.id, first=0)
        assert await it.code(Audit(segment=segment.id, index=0, block=17, nonce=bytes(16))) is ErrorCode.CORRUPT
        with pytest.raises(PeerUnreachable):  # the header was on its way, so only silence is left
            await it.ask(whole(index=1, count=20))
        assert await it.code(Get(segment=segment.id, index=2, first=17, count=1)) is ErrorCode.CORRUPT
        for index in (0, 1, 2):
            assert await it.code(whole(index=index, count=1)) is ErrorCode.NOT_FOUND


# Connections


async def test_a_silent_peer_is_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        began = trio.current_time()
        stream = await it.host("10.0.0.9").dial(ADDRESS)
        await stream.send_all(b"ARC")
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(HANDSHAKE_SECONDS)

        wire = await it.wire()
        began = trio.current_time()
        with pytest.raises(HungUpError):
            await receive_nothing(wire)
        assert trio.current_time() - began == pytest.approx(IDLE_SECONDS)


async def receive_nothing(wire: Wire) -> None:
    """Wait for the end of the connection."""
    if await wire.receive_header() is None:
        raise HungUpError("as it should be")


async def test_a_peer_that_stops_in_the_middle_is_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample()
        wire = await it.wire()
        await wire.send_header(put_message(segment, 0), len(segment.columns[0]))
        await wire.send_body(memoryview(segment.columns[0])[:1000])
        began = trio.current_time()
        await trio.sleep(1)
        assert it.store._quota.reserved > 0
        with pytest.raises(HungUpError):
            await receive_nothing(wire)
        assert trio.current_time() - began == pytest.approx(STALL_SECONDS)

        put(it.store, big := sample(6, 16_777_216, Shares(1, 1)), 0)
        reader = await it.wire("10.0.0.4")
        await reader.send(Get(segment=big.id, index=0, first=0, count=128))
        await trio.sleep(2 * STALL_SECONDS)
        assert it.server._connections.open == 0
        await reader.close()


async def test_a_slow_line_is_no_fault(autojump_clock: MockClock, tmp_path: Path) -> None:
    """36 chunks at once over 5 Mbit/s: a step of 1 MiB takes a minute, but every record moves within seconds."""
    async with bench(tmp_path) as it:
        segment = sample(6, 16_777_216, Shares(8, 8))
        it.host("10.0.0.2").bytes_per_second = 17_000
        began = trio.current_time()
        assert isinstance(await it.ask(put_message(segment, 0), segment.columns[0]), PutReply)
        assert trio.current_time() - began > 3 * STALL_SECONDS
        it.host(ADDRESS.host).bytes_per_second = 17_000
        assert isinstance(await it.ask(Get(segment=segment.id, index=0, first=0, count=16)), GetReply)
        assert it.body == segment.columns[0]
        refused = segment.columns[0][:-1] + b"x"  # an early error reply, and the rest read to be dropped
        assert await it.code(replace(put_message(segment, 2), hashes=segment.hashes[1]), refused) is ErrorCode.MALFORMED
        assert len(it.host(ADDRESS.host).streams) == 1


async def test_progress_is_seen_within_one_send(tmp_path: Path) -> None:
    """On the system's own sockets: each time the peer took some, not only when it took all of 256 KiB."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 16_384)
    async with listener, trio.open_nursery() as nursery:
        ends: list[trio.SocketStream] = []

        async def accept() -> None:
            ends.append(await listener.accept())

        nursery.start_soon(accept)
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        near.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16_384)
        await trio.testing.wait_all_tasks_blocked()
        (far,) = ends
        responder = Channel.responder(NODE, NETWORK.id, b"t" * 32, b"f" * 32)
        sender, receiver = Wire(near, Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32)), Wire(far, responder)
        async with trio.open_nursery() as both:
            both.start_soon(sender.handshake)
            both.start_soon(receiver.handshake)
        segment, moves, told = sample(5, 20 * 131_072, Shares(2, 3)), list[int](), list[int]()
        sender.on_progress = lambda: moves.append(len(told))
        body = memoryview(segment.columns[0])
        parts = (body[:1000], body[1000:])
        nursery.start_soon(partial(sender.send, put_message(segment, 0), parts, on_body=told.append))
        await receiver.receive_header()
        got = memoryview(bytearray(len(body)))
        await receiver.receive_body(got)
        assert got == body
        await trio.testing.wait_all_tasks_blocked()
        assert len(moves) == len(told) + 1, "once more, for the header"
        assert told[-1] == len(body)
        assert all(0 <= after - before <= 131_072 for before, after in pairwise([0, *told]))
        await sender.close()
        await receiver.close()


async def test_hanging_up_at_any_byte_harms_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample()
        for size in (0, 1, 70_000, 200_000, len(segment.columns[0]) - 1):
            wire = await it.wire()
            await wire.send_header(put_message(segment, 0), len(segment.columns[0]))
            await wire.send_body(memoryview(segment.columns[0])[:size])
            await wire.close()
        await trio.sleep(1)
        assert it.server._connections.open == 0
        assert it.store.used_bytes == 0
        assert isinstance(await it.ask(put_message(segment, 0), segment.columns[0]), PutReply)


async def test_another_network_is_told_so(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        strangers = it.make_peers("10.0.0.5", Network("other"))
        with pytest.raises(WrongNetworkError):
            await strangers.probe(ADDRESS)
        with pytest.raises(PeerBroke, match="another network"):
            await strangers.request(CONTACT, Hello())


async def test_connections_are_bounded(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path, connections=Connections(total=5, per_neighbour=3)) as it:
        wires = [await it.wire("8.8.8.8") for _ in range(3)]
        with pytest.raises(HungUpError):
            await it.wire("8.8.8.8")
        wires += [await it.wire("10.0.0.3") for _ in range(2)]
        with pytest.raises(HungUpError):
            await it.wire("10.0.0.4")
        await wires.pop(0).close()
        await trio.sleep(1)
        wires.append(await it.wire("8.8.8.8"))
        for wire in wires:
            await wire.close()
        await trio.sleep(1)


def test_one_ipv6_network_is_one_neighbour() -> None:
    connections = Connections(total=10, per_neighbour=1)
    assert connections.enter("2600::1")
    assert not connections.enter("2600::2")
    assert connections.enter("2600:0:0:1::1")
    connections.leave("2600::1")
    assert connections.enter("2600::2")


async def test_finishing_closes_idle_connections_and_answers_the_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with bench(tmp_path) as it:
        segment = sample()
        idle, busy = await it.wire(), await it.wire()
        await busy.send_header(put_message(segment, 0), len(segment.columns[0]))
        await trio.sleep(1)
        it.server.finish()
        with pytest.raises(HungUpError):
            await receive_nothing(idle)
        await busy.send_body(memoryview(segment.columns[0]))
        header = await busy.receive_header()
        assert header is not None
        assert isinstance(header.message, PutReply)
        busy.end_body()
        with pytest.raises(HungUpError):
            await receive_nothing(busy)


async def test_memory_is_shared_out_and_handed_on(autojump_clock: MockClock) -> None:
    memory = Memory(16)
    async with memory.take(8) as first, memory.take(8) as second:
        assert (first, second) == (2, 1)
    assert memory._free == 16
    memory, granted = Memory(2), []

    async def use(seconds: float) -> None:
        async with memory.take(8) as blocks:
            granted.append((trio.current_time(), blocks))
            await trio.sleep(seconds)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(use, 1)
    assert [(at - began, blocks) for at, blocks in granted] == [(0, 1), (0, 1), (1, 1), (1, 1), (2, 1)]
    with pytest.raises(Refusal, match="busy"):
        async with memory.take(1), memory.take(1):
            began = trio.current_time()
            with trio.move_on_after(1):
                await use(0)
            await use(0)
    assert trio.current_time() - began == pytest.approx(1 + BUSY_SECONDS)
    assert memory._free == 2
    assert not memory._waiting


async def test_one_neighbour_cannot_take_all_memory(autojump_clock: MockClock) -> None:
    """Held for ever, a quarter of the budget is all that one public /24 or /48 gets: others are served at once."""
    for host, sibling, other in (
        ("8.8.8.1", "8.8.8.200", "8.8.9.1"),
        ("2600::1", "2600:0:0:ffff::1", "2600:0:1::1"),
    ):
        memory = Memory(96)
        async with AsyncExitStack() as held:
            granted = 0
            while granted < 24:
                granted += await held.enter_async_context(memory.take(8, host))
            assert granted == 24
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_is_busy, memory, sibling)
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                async with memory.take(8, other) as theirs, memory.take(8, "127.0.0.1") as ours:
                    assert theirs >= 3
                    assert ours == 8
                assert trio.current_time() == began, "who waits for its own share holds nobody else up"
        assert memory._free == 96
        assert not memory._held
    memory = Memory(96)
    async with AsyncExitStack() as held:
        for _ in range(31):
            await held.enter_async_context(memory.take(8, "127.0.0.1"))


async def _is_busy(memory: Memory, host: str) -> None:
    with pytest.raises(Refusal, match="busy"):
        async with memory.take(1, host):
            pass


async def test_a_neighbours_share_is_handed_on(autojump_clock: MockClock) -> None:
    memory, got = Memory(4), list[str]()

    async def use(host: str) -> None:
        async with memory.take(1, host):
            got.append(host)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for host in ("8.8.8.1", "8.8.8.2", "8.8.8.3", "9.9.9.9"):
            nursery.start_soon(use, host)
            await trio.testing.wait_all_tasks_blocked()
        assert got == ["8.8.8.1", "9.9.9.9"]
    assert got == ["8.8.8.1", "9.9.9.9", "8.8.8.2", "8.8.8.3"]
    assert (memory._free, len(memory._held), memory._waiting) == (4, 0, [])


async def test_the_server_counts_memory_by_neighbour(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        segment = sample(5, 20 * 131_072, Shares(1, 2))
        put(it.store, segment, 0)
        wires: list[Wire] = []
        for _ in range(40):  # each takes a grant, and then nothing
            wire = await it.wire(f"8.8.8.{8 + len(wires) % 2}")
            wires.append(wire)
            await wire.send_header(put_message(segment, 1), len(segment.columns[1]))
        await trio.sleep(1)
        assert it.memory._free == 128 - 32
        assert isinstance(await it.ask(Get(segment=segment.id, index=0, first=0, count=20)), GetReply)
        for wire in wires:
            await wire.close()
        await trio.sleep(1)


# Garbage


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans())
def test_garbage_ends_only_its_own_connection(garbage: list[bytes], after_preamble: bool) -> None:
    _run(partial(_garbage, garbage, after_preamble))


async def _garbage(garbage: list[bytes], after_preamble: bool, path: Path) -> None:
    async with bench(path) as it:
        good = await it.wire()
        stream = await it.host("10.0.0.9").dial(ADDRESS)
        with trio.move_on_after(60):
            try:
                if after_preamble:
                    await stream.send_all(b"ARC\x01" + NETWORK.id[:4])
                for piece in garbage:
                    await stream.send_all(piece)
                await stream.send_eof()
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await good.send(Hello())
        assert await good.receive_header() is not None
        await good.close()


@settings(max_examples=25)
@given(st.integers(0, 700_000), st.integers(1, 255))
def test_a_damaged_byte_ends_only_its_own_connection(position: int, change: int) -> None:
    _run(partial(_damaged, position, change))


async def _damaged(position: int, change: int, path: Path) -> None:
    """A put, one byte of which is changed on the way."""
    async with bench(path) as it:
        segment = sample()
        stream = await it.host("10.0.0.9").dial(ADDRESS)
        sent = 0
        real = stream.send_all

        async def send_all(data: bytes | bytearray | memoryview) -> None:
            nonlocal sent
            whole = bytearray(data)
            if sent <= position < sent + len(whole):
                whole[position - sent] ^= change
            sent += len(whole)
            await real(whole)

        stream.send_all = send_all  # type: ignore[method-assign]  # the fault to be injected
        wire = Wire(stream, Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32))
        try:
            await wire.handshake()
            await wire.send(put_message(segment, 0), (memoryview(segment.columns[0]),))
            await wire.receive_header()
        except (HungUpError, RemoteProtocolError):
            pass
        await wire.close()
        good = await it.wire()
        await good.send(Hello())
        assert await good.receive_header() is not None
        await good.close()
        await trio.sleep(1)


def _run(main: Callable[[Path], object]) -> None:
    """A trio run of its own: Hypothesis and fixtures do not go together."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder), clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]
