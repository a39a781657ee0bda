"""Commands that are killed, stopped or run twice at once: what was done is kept, and running again goes on.

No test here hopes to hit a moment: a fetch is held up by frozen nodes, a publish by a pipe that stays open.
"""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from node import devnet as local
from protocol.segment import SEGMENT_BYTES
from tests.e2e.processes import processes_of
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Net, Person, learn_secret, local_network, root_of, until, without_notes

FILES = 8
LEAST_BYTES, STEP_BYTES = 1_100_000, 10_000
"""The files' sizes: each is a segment of its own, and its chunks tell by their size which one."""
STATE_HEAD, STATE_RECORD = 49, 36
"""Bytes of the state in a .part folder: its beginning, and what notes one finished segment."""

INTERRUPTED = "archipel: error: interrupted\nhint: what was done is kept: run the same command again to go on\n"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with local_network(tmp_path_factory.mktemp("interrupted"), nodes=4) as net:
        yield net


@dataclass(frozen=True)
class Stuck:
    """A deposit whose fetch comes to a halt, since two nodes are frozen."""

    net: Net
    source: Path
    link: str
    files: int
    """Files that can be had, one after the other, before the one that cannot."""
    frozen: frozenset[str]

    @property
    def bytes_before(self) -> int:
        return sum(_size(number) for number in range(self.files))

    def wait(self, destination: Path) -> None:
        """Until a fetch to ``destination`` has all that can be had."""
        state = destination.with_name(destination.name + ".part") / "state"
        until(lambda: state.exists() and state.stat().st_size == STATE_HEAD + self.files * STATE_RECORD)

    def thaw(self) -> None:
        local.send([node for node in self.net.nodes if node.name in self.frozen], signal.SIGCONT)


@pytest.fixture
def stuck(net: Net, tmp_path: Path) -> Iterator[Stuck]:
    """Each segment has copies on two of four nodes. Frozen are two that hold one of the later files between them, and
    neither the first file nor the root. Chance places segments, so that it may take more than one publish."""
    source = tmp_path / "source"
    for number in range(FILES):
        write(source / f"file-{number}", random_bytes(number, _size(number)))
    publisher = net.person(tmp_path / "publisher")
    for _ in range(20):
        before = set(net.chunks())
        link = publisher.publish(source, "--shares", "1/2", "--fresh")["link"]
        holders = {segment: frozenset(net.holders(segment)) for segment in set(net.chunks()) - before}
        root = holders.pop(root_of(link))
        files = {_number(net, segment): pair for segment, pair in holders.items()}
        assert sorted(files) == list(range(FILES))
        late = next((number for number in files if files[number] not in (root, files[0])), None)
        if late is not None:
            break
    assert late is not None
    first = min(number for number in files if files[number] == files[late])
    stuck = Stuck(net, source, link, first, files[late])
    local.send([node for node in net.nodes if node.name in stuck.frozen], signal.SIGSTOP)
    try:
        yield stuck
    finally:
        stuck.thaw()


def _size(number: int) -> int:
    return LEAST_BYTES + number * STEP_BYTES


def _number(net: Net, segment: str) -> int:
    """Which file a segment is of."""
    return (net.chunk_file(segment, 0).stat().st_size - LEAST_BYTES) // STEP_BYTES


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_fetch_that_was_ended_goes_on(stuck: Stuck, net: Net, tmp_path: Path, how: signal.Signals) -> None:
    bob, copy = net.person(tmp_path / "bob"), tmp_path / "copy"
    with bob.start("fetch", stuck.link, "-o", copy) as fetch:
        stuck.wait(copy)
        assert "another fetch is writing" in bob.run("fetch", stuck.link, "-o", copy, code=4).err
        fetch.signal(how)
        told = fetch.finish(code=-how if how is signal.SIGKILL else 130)
    assert told.err.lstrip("\n") == ("" if how is signal.SIGKILL else INTERRUPTED)
    assert not copy.exists(), "it appears whole or not at all"
    stuck.thaw()
    fetched = bob.json("fetch", stuck.link, "-o", copy)
    assert fetched["resumed_bytes"] == stuck.bytes_before > 0
    assert fetched["received_bytes"] < fetched["bytes"] - stuck.bytes_before + 200_000, "the rest, and the root"
    assert snapshot(copy) == snapshot(stuck.source)
    assert not copy.with_name("copy.part").exists()


