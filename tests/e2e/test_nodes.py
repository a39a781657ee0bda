"""Storage nodes: how they begin, end, and come back."""

import signal
from pathlib import Path

import pytest

from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Nodes, Person, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_ends_when_asked(nodes: Nodes, number: int) -> None:
    node = nodes.start("one", "--country", "nz", "--quota", "8MiB")
    assert set(node.said) >= {"node_id", "address", "country", "quota_bytes", "used_bytes", "storing", "network"}
    assert (node.said["country"], node.said["quota_bytes"], node.said["used_bytes"]) == ("NZ", 8 << 20, 0)
    assert node.said["storing"], "the first node of a network stores at once"
    assert node.stop(number) == 0
    assert node.log.read_text() == ""


def test_the_ready_line_for_people(nodes: Nodes, tmp_path: Path) -> None:
    arguments = (
        "node",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "off",
        "--country",
        "FR",
        "--data",
        str(tmp_path / "data"),
    )
    with Person(tmp_path / "home", "islands").start(*arguments) as node:
        assert node.process.stdout is not None
        line = node.process.stdout.readline().decode()
        node.signal(signal.SIGTERM)
        rest = node.finish(code=0)
    assert line.startswith("node ")
    assert line.endswith(", country FR (claimed), quota 50.0 GB\n")
    assert rest.out == b""


def test_an_identity_is_kept(nodes: Nodes) -> None:
    first = nodes.start("one")
    assert first.stop() == 0
    assert nodes.start("one").said["node_id"] == first.said["node_id"]
    key = nodes.folder / "one" / "node.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_size == 32


def test_a_node_that_was_killed_serves_what_it_had_acknowledged(nodes: Nodes, tmp_path: Path) -> None:
    """And finds back by the peers it remembers, though the node it first joined by is gone."""
    source = tmp_path / "source"
    write(source, random_bytes(71, 3_000_000))
    bootstrap = nodes.start("bootstrap", "--country", "FR")
    friend = nodes.start("friend", "--country", "DE", join=[bootstrap.address])
    node = nodes.start("node", "--country", "NZ", join=[bootstrap.address])
    link = nodes.person("alice", bootstrap).publish(source, "--shares", "1/3")["link"]
    contacts = tmp_path / "node" / "contacts"
    until(lambda: contacts.exists() and len(contacts.read_text().splitlines()) == 2)
    for gone in (node, bootstrap):
        gone.kill()
    again = nodes.start("node", "--country", "NZ", listen=node.address)
    assert again.said["node_id"] == node.said["node_id"]
    assert again.said["storing"]
    assert again.said["used_bytes"] > 3_000_000
    bob = nodes.person("bob", again)
    health = bob.json("check", link)
    assert [segment["countries"] for segment in health["segments"]] == [{"DE": 1, "NZ": 1}] * 2
    assert friend.stop() == 0
    bob.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(source)


def test_a_whole_network_that_starts_again(nodes: Nodes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, random_bytes(72, 3_000_000))
    first = nodes.start("first")
    others = [nodes.start(f"other-{number}", join=[first.address]) for number in range(2)]
    link = nodes.person("alice", first).publish(source, "--shares", "2/3")["link"]
    for node in (first, *others):
        assert node.stop() == 0
    again = [nodes.start("first", listen=first.address)]
    again += [nodes.start(f"other-{number}", listen=node.address) for number, node in enumerate(others)]
    bob = nodes.person("bob", again[2])
    until(lambda: bool(bob.json("check", link)["healthy"]))
    bob.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(source)


def test_a_data_folder_is_one_nodes_own(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start("one")
    listen = ("node", "--listen", "127.0.0.1:0", "--http", "off")
    told = Person(tmp_path / "home", "islands").run(*listen, "--data", tmp_path / "one", code=7)
    assert "another node uses" in told.err
    assert "--data DIR" in told.err
    told = Person(tmp_path / "home", "islands").run(
        "node", "--listen", node.address, "--http", "off", "--data", tmp_path / "two", code=7
    )
    assert f"cannot listen on {node.address}: Address already in use" in told.err
    assert node.stop() == 0
    told = Person(tmp_path / "home", "another").run(*listen, "--data", tmp_path / "one", code=2)
    assert "another network" in told.err


def test_a_damaged_key_is_never_replaced(nodes: Nodes, tmp_path: Path) -> None:
    assert nodes.start("one").stop() == 0
    key = tmp_path / "one" / "node.key"
    key.write_bytes(b"short")
    told = Person(tmp_path / "home", "islands").run(
        "node", "--listen", "127.0.0.1:0", "--http", "off", "--data", tmp_path / "one", code=7
    )
    assert "is damaged: want 32 bytes, got 5" in told.err
    assert key.read_bytes() == b"short"


def test_links_and_keys_are_in_no_log_however_much_it_tells(nodes: Nodes, tmp_path: Path) -> None:
    """All standard error, and at the end all logs, are searched for them."""
    first = nodes.start("first", "-vv")
    second = nodes.start("second", "-vv", join=[first.address])
    alice = nodes.person("alice", second)
    write(tmp_path / "file", random_bytes(73, 1_500_000))
    published = alice.publish(tmp_path / "file", "-vv")
    for arguments in (
        ("check", published["link"]),
        ("check", published["verify_link"]),
        ("ls", published["link"]),
        ("fetch", published["link"], "-o", str(tmp_path / "copy")),
        ("renew", published["link"]),
        ("fetch", published["link"] + "x", "-o", "no"),
        ("fetch", published["link"], "-o", str(tmp_path / "copy")),
        ("delete", published["link"]),
        ("fetch", published["link"], "-o", str(tmp_path / "gone")),
    ):
        with alice.start("-vv", *arguments) as command:
            code = {"no": 2, "gone": 3, "copy": 0}.get(Path(arguments[-1]).name, 0)
            if code == 0 and arguments[0] == "fetch" and (tmp_path / "copy").exists():
                code = 4
            command.finish(code=code)
    assert first.log.read_text(), "there is a log to search"
