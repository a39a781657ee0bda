"""New leases for the segments of a deposit, taken to all holders. Which leases those are, is somebody else's to say."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dht.contact import Contact
from node.client import Client
from node.keeping.holders import ask_each, contacts_of, find_holders, in_parallel, read_descriptor
from node.net.peers import PeerRefused
from node.progress import Progress
from protocol.ids import NodeId, SegmentId
from protocol.messages import ErrorCode, LeaseReply, PutLease
from protocol.records import ProviderRecord, open_provider

SEGMENTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Changed:
    """What a renewal or deletion reached."""

    segments: int
    holders: int = 0
    """Answers that took the new lease, over all segments."""
    silent: int = 0
    """Holders that did not answer or refused, over all segments."""
    expiry: int = 0
    """Seconds since 1970-01-01 UTC."""
    sequence: int = 0
    """The highest that a lease was signed with."""

    def and_also(self, other: "Changed") -> "Changed":
        """With what another deposit's leases have come to, of the same segments."""
        return Changed(
            max(self.segments, other.segments),
            self.holders + other.holders,
            self.silent + other.silent,
            max(self.expiry, other.expiry),
            max(self.sequence, other.sequence),
        )


@dataclass(frozen=True, slots=True)
class NewLease:
    """What the holders of a segment are to have."""

    data: bytes
    """Signed."""
    having: frozenset[NodeId] = frozenset()
    """Who has it already, and is not asked."""


WhichLease = Callable[[SegmentId, int, Sequence[Contact]], Awaitable[NewLease | None]]
"""The new lease of a segment of so many bytes, which these nodes are to be given; None: it is to be left alone."""


class Change:
    """One new lease for every segment, taken to all its holders."""

    def __init__(self, client: Client, which: WhichLease, progress: Progress, *, deleted: bool = False) -> None:
        """Args:
        client: Who asks.
        which: What they are given.
        progress: Told of the bytes of the segments that are done.
        deleted: Whether the leases end those before.
        """
        self._client = client
        self._which = which
        self._deleted = deleted
        self._progress = progress
        self.holders = 0
        self.silent = 0
        self.unasked = 0
        """Segments of which it is not known whether anybody holds them: nobody could be asked."""
        self.refusal = ""
        """What one of those said whose refusal stands in the way: of a deletion every one does, of a renewal those of a
        segment that too few took."""
        self.told: set[NodeId] = set()
        self.missed: set[NodeId] = set()
        """Nodes that took a lease, and that did not; some may be in both."""
        self.untaken: dict[SegmentId, str] = {}
        """Segments whose lease was taken by holders of too few chunks to read it, though more are announced; or by
        nobody. Each with what a holder said of it, if any did."""
        self.some_took: set[SegmentId] = set()
        """Those of them that somebody took."""

    async def run(self, segments: Sequence[tuple[SegmentId, int]]) -> None:
        sizes = dict(segments)
        self._progress.total = (self._progress.total or 0) + sum(sizes.values())

        async def one(segment: SegmentId) -> None:
            await self._segment(segment, sizes[segment])
            self._progress.step(done=sizes[segment])

        await in_parallel(list(sizes), SEGMENTS_AT_ONCE, one)

    def changed(self, segments: int, expiry: int, sequence: int) -> Changed:
        """What it came to."""
        return Changed(segments, self.holders, self.silent, expiry, sequence)

    async def _segment(self, segment: SegmentId, size: int) -> None:
        client = self._client
        holders = await find_holders(client, segment)
        contacts = contacts_of(holders)
        announced = bool(contacts)
        if not announced:  # nobody announces it; or is it that nobody answers us?
            nearest = [found.contact for found in await client.dht.lookup(segment)]
            self.unasked += not nearest
            contacts = [] if self._deleted else nearest  # who has it in the trash tells the others, once it is renewed
        lease = await self._which(segment, size, contacts)
        if lease is None:
            return
        work = _Put(client, segment, lease.data, holders, deleted=self._deleted)
        good, bad = await ask_each(client, [c for c in contacts if c.node_id not in lease.having], work.question)
        taken = {contact.node_id for contact in good} | lease.having
        known = not bad and announced  # all who are said to hold it took it: more cannot be done
        enough = bool(taken) and (known or self._deleted or await work.readable(taken))
        bad = bad if announced else []
        self.holders += len(good)
        self.silent += len(bad)
        self.told |= taken
        self.missed |= {contact.node_id for contact in bad}
        if not enough:
            self.untaken[segment] = work.refusal
            self.some_took |= {segment} if taken else set()
        if work.refusal and (self._deleted or not enough):
            self.refusal = work.refusal
        if work.records:
            await client.dht.announce(segment, work.records, await client.dht.lookup(segment))


class _Put:
    """The new lease of one segment, on its way."""

    def __init__(
        self, client: Client, segment: SegmentId, lease: bytes, holders: Sequence[ProviderRecord], *, deleted: bool
    ) -> None:
        self._client = client
        self._segment = segment
        self._lease = lease
        self._holders = holders
        self._countries = {holder.key: holder.country for holder in holders}
        self._deleted = deleted
        self.records: list[bytes] = []
        """Provider records that those who took it sent along."""
        self._chunks = list(holders)
        self.refusal = ""

    async def question(self, contact: Contact) -> bool:
        client = self._client
        try:
            reply, _ = await client.peers.request(contact, PutLease(lease=self._lease))
        except PeerRefused as exc:
            if self._deleted and exc.code is ErrorCode.NOT_FOUND:
                return True  # it was told before, or has lost it: nothing is left there
            if self._holders or exc.code is not ErrorCode.NOT_FOUND:
                self.refusal = str(exc)
            client.refusals.note(contact, self._countries.get(contact.key), exc)
            raise
        if not isinstance(reply, LeaseReply):
            return False
        for data in reply.providers:
            record = open_provider(client.network.id, self._segment, data)
            if record.key == contact.key:
                self.records.append(data)
                self._chunks.append(record)
        return True

    async def readable(self, nodes: set[NodeId]) -> bool:
        """Whether the chunks that these nodes say they hold are enough to read the segment."""
        there = [h for h in self._chunks if Contact(h.key, h.address).node_id in nodes]
        descriptor = await read_descriptor(self._client, self._segment, there)
        return descriptor is not None and len({holder.index for holder in there}) >= descriptor.layout.k
