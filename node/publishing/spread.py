"""What is known of one segment while it is being stored: its chunks, who might hold them, who does."""

from dataclasses import dataclass, field

from node.publishing.placement import Candidate
from protocol.leases import Policy
from protocol.seal import SealedSegment
from protocol.segment import Layout


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
    """One sealed segment on its way to its holders."""

    sealed: SealedSegment
    lease: bytes
    """Signed, for this segment."""
    terms: Terms
    """What the lease says."""
    candidates: list[Candidate]
    """Nodes that answer and store, nearest first."""
    holders: dict[int, Candidate] = field(default_factory=dict)
    """Chunk index to the node that is known to hold it."""
    records: dict[int, bytes] = field(default_factory=dict)
    """Provider records of chunks that have yet to be announced."""

    @property
    def layout(self) -> Layout:
        return self.sealed.descriptor.layout

    @property
    def missing(self) -> list[int]:
        """Chunks without a holder."""
        return [index for index in range(self.layout.n) if index not in self.holders]
