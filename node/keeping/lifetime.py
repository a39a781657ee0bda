"""How long a deposit is kept. Renewing and deleting it: only its depositor can, by signing new leases."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NodeError, NotFoundError, RefusedError
from node.home import Signer
from node.journal import DepositRow, Journal
from node.keeping.change import Change, the_same
from node.keeping.holders import ask_each, contacts_of, find_holders
from node.progress import Progress
from node.publishing.spread import Terms
from protocol.ids import NodeId, PublicKey, SegmentId
from protocol.links import Link
from protocol.messages import Have, HaveReply

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
    sequence: int = 0
    """The highest that a lease was signed with, where no journal remembers it."""

    def and_also(self, work: Change, expiry: int) -> "Changed":
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
    for old in _own(journal, link.root):
        expiry = max(old.expiry, int(now) + lease_seconds)
        sequence, _ = journal.next_terms(old.deposit, int(now * 1000), expiry)
        terms = Terms(old.deposit, sequence, int(now), expiry, old.policy)
        work = Change(client, signer.identity_of(old.depositor), the_same(terms), progress)
        await work.run(segments)
        if work.untaken:
            raise untaken(work, len(segments))
        journal.update(replace(old, sequence=sequence, expiry=expiry))
        changed = changed.and_also(work, expiry)
    return changed


async def delete(client: Client, signer: Signer, journal: Journal, link: Link, progress: Progress) -> Changed:
    """End every lease of a deposit, then forget it. Segments that another version of it still needs are left alone.

    A segment that nobody announces, and leases that have expired, need nobody's answer.

    Raises:
        RefusedError: This home did not publish it, or not with an identity at hand.
        NotFoundError: Some holder did not answer; the deposit is kept in mind, so that this can be called again.
    """
    return await delete_root(client, signer, journal, link.root, progress)


async def delete_root(client: Client, signer: Signer, journal: Journal, root: SegmentId, progress: Progress) -> Changed:
    """As :func:`delete`, by the root that is in the journal."""
    changed = Changed(0)
    now = client.world.clock.wall()
    told: set[NodeId] = set()
    missed: set[NodeId] = set()
    unasked = 0
    refusal = ""
    for old in _own(journal, root):
        sequence, longest = journal.next_terms(old.deposit, int(now * 1000), old.expiry)
        segments = journal.only_in(old)
        terms = Terms(old.deposit, sequence, int(now), longest, old.policy)
        work = Change(client, signer.identity_of(old.depositor), the_same(terms), progress, deleted=True)
        if longest > now:  # else its leases have ended: nobody would take a deletion
            await work.run(segments)
        told |= work.told
        missed |= work.missed
        unasked += work.unasked
        refusal = work.refusal or refusal
        changed = replace(changed, segments=max(changed.segments, len(segments))).and_also(work, longest)
    if missed or unasked:
        raise unfinished(len(told - missed), len(missed), unasked, refusal, changed.expiry)
    journal.forget(root)
    return changed


def untaken(work: Change, segments: int) -> NodeError:
    """Why a renewal of so many segments has failed, some of which nobody took."""
    what = f"{len(work.untaken)} of {segments} segments have no holder"
    if work.refusal:
        return RefusedError(f"{what} that took the lease ({work.refusal})", hint="what has the lease already keeps it")
    hint = "archipel check LINK shows what is left; publish it again to restore it"
    return NotFoundError(f"{what} that could be asked", hint=hint)


def unfinished(told: int, missed: int, unasked: int, refusal: str, expiry: int) -> NotFoundError:
    """Why a deletion has not ended."""
    date = datetime.fromtimestamp(min(expiry, _LAST_DATE), UTC).strftime("%Y-%m-%d")
    silent = f"{missed} did not answer" if missed else f"holders of {unasked} segments could not be looked up"
    if refusal:
        silent = f"{missed} did not answer or refused ({refusal})"
    return NotFoundError(
        f"deleted at {told} holder{'' if told == 1 else 's'}, {silent}: run it again later",
        hint=f"who was not told drops the chunks when the lease ends anyway: {date}",
    )


def _own(journal: Journal, root: SegmentId) -> list[DepositRow]:
    """The deposits of this home with a root. Raises RefusedError if there are none."""
    rows = journal.deposits(root)
    if not rows:
        raise RefusedError(
            "this home has not published it, or has deleted it: only the depositor can change its leases",
            hint="use the --home it was published with",
        )
    return rows
