"""Records of names this node keeps for others (docs/spec/dht.md section 8).

A signature is checked before a record is kept: unlike a provider record it replaces what was there, and is written to
the disk.
"""

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dht.contact import subnet
from dht.routing import K
from protocol.datagrams import ANY_SEQUENCE, MAX_RECORDS, PutCode, RecordPut
from protocol.errors import RemoteProtocolError
from protocol.identity import Network
from protocol.ids import ID_BYTES, Address, NameId, NodeId
from protocol.names import MAX_LIFE_SECONDS, open_record

SLACK_SECONDS = 2 * 86_400
"""How far a writer's clock may be ahead of ours."""
MAX_NAMES = 50_000
"""In all: about 45 MB; some 110 MB if somebody fills it with forks of the longest records."""
PER_SUBNET = 5_000
"""Names first put from one public /24 or /48. Loopback and private sources share the total alone."""
NEAR = 2 * K
"""A new name is taken if fewer nodes that we know of are nearer to it: twice as many as a writer tells, since some of
them may be gone."""
CHANGE_SECONDS = 5.0
"""How often the records of one name may change in the long run: each change is some 10 kB of writing."""
CHANGE_BURST = 100
"""So many changes may come at once: of a script that publishes file after file."""
SOURCE_SECONDS = 0.05
"""How often one public /24 or /48 may have us write, whatever the name."""
SOURCE_BURST = PER_SUBNET
MAX_SOURCES = 4096
"""Sources whose pace is remembered; the one longest silent gives way."""
PURGE_SECONDS = 10.0
"""How often, at most, a full store looks for names that are over when a new one wants room."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one name."""

    records: tuple[bytes, ...]
    """One, or two with the same sequence; none: it has been let go."""
    expiry: int
    """When the last of them ends; 0: there is none."""
    source: bytes | None
    """The subnet that first put it, where one is counted."""


@dataclass(slots=True)
class _Pace:
    """A bucket of ``burst`` tokens, one more every so many seconds, by the wall clock."""

    every: float
    burst: int
    full: float = float("-inf")
    """When it is full again."""

    def take(self, now: float) -> bool:
        self.full = min(max(self.full, now), now + self.every * self.burst)  # min: the clock may have been set back
        if self.full + self.every > now + self.every * self.burst:
            return False
        self.full += self.every
        return True


