"""What a node says of itself, and the traffic that it counts."""

import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dht.contact import Contact
from dht.service import Dht
from node.blocking import InlineBlocking
from node.cli.control import status_text
from node.control import ask
from node.drive.caretaker import CaretakerTally
from node.errors import MachineError, NotFoundError
from node.healing.tally import Tally
from node.metrics import metrics_text
from node.net.peers import PeerRefused, PeerUnreachable
from node.serving.reachability import Reachability
from node.status import Status
from node.store.quota import HEADROOM_BYTES, SMALLEST_PUT_BYTES
from node.traffic import KINDS, Traffic
from protocol.channel import Channel
from protocol.ids import Address
from protocol.messages import Audit, Get, Hello, Put
from tests.node.builders import BOB, NETWORK, NOW, sample
from tests.node.serving import ADDRESS, CONTACT, NODE, Bench, bench, counter, put_message
from tests.node.test_app import world

NOWHERE = Contact(NODE.key, Address("10.0.0.99", 1))
HOLDER = Contact(BOB.key, Address("10.0.0.98", 1))


@asynccontextmanager
async def looked_at(path: Path) -> AsyncIterator[tuple[Bench, Status]]:
    """A server with a store, and its status."""
    async with bench(path) as it:
        socket = await it.host(ADDRESS.host).open_udp(ADDRESS)
        dht = Dht(NODE, NETWORK, socket, read_only=True, wall_clock=it.clock.wall, random_bytes=counter())
        await it.nursery.start(dht.run)
        yield (
            it,
            Status(
                network=NETWORK.name,
                statements=it.statements,
                store=it.store,
                dht=dht,
                peers=it.peers,
                accepted=it.server._connections,
                reachability=Reachability(dht, it.peers, it.statements, counter(), advertised=True, ways_in=[ADDRESS]),
                claimed={HOLDER: "IS"}.get,
                tally=Tally(audits_passed=7, co_holders=3, missing_nodes=1, repairs_pending=4, beyond_repair=2),
                tending=lambda: None,
                traffic=Traffic(it.server._traffic, it.peers._traffic),
                clock=it.clock,
                blocking=InlineBlocking(),
            ),
        )


async def test_what_a_node_says_of_itself(autojump_clock: MockClock, tmp_path: Path) -> None:
    segment = sample()
    async with looked_at(tmp_path) as (it, status):
        for index in (0, 1):
            await it.ask(put_message(segment, index), segment.columns[index])
        other = sample(1)
        await it.ask(put_message(other, 0), other.columns[0])
        await trio.sleep(90)
        said = await status.look()
        assert json.loads(json.dumps(said)) == said
        assert (said["node_id"], said["address"], said["country"]) == (NODE.node_id.hex(), str(ADDRESS), "NZ")
        assert (said["network"], said["started"]) == (NETWORK.name, int(NOW))
        assert 90 <= said["uptime_seconds"] < 100
        assert (said["storing"], said["full"]) == (True, False)
        assert said["key"] == NODE.key.hex()
        assert said["held"] == {"chunks": 3, "segments": 2, "depositors": 1, "records": 0}
        assert said["quota"] == {
            "limit_bytes": 10**9,
            "used_bytes": it.store.used_bytes,
            "trash_bytes": 0,
            "free_bytes": it.store.free_bytes,
        }
        assert said["quota"]["used_bytes"] > 0
        assert said["contacts"] == {"total": 0, "countries": {}, "unknown": 0}
        assert said["connections"]["accepted"] == said["connections"]["dialled"] == 0, "idle for over a minute"
        assert said["healing"] == asdict(status.tally)
        assert said["traffic"]["served"]["put"]["requests"] == 3
        assert set(said["traffic"]["served"]) == set(said["traffic"]["asked"]) == set(KINDS)
        assert metrics_text(said)


