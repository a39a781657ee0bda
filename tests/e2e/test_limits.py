"""Few file descriptors: a process takes on what it can serve, says what it lacks, and goes on when there are more."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from protocol.identity import Network
from protocol.ids import PublicKey, SegmentId
from protocol.messages import ErrorCode, ErrorReply, Get, GetReply, Have, HaveReply
from tests.e2e.meter import cpu_seconds, descriptors
from tests.e2e.talk import address_of, ask, connection
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Net, NodeProcess, Nodes, root_of, until

FEW = 64
VERY_FEW = 20
"""A command has a dozen open before it makes its first connection."""
FILES = 300


def with_descriptors(limit: int) -> tuple[str, ...]:
    """A command that becomes another, which may have so many files and sockets open."""
    return "sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh"


@contextmanager
def silent(node: NodeProcess, count: int) -> Iterator[None]:
    """So many connections on which nothing is said."""
    where = address_of(node)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((where.host, where.port), 10))
        yield


def test_a_node_with_few_descriptors(nodes: Nodes, tmp_path: Path) -> None:
    """It accepts no more connections than it can serve, so that accepting never fails."""
    node = nodes.start("node", within=with_descriptors(FEW))
    write(tmp_path / "source", random_bytes(91, 5_000_000))
    people = [nodes.person(name, node) for name in ("alice", "bob")]
    with silent(node, 3 * FEW), ExitStack() as stack:
        link = people[0].publish(tmp_path / "source", "--shares", "1/1")["link"]
        copies = {person: tmp_path / f"copy of {person.home.name}" for person in people}
        started = [stack.enter_context(who.start("fetch", link, "-o", copy)) for who, copy in copies.items()]
        for fetch in started:
            fetch.finish(code=0)
        assert descriptors(node.process.pid) < FEW
    assert all(snapshot(copy) == snapshot(tmp_path / "source") for copy in copies.values())
    assert node.log.read_text() == ""
    assert node.stop() == 0


async def test_a_node_that_has_no_descriptor_left(nodes: Nodes, tmp_path: Path) -> None:
    """As when the whole system has none: it waits without spinning, says so once, and answers those who are in."""
    node = nodes.start("node")
    pid = node.process.pid
    write(tmp_path / "source", random_bytes(92, 3_000_000))
    link = nodes.person("alice", node).publish(tmp_path / "source", "--shares", "1/1")["link"]
    root = SegmentId(bytes.fromhex(root_of(link)))
    have = Have(depositor=PublicKey(bytes(32)), deposit=bytes(16), segments=(root,))
    get = Get(segment=root, index=0, first=0, count=1, proof=True)
    async with connection(node, Network(nodes.network)) as wire:
        assert isinstance(await ask(wire, get), GetReply)
        soft = descriptors(pid) + 4
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, before[1]))
        with silent(node, 20):
            until(lambda: descriptors(pid) == soft)
            used = cpu_seconds(pid)
            await trio.sleep(2)  # this long it finds no room, again and again
            assert cpu_seconds(pid) - used < 0.5
            reply = await ask(wire, have)
            assert isinstance(reply, HaveReply)
            assert reply.held[0].indices == b"\0"
            refused = await ask(wire, get)
            assert isinstance(refused, ErrorReply)
            assert (refused.code, refused.text) == (ErrorCode.DISK, "Too many open files")
        until(lambda: descriptors(pid) < soft)
        assert isinstance(await ask(wire, get), GetReply), "it took that for no damage"
    said = node.log.read_text().splitlines()
    assert len(said) == 1
    assert said[0].endswith("WARNING cannot accept connections: Too many open files")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    await trio.to_thread.run_sync(lambda: nodes.person("bob", node).run("fetch", link, "-o", tmp_path / "copy"))
    assert snapshot(tmp_path / "copy") == snapshot(tmp_path / "source")
    assert node.stop() == 0


def test_a_client_with_few_descriptors(calm: Net, tmp_path: Path) -> None:
    """Twelve nodes and hundreds of files, over a handful of connections: nobody is called unreachable for it."""
    source = tmp_path / "source"
    for number in range(FILES):
        write(source / f"{number % 7}" / f"file-{number}", random_bytes(number, 40_000))
    alice = calm.person(tmp_path / "alice")
    within = with_descriptors(VERY_FEW)
    with alice.start("--json", "publish", source, within=within) as command:
        published = command.finish(code=0).fields
    assert published["placed"] == published["chunks"]
    with alice.start("--json", "check", published["link"], within=within) as command:
        assert command.finish(code=0).fields["healthy"]
    with alice.start("fetch", published["link"], "-o", tmp_path / "copy", within=within) as command:
        command.finish(code=0)
    assert snapshot(tmp_path / "copy") == snapshot(source)
