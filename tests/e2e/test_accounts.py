"""An account as people use it: at a terminal, by programs, and without a trace of its secrets."""

import base64
import re
from contextlib import closing, suppress
from pathlib import Path

from node.account.agent import SOCKET_FILE, ask_agent, end_agent
from node.account.phrase import phrase_of
from node.account.vault import Vault
from node.home import Home
from node.journal import Journal
from protocol.account import AccountKeys
from protocol.accountfile import Cost
from protocol.accountkey import format_account_key
from protocol.hashing import digest
from protocol.identity import Network
from protocol.ids import SegmentId
from tests.e2e.terminal import Answer, at_a_terminal
from tests.e2e.world import Net, Nodes, Person, learn_secret, root_of, until

KEYS = AccountKeys(bytes(range(100, 132)))
WORDS = phrase_of(KEYS.secret)
PASSPHRASE = "correct horse battery"
OTHER = "another passphrase"
CHEAP = Cost(1, 8192)
"""Of accounts that are made here: not what is tried, and it takes a second."""

ASKED = ("passphrase of the account: ", PASSPHRASE, True)


def cheap_account(person: Person) -> Home:
    """A home with the account of KEYS under PASSPHRASE."""
    home = Home(person.home)
    home.create()
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    return home


def new(passphrase: str) -> list[tuple[str, Answer, bool]]:
    """A passphrase typed twice."""
    return [("new passphrase: ", passphrase, True), ("once more: ", passphrase, True)]


def asked_word(screen: str) -> str:
    """The word that was asked for last, as the screen showed it before."""
    place = re.findall(r"word (\d+): ", screen)[-1]
    found = re.search(rf"(?<!\d){place} ([a-z]+)", screen)
    assert found is not None
    return found[1]


def test_made_and_restored_at_a_terminal(tmp_path: Path) -> None:
    """The words are shown and three asked back; on another machine they are all it takes."""
    person, other = Person(tmp_path / "home"), Person(tmp_path / "other")
    back: list[tuple[str, Answer, bool]] = [(r"word \d+: ", asked_word, False)] * 3
    made = at_a_terminal(person, "account", "new", answers=[*new(PASSPHRASE), *back])
    assert made.code == 0, made.screen
    key = Vault.of(Home(person.home)).key
    assert format_account_key(key) in made.screen
    words = re.findall(r"(?:^|\s)\d+ ([a-z]+)", made.screen.partition("write the 24 words down")[0])
    assert len(words) == 24

    typed: list[tuple[str, Answer, bool]] = [
        ("the 24 words: ", " ".join(words[:9]), False),
        ("from word 10 on: ", " ".join(words[9:]), False),
    ]
    restored = at_a_terminal(other, "account", "restore", answers=[*typed, *new(OTHER)])
    assert restored.code == 0, restored.screen
    assert Vault.of(Home(other.home)).key == key
    assert PASSPHRASE not in made.screen
    assert OTHER not in restored.screen


def test_unlocked_locked_and_changed_at_a_terminal(tmp_path: Path) -> None:
    person = Person(tmp_path / "home")
    home = cheap_account(person)
    wrong = at_a_terminal(person, "account", "unlock", answers=[(ASKED[0], OTHER, True)])
    assert (wrong.code, ask_agent(home)) == (4, None)
    assert "archipel: error: wrong passphrase" in wrong.screen

    unlocked = at_a_terminal(person, "account", "unlock", "--for", "2m", answers=[ASKED])
    assert unlocked.code == 0, unlocked.screen
    held = ask_agent(home)
    assert held is not None
    assert held.keys.secret == KEYS.secret
    shown = person.json("account", "show")
    assert shown == {
        "key": format_account_key(KEYS.identity.key),
        "unlocked": True,
        "until": held.until,
        "keeper": "agent",
        "drive": None,
    }
    assert person.json("account", "lock") == {"was_unlocked": True}
    assert not (person.home / SOCKET_FILE).exists()

    changed = at_a_terminal(person, "account", "passwd", answers=[ASKED, *new(OTHER)])
    assert changed.code == 0, changed.screen
    assert Vault.of(home).open(OTHER).secret == KEYS.secret
    for screen in (wrong.screen, unlocked.screen, changed.screen):
        assert not [secret for secret in (PASSPHRASE, OTHER) if secret in screen]


