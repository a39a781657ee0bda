"""New leases for the segments of a deposit, taken to all holders. Which leases those are, is somebody else's to say."""

from collections.abc import Awaitable, Callable, Sequence

from dht.contact import Contact
from node.client import Client
from node.keeping.holders import ask_each, contacts_of, find_holders, in_parallel
from node.net.peers import PeerRefused
from node.progress import Progress
from node.publishing.spread import Terms
from protocol.identity import Identity
from protocol.ids import NodeId, SegmentId
from protocol.messages import ErrorCode, LeaseReply, PutLease
from protocol.records import open_provider

SEGMENTS_AT_ONCE = 8

WhichTerms = Callable[[SegmentId, Sequence[Contact]], Awaitable[Terms | None]]
"""What the new lease of a segment says, which these nodes are about to be given; None: it is to be left alone."""


def the_same(terms: Terms) -> WhichTerms:
    """The same terms for every segment."""

    async def which(segment: SegmentId, contacts: Sequence[Contact]) -> Terms:
        return terms

    return which


class Change:
    """One new lease for every segment, taken to all its holders."""

    def __init__(
        self, client: Client, identity: Identity, which: WhichTerms, progress: Progress, *, deleted: bool = False
    ) -> None:
        """Args:
        client: Who asks.
        identity: The depositor's, who signs.
        which: What to sign.
        progress: Told of the bytes of the segments that are done.
        deleted: Whether the leases end those before.
        """
        self._client = client
        self._identity = identity
        self._which = which
        self._deleted = deleted
        self._progress = progress
        self.holders = 0
        self.silent = 0
        self.unasked = 0
        """Segments of which it is not known whether anybody holds them: nobody could be asked."""
        self.refusal = ""
        """What one of those said whose refusal stands in the way: of a deletion every one does, of a renewal those of a
        segment that nobody took."""
        self.told: set[NodeId] = set()
        self.missed: set[NodeId] = set()
        """Nodes that took a lease, and that did not; some may be in both."""
        self.untaken: dict[SegmentId, str] = {}
        """Segments that nobody took the lease of, each with what a holder said of it, if any did."""

    async def run(self, segments: Sequence[tuple[SegmentId, int]]) -> None:
        sizes = dict(segments)
        self._progress.total = (self._progress.total or 0) + sum(sizes.values())

        async def one(segment: SegmentId) -> None:
            await self._segment(segment, sizes[segment])
            self._progress.step(done=sizes[segment])

        await in_parallel(list(sizes), SEGMENTS_AT_ONCE, one)

    async def _segment(self, segment: SegmentId, size: int) -> None:
        client = self._client
        holders = await find_holders(client, segment)
        countries = {holder.key: holder.country for holder in holders}
        contacts = contacts_of(holders)
        announced = bool(contacts)
        if not announced:  # nobody announces it; or is it that nobody answers us?
            nearest = [found.contact for found in await client.dht.lookup(segment)]
            self.unasked += not nearest
            contacts = [] if self._deleted else nearest  # who has it in the trash tells the others, once it is renewed
        terms = await self._which(segment, contacts)
        if terms is None:
            return
        lease = terms.sign(self._identity, client.network.id, segment, size, deleted=self._deleted)
        records: list[bytes] = []
        refusal = ""

        async def question(contact: Contact) -> bool:
            nonlocal refusal
            try:
                reply, _ = await client.peers.request(contact, PutLease(lease=lease))
            except PeerRefused as exc:
                if self._deleted and exc.code is ErrorCode.NOT_FOUND:
                    return True  # it was told before, or has lost it: nothing is left there
                if announced or exc.code is not ErrorCode.NOT_FOUND:
                    refusal = str(exc)
                client.refusals.note(contact, countries.get(contact.key), exc)
                raise
            if not isinstance(reply, LeaseReply):
                return False
            for data in reply.providers:
                if open_provider(client.network.id, segment, data).key == contact.key:
                    records.append(data)
            return True

        good, bad = await ask_each(client, contacts, question)
        bad = bad if announced else []
        self.holders += len(good)
        self.silent += len(bad)
        self.told |= {contact.node_id for contact in good}
        self.missed |= {contact.node_id for contact in bad}
        if not good:
            self.untaken[segment] = refusal
        if refusal and (self._deleted or not good):
            self.refusal = refusal
        if records:
            await client.dht.announce(segment, records, await client.dht.lookup(segment))
