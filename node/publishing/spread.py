"""What is known of one segment while it is being stored: who might hold its chunks, who does."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dht.search import Found
from node.publishing.placement import Candidate
from protocol.identity import Identity
from protocol.ids import NetworkId, PublicKey, SegmentId
from protocol.leases import MAX_SEQUENCE, Lease, Policy, sign_lease
from protocol.segment import Descriptor, Layout


@dataclass(frozen=True, slots=True)
class Terms:
    """What the leases of one deposit say, of all its segments."""

    deposit: bytes
    sequence: int
    now: int
    expiry: int
    policy: Policy

    def sign(
        self, identity: Identity, network: NetworkId, segment: SegmentId, size: int, *, deleted: bool = False
    ) -> bytes:
        """The lease of one segment.

        Args:
            identity: The depositor's.
            network: The network it is for.
            segment: Which.
            size: Its bytes of plaintext.
            deleted: Whether it ends the one before.
        """
        lease = Lease(
            network=network,
            depositor=identity.key,
            deposit=self.deposit,
            segment=segment,
            size=size,
            sequence=self.sequence,
            expiry=self.expiry,
            deleted=deleted,
            policy=self.policy,
        )
        return sign_lease(identity, lease)


@dataclass(frozen=True, slots=True)
class Column:
    """A chunk ready to be put: it has the id that the descriptor names."""

    index: int
    data: memoryview
    """The chunk as it is stored and sent, without the filling of a short block."""
    hashes: bytes
    """Its block hashes, joined."""


@dataclass(slots=True)
class Spread:
    """One segment on its way to its holders."""

    descriptor: Descriptor
    lease: bytes
    """Signed, for this segment."""
    terms: Terms
    """What the lease says."""
    depositor: PublicKey
    """Whose it is."""
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
    reviving: bool = False
    """Whether the chunks are wanted although the depositor has deleted them."""

    def outdo(self, identity: Identity, network: NetworkId, known: Lease) -> bool:
        """Sign a lease above one of the depositor's own that holders have, of a clock that was ahead of this one: for
        as long at least.

        Returns:
            Whether that was called for, and may be done.
        """
        terms = self.terms
        if not terms.sequence <= known.sequence < MAX_SEQUENCE or (known.deleted and not self.reviving):
            return False
        expiry = terms.expiry if known.deleted else max(terms.expiry, known.expiry)
        self.terms = replace(terms, sequence=known.sequence + 1, expiry=expiry)
        self.lease = self.terms.sign(identity, network, self.descriptor.id, self.layout.length)
        return True

    @property
    def layout(self) -> Layout:
        return self.descriptor.layout

    @property
    def missing(self) -> list[int]:
        """Chunks without a holder."""
        return [index for index in range(self.layout.n) if index not in self.holders]
