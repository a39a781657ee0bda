"""Disks that are full in the midst of it: a node's, a publisher's, a reader's."""

import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from node.fetching import restore
from node.net.wire import Wire
from node.store.chunkfile import ChunkFile, parse_name
from node.store.putting import DISK_HEADROOM_BYTES
from protocol.ids import SegmentId
from protocol.messages import ErrorReply, Put, PutReply
from protocol.segment import SEALED_BLOCK_BYTES, SEGMENT_BYTES, Shares
from tests.e2e.disk import TinyDisk, tiny_disk
from tests.e2e.meter import MIB
from tests.e2e.talk import answer, ask, connection, key_of
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import NodeProcess, Nodes, Person, learn_secret, until
from tests.node.builders import DAY, NETWORK, Sample, files_charge, lease_for, sample
from tests.node.serving import put_message

CONTENT = random_bytes(101, SEGMENT_BYTES + 4 * MIB)
"""Two segments: the first is stored before the disk fills, the second comes after."""
FILES = 12
FILE_BYTES = 1_100_000
"""Files of this size are a segment each."""


def start_on(disk: TinyDisk, nodes: Nodes, *more: str, listen: str = "127.0.0.1:0") -> NodeProcess:
    """A node whose data is on the tiny disk, with a quota far beyond it."""
    data = ("--data", str(disk.folder / "data"))
    return nodes.start("small", "--quota", "1GB", *data, *more, listen=listen, within=disk.within)


def chunk_files(data: Path) -> set[tuple[SegmentId, int]]:
    """The chunks in a node's data folder, every block of which is read and found good; no draft lies there."""
    assert not list((data / "tmp").iterdir())
    found = set()
    buffer = memoryview(bytearray(SEALED_BLOCK_BYTES))
    for path in (data / "chunks").glob("*/*"):
        name = parse_name(path.name)
        assert name is not None
        segment, index = name
        if index is not None:
            with closing(ChunkFile.open(path, segment, index)) as file:
                for block in range(file.blocks):
                    file.read_into(block, 1, buffer)
            found.add((segment, index))
    return found


