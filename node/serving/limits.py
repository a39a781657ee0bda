"""What an operator limits, and may change while the node runs: its quota, and what it sends and receives.

What was changed is kept in the data folder (file ``limits``, docs/operations.md "Limits that are changed"), and counts
at the next start too, but for what the command line says then.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import trio

from node.blocking import Blocking
from node.errors import ConfigError, MachineError, machine_error
from node.home import write_private
from node.net.throttle import MIN_BYTES_PER_SECOND, Throttle
from node.store.chunkstore import ChunkStore

LIMITS_FILE = "limits"
VERSION = 1
MAX_FILE_BYTES = 4096
MOST_BYTES = 2**53 - 1
"""Of a quota, and of a rate: what every reader of JSON takes for the same number."""

Kept = Mapping[str, int | None]
"""The limits that were changed, by the names of :class:`Limits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All of them."""

    quota_bytes: int
    """What chunk and lease files may take: 0 or more."""
    up_bytes_per_second: int | None = None
    """What the node may send, MIN_BYTES_PER_SECOND or more; None: no limit."""
    down_bytes_per_second: int | None = None
    """What it may receive; likewise."""

    def __post_init__(self) -> None:
        if self.quota_bytes < 0:
            raise ConfigError(f"a quota is 0 bytes or more, got {self.quota_bytes}")
        for rate in (self.up_bytes_per_second, self.down_bytes_per_second):
            if rate is not None and rate < MIN_BYTES_PER_SECOND:
                raise ConfigError(f"a rate limit is {MIN_BYTES_PER_SECOND} bytes per second or more, got {rate}")

    def changed(self, wanted: Mapping[str, object]) -> "Limits":
        """These with some of them as wanted; the others stay. Raises ConfigError: there are no such limits."""
        return replace(self, **_checked(wanted))  # type: ignore[arg-type]  # a quota is never None


def _checked(wanted: Mapping[str, object]) -> dict[str, int | None]:
    """The names and types of changes. Raises ConfigError."""
    found: dict[str, int | None] = {}
    for name, value in wanted.items():
        if name not in Limits.__dataclass_fields__:
            raise ConfigError(
                f"there is no limit {name[:40]!r}", hint=f"known: {', '.join(Limits.__dataclass_fields__)}"
            )
        found[name] = None if value is None and name != "quota_bytes" else _bytes(name, value)
    return found


def _bytes(name: str, value: object) -> int:
    """Raises ConfigError: it is no number of bytes."""
    if not isinstance(value, int) or isinstance(value, bool) or value > MOST_BYTES:
        raise ConfigError(f"{name} must be a whole number of bytes, at most {MOST_BYTES}")
    return value


def read_kept(folder: Path) -> Kept:
    """What was changed, as the data folder has it; nothing if there is no such file. Blocks.

    Raises:
        MachineError: The file cannot be read, or is damaged.
    """
    path = folder / LIMITS_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise machine_error("read the limits", exc) from exc
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"more than {MAX_FILE_BYTES} bytes")
        found = json.loads(data)
        if not isinstance(found, dict) or found.pop("version", None) != VERSION:
            raise ConfigError(f"want an object of version {VERSION}")
        kept = _checked(found)
        Limits(quota_bytes=0).changed(kept)
    except (ConfigError, ValueError, RecursionError) as exc:
        why = exc if isinstance(exc, ConfigError) else "it is not JSON"
        raise MachineError(
            f"{path} is damaged: {why}",
            hint="remove it: then the limits are what the command line says, and can be changed again",
        ) from exc
    return kept


def _write_kept(folder: Path, kept: Kept) -> None:
    """On disk when it returns. Raises MachineError: what was there is as it was."""
    try:
        write_private(folder / LIMITS_FILE, json.dumps({"version": VERSION, **kept}).encode() + b"\n", replace=True)
    except OSError as exc:
        raise machine_error("write the limits", exc) from exc


class LimitsDesk:
    """Changes the limits of a running node."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        store: ChunkStore,
        throttle: Throttle,
        blocking: Blocking,
        *,
        given: Collection[str] = (),
    ) -> None:
        """
        Args:
            folder: The data folder.
            limits: Those in force.
            store: That has the quota.
            throttle: That has the rates.
            blocking: For the file.
            given: Those that were named on the command line: at the next start they count again.
        """
        self._folder = folder
        self._store = store
        self._throttle = throttle
        self._blocking = blocking
        self._turn = trio.Lock()
        self.limits = limits
        self.given = frozenset(given)

    async def change(self, wanted: Mapping[str, object]) -> Limits:
        """Change some limits, for now and for the next start. Returns all of them.

        A quota below what is used removes nothing: the node takes nothing more.

        Raises:
            ConfigError: There are no such limits. Nothing changes.
            MachineError: They cannot be written. Nothing changes.
        """
        async with self._turn:
            limits = self.limits.changed(wanted)
            if wanted:
                await self._blocking(self._keep, {name: asdict(limits)[name] for name in wanted})
            self.limits = limits
            self._store.set_quota(limits.quota_bytes)
            self._throttle.set(up=limits.up_bytes_per_second, down=limits.down_bytes_per_second)
            return limits

    def _keep(self, changes: Kept) -> None:
        _write_kept(self._folder, {**read_kept(self._folder), **changes})
