"""Renewing and deleting a deposit by what is remembered of it: a journal knows its segments, else its index does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dht.contact import Contact
from node.client import Client
from node.errors import NodeError, NotFoundError, RefusedError
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.home import Depositor
from node.keeping.change import Change, Changed, NewLease
from node.keeping.shown import Shown, shown_leases
from node.progress import Progress
from node.publishing.spread import Terms
from protocol.identity import Identity
from protocol.ids import NodeId, SegmentId
from protocol.leases import MAX_SEQUENCE, Lease, Policy
from protocol.links import Link

_LAST_DATE = 253_402_300_799
"""The end of the year 9999, behind which a calendar does not go."""


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
    """Which leases the holders of a deposit are to have: above all that they show, and never for a shorter time.

    For whoever renews, ends or tends one, with a journal or without: what is remembered may be less than was signed.
    """

    client: Client
    identity: Identity
    kept: Kept
    expiry: int
    """When they are to end, seconds since 1970-01-01 UTC."""
    deleted: bool = False
    ours: bool = False
    """Whether it is sure that this depositor signs for it; else what another one alone has signed for is left alone."""
    enough: int | None = None
    """What runs for longer than until then, under the right policy, is not signed anew: who lacks it is given it. None:
    all is signed anew."""
    sequence: int = 0
    """The highest that was given away."""
    longest: int = 0
    """The latest expiry of all that were."""
    ends: dict[SegmentId, int] = field(default_factory=dict)
    """When the lease ends that the holders of a segment are to have."""
    brought: set[SegmentId] = field(default_factory=set)
    """Segments whose lease was not signed anew."""
    left_alone: dict[SegmentId, str] = field(default_factory=dict)
    """Segments for which nothing is signed, each with the reason."""
    missed: set[NodeId] = field(default_factory=set)
    """Who may have leases that a deletion did not end: they showed none, and nothing was signed."""

    async def __call__(self, segment: SegmentId, size: int, contacts: Sequence[Contact]) -> NewLease | None:
        """The lease for one segment, which ``contacts`` hold; None: this depositor is to leave it alone."""
        around = [] if self.deleted else [found.contact for found in await self.client.dht.lookup(segment)]
        shown = await self.shown(segment, contacts, around)
        newest = shown.newest
        if newest is not None and self._will_do(newest):
            self.ends[segment] = newest.expiry
            self.brought.add(segment)
            return NewLease(shown.signed, shown.having)
        terms = self.after(segment, shown)
        if terms is None:
            return None
        return NewLease(terms.sign(self.identity, self.client.network.id, segment, size, deleted=self.deleted))

    async def shown(self, segment: SegmentId, contacts: Sequence[Contact], others: Sequence[Contact] = ()) -> Shown:
        """What these nodes show of the deposit's leases on a segment.

        To be asked are the nodes nearest to it as well: former holders are among them, and remember that it was deleted
        when all that still hold it were away.
        """
        distinct = list({contact.node_id: contact for contact in contacts}.values())
        return await shown_leases(self.client, distinct, segment, self.identity.key, self.kept.deposit, others)

    def after(self, segment: SegmentId, shown: Shown) -> Terms | None:
        """The terms for a segment of whose leases this is shown; None as above."""
        now = self.client.world.clock.wall()
        known, expiry = self.kept.sequence, self.expiry
        if shown.newest is not None:
            known, expiry = max(known, shown.newest.sequence), max(expiry, shown.newest.expiry)
        why_not = self._why_not(shown)
        if why_not:
            self.left_alone[segment] = why_not
            return None
        if self.deleted and (shown.unheard or expiry <= now):
            self.missed |= shown.silent
            return None  # its leases have ended: nobody would take a deletion; or nobody is there to take it
        sequence = min(max(int(now * 1000), known + 1), MAX_SEQUENCE)
        self.sequence, self.longest = max(self.sequence, sequence), max(self.longest, expiry)
        self.ends[segment] = expiry
        return Terms(self.kept.deposit, sequence, int(now), expiry, self.kept.policy)

    def _will_do(self, lease: Lease) -> bool:
        long = self.enough is not None and lease.expiry > self.enough
        return long and not lease.deleted and lease.policy == self.kept.policy

    def _why_not(self, shown: Shown) -> str:
        """Why this depositor is not to sign a lease for a segment; nothing, if it may."""
        if shown.newest is not None:
            return "its depositor has deleted it" if shown.newest.deleted and not self.deleted else ""
        if shown.foreign and not self.ours:
            return "another depositor has signed them"
        return "nobody shows them: it may have been deleted" if shown.unheard and not self.deleted else ""

    def check(self, segments: int) -> None:
        """Raises RefusedError if some of so many segments were left alone."""
        if self.left_alone:
            why = next(iter(self.left_alone.values()))
            raise RefusedError(
                f"the leases of {len(self.left_alone)} of {segments} segments are left as they are: {why}"
            )


async def renew_segments(
    terms: KeptTerms, segments: Sequence[tuple[SegmentId, int]], lease_seconds: int, progress: Progress
) -> Changed:
    """Make the leases of these (segment, size), which are all of a deposit, run for ``lease_seconds`` from now, or
    longer if they do already.

    Raises:
        RefusedError: As :func:`renew_kept`.
        NotFoundError: A segment has no holder that could be asked.
    """
    terms.expiry = max(terms.expiry, int(terms.client.world.clock.wall()) + lease_seconds)
    work = Change(terms.client, terms, progress)
    await work.run(segments)
    terms.check(len(segments))
    if work.untaken:
        raise _untaken(work, len(segments))
    return work.changed(len(segments), min(terms.ends.values(), default=terms.expiry), terms.sequence)


async def end_segments(
    terms: KeptTerms, segments: Sequence[tuple[SegmentId, int]], progress: Progress, last: SegmentId | None = None
) -> Changed:
    """End the leases of these (segment, size) of a deposit; those of ``last`` once nobody has to be told again.

    Raises:
        RefusedError: Another depositor published it.
        NotFoundError: Some holder did not answer.
    """
    work = Change(terms.client, terms, progress, deleted=True)
    await work.run([item for item in segments if item[0] != last])
    if not (work.missed or work.unasked or terms.missed):
        await work.run([item for item in segments if item[0] == last])
    terms.check(len(segments))
    missed = work.missed | terms.missed
    longest = max(terms.longest, terms.expiry)
    if missed or work.unasked:
        ends = longest if longest > terms.client.world.clock.wall() else 0
        raise _unfinished(len(work.told - missed), len(missed), work.unasked, work.refusal, ends)
    return work.changed(len(segments), longest, terms.sequence)


async def renew_kept(
    client: Client, depositor: Depositor, kept: Kept, lease_seconds: int, progress: Progress
) -> Changed:
    """Make every lease of a deposit run for ``lease_seconds`` from now, or longer if it does already.

    Raises:
        RefusedError: It was deleted, or another depositor published it, or its leases are not shown; or of a segment
            too few holders took the lease, and one refused.
        NotFoundError: Likewise, but some could not be asked; or the root cannot be read.
        IntegrityFailure, NetworkError: The root cannot be read.
    """
    segments = await read_segments(Downloader(client, Progress()), kept.link)
    terms = KeptTerms(client, depositor.identity, kept, kept.expiry)
    return await renew_segments(terms, list(segments.items()), lease_seconds, progress)


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
    terms = KeptTerms(client, depositor.identity, kept, kept.expiry, deleted=True)
    return await end_segments(terms, wanted, progress, last=kept.link.root)  # of which the others are known


def _untaken(work: Change, segments: int) -> NodeError:
    """Why a renewal of so many segments has failed, of some of which nobody, or too few, took the lease."""
    few = "too few holders" if work.some_took else "no holder"
    what = f"{len(work.untaken)} of {segments} segments have {few}"
    if work.refusal:
        return RefusedError(f"{what} that took the lease ({work.refusal})", hint="what has the lease already keeps it")
    hint = "archipel check LINK shows what is left; publish it again to restore it"
    return NotFoundError(f"{what} that could be asked", hint=hint)


def _unfinished(told: int, missed: int, unasked: int, refusal: str, expiry: int) -> NotFoundError:
    """Why a deletion has not ended."""
    silent = f"{missed} did not answer" if missed else f"holders of {unasked} segments could not be looked up"
    if refusal:
        silent = f"{missed} did not answer or refused ({refusal})"
    hint = "until when they keep the chunks is not known"
    if expiry:
        date = datetime.fromtimestamp(min(expiry, _LAST_DATE), UTC).strftime("%Y-%m-%d")
        hint = f"who was not told drops the chunks when the lease ends anyway: {date}"
    return NotFoundError(f"deleted at {told} holder{'' if told == 1 else 's'}, {silent}: run it again later", hint=hint)
