"""Deadlines of calls (docs/spec/dht.md section 5)."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from dht.calls import (
    CLOSE_SECONDS,
    FIRST_SECONDS,
    GIVE_UP_SECONDS,
    MAX_IN_FLIGHT,
    SLOW_SECONDS,
    Answer,
    Calls,
    Mailbox,
    Outcome,
    Patience,
)
from dht.core import Core
from dht.counters import Counters
from protocol import datagrams as d
from protocol.identity import Identity, Network
from protocol.ids import Address
from tests.network.memory import MemoryNetwork

NETWORK = Network("tests")
PEER = Address("10.0.0.2", 1)


async def calls_of(net: MemoryNetwork) -> Calls:
    socket = await net.host("10.0.0.1").open_udp(Address("10.0.0.1", 1))
    core = Core(Identity(bytes(32)), NETWORK, socket, Random(1).randbytes, counters=Counters(), read_only=True)
    return core.calls


def test_patience_follows_what_is_measured() -> None:
    patience = Patience()
    assert patience.seconds == FIRST_SECONDS
    for _ in range(50):
        patience.learn(0.001)
    assert patience.seconds == SLOW_SECONDS
    for _ in range(50):
        patience.learn(0.3)
    assert 0.3 < patience.seconds < 0.4
    patience.learn(1.0)
    assert patience.seconds > 0.8


async def test_the_moments_of_a_call_nobody_answers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    net = MemoryNetwork()
    sent: list[float] = []
    net.on_datagram = lambda data, source, to: sent.append(trio.current_time())
    calls = await calls_of(net)
    nursery.start_soon(calls.run)
    mailbox = Mailbox()
    call = await calls.begin(PEER, None, None, d.Ping(), mailbox, read_only=True)
    assert await mailbox.get() == (call, Outcome.SLOW)
    assert trio.current_time() == FIRST_SECONDS
    assert await mailbox.get() == (call, Outcome.GIVEN_UP)
    assert trio.current_time() == pytest.approx(3 * FIRST_SECONDS)
    assert sent == [0.0, 0.75]
    assert len(calls) == 1
    await trio.sleep_until(CLOSE_SECONDS + 0.1)
    assert len(calls) == 0

    began = trio.current_time()
    call = await calls.begin(PEER, None, None, d.Ping(), mailbox, read_only=True)
    assert [await mailbox.get(), await mailbox.get()] == [(call, Outcome.SLOW), (call, Outcome.GIVEN_UP)]
    assert trio.current_time() == began + FIRST_SECONDS  # once bitten
    assert len(sent) == 3


async def test_a_late_answer_clears_a_peers_name(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    net = MemoryNetwork()
    calls = await calls_of(net)
    nursery.start_soon(calls.run)
    mailbox, peer = Mailbox(), Identity(bytes(range(32)))
    call = await calls.begin(PEER, peer.key, peer.node_id, d.Ping(), mailbox, read_only=True)
    await trio.sleep(2)
    datagram = d.parse(
        d.seal(
            peer,
            NETWORK.id,
            Identity(bytes(32)).node_id,
            call.transaction,
            d.Pong(observed=PEER),
            read_only=False,
        )
    )
    assert calls.match(datagram, PEER) is call
    assert (PEER, peer.key) in calls._suspects
    calls.answered(call, datagram, datagram.message())
    assert (PEER, peer.key) not in calls._suspects
    assert calls.match(datagram, PEER) is None
    outcomes = [(await mailbox.get())[1] for _ in range(3)]
    assert outcomes[:2] == [Outcome.SLOW, Outcome.GIVEN_UP]
    assert isinstance(outcomes[2], Answer)


async def test_no_more_calls_are_in_flight_than_a_socket_buffer_holds_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    calls = await calls_of(MemoryNetwork())
    nursery.start_soon(calls.run)
    for _ in range(MAX_IN_FLIGHT):
        assert not calls.full
        await calls.begin(PEER, None, None, d.Ping(), read_only=True)
    assert calls.full
    await calls.begin(PEER, None, None, d.Ping(), read_only=True)
    assert trio.current_time() == FIRST_SECONDS  # it waited until the first were slow


async def test_a_stalled_process_reads_before_it_judges(nursery: trio.Nursery) -> None:
    """When nobody ran for a while (a stopped process, a long computation) the answers wait in the socket."""
    clock = MockClock()

    async def main() -> None:
        async with trio.open_nursery() as inner:
            calls = await calls_of(MemoryNetwork())
            inner.start_soon(calls.run)
            mailbox = Mailbox()
            await calls.begin(PEER, None, None, d.Ping(), mailbox, read_only=True)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(GIVE_UP_SECONDS[1] + 1)
            await trio.testing.wait_all_tasks_blocked()
            assert not mailbox._events
            clock.jump(0.3)
            await trio.testing.wait_all_tasks_blocked()
            assert [event[1] for event in mailbox._events] == [Outcome.SLOW, Outcome.GIVEN_UP]
            inner.cancel_scope.cancel()

    await trio.lowlevel.checkpoint()
    del nursery
    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))


async def test_a_closed_mailbox_takes_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    calls = await calls_of(MemoryNetwork())
    nursery.start_soon(calls.run)
    mailbox = Mailbox()
    await calls.begin(PEER, None, None, d.Ping(), mailbox, read_only=True)
    mailbox.close()
    await trio.sleep(5)
    assert not mailbox._events
    assert not calls.full


async def test_whoever_waits_is_told_when_the_node_stops(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    calls = await calls_of(MemoryNetwork())
    mailbox = Mailbox()
    async with trio.open_nursery() as running:
        running.start_soon(calls.run)
        call = await calls.begin(PEER, None, None, d.Ping(), mailbox, read_only=True)
        running.cancel_scope.cancel()
    assert [await mailbox.get(), await mailbox.get()] == [(call, Outcome.SLOW), (call, Outcome.GIVEN_UP)]
    assert len(calls) == 0
