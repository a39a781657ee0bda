"""Four layers: command line > environment > configuration file > default; before the command or after it."""

import os
from pathlib import Path

import pytest

from node.cli import options
from node.config import Config, load_config
from node.errors import ConfigError
from tests.node.cli.conftest import Cli


def _config(cli: Cli, *arguments: str) -> Config:
    """What a command line makes of the settings; it ends there, for want of a link."""
    assert cli(*arguments).code == 2
    return options.settings().config()


def _write(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)


def test_the_layers(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    assert _config(cli, "ls", "x") == Config(home=home, network="archipel", join=())

    _write(home, 'network = "file"\njoin = ["file:1", "file:2"]\n')
    assert _config(cli, "ls", "x") == Config(home=home, network="file", join=("file:1", "file:2"))

    monkeypatch.setenv("ARCHIPEL_NETWORK", "environment")
    monkeypatch.setenv("ARCHIPEL_JOIN", "environment:1, environment:2,")
    found = _config(cli, "ls", "x")
    assert (found.network, found.join) == ("environment", ("environment:1", "environment:2"))

    found = _config(cli, "--network", "flag", "ls", "x")
    assert (found.network, found.join) == ("flag", ("environment:1", "environment:2"))
    found = _config(cli, "ls", "x", "--join", "flag:1", "--join", "flag:2")
    assert (found.network, found.join) == ("environment", ("flag:1", "flag:2")), "a list replaces, it does not add"


def test_the_home_is_chosen_before_its_file_is_read(cli: Cli, tmp_path: Path) -> None:
    _write(tmp_path / "home", 'network = "of the environment"\n')
    _write(tmp_path / "other", 'network = "of the other"\n')
    assert _config(cli, "ls", "x").network == "of the environment"
    assert _config(cli, "ls", "x", "--home", str(tmp_path / "other")).network == "of the other"


def test_a_home_below_the_users_own(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _config(cli, "ls", "x", "--home", "~/there").home == tmp_path / "there"
    monkeypatch.delenv("ARCHIPEL_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert _config(cli, "ls", "x").home == tmp_path / ".local" / "share" / "archipel"


def test_an_empty_variable_is_none(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIPEL_NETWORK", "")
    monkeypatch.setenv("ARCHIPEL_JOIN", "")
    assert _config(cli, "ls", "x").network == "archipel"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--network", "here", "--json", "ls", "x"),
        ("ls", "--network", "here", "--json", "x"),
        ("ls", "x", "--json", "--network", "here"),
        ("--json", "ls", "x", "--network", "here"),
        ("--network", "elsewhere", "--json", "ls", "x", "--network", "here"),
    ],
)
def test_before_and_after_the_command(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert _config(cli, *arguments).network == "here"
    assert options.settings().json


@pytest.mark.parametrize(
    "arguments",
    [
        ("--network", "here", "devnet", "kill"),
        ("devnet", "--network", "here", "kill"),
        ("devnet", "kill", "--network", "here"),
    ],
)
def test_around_the_commands_of_a_group(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).code in (2, 3)
    assert options.settings().config().network == "here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('netwrok = "x"\n', "unknown key 'netwrok'"),
        ('home = "/tmp"\n', "unknown key 'home'"),
        ("network = 5\n", "network must be text"),
        ('join = "a:1"\n', "join must be a list of HOST:PORT"),
        ('join = ["nowhere"]\n', "want HOST:PORT, got 'nowhere'"),
        ("join = [5]\n", "want HOST:PORT, got '5'"),
        ('network = ""\n', "the network's name must be 1 to 64 bytes"),
        ("network", "config.toml: "),
        ('join = ["a\\u0000b:1"]\n', "cannot look up"),
    ],
)
def test_a_configuration_file_that_is_wrong(cli: Cli, tmp_path: Path, text: str, message: str) -> None:
    _write(tmp_path / "home", text)
    (tmp_path / "file").write_bytes(b"")
    told = cli("publish", str(tmp_path / "file"))
    assert told.code == 2
    assert message in told.err


def test_a_hint_names_the_known_keys(cli: Cli, tmp_path: Path) -> None:
    _write(tmp_path / "home", "nope = 1\n")
    told = cli("publish", str(tmp_path))
    assert str(tmp_path / "home" / "config.toml") in told.err, "the layer is named"
    assert told.err.endswith("hint: known keys: intervals, join, network\n")


def test_a_configuration_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        load_config({"ARCHIPEL_HOME": str(tmp_path)}, {})
    os.rmdir(tmp_path / "config.toml")
    (tmp_path / "config.toml").write_bytes(b'network = "\xff"\n')
    with pytest.raises(ConfigError, match="cannot read"):
        load_config({"ARCHIPEL_HOME": str(tmp_path)}, {})
