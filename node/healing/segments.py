"""What this node itself knows of a segment it holds: its descriptor, its leases, its chunks.

Of a segment whose only chunk here was lost, what the other holders say of it.
"""

from collections.abc import Sequence
from contextlib import suppress

import trio

from node.blocking import Blocking
from node.client import Client
from node.healing.ledger import CoHolder, Ledger
from node.healing.rebuild import LocalChunks
from node.healing.survey import Surveys
from node.keeping.holders import read_descriptor
from node.keeping.shown import fetch_leases
from node.net.peers import PeerError
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.errors import ProtocolError
from protocol.ids import SegmentId
from protocol.leases import Lease, open_lease
from protocol.records import ProviderRecord
from protocol.segment import Descriptor


class Segments:
    """Reads from the store."""

    def __init__(self, ledger: Ledger, client: Client, store: ChunkStore, surveys: Surveys) -> None:
        self._ledger = ledger
        self._client = client
        self._store = store
        self._surveys = surveys
        self._blocking: Blocking = client.world.blocking

    async def descriptor(self, segment: SegmentId) -> Descriptor | None:
        """A segment's descriptor; None when neither we nor any other holder can show it."""
        for index in self._ledger.held_by(segment, self._ledger.own):
            with suppress(Refusal):  # that chunk is gone: the next one will do
                data, _ = await self._blocking(self._store.proof, segment, index)
                return Descriptor.decode(data, segment)
        live = [
            _as_provider(index, node)
            for index, node in self._ledger.holders(segment)
            if node.live and node is not self._ledger.own
        ]
        return await read_descriptor(self._client, segment, live)

    async def live_leases(self, segment: SegmentId) -> list[tuple[Lease, bytes]]:
        """The leases that keep a segment: first those of the depositor our own chunk was put for, then by their end.

        Of a segment of which nothing is left here: what another holder says.
        """
        if self._ledger.held_by(segment, self._ledger.own):
            signed = await self._blocking(self._store.live_leases, segment)
            leases = [(open_lease(data, self._client.network.id), data) for data in signed]
        else:
            leases = await self._asked(segment)
        origin = await self._origin(segment)
        return sorted(leases, key=lambda item: (item[0].depositor != origin, -item[0].expiry, item[1]))

    async def _origin(self, segment: SegmentId) -> bytes:
        """The key of the depositor for whom a chunk here was put; nothing if none is here."""

        def read(index: int) -> bytes:
            with self._store.open_chunk(segment, index) as chunk:
                return open_lease(chunk.lease, self._client.network.id).depositor

        for index in self._ledger.held_by(segment, self._ledger.own):
            with suppress(Refusal, ProtocolError):
                return await self._blocking(read, index)
        return b""

    async def _asked(self, segment: SegmentId) -> list[tuple[Lease, bytes]]:
        """What the first live holder that answers has of them."""
        now = self._client.world.clock.wall()
        for _, node in self._ledger.holders(segment):
            if node.live and node is not self._ledger.own:
                with suppress(PeerError, ProtocolError, trio.TooSlowError):
                    leases = await fetch_leases(self._client, node.contact, segment)
                    return [(lease, data) for lease, data in leases if not lease.deleted and lease.expiry > now]
        return []

    def local(self, segment: SegmentId) -> LocalChunks:
        """The chunks of a segment that lie here."""
        return LocalChunks(self._store, self._blocking, segment)


def _as_provider(index: int, node: CoHolder) -> ProviderRecord:
    contact = node.contact
    return ProviderRecord(index=index, key=contact.key, expiry=0, country=node.country, address=contact.address)


def depositors_own(leases: Sequence[tuple[Lease, bytes]]) -> list[Lease]:
    """Of :meth:`Segments.live_leases`, those whose policies count: the first one's depositor's.

    Anybody can add a lease to a segment they know. It keeps the segment alive, and has no say in where it lies: else
    one that avoids all countries but one's own would bring every chunk there.
    """
    return [lease for lease, _ in leases if lease.depositor == leases[0][0].depositor]
