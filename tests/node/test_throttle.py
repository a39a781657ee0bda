"""The operator's rate limits (node/net/throttle.py): how much passes, who gets it, and what it does to time limits."""

from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
import trio
from trio.abc import Stream
from trio.testing import MockClock, wait_all_tasks_blocked

from node.errors import ConfigError
from node.net.peers import Peers
from node.net.throttle import MIN_BYTES_PER_SECOND, ThrottledStream, limited
from node.net.transport import SystemTransport, Transport, peer_address
from node.nodeconfig import NodeConfig
from node.serving.serve import STALL_SECONDS
from protocol.ids import Address
from protocol.messages import Get, GetReply, PutReply
from protocol.segment import SEALED_BLOCK_BYTES
from tests.network.memory import MemoryHost, MemoryNetwork
from tests.node.builders import ALICE, NETWORK, sample
from tests.node.serving import ADDRESS, CONTACT, Bench, counter, put_message

RATE = 400_000
BURST = 60_000
"""What may be saved up of it."""
WINDOW = 10.0
OURS, THEIRS = Address("10.0.0.1", 1), Address("10.0.0.2", 1)


class Log:
    """When how many bytes went by."""

    def __init__(self) -> None:
        self._moments: list[tuple[float, int]] = []

    def note(self, size: int) -> None:
        self._moments.append((trio.current_time(), size))

    def windows(self, began: float, ended: float) -> list[int]:
        """Bytes of each window, one beginning every quarter of a second."""
        times = [time for time, _ in self._moments]
        sums = [0, *accumulate(size for _, size in self._moments)]
        starts = [began + step / 4 for step in range(int(4 * (ended - began - WINDOW)) + 1)]
        return [sums[bisect_left(times, start + WINDOW)] - sums[bisect_left(times, start)] for start in starts]


class Pair:
    """A host with limits and one without."""

    def __init__(self, *, up: int | None = None, down: int | None = None) -> None:
        self.net = MemoryNetwork(delay=0.005)
        self.ours: Transport = limited(self.net.host(OURS.host), up=up, down=down)
        self.theirs: MemoryHost = self.net.host(THEIRS.host)

    async def connect(self, *, dialled: bool = True) -> tuple[Stream, Stream]:
        """A connection, dialled by us or accepted: our end and theirs."""
        near, far, port = self.ours, self.theirs, THEIRS
        if not dialled:
            near, far, port = far, near, OURS
        listener, _ = await far.listen(port)
        async with listener:
            ends = await near.dial(port), await listener.accept()
        return ends if dialled else (ends[1], ends[0])


async def send_on(stream: Stream) -> None:
    """Send more than passes in any of these tests, if there is a limit."""
    for _ in range(30):
        await stream.send_all(bytes(RATE))


async def receive_on(stream: Stream, *logs: Log) -> None:
    """Receive until the end."""
    async for data in stream:
        for log in logs:
            log.note(len(data))


def near_the_rate(found: list[int], rate: float = RATE) -> bool:
    return all(0.95 * rate * WINDOW <= size <= 1.05 * rate * WINDOW for size in found)


