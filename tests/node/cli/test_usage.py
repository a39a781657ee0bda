"""Help, and what is refused before anything is done."""

from pathlib import Path

import pytest

from node.cli.root import _COMMANDS
from node.nodeconfig import NodeConfig
from node.store.quota import FULL_CHUNK_BYTES
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.node.cli.conftest import Cli

NODE = ("status", "leave")
ACCOUNT = ("new", "restore", "show", "unlock", "lock", "passwd")
DEVNET = ("up", "status", "kill", "freeze", "thaw", "raid", "down")
DRIVE = ("ls", "add", "rm", "mv", "mkdir", "renew", "sync")
GROUPED = (
    *(("drive", name) for name in DRIVE),
    *(("devnet", name) for name in DEVNET),
    *(("account", name) for name in ACCOUNT),
    ("receipt", "verify"),
    ("receipt", "challenge"),
    *(("node", name) for name in NODE),
)


@pytest.mark.parametrize("command", [(), *((name,) for name in _COMMANDS), *GROUPED])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(cli: Cli, command: tuple[str, ...], option: str) -> None:
    told = cli(*command, option)
    assert told.code == 0
    assert told.err == ""
    assert told.out.startswith(f"Usage: {' '.join(('archipel', *command))} ")
    for common in ("--home", "--network", "--join", "--json", "--verbose"):
        assert common in told.out
    if command and command[0] in _COMMANDS and len(command) == 1:
        assert "Example" in told.out, "every help text has a worked example"


def test_the_list_of_commands(cli: Cli) -> None:
    shown = cli("--help").out.partition("Commands:\n")[2]
    assert [line.split()[0] for line in shown.splitlines()] == list(_COMMANDS)


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("archipel, version 0.")


@pytest.mark.parametrize("group", [(), ("account",), ("devnet",), ("name",), ("receipt",)])
def test_no_command_at_all_shows_the_help(cli: Cli, group: tuple[str, ...]) -> None:
    told = cli(*group)
    assert (told.code, told.out) == (2, "")
    assert told.err == cli(*group, "--help").out


