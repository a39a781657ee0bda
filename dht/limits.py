"""How often a source may make us verify a signature (docs/spec/dht.md sections 1 and 7)."""

from collections import OrderedDict
from dataclasses import dataclass

from dht.contact import Scope, scope
from protocol.ids import Address

MAX_SOURCES = 4096
"""Sources remembered; the one longest silent gives way."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket's size."""

    per_second: float
    burst: float


ENDPOINT = Rate(1_000, 2_000)
"""One address and port. A publisher's core is full at some 250 a second to each of 12 nodes."""
HOST = Rate(4_000, 8_000)
"""One IPv4 address or IPv6 /64: dozens of nodes and clients may share it."""
STRANGERS = Rate(4_000, 8_000)
"""All that are no contacts of ours, together: half a core. Forged sources shut out strangers only."""


@dataclass(slots=True)
class _Level:
    tokens: float
    time: float

    def take(self, rate: Rate, now: float) -> bool:
        self.tokens = min(rate.burst, self.tokens + (now - self.time) * rate.per_second)
        self.time = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Levels:
    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._levels: OrderedDict[object, _Level] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, source: object, now: float) -> bool:
        level = self._levels.get(source)
        if level is None:
            level = self._levels[source] = _Level(self._rate.burst, now)
            if len(self._levels) > MAX_SOURCES:
                self._levels.popitem(last=False)
        else:
            self._levels.move_to_end(source)
        return level.take(self._rate, now)


class Limits:
    """Token buckets per address and port, per host, and for strangers together."""

    def __init__(self) -> None:
        self._endpoints = _Levels(ENDPOINT)
        self._hosts = _Levels(HOST)
        self._strangers = _Levels(STRANGERS)

    def __len__(self) -> int:
        """Sources remembered."""
        return len(self._endpoints) + len(self._hosts) + len(self._strangers)

    def allow(self, source: Address, now: float, *, known: bool) -> bool:
        """Whether to spend a signature check on a request.

        Args:
            source: Where it came from.
            now: Monotonic seconds.
            known: A contact of ours has this address. Its name may be borrowed, its own limits still hold.
        """
        if not self._endpoints.take(source, now):
            return False
        if scope(source.host) is not Scope.LOOPBACK and not self._hosts.take(_host(source.host), now):
            return False
        return known or self._strangers.take(None, now)


def _host(host: str) -> str:
    """IPv6 hands a /64 to every house."""
    return ":".join(host.split(":")[:4]) if ":" in host else host


__all__ = ["ENDPOINT", "HOST", "MAX_SOURCES", "STRANGERS", "Limits", "Rate"]