@pytest.mark.parametrize("rate", [MIN_BYTES_PER_SECOND, RATE])
async def test_all_traffic_together_keeps_to_the_rate(autojump_clock: MockClock, rate: int) -> None:
    pair = Pair(up=rate, down=rate)
    sent, received = Log(), Log()

    def saw(data: bytes, source: str) -> None:
        if source == OURS.host:
            sent.note(len(data))

    pair.net.on_piece = lambda data, source, to: saw(data, source)
    pair.net.on_datagram = lambda data, source, to: saw(data, source.host)
    ours, theirs = await pair.ours.open_udp(OURS), await pair.theirs.open_udp(THEIRS)

    async def chat() -> None:  # a tenth of the rate each way, in bursts
        while True:
            for _ in range(4):
                await theirs.send(bytes(rate // 40), OURS)
                await ours.send(bytes(rate // 40), THEIRS)
            await trio.sleep(1.0)

    async def hear() -> None:
        while True:
            received.note(len((await ours.receive())[0]))

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(chat)
        nursery.start_soon(hear)
        for number in range(6):
            near, far = await pair.connect(dialled=number % 2 == 0)
            nursery.start_soon(send_on, near)
            nursery.start_soon(send_on, far)
            nursery.start_soon(receive_on, near, received)
            nursery.start_soon(receive_on, far)
        await trio.sleep(22)
        nursery.cancel_scope.cancel()
    for log in (sent, received):
        assert near_the_rate(log.windows(began, began + 22), rate), log.windows(began, began + 22)


@pytest.mark.parametrize("up", [True, False])
async def test_streams_share_alike(autojump_clock: MockClock, up: bool) -> None:
    pair = Pair(up=RATE if up else None, down=None if up else RATE)
    logs = [Log() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for number, log in enumerate(logs):
            near, far = await pair.connect(dialled=number % 2 == 0)
            nursery.start_soon(send_on, near if up else far)
            nursery.start_soon(receive_on, far if up else near, log)
        began = trio.current_time()
        await trio.sleep(WINDOW + 1)
        nursery.cancel_scope.cancel()
    for log in logs:
        (size, *_) = log.windows(began, began + WINDOW)
        assert near_the_rate([size], RATE / 5), size


async def test_a_few_bytes_wait_one_turn_of_each_other_stream(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            near, far = await pair.connect()
            nursery.start_soon(send_on, near)
            nursery.start_soon(receive_on, far)
        near, far = await pair.connect()
        await trio.sleep(5)
        began = trio.current_time()
        await near.send_all(b"!")
        assert trio.current_time() - began < 21 * 0.01 + 0.01
        nursery.cancel_scope.cancel()


async def test_the_other_direction_is_free(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE)
    near, far = await pair.connect()
    async with trio.open_nursery() as nursery:
        got = Log()
        nursery.start_soon(receive_on, near, got)
        began = trio.current_time()
        await far.send_all(bytes(25 * RATE))
        await far.aclose()
    assert sum(size for _, size in got._moments) == 25 * RATE
    assert trio.current_time() < began + 1


async def test_a_datagram_does_not_wait_for_streams(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE, down=RATE)
    ours, theirs = await pair.ours.open_udp(OURS), await pair.theirs.open_udp(THEIRS)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            near, far = await pair.connect()
            for one, other in ((near, far), (far, near)):
                nursery.start_soon(send_on, one)
                nursery.start_soon(receive_on, other)
        await trio.sleep(5)
        for sender, receiver, to in ((ours, theirs, THEIRS), (theirs, ours, OURS)):
            began = trio.current_time()
            await sender.send(bytes(1200), to)
            await receiver.receive()
            assert trio.current_time() - began < 0.006, "the network's own delay"
        nursery.cancel_scope.cancel()


async def test_streams_work_off_the_debt(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE)
    near, _ = await pair.connect()
    ours = await pair.ours.open_udp(OURS)
    await trio.sleep(1)
    began = trio.current_time()
    for _ in range(64):
        await ours.send(bytes(1250), THEIRS)
    assert trio.current_time() == began, "a fifth of a second's worth goes at once"
    await near.send_all(bytes(BURST))
    assert trio.current_time() - began == pytest.approx(0.2, abs=0.02)


async def test_a_flood_of_datagrams_leaves_streams_their_half(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE, down=RATE)
    ours, theirs = await pair.ours.open_udp(OURS), await pair.theirs.open_udp(THEIRS)
    datagrams, streams_up, streams_down = Log(), Log(), Log()
    pair.net.on_datagram = lambda data, source, to: datagrams.note(len(data)) if source == OURS else None

    async def flood_us() -> None:
        while True:
            for _ in range(10):
                await theirs.send(bytes(1200), OURS)
            await trio.sleep(0.01)

    async def echo() -> None:
        while True:
            data, source = await ours.receive()
            await ours.send(data, source)

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(flood_us)
        nursery.start_soon(echo)
        near, far = await pair.connect()
        for one, other, log in ((near, far, streams_up), (far, near, streams_down)):
            nursery.start_soon(send_on, one)
            nursery.start_soon(receive_on, other, log)
        await trio.sleep(WINDOW + 1)
        nursery.cancel_scope.cancel()
    for log in (datagrams, streams_up, streams_down):
        assert near_the_rate(log.windows(began, began + WINDOW + 0.25), RATE / 2), log.windows(began, began + WINDOW)


async def test_a_datagram_that_would_wait_is_lost(autojump_clock: MockClock) -> None:
    pair = Pair(up=MIN_BYTES_PER_SECOND)
    ours = await pair.ours.open_udp(OURS)
    sent = Log()
    pair.net.on_datagram = lambda data, source, to: sent.note(len(data))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ours.send, bytes(1200), THEIRS)
    assert trio.current_time() - began <= 0.21
    assert len(sent._moments) == 4, "0.2 seconds' worth of the rate, and of the half of it that came meanwhile"


async def test_a_cancelled_turn_goes_to_the_next(autojump_clock: MockClock) -> None:
    pair = Pair(up=RATE, down=RATE)
    pairs = [await pair.connect() for _ in range(3)]
    (near, far), (other_near, other_far), (silent, _) = pairs
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(send_on, near)
                    inner.start_soon(receive_on, near)
                    inner.start_soon(receive_on, silent)

        nursery.start_soon(cancelled)
        nursery.start_soon(send_on, far)
        nursery.start_soon(receive_on, far)
        await trio.sleep(3.001)
        scope.cancel()
        await wait_all_tasks_blocked()
        began, sent, received = trio.current_time(), Log(), Log()
        nursery.start_soon(send_on, other_near)
        nursery.start_soon(receive_on, other_far, sent)
        nursery.start_soon(send_on, other_far)
        nursery.start_soon(receive_on, other_near, received)
        await trio.sleep(WINDOW + 1)
        nursery.cancel_scope.cancel()
    for log in (sent, received):
        assert near_the_rate(log.windows(began, began + WINDOW))


@asynccontextmanager
async def connections(count: int, *, down: int) -> AsyncIterator[tuple[list[Stream], list[Stream]]]:
    """Real ones: our ends, which have a limit, and theirs."""
    ours = limited(SystemTransport(), up=None, down=down)
    listener, bound = await ours.listen(Address("127.0.0.1", 0))
    async with listener:
        far: list[Stream] = [await SystemTransport().dial(bound) for _ in range(count)]
        near: list[Stream] = [await listener.accept() for _ in range(count)]
        try:
            yield near, far
        finally:
            for stream in near + far:
                await stream.aclose()


async def test_those_who_wait_for_bytes_take_none_of_the_rate(mock_clock: MockClock) -> None:
    async with connections(40, down=RATE) as (near, far), trio.open_nursery() as nursery:
        got = Log()
        for stream in near:
            nursery.start_soon(receive_on, stream, got)
        await wait_all_tasks_blocked(0.01)
        await far[0].send_all(bytes(RATE))
        await wait_all_tasks_blocked(0.01)
        at_once = sum(size for _, size in got._moments)
        assert 0.14 * RATE <= at_once <= 0.15 * RATE, "all that may be saved up, and no more"
        for stream in far[1:]:
            await stream.send_all(bytes(5000))
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked(0.01)
        total = sum(size for _, size in got._moments)
        assert 0.23 * RATE <= total <= 0.25 * RATE
        nursery.cancel_scope.cancel()


async def test_what_did_not_come_costs_nothing(autojump_clock: MockClock) -> None:
    pair = Pair(down=RATE)
    near, far = await pair.connect()
    for _ in range(100):
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.receive_some()
    received = b""
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for _ in range(100):
            nursery.start_soon(far.send_all, b"!")
            await wait_all_tasks_blocked()
            received += await near.receive_some()
    assert len(received) == 100
    assert trio.current_time() - began < 0.6, "the network's own delay, each time"
    await far.send_all(bytes(BURST))
    began = trio.current_time()
    while len(received) < BURST:
        received += await near.receive_some()
    assert trio.current_time() - began < 0.02


async def test_the_end_of_a_connection_is_told(mock_clock: MockClock) -> None:
    async with connections(2, down=RATE) as (near, far):
        assert peer_address(near[0]) is not None
        await far[0].send_all(b"last")
        await far[0].aclose()
        assert await near[0].receive_some() == b"last"
        assert await near[0].receive_some() == b""
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_closed, near[1])
                await wait_all_tasks_blocked(0.01)
                await near[1].aclose()
        await expect_closed(near[1])


async def expect_closed(stream: Stream) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def test_the_system_receives_little_ahead_of_us() -> None:
    async with connections(1, down=RATE) as ((near,), _):
        assert isinstance(near, ThrottledStream)
        assert isinstance(near._stream, trio.SocketStream)
        assert near._stream.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF) <= 65_536


@pytest.mark.parametrize("rate", [0, -1, MIN_BYTES_PER_SECOND - 1])
@pytest.mark.parametrize("way", ["up_bytes_per_second", "down_bytes_per_second"])
def test_a_limit_that_leaves_nothing(tmp_path: Path, way: str, rate: int) -> None:
    with pytest.raises(ConfigError, match=f"16384 bytes per second or more, got {rate}"):
        NodeConfig(data=tmp_path, listen=OURS, quota_bytes=1, **{way: rate})  # type: ignore[arg-type]  # both are int


async def test_a_peer_our_own_limit_holds_up_is_not_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    it = Bench(tmp_path)
    ours = limited(it.host(ADDRESS.host), up=MIN_BYTES_PER_SECOND, down=MIN_BYTES_PER_SECOND)
    listener, _ = await ours.listen(ADDRESS)
    segments = [sample(number) for number in range(10)]
    began = trio.current_time()

    async def put_and_get(peers: Peers, number: int) -> None:
        segment = segments[number]
        reply, _ = await peers.request(CONTACT, put_message(segment, 0), body=(memoryview(segment.columns[0]),))
        assert isinstance(reply, PutReply)
        reply, body = await peers.request(
            CONTACT, Get(segment=segment.id, index=0, count=segment.descriptor.layout.column_blocks(0))
        )
        assert isinstance(reply, GetReply)
        assert body == segment.columns[0]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, it.server.serve, [listener]))
        async with trio.open_nursery() as users:
            for number in range(len(segments)):
                peers = Peers(ALICE, NETWORK, it.host(f"10.0.1.{number}"), counter())
                users.start_soon(put_and_get, peers, number)
        nursery.cancel_scope.cancel()
    it.store.close()
    a_record = 65_536 * len(segments) / MIN_BYTES_PER_SECOND
    assert a_record > STALL_SECONDS, "else this shows nothing"
    assert trio.current_time() - began > len(segments) * SEALED_BLOCK_BYTES / MIN_BYTES_PER_SECOND