@dataclass(slots=True)
class _Name:
    sequence: int
    source: bytes | None
    touched: float
    pace: _Pace | None = None
    """Of a name that has changed."""
    records: dict[bytes, int] = field(default_factory=dict)
    """Record -> its expiry."""

    def kept(self) -> Kept:
        return Kept(tuple(self.records), max(self.records.values()), self.source)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a record."""

    name: NameId | None
    """What it is a record of; None: it is none at all."""
    reply: RecordPut


class RecordStore:
    """The newest record of each name, as far as we were told; the newest two when they have the same sequence."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._names: OrderedDict[NameId, _Name] = OrderedDict()
        """In the order purge() looks at them."""
        self._sources: Counter[bytes] = Counter()
        self._paces: OrderedDict[bytes, _Pace] = OrderedDict()
        """How often each source had us write."""
        self._own = 0
        self._nearer: Callable[[NameId], int] = _nobody
        self._distances: list[int] = []
        """Of all names from this node's id, in order."""
        self._purged = float("-inf")
        self.unsaved: set[NameId] = set()
        """Names of which something changed since take_unsaved()."""

    def settle(self, own: NodeId, nearer: Callable[[NameId], int]) -> None:
        """Say where this node is. Until then every name is taken for a near one; what is kept already stays.

        Args:
            own: This node's id.
            nearer: How many nodes we know of that are nearer to a name.
        """
        self._own = int.from_bytes(own, "big")
        self._nearer = nearer
        self._distances = sorted(map(self._distance, self._names))

    def _distance(self, name: NameId) -> int:
        return int.from_bytes(name, "big") ^ self._own

    def __len__(self) -> int:
        """Names of which a record is kept."""
        return len(self._names)

    def add(self, data: bytes, cas: int, by: Address, now: float) -> Verdict:
        """Judge a record that was put by somebody at ``by``.

        Args:
            data: As it came.
            cas: See :class:`protocol.datagrams.PutRecord`.
            by: Where it came from.
            now: Wall clock, seconds.
        """
        return self._add(data, cas, subnet(by.host), now)

    def load(self, rows: Iterable[tuple[bytes, bytes | None]], now: float) -> None:
        """Take what was saved: (record, source). Each is checked as if a stranger had put it."""
        for data, source in rows:
            self._add(data, ANY_SEQUENCE, source, now)
        self.unsaved.clear()

    def _add(self, data: bytes, cas: int, source: bytes | None, now: float) -> Verdict:
        try:
            record = open_record(data, self._network.id)
        except RemoteProtocolError:
            return Verdict(None, RecordPut(code=PutCode.REFUSED, sequence=0))
        name = record.name_id
        known = self._known(name, now)
        if not now < record.expiry <= now + MAX_LIFE_SECONDS + SLACK_SECONDS:
            code = PutCode.REFUSED
        elif known is None:
            known = self._first(name, source, now)
            code = PutCode.REFUSED if known is None else PutCode.KEPT
        else:
            code = _judge(known, data, record.sequence, cas)
            if code is PutCode.KEPT and record.sequence > known.sequence and not self._may_change(known, source, now):
                code = PutCode.REFUSED
        if known is not None and code in (PutCode.KEPT, PutCode.FORKED):
            self._keep(name, known, data, record.sequence, record.expiry)
            known.touched = now
        return Verdict(name, RecordPut(code=code, sequence=0 if known is None else known.sequence))

    def _may_change(self, known: _Name, source: bytes | None, now: float) -> bool:
        """Whether the disk can be asked to write another record of a name in the place of what is there."""
        if source is not None:
            pace = self._paces.setdefault(source, _Pace(SOURCE_SECONDS, SOURCE_BURST))
            self._paces.move_to_end(source)
            if len(self._paces) > MAX_SOURCES:
                self._paces.popitem(last=False)
            if not pace.take(now):
                return False
        known.pace = known.pace or _Pace(CHANGE_SECONDS, CHANGE_BURST)
        return known.pace.take(now)

    def _known(self, name: NameId, now: float) -> _Name | None:
        """What is kept of a name, without what is over."""
        known = self._names.get(name)
        if known is None:
            return None
        for data in [data for data, expiry in known.records.items() if expiry <= now]:
            del known.records[data]
        if known.records:
            return known
        self._forget(name)
        return None

    def _first(self, name: NameId, source: bytes | None, now: float) -> _Name | None:
        """Room for a name, if we are near it and there is any."""
        if self.is_far(name) or (source is not None and self._sources[source] >= PER_SUBNET):
            return None
        if len(self._names) >= MAX_NAMES and not self._make_room(name, now):
            return None
        known = self._names[name] = _Name(0, source, now)
        insort(self._distances, self._distance(name))
        if source is not None:
            self._sources[source] += 1
        return known

    def _make_room(self, name: NameId, now: float) -> bool:
        """Drop what is over, or else the farthest name, if it is farther than this one and K nodes are nearer to it."""
        if abs(now - self._purged) >= PURGE_SECONDS:  # abs: the clock may have been set back
            self._purged = now
            self.purge(now)
        if len(self._names) < MAX_NAMES:
            return True
        if self._distance(name) >= self._distances[-1]:
            return False
        farthest = NameId((self._distances[-1] ^ self._own).to_bytes(ID_BYTES, "big"))
        if self._nearer(farthest) < K:
            return False
        self.drop(farthest)
        return True

    def _keep(self, name: NameId, known: _Name, data: bytes, sequence: int, expiry: int) -> None:
        if sequence > known.sequence:
            known.sequence = sequence
            known.records.clear()
        if data not in known.records and len(known.records) < MAX_RECORDS:
            known.records[data] = expiry
            self.unsaved.add(name)

    def _forget(self, name: NameId) -> None:
        known = self._names.pop(name)
        self.unsaved.discard(name)
        del self._distances[bisect_left(self._distances, self._distance(name))]
        if known.source is not None:
            self._sources[known.source] -= 1
            if not self._sources[known.source]:
                del self._sources[known.source]

    def drop(self, name: NameId) -> None:
        """Let a name go before its time: others are nearer."""
        if name in self._names:
            self._forget(name)
            self.unsaved.add(name)

    def is_far(self, name: NameId) -> bool:
        """Whether this name would not be taken if it were new."""
        return self._nearer(name) >= NEAR

    def get(self, name: NameId, now: float) -> tuple[bytes, ...]:
        """The records kept of a name: none, one, or two with the same sequence."""
        known = self._known(name, now)
        return () if known is None else tuple(known.records)

    def names(self) -> list[NameId]:
        """All names of which a record is kept."""
        return list(self._names)

    def touched(self, name: NameId) -> float | None:
        """When its record was last put here or given on, wall clock; None: nothing is kept of it any more."""
        known = self._names.get(name)
        return None if known is None else known.touched

    def touch(self, name: NameId, now: float) -> None:
        """Note that it has been given on."""
        if name in self._names:
            self._names[name].touched = now

    def take_unsaved(self) -> dict[NameId, Kept]:
        """What changed since the last call. Nothing is unsaved afterwards."""
        changed = {name: self._names.get(name) for name in self.unsaved}
        self.unsaved.clear()
        return {name: _LET_GO if known is None else known.kept() for name, known in changed.items()}

    def purge(self, now: float, most: int = 2_000) -> None:
        """Drop what has expired among the next ``most`` names, a few milliseconds; the next call goes on."""
        for _ in range(min(most, len(self._names))):
            name = next(iter(self._names))
            self._names.move_to_end(name)
            self._known(name, now)


_LET_GO = Kept((), 0, None)


def _nobody(name: NameId) -> int:
    """A node that knows nobody is the nearest to everything."""
    return 0


def _judge(known: _Name, data: bytes, sequence: int, cas: int) -> PutCode:
    """What becomes of a record of a name that is known: the table of docs/spec/dht.md section 8."""
    if sequence < known.sequence:
        return PutCode.OLDER
    if sequence == known.sequence:
        return PutCode.KEPT if known.records.keys() == {data} else PutCode.FORKED
    return PutCode.CONFLICT if cas < known.sequence else PutCode.KEPT


__all__ = ["MAX_NAMES", "NEAR", "PER_SUBNET", "SLACK_SECONDS", "Kept", "RecordStore", "Verdict"]
