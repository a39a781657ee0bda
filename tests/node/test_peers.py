"""The pool of connections to other nodes: reused, bounded, replaced when stale, closed when cancelled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from dht.contact import Contact
from node.net import peers as module
from node.net.peers import (
    CONNECTIONS_PER_PEER,
    DIAL_SECONDS,
    IDLE_SECONDS,
    NOT_STORING_SECONDS,
    RECORD_SECONDS,
    PeerBroke,
    PeerRefused,
    Peers,
    PeerUnreachable,
)
from protocol.errors import IntegrityError, WrongNetworkError
from protocol.identity import Identity, Network
from protocol.ids import Address
from protocol.messages import Get, GetReply, Hello, HelloReply, PutReply, Reply
from protocol.segment import Shares
from tests.network.memory import MemoryHost, MemoryStream
from tests.node.builders import ALICE, NETWORK, put, sample
from tests.node.serving import ADDRESS, CONTACT, NODE, Bench, bench, counter, put_message

SEGMENT = sample(7, 4 * 131_072, Shares(1, 2))
WHOLE = Get(segment=SEGMENT.id, index=0, first=0, count=4)


class Dials:
    """Counts the connections a host makes, and remembers them."""

    def __init__(self, host: MemoryHost) -> None:
        self.streams: list[MemoryStream] = []
        self._host = host
        self.listen, self.open_udp = host.listen, host.open_udp

    async def dial(self, address: Address) -> MemoryStream:
        stream = await self._host.dial(address)
        self.streams.append(stream)
        return stream

    @property
    def count(self) -> int:
        return len(self.streams)


@asynccontextmanager
async def asking(path: Path) -> AsyncIterator[tuple[Bench, Peers, Dials]]:
    """A server that holds a chunk, a pool, and the count of its dials."""
    async with bench(path) as it, trio.open_nursery() as nursery:
        put(it.store, SEGMENT, 0)
        dials = Dials(it.host("10.0.0.7"))
        peers = Peers(ALICE, NETWORK, dials, counter())
        nursery.start_soon(peers.run)
        yield it, peers, dials
        nursery.cancel_scope.cancel()
    assert peers._open == 0, "every connection is accounted for"
    assert it.host("10.0.0.7").streams == set()


async def test_a_connection_serves_many_requests(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, peers, dials):
        for _ in range(5):
            reply, body = await peers.request(CONTACT, WHOLE)
            assert reply == GetReply()
            assert body == SEGMENT.columns[0]
        with pytest.raises(PeerRefused, match="not found"):
            await peers.request(CONTACT, replace(WHOLE, index=1))
        await peers.request(CONTACT, Hello())
        assert dials.count == 1


async def test_at_most_four_connections_to_one_peer(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, dials):
        it.host("10.0.0.1").bytes_per_second = 1_000_000
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(peers.request, CONTACT, WHOLE)
        assert dials.count == CONNECTIONS_PER_PEER


async def test_idle_connections_are_closed_after_a_while(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, dials):
        await peers.request(CONTACT, Hello())
        await trio.sleep(IDLE_SECONDS * 1.5)
        assert it.host("10.0.0.7").streams == set()
        assert peers._pools == {}
        await peers.request(CONTACT, Hello())
        assert dials.count == 2


async def test_a_connection_the_peer_closed_is_replaced(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, dials):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(peers.request, CONTACT, Hello())
        assert dials.count == 3
        for stream in list(it.host("10.0.0.1").streams):
            await stream.aclose()
        _, body = await peers.request(CONTACT, WHOLE)
        assert body == SEGMENT.columns[0]
        other = sample(8)
        reply, _ = await peers.request(CONTACT, put_message(other, 0), body=(memoryview(other.columns[0]),))
        assert isinstance(reply, PutReply)
        assert dials.count == 4, "the other stale ones were thrown away as well"


@pytest.mark.parametrize("reused", [False, True])
async def test_a_reply_cut_off_is_not_asked_for_again(autojump_clock: MockClock, tmp_path: Path, reused: bool) -> None:
    """Even on a reused connection: the peer was there, so something else is wrong."""
    async with asking(tmp_path) as (it, peers, dials):
        server = it.host("10.0.0.1")

        async def cut() -> None:
            await trio.sleep(1)
            for stream in list(server.streams):
                stream.abort()

        if reused:
            await peers.request(CONTACT, Hello())
        server.bytes_per_second = 100_000
        it.nursery.start_soon(cut)
        with pytest.raises(PeerUnreachable):
            await peers.request(CONTACT, WHOLE)
        assert dials.count == 1


async def test_cancelling_a_request_closes_its_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, dials):
        it.host("10.0.0.1").bytes_per_second = 100_000
        with trio.move_on_after(1) as scope:
            await peers.request(CONTACT, WHOLE)
        assert scope.cancelled_caught
        assert peers._open == 0
        assert it.host("10.0.0.7").streams == set()
        it.host("10.0.0.1").bytes_per_second = 1e9
        _, body = await peers.request(CONTACT, WHOLE)
        assert body == SEGMENT.columns[0]
        assert dials.count == 2


async def test_cancelling_a_dial_leaves_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, _):
        it.host("10.0.0.1").freeze()
        with trio.move_on_after(1) as scope:
            await peers.request(CONTACT, Hello())
        assert scope.cancelled_caught
        assert peers._open == 0
        it.host("10.0.0.1").freeze(False)


async def test_a_peer_that_is_not_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, _):
        with pytest.raises(PeerUnreachable, match="connection refused"):
            await peers.request(Contact(NODE.key, Address("10.0.0.1", 9)), Hello())
        it.host("10.0.0.1").freeze()
        began = trio.current_time()
        with pytest.raises(PeerUnreachable, match="no answer"):
            await peers.request(CONTACT, Hello())
        assert trio.current_time() - began == pytest.approx(DIAL_SECONDS)
        it.host("10.0.0.1").freeze(False)


async def test_the_peer_must_hold_the_key(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, peers, _dials):
        with pytest.raises(PeerBroke, match="another node"):
            await peers.request(Contact(Identity(b"x" * 32).key, ADDRESS), Hello())
        assert await peers.probe(ADDRESS) == NODE.key
        assert await peers.probe(ADDRESS, NODE.key) == NODE.key
        with pytest.raises(PeerBroke, match="another node"):
            await peers.probe(ADDRESS, ALICE.key)


async def test_probing_another_network(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, _, _dials):
        strangers = Peers(ALICE, Network("other"), it.host("10.0.0.8"), counter())
        with pytest.raises(WrongNetworkError):
            await strangers.probe(ADDRESS)
        with pytest.raises(PeerBroke, match="another network"):
            await strangers.request(CONTACT, Hello())
        assert strangers._open == 0


async def test_garbage_from_a_peer(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def babble(stream: MemoryStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with asking(tmp_path) as (it, peers, _):
        listener, address = await it.host("10.0.0.6").listen(Address("10.0.0.6", 80))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, babble, [listener]))
            with pytest.raises(PeerBroke, match="does not speak"):
                await peers.request(Contact(NODE.key, address), Hello())
            nursery.cancel_scope.cancel()


async def test_where_a_body_goes_and_what_comes_of_doubt(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, peers, dials):
        target = memoryview(bytearray(len(SEGMENT.columns[0])))
        told: list[int] = []

        def into(reply: Reply, body_bytes: int) -> memoryview:
            assert reply == GetReply()
            assert body_bytes == len(target)
            return target

        _, body = await peers.request(CONTACT, WHOLE, into=into, on_body=told.append)
        assert body is target
        assert body == SEGMENT.columns[0]
        assert told == sorted(told)
        assert told[-1] == len(target)

        def doubt(*_: object) -> memoryview:
            raise IntegrityError("that is not what I asked for")

        with pytest.raises(IntegrityError):
            await peers.request(CONTACT, WHOLE, into=doubt)
        with pytest.raises(IntegrityError):
            await peers.request(CONTACT, WHOLE, on_body=lambda _: doubt())  # type: ignore[arg-type]
        assert peers._open == 0
        assert dials.count == 2
        with pytest.raises(PeerRefused):
            await peers.request(CONTACT, replace(WHOLE, index=1), into=doubt)


async def test_what_was_sent_is_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, peers, _dials):
        other, told = sample(8, 16_777_216, Shares(8, 8)), list[int]()
        column = memoryview(other.columns[0])
        body = (column[:10], column[10:10], column[10:])
        reply, _ = await peers.request(CONTACT, put_message(other, 0), body=body, on_body=told.append)
        assert isinstance(reply, PutReply)
        assert told == sorted(told)
        assert len(told) > 30, "at least for every record"
        assert told[-1] == len(column)


async def test_connections_are_bounded_in_all(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 3)
    async with asking(tmp_path) as (it, peers, dials):
        contacts = []
        for number in range(5):
            listener, address = await it.host("10.0.0.1").listen(Address("10.0.0.1", 5000 + number))
            contacts.append(Contact(NODE.key, address))
            it.nursery.start_soon(partial(trio.serve_listeners, it.server.serve, [listener]))
        for contact in contacts:
            await peers.request(contact, Hello())
            await trio.sleep(1)
        assert len(it.host("10.0.0.7").streams) == 3
        await peers.request(contacts[-1], Hello())
        assert dials.count == 5, "the newest were kept"
        most = 0
        async with trio.open_nursery() as nursery:
            for contact in contacts * 3:
                nursery.start_soon(peers.request, contact, WHOLE)
            while len(nursery.child_tasks):
                most = max(most, peers._open)
                await trio.lowlevel.checkpoint()
        assert most <= 3


async def test_node_records_are_asked_for_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, peers, _):
        hellos = 0
        real = it.statements.node_record

        def node_record() -> bytes:
            nonlocal hellos
            hellos += 1
            return real()

        it.statements.node_record = node_record  # type: ignore[method-assign]  # to be counted
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(peers.record, CONTACT)
        record = await peers.record(CONTACT)
        assert (record.key, record.storing, hellos) == (NODE.key, True, 1)
        await trio.sleep(RECORD_SECONDS)
        it.statements.reachable = False
        assert not (await peers.record(CONTACT)).storing
        assert not (await peers.record(CONTACT)).storing
        assert hellos == 2
        it.statements.reachable = True
        await trio.sleep(NOT_STORING_SECONDS)
        assert (await peers.record(CONTACT)).storing
        assert peers._asking == {}
        _, observed = await peers.hello(CONTACT)
        assert observed.host == "10.0.0.7"


@pytest.mark.parametrize("full", [True, False])
async def test_a_refusal_for_want_of_room_outdates_the_record(
    autojump_clock: MockClock, tmp_path: Path, full: bool
) -> None:
    """The record says there is room: who was just told otherwise asks for a fresh one before trying again."""
    async with asking(tmp_path) as (it, peers, _):
        before = await peers.record(CONTACT)
        assert before.storing
        with pytest.raises(PeerRefused, match="not found"):
            await peers.request(CONTACT, replace(WHOLE, index=1))
        assert await peers.record(CONTACT) is before, "other refusals say nothing of room"
        if full:
            it.store._quota.limit = it.store.used_bytes
        else:
            it.statements.reachable = False
        other = sample(8)
        with pytest.raises(PeerRefused, match="full" if full else "not storing"):
            await peers.request(CONTACT, put_message(other, 0), body=(memoryview(other.columns[0]),))
        after = await peers.record(CONTACT)
        assert after.free_bytes == 0
        assert after.storing is full


@pytest.mark.parametrize("fault", ["garbage", "another's"])
async def test_a_bad_node_record(autojump_clock: MockClock, tmp_path: Path, fault: str) -> None:
    async with asking(tmp_path) as (it, peers, _):
        real = it.statements.node_record()
        it.statements.identity = ALICE
        made = it.statements.node_record() if fault == "another's" else b"x" + real[1:]
        it.statements.node_record = lambda: made  # type: ignore[method-assign]  # the fault
        with pytest.raises(PeerBroke, match="node record"):
            await peers.record(CONTACT)


async def test_a_nodes_own_record_goes_along(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with asking(tmp_path) as (it, _, _dials):
        peers = Peers(NODE, NETWORK, it.host("10.0.0.8"), counter(), own_record=it.statements.node_record)
        reply, _ = await peers.request(CONTACT, Hello(record=it.statements.node_record()))
        assert isinstance(reply, HelloReply)
        assert (await peers.hello(CONTACT))[0].key == NODE.key
        with trio.CancelScope() as scope:
            scope.cancel()
            await peers.run()
        assert peers._open == 0
