"""What is taken for a link, and what is said of what is none."""

from pathlib import Path

import pytest

from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, NameLink, seal_link
from tests.node.cli.conftest import Cli
from tests.strategies import IDENTITY, STRANGER

LINK = str(Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(range(32, 64))))
WORD = LINK.removeprefix("archipel:")
NAME_LINK = str(NameLink(STRANGER.key, bytes(32)))
SEALED_LINK = str(seal_link(NameLink(STRANGER.key, bytes(32)), IDENTITY.key, bytes(32)))
TYPO = WORD[:50] + ("b" if WORD[50] == "a" else "a") + WORD[51:]
SWAPPED = WORD[:33] + WORD[34] + WORD[33] + WORD[35:]


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


@pytest.mark.parametrize("command", ["ls", "fetch", "check", "renew", "delete"])
def test_links_of_other_kinds(cli: Cli, command: str) -> None:
    told = cli(command, NAME_LINK)
    assert told.code == 2
    assert "this link leads to a name" in told.err
    told = cli(command, SEALED_LINK)
    assert told.code == 2
    assert "this link is sealed: only the account that it was made for opens it" in told.err


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
