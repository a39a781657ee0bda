"""Links of names, sealed links and shares from the drive, as people pass them on."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.account.agent import end_agent, start_agent
from node.account.vault import Vault
from node.client import open_client
from node.config import Config
from node.drive.service import open_drive
from node.drive.tree import put
from node.home import Home
from node.journal import Journal
from node.names.seen import Seen
from node.names.writing import publish_version
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key
from protocol.drive import Content, EntryKind, deposit_entry
from protocol.identity import Network
from protocol.ids import Address
from protocol.links import Link, NameLink, link_payload, parse_link
from protocol.names import NameKeys
from tests.e2e.test_accounts import CHEAP, PASSPHRASE
from tests.e2e.test_output import check_fields
from tests.e2e.trees import random_bytes, write
from tests.e2e.world import Json, Person, learn_secret

KEYS = AccountKeys(bytes(range(20, 52)))  # nobody else's on this network: what they publish is in their drive
OTHER = AccountKeys(bytes(range(50, 82)))
KNOWN = {"seen", "unsent", "unsent_paths", "why"}
PHOTOS = {"2028/beach": 90_000, "2028/boat": 1_100_000, "2029/snow": 70_000}


def unlocked(person: Person, keys: AccountKeys) -> Home:
    home = Home(person.home)
    home.create()
    Vault.of(home).create(keys, PASSPHRASE, CHEAP)
    start_agent(home, keys, 600)
    return home


@pytest.fixture
def homes(alice: Person, bob: Person) -> Iterator[tuple[Home, Home]]:
    """Of Alice with the account KEYS, and Bob with OTHER, both unlocked."""
    made = unlocked(alice, KEYS), unlocked(bob, OTHER)
    yield made
    for home in made:
        end_agent(home)


def put_photos(person: Person, link: Link, days: tuple[int, ...]) -> None:
    """The deposit is in the drive, and published under the name blog once for each of ``days``, to be kept so long."""
    config = Config(person.home, person.network, person.join)
    home, network = Home(person.home), Network(person.network).id

    async def main() -> None:
        async with open_client(config) as client:
            journal = Journal(home.journal, network)
            (row,) = journal.deposits(link.root)
            entry = deposit_entry(EntryKind.DEPOSIT, row.deposit, b"photos", Content(link=link_payload(link)), 0)
            await open_drive(client, home, KEYS, journal).change(lambda drive, now_ms: put(drive, entry, now_ms))
            journal.close()
            now = int(client.world.clock.wall())
            for lasting in days:
                name, seen = NameKeys(KEYS.name_secret("blog")), Seen(home.names, network)
                await publish_version(client, name, seen, link, now + lasting * 86_400)

    trio.run(main)


def published(alice: Person, folder: Path) -> Json:
    for seed, (path, size) in enumerate(PHOTOS.items()):
        write(folder / "photos" / path, random_bytes(900 + seed, size))
    return alice.publish(folder / "photos")


def test_names_and_shares(alice: Person, bob: Person, homes: tuple[Home, Home], tmp_path: Path) -> None:
    made = alice.json("name", "new", "blog")
    check_fields("name new", made, {"label", "link", *KNOWN})
    assert (made["unsent"], made["why"]) == (False, None)
    learn_secret(made["link"])
    photos = published(alice, tmp_path)
    link = parse_link(photos["link"])
    assert isinstance(link, Link)
    put_photos(alice, link, (20, 90))
    _named(alice, bob, made["link"], photos, tmp_path)
    _shared(alice, bob, photos, tmp_path)
    shown = alice.json("account", "show")
    check_fields("account show", shown, {"key", "unlocked", "until", "keeper", "drive"})
    assert (shown["drive"]["deposits"], shown["drive"]["names"], shown["drive"]["shares"]) == (1, 1, 1)


def _named(alice: Person, bob: Person, name: str, photos: Json, folder: Path) -> None:
    """What the name leads to: the newest, or another one; and what is told of both."""
    names = alice.json("name", "list")
    check_fields("name list", names, {"names", *KNOWN})
    (blog,) = names["names"]
    check_fields("name list", blog, {"label", "link", "newest", "problem"})
    versions = {"version", "published", "expires", "verified", "replaced", "forks"}
    check_fields("fetch", blog["newest"], versions)
    assert (blog["link"], blog["newest"]["version"], blog["problem"]) == (name, 2, None)
    (folder / "name").write_text(name)

    listed = bob.run("ls", f"@{folder / 'name'}")
    assert [line.split()[-1] for line in listed.text.splitlines()][-1] == "photos/2029/snow"
    assert re.search(r"archipel: version 2 of the name, published \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", listed.err)
    assert "is kept until" not in listed.err
    copy = folder / "copy"
    fetched = bob.json("fetch", "-", "--version", "1", "-o", copy, stdin=name.encode())
    assert (fetched["name"]["version"], fetched["paths"]) == (1, [str(copy)])
    assert (copy / "2028" / "boat").read_bytes() == (folder / "photos" / "2028" / "boat").read_bytes()
    log = bob.json("name", "log", f"@{folder / 'name'}", "--links")
    check_fields("name log", log, {"link", "versions", "left_out"})
    check_fields("name log", log["versions"][0], versions | {"root", "link"})
    assert [version["link"] for version in log["versions"]] == [photos["link"]] * 2
    newcomer = Person(folder / "newcomer", bob.network)
    host, _, port = bob.join[0].rpartition(":")
    link = parse_link(name)
    assert isinstance(link, NameLink)
    (folder / "hinted").write_text(str(replace(link, hints=(Address(host, int(port)),))))
    told = newcomer.run("check", f"@{folder / 'hinted'}", "--version", "1")
    assert "note: version 1 is kept until" in told.err, "and the link told whom to join by"


def _shared(alice: Person, bob: Person, photos: Json, folder: Path) -> None:
    """From the drive: all of it, a part of it for Bob alone, and what Bob makes of that."""
    assert alice.run("share", "photos").text == f"{photos['link']}\n"
    part = alice.json("share", "/photos/2028", "--to", format_account_key(OTHER.identity.key))
    numbers = {"bytes", "stored_bytes", "sent_bytes", "segments", "chunks", "placed"}
    texts = {
        "link",
        "verify_link",
        "sealed_to",
        "whole",
        "drive",
        "seconds",
        "survives",
        "skipped",
        "notes",
        "refusals",
    }
    check_fields("share", part, numbers | texts)
    assert (part["bytes"], part["verify_link"], part["whole"]) == (1_190_000, None, False)
    (folder / "sealed").write_text(part["link"])
    assert [line.split()[-1] for line in bob.run("ls", f"@{folder / 'sealed'}").text.splitlines()] == [
        "2028/",
        "2028/beach",
        "2028/boat",
    ]
