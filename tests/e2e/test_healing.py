"""Real nodes that heal what was lost while one looks on: raided, left, and all there again. One network, in order.

What they do, and when, is shown in virtual time: tests/network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.trees import Snapshot, random_bytes, snapshot, write
from tests.e2e.world import Json, Net, Person, local_network, until

K, N, NODES = 4, 8, 8
"""A chunk to each node, two to a country. With two of them gone there is some grace, in which `check` can be asked."""
QUICK = '[intervals]\nping = "1s"\ngrace = "3s"\nshort_grace = "3s"\nrank = "2s"\n'
HEALED_SECONDS = 40.0
"""Far more than the seven it takes: two pings without answer, the grace, a lookup, some puts."""


@dataclass(frozen=True)
class Stored:
    """A deposit of two segments, its content and its root, on nodes that heal."""

    net: Net
    link: str
    content: Snapshot


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("healing")
    write(folder / "file", random_bytes(71, 3_000_000))
    write(folder / "operator" / "config.toml", QUICK.encode())
    with local_network(folder, nodes=NODES, heals=True) as net:
        link = net.person(folder / "alice").publish(folder / "file", "--shares", f"{K}/{N}")["link"]
        yield Stored(net, link, snapshot(folder / "file"))


@pytest.fixture
def bob(stored: Stored, tmp_path: Path) -> Person:
    return stored.net.person(tmp_path / "bob")


def _until_whole(stored: Stored, who: Person) -> Json:
    """Check until every chunk is live; what was said then. No country has more than the policy allows."""
    told: list[Json] = []

    def whole() -> bool:
        told.append(who.json("check", stored.link))
        return bool(told[-1]["healthy"])

    until(whole, seconds=HEALED_SECONDS)
    for segment in told[-1]["segments"]:
        assert max(segment["countries"].values()) <= segment["n"] - segment["k"], segment
    return told[-1]


def test_a_country_is_raided_and_what_it_held_is_rebuilt(stored: Stored, bob: Person) -> None:
    stored.net.devnet("raid", "FR")
    health = _until_whole(stored, bob)
    assert all("FR" not in segment["countries"] and not segment["repairing"] for segment in health["segments"])


def test_a_node_leaves_while_somebody_fetches(stored: Stored, bob: Person, tmp_path: Path) -> None:
    running = {node.name: node for node in stored.net.nodes if node.state == "running"}
    before = stored.net.chunks()
    holders = [name for held in before.values() for names in held.values() for name in names]
    leaver = running[holders[0]]
    with bob.start("fetch", stored.link, "-o", tmp_path / "copy") as fetch:
        told = stored.net.operator.json("node", "leave", "--data", leaver.data)
        after = stored.net.chunks()
        fetch.finish(code=0)
    assert (told["moved"], told["left"]) == (holders.count(leaver.name), 0)
    assert {segment: held.keys() for segment, held in after.items()} == {
        segment: held.keys() for segment, held in before.items()
    }, "each chunk was somewhere at every moment"
    until(lambda: leaver.state == "dead")
    assert not list(Path(leaver.data).glob("chunks/*/*"))
    assert snapshot(tmp_path / "copy") == stored.content
    _until_whole(stored, bob)
