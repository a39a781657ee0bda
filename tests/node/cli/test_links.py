"""What is taken for a link, and what is said of what is none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.account.vault import Vault
from node.cli.links import Led, is_link, version_notes
from node.home import Home
from node.names.reading import Shown
from protocol.accountkey import format_account_key
from protocol.identity import seal_box
from protocol.ids import SegmentId
from protocol.links import (
    Link,
    LinkKind,
    NameLink,
    SealedLink,
    link_payload,
    open_link,
    parse_link,
    seal_link,
)
from protocol.names import NameValue
from tests.node.cli.conftest import Cli
from tests.strategies import STRANGER
from tests.vectors.make_account import KEYS

READ = Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(range(32, 64)))
LINK = str(READ)
WORD = LINK.removeprefix("archipel:")
NAME = NameLink(STRANGER.key, bytes(32))
NAME_LINK = str(NAME)
WORD_OF_NAME = NAME_LINK.removeprefix("archipel:")
READING = [("ls",), ("fetch",), ("check",), ("lease", "show")]
TYPO = WORD[:50] + ("b" if WORD[50] == "a" else "a") + WORD[51:]
SWAPPED = WORD[:33] + WORD[34] + WORD[33] + WORD[35:]


def sealed(link: Link | NameLink) -> str:
    """For the account of KEYS."""
    return str(seal_link(link, KEYS.identity.key, bytes(32)))


@pytest.mark.parametrize("command", ["ls", "fetch", "check", "renew", "delete"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("archipel:", id="no word"),
        pytest.param(f"archipel:{TYPO}", id="typo"),
        pytest.param(f"archipel:{SWAPPED}", id="swapped"),
        pytest.param(LINK[:-1], id="cut by one"),
        pytest.param(LINK[:60], id="cut in half"),
        pytest.param(LINK[:20], id="hardly begun"),
        pytest.param(LINK + "a", id="a character more"),
        pytest.param(LINK * 2, id="twice"),
        pytest.param(f"magnet:{WORD}", id="another scheme"),
        pytest.param(f"archipel://{WORD}", id="slashes"),
        pytest.param(f"ftp://gateway/#{WORD}", id="another web"),
        pytest.param(f"https://gateway/{WORD}", id="not behind the hash"),
        pytest.param(WORD.replace("a", "1"), id="not in the alphabet"),
        pytest.param(WORD[:-1] + "ß", id="not ASCII"),
        pytest.param(WORD[:10] + "\udce9" + WORD[11:], id="not UTF-8"),
        pytest.param("a" * 5000, id="huge"),
        pytest.param(LINK[:30] + "\n" + LINK[30:], id="broken over two lines"),
    ],
)
def test_what_is_no_link(cli: Cli, command: str, text: str) -> None:
    told = cli(command, "--", text)
    assert told.code == 2
    assert told.out == ""
    assert "hint: copy the whole link, from archipel: to its last character" in told.err
    assert WORD[20:40] not in told.err, "what may be most of a link is never repeated"


@pytest.mark.parametrize("text", [LINK[:-1], "", "a" * 1_000_000])
def test_what_is_no_link_in_a_file_or_on_standard_input(cli: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "link").write_text(text)
    assert cli("ls", f"@{tmp_path / 'link'}").code == 2
    assert cli("ls", "-", stdin=text).code == 2


@pytest.mark.parametrize("command", [("renew",), ("delete",)])
def test_what_is_done_to_one_deposit_is_not_done_to_a_name(cli: Cli, unlocked: Home, command: tuple[str, ...]) -> None:
    for link in (NAME_LINK, sealed(NAME)):
        told = cli(*command, link)
        assert told.code == 2
        assert "this link leads to a name: to whatever its owner published last, not to one deposit" in told.err
        assert WORD_OF_NAME not in told.err


@pytest.mark.parametrize("command", [*READING, ("ls", "--version", "3"), ("name", "log"), ("share", "--verify")])
def test_the_link_of_a_name_is_looked_up(cli: Cli, unlocked: Home, command: tuple[str, ...]) -> None:
    """It gets as far as looking for somebody to join; opened first, if it is sealed."""
    for link in (NAME_LINK, sealed(NAME)):
        told = cli(*command, link)
        assert (told.code, told.out) == (5, "")
        assert "nobody to join" in told.err


@pytest.mark.parametrize("command", [*READING, ("share", "--verify")])
def test_a_sealed_link_takes_the_account_it_was_made_for(cli: Cli, home: Home, command: tuple[str, ...]) -> None:
    told = cli(*command, sealed(READ))
    assert (told.code, told.out) == (4, "")
    assert "archipel: error: the account is locked\nhint: archipel account unlock\n" in told.err
    Vault.of(home).path.unlink()
    told = cli(*command, sealed(READ))
    assert (told.code, told.out) == (4, "")
    assert "only the account that it was made for opens it, and this home has none" in told.err


def test_a_sealed_link_opens_with_the_account(cli: Cli, unlocked: Home) -> None:
    assert cli("ls", sealed(READ)).code == 5, "it is about to join"
    assert cli("share", sealed(READ), "--verify").out == f"{READ.verify_link()}\n"
    told = cli("ls", str(seal_link(READ, STRANGER.key, bytes(32))))
    assert (told.code, told.out) == (4, "")
    assert "this link is sealed for another account" in told.err
    nested = SealedLink(seal_box(KEYS.identity.key, link_payload(seal_link(READ, STRANGER.key, bytes(32))), bytes(32)))
    told = cli("ls", str(nested))
    assert told.code == 2
    assert "what is sealed in this link is none: " in told.err


def test_links_are_passed_on(cli: Cli, tmp_path: Path) -> None:
    """Sealed, for checking only, or both; without a network, an account or anything left behind."""
    key = format_account_key(KEYS.identity.key)
    (tmp_path / "link").write_text(str(READ))
    for given in (LINK, WORD, f"@{tmp_path / 'link'}"):
        told = cli("share", given, "--verify")
        assert (told.code, told.out) == (0, f"{READ.verify_link()}\n")
    assert cli("share", "-", "--verify", stdin=LINK).out == f"{READ.verify_link()}\n"
    for arguments, inside in (((LINK,), READ), ((LINK, "--verify"), READ.verify_link()), ((NAME_LINK,), NAME)):
        told = cli("share", *arguments, "--to", key)
        made = parse_link(told.out)
        assert isinstance(made, SealedLink)
        assert open_link(made, KEYS.identity) == inside
        assert cli("share", *arguments, "--to", key).out != told.out, "nobody can tell that they are one"
    fields = json.loads(cli("share", LINK, "--to", key, "--json").out)
    assert set(fields) == {"link", "verify_link", "sealed_to", "whole"}
    assert (fields["verify_link"], fields["sealed_to"], fields["whole"]) == (None, key, True)
    assert not (tmp_path / "home").exists()


def test_a_path_in_the_drive_takes_an_account(cli: Cli) -> None:
    for path in ("Photos", "/archipel:Photos", "/@home/x", "-x"):
        told = cli("share", "--", path)
        assert (told.code, told.out) == (3, "")
        assert "this home has no account, and so no drive to share from" in told.err


@pytest.mark.parametrize(
    "text", [LINK, WORD, LINK.upper(), "-", "@x", "archipel:x", "HTTPS://x", NAME_LINK, f" {LINK}"]
)
def test_what_stands_for_a_link(text: str) -> None:
    assert is_link(text)


@pytest.mark.parametrize("text", ["", "x", "/archipel:x", "-x", "archipel", "Photos/@x", "a" * 5000, WORD[:-1]])
def test_what_stands_for_a_path(text: str) -> None:
    assert not is_link(text)


VALUE = NameValue(number=3, kind=1, root=bytes(32), key=bytes(32), time=1_900_000_000, previous=bytes(32))
SHOWN = Shown(3, VALUE, 5, 1_910_000_000, (), True)


def notes(shown: Shown, days_left: float = 31) -> list[str]:
    return version_notes(shown, shown.expiry - days_left * 86_400, newest=True)


def test_what_is_said_of_a_version() -> None:
    assert notes(SHOWN) == ["version 3 of the name, published 2030-03-17 17:46 UTC"]
    assert notes(SHOWN, 29)[1].startswith("note: the name is kept until 2030-07-11 (in ")
    fork = replace(VALUE, root=b"\xab" * 32, time=2**64 - 1)
    (told,) = notes(replace(SHOWN, forks=(fork,)))[1:]
    assert told.startswith("note: the name has forked: besides 00000000, which is shown, there is another version 3: ")
    assert "abababab of 9999-12-31 23:59 UTC." in told, "a time that no calendar has"
    assert "this machine saw another one before" in notes(replace(SHOWN, replaced=True))[1]
    assert "nothing newer confirms version 3" in notes(replace(SHOWN, verified=False))[1]
    assert Led(READ).fields == {}
    assert Led(READ, replace(SHOWN, forks=(fork,))).fields == {
        "name": {
            "version": 3,
            "published": 1_900_000_000,
            "expires": 1_910_000_000,
            "verified": True,
            "replaced": False,
            "forks": [{"published": 2**64 - 1, "root": "ab" * 32}],
        }
    }


def test_a_file_of_bytes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "link").write_bytes(bytes(range(256)) * 100)
    assert cli("ls", f"@{tmp_path / 'link'}").code == 2


def test_a_file_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    told = cli("ls", f"@{tmp_path / 'missing'}")
    assert told.code == 7
    assert "cannot read the link from" in told.err
    assert cli("ls", f"@{tmp_path}").code == 7
    assert cli("ls", "@").code == 7


@pytest.mark.parametrize(
    "text", [LINK, WORD, LINK.upper(), f" {LINK}\n", f"https://gateway/#{WORD}", f"HTTP://127.0.0.1:8420/x?y#{LINK}"]
)
def test_what_is_a_link(cli: Cli, tmp_path: Path, text: str) -> None:
    """It gets as far as looking for somebody to join."""
    (tmp_path / "link").write_text(text)
    for told in (cli("ls", text), cli("ls", "-", stdin=text), cli("ls", f"@{tmp_path / 'link'}")):
        assert told.code == 5
        assert "nobody to join" in told.err
