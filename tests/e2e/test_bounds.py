"""Memory: what a node takes when peers announce more than they send, and a client for every file more."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from node.net.wire import Wire
from protocol.framing import LENGTH_BYTES
from protocol.messages import Get, Hello, Put, PutReply, encode_message
from protocol.noise import TAG_BYTES
from protocol.segment import SEGMENT_BYTES, Shares
from tests.e2e.meter import MIB, peak_bytes, resident_bytes
from tests.e2e.talk import ask, connection, key_of
from tests.e2e.trees import write
from tests.e2e.world import Net, NodeProcess, Nodes, Person, learn_secret
from tests.node.builders import DAY, NETWORK, Sample, lease_for, sample
from tests.node.serving import put_message

GREEDY = 100
NODE_BYTES = 100 * MIB
"""What a node takes, whatever peers do."""
FEW, MANY = 1_000, 9_000
PUBLISH_BYTES_A_FILE, LIST_BYTES_A_FILE, FETCH_BYTES_A_FILE = 1_000, 750, 750
MEASURED = """import os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command, and writes to a file how much memory it had at most."""

LARGE = sample(1, SEGMENT_BYTES, Shares(1, 1))
HELD = sample(2, 8 * MIB, Shares(1, 1))


async def half_a_record(wire: Wire) -> None:
    """65,535 bytes are announced, and a few less come."""
    await wire._stream.send_all(b"\xff\xff" + bytes(65_000))


async def a_body_of_4_gib(wire: Wire) -> None:
    """Of a request that has none. What is signed with the channel's keys need not obey its rules."""
    channel = wire._channel
    header = b"\xff\xff\xff\xff" + encode_message(Hello(record=b""))
    record = bytearray(LENGTH_BYTES + len(header) + TAG_BYTES)
    assert channel._sender is not None
    channel._encrypt(channel._sender, header, memoryview(record))
    await wire._stream.send_all(bytes(record))


async def a_put_without_its_body(wire: Wire) -> None:
    """Right in every way, and 16 MiB large; of which one block comes."""
    await wire.send_header(_put_of(LARGE, wire), len(LARGE.columns[0]))
    await wire.send_body(memoryview(LARGE.columns[0])[:100_000])


async def a_get_whose_reply_nobody_reads(wire: Wire) -> None:
    await wire.send(Get(segment=HELD.id, index=0, first=0, count=64, proof=True))


def _put_of(segment: Sample, wire: Wire) -> Put:
    return put_message(segment, 0, lease_for(segment, expiry=time.time() + DAY)[1], holder=key_of(wire))


async def test_peers_that_announce_more_than_they_send(nodes: Nodes) -> None:
    nodes.network = NETWORK.name
    node = nodes.start("node")
    async with connection(node, NETWORK) as wire:
        assert isinstance(await ask(wire, _put_of(HELD, wire), HELD.columns[0]), PutReply)
        before = resident_bytes(node.process.pid)
        await _be_greedy(node)
        assert isinstance(await ask(wire, _put_of(LARGE, wire), LARGE.columns[0]), PutReply)
    assert peak_bytes(node.process.pid) < NODE_BYTES
    assert peak_bytes(node.process.pid) < before + 40 * MIB
    assert node.stop() == 0
    assert node.log.read_text() == ""


async def _be_greedy(node: NodeProcess) -> None:
    """All at once, until the node has seen what each of them sent."""
    kinds: list[Callable[[Wire], Awaitable[None]]] = [
        half_a_record,
        a_body_of_4_gib,
        a_put_without_its_body,
        a_get_whose_reply_nobody_reads,
    ]
    sent = trio.Event()
    waiting = GREEDY

    async def one(greed: Callable[[Wire], Awaitable[None]]) -> None:
        nonlocal waiting
        async with connection(node, NETWORK) as wire:
            await greed(wire)
            waiting -= 1
            if not waiting:
                sent.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(GREEDY):
            nursery.start_soon(one, kinds[number % len(kinds)])
        with trio.fail_after(30):
            await sent.wait()
        async with connection(node, NETWORK) as wire:
            await a_body_of_4_gib(wire)
            with trio.fail_after(10):
                assert await wire._stream.receive_some(1) == b"", "whoever lies about lengths is hung up on"
        nursery.cancel_scope.cancel()


def peak_of(person: Person, *arguments: str | Path) -> tuple[int, str]:
    """The most memory that a command took, and what it printed."""
    told = person.home.with_suffix(".peak")
    within = (sys.executable, "-c", MEASURED, str(told))
    with person.start(*arguments, within=within) as command:
        out = command.finish(code=0).text
    return int(told.read_text()) * 1024, out


@pytest.fixture
def folders(tmp_path: Path) -> dict[int, Path]:
    """Folders of so many small files."""
    found = {count: tmp_path / f"{count}" for count in (FEW, MANY)}
    for count, folder in found.items():
        for number in range(count):
            write(folder / f"{number // 1_000}" / f"a file {number:05}.txt", b"%d" % number)
    return found


def test_many_small_files(calm: Net, folders: dict[int, Path], tmp_path: Path) -> None:
    """Memory grows with the number of files, since a table of contents is read as a whole: but not by much for each."""
    peaks: dict[int, list[int]] = {}
    for count, folder in folders.items():
        alice, bob = calm.person(tmp_path / f"alice-{count}"), calm.person(tmp_path / f"bob-{count}")
        published, out = peak_of(alice, "publish", folder)
        link = out.strip()
        learn_secret(link)
        listed, out = peak_of(bob, "--json", "ls", link)
        paths = [entry["path"] for entry in json.loads(out)["entries"] if entry["kind"] == "file"]
        assert paths == sorted(str(path.relative_to(tmp_path)) for path in folder.glob("*/*"))
        fetched, _ = peak_of(bob, "fetch", link, "-o", tmp_path / f"copy-{count}")
        peaks[count] = [published, listed, fetched]
    publishing, listing, fetching = ((peaks[MANY][at] - peaks[FEW][at]) / (MANY - FEW) for at in range(3))
    assert publishing < PUBLISH_BYTES_A_FILE
    assert listing < LIST_BYTES_A_FILE
    assert fetching < FETCH_BYTES_A_FILE
