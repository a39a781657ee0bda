"""`archipel account` where no terminal is needed, and what it says when one is missing."""

import json
import os
import resource
import sys
from pathlib import Path

import pytest

from node.account.phrase import phrase_of
from node.account.vault import Vault
from node.config import DEFAULT_NETWORK
from node.drive.cache import DriveCache
from node.home import Home
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key
from protocol.drive import Content, Drive, EntryKind, deposit_entry, name_entry
from protocol.drivecache import CachedDrive
from protocol.identity import Network
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, NameLink, link_payload
from protocol.names import NameKeys
from tests.node.cli.conftest import Cli
from tests.vectors.make_account import KEYS, PASSPHRASE

WORDS = phrase_of(KEYS.secret)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """With the passphrase, and a line that does not belong to it."""
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\r\nmore\n", "utf-8")
    return str(path)


@pytest.mark.parametrize("command", ["show", "unlock", "passwd"])
def test_a_home_without_an_account(cli: Cli, command: str, file: str) -> None:
    told = cli("account", command, *(["--passphrase-file", file] if command != "show" else []))
    assert (told.code, told.out) == (3, "")
    assert "this home has no account\nhint: make one: archipel account new; or: archipel account restore" in told.err


def test_locked(cli: Cli, home: Home) -> None:
    shown = cli("account", "show").out
    assert shown.startswith(f"{format_account_key(KEYS.identity.key)}\nlocked\ndrive: not shown while")
    assert cli("account", "lock").out == "it was locked\n"
    told = cli("account", "unlock")
    assert told.code == 4
    assert "no terminal to ask for a passphrase at\nhint: --passphrase-file FILE\n" in told.err
    told = cli("publish", str(home.account))
    assert told.code == 4
    assert "archipel: error: the account is locked\nhint: archipel account unlock\n" in told.err
    assert not home.has_depositor


def test_the_drive_as_it_was_last_seen(cli: Cli, unlocked: Home) -> None:
    """Without a network."""
    assert cli("account", "show").out.endswith("\ndrive: not seen on this machine\n")
    link = link_payload(Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32)))
    name = NameKeys(KEYS.name_secret("blog")).reader
    entries = [
        deposit_entry(EntryKind.DEPOSIT, b"1" * 16, b"one", Content(link=link), 1),
        deposit_entry(EntryKind.DEPOSIT, b"2" * 16, b"two", Content(link=link), 1).removed(2),
        deposit_entry(EntryKind.SHARE, b"3" * 16, b"one", Content(link=link), 1),
        name_entry(NameLink(name.key, name.read_key), "blog", b"blog", Content(), 1),
    ]
    network = Network(DEFAULT_NETWORK).id
    cache = DriveCache(unlocked.drive(network), KEYS.cache_key, network, bytes)
    cache.save(CachedDrive(drive=Drive.of(entries), seen=1_900_000_000, unsent=True))
    assert cli("account", "show").out.endswith(
        "\ndrive: 1 deposit, 1 name, 0 links, 1 share; as it was at 2030-03-17 17:46 UTC, "
        "with changes that the network has not\n"
    )
    shown = json.loads(cli("account", "show", "--json").out)
    counts = {"deposits": 1, "names": 1, "links": 0, "shares": 1}
    assert shown["drive"] == {**counts, "seen": 1_900_000_000, "unsent": True}
    unlocked.drive(network).write_bytes(b"damaged")
    told = cli("account", "show")
    assert (told.code, told.out.splitlines()[0]) == (0, format_account_key(KEYS.identity.key))
    assert "note: cannot use the drive's last copy" in told.err


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("closed", 2, "standard output is closed, or leads nowhere"),
        ("/dev/null", 2, "standard output is closed, or leads nowhere"),
        ("/dev/full", 7, "cannot write to standard output: No space left on device"),
        ("no reader", 7, "cannot write to standard output: Broken pipe"),
    ],
)
def test_without_its_words_there_is_no_account(
    cli: Cli,
    tmp_path: Path,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    code: int,
    message: str,
    as_json: list[str],
) -> None:
    if target == "closed":
        monkeypatch.setattr("sys.stdout", None)
    elif target == "no reader":
        reader, writer = os.pipe()
        os.close(reader)
        monkeypatch.setattr("sys.stdout", os.fdopen(writer, "w"))
    else:
        monkeypatch.setattr("sys.stdout", open(target, "w"))  # noqa: SIM115 - until the test ends
    told = cli("account", "new", "--passphrase-file", file, *as_json)
    sys.stdout.close()
    assert told.code == code
    assert message in told.err
    assert not Vault.of(Home(tmp_path / "home")).exists


