"""The table [intervals] of a settings file (node/intervals.py)."""

import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from dht.providers import MAX_LIFE_SECONDS
from node.config import load_config
from node.devnet import SHORT_INTERVALS
from node.errors import ConfigError
from node.intervals import DAY, MAX_ANNOUNCE, Intervals
from node.serving.statements import PROVIDER_LIVES
from tests.node.cli.conftest import Cli, cli

__all__ = ["cli"]


def _from_file(home: Path, text: str) -> Intervals:
    (home / "config.toml").write_text(text)
    return Intervals.read(load_config({"ARCHIPEL_HOME": str(home)}, {}).intervals)


def test_what_is_not_said_is_as_the_design_has_it(tmp_path: Path) -> None:
    assert _from_file(tmp_path, "") == _from_file(tmp_path, "[intervals]\n") == Intervals()
    read = _from_file(tmp_path, '[intervals]\naudit = "14d"\nping = "90s"\nrepair_rate = "2MB"\n')
    assert read == replace(Intervals(), audit=14 * DAY, ping=90, repair_rate=2e6)


def test_settings_say_the_same(tmp_path: Path) -> None:
    short = Intervals.read(SHORT_INTERVALS)
    other = Intervals(**{item.name: 1000.0 - number for number, item in enumerate(fields(Intervals))})
    for intervals in (Intervals(), short, other):
        assert _from_file(tmp_path, intervals.settings()) == intervals
        assert tomllib.loads(intervals.settings())["intervals"].keys() == asdict(intervals).keys()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('pong = "5m"', "unknown interval 'pong'"),
        ("ping = 300", "interval ping must be text, such as '6h'"),
        ('grace = "soon"', "interval grace: want a duration such as 180d or 12h, got 'soon'"),
        ('tick = "0s"', "interval tick: want a duration"),
        ('trash = "1001y"', "interval trash: a duration is at most 1000y"),
        ('repair_rate = "fast"', "interval repair_rate: want a size such as 8MB, got 'fast'"),
        ('repair_rate = "0MB"', "interval repair_rate cannot be 0"),
        ('announce = "86401s"', "interval announce is at most 24h, got '86401s'"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(cli: Cli, tmp_path: Path, line: str, message: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(f"[intervals]\n{line}\n")
    for command in (("node", "--listen", "127.0.0.1:0"), ("devnet", "up", "--nodes", "1")):
        told = cli(*command)
        assert told.code == 2
        assert told.out == ""
        assert message in told.err
        assert not (home / "node").exists()
        assert not (home / "devnet" / "devnet.json").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"short_grace": "7h"}, r"short_grace \(25200 s\) is above grace \(21600 s\): the more chunks of a segment"),
        ({"grace": "1m", "short_grace": "2m"}, r"short_grace \(120 s\) is above grace \(60 s\)"),
        ({"ping": "2s", "tick": "3s"}, r"tick \(3 s\) is above ping \(2 s\): what is due is found at a tick"),
    ],
)
def test_intervals_that_contradict_each_other(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^interval {message}") as caught:
        Intervals.read(table)
    assert caught.value.hint is not None
    assert Intervals.read({"grace": "1m", "short_grace": "1m", "ping": "2s", "tick": "2s"}).tick == 2


def test_the_known_ones_are_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text('[intervals]\npong = "5m"\n')
    told = cli("node")
    assert told.err.endswith(f"hint: known: {', '.join(item.name for item in fields(Intervals))}\n")
    (tmp_path / "home" / "config.toml").write_text("intervals = 5\n")
    assert "intervals must be a table" in cli("node").err


def test_no_record_lives_longer_than_any_node_keeps_it() -> None:
    assert Intervals.read({"announce": "24h"}).announce == MAX_ANNOUNCE
    assert MAX_ANNOUNCE * PROVIDER_LIVES == MAX_LIFE_SECONDS
    with pytest.raises(ConfigError, match="at most 24h"):
        Intervals.read({"announce": "25h"})
