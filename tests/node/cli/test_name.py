"""What `archipel name` says of versions, and what it refuses; with a network it is tried in tests/e2e."""

from dataclasses import replace

import pytest

from node.cli import name as module
from node.cli.name import _log_lines, _version_fields
from node.home import Home
from node.names.reading import Shown
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.names import NameValue
from tests.node.cli.conftest import Cli

TIME = 1_900_000_000
EXPIRY = 2_000_000_000


def value(number: int, root: int = 0, kind: LinkKind = LinkKind.READ) -> NameValue:
    previous = bytes(32) if number > 1 else b""
    return NameValue(
        number=number, kind=kind, root=bytes([root]) * 32, key=b"k" * 32, time=TIME + number, previous=previous
    )


def shown(number: int, **changes: object) -> Shown:
    return replace(Shown(number, value(number), number, EXPIRY, (), True), **changes)  # type: ignore[arg-type]  # fields


def gone(number: int, *forks: NameValue) -> Shown:
    return Shown(number, None, 0, 0, forks, False)


def lines(*versions: Shown, links: bool = False) -> list[str]:
    return list(_log_lines(versions, versions[-1].number - 1, links=links))


def test_versions_one_after_another() -> None:
    newest, first = lines(shown(2), shown(1, value=value(1, 0xAB, LinkKind.VERIFY)))
    assert newest.startswith("version 2: published 2030-03-17 17:46 UTC, leads to 00000000, kept until 2033-05-18 (in ")
    assert "leads to abababab, for checking only, kept" in first


def test_what_is_missing() -> None:
    told = lines(shown(9), gone(8), shown(7, verified=False), gone(6), gone(5), gone(4, value(4)), shown(3))
    assert [line.partition(", kept")[0] for line in told] == [
        "version 9: published 2030-03-17 17:46 UTC, leads to 00000000",
        "version 8: nobody has it any more",
        "version 7: published 2030-03-17 17:46 UTC, leads to 00000000",
        "versions 6 to 5: nobody has them any more",
        "version 4: nobody has the one that the version after it names",
        "  FORK, another version 4: published 2030-03-17 17:46 UTC, leads to 00000000",
        "version 3: published 2030-03-17 17:46 UTC, leads to 00000000",
        "versions 2 to 1: not looked for, since nobody has the 8 after",
    ]
    assert told[2].endswith("; nothing newer confirms it")


def test_a_long_history_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VERSIONS", 2)
    assert lines(shown(4), shown(3))[2:] == ["versions 2 to 1: not shown"]
    assert lines(shown(3), shown(2))[2:] == ["version 1: not shown"]
    assert len(lines(shown(2), shown(1))) == 2


def test_forks_and_links() -> None:
    forked = shown(2, forks=(value(2, 0xAB),), replaced=True)
    link, other = (Link(LinkKind.READ, SegmentId(bytes([root]) * 32), b"k" * 32) for root in (0, 0xAB))
    told = lines(forked, shown(1), links=True)
    assert told[1] == f"  {link}"
    assert told[2] == "  this machine saw another one in its place before, which nobody shows now"
    assert told[3].startswith("  FORK, another version 2: published ")
    assert "leads to abababab" in told[3]
    assert told[4] == f"  {other}"
    assert not any("archipel:" in line for line in lines(forked, shown(1)))
    fields = _version_fields(forked, links=True)
    assert (fields["link"], fields["root"]) == (str(link), "00" * 32)
    assert fields["forks"] == [{"published": TIME + 2, "root": "ab" * 32, "link": str(other)}]
    assert "archipel:" not in str(_version_fields(forked, links=False))
    without = _version_fields(gone(2), links=True)
    assert [without[name] for name in ("link", "root", "published", "expires")] == [None] * 4


def test_names_take_an_account(cli: Cli) -> None:
    for command in (("new", "blog"), ("list",), ("log", "blog")):
        told = cli("name", *command)
        assert (told.code, told.out) == (3, "")
        assert "this home has no account" in told.err


def test_labels(cli: Cli, unlocked: Home) -> None:
    told = cli("name", "new", "é" * 33)
    assert told.code == 2
    assert "a label is 1 to 64 bytes, got 66" in told.err
    assert cli("name", "log", "x" * 65).code == 2
    for label in ("blog", "a/b", "é" * 32, "two words"):
        assert "nobody to join" in cli("name", "new", label).err
