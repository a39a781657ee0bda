"""How a deposit is spread, for how long, at whose cost; and that publishing again costs nothing."""

import os
import threading
import time
from pathlib import Path

import pytest

from node.devnet import DevNode
from protocol.links import Link, parse_link
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Net, Person, learn_secret, local_network, root_of

DAY = 86_400


def test_publishing_again_sends_nothing_and_gives_the_same_link(alice: Person, tmp_path: Path) -> None:
    source = tmp_path / "folder"
    write(source / "large", random_bytes(21, 2_000_000))
    write(source / "small", random_bytes(22, 100_000))
    first = alice.publish(source)
    assert first["sent_bytes"] == first["stored_bytes"] > first["bytes"]
    again = alice.publish(source)
    assert again["link"] == first["link"]
    assert again["sent_bytes"] == 0
    assert again["stored_bytes"] == first["stored_bytes"]

    write(source / "small", random_bytes(23, 100_000))
    changed = alice.publish(source)
    assert changed["link"] != first["link"]
    assert 0 < changed["sent_bytes"] < 1_000_000, "the large file is there already"


def test_another_depositor_has_another_link_and_chunks_of_their_own(alice: Person, bob: Person, tmp_path: Path) -> None:
    source = tmp_path / "song"
    write(source, random_bytes(24, 100_000))
    mine, theirs = alice.publish(source), bob.publish(source)
    assert mine["link"] != theirs["link"]
    assert theirs["sent_bytes"] == theirs["stored_bytes"], "nobody can tell that it is the same song"


