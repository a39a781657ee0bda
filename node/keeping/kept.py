"""Renewing and deleting a deposit by what little is remembered of it, without the journal it was published with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from dht.contact import Contact
from node.client import Client
from node.errors import RefusedError
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.home import Depositor
from node.keeping.change import Change
from node.keeping.lifetime import Changed, unfinished, untaken
from node.keeping.shown import Shown, shown_leases
from node.progress import Progress
from node.publishing.spread import Terms
from protocol.identity import Identity
from protocol.ids import SegmentId
from protocol.leases import MAX_SEQUENCE, Policy
from protocol.links import Link


@dataclass(frozen=True, slots=True)
class Kept:
    """A deposit that its depositor wants to be kept. Its text form shows no key."""

    link: Link
    """A read link or a verify link: only the index is read."""
    deposit: bytes
    """The deposit id in its leases, 16 bytes."""
    policy: Policy = Policy()
    """Of its leases."""
    expiry: int = 0
    """When its leases end, as far as is known: seconds since 1970-01-01 UTC. 0: not known."""
    sequence: int = 0
    """Of the newest lease that is known of; a new one gets a higher sequence."""


@dataclass(slots=True)
class KeptTerms:
    """Which leases to sign for a deposit: above all that its holders show, and never for a shorter time."""

    client: Client
    identity: Identity
    kept: Kept
    expiry: int
    """When they are to end, seconds since 1970-01-01 UTC."""
    deleted: bool = False
    sequence: int = 0
    """The highest that was given away."""
    longest: int = 0
    """The latest expiry of all that were."""
    left_alone: dict[SegmentId, str] = field(default_factory=dict)
    """Segments for which nothing is signed, each with the reason."""

    async def __call__(self, segment: SegmentId, contacts: Sequence[Contact]) -> Terms | None:
        """The terms for one segment, which ``contacts`` hold; None: this depositor is to leave it alone."""
        around = [] if self.deleted else [found.contact for found in await self.client.dht.lookup(segment)]
        return self.after(segment, await self.shown(segment, [*contacts, *around]))

    async def shown(self, segment: SegmentId, contacts: Sequence[Contact]) -> Shown:
        """What these nodes show of the deposit's leases on a segment.

        To be asked are the nodes nearest to it as well: former holders are among them, and remember that it was deleted
        when all that still hold it were away.
        """
        distinct = list({contact.node_id: contact for contact in contacts}.values())
        return await shown_leases(self.client, distinct, segment, self.identity.key, self.kept.deposit)

    def after(self, segment: SegmentId, shown: Shown) -> Terms | None:
        """The terms for a segment of whose leases this is shown; None as above."""
        why_not = shown.why_not(deleting=self.deleted)
        if why_not:
            self.left_alone[segment] = why_not
            return None
        now = self.client.world.clock.wall()
        known, expiry = self.kept.sequence, self.expiry
        if shown.newest is not None:
            known, expiry = max(known, shown.newest.sequence), max(expiry, shown.newest.expiry)
        if self.deleted and expiry <= now:
            return None  # its leases have ended: nobody would take a deletion
        sequence = min(max(int(now * 1000), known + 1), MAX_SEQUENCE)
        self.sequence, self.longest = max(self.sequence, sequence), max(self.longest, expiry)
        return Terms(self.kept.deposit, sequence, int(now), expiry, self.kept.policy)

    def check(self, segments: int) -> None:
        """Raises RefusedError if some of so many segments were left alone."""
        if self.left_alone:
            why = next(iter(self.left_alone.values()))
            raise RefusedError(
                f"the leases of {len(self.left_alone)} of {segments} segments are left as they are: {why}"
            )


async def renew_kept(
    client: Client, depositor: Depositor, kept: Kept, lease_seconds: int, progress: Progress
) -> Changed:
    """Make every lease of a deposit run for ``lease_seconds`` from now, or longer if it does already.

    Raises:
        RefusedError: It was deleted, or another depositor published it; or a segment has no holder that took the lease,
            and one refused.
        NotFoundError: A segment has no holder that could be asked; or the root cannot be read.
        IntegrityFailure, NetworkError: The root cannot be read.
    """
    segments = await read_segments(Downloader(client, Progress()), kept.link)
    expiry = max(kept.expiry, int(client.world.clock.wall()) + lease_seconds)
    which = KeptTerms(client, depositor.identity, kept, expiry)
    work = Change(client, depositor.identity, which, progress)
    await work.run(list(segments.items()))
    which.check(len(segments))
    if work.untaken:
        raise untaken(work, len(segments))
    return Changed(len(segments), sequence=which.sequence).and_also(work, expiry)


async def delete_kept(
    client: Client, depositor: Depositor, kept: Kept, progress: Progress, spare: Collection[SegmentId] = frozenset()
) -> Changed:
    """End every lease of a deposit, but for the segments ``spare``, which another version of it still needs.

    What has been deleted already, and what nobody announces, needs nobody's answer.

    Raises:
        RefusedError: Another depositor published it.
        NotFoundError: Some holder did not answer: call it again. Or the root cannot be read.
        IntegrityFailure, NetworkError: The root cannot be read.
    """
    found = await read_segments(Downloader(client, Progress()), kept.link)
    wanted = [item for item in found.items() if item[0] not in spare]
    root = [item for item in wanted if item[0] == kept.link.root]
    which = KeptTerms(client, depositor.identity, kept, kept.expiry, deleted=True)
    work = Change(client, depositor.identity, which, progress, deleted=True)
    await work.run([item for item in wanted if item not in root])
    if not (work.missed or work.unasked):  # last: while others have to be told again, they must be found again
        await work.run(root)
    which.check(len(wanted))
    if work.missed or work.unasked:
        raise unfinished(len(work.told - work.missed), len(work.missed), work.unasked, work.refusal, which.longest)
    return Changed(len(wanted), sequence=which.sequence).and_also(work, which.longest)
