"""The command line within this process, for what ends before a network is needed."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.account import depositor
from node.account.held import Held
from node.account.vault import Vault
from node.cli import account, options
from node.cli.root import run
from node.home import Home
from tests.vectors.make_account import CHEAP, KEYS, PASSPHRASE


@dataclass(frozen=True, slots=True)
class Told:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Cli = Callable[..., Told]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line, in a fresh home, with nothing remembered of the one before."""
    for name in ("NETWORK", "JOIN"):
        monkeypatch.delenv(f"ARCHIPEL_{name}", raising=False)
    monkeypatch.setenv("ARCHIPEL_HOME", str(tmp_path / "home"))

    def call(*arguments: str, stdin: str = "") -> Told:
        monkeypatch.setattr(options, "_last", options.Settings())
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Told(code, out, err)

    return call


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home of :func:`cli`, with an account."""
    found = Home(tmp_path / "home")
    found.create()
    Vault.of(found).create(KEYS, PASSPHRASE, CHEAP)
    return found


@pytest.fixture
def unlocked(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The same, as if somebody kept the account unlocked."""
    for module in (depositor, account):
        monkeypatch.setattr(module, "held", lambda home, key: Held(KEYS, 2**31, "agent"))
    return home
