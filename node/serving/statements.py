"""What this node says of itself and of the chunks it holds, signed (docs/spec/wire.md section 6)."""

import math
from importlib.metadata import PackageNotFoundError, version

from node.clock import Clock
from node.intervals import Intervals
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from protocol.identity import Identity, Network
from protocol.ids import Address
from protocol.messages import PutReply
from protocol.records import NodeRecord, ProviderRecord, Receipt, sign_node_record, sign_receipt

PROVIDER_LIVES = 2
"""How many intervals between announcements a provider record lives (docs/spec/dht.md section 6)."""
_EVERY = Intervals().announce


def software() -> str:
    """What node records call this program."""
    try:
        return f"archipel {version('archipel')}"[:32]
    except PackageNotFoundError:  # run from a source folder
        return "archipel"


class Statements:
    """Signs for a node. ``address``, ``reachable`` and ``leaving`` change while it runs; everything else is fixed."""

    def __init__(
        self,
        identity: Identity,
        network: Network,
        clock: Clock,
        store: ChunkStore,
        *,
        country: str,
        address: Address,
        storing: bool = False,
        announce_seconds: float = _EVERY,
    ) -> None:
        """
        Args:
            identity: The node's.
            network: The node's.
            clock: Dates what is signed.
            store: Asked for the free space.
            country: Claimed; empty for unknown.
            address: Where peers reach this node.
            storing: Whether chunks are accepted.
            announce_seconds: How often each chunk is announced.
        """
        self.identity = identity
        self.network = network
        self.country = country
        self.address = address
        self.reachable = storing
        self.leaving = False
        """Whether all chunks are being handed on: none are taken then."""
        self._clock = clock
        self._store = store
        self._provider_seconds = math.ceil(PROVIDER_LIVES * announce_seconds)
        self._software = software()

    @property
    def storing(self) -> bool:
        """Whether chunks are taken."""
        return self.reachable and not self.leaving

    def node_record(self) -> bytes:
        """The node record as of now."""
        record = NodeRecord(
            network=self.network.id,
            key=self.identity.key,
            address=self.address,
            country=self.country,
            free_bytes=self._store.free_bytes if self.storing else 0,
            storing=self.storing,
            time=int(self._clock.wall()),
            software=self._software,
        )
        return sign_node_record(self.identity, record)

    def receipt(self, chunk: HeldChunk, expiry: int) -> bytes:
        """The promise to keep a chunk as long as its lease, which ends at ``expiry``."""
        receipt = Receipt(
            network=self.network.id,
            key=self.identity.key,
            segment=chunk.segment,
            index=chunk.index,
            chunk_id=chunk.chunk_id,
            expiry=expiry,
            country=self.country,
            time=int(self._clock.wall()),
        )
        return sign_receipt(self.identity, receipt)

    def provider(self, chunk: HeldChunk) -> bytes:
        """The statement where a chunk is, for the DHT."""
        return ProviderRecord.sign(
            self.identity,
            self.network.id,
            chunk.segment,
            index=chunk.index,
            expiry=int(self._clock.wall()) + self._provider_seconds,
            country=self.country,
            address=self.address,
        )

    def put_reply(self, chunk: HeldChunk, expiry: int) -> PutReply:
        """What acknowledges a put."""
        return PutReply(receipt=self.receipt(chunk, expiry), provider=self.provider(chunk))
