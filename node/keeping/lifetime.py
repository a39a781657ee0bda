"""How long a deposit is kept. Renewing and deleting it: only its depositor can, by signing new leases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NodeError, NotFoundError, RefusedError
from node.home import Signer
from node.journal import DepositRow, Journal
from node.keeping.holders import ask_each, contacts_of, find_holders, in_parallel
from node.net.peers import PeerRefused
from node.progress import Progress
from protocol.identity import Identity
from protocol.ids import NodeId, PublicKey, SegmentId
from protocol.leases import Lease, sign_lease
from protocol.links import Link
from protocol.messages import ErrorCode, Have, HaveReply, LeaseReply, PutLease
from protocol.records import open_provider

SEGMENTS_AT_ONCE = 8
_HAVE_SECONDS = 2.0
_LAST_DATE = 253_402_300_799
"""The end of the year 9999, behind which a calendar does not go."""


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

    def and_also(self, work: "_Change", expiry: int) -> "Changed":
        """With what one change of leases reached."""
        return replace(
            self,
            holders=self.holders + work.holders,
            silent=self.silent + work.silent,
            expiry=max(self.expiry, expiry),
        )


async def runs_until(client: Client, segment: SegmentId) -> int:
    """When the leases of a segment end, seconds since 1970: the middle of what its holders say. 0: nobody says.

    Two seconds are enough for those who are there; who lies alone changes little.
    """
    ends: list[int] = []
    ask = Have(depositor=PublicKey(bytes(32)), deposit=bytes(16), segments=(segment,))  # of zeros: whoever's lease

    async def question(contact: Contact) -> bool:
        reply, _ = await client.peers.request(contact, ask)
        assert isinstance(reply, HaveReply)
        ends.extend(held.expiry for held in reply.held if held.indices and held.expiry)
        return True

    contacts = contacts_of(await find_holders(client, segment))
    with trio.move_on_after(_HAVE_SECONDS):
        await ask_each(client, contacts, question)
    return sorted(ends)[(len(ends) - 1) // 2] if ends else 0


async def renew(
    client: Client, signer: Signer, journal: Journal, link: Link, lease_seconds: int, progress: Progress
) -> Changed:
    """Make every lease of a deposit run for ``lease_seconds`` from now, or longer if it does already.

    Raises:
        RefusedError: This home did not publish it, or not with an identity at hand; or a segment has no holder that
            took the lease, and one refused.
        NotFoundError: A segment has no holder that could be asked.
    """
    segments = journal.segments(link.root)
    changed = Changed(len(segments))
    now = client.world.clock.wall()
    for old in _own(journal, link):
        expiry = max(old.expiry, int(now) + lease_seconds)
        sequence, _ = journal.next_terms(old.deposit, int(now * 1000), expiry)
        row = replace(old, sequence=sequence, expiry=expiry)
        work = _Change(client, signer.identity_of(old.depositor), row, False, progress)
        await work.run(segments)
        if work.unreached:
            raise _untaken(f"{work.unreached} of {len(segments)} segments have no holder", work.refusal)
        journal.update(row)
        changed = changed.and_also(work, expiry)
    return changed


async def delete(client: Client, signer: Signer, journal: Journal, link: Link, progress: Progress) -> Changed:
    """End every lease of a deposit, then forget it. Segments that another version of it still needs are left alone.

    A segment that nobody announces, and leases that have expired, need nobody's answer.

    Raises:
        RefusedError: This home did not publish it, or not with an identity at hand.
        NotFoundError: Some holder did not answer; the deposit is kept in mind, so that this can be called again.
    """
    changed = Changed(0)
    now = client.world.clock.wall()
    told: set[NodeId] = set()
    missed: set[NodeId] = set()
    unasked = 0
    refusal = ""
    for old in _own(journal, link):
        sequence, longest = journal.next_terms(old.deposit, int(now * 1000), old.expiry)
        row = replace(old, sequence=sequence, expiry=longest)
        segments = journal.only_in(row)
        work = _Change(client, signer.identity_of(old.depositor), row, True, progress)
        if longest > now:  # else its leases have ended: nobody would take a deletion
            await work.run(segments)
        told |= work.told
        missed |= work.missed
        unasked += work.unasked
        refusal = work.refusal or refusal
        changed = replace(changed, segments=max(changed.segments, len(segments))).and_also(work, longest)
    if missed or unasked:
        raise _unfinished(len(told - missed), len(missed), unasked, refusal, changed.expiry)
    journal.forget(link.root)
    return changed


def _untaken(what: str, refusal: str) -> NodeError:
    if refusal:
        return RefusedError(f"{what} that took the lease ({refusal})", hint="what has the lease already keeps it")
    hint = "archipel check LINK shows what is left; publish it again to restore it"
    return NotFoundError(f"{what} that could be asked", hint=hint)


def _unfinished(told: int, missed: int, unasked: int, refusal: str, expiry: int) -> NotFoundError:
    date = datetime.fromtimestamp(min(expiry, _LAST_DATE), UTC).strftime("%Y-%m-%d")
    silent = f"{missed} did not answer" if missed else f"holders of {unasked} segments could not be looked up"
    if refusal:
        silent = f"{missed} did not answer or refused ({refusal})"
    return NotFoundError(
        f"deleted at {told} holder{'' if told == 1 else 's'}, {silent}: run it again later",
        hint=f"who was not told drops the chunks when the lease ends anyway: {date}",
    )


def _own(journal: Journal, link: Link) -> list[DepositRow]:
    """The deposits of this home that the link leads to. Raises RefusedError if there are none."""
    rows = journal.deposits(link.root)
    if not rows:
        raise RefusedError(
            "this home has not published it, or has deleted it: only the depositor can change its leases",
            hint="use the --home it was published with",
        )
    return rows


class _Change:
    """One new lease for every segment, taken to all its holders."""

    def __init__(self, client: Client, identity: Identity, row: DepositRow, deleted: bool, progress: Progress) -> None:
        self._client = client
        self._identity = identity
        self._row = row
        self._deleted = deleted
        self._progress = progress
        self.holders = 0
        self.silent = 0
        self.unreached = 0
        """Segments that not even one holder answered for."""
        self.unasked = 0
        """Segments of which it is not known whether anybody holds them: nobody could be asked."""
        self.refusal = ""
        """What one of those said whose refusal stands in the way: of a deletion every one does, of a renewal those of a
        segment that nobody took."""
        self.told: set[NodeId] = set()
        self.missed: set[NodeId] = set()
        """Nodes that took a lease, and that did not; some may be in both."""

    async def run(self, segments: Sequence[tuple[SegmentId, int]]) -> None:
        sizes = dict(segments)
        self._progress.total = (self._progress.total or 0) + sum(sizes.values())

        async def one(segment: SegmentId) -> None:
            await self._segment(segment, sizes[segment])
            self._progress.step(done=sizes[segment])

        await in_parallel(list(sizes), SEGMENTS_AT_ONCE, one)

    async def _segment(self, segment: SegmentId, size: int) -> None:
        client, row = self._client, self._row
        lease = sign_lease(
            self._identity,
            Lease(
                network=client.network.id,
                depositor=self._identity.key,
                deposit=row.deposit,
                segment=segment,
                size=size,
                sequence=row.sequence,
                expiry=row.expiry,
                deleted=self._deleted,
                policy=row.policy,
            ),
        )
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

        holders = await find_holders(client, segment)
        countries = {holder.key: holder.country for holder in holders}
        contacts = contacts_of(holders)
        announced = bool(contacts)
        if not announced:  # nobody announces it; or is it that nobody answers us?
            nearest = [found.contact for found in await client.dht.lookup(segment)]
            self.unasked += not nearest
            contacts = [] if self._deleted else nearest  # who has it in the trash tells the others, once it is renewed
        good, bad = await ask_each(client, contacts, question)
        bad = bad if announced else []
        self.holders += len(good)
        self.silent += len(bad)
        self.told |= {contact.node_id for contact in good}
        self.missed |= {contact.node_id for contact in bad}
        self.unreached += not good
        if refusal and (self._deleted or not good):
            self.refusal = refusal
        if records:
            await client.dht.announce(segment, records, await client.dht.lookup(segment))
