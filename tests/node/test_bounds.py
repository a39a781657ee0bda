"""Bounds on what a server takes on, as far as they need many peers at once."""

import resource
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from node.net.descriptors import room_for
from node.net.wire import HungUpError, Wire
from node.serving.admission import Connections
from node.serving.serve import HANDSHAKE_SECONDS
from protocol.channel import Channel
from protocol.ids import Address
from tests.node.builders import BOB, NETWORK
from tests.node.serving import ADDRESS, bench


async def test_whoever_says_nothing_makes_room(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The oldest of those that are at their handshake goes for each that comes; who is through it stays."""
    async with bench(tmp_path, connections=Connections(total=4)) as it:
        began = trio.current_time()
        through = await it.wire()
        silent = []
        for _ in range(6):
            silent.append(await it.host("10.0.0.5").dial(ADDRESS))
            await trio.sleep(0.1)
        for stream in silent[:3]:
            assert await stream.receive_some(1) == b""
        assert trio.current_time() < began + 1, "they were not waited for"
        wires = [through, *[await it.wire() for _ in range(3)]]
        assert trio.current_time() < began + 2
        with pytest.raises(HungUpError):
            await it.wire()
        for wire in wires:
            await wire.close()
        for stream in silent:
            await stream.aclose()
        await trio.sleep(HANDSHAKE_SECONDS)


async def test_whoever_said_something_goes_later(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Than those who were there in silence by then: a handshake that takes its time gets through."""
    async with bench(tmp_path, connections=Connections(total=3)) as it:
        slow = await it.host("10.0.0.5").dial(ADDRESS)
        await trio.sleep(0.1)
        silent = [await it.host("10.0.0.6").dial(ADDRESS) for _ in range(2)]
        await trio.sleep(0.1)
        wire = Wire(slow, Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32))
        async with trio.open_nursery() as nursery:
            it.host("10.0.0.5").mute()  # the answer is on its way to it for long
            nursery.start_soon(wire.handshake)
            await trio.sleep(0.1)
            through = [await it.wire() for _ in range(2)]
            it.host("10.0.0.5").mute(False)
        for stream in silent:
            assert await stream.receive_some(1) == b""
        for connection in (wire, *through):
            await connection.close()
        await trio.sleep(1)


async def test_to_have_said_something_counts_once(autojump_clock: MockClock) -> None:
    connections = Connections(total=2)
    one, other = trio.CancelScope(), trio.CancelScope()
    assert connections.enter(None)
    assert connections.enter(None)
    with connections.half_open(one) as answered, connections.half_open(other):
        answered()
        assert connections.enter(None)
        assert (one.cancel_called, other.cancel_called) == (False, True)
        assert connections.enter(None)
        assert one.cancel_called
        answered()
        assert not connections.enter(None)


class _Overtaken(trio.abc.Stream):
    """A stream with whose last word of the handshake another connection comes in."""

    def __init__(self, stream: trio.abc.Stream, connections: Connections) -> None:
        self.peer_address = Address("10.0.0.7", 5000)
        self._stream = stream
        self._connections = connections
        self._answered = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._answered:
            assert self._connections.enter("10.0.0.8")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self._answered = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_whoever_is_done_in_the_moment_it_had_to_go_goes(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Else there would be more connections than may be."""
    connections = Connections(total=1)
    async with bench(tmp_path, connections=connections) as it:
        near, far = trio.testing.memory_stream_pair()
        wire = Wire(near, Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.server.serve, _Overtaken(far, connections))
            await wire.handshake()
            assert await wire.receive_header() is None
        assert trio.current_time() < began + 1
        assert connections.open == 1
        connections.leave("10.0.0.8")


@pytest.mark.parametrize(
    ("limit", "share", "room"), [(20_000, 1.0, 300), (124, 1.0, 100), (124, 0.4, 40), (20, 1.0, 4), (-1, 0.2, 300)]
)
def test_connections_follow_the_descriptors(
    monkeypatch: pytest.MonkeyPatch, limit: int, share: float, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert room_for(300, share) == room
