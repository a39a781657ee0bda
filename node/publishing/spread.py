"""What is known of one segment while it is being stored: who might hold its chunks, who does."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dht.search import Found
from node.publishing.placement import Candidate
from protocol.leases import Policy
from protocol.segment import Descriptor, Layout


@dataclass(frozen=True, slots=True)
class Terms:
    """What every lease of one publish says."""

    deposit: bytes
    sequence: int
    now: int
    expiry: int
    policy: Policy


@dataclass(slots=True)
class Spread:
    """One segment on its way to its holders."""

    descriptor: Descriptor
    lease: bytes
    """Signed, for this segment."""
    terms: Terms
    """What the lease says."""
    nearest: Sequence[Found] = ()
    """The nodes nearest to the segment id; none while nobody has had to look for them."""
    candidates: list[Candidate] = field(default_factory=list)
    """Those that answer and store, nearest first; more, if they are few."""
    holders: dict[int, Candidate] = field(default_factory=dict)
    """Chunk index to the node that is known to hold it."""
    records: dict[int, bytes] = field(default_factory=dict)
    """Provider records of chunks that have yet to be announced."""
    receipts_wanted: bool = False
    """Whether a chunk that is there already counts only with a receipt."""
    receipts: dict[int, bytes] = field(default_factory=dict)
    """Signed receipts by chunk index: of all holders if they are wanted."""

    @property
    def layout(self) -> Layout:
        return self.descriptor.layout

    @property
    def missing(self) -> list[int]:
        """Chunks without a holder."""
        return [index for index in range(self.layout.n) if index not in self.holders]
