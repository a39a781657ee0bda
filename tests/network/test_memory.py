"""The network in memory keeps the promises tests rely on."""

from contextlib import aclosing

import pytest
import trio
from trio.testing import MockClock

from protocol.ids import Address
from tests.network.memory import INBOX, WINDOW_BYTES, MemoryDatagrams, MemoryHost, MemoryNetwork, MemoryStream

ONE, TWO = "10.0.0.1", "10.0.0.2"


async def _sockets(network: MemoryNetwork) -> tuple[MemoryDatagrams, MemoryDatagrams]:
    one = await network.host(ONE).open_udp(Address(ONE, 1))
    two = await network.host(TWO).open_udp(Address("0.0.0.0", 1))
    assert isinstance(one, MemoryDatagrams) and isinstance(two, MemoryDatagrams)
    assert two.address == Address(TWO, 1)
    return one, two


async def _streams(network: MemoryNetwork) -> tuple[MemoryStream, MemoryStream]:
    listener, address = await network.host(TWO).listen(Address(TWO, 0))
    dialled = await network.host(ONE).dial(address)
    accepted = await listener.accept()
    assert (dialled.peer_address, accepted.peer_address.host) == (address, ONE)
    return dialled, accepted


async def _all(stream: MemoryStream) -> bytes:
    data = b""
    while part := await stream.receive_some():
        data += part
    return data


async def test_a_datagram_arrives_after_its_delay(autojump_clock: MockClock) -> None:
    one, two = await _sockets(MemoryNetwork(delay=0.25))
    await one.send(b"hello", two.address)
    assert await two.receive() == (b"hello", one.address)
    assert trio.current_time() == 0.25


async def test_faults_repeat_with_the_seed(autojump_clock: MockClock) -> None:
    seen = []
    for _ in range(2):
        network = MemoryNetwork(7, delay=0.01)
        network.loss, network.double, network.damage, network.jitter = 0.2, 0.2, 0.2, 0.05
        one, two = await _sockets(network)
        for number in range(100):
            await one.send(bytes([number]), two.address)
        got = []
        with trio.move_on_after(1):
            while True:
                got.append((await two.receive())[0])
        seen.append(got)
    assert seen[0] == seen[1] != sorted(seen[0])
    assert 70 < len(seen[0]) < 120


async def test_an_inbox_is_bounded(autojump_clock: MockClock) -> None:
    one, two = await _sockets(MemoryNetwork())
    for _ in range(INBOX + 10):
        await one.send(b"x", two.address)
    count = 0
    with trio.move_on_after(1):
        while True:
            await two.receive()
            count += 1
    assert count == INBOX


