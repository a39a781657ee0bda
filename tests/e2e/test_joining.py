"""Commands that find nobody, or the wrong ones, to join."""

import socket
from pathlib import Path

import pytest

from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.e2e.trees import write
from tests.e2e.world import Net, Person, without_notes

LINK = str(Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(32)))


@pytest.mark.parametrize("command", ["publish", "fetch", "ls", "check"])
def test_nobody_to_join(tmp_path: Path, command: str) -> None:
    write(tmp_path / "file", b"")
    hermit = Person(tmp_path / "hermit")
    told = hermit.run(command, tmp_path / "file" if command == "publish" else LINK, code=5)
    assert without_notes(told.err).startswith("archipel: error: nobody to join\nhint: name a node: --join HOST:PORT")
    assert told.out == b""


def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else is given the port, and nothing answers there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = Person(tmp_path / "home", "devnet", (address,)).run("ls", LINK, code=5)
    assert f"nobody answered: asked {address}" in told.err
    assert "hint: is the node running" in told.err


def test_another_network(calm: Net, tmp_path: Path) -> None:
    told = Person(tmp_path / "home", "elsewhere", calm.join[:1]).run("ls", LINK, code=5)
    assert f"{calm.join[0]} belongs to another network than 'elsewhere'" in told.err
    assert "hint: name its network: --network NAME" in told.err


def test_one_that_is_there_is_enough(calm: Net, tmp_path: Path) -> None:
    person = Person(tmp_path / "home", calm.network, ("127.0.0.1:1", calm.join[3]))
    assert "nobody in this network has announced it" in person.run("ls", LINK, code=3).err
    told = Person(tmp_path / "home", calm.network).run("ls", LINK, code=3)
    assert "nobody in this network has announced it" in told.err, "joined by remembered contacts"


def test_a_host_that_nobody_knows(tmp_path: Path) -> None:
    told = Person(tmp_path / "home", "devnet", ("no-such-host.invalid:4110",)).run("ls", LINK, code=2)
    assert "cannot look up 'no-such-host.invalid'" in told.err


def test_a_home_that_cannot_be_written(calm: Net) -> None:
    """Reading needs none; publishing does."""
    nowhere = Person(Path("/proc/nowhere"), calm.network, calm.join)
    assert "nobody in this network has announced it" in nowhere.run("ls", LINK, code=3).err
    assert "cannot create the home folder" in nowhere.run("publish", __file__, code=7).err
