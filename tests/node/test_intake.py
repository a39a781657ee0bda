"""How much is waited for, on a real connection with a clock that stands still unless told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.net.intake import RECEIVE_BYTES, Intake

MIB = 1 << 20


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with near, await listener.accept() as far:
            yield near, far


def lowest(stream: trio.SocketStream) -> int:
    """How many bytes the system waits for."""
    found = stream.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVLOWAT)
    assert isinstance(found, int)
    return found


async def take(intake: Intake, count: int, coming: int) -> bytes:
    """Receive ``count`` bytes, the beginning of ``coming``."""
    got = b""
    while len(got) < count:
        piece = await intake.receive(coming - len(got))
        assert piece
        got += piece
    return got


async def test_much_is_waited_for_where_much_comes(mock_clock: MockClock) -> None:
    async with connection() as (near, far), trio.open_nursery() as nursery:
        intake = Intake(far)
        data = bytes(range(256)) * (4 * MIB // 256)
        nursery.start_soon(near.send_all, data)
        with_tail = await take(intake, 3 * MIB, 4 * MIB)
        assert lowest(far) == RECEIVE_BYTES // 2
        rest = await take(intake, 4 * MIB - len(with_tail), 4 * MIB - len(with_tail))
        assert with_tail + rest == data
        assert lowest(far) <= RECEIVE_BYTES // 2


async def test_never_for_more_than_comes(mock_clock: MockClock) -> None:
    async with connection() as (near, far), trio.open_nursery() as nursery:
        intake = Intake(far)
        nursery.start_soon(near.send_all, bytes(2 * MIB + 1000))
        got = await take(intake, 2 * MIB, 2 * MIB + 1000)
        await take(intake, 2 * MIB + 1000 - len(got), 2 * MIB + 1000 - len(got))
        intake.rest()
        await wait_all_tasks_blocked()
        await near.send_all(b"x" * 100_000)
        assert len(await take(intake, 100_000, 100_000)) == 100_000
        intake.rest()
        await near.send_all(b"!")
        assert bytes(await intake.receive(0)) == b"!"
        assert lowest(far) == 1


async def test_a_line_that_becomes_slow(mock_clock: MockClock) -> None:
    async with connection() as (near, far), trio.open_nursery() as nursery:
        intake = Intake(far)
        nursery.start_soon(near.send_all, bytes(4 * MIB))
        await take(intake, 4 * MIB, 4 * MIB)
        await wait_all_tasks_blocked()
        await near.send_all(b"!")
        got: list[bytes] = []

        async def receive() -> None:
            for _ in range(2):
                got.append(bytes(await intake.receive(MIB)))

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert lowest(far) == RECEIVE_BYTES // 2
        assert not got
        mock_clock.jump(0.2)
        await wait_all_tasks_blocked(0.01)
        assert got == [b"!"]
        assert lowest(far) == 1
        await near.send_all(b"?")
        await wait_all_tasks_blocked(0.01)
        assert got == [b"!", b"?"]  # at once


async def test_the_end_of_the_stream(mock_clock: MockClock) -> None:
    async def send_and_close() -> None:
        await near.send_all(bytes(300_000))
        await near.aclose()

    async with connection() as (near, far), trio.open_nursery() as nursery:
        intake = Intake(far)
        nursery.start_soon(send_and_close)
        assert len(await take(intake, 300_000, MIB)) == 300_000
        assert not await intake.receive(MIB - 300_000)