async def test_cut_and_frozen_hosts(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    one, two = await _sockets(network)
    network.host(TWO).cut()
    await one.send(b"lost", two.address)
    network.host(TWO).cut(False)
    network.host(TWO).freeze()
    await one.send(b"kept", two.address)
    with trio.move_on_after(5) as scope:
        await two.receive()
    assert scope.cancelled_caught
    network.host(TWO).freeze(False)
    assert (await two.receive())[0] == b"kept"


async def test_a_closed_socket_says_so(autojump_clock: MockClock) -> None:
    one, two = await _sockets(MemoryNetwork())
    with pytest.raises(OSError, match="in use"):
        await network_host(one).open_udp(one.address)
    one.close()
    one.close()
    with pytest.raises(trio.ClosedResourceError):
        await one.send(b"", two.address)
    with pytest.raises(trio.ClosedResourceError):
        await one.receive()
    await two.send(b"to nobody", one.address)


def network_host(sock: MemoryDatagrams) -> MemoryHost:
    return sock._host


async def test_a_stream_carries_bytes_both_ways(autojump_clock: MockClock) -> None:
    one, two = await _streams(MemoryNetwork(delay=0.1))
    data = bytes(range(256)) * 4096
    async with aclosing(one), aclosing(two), trio.open_nursery() as nursery:

        async def send() -> None:
            await one.send_all(data)
            await one.send_eof()

        nursery.start_soon(send)
        assert await _all(two) == data
        await two.send_all(b"thanks")
        assert await one.receive_some(3) == b"tha"
        assert await one.receive_some() == b"nks"


async def test_a_stream_pushes_back(autojump_clock: MockClock) -> None:
    one, two = await _streams(MemoryNetwork())
    with trio.move_on_after(1) as scope:
        await one.send_all(bytes(2 * WINDOW_BYTES))
    assert scope.cancelled_caught
    assert len(await two.receive_some()) == 64 * 1024


async def test_a_slow_host(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.host(ONE).bytes_per_second = 1000
    one, two = await _streams(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(5000))
        assert len(await two.receive_some()) == 5000
    assert trio.current_time() == 5


async def test_the_ways_a_stream_ends(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    one, two = await _streams(network)
    await one.send_all(b"bye")
    await one.aclose()
    await one.aclose()
    assert await _all(two) == b"bye"
    with pytest.raises(trio.BrokenResourceError):
        await two.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()

    one, two = await _streams(network)
    network.host(ONE).kill()
    with pytest.raises(trio.BrokenResourceError):
        await two.receive_some()

    one, two = await _streams(network)
    network.host(ONE).cut()
    await one.send_all(b"waits")
    with trio.move_on_after(60) as scope:
        await two.receive_some()
    assert scope.cancelled_caught
    network.host(ONE).cut(False)
    assert await two.receive_some() == b"waits"


async def test_half_open(autojump_clock: MockClock) -> None:
    """Accepted and never answered, until it hears again; or answered into the void, for ever."""
    network = MemoryNetwork()
    listener, address = await network.host(TWO).listen(Address(TWO, 0))
    network.host(TWO).mute()
    one = await network.host(ONE).dial(address)
    await one.send_all(b"hello")
    with trio.move_on_after(60) as scope:
        await listener.accept()
    assert scope.cancelled_caught
    network.host(TWO).mute(False)
    two = await listener.accept()
    assert await two.receive_some() == b"hello"

    network.host(TWO).is_swallowing = True
    await two.send_all(b"lost")
    network.host(TWO).is_swallowing = False
    await two.send_all(b"as well")
    await two.aclose()
    with trio.move_on_after(60) as scope:
        await one.receive_some()
    assert scope.cancelled_caught


async def test_a_torn_stream(autojump_clock: MockClock) -> None:
    """A part of the piece arrives, and then both ends are reset."""
    network = MemoryNetwork(3, delay=0.1)
    network.host(ONE).tearing = 1.0
    one, two = await _streams(network)
    await one.send_all(bytes(1000))
    assert 0 < len(await two.receive_some()) < 1000
    with pytest.raises(trio.BrokenResourceError):
        await two.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await one.receive_some()


async def test_a_damaged_stream(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.host(ONE).damage = 1.0
    one, two = await _streams(network)
    await one.send_all(bytes(1000))
    assert sum(byte != 0 for byte in await two.receive_some()) == 1
    await two.send_all(bytes(1000))
    assert await one.receive_some() == bytes(1000)


async def test_dialling_nobody(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    with pytest.raises(ConnectionRefusedError):
        await network.host(ONE).dial(Address(TWO, 1))
    listener, address = await network.host(TWO).listen(Address(TWO, 1))
    network.partition = lambda a, b: True
    with trio.move_on_after(60) as scope:
        await network.host(ONE).dial(address)
    assert scope.cancelled_caught
    network.partition = lambda a, b: False
    waiting = await network.host(ONE).dial(address)
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    with pytest.raises(OSError, match="cannot bind"):
        await network.host(ONE).listen(address)


async def test_one_task_at_a_time(autojump_clock: MockClock) -> None:
    one, _ = await _streams(MemoryNetwork())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await one.receive_some()
        nursery.cancel_scope.cancel()
