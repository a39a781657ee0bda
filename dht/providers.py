"""Provider records this node keeps for others (docs/spec/dht.md section 6).

Signatures are checked before a record is first shown to anybody, or takes another's place, and not when it
arrives: a publish brings each node a dozen records per segment, most of which nobody asks that node for. A
check on arrival would keep no rubbish out either: keys are free, and an attacker signs as fast as we verify.
"""

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from dht.contact import believable, subnet, unpack_contact
from protocol.datagrams import MAX_BODY_BYTES, MAX_PAGE_RECORDS, NO_MORE, TOKEN_BYTES
from protocol.errors import RemoteProtocolError
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES, Network
from protocol.ids import Address, PublicKey, SegmentId, node_id
from protocol.records import MAX_INDEX, PROVIDER_RECORD_BYTES, open_provider

MAX_LIFE_SECONDS = 48 * 3600
PER_INDEX = 4
PER_SEGMENT = 64
PER_SUBNET = 100_000
"""Records from one public /24 or /48. Loopback and private sources share the total alone."""
MAX_RECORDS = 400_000
"""In all: about 120 MB, 30,000 segments of 12 chunks."""

_PAGE_BYTES = MAX_BODY_BYTES - (1 + 2 + TOKEN_BYTES + 1 + 1)
_ADDRESS_AT = 1 + KEY_BYTES + 8 + 2
_RECORD_HEAD = 2
"""What msgpack puts before a record."""


class _Record:
    """A packed record, read in place: there may be hundreds of thousands."""

    __slots__ = ("checked", "data", "source")

    def __init__(self, data: bytes, source: bytes | None) -> None:
        self.data = data
        self.source = source
        """The announcer's subnet, where one is counted."""
        self.checked = False

    @property
    def index(self) -> int:
        return self.data[0]

    @property
    def key(self) -> PublicKey:
        return PublicKey(self.data[1 : 1 + KEY_BYTES])

    @property
    def expiry(self) -> int:
        return int.from_bytes(self.data[1 + KEY_BYTES : 9 + KEY_BYTES], "big")

    @property
    def address(self) -> Address:
        """Where the holder says it listens. Raises RemoteProtocolError."""
        return unpack_contact(self.key + self.data[_ADDRESS_AT:-SIGNATURE_BYTES]).address

    @property
    def slot(self) -> bytes:
        """Index and key: a holder has one record for each chunk it holds."""
        return self.data[: 1 + KEY_BYTES]


def _acceptable(record: _Record, by: Address, now: float) -> bool:
    """Whether a record has the right form and life, and an address its announcer can vouch for."""
    if len(record.data) not in PROVIDER_RECORD_BYTES:
        return False
    try:
        address = record.address
    except RemoteProtocolError:
        return False
    alive = now < record.expiry <= now + MAX_LIFE_SECONDS
    return alive and record.index <= MAX_INDEX and believable(address, by)