async def test_contacts_by_what_they_claimed(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looked_at(tmp_path) as (it, status):
        monkeypatch.setattr(status.dht, "contacts", lambda: [CONTACT, NOWHERE, HOLDER])
        assert (await status.look())["contacts"] == {"total": 3, "countries": {"IS": 1}, "unknown": 2}
        await it.peers.hello(CONTACT)
        assert (await status.look())["contacts"] == {"total": 3, "countries": {"IS": 1, "NZ": 1}, "unknown": 1}
        assert (await status.look())["connections"] == {"accepted": 1, "dialled": 1}


async def test_why_it_does_not_store(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_at(tmp_path) as (it, status):
        it.statements.reachable = False
        assert (await status.look())["why_not_storing"] == "not checked yet whether peers can reach it"
        await status.reachability.check()
        said = await status.look()
        assert said["why_not_storing"] == "nobody answered at the nodes it joins by"
        assert "storing     no: nobody answered at the nodes it joins by" in status_text(said)
        it.statements.reachable = it.statements.leaving = True
        assert (await status.look())["why_not_storing"] == "it is leaving"


async def test_a_full_node_says_so(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is reachable, and so it is `storing`; but nothing more fits."""
    segment = sample()
    async with looked_at(tmp_path) as (it, status):
        await it.ask(put_message(segment, 0), segment.columns[0])
        used = it.store.used_bytes
        for quota, full, told in (
            (used + HEADROOM_BYTES + SMALLEST_PUT_BYTES, False, "storing     yes\n"),
            (used + HEADROOM_BYTES + SMALLEST_PUT_BYTES - 1, True, "storing     yes, but full: nothing more fits\n"),
            (used - 1, True, "storing     yes, but over its quota: takes nothing new\n"),
        ):
            it.store.set_quota(quota)
            said = await status.look()
            assert (said["storing"], said["full"]) == (True, full)
            assert told in status_text(said)
        it.statements.leaving = True
        assert "storing     no: it is leaving\n" in status_text(await status.look())


async def test_a_whole_node_is_asked_and_scraped(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its socket and by HTTP; in the end, and not before, both are gone."""
    caplog.set_level(logging.INFO)
    async with world(tmp_path) as it:
        first = await it.start(it.config(1))
        second = await it.start(replace(it.config(2, (1,)), metrics=Address("127.0.0.1", 0)))
        said = await _asked(tmp_path / "2")
        assert said["node_id"] == second.info.node_id.hex()
        assert said["contacts"] == {"total": 1, "countries": {}, "unknown": 1}
        assert said["traffic"]["asked"]["dial_back"]["requests"] >= 1
        assert said["traffic"]["datagrams"]["received_bytes"] > 0
        assert (await _asked(tmp_path / "1"))["traffic"]["served"]["dial_back"]["requests"] >= 1
        (where,) = re.findall(r"metrics at http://127.0.0.1:(\d+)/metrics", caplog.text)
        assert "joined: 1 contacts known" in caplog.text
        async with await trio.open_tcp_stream("127.0.0.1", int(where)) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert f'node_id="{said["node_id"]}"' in b"".join([part async for part in stream]).decode()
        await it.end(first, second)
        with pytest.raises(NotFoundError):
            await _asked(tmp_path / "2")
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", int(where))


async def _asked(folder: Path) -> dict[str, Any]:
    async with aclosing(ask(folder, {"do": "status"})) as replies:
        return await anext(replies)


async def test_an_index_that_fails(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_at(tmp_path) as (it, status):
        it.store._index._db.execute("ALTER TABLE chunk RENAME TO gone")
        with pytest.raises(MachineError, match="cannot count what is held"):
            await status.look()
        it.store._index._db.execute("ALTER TABLE gone RENAME TO chunk")


async def test_a_status_for_a_person(autojump_clock: MockClock, tmp_path: Path) -> None:
    segment = sample()
    async with looked_at(tmp_path) as (it, status):
        await it.ask(put_message(segment, 0), segment.columns[0])
        await trio.sleep(3 * 3600 + 5)
        lines = status_text(await status.look()).splitlines()
    told = {line[:12].strip(): line[12:] for line in lines}
    assert told["node"] == f"{NODE.node_id.hex()} at {ADDRESS}, network {NETWORK.name}"
    assert told["key"] == NODE.key.hex()
    assert told["country"] == "NZ (claimed)"
    assert told["running"].endswith("(3 hours)")
    assert told["storing"] == "yes"
    assert told["held"] == "1 chunk of 1 segment, for 1 depositor; 0 records of names"
    assert told["quota"].startswith("1.0 GB: ")
    assert told["co-holders"] == "3, 1 missing"
    assert told["healing"] == "4 segments not whole, 2 of them beyond repair: fewer than k chunks live"
    assert told["audits"].startswith("7 passed, 0 failed (0 proven)")
    table = [line.split() for line in lines[lines.index(next(line for line in lines if line[:7] == "traffic")) :]]
    assert ["served", "put", "1"] in [row[:3] for row in table]
    assert not any("audit" in row for row in table), "what did not occur is not told"


async def test_what_is_said_of_the_account(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_at(tmp_path) as (_, status):
        said = await status.look()
        assert said["tending"] is None
        assert "\ntended " not in status_text(said)
        tally = CaretakerTally(deposits=12, weak=1, names=2, restored_chunks=3, renewed_segments=1, failed_names=1)
        status.tending = lambda: asdict(tally) | {"locked": False}
        lines = status_text(await status.look()).splitlines()
        assert "account     unlocked: its drive is kept" in lines
        assert "drive       12 deposits, 1 of them not whole, 2 names; no round yet, under way" in lines
        told = "3 chunks restored, leases of 1 segment and 0 records of names renewed; 1 failure"
        assert f"tended      {told}" in lines
        assert not any(line.startswith("refused") for line in lines)
        tally.refusals = [
            {"code": "not_storing", "reason": "", "nodes": 2},
            {"code": "full", "reason": "\x1b", "nodes": 1},
        ]
        lines = status_text(await status.look()).splitlines()
        assert lines[lines.index(f"tended      {told}") + 1 :][:2] == [
            "refused     by 2 nodes, not storing",
            "refused     by 1 node, full: \\x1b",
        ]
        tally.last_round, tally.next_round, tally.lost_segments = 86_400, 2 * 86_400, 1
        lines = status_text(await status.look()).splitlines()
        times = "last 1970-01-02 00:00 UTC, next 1970-01-03 00:00 UTC"
        assert f"drive       12 deposits, 1 of them not whole; 1 segment beyond repair, 2 names; {times}" in lines
        status.tending = lambda: asdict(tally) | {"locked": True}
        assert "account     locked: archipel account unlock" in status_text(await status.look()).splitlines()


# Traffic


async def test_both_sides_count_the_same(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every byte of every connection, under the request that it was for."""
    segment = sample()
    async with bench(tmp_path) as it:
        await it.ask(Hello())
        await it.ask(put_message(segment, 0), segment.columns[0])
        for _ in range(2):
            await it.ask(Get(segment=segment.id, index=0, count=1))
        with pytest.raises(PeerRefused):
            await it.ask(Audit(segment=segment.id, index=5, block=0, nonce=bytes(16)))
        await trio.sleep(1000)  # the connections are closed
        ours, theirs = it.peers._traffic.by_kind, it.server._traffic.by_kind
        for kind in KINDS:
            assert (ours[kind].sent_bytes, ours[kind].received_bytes) == (
                theirs[kind].received_bytes,
                theirs[kind].sent_bytes,
            ), kind
            assert ours[kind].requests == theirs[kind].requests, kind
        counted = {kind: count.requests for kind, count in ours.items() if count.requests}
        assert counted == {"hello": 1, "put": 1, "get": 2, "audit": 1, "connection": 1}
        size = len(segment.columns[0])
        assert size < ours["put"].sent_bytes < size * 1.02 + 2000
        assert 2 * 131_088 < ours["get"].received_bytes < 2 * 131_088 * 1.02 + 2000
        assert 0 < ours["connection"].sent_bytes < 1000


async def test_what_breaks_off_is_counted_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    segment = sample()
    async with bench(tmp_path) as it:
        wire = await it.wire()
        await wire.send_header(put_message(segment, 0), len(segment.columns[0]))
        await wire.send_body(memoryview(segment.columns[0])[:200_000])
        await wire.close()
        await trio.sleep(1)
        served = it.server._traffic.by_kind
        before = served["connection"].received_bytes
        stranger = await it.host("10.0.0.4").dial(ADDRESS)
        await stranger.send_all(b"x" * 100)
        await stranger.aclose()
        await trio.sleep(1)
        assert served["put"].requests == 1
        assert 200_000 < served["put"].received_bytes < 210_000
        assert served["connection"].requests == 1, "a handshake that was not done is no connection"
        assert before < served["connection"].received_bytes <= before + 100
        with pytest.raises(PeerUnreachable):
            await it.peers.request(NOWHERE, Hello())
        assert it.peers._traffic.by_kind["hello"].requests == 0


async def test_a_request_that_comes_with_the_end_of_the_handshake(autojump_clock: MockClock, tmp_path: Path) -> None:
    """As it does on a fast line: its bytes are its own all the same."""
    async with bench(tmp_path) as it:
        stream = await it.host("10.0.0.3").dial(ADDRESS)
        channel = Channel.initiator(BOB, NETWORK.id, b"s" * 32, b"e" * 32)
        assert channel.next_event() is None
        await stream.send_all(channel.data_to_send())
        while channel.next_event() is None:
            channel.receive_data(await stream.receive_some())
        request = bytes(channel.send(Hello(), 0))
        await stream.send_all(bytes(channel.data_to_send()) + request)
        await stream.receive_some()
        await trio.sleep(1)
        assert it.server._traffic.by_kind["hello"].received_bytes == len(request)
        await stream.aclose()


def test_each_request_has_its_kind() -> None:
    assert {"hello", "have", "get", "put", "put_lease", "audit", "dial_back", "survey", "leases"} <= set(KINDS)
    assert Put.__name__.lower() in KINDS
