"""`archipel devnet`: a network to break."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import devnet as local
from tests.e2e.processes import processes_of
from tests.e2e.world import Net, Person, local_network

DEVNET = re.compile(r"(node-\d)  +(\d+)  (\w+) +([A-Z]{2})  ([0-9a-f]{16})  (127\.0\.0\.1:\d+)  (/.+)")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with local_network(tmp_path_factory.mktemp("devnet"), nodes=5, countries="fr, DE", network="own") as net:
        yield net


def test_status(net: Net) -> None:
    lines = net.devnet("status").text.splitlines()
    found = [match.groups() for line in lines if (match := DEVNET.fullmatch(line))]
    assert len(found) == len(lines) == 5
    assert [(name, state, country) for name, _, state, country, *_ in found] == [
        (f"node-{number}", "running", country) for number, country in enumerate(["FR", "DE", "FR", "DE", "FR"], 1)
    ]
    assert tuple(address for *_, address, _ in found) == net.join
    assert {int(pid) for _, pid, *_ in found} == set(processes_of(net.folder))
    assert all(Path(data).is_dir() for *_, data in found)
    told = net.operator.json("devnet", "status", "--dir", net.folder)["nodes"]
    assert [node["node_id"][:16] for node in told] == [identity for _, _, _, _, identity, *_ in found]
    assert net.network == "own"


def test_one_network_to_a_folder(net: Net) -> None:
    told = net.devnet("up", code=4)
    assert "there is a local network in" in told.err
    assert "hint: archipel devnet down" in told.err
    assert told.out == b""
    assert len(processes_of(net.folder)) == 5


def test_freezing_and_thawing(net: Net) -> None:
    assert net.devnet("freeze", "--node", "node-2").text == "froze node-2 (DE)\n"
    assert _states(net) == ["running", "frozen", "running", "running", "running"]
    net.devnet("freeze", "--node", "node-2", code=3)
    assert net.devnet("thaw", "--country", "de").text == "thawed node-2 (DE)\n"
    assert _states(net) == ["running"] * 5
    frozen = net.operator.json("devnet", "freeze", "2", "--seed", "7", "--dir", net.folder)["nodes"]
    assert [node["state"] for node in frozen] == ["frozen", "frozen"]
    net.devnet("thaw", "2")
    again = net.operator.json("devnet", "freeze", "2", "--seed", "7", "--dir", net.folder)["nodes"]
    assert [node["name"] for node in again] == [node["name"] for node in frozen]
    net.devnet("thaw", "2")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("kill",), 2, "say which nodes"),
        (("kill", "1", "--country", "FR"), 2, "say which nodes"),
        (("kill", "6"), 3, "there are 5 running or frozen nodes, not 6"),
        (("kill", "0"), 2, "at least 1"),
        (("kill", "--country", "NZ"), 3, "'NZ'"),
        (("kill", "--node", "node-9"), 3, "'node-9'"),
        (("raid", "NZ"), 3, "hint: countries: DE, FR"),
    ],
)
def test_what_cannot_be_done(net: Net, arguments: tuple[str, ...], code: int, told: str) -> None:
    assert told in net.devnet(*arguments, code=code).err
    assert _states(net) == ["running"] * 5


def test_killing_raiding_and_taking_down(net: Net) -> None:
    """In the end: what it does cannot be undone."""
    assert net.devnet("kill", "--country", "DE").text == "killed node-2 (DE), node-4 (DE)\n"
    assert _states(net) == ["running", "dead", "running", "dead", "running"]
    assert all((net.folder / name / "node.key").exists() for name in ("node-2", "node-4")), "their disks stay"
    (killed,) = net.operator.json("devnet", "kill", "1", "--dir", net.folder)["nodes"]
    assert killed["state"] == "dead"
    os.kill(next(node.pid for node in net.nodes if node.state == "running"), signal.SIGSTOP)
    assert net.devnet("raid", "fr").text == "raided node-1 (FR), node-3 (FR), node-5 (FR)\n"
    assert not any((net.folder / name).exists() for name in ("node-1", "node-3", "node-5")), "their disks are gone"
    assert net.devnet("raid", "FR").text == "already gone: node-1 (FR), node-3 (FR), node-5 (FR)\n"
    assert not processes_of(net.folder)
    told = net.operator.json("devnet", "down", "--dir", net.folder)
    assert told == {"nodes": 5}
    assert not list(net.folder.iterdir())
    for command in ("down", "status", "kill"):
        assert "no local network in" in net.devnet(command, *(["1"] if command == "kill" else []), code=3).err


def test_a_process_that_took_over_a_pid_is_left_alone(tmp_path: Path) -> None:
    """A state file from before a restart of the machine names pids that are somebody else's now."""
    mine = local.DevNode("node-1", "FR", str(tmp_path / "node-1"), pid=os.getpid(), born=1)
    net = Net(tmp_path, "devnet", ())
    local.Devnet(tmp_path, "devnet", (mine,)).save()
    assert _states(net) == ["dead"]
    net.devnet("down")


def test_a_node_that_does_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "node-1").mkdir(parents=True)
    (folder / "node-1" / "node.key").write_bytes(b"damaged")
    person = Person(tmp_path / "home")
    told = person.run("devnet", "up", "--nodes", "3", "--dir", folder, code=7)
    assert "node-1 did not start: " in told.err
    assert "is damaged: want 32 bytes, got 7" in told.err
    assert f"hint: see {folder / 'node-1' / 'log'}" in told.err
    assert not processes_of(folder)
    (folder / "devnet.json").write_text("{}")
    assert "is damaged" in person.run("devnet", "status", "--dir", folder, code=7).err


def _states(net: Net) -> list[str]:
    return [node.state for node in net.nodes]