def indexed(data: Path) -> set[tuple[SegmentId, int]]:
    """The chunks that a node's index knows. SQLite follows links to their end, and would look for it on our own disk:
    so it is given a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (data / "index.sqlite", data / "index.sqlite-wal"):
            if path.exists():
                shutil.copy(path, folder)
        with closing(sqlite3.connect(f"{folder}/index.sqlite")) as db:
            return {(SegmentId(segment), index) for segment, index in db.execute("SELECT segment, idx FROM chunk")}


async def test_a_disk_that_fills_in_mid_put(nodes: Nodes, tmp_path: Path) -> None:
    """Refused, and forgotten; what came before is kept, what comes after is taken."""
    nodes.network = NETWORK.name
    with tiny_disk(tmp_path / "disk", 32 * MIB) as disk:
        node = start_on(disk, nodes)
        data = disk.seen / "data"
        kept, torn = sample(1), sample(2, 8 * MIB, Shares(1, 1))
        async with connection(node, NETWORK) as wire:
            assert isinstance(await ask(wire, *_put(kept, wire)), PutReply)
            message, body = _put(torn, wire)
            await wire.send_header(message, len(body))
            await wire.send_body(memoryview(body)[: len(body) // 2])
            until(lambda: any(path.stat().st_size for path in (data / "tmp").iterdir()))
            disk.fill(node.process.pid)
            await wire.send_body(memoryview(body)[len(body) // 2 :])
            refused = await answer(wire)
            assert isinstance(refused, ErrorReply)
            assert refused.text == disk.full
            assert chunk_files(data) == indexed(data) == {(kept.id, 0)}
            disk.free(node.process.pid)
            assert isinstance(await ask(wire, message, body), PutReply)
        assert node.stop() == 0
        assert chunk_files(data) == indexed(data) == {(kept.id, 0), (torn.id, 0)}
        assert node.log.read_text() == ""


def _put(segment: Sample, wire: Wire) -> tuple[Put, bytes]:
    _, lease = lease_for(segment, expiry=time.time() + DAY)
    return put_message(segment, 0, lease, holder=key_of(wire)), segment.columns[0]


def fill_in_mid_publish(
    alice: Person, disk: TinyDisk, node: NodeProcess, stored: Callable[[], bool], *options: str, code: int
) -> str:
    """Publish ``CONTENT`` from a pipe; once its first segment is ``stored``, the disk has room for less than a chunk.

    Returns:
        The link, if it came to that; else what was said.
    """
    with alice.start("publish", "-", "--name", "content", *options) as publish:
        publish.feed(CONTENT[: SEGMENT_BYTES + 1])  # more is to come: so the first segment goes
        until(stored)
        disk.fill(node.process.pid, but=MIB // 4)
        result = publish.finish(code=code, stdin=CONTENT[SEGMENT_BYTES + 1 :])
    if code:
        return result.err
    learn_secret(result.text.strip())
    return result.text.strip()


def test_others_take_over_from_a_node_whose_disk_is_full(nodes: Nodes, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 48 * MIB) as disk:
        first = nodes.start("first")
        small = start_on(disk, nodes, "-vv", "--join", first.address)
        alice, bob = nodes.person("alice", first), nodes.person("bob", first)
        folders = [disk.seen / "data", nodes.folder / "first"]

        def stored() -> bool:
            return sum(len(indexed(data)) for data in folders) == 12

        link = fill_in_mid_publish(alice, disk, small, stored, code=0)
        assert disk.refused in small.log.read_text()
        assert bob.run("fetch", link, "-o", "-").out == CONTENT
        assert small.stop() == 0
        assert 0 < len(indexed(folders[0])) < 12
        assert chunk_files(folders[0]) == indexed(folders[0])


def test_a_full_disk_and_nobody_else(nodes: Nodes, tmp_path: Path) -> None:
    """The publisher is told; the node keeps what it had, and goes on where it was once there is room."""
    with tiny_disk(tmp_path / "disk", 64 * MIB) as disk:
        small = start_on(disk, nodes)
        alice, bob = nodes.person("alice", small), nodes.person("bob", small)
        data = disk.seen / "data"
        told = fill_in_mid_publish(alice, disk, small, lambda: len(indexed(data)) == 3, "--shares", "2/3", code=4)
        assert "placed 0 of 3 chunks of a segment, 3 are needed" in told
        assert disk.refused in told
        assert "add nodes or space; what is stored is not sent twice" in told

        assert small.stop() == 0
        held = indexed(data)
        assert len(held) == 3, "not one chunk of the second segment"
        assert chunk_files(data) == held
        again = start_on(disk, nodes, listen=small.address)
        assert again.said["used_bytes"] == files_charge(data)
        disk.free(again.process.pid)
        published = alice.publish("-", "--name", "content", "--shares", "2/3", stdin=CONTENT)
        assert 0 < published["sent_bytes"] < SEGMENT_BYTES, "the first segment was there"
        assert bob.run("fetch", published["link"], "-o", "-").out == CONTENT


def test_a_disk_that_chunks_have_filled(nodes: Nodes, tmp_path: Path) -> None:
    """The node keeps back what it takes to end leases: so a depositor can make room. But when somebody else has taken
    the last byte, whoever wants something changed is told why it cannot be."""
    with tiny_disk(tmp_path / "disk", 16 * MIB) as disk:
        small = start_on(disk, nodes)
        alice = nodes.person("alice", small)
        write(tmp_path / "source", random_bytes(103, 3 * MIB))
        first = alice.publish(tmp_path / "source", "--shares", "1/1")["link"]
        second = alice.publish(tmp_path / "source", "--shares", "1/1", "--fresh")["link"]
        disk.fill(small.process.pid)
        for command, code in (("renew", 4), ("delete", 3)):
            assert disk.full in alice.run(command, first, code=code).err
        assert alice.json("check", first)["healthy"]
        disk.free(small.process.pid)
        if disk.keeper is not None:
            told = alice.run("publish", tmp_path / "source", "--shares", "1/1", "--fresh", code=4).err
            assert "too little space" in told
            disk.fill(small.process.pid, but=DISK_HEADROOM_BYTES)
        alice.run("renew", second, "--lease", "365d")
        alice.run("delete", first)
        assert chunk_files(disk.seen / "data") == indexed(disk.seen / "data")
        disk.free(small.process.pid)
        alice.publish(tmp_path / "source", "--shares", "1/1", "--fresh")
        assert small.log.read_text() == ""


def test_a_reader_whose_disk_fills(nodes: Nodes, tmp_path: Path) -> None:
    """What has come is kept, and the same command goes on with it. Nothing stands at the destination before."""
    source = tmp_path / "source"
    for number in range(FILES):
        write(source / f"file-{number}", random_bytes(number, FILE_BYTES))
    node = nodes.start("node")
    alice = nodes.person("alice", node)
    link = alice.publish(source, "--shares", "1/1")["link"]
    with tiny_disk(tmp_path / "disk", 32 * MIB) as disk:
        copy = disk.folder / "copy"
        state = disk.seen / "copy.part" / "state"
        with alice.start("--json", "fetch", link, "-o", copy, within=disk.within) as fetch:
            until(lambda: state.exists() and state.stat().st_size > restore._HEAD_BYTES)
            node.process.send_signal(signal.SIGSTOP)  # what is on its way arrives yet, but no more
            disk.fill(fetch.process.pid)
            node.process.send_signal(signal.SIGCONT)
            told = fetch.finish(code=7).err
        assert "cannot write" in told
        assert disk.full in told
        assert not (disk.seen / "copy").exists()
        disk.free(fetch.process.pid)
        with alice.start("--json", "fetch", link, "-o", copy, within=disk.within) as fetch:
            fetched = fetch.finish(code=0).fields
        assert FILE_BYTES <= fetched["resumed_bytes"] < fetched["bytes"]
        assert snapshot(disk.seen / "copy") == snapshot(source)
        assert not state.parent.exists()


def test_a_home_on_a_full_disk(nodes: Nodes, tmp_path: Path) -> None:
    """What cannot be remembered, and so neither renewed nor deleted, is not published."""
    node = nodes.start("node")
    alice = nodes.person("disk/home", node)
    write(tmp_path / "source", random_bytes(104, 100_000))
    with tiny_disk(tmp_path / "disk", MIB) as disk:
        for room, reason in ((0, "cannot write "), (32 * 1024, "cannot use the journal ")):
            with alice.start("publish", tmp_path / "source", within=disk.within) as publish:
                disk.fill(publish.process.pid, but=room)
                assert reason in publish.finish(code=7).err
                disk.free(publish.process.pid)
    assert not list((tmp_path / "node" / "chunks").iterdir())
