"""How often a node does what it does unasked, and how long it waits before it acts (docs/operations.md, "Healing").

Everything that depends on a clock and is the operator's to set is here: a local network runs the same code as a real
one, only with shorter times.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

from node.config import parse_duration, parse_size
from node.errors import ConfigError

HOUR = 3600.0
DAY = 24 * HOUR
MAX_ANNOUNCE = DAY
"""A record lives for two intervals, and none may live longer than 48 hours (docs/spec/dht.md section 6)."""

_ORDER = (
    ("short_grace", "grace", "the more chunks of a segment are missing, the sooner they are rebuilt"),
    ("tick", "ping", "what is due is found at a tick"),
)
"""Which interval may not be above which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Seconds, but for the one rate. The defaults are the design's (docs/design.md, "Repair")."""

    ping: float = 300.0
    """A node with which we share segments, and which has been silent for so long, is asked for a sign of life."""
    survey: float = DAY
    """Each such node is asked so often what it holds of the segments we share."""
    audit: float = 7 * DAY
    """A random block of each chunk is asked for so often, by one of the other holders."""
    scrub: float = 30 * DAY
    """Each of our own chunks is read and checked so often."""
    announce: float = DAY / 2
    """What we hold is announced in the DHT so often; a record lives twice as long."""
    grace: float = 6 * HOUR
    """One chunk missing: so long its holder may stay away before the chunk is rebuilt elsewhere."""
    short_grace: float = 1800.0
    """The same with two or more missing, down to k+2 chunks. With fewer, or one country from loss, there is none."""
    rank: float = 600.0
    """A repair is begun by the first in rank; each further one waits so much longer."""
    tick: float = 60.0
    """How often it is looked whether something is due."""
    trash: float = 7 * DAY
    """A chunk whose leases have ended is kept so long: a renewal brings it back."""
    tend: float = DAY
    """Each deposit that the node keeps for its own depositor is counted so often, renewed and restored."""
    repair_rate: float = 8e6
    """Bytes a second that repair may take of our line, both ways together."""

    def settings(self) -> str:
        """The table of a settings file that says the same."""
        lines = [
            f'{name} = "{value:.0f}{"" if name == "repair_rate" else "s"}"' for name, value in asdict(self).items()
        ]
        return "\n".join(["[intervals]", *lines, ""])

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Self:
        """From a settings file's table: durations such as "6h", and repair_rate, a size such as "8MB" a second.

        Raises:
            ConfigError: An unknown name, not a duration or size, out of range, or two that contradict each other.
        """
        known = [item.name for item in fields(cls)]
        for name, value in table.items():
            if name not in known:
                raise ConfigError(f"unknown interval {name!r}", hint=f"known: {', '.join(known)}")
            if not isinstance(value, str):
                raise ConfigError(f"interval {name} must be text, such as '6h'")
        values = {name: _parsed(name, str(text)) for name, text in table.items()}
        if values.get("announce", 0.0) > MAX_ANNOUNCE:
            raise ConfigError(f"interval announce is at most 24h, got {table['announce']!r}")
        read = cls(**values)
        read._check_order()
        return read

    def _check_order(self) -> None:
        for lesser, greater, why in _ORDER:
            less, more = getattr(self, lesser), getattr(self, greater)
            if less > more:
                raise ConfigError(
                    f"interval {lesser} ({less:.0f} s) is above {greater} ({more:.0f} s): {why}",
                    hint=f"set both {lesser} and {greater} in [intervals]",
                )


def _parsed(name: str, text: str) -> float:
    try:
        value = parse_size(text, such_as="8MB") if name == "repair_rate" else parse_duration(text)
    except ConfigError as exc:
        raise ConfigError(f"interval {name}: {exc}", hint=exc.hint) from exc
    if not value:
        raise ConfigError(f"interval {name} cannot be 0")
    return float(value)
