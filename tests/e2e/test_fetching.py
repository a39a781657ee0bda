"""Where what is fetched goes, how much of it, and what is never overwritten."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.links import Link, parse_link
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Net, Person, learn_secret

BLOCK = 131_072
SEALED = BLOCK + 16


@dataclass(frozen=True)
class Deposit:
    """A folder with a large file and small ones, published once for all tests here."""

    source: Path
    large: bytes
    link: str
    verify_link: str
    hinted: str


@pytest.fixture(scope="module")
def deposit(calm: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deposit]:
    folder = tmp_path_factory.mktemp("deposit")
    large = random_bytes(11, 3_000_000)
    source = folder / "site"
    write(source / "large.bin", large)
    write(source / "pages" / "index.html", b"<h1>hello</h1>\n")
    write(source / "pages" / "deep" / "more.html", b"more\n", mode=0o755)
    write(source / "pages.txt", b"not beneath pages\n")
    published = calm.person(folder / "home").publish(source, "--hints")
    hinted = published["link"]
    opened = parse_link(hinted)
    assert isinstance(opened, Link)
    assert len(opened.hints) == 3
    link = str(Link(opened.kind, opened.root, opened.key))
    learn_secret(link)
    yield Deposit(source, large, link, published["verify_link"], hinted)


def test_standard_output_gets_the_bytes_and_nothing_else(bob: Person, deposit: Deposit) -> None:
    result = bob.run("fetch", deposit.link, "--path", "site/large.bin", "-o", "-")
    assert result.out == deposit.large
    assert result.err == ""


def test_standard_output_takes_one_file(bob: Person, deposit: Deposit) -> None:
    result = bob.run("fetch", deposit.link, "-o", "-", code=2)
    assert result.out == b""
    assert "--path" in result.err


def test_a_path_of_the_deposit(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    fetched = bob.json("fetch", deposit.link, "--path", "site/pages", "-o", tmp_path / "pages")
    assert snapshot(tmp_path / "pages") == snapshot(deposit.source / "pages")
    assert fetched["bytes"] == len(b"<h1>hello</h1>\n") + len(b"more\n")
    assert fetched["received_bytes"] < 3 * SEALED, "the large file does not come along"

    bob.run("fetch", deposit.link, "--path", "site/pages/", cwd=_folder(tmp_path / "here"))
    assert snapshot(tmp_path / "here" / "pages") == snapshot(deposit.source / "pages")

    assert "no such path" in bob.run("fetch", deposit.link, "--path", "site/pag", code=3).err


@pytest.mark.parametrize(
    ("first", "last", "blocks"),
    [
        pytest.param(0, 0, 1, id="first byte"),
        pytest.param(2_999_999, 2_999_999, 1, id="last byte"),
        pytest.param(5 * BLOCK, 6 * BLOCK - 1, 1, id="a block"),
        pytest.param(7 * BLOCK - 1, 7 * BLOCK, 2, id="over an edge"),
    ],
)
def test_a_range_costs_the_blocks_it_needs(
    bob: Person, deposit: Deposit, tmp_path: Path, first: int, last: int, blocks: int
) -> None:
    place = tmp_path / "part"
    options = ("--path", "site/large.bin", "--range", f"{first}-{last}", "-o", place)
    fetched = bob.json("fetch", deposit.link, *options)
    assert place.read_bytes() == deposit.large[first : last + 1]
    assert fetched["bytes"] == last + 1 - first
    assert fetched["received_bytes"] <= (blocks + 1) * SEALED, "those, and the root's one block"


def test_a_range_on_standard_output(bob: Person, deposit: Deposit) -> None:
    options = ("--path", "site/large.bin", "--range", "1000000-1999999", "-o", "-")
    assert bob.run("fetch", deposit.link, *options).out == deposit.large[1_000_000:2_000_000]


def test_a_range_beyond_the_end(bob: Person, deposit: Deposit) -> None:
    told = bob.run("fetch", deposit.link, "--path", "site/large.bin", "--range", "0-3000000", code=2).err
    assert "the range ends at byte 3000000, but the file has 3000000 bytes" in told


def test_an_existing_destination_is_refused_unless_forced(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    write(place / "diary", b"irreplaceable")
    before = snapshot(place)
    refused = bob.run("fetch", deposit.link, "--path", "site/pages", "-o", place, code=4)
    assert "--force" in refused.err
    assert snapshot(place) == before
    assert sorted(os.listdir(tmp_path)) == ["bob", "mine"], "refused before anything was written"
    bob.run("fetch", deposit.link, "--path", "site/pages", "-o", place, "--force")
    assert snapshot(place) == snapshot(deposit.source / "pages")
    bob.run("fetch", deposit.link, "--path", "site/pages.txt", "-o", place, "--force")
    assert place.read_bytes() == b"not beneath pages\n"
    assert os.listdir(tmp_path / "bob") == ["contacts"]
    assert sorted(os.listdir(tmp_path)) == ["bob", "mine"]


def test_a_destination_in_no_folder(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    place = tmp_path / "missing" / "copy"
    assert "does not exist" in bob.run("fetch", deposit.link, "-o", place, code=7).err
    assert not place.parent.exists()


def test_a_destination_beneath_a_file(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    write(tmp_path / "file", b"")
    bob.run("fetch", deposit.link, "-o", tmp_path / "file" / "copy", code=7)


def test_a_disk_that_takes_nothing(bob: Person, deposit: Deposit) -> None:
    with open("/dev/full", "wb") as full:
        for options in (("ls",), ("fetch", "--path", "site/large.bin", "-o", "-")):
            with bob.start(*options, deposit.link, stdout=full) as command:
                assert "No space left" in command.finish(code=7).err


def test_a_link_as_people_hand_it_on(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    word = deposit.link.removeprefix("archipel:")
    kept = tmp_path / "link.txt"
    kept.write_text(f"\n  {deposit.link}\n\n")
    listed = bob.run("ls", deposit.link).out
    assert bob.run("ls", f"@{kept}").out == listed
    assert bob.run("ls", "-", stdin=f"{deposit.link}\n".encode()).out == listed
    assert bob.run("ls", word.upper()).out == listed
    assert bob.run("ls", f"https://gateway.example/any/page#{word}").out == listed


def test_a_link_with_hints_opens_where_nobody_is_known(deposit: Deposit, calm: Net, tmp_path: Path) -> None:
    stranger = Person(tmp_path / "stranger", calm.network)
    stranger.run("ls", deposit.link, code=5)
    assert stranger.run("ls", deposit.hinted).out
    stranger.run("check", deposit.link)  # the contacts it made are remembered


def test_a_verify_link_checks_and_reads_nothing(bob: Person, deposit: Deposit, tmp_path: Path) -> None:
    assert bob.json("check", deposit.verify_link)["healthy"]
    for command in (("fetch", "-o", tmp_path / "copy"), ("ls",)):
        result = bob.run(*command, deposit.verify_link, code=2)
        assert "verify link" in result.err
        assert result.out == b""
    assert not (tmp_path / "copy").exists()


def test_check_counts_every_chunk(bob: Person, deposit: Deposit) -> None:
    health = bob.json("check", deposit.link)
    assert health["healthy"]
    assert health["survives"] == {"nodes": 4, "country": ["DE", "FR", "IS", "NZ"], "not_country": []}
    counted = sorted((s["k"], s["n"], s["live"], sum(s["countries"].values())) for s in health["segments"])
    assert counted == [(1, 5, 5, 5), (1, 5, 5, 5), (8, 12, 12, 12)]
    told = bob.run("check", deposit.link).text
    assert "1 segment: 12 of 12 chunks live (8 needed): DE 3, FR 3, IS 3, NZ 3" in told
    assert "it survives the loss of any 4 nodes, and of any one (claimed) country of DE, FR, IS, NZ" in told


def test_options_stand_before_and_after_the_command(calm: Net, deposit: Deposit, tmp_path: Path) -> None:
    nobody = Person(tmp_path / "unused")
    here = ("--home", str(tmp_path / "carol"), "--network", calm.network, "--join", calm.join[0], "--json")
    before = nobody.run(*here, "ls", deposit.link)
    after = nobody.run("ls", *here, deposit.link)
    between = nobody.run(*here[:4], "ls", deposit.link, *here[4:])
    assert before.out == after.out == between.out
    assert json.loads(before.out)["entries"]
    assert (tmp_path / "carol").exists()
    assert not (tmp_path / "unused").exists()


def test_settings_from_the_configuration_file(calm: Net, deposit: Deposit, tmp_path: Path) -> None:
    dave = Person(tmp_path / "dave")
    dave.home.mkdir()
    (dave.home / "config.toml").write_text(f'network = "{calm.network}"\njoin = ["{calm.join[1]}"]\n')
    assert dave.run("ls", deposit.link).out
    assert dave.run("ls", deposit.link, "--network", calm.network, env={"ARCHIPEL_NETWORK": "elsewhere"}).out


def _folder(place: Path) -> Path:
    place.mkdir()
    return place
