"""A node with rate limits, over the command line: what it takes and gives takes its time."""

from pathlib import Path

from tests.e2e.trees import random_bytes
from tests.e2e.world import Nodes

RATE = 400_000
SIZE = 400_000
LEAST_SECONDS = (SIZE - 0.15 * RATE) / RATE
"""What 0.15 seconds bring may be saved up."""


def test_a_node_keeps_to_its_rates(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random_bytes(1, SIZE))
    node = nodes.start("slow", "--up", "400KB", "--down", f"{RATE}")
    alice = nodes.person("alice", node)
    published = alice.publish("--shares", "1/1", str(tmp_path / "file"))
    assert published["seconds"] >= LEAST_SECONDS
    fetched = alice.json("fetch", published["link"], "-o", str(tmp_path / "copy"))
    assert fetched["seconds"] >= LEAST_SECONDS
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