PUBLISH = ("publish", "FILE")
LINK = str(Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32)))
MANY = ",".join(f"A{letter},B{letter}" for letter in "ABCDEFGHIJKLMNOPQ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "No such command 'nope'"),
        (("--json",), "Missing command"),
        (("--nope",), "No such option '--nope'"),
        (("fetch",), "Missing argument 'LINK'"),
        (("ls", "one", "two"), "unexpected extra argument"),
        (("publish",), "Missing argument 'PATH...'"),
        (("publish", ""), "a path is empty"),
        ((*PUBLISH, "--shares", "9/8"), "1 <= K <= 16 and K <= N <= 32, got 9/8"),
        ((*PUBLISH, "--shares", "17/20"), "got 17/20"),
        ((*PUBLISH, "--shares", "16/33"), "got 16/33"),
        ((*PUBLISH, "--shares", "0/3"), "got 0/3"),
        ((*PUBLISH, "--shares", "half"), "got 'half'"),
        ((*PUBLISH, "--lease", "5"), "want a duration such as 180d or 12h, got '5'"),
        ((*PUBLISH, "--lease", "0d"), "got '0d'"),
        ((*PUBLISH, "--lease", "-5d"), "got '-5d'"),
        ((*PUBLISH, "--lease", "1.5d"), "got '1.5d'"),
        ((*PUBLISH, "--lease", "1001y"), "a duration is at most 1000y"),
        ((*PUBLISH, "--lease", "9" * 5000 + "y"), "a duration is at most 1000y"),
        ((*PUBLISH, "--avoid", "FRA"), "want countries as two letters each, such as FR,DE, got 'FRA'"),
        ((*PUBLISH, "--avoid", "F1"), "got 'F1'"),
        ((*PUBLISH, "--avoid", MANY), "at most 32 countries can be avoided, got 34"),
        ((*PUBLISH, "--spread", "sky"), "'sky' is not one of 'country', 'none'"),
        ((*PUBLISH, "--name", "x"), "--name goes with standard input only"),
        (("share",), "Missing argument 'LINK|DRIVE-PATH'"),
        (("share", LINK), "LINK itself opens all of it"),
        (("share", LINK.removeprefix("archipel:")), "LINK itself opens all of it"),
        (("share", LINK, "--to", "somebody"), "--to: the account key is mistyped or cut short"),
        (("share", LINK, "--verify", "--lease", "3d"), "--lease is for a part"),
        (("share", ""), "a path is empty"),
        (("share", "/"), "a path is empty"),
        (("share", "a//b"), "'a//b' cannot be a path in the drive"),
        (("share", "archipel:Photos"), "the link is mistyped or cut short"),
        (("fetch", LINK, "--version", "0"), "0 is not in the range"),
        (("fetch", LINK, "--version", "2"), "this link leads to one deposit, which has no versions"),
        (("ls", LINK, "--version", "2"), "this link leads to one deposit, which has no versions"),
        (("check", LINK, "--version", "2"), "this link leads to one deposit, which has no versions"),
        (("name", "new", ""), "'' cannot be a label"),
        (("name", "new", "a/../b"), "'a/../b' cannot be a label"),
        (("name", "new", "\udcff"), "cannot be a label: it is not UTF-8"),
        (("name", "new", "archipel:blog"), "a label does not look like a link"),
        (("name", "new", "--", "-"), "a label does not look like a link"),
        (("name", "log", LINK), "this link leads to one deposit, which has no versions"),
        (("share", LINK, ""), "a path is empty"),
        (("share", LINK, "/"), "a path is empty"),
        (("share", LINK, "a", "--lease", "soon"), "--lease: "),
        (("share", LINK, "a", "b"), "unexpected extra argument"),
        (("publish", "-"), "standard input is published alone, and needs a name"),
        (("publish", "-", "FILE", "--name", "x"), "standard input is published alone"),
        (("publish", "-", "--name", "a/b"), "'a/b' is no name for a file: it holds a slash"),
        (("publish", "-", "--name", ".."), "'..' is no name for a file"),
        (("publish", "-", "--name", "x" * 256), "at most 255 bytes"),
        (("fetch", LINK, "--range", "5"), "want a range of bytes such as 0-1023, got '5'"),
        (("fetch", LINK, "--range", "9-3"), "got '9-3'"),
        (("fetch", LINK, "--range", "٠-١"), "want a range"),
        (("fetch", LINK, "--range=-5"), "got '-5'"),
        (("fetch", LINK, "-o", "-", "--json"), "-o - and --json both want standard output"),
        (("--json", "fetch", LINK, "-o", "-"), "-o - and --json both want standard output"),
        (("renew", LINK, "--lease", "soon"), "want a duration"),
        (("node", "--listen", "somewhere"), "want HOST:PORT, got 'somewhere'"),
        (("node", "--listen", "127.0.0.1:99999"), "--listen: want HOST:PORT"),
        (("node", "--listen", "127.0.0.1:" + "9" * 5000), "want HOST:PORT"),
        (("node", "--listen", "::1:4110"), "write an IPv6 address as [ADDRESS]:PORT"),
        (("node", "--advertise", "127.0.0.1:0"), "want a port that others can dial"),
        (("node", "--advertise", "0.0.0.0:1"), "peers cannot reach 0.0.0.0:1"),
        (("node", "--up", "0"), "--up: at least 16KiB a second, got '0'"),
        (("node", "--down", "1kB"), "--down: at least 16KiB a second, got '1kB'"),
        (("node", "--down", "fast"), "--down: want a size such as 2MB or 500KiB, got 'fast'"),
        (("node", "--quota=-5GB"), "--quota: want a size such as 50GB or 512MiB"),
        (("node", "--quota", "5 parrots"), "--quota: want a size such as 50GB or 512MiB, got '5 parrots'\nhint: "),
        (("node", "--country", "FRA"), "a country is two upper-case letters"),
        (("--join", "nowhere", "ls", LINK), "want HOST:PORT, got 'nowhere'"),
        (("--join", "127.0.0.1:0", "ls", LINK), "cannot join by port 0"),
        (("--network", "x" * 65, "ls", LINK), "the network's name must be 1 to 64 bytes"),
        (("--network", "\udcff", "ls", LINK), "the network's name is not UTF-8"),
        (("devnet", "up", "--nodes", "0"), "want 1 to 200 nodes, got 0"),
        (("devnet", "up", "--nodes", "201"), "want 1 to 200 nodes, got 201"),
        (("devnet", "up", "--nodes", "many"), "'many' is not a valid integer"),
        (("devnet", "up", "--countries", "FRA"), "want countries as two letters each"),
        (("devnet", "up", "--countries", ","), "want countries as two letters each"),
        (("devnet", "up", "--quota", "lots"), "--quota: want a size"),
        (("node", "--depositor-share", "5"), "--depositor-share: want a share such as 50%"),
        (("node", "--subnet-share", "0%"), "--subnet-share: want a share such as 50%"),
        (("node", "--deny", ""), "--deny: want a path, got nothing"),
        (("node", "--allow", ""), "--allow: want a path, got nothing"),
        (("node", "--data", ""), "--data: want a path, got nothing"),
    ],
)  # fmt: skip
def test_usage_errors(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    told = cli(*(str(tmp_path / "file") if word == "FILE" else word for word in arguments))
    assert told.code == 2, told
    assert told.out == ""
    assert told.err.startswith("archipel: error: ")
    assert message in told.err
    assert not (tmp_path / "home" / "deposits.sqlite").exists()
    assert not (tmp_path / "home" / "devnet").exists()
    assert not (tmp_path / "home" / "node").exists()


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (("--quota", "4MiB", "--depositor-share", "50%"), "2.1 MB"),
        (("--quota", "20MB", "--depositor-share", "10%"), "2.0 MB"),
        (("--quota", "20MB", "--subnet-share", "10%"), "2.0 MB"),
        (("--quota", "0"), "0 B"),
        (("--quota", "2150000", "--depositor-share", "100%", "--subnet-share", "100%"), "2.1 MB"),
    ],
)
def test_a_quota_for_less_than_a_chunk_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], room: str
) -> None:
    """And the node starts all the same."""
    started: list[NodeConfig] = []
    monkeypatch.setattr("node.cli.node.trio.run", lambda run, wanted, *_, **__: started.append(wanted))
    told = cli("node", *options)
    assert (told.code, told.out, len(started)) == (0, "", 1)
    assert told.err == (
        f"archipel: hardly anything will fit: a full chunk takes 2.1 MB, and of this quota {room} can go to one "
        "depositor (--quota, --depositor-share, --subnet-share)\n"
    )