@pytest.mark.parametrize(("how", "options"), [(signal.SIGKILL, ()), (signal.SIGINT, ("--fresh",))])
def test_a_publish_that_was_ended_goes_on(
    net: Net, tmp_path: Path, how: signal.Signals, options: tuple[str, ...]
) -> None:
    alice, bob = net.person(tmp_path / "alice"), net.person(tmp_path / "bob")
    content = random_bytes(41, SEGMENT_BYTES + 2_000_000)
    arguments = ("publish", "-", "--name", "stream", *options)
    before = set(net.chunks())

    def first_segment_is_stored() -> bool:
        return any(len(indices) == 12 for segment, indices in net.chunks().items() if segment not in before)

    with alice.start(*arguments) as publish:
        publish.feed(content[: SEGMENT_BYTES + 1_000_000])
        until(first_segment_is_stored)
        assert publish.running, "it waits for the rest"
        publish.signal(how)
        until(lambda: not publish.running)  # though its standard input is open
        told = publish.finish(code=-how if how is signal.SIGKILL else 130)
    assert without_notes(told.err) == ("" if how is signal.SIGKILL else INTERRUPTED)
    published = alice.publish(*arguments[1:], stdin=content)
    assert 0 < published["sent_bytes"] < 4_000_000, "the first 16 MiB are there already"
    assert published["placed"] == published["chunks"]
    assert bob.run("fetch", published["link"], "-o", "-").out == content
    again = alice.publish(*arguments[1:], stdin=content)
    assert (again["link"] == published["link"]) is (not options), "a --fresh publish that ended well is over"


def test_two_publishes_of_the_same_at_once(net: Net, tmp_path: Path) -> None:
    alice = net.person(tmp_path / "alice")
    with alice.start("publish", "-", "--name", "stream") as publish:
        publish.feed(b"the beginning, ")
        until(lambda: _attempts(alice.home / "deposits.sqlite") == 1)
        assert "being published already" in alice.run("publish", "-", "--name", "stream", code=4).err
        alice.run("publish", "-", "--name", "another stream", stdin=b"is no trouble")
        publish.feed(b"the end")
        learn_secret(publish.finish(code=0).text.strip())
    alice.run("publish", "-", "--name", "stream", stdin=b"now it is free")


def _attempts(journal: Path) -> int:
    if not journal.exists():
        return 0
    with closing(sqlite3.connect(journal, timeout=5)) as db:
        try:
            return len(db.execute("SELECT source FROM attempt").fetchall())
        except sqlite3.OperationalError:  # the table is not there yet
            return 0


def test_fetches_of_the_same_to_two_places_at_once(net: Net, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, random_bytes(43, 5_000_000))
    link = net.person(tmp_path / "alice").publish(source)["link"]
    bob = net.person(tmp_path / "bob")
    with ExitStack() as stack:
        places = [tmp_path / f"copy {number}" for number in range(3)]
        for fetch in [stack.enter_context(bob.start("fetch", link, "-o", place)) for place in places]:
            fetch.finish(code=0)
    assert all(snapshot(place) == snapshot(source) for place in places)


def test_a_network_that_is_stopped_while_it_comes_up(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    with Person(tmp_path / "operator").start("devnet", "up", "--nodes", "6", "--dir", folder) as up:
        until((folder / "node-6" / "log").exists)
        assert processes_of(folder)
        up.signal(signal.SIGINT)
        up.finish(code=130)
    assert not [pid for pid in processes_of(folder) if _alive(pid)]
    assert not (folder / "devnet.json").exists()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
