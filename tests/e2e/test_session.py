"""The main job, as README.md shows it: publish, lose a country, fetch every byte."""

import shlex
from pathlib import Path

from node.intervals import Intervals
from tests.e2e.processes import processes_of
from tests.e2e.trees import make_island, snapshot, write
from tests.e2e.world import Person, end_network, learn_secret


def test_a_session(tmp_path: Path) -> None:
    island = tmp_path / "island"
    make_island(island)
    home = tmp_path / "publisher"
    publisher = Person(home)
    write(home / "config.toml", Intervals().settings().encode())  # a real network's: nothing heals as fast as we look
    try:
        up = publisher.run("devnet", "up", "--nodes", "12", "--countries", "FR,DE,NZ,IS")
        variables = _exported(up.text)
        assert list(variables) == ["ARCHIPEL_NETWORK", "ARCHIPEL_JOIN"]
        assert len(variables["ARCHIPEL_JOIN"].split(",")) == 12
        join = tuple(variables["ARCHIPEL_JOIN"].split(","))
        publisher = Person(home, variables["ARCHIPEL_NETWORK"], join)
        _publish_lose_fetch(publisher, island, tmp_path)
        down = publisher.run("devnet", "down")
        assert down.err == "archipel: ended 12 nodes\n"
        assert down.out == b""
        assert not processes_of(home / "devnet")
        assert not list((home / "devnet").iterdir())
    finally:
        end_network(home / "devnet")


def _publish_lose_fetch(publisher: Person, island: Path, folder: Path) -> None:
    published = publisher.run("publish", island)
    (link,) = published.text.splitlines()
    learn_secret(link)
    assert "28 of 28 chunks placed (4 segments)" in published.err
    assert "any 4 nodes, and of any one (claimed) country of DE, FR, IS, NZ" in published.err
    kept = folder / "link.txt"
    kept.write_bytes(published.out)
    assert "island/large.bin" in publisher.run("ls", f"@{kept}").text
    assert "12 of 12 chunks live (8 needed): DE 3, FR 3, IS 3, NZ 3" in publisher.run("check", f"@{kept}").text

    raided = publisher.run("devnet", "raid", "FR")
    assert raided.text == "raided node-01 (FR), node-05 (FR), node-09 (FR)\n"
    checked = publisher.run("check", f"@{kept}").text
    assert "9 of 12 chunks live (8 needed): DE 3, IS 3, NZ 3" in checked
    assert "but NOT the loss of any one of the (claimed) countries DE, IS, NZ" in checked
    friend = Person(folder / "friend", publisher.network, publisher.join)
    copy = folder / "copy"
    assert friend.run("fetch", f"@{kept}", "-o", copy).text == f"{copy}\n"
    assert snapshot(copy) == snapshot(island)

    again = publisher.publish(island)
    assert again["link"] == link
    assert again["sent_bytes"] > 0
    assert again["survives"] == {"nodes": 2, "country": ["DE", "IS", "NZ"], "not_country": []}


def _exported(text: str) -> dict[str, str]:
    """The variables that ``export`` lines set, as a shell that evaluates them would."""
    found = {}
    for line in text.splitlines():
        word, assignment = shlex.split(line)
        assert word == "export"
        name, _, value = assignment.partition("=")
        found[name] = value
    return found
