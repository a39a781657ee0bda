"""Settings in four layers (node/config.py)."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from node.config import (
    Config,
    load_config,
    parse_duration,
    parse_key,
    parse_share,
    parse_size,
    resolve,
    split_host_port,
)
from node.errors import ConfigError
from protocol.accountkey import format_account_key
from protocol.ids import Address
from tests.strategies import IDENTITY


def load(home: Path, environ: Mapping[str, str] | None = None, **flags: object) -> Config:
    return load_config({"ARCHIPEL_HOME": str(home), **(environ or {})}, flags)


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path) == Config(home=tmp_path, network="archipel", join=())


def test_flags_beat_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('network = "file"\njoin = ["file:1"]\n')
    assert load(tmp_path) == Config(tmp_path, "file", ("file:1",))
    environ = {"ARCHIPEL_NETWORK": "env", "ARCHIPEL_JOIN": "env:1, env:2,"}
    assert load(tmp_path, environ) == Config(tmp_path, "env", ("env:1", "env:2"))
    assert load(tmp_path, environ, network="flag", join=("flag:1",)) == Config(tmp_path, "flag", ("flag:1",))
    assert load(tmp_path, environ, network=None, join=()) == Config(tmp_path, "env", ("env:1", "env:2"))
    assert load(tmp_path, {"ARCHIPEL_NETWORK": ""}).network == "file"


def test_the_home_decides_which_file_is_read(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(f'network = "{name}"')
    assert load(tmp_path / "one").network == "one"
    environ = {"ARCHIPEL_HOME": str(tmp_path / "one")}
    assert load_config(environ, {"home": str(tmp_path / "other")}) == Config(tmp_path / "other", "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks = 'x'", "unknown key 'networks'"),
        ("home = 'x'", "unknown key 'home'"),
        ("network = 5", "network must be text"),
        ("join = 'a:1'", "join must be a list"),
        ("join = ['a']", "want HOST:PORT"),
        ("join = ['a:1', 5]", "want HOST:PORT, got '5'"),
        (f"join = [0x{'f' * 5000}]", "join must be a list of HOST:PORT"),  # str() of so long a number fails
        (f"network = {'1' * 5000}", "config.toml"),  # and so does int()
        (f"network = {'[' * 5000}", "config.toml"),
        ("network = ", "config.toml"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"network = '\xff'")
    with pytest.raises(ConfigError, match=r"^cannot read '.*/config.toml': not UTF-8$"):
        load(tmp_path)
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^cannot read '.*/config.toml': Is a directory$"):
        load(tmp_path)


def test_the_home_of_somebody_who_is_not_there() -> None:
    with pytest.raises(ConfigError, match="whose home folder '~nobody-of-that-name/x' is in"):
        load_config({"ARCHIPEL_HOME": "~nobody-of-that-name/x"}, {})


@pytest.mark.parametrize("name", ["", "x" * 65, "ü" * 33, "\udcff"])
def test_bad_networks(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="network"):
        Config(home=tmp_path, network=name)
    assert Config(home=tmp_path, network="ü" * 32)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host:1", ("host", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("h:0", ("h", 0)),
    ],
)
def test_host_and_port(text: str, found: tuple[str, int]) -> None:
    assert split_host_port(text) == found


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:65536", "host:-1", "host:x", "host:١", "::1:80", "[]:1", "host:1 "]
)
def test_no_host_and_port(text: str) -> None:
    with pytest.raises(ConfigError):
        split_host_port(text)


def test_addresses_need_no_lookup() -> None:
    assert resolve("127.0.0.1:5") == [Address("127.0.0.1", 5)]
    assert resolve("[::1]:5") == [Address("::1", 5)]
    for host, why in (("no..such..host", "no name can be so"), ("nowhere.invalid", r"[A-Z][^[]*")):
        with pytest.raises(ConfigError, match=rf"^cannot look up '{host}': {why}$"):  # and no number
            resolve(f"{host}:1")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("50GB", 50 * 10**9), ("1.5 MiB", 3 * 2**19), ("2tb", 2 * 10**12), (" 7 kib ", 7168)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5XB", "-", "1..5GB", "5 G B", "inf", "nan", "-1", "-5GB", "1e400GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_size(text)


@pytest.mark.parametrize(("text", "share"), [("50%", 0.5), ("100%", 1.0), (" 12.5% ", 0.125)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "%", "50", "0.5", "0%", "-1%", "101%", "nan%", "inf%", "half%"])
def test_no_shares(text: str) -> None:
    with pytest.raises(ConfigError, match="want a share"):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("180d", 15_552_000), ("1y", 31_536_000)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5d", "1", "1x", "1 d", "٣d", "9" * 30 + "y"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_duration(text)


def test_a_depositor_s_key_in_either_form() -> None:
    text = format_account_key(IDENTITY.key)
    for given in (IDENTITY.key.hex(), IDENTITY.key.hex().upper(), text, text.upper(), f" {text}\n"):
        assert parse_key(given) == IDENTITY.key
    for given, why in ((text[:-1], "mistyped or cut short"), ("archipel-key:", "."), ("ab" * 31, "64 hexadecimal")):
        with pytest.raises(ConfigError, match=why):
            parse_key(given)
