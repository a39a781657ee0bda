"""The real UDP socket."""

import socket

import pytest
import trio

from dht.socket import _TURN, UdpSocket, open_udp
from protocol.ids import Address

HOSTS = ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", HOSTS)
async def test_datagrams_go_both_ways(host: str) -> None:
    one, two = await open_udp(Address(host, 0)), await open_udp(Address(host, 0))
    with trio.fail_after(5):
        await one.send(b"hello", two.address)
        assert await two.receive() == (b"hello", one.address)
        await two.send(bytes(1232), one.address)
        assert await one.receive() == (bytes(1232), two.address)
    one.close()
    two.close()


async def test_a_socket_on_every_address_takes_both_families() -> None:
    both = await open_udp(Address("::", 0))
    four, six = await open_udp(Address("127.0.0.1", 0)), await open_udp(Address("::1", 0))
    with trio.fail_after(5):
        for sock, host in ((four, "127.0.0.1"), (six, "::1")):
            await sock.send(b"x", Address(host, both.address.port))
            assert await both.receive() == (b"x", sock.address)
            await both.send(b"y", sock.address)
            assert (await sock.receive())[0] == b"y"
    for sock in (both, four, six):
        sock.close()


async def test_what_cannot_be_sent_is_lost_and_breaks_nothing() -> None:
    one, two = await open_udp(Address("127.0.0.1", 0)), await open_udp(Address("127.0.0.1", 0))
    gone = two.address
    two.close()
    with trio.fail_after(5):
        for to in (gone, Address("::1", 1), Address("255.255.255.255", 1)):
            for _ in range(3):
                await one.send(b"x", to)
        await one.send(bytes(70_000), one.address)  # longer than any datagram can be
        await one.send(b"still here", one.address)
        assert (await one.receive())[0] == b"still here"
    one.close()


async def test_a_closed_socket_says_so_even_to_who_waits() -> None:
    sock = await open_udp(Address("127.0.0.1", 0))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await sock.receive()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
        sock.close()
        with pytest.raises(trio.ClosedResourceError):
            await sock.send(b"x", Address("127.0.0.1", 1))
        with pytest.raises(trio.ClosedResourceError):
            await sock.receive()


async def test_a_taken_address_is_an_error() -> None:
    sock = await open_udp(Address("127.0.0.1", 0))
    with pytest.raises(OSError):
        await open_udp(sock.address)
    sock.close()


async def test_a_flood_leaves_other_tasks_their_turn() -> None:
    sock = await open_udp(Address("127.0.0.1", 0))
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(8 * _TURN):
        flood.sendto(b"x", (sock.address.host, sock.address.port))
    flood.close()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(8 * _TURN):
                await sock.receive()
            nursery.cancel_scope.cancel()
    assert turns >= 3
    sock.close()


async def test_a_receive_can_be_cancelled() -> None:
    sock = await open_udp(Address("127.0.0.1", 0))
    await sock.send(b"x", sock.address)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sock.receive()
    assert scope.cancelled_caught
    assert (await sock.receive())[0] == b"x"
    assert isinstance(sock, UdpSocket)
    sock.close()
