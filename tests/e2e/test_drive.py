"""An account's drive on two machines, with a third of the nodes killed in between: all it takes is 24 words."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node.account.agent import end_agent, start_agent
from node.home import Home
from protocol.links import NameLink, parse_link
from tests.e2e.test_accounts import KEYS, PASSPHRASE, WORDS, cheap_account, check_nothing
from tests.e2e.test_output import check_fields
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Json, Net, Person, learn_secret, local_network

MIB = 1 << 20
ENTRY = {"path", "kind", "link", "size", "time", "expires", "label", "health", "version"}
KNOWN = {"seen", "unsent", "unsent_paths", "why"}
NODES = 10


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """A network of its own: it does not heal while one looks on."""
    with local_network(tmp_path, nodes=NODES) as net:
        yield net


@pytest.fixture
def alice(net: Net, tmp_path: Path) -> Iterator[Person]:
    """Has the account KEYS, unlocked."""
    person = net.person(tmp_path / "alice")
    home = cheap_account(person)
    start_agent(home, KEYS, 600)
    yield person
    end_agent(home)


def inside(folder: Path) -> dict[bytes, object]:
    """What is in a synced folder, whose own time does not travel."""
    return {path: found for path, found in snapshot(folder).items() if path and not path.startswith(b".archipel-sync")}


def entries(person: Person, *arguments: str) -> dict[str, Json]:
    """The drive as it is listed, by path."""
    listing = person.json("drive", *arguments)
    check_fields("drive", listing, {"entries", "ending", "ends"} | KNOWN)
    assert (listing["why"], listing["unsent"], listing["ending"]) == (None, False, [])
    return {entry["path"]: entry for entry in listing["entries"]}


def test_a_session_on_two_machines(alice: Person, net: Net, tmp_path: Path) -> None:
    name, first = _publish(alice, tmp_path)
    _arrange(alice, tmp_path)
    net.devnet("kill", "3", "--seed", "5")
    bob = _restored(net, tmp_path)
    try:
        seen = _see_everything(bob, name, first, tmp_path)
        _keep(bob, seen)
        _sync_back(alice, bob, tmp_path)
        _remove(alice, bob)
        _without_network(bob, net)
        _check_processes()
    finally:
        end_agent(Home(bob.home))


def _publish(alice: Person, folder: Path) -> tuple[str, Json]:
    """Two versions of a site under one name; returns the name's link, and the first version."""
    assert "the account has no name 'blog'" in alice.run("publish", folder, "--as", "blog", code=3).err
    made = alice.run("name", "new", "blog").text.strip()
    learn_secret(made)
    site = folder / "site"
    write(site / "large.bin", random_bytes(1, 2 * MIB))
    write(site / "index.html", b"one")
    first = alice.publish(site, "--as", "blog")
    check_fields(
        "publish", first, {"drive", "name_link", "version"} | (first.keys() - {"drive", "name_link", "version"})
    )
    write(site / "index.html", b"two")
    second = alice.publish(site, "--as", "blog")
    assert (first["name_link"], second["name_link"]) == (made, made)
    assert (first["version"], second["version"]) == (1, 2)
    assert second["link"] != first["link"]
    assert first["sent_bytes"] > 2 * MIB
    assert second["sent_bytes"] < MIB, "only what changed"
    assert second["drive"] == {"path": "site", "sent": True, "why": None}
    return made, first


def _arrange(alice: Person, folder: Path) -> None:
    """Folders, somebody else's link, and a folder that is synced."""
    stranger = alice.__class__(folder / "stranger", alice.network, alice.join)
    write(folder / "film", random_bytes(2, 90_000))
    theirs = stranger.publish(folder / "film")
    assert theirs["drive"] is None
    added = alice.json("drive", "add", "-", stdin=theirs["link"].encode())
    check_fields("drive add", added, {"path"} | KNOWN)
    assert added["path"] == "film"
    check_fields("drive mkdir", alice.json("drive", "mkdir", "films"), {"path"} | KNOWN)
    check_fields("drive mv", alice.json("drive", "mv", "film", "films"), {"path"} | KNOWN)
    docs = folder / "docs"
    write(docs / "big", random_bytes(3, 2 * MIB))
    write(docs / "letter", b"dear")
    up = alice.json("drive", "sync", docs)
    check_fields("drive sync", up, SYNC)
    assert (up["published"], sorted(up["up"]), up["path"]) == (True, ["big", "letter"], "docs")
    learn_secret(up["link"])


SYNC = {
    *("path", "link", "published", "sent_bytes", "up", "removed_there", "down", "removed_here", "kept", "skipped"),
    "refusals",
}


def _restored(net: Net, folder: Path) -> Person:
    """Another machine, with the words and one address of a node that is left."""
    alive = next(node for node in net.devnet("status", "--json").fields["nodes"] if node["state"] == "running")
    bob = Person(folder / "bob", net.network, (alive["address"],))
    words = f"{PASSPHRASE}\n{' '.join(WORDS)}\n".encode()
    bob.run("account", "restore", "--passphrase-file", "-", stdin=words)
    start_agent(Home(bob.home), KEYS, 600)
    return bob