class ProviderStore:
    """Who holds what, as far as we were told. Bounded; whoever is in stays in."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._segments: OrderedDict[SegmentId, list[_Record]] = OrderedDict()
        """In the order purge() looks at them."""
        self._sources: Counter[bytes] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, segment: SegmentId, records: Iterable[bytes], by: Address, now: float) -> int:
        """Take records somebody announced.

        Args:
            segment: What they are about.
            records: Packed provider records.
            by: The announcer's address.
            now: Wall clock, seconds.

        Returns:
            How many are kept now, those we had before included.
        """
        source = subnet(by.host)
        named = (_Record(data, source) for data in records)
        return sum(self._add(segment, record, now) for record in named if _acceptable(record, by, now))

    def _add(self, segment: SegmentId, record: _Record, now: float) -> bool:
        slot = record.slot
        old = next((other for other in self._segments.get(segment, ()) if other.data.startswith(slot)), None)
        if old is not None:
            return self._renew(segment, old, record)
        if not self._room(segment, record, now):
            return False
        kept = self._segments.setdefault(segment, [])
        insort(kept, record, key=lambda other: other.index)  # behind its equals: whoever came first stays first
        self._count += 1
        if record.source is not None:
            self._sources[record.source] += 1
        return True

    def _renew(self, segment: SegmentId, old: _Record, new: _Record) -> bool:
        """A record of the same holder and chunk: the same again, a later one, or rubbish in its name."""
        if old.data == new.data:
            return True
        if self._genuine(segment, old) and new.expiry <= old.expiry:
            return False
        if not self._genuine(segment, new):
            return False
        old.data, old.checked = new.data, True
        return True

    def _genuine(self, segment: SegmentId, record: _Record) -> bool:
        """Whether its holder signed it; found out once."""
        if not record.checked:
            try:
                opened = open_provider(self._network.id, segment, record.data)
            except RemoteProtocolError:
                return False
            record.checked = self._network.admits(node_id(opened.key))
        return record.checked

    def _room(self, segment: SegmentId, record: _Record, now: float) -> bool:
        if not self._fits(segment, record):
            self._keep(segment, [old for old in self._alive(segment, now) if self._genuine(segment, old)])
            if not self._fits(segment, record):
                return False
        if self._count >= MAX_RECORDS:
            self.purge(now)
        crowded = record.source is not None and self._sources[record.source] >= PER_SUBNET
        return self._count < MAX_RECORDS and not crowded

    def _fits(self, segment: SegmentId, record: _Record) -> bool:
        """Within the caps of a segment. A key has none of its own: who is alone holds every chunk."""
        kept = self._segments.get(segment, ())
        if len(kept) < PER_INDEX:
            return True
        index = record.index
        return len(kept) < PER_SEGMENT and sum(other.data[0] == index for other in kept) < PER_INDEX

    def page(self, segment: SegmentId, first: int, now: float) -> tuple[tuple[bytes, ...], int]:
        """Records of index ``first`` and up, whole indices, as many as one reply holds.

        Returns:
            The records in order of index, and the first index left out (32: none).
        """
        page: list[bytes] = []
        room = _PAGE_BYTES
        rubbish = []
        start = 0
        after = NO_MORE
        for record in self._alive(segment, now):
            if record.index < first:
                continue
            if not self._genuine(segment, record):
                rubbish.append(record)
                continue
            if not page or page[-1][0] != record.index:
                start = len(page)
            room -= _RECORD_HEAD + len(record.data)
            if room < 0 or len(page) >= MAX_PAGE_RECORDS:
                after = record.index
                if page[-1][0] == after:
                    del page[start:]  # an index is sent whole or not at all: 4 records always fit
                break
            page.append(record.data)
        if rubbish:
            self._keep(segment, [record for record in self._segments[segment] if record not in rubbish])
        return tuple(page), after

    def _alive(self, segment: SegmentId, now: float) -> list[_Record]:
        return [record for record in self._segments.get(segment, ()) if record.expiry > now]

    def _keep(self, segment: SegmentId, records: Sequence[_Record]) -> None:
        """Drop all records of a segment but these."""
        if segment not in self._segments:
            return
        for record in self._segments[segment]:
            if record not in records:
                self._count -= 1
                if record.source is not None:
                    self._sources[record.source] -= 1
                    if not self._sources[record.source]:
                        del self._sources[record.source]
        if records:
            self._segments[segment] = list(records)
        else:
            del self._segments[segment]

    def purge(self, now: float, most: int = 2_000) -> None:
        """Drop what has expired in the next ``most`` segments, a few milliseconds; the next call goes on."""
        for _ in range(min(most, len(self._segments))):
            segment = next(iter(self._segments))
            self._segments.move_to_end(segment)
            alive = self._alive(segment, now)
            if len(alive) < len(self._segments[segment]):
                self._keep(segment, alive)


__all__ = [
    "MAX_LIFE_SECONDS",
    "MAX_RECORDS",
    "PER_INDEX",
    "PER_SEGMENT",
    "PER_SUBNET",
    "ProviderStore",
]
