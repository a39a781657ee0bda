"""What counting finds out of a deposit's segments, in little memory: there may be 100,000."""

from collections import Counter
from dataclasses import dataclass, field

from node.keeping.survival import Holding, Survival
from protocol.ids import NodeId, PublicKey, SegmentId, node_id
from protocol.records import ProviderRecord

RECORDS_KEPT = 4096
"""Segments that are not whole of which it is remembered by which records their chunks were found."""
THIN = 1
"""So many chunks more than k, or fewer, and a segment does not wait until the others are counted."""


@dataclass(frozen=True, slots=True)
class SegmentHealth:
    """One segment's live chunks."""

    id: SegmentId
    k: int
    """0 when nobody has shown its descriptor."""
    n: int
    holdings: tuple[Holding, ...]
    expires: int
    """When the first of its holders may drop it, seconds since 1970-01-01 UTC; 0 when unknown. When leases of one
    deposit were asked about: when these end; 0 also when a holder has none."""
    noticed: int = 0
    """Missing chunks that a live holder counts as lost: they are being rebuilt. 0 where too few are live for that."""
    records: tuple[ProviderRecord, ...] = ()
    """By which the live ones were found, in the order of the holdings; of a whole segment none, and none of those after
    the first few thousand that are not."""

    @property
    def live(self) -> int:
        """Distinct chunks that passed an audit just now."""
        return len({holding.index for holding in self.holdings})

    @property
    def countries(self) -> dict[str, int]:
        """Live chunks by claimed country."""
        return dict(sorted(Counter(holding.country for holding in self.holdings).items()))

    @property
    def readable(self) -> bool:
        return 0 < self.k <= self.live

    @property
    def thin(self) -> bool:
        """It can be restored, and a loss or two more would be the end of it."""
        return self.readable and self.live < min(self.n, self.k + THIN + 1)


@dataclass(frozen=True, slots=True)
class Health:
    """A whole deposit."""

    segments: tuple[SegmentHealth, ...]
    survives: Survival

    @property
    def healthy(self) -> bool:
        """Every chunk of every segment is live."""
        return all(segment.live == segment.n > 0 for segment in self.segments)

    @property
    def readable(self) -> bool:
        return all(segment.readable for segment in self.segments)

    @property
    def expires(self) -> int:
        """The earliest expiry; 0 when unknown."""
        return min((segment.expires for segment in self.segments if segment.expires), default=0)


@dataclass(slots=True, eq=False)
class Count:
    """What is known of one segment so far."""

    id: SegmentId
    length: int
    """Bytes of plaintext not told to the progress yet."""
    k: int = 0
    n: int = 0
    live: list[ProviderRecord] = field(default_factory=list)
    """By which chunks were found that passed."""
    expires: dict[NodeId, int] = field(default_factory=dict)
    noticed: int = 0
    unasked: int = 0
    """Questions of the first round that are open."""

    waiting: bool = False
    """Whether a holder was silent in the first round."""
    over: bool = False
    """Whether nobody will be asked about it any more."""

    @property
    def thin(self) -> bool:
        """As it stands now."""
        return len({record.index for record in self.live}) < min(self.n, self.k + THIN + 1)


class Shelf:
    """What many counted segments have in common, once: the same nodes hold chunks of most of them."""

    def __init__(self) -> None:
        self._holdings: dict[tuple[int, PublicKey, str], Holding] = {}
        self._nodes: dict[PublicKey, NodeId] = {}
        self._records = 0

    def health(self, count: Count) -> SegmentHealth:
        """What is to be told of a segment that was counted."""
        found = sorted(((self._node(record.key), record) for record in count.live), key=lambda it: (it[1].index, it[0]))
        holdings = tuple(self._holding(node, record) for node, record in found)
        first = min((count.expires.get(holding.node, 0) for holding in holdings), default=0)
        live = len({holding.index for holding in holdings})
        noticed = min(count.noticed, count.n - live) if live >= count.k else 0
        records: tuple[ProviderRecord, ...] = ()
        if live < count.n and self._records < RECORDS_KEPT:
            self._records += 1
            records = tuple(record for _, record in found)
        return SegmentHealth(count.id, count.k, count.n, holdings, first, noticed, records)

    def _node(self, key: PublicKey) -> NodeId:
        if key not in self._nodes:
            self._nodes[key] = node_id(key)
        return self._nodes[key]

    def _holding(self, node: NodeId, record: ProviderRecord) -> Holding:
        place = record.index, record.key, record.country
        if place not in self._holdings:
            self._holdings[place] = Holding(record.index, node, record.country)
        return self._holdings[place]