def test_the_words_are_there_before_the_account(
    cli: Cli, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the disk, where they go into a file."""
    path = tmp_path / "words"
    synced: list[str] = []

    def create(vault: Vault, keys: AccountKeys, passphrase: str) -> None:
        assert json.loads(path.read_text())["words"] == list(phrase_of(keys.secret))
        assert synced == [str(path)]

    monkeypatch.setattr(Vault, "create", create)
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    with path.open("w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert cli("account", "new", "--passphrase-file", file, "--json").code == 0
    assert synced


def test_refused(cli: Cli, home: Home, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase")
    before = home.account.read_bytes()
    for command in ("unlock", "passwd"):
        told = cli("account", command, "--passphrase-file", str(wrong))
        assert (told.code, told.out) == (4, "")
        assert "archipel: error: wrong passphrase\n" in told.err
        assert "not the passphrase" not in told.err
    for command in ("new", "restore"):
        assert cli("account", command, "--passphrase-file", str(wrong)).code == 4
    assert home.account.read_bytes() == before
    home.account.write_bytes(b"damaged")
    assert cli("account", "show").code == 7


def test_a_passphrase_that_is_too_short_changes_nothing(cli: Cli, home: Home, file: str, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("short\n")
    before = home.account.read_bytes()
    told = cli("account", "passwd", "--passphrase-file", file, "--new-passphrase-file", str(short))
    assert told.code == 2
    assert "at least 8 characters, got 5" in told.err
    assert home.account.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\xfd\n", "a passphrase is UTF-8"), (b"x" * 5000, "is 1 to 1024 bytes")]
)
def test_files_that_hold_no_passphrase(cli: Cli, home: Home, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    told = cli("account", "unlock", "--passphrase-file", str(path))
    assert told.code == 2
    assert message in told.err
    assert cli("account", "unlock", "--passphrase-file", str(tmp_path / "missing")).code == 7


def test_for_longer_than_a_month(cli: Cli, home: Home, file: str) -> None:
    told = cli("account", "unlock", "--for", "31d", "--passphrase-file", file)
    assert told.code == 2
    assert "30 days at most" in told.err
    assert "--for: want a duration" in cli("account", "unlock", "--for", "x").err


def test_words_that_restore_nothing(cli: Cli, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tmp_path / "words"
    for phrase, message in (
        ((*WORDS[:4], "ilandd", *WORDS[5:]), "word 5, 'ilandd': did you mean 'island'?"),
        ((WORDS[1], WORDS[0], *WORDS[2:]), "the checksum does not match"),
        (WORDS[:12], "a recovery phrase has 24 words, got 12"),
    ):
        words.write_text(" ".join(phrase))
        with words.open() as stream:
            monkeypatch.setattr("node.cli.account.standard_input", lambda stream=stream: stream)
            told = cli("account", "restore", "--passphrase-file", file)
        assert (told.code, told.out) == (2, "")
        assert message in told.err
    assert not (tmp_path / "home" / "account").exists()


def test_hidden_words_are_not_repeated(cli: Cli, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was pasted."""
    monkeypatch.setattr("node.cli.account.typed_unseen", lambda prompt: "hunter2 " + " ".join(WORDS[1:]))
    told = cli("account", "restore", "--hidden", "--passphrase-file", file)
    assert told.code == 2
    assert "not of the word list: word 1\n" in told.err
    assert "hunter" not in told.err


def test_no_command_leaves_core_files(cli: Cli) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    cli("--version")
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, most)