def test_a_node_finds_the_account_of_its_home_unlocked(nodes: Nodes) -> None:
    """It asks nobody for the passphrase, and tells how it stands."""
    person = nodes.person("home")
    home = cheap_account(person)
    (home.path / "config.toml").write_text('[intervals]\ntend = "2s"\n')
    node = nodes.start("first", "-v")

    def told() -> dict[str, object]:
        found: dict[str, object] = person.json("node", "status", "--data", node.log.with_suffix(""))["tending"]
        return found

    until(lambda: told()["locked"] is True)
    person.run("account", "unlock", "--passphrase-file", "-", stdin=f"{PASSPHRASE}\n".encode())
    try:
        until(lambda: told()["rounds"] != 0)
        assert told()["locked"] is False
    finally:
        end_agent(home)
    log = node.log.read_bytes()
    assert b"this home has an account: what is in its drive is kept while it is unlocked\n" in log
    check_nothing(log, "the log")


def test_each_deposit_keeps_its_signer(alice: Person, calm: Net, tmp_path: Path) -> None:
    """Published before there was an account, and with it; nothing of the account is found where it must not be."""
    file = tmp_path / "file"
    file.write_bytes(b"an island" * 1000)
    first = alice.run("publish", file)
    unnamed = first.text.strip()
    learn_secret(unnamed)
    assert "no account: an unnamed identity, made now" in first.err

    home = cheap_account(alice)
    locked = alice.run("publish", file, code=4)
    assert "the account is locked\nhint: archipel account unlock\n" in locked.err
    said = [alice.run("account", "unlock", "--passphrase-file", "-", stdin=f"{PASSPHRASE}\n".encode()).err]
    try:
        with alice.start("-vv", "publish", file) as publishing:
            _check_processes()
            published = publishing.finish(code=0)
        named = published.text.strip()
        learn_secret(named)
        said += [published.err, alice.run("-vv", "renew", named).err]
        assert named != unnamed
        with closing(Journal(home.journal, Network(calm.network).id)) as journal:
            roots = [SegmentId(bytes.fromhex(root_of(link))) for link in (unnamed, named)]
            (one,), (two,) = map(journal.deposits, roots)
        assert one.depositor == home.depositor().identity.key
        assert two.depositor == KEYS.identity.key
        assert one.deposit != two.deposit, "or holders could tell that both are one person"
        _check_processes()
        _check_files(alice.home)
    finally:
        end_agent(home)
    assert "the account is locked" in alice.run("renew", named, code=4).err
    alice.run("delete", unnamed)
    check_nothing("\n".join(said).encode(), "standard error")
    for node in calm.nodes:
        check_nothing((Path(node.data) / "log").read_bytes(), f"the log of {node.name}")


FORBIDDEN = {
    "the passphrase": [PASSPHRASE.encode()],
    "the words": [" ".join(WORDS[:3]).encode()],
    **{
        name: [bytes(secret), secret.hex().encode(), base64.b64encode(secret)]
        for name, secret in {
            "the account secret": KEYS.secret,
            "the convergence secret": KEYS.convergence_secret,
            "the drive secret": KEYS.drive_secret,
            "the identity's seed": digest("account identity", KEYS.secret),
        }.items()
    },
}


def check_nothing(data: bytes, where: str) -> None:
    """No secret of the account is in there, in no form."""
    found = [name for name, forms in FORBIDDEN.items() if any(form in data for form in forms)]
    assert not found, f"{where} holds {found}"


def _check_processes() -> None:
    """No process shows one in its arguments or its environment."""
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with suppress(OSError):  # it has ended, or is another user's
                check_nothing((path / name).read_bytes(), f"{name} of {path.name}")


def _check_files(folder: Path) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert {"account", "agent.lock", "deposits.sqlite"} <= {path.name for path in paths}
    for path in paths:
        check_nothing(path.read_bytes(), str(path))
        assert path.stat().st_mode & 0o077 == 0, path


def test_programs_give_files(tmp_path: Path) -> None:
    """Without a terminal: passphrases from files, words as JSON."""
    person, other = Person(tmp_path / "home"), Person(tmp_path / "other")
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    made = person.json("account", "new", "--passphrase-file", file)
    lines = f"{PASSPHRASE}\n{' '.join(made['words'])}\n".encode()
    assert other.json("account", "restore", "--passphrase-file", "-", stdin=lines) == {"key": made["key"]}
