"""The command line within this process, for what ends before a network is needed."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.cli import options
from node.cli.root import run


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
