"""Nodes that die, freeze, rot or are raided; from harmless to hopeless, on one network, in order."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node import devnet as local
from tests.e2e.trees import Snapshot, random_bytes, snapshot, write
from tests.e2e.world import Net, Person, local_network, root_of

N, K = 12, 8


@dataclass(frozen=True)
class Stored:
    """A deposit on a network of twelve nodes: each holds one chunk of its one full segment."""

    net: Net
    link: str
    root: str
    segment: str
    content: Snapshot


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("losses")
    write(folder / "file", random_bytes(51, 9_000_000))
    with local_network(folder, nodes=N) as net:
        link = net.person(folder / "alice").publish(folder / "file")["link"]
        (segment,) = set(net.chunks()) - {root_of(link)}
        assert len(net.holders(segment)) == N
        yield Stored(net, link, root_of(link), segment, snapshot(folder / "file"))


@pytest.fixture
def bob(stored: Stored, tmp_path: Path) -> Person:
    return stored.net.person(tmp_path / "bob")


def _segment(health: dict[str, list[dict[str, object]]], segment: str) -> dict[str, object]:
    return next(item for item in health["segments"] if item["id"] == segment)


def test_frozen_holders_cost_little_time(stored: Stored, bob: Person, tmp_path: Path) -> None:
    calm = bob.json("fetch", stored.link, "-o", tmp_path / "calm")["seconds"]
    holders = [stored.net.chunks()[stored.segment][index][0] for index in (0, 3, 7)]
    frozen = [node for node in stored.net.nodes if node.name in holders]
    local.send(frozen, signal.SIGSTOP)
    try:
        copies = [tmp_path / "copy", tmp_path / "another"]
        took = [bob.json("fetch", stored.link, "-o", copy)["seconds"] for copy in copies]
    finally:
        local.send(frozen, signal.SIGCONT)
    assert min(took) < calm + 5, "the machine may be busy with something else, but hardly twice"
    assert snapshot(tmp_path / "copy") == snapshot(tmp_path / "calm") == stored.content


def test_a_chunk_that_rotted_is_noticed_and_dropped(stored: Stored, bob: Person, tmp_path: Path) -> None:
    net = stored.net
    file = net.chunk_file(stored.segment, 2)
    (holder,) = net.chunks()[stored.segment][2]
    with file.open("r+b") as handle:
        handle.seek(150_000)
        byte = handle.read(1)
        handle.seek(150_000)
        handle.write(bytes([byte[0] ^ 1]))
    bob.run("fetch", stored.link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == stored.content
    assert "is damaged and has been dropped: block 1 has rotted" in net.log(holder)
    assert not file.exists()
    health = bob.json("check", stored.link)
    assert not health["healthy"]
    assert _segment(health, stored.segment)["live"] == N - 1
    assert health["survives"]["nodes"] == N - 1 - K


def test_publishing_again_restores_what_was_lost(stored: Stored, bob: Person) -> None:
    folder = stored.net.folder.parent
    again = stored.net.person(folder / "alice").publish(folder / "file")
    assert again["link"] == stored.link
    assert again["sent_bytes"] == 9 * (131_072 + 16), "one chunk"
    health = bob.json("check", stored.link)
    assert health["healthy"]
    assert health["survives"]["nodes"] == 4


def test_a_country_is_raided(stored: Stored, bob: Person, tmp_path: Path) -> None:
    stored.net.devnet("raid", "is")
    bob.run("fetch", stored.link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == stored.content
    health = bob.json("check", stored.link)
    assert _segment(health, stored.segment)["countries"] == {"DE": 3, "FR": 3, "NZ": 3}
    assert health["survives"]["nodes"] == 1
    assert health["survives"]["not_country"] == ["DE", "FR", "NZ"]


def test_four_of_twelve_are_gone(stored: Stored, bob: Person, tmp_path: Path) -> None:
    stored.net.devnet("kill", "--node", _expendable(stored))
    began = time.monotonic()
    bob.run("fetch", stored.link, "-o", tmp_path / "copy")
    assert time.monotonic() - began < 20
    assert snapshot(tmp_path / "copy") == stored.content
    assert bob.json("check", stored.link)["survives"]["nodes"] == 0


def test_five_of_twelve_are_gone(stored: Stored, bob: Person, tmp_path: Path) -> None:
    stored.net.devnet("kill", "--node", _expendable(stored))
    told = bob.run("fetch", stored.link, "-o", tmp_path / "copy", code=3)
    assert "have 7 of 8 chunks of a segment" in told.err
    assert "IS: 3 connection refused" in told.err, "who was asked, and why each failed"
    assert "hint: " in told.err
    assert not (tmp_path / "copy").exists()
    check = bob.run("--json", "check", stored.link, code=3)
    assert _segment(check.fields, stored.segment)["live"] == K - 1
    assert check.fields["survives"]["nodes"] == -1
    assert "1 of 2 segments have fewer than k live chunks" in check.err


def _expendable(stored: Stored) -> str:
    """A running node without which the root can still be had."""
    running = [node.name for node in stored.net.nodes if node.state == "running"]
    holders = stored.net.holders(stored.root)
    return next(name for name in running if holders & set(running) - {name})