def test_a_part_is_shared_and_kept_by_whoever_shares_it(calm: Net, alice: Person, bob: Person, tmp_path: Path) -> None:
    """Bob has Alice's link only, and outlives her deposit; who has his link alone gets the part alone."""
    source = tmp_path / "folder"
    write(source / "live/film", random_bytes(27, 5_000_000))
    write(source / "live/song", random_bytes(28, 90_000))
    write(source / "near", random_bytes(29, 90_000))
    whole = alice.publish(source)
    shared = bob.json("share", whole["link"], "folder/live", "--lease", "2d")
    learn_secret(shared["link"])
    assert set(shared) == set(whole) | {"sealed_to", "whole"}
    assert shared["bytes"] == 5_090_000
    assert shared["sent_bytes"] < 500_000, "the film is where it was"
    assert shared["placed"] == shared["chunks"]
    again = bob.run("share", whole["link"], "folder/live")
    assert again.text == f"{shared['link']}\n"
    assert "shared 5.1 MB in " in again.err
    assert "0 B sent" in again.err
    alice.run("delete", whole["link"])
    carol = calm.person(tmp_path / "carol")
    carol.run("fetch", shared["link"], "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(source / "live")
    assert carol.json("check", shared["verify_link"])["healthy"]


def test_fresh_gives_a_new_link_each_time(alice: Person, tmp_path: Path) -> None:
    source = tmp_path / "song"
    write(source, random_bytes(25, 100_000))
    published = [alice.publish(source), *(alice.publish(source, "--fresh") for _ in range(2))]
    assert len({item["link"] for item in published}) == 3
    assert all(item["sent_bytes"] == item["stored_bytes"] for item in published)


@pytest.mark.parametrize(
    ("shares", "k", "n", "survives"),
    [("1/3", 1, 3, 2), ("2/2", 2, 2, 0), ("16/32", 12, 28, 6), ("1/1", 1, 1, 0)],
)
def test_shares(alice: Person, bob: Person, tmp_path: Path, shares: str, k: int, n: int, survives: int) -> None:
    source = tmp_path / "file"
    write(source, random_bytes(26, 3_000_000))  # 23 blocks
    published = alice.publish(source, "--shares", shares)
    assert published["survives"]["nodes"] == survives
    segments = bob.json("check", published["link"])["segments"]
    assert (k, n, n) in [(segment["k"], segment["n"], segment["live"]) for segment in segments]
    bob.run("fetch", published["link"], "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(source)


@pytest.mark.parametrize(("nodes", "ways"), [(1, ["8/12", "16/32"]), (2, ["16/32"])])
def test_fewer_nodes_than_chunks(tmp_path: Path, nodes: int, ways: list[str]) -> None:
    source = tmp_path / "file"
    write(source, random_bytes(27, 3_000_000))
    with local_network(tmp_path, nodes=nodes, countries="NZ") as net:
        alice, bob = net.person(tmp_path / "alice"), net.person(tmp_path / "bob")
        for shares in ways:
            published = alice.publish(source, "--shares", shares)
            assert published["placed"] == published["chunks"]
            assert published["survives"]["not_country"] == ["NZ"]
            assert any("too few countries" in text for text in published["notes"])
            assert bob.json("check", published["link"])["healthy"]
            bob.run("fetch", published["link"], "-o", tmp_path / f"copy of {shares[:1]}")
            assert snapshot(tmp_path / f"copy of {shares[:1]}") == snapshot(source)


def test_a_lease_ends_when_it_was_asked_to(alice: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(28, 70_000))
    began = int(time.time())
    link = alice.publish(tmp_path / "file", "--lease", "30d")["link"]
    health = alice.json("check", link)
    for segment in health["segments"]:
        assert began + 30 * DAY <= segment["expires"] <= time.time() + 30 * DAY
    assert "leases run until" in alice.run("check", link).text


def test_avoided_countries_get_nothing(alice: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(29, 2_000_000))
    published = alice.publish(tmp_path / "file", "--avoid", "fr, DE")
    health = alice.json("check", published["link"])
    assert health["healthy"]
    for segment in health["segments"]:
        assert set(segment["countries"]) == {"NZ", "IS"}
        assert max(segment["countries"].values()) <= segment["n"] // 2 + 1
    refused = alice.run("publish", tmp_path / "file", "--avoid", "FR,DE,NZ,IS", code=4)
    assert "FR: avoided (3x)" in refused.err


def test_countries_are_filled_evenly_unless_told_otherwise(calm: Net, alice: Person, tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / "file", random_bytes(seed, 16))
        even = root_of(alice.publish(tmp_path / "file", "--shares", "2/5", "--fresh")["link"])
        countries = [calm.node(name).country for name in calm.holders(even)]
        assert sorted(countries) == ["DE", "FR", "IS", "NZ"], "four chunks, four countries"

        link = alice.publish(tmp_path / "file", "--shares", "2/5", "--spread", "none")["link"]
        by_distance = sorted(calm.nodes, key=lambda node: _distance(node, root_of(link)))
        assert calm.holders(root_of(link)) == {node.name for node in by_distance[:4]}, "the nearest, wherever they are"


def _distance(node: DevNode, segment: str) -> int:
    return int(node.node_id, 16) ^ int(segment, 16)


def test_nodes_that_are_full(tmp_path: Path) -> None:
    with local_network(tmp_path, nodes=3, quota="300kB") as net:
        alice = net.person(tmp_path / "alice")
        write(tmp_path / "much", random_bytes(30, 20_000_000))
        refused = alice.run("publish", tmp_path / "much", code=4)
        for country in ("FR", "DE", "NZ"):
            assert f"{country}: too little space" in refused.err
        write(tmp_path / "little", random_bytes(31, 120_000))
        link = alice.publish(tmp_path / "little", "--shares", "1/3")["link"]
        for number in range(2):
            write(tmp_path / "more", random_bytes(32 + number, 120_000))
            told = alice.run("publish", tmp_path / "more", "--shares", "1/3", code=4).err
            assert "placed 0 of 3 chunks of a segment, 2 are needed" in told
            assert "hint: " in told
        alice.run("fetch", link, "-o", tmp_path / "copy")
        used = [sum(path.stat().st_size for path in Path(node.data).glob("chunks/*/*")) for node in net.nodes]
        assert 0 < max(used) <= 300_000


def test_a_source_that_changes_meanwhile(alice: Person, tmp_path: Path) -> None:
    source = tmp_path / "log"
    write(source, random_bytes(33, 100_000))
    enough = threading.Event()

    def append() -> None:
        with source.open("ab", buffering=0) as file:
            while not enough.wait(0.0005):
                file.write(b"another line\n")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        refused = alice.run("publish", source, code=7)
    finally:
        enough.set()
        writer.join()
    assert "changed while it was being published" in refused.err
    assert refused.out == b""
    alice.publish(source)


def test_a_source_that_cannot_be_read(alice: Person, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    write(tmp_path / "file", b"")
    for path in ("missing", "loop", "dangling", "file/below"):
        assert "cannot read" in alice.run("publish", tmp_path / path, code=7).err
    write(tmp_path / "twice" / "file", b"")
    told = alice.run("publish", tmp_path / "file", tmp_path / "twice" / "file", code=2).err
    assert "two of the paths are called 'file'" in told
    assert "no name" in alice.run("publish", "/", code=2).err
    assert not (alice.home / "crash.log").exists()


def test_what_the_home_folder_tells(alice: Person, tmp_path: Path) -> None:
    """Nobody but its owner may read it, and no link or key of a deposit is in it."""
    write(tmp_path / "file", random_bytes(34, 100_000))
    published = alice.publish(tmp_path / "file")
    assert alice.home.stat().st_mode & 0o777 == 0o700
    opened = parse_link(published["link"])
    assert isinstance(opened, Link)
    for path in alice.home.iterdir():
        content = path.read_bytes()
        for secret in (published["link"].partition(":")[2].encode(), opened.key, opened.verify_key):
            assert secret not in content, path
            assert secret.hex().encode() not in content, path
    for name in ("identity.key", "convergence.secret", "deposits.sqlite"):
        assert os.stat(alice.home / name).st_mode & 0o077 == 0