def test_a_quota_for_one_chunk_is_enough(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.node.trio.run", lambda *_, **__: None)
    assert cli("node", "--quota", f"{2 * FULL_CHUNK_BYTES}").err == ""
    assert cli("node").err == ""
    assert FULL_CHUNK_BYTES == 2_105_344, "as docs/operations.md has it"


def test_a_list_that_cannot_be_read_names_its_option(cli: Cli, tmp_path: Path) -> None:
    told = cli("node", "--listen", "127.0.0.1:0", "--deny", str(tmp_path / "nowhere"))
    assert (told.code, told.out) == (2, "")
    assert told.err == f"archipel: error: --deny: cannot read '{tmp_path}/nowhere': No such file or directory\n"


def test_the_help_says_what_an_option_takes(cli: Cli) -> None:
    text = cli("node", "--help").out
    for option in ("--quota SIZE", "--depositor-share P", "--subnet-share P", "--up R"):
        assert f"{option} " in text
    assert "--quota SIZE " in cli("devnet", "up", "--help").out


def test_a_hint_names_the_help_of_the_command(cli: Cli) -> None:
    assert cli("fetch").err == "archipel: error: Missing argument 'LINK'.\nhint: archipel fetch --help\n"
    assert cli("nope").err.endswith("hint: archipel --help\n")
