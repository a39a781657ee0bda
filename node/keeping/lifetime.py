"""How long a deposit is kept. Renewing and deleting it: only its depositor can, by signing new leases."""

from dataclasses import replace

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NotFoundError, RefusedError
from node.home import Signer
from node.journal import DepositRow, Journal
from node.keeping.change import Changed
from node.keeping.holders import ask_each, contacts_of, find_holders
from node.keeping.kept import Kept, KeptTerms, end_segments, renew_segments
from node.progress import Progress
from protocol.ids import PublicKey, SegmentId
from protocol.links import Link, LinkKind
from protocol.messages import Have, HaveReply
from protocol.seal import KEY_BYTES

_HAVE_SECONDS = 2.0


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
        RefusedError: This home did not publish it, or not with an identity at hand; or it was deleted elsewhere, or its
            leases are not shown; or of a segment too few holders took the lease, and one refused.
        NotFoundError: Likewise, but some could not be asked.
    """
    segments = journal.segments(link.root)
    changed = Changed(len(segments))
    for old in _own(journal, link.root):
        expiry = max(old.expiry, int(client.world.clock.wall()) + lease_seconds)
        terms = _terms(client, signer, journal, link, replace(old, expiry=expiry))
        terms.expiry = expiry
        done = await renew_segments(terms, segments, lease_seconds, progress)
        journal.next_terms(old.deposit, terms.sequence, terms.longest)
        journal.update(replace(old, sequence=terms.sequence, expiry=done.expiry))
        changed = changed.and_also(done)
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
    """As :func:`delete`, by the root that is in the journal, which knows its segments: no key is needed."""
    link = Link(LinkKind.VERIFY, root, bytes(KEY_BYTES))
    changed = Changed(0)
    failure: NotFoundError | None = None
    for old in _own(journal, root):
        terms = _terms(client, signer, journal, link, old)
        terms.deleted = True
        try:
            changed = changed.and_also(await end_segments(terms, journal.only_in(old), progress))
        except NotFoundError as exc:
            failure = failure or exc
        journal.next_terms(old.deposit, terms.sequence, terms.longest)
    if failure is not None:
        raise failure
    journal.forget(root)
    return changed


def _terms(client: Client, signer: Signer, journal: Journal, link: Link, row: DepositRow) -> KeptTerms:
    """What is to be signed for a deposit, by what the journal remembers: others may have signed for longer since."""
    now_ms = int(client.world.clock.wall() * 1000)
    sequence, longest = journal.next_terms(row.deposit, now_ms, row.expiry)
    kept = Kept(link, row.deposit, row.policy, longest, sequence - 1)
    return KeptTerms(client, signer.identity_of(row.depositor), kept, longest, ours=True)


def _own(journal: Journal, root: SegmentId) -> list[DepositRow]:
    """The deposits of this home with a root. Raises RefusedError if there are none."""
    rows = journal.deposits(root)
    if not rows:
        raise RefusedError(
            "this home has not published it, or has deleted it: only the depositor can change its leases",
            hint="use the --home it was published with",
        )
    return rows
