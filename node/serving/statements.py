"""What this node says of itself and of the chunks it holds, signed (docs/spec/wire.md section 6)."""

from importlib.metadata import PackageNotFoundError, version

from node.clock import Clock
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from protocol.identity import Identity, Network
from protocol.ids import Address
from protocol.messages import PutReply
from protocol.records import NodeRecord, ProviderRecord, Receipt, sign_node_record, sign_receipt

PROVIDER_SECONDS = 24 * 3600
"""How long a provider record lives; holders announce twice as often (docs/spec/dht.md section 6)."""


def software() -> str:
    """What node records call this program."""
    try:
        return f"archipel {version('archipel')}"[:32]
    except PackageNotFoundError:  # run from a source folder
        return "archipel"


class Statements:
    """Signs for a node. ``address`` and ``storing`` change while it runs; everything else is fixed."""

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
        """
        self.identity = identity
        self.network = network
        self.country = country
        self.address = address
        self.storing = storing
        self._clock = clock
        self._store = store
        self._software = software()

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
            expiry=int(self._clock.wall()) + PROVIDER_SECONDS,
            country=self.country,
            address=self.address,
        )

    def put_reply(self, chunk: HeldChunk, expiry: int) -> PutReply:
        """What acknowledges a put."""
        return PutReply(receipt=self.receipt(chunk, expiry), provider=self.provider(chunk))
