"""Settings in four layers: command line > environment > configuration file > default."""

import ipaddress
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from node.errors import ConfigError, reason
from protocol.accountkey import SCHEME, parse_account_key
from protocol.errors import AccountKeyError
from protocol.identity import KEY_BYTES
from protocol.ids import Address

DEFAULT_NETWORK = "archipel"
DEFAULT_PORT = 4110
CONFIG_FILE = "config.toml"

_ENVIRONMENT = {"ARCHIPEL_HOME": "home", "ARCHIPEL_NETWORK": "network", "ARCHIPEL_JOIN": "join"}
_SHAPES: Mapping[str, tuple[type, str]] = {
    "network": (str, "text"),
    "join": (list, "a list of HOST:PORT"),
    "intervals": (dict, "a table"),
}
"""What the configuration file may hold."""
_UNITS = {
    "": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


_MAX_YEARS = 1000
"""Longer than anybody waits, and dates still have four digits."""


def downloads_folder() -> Path:
    """Where this user's programs put downloads: as the desktop is set up, else ``Downloads`` in the home directory."""
    return platformdirs.user_downloads_path()


@dataclass(frozen=True, slots=True)
class Config:
    """What every command needs to know."""

    home: Path = field(default_factory=lambda: platformdirs.user_data_path("archipel"))
    """Folder of the identity, the deposits' journal and the remembered contacts."""
    network: str = DEFAULT_NETWORK
    """Name of the network, 1 to 64 UTF-8 bytes. Nodes of different names never talk."""
    join: tuple[str, ...] = ()
    """HOST:PORT of nodes to join by."""
    intervals: Mapping[str, object] = field(default_factory=dict)
    """Of the configuration file alone: how often a node does what it does unasked (node/intervals.py)."""

    def __post_init__(self) -> None:
        try:
            size = len(self.network.encode())
        except UnicodeEncodeError:
            raise ConfigError(f"the network's name is not UTF-8: {self.network!r}") from None
        if not 1 <= size <= 64:
            raise ConfigError(f"the network's name must be 1 to 64 bytes, got {self.network!r}")
        for address in self.join:
            split_host_port(address)


def load_config(environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Merge the layers.

    Args:
        environ: The process environment.
        flags: Values given on the command line; None or an empty tuple means not given.

    Raises:
        ConfigError: A malformed value or unknown key, naming its layer.
    """
    merged: dict[str, object] = {}
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    environment = {key: environ[name] for name, key in _ENVIRONMENT.items() if environ.get(name)}
    home = _expand(Path(str(given.get("home") or environment.get("home") or Config().home)))
    for layer in (_read_file(home / CONFIG_FILE), environment, given):
        merged.update(layer)
    join = merged.get("join", ())
    if isinstance(join, str):
        join = tuple(part.strip() for part in join.split(",") if part.strip())
    assert isinstance(join, tuple | list)
    try:
        names = tuple(map(str, join))
    except ValueError as exc:  # a number with more digits than Python writes
        raise ConfigError(f"join must be a list of HOST:PORT: {exc}") from exc
    intervals = merged.get("intervals", {})
    assert isinstance(intervals, dict)
    network = str(merged.get("network", DEFAULT_NETWORK))
    return Config(home=home, network=network, join=names, intervals=intervals)


def _expand(home: Path) -> Path:
    try:
        return home.expanduser()
    except RuntimeError as exc:  # ~somebody who is not there
        raise ConfigError(f"cannot tell whose home folder {str(home)!r} is in") from exc


def _read_file(path: Path) -> dict[str, object]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {str(path)!r}: {reason(exc)}") from exc
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # besides its own errors: a number too long, or too much nesting
        raise ConfigError(f"{path}: {exc}") from exc
    for key, value in values.items():
        if key not in _SHAPES:
            raise ConfigError(f"{path}: unknown key {key!r}", hint=f"known keys: {', '.join(sorted(_SHAPES))}")
        wanted, told = _SHAPES[key]
        if not isinstance(value, wanted):
            raise ConfigError(f"{path}: {key} must be {told}")
    return values


def split_host_port(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` (``[V6]:PORT`` for IPv6).

    Raises:
        ConfigError: No port, or not 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ConfigError(f"want HOST:PORT, got {text!r}")
    if ":" in bare and not host.startswith("["):
        raise ConfigError(f"write an IPv6 address as [ADDRESS]:PORT, got {text!r}")
    return bare, int(port)


def resolve(text: str) -> list[Address]:
    """The addresses a ``HOST:PORT`` stands for, looked up if HOST is a name. Blocks.

    Raises:
        ConfigError: Malformed or unknown.
    """
    host, port = split_host_port(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"cannot look up {host!r}: {reason(exc)}") from exc
    hosts = dict.fromkeys(str(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in found)
    return [Address(host, port) for host in hosts]


def parse_size(text: str, such_as: str = "50GB or 512MiB") -> int:
    """Bytes from ``50GB``, ``512MiB``, ``1000000``; ``such_as`` is what an error names as examples.

    Raises:
        ConfigError: Not a number with a known unit.
    """
    digits = text.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip().lower()[len(digits) :].strip()
    try:
        size = int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = -1
    if size < 0:
        raise ConfigError(
            f"want a size such as {such_as}, got {text!r}",
            hint="a number and kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (of 1024), or nothing for bytes",
        )
    return size


def parse_share(text: str) -> float:
    """A part of a whole, above 0, at most 1, from ``50%`` or ``12.5%``.

    Raises:
        ConfigError: Not a number with a percent sign, or out of range.
    """
    number, sign = text.strip()[:-1], text.strip()[-1:]
    try:
        share = float(number) / 100 if sign == "%" else 0.0
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f"want a share such as 50%, at most 100%, got {text!r}")
    return share


def parse_key(text: str) -> bytes:
    """A depositor's public key, 32 bytes, from 64 hexadecimal digits or an account key. Raises ConfigError."""
    if text.strip().lower().startswith(SCHEME):
        try:
            return parse_account_key(text)
        except AccountKeyError as exc:
            raise ConfigError(str(exc), hint="copy all of it, from archipel-key: to its last character") from exc
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"want a depositor's public key, {2 * KEY_BYTES} hexadecimal digits or archipel-key:..., got {text[:80]!r}"
        )
    return key


def parse_duration(text: str) -> int:
    """Seconds from ``180d``, ``12h``, ``30m``, ``90s``.

    Raises:
        ConfigError: Not a whole positive number with one of these units, or over 1000 years.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not (number.isascii() and number.isdigit()) or not number.strip("0"):
        raise ConfigError(f"want a duration such as 180d or 12h, got {text!r}")
    if len(number) > 12 or int(number) * units[unit] > _MAX_YEARS * units["y"]:
        raise ConfigError(f"a duration is at most {_MAX_YEARS}y, got {text!r}")
    return int(number) * units[unit]