def _see_everything(bob: Person, name: str, first: Json, folder: Path) -> dict[str, Json]:
    found = entries(bob)
    assert set(found) == {"blog", "docs", "films", "films/film", "site"}
    assert {entry["kind"] for entry in found.values()} == {"name", "deposit", "folder", "link"}
    check_fields("drive", found["blog"], ENTRY)
    check_fields("drive", found["blog"]["health"], {"state", "live", "chunks", "lost_segments", "why"})
    check_fields("drive", found["blog"]["version"], {"number", "time", "link", "forks"})
    assert (found["blog"]["link"], found["blog"]["version"]["number"]) == (name, 2)
    assert found["blog"]["version"]["link"] == found["site"]["link"]
    assert found["site"]["size"] == 2 * MIB + 3
    assert {found[path]["health"]["state"] for path in ("blog", "site", "docs", "films/film")} <= {"weak", "whole"}
    assert found["site"]["health"]["state"] == "weak"
    assert 0 < found["site"]["health"]["live"] < found["site"]["health"]["chunks"]
    told = bob.run("-vv", "drive")
    check_nothing(told.err.encode(), "standard error")
    assert "archipel:" not in told.text
    assert "films/" in told.text
    assert "chunks live" in told.text
    shown = bob.run("drive", "ls", "site", "--links", "--no-check").text
    assert found["site"]["link"] in shown
    assert "chunks live" not in shown

    (folder / "link").write_text(name)
    bob.run("fetch", f"@{folder / 'link'}", "-o", folder / "copy")
    assert snapshot(folder / "copy") == snapshot(folder / "site")
    bob.run("fetch", f"@{folder / 'link'}", "--version", "1", "-o", folder / "before")
    assert (folder / "before" / "index.html").read_bytes() == b"one"
    assert isinstance(parse_link(name), NameLink)
    assert first["link"] != found["site"]["link"]
    return found


def _keep(bob: Person, before: dict[str, Json]) -> None:
    """Renewed by a machine that never published; what the dead nodes held is made again."""
    renewed = bob.json("drive", "renew", "--all", "--lease", "300d")
    check_fields("drive renew", renewed, {"renewed", "refusals", "lost"} | KNOWN)
    done = {one["path"]: one for one in renewed["renewed"]}
    assert set(done) == {"blog", "docs", "site"}
    for one in done.values():
        check_fields("drive renew", one, {"path", "kind", "expires", "restored_chunks", "undone", "why"})
        assert one["why"] is None
    assert done["site"]["restored_chunks"] > 0
    after = entries(bob)
    for path in done:
        assert after[path]["expires"] > before[path]["expires"] + 100 * 86_400
    assert after["site"]["health"]["live"] > after["site"]["health"]["chunks"] * 2 // 3


def _sync_back(alice: Person, bob: Person, folder: Path) -> None:
    mine = folder / "papers"
    down = bob.json("drive", "sync", mine, "docs")
    assert (down["published"], sorted(down["down"])) == (False, ["big", "letter"])
    assert inside(mine) == inside(folder / "docs")
    write(mine / "answer", b"yours")
    up = bob.json("drive", "sync", mine, "docs")
    learn_secret(up["link"])
    assert (up["up"], up["down"]) == (["answer"], [])
    assert up["sent_bytes"] < MIB, "the large file lies in the network, whoever put it there"
    again = alice.json("drive", "sync", folder / "docs")
    assert (again["down"], again["up"], again["link"]) == (["answer"], [], up["link"])
    assert inside(mine) == inside(folder / "docs")


def _remove(alice: Person, bob: Person) -> None:
    removed = bob.json("drive", "rm", "films", "-r")
    check_fields("drive rm", removed, {"removed", "left"} | KNOWN)
    assert sorted(removed["removed"]) == ["films", "films/film"]
    assert set(entries(alice, "ls", "--no-check")) == {"blog", "docs", "site"}, "and what both synced is one thing"


def _without_network(bob: Person, net: Net) -> None:
    """The last copy, and what is changed meanwhile."""
    nobody = Person(bob.home, net.network, ("127.0.0.1:9",))
    moved = nobody.json("drive", "mv", "site", "homepage")
    assert (moved["unsent"], moved["unsent_paths"]) == (True, ["homepage"])
    listed = nobody.run("drive")
    assert "homepage" in listed.text
    assert "health unknown: offline" in listed.text
    assert "this is the last copy of 20" in listed.err
    assert "not sent yet, and sent with the next change: what was changed here since: homepage" in listed.err
    assert set(entries(bob, "ls", "--no-check")) == {"blog", "docs", "homepage"}, "sent as soon as there is a network"


def _check_processes() -> None:
    """No process shows a secret of the account in its arguments or its environment."""
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with suppress(OSError):  # it has ended, or is another user's
                check_nothing((path / name).read_bytes(), f"{name} of {path.name}")
