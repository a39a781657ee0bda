"""Renewing and deleting a deposit: only its depositor can, by signing new leases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dht.contact import Contact
from node.client import Client
from node.errors import NotFoundError, RefusedError
from node.home import Depositor
from node.journal import DepositRow, Journal
from node.keeping.holders import ask_each, contacts_of, find_holders, in_parallel
from node.progress import Progress
from protocol.ids import SegmentId
from protocol.leases import Lease, sign_lease
from protocol.links import Link
from protocol.messages import LeaseReply, PutLease
from protocol.records import open_provider

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

    def and_also(self, work: "_Change", expiry: int) -> "Changed":
        """With what one change of leases reached."""
        return replace(
            self,
            holders=self.holders + work.holders,
            silent=self.silent + work.silent,
            expiry=max(self.expiry, expiry),
        )


async def renew(
    client: Client, depositor: Depositor, journal: Journal, link: Link, lease_seconds: int, progress: Progress
) -> Changed:
    """Make every lease of a deposit run for ``lease_seconds`` from now, or longer if it does already.

    Raises:
        RefusedError: This home did not publish it.
        NotFoundError: A segment has no holder that took the lease.
    """
    segments = journal.segments(link.root)
    changed = Changed(len(segments))
    now = client.world.clock.wall()
    for old in _own(journal, link):
        expiry = max(old.expiry, int(now) + lease_seconds)
        sequence, _ = journal.next_terms(old.deposit, int(now * 1000), expiry)
        row = replace(old, sequence=sequence, expiry=expiry)
        work = _Change(client, depositor, row, False, progress)
        await work.run(segments)
        if work.unreached:
            raise NotFoundError(
                f"{work.unreached} of {len(segments)} segments have no holder that could be asked",
                hint="archipel check LINK shows what is left; publish it again to restore it",
            )
        journal.update(row)
        changed = changed.and_also(work, expiry)
    return changed


async def delete(client: Client, depositor: Depositor, journal: Journal, link: Link, progress: Progress) -> Changed:
    """End every lease of a deposit. Segments that another version of it still needs are left alone.

    Raises:
        RefusedError: This home did not publish it.
        NotFoundError: No holder of any segment could be asked; nothing is forgotten.
    """
    changed = Changed(0)
    now = client.world.clock.wall()
    rows = _own(journal, link)
    for old in rows:
        sequence, longest = journal.next_terms(old.deposit, int(now * 1000), old.expiry)
        if longest <= now and len(rows) > 1:
            continue  # its leases have ended: nobody would take a deletion
        row = replace(old, sequence=sequence, expiry=longest)
        segments = journal.only_in(row)
        work = _Change(client, depositor, row, True, progress)
        await work.run(segments)
        if segments and not work.holders:
            raise NotFoundError("no holder could be asked", hint="try again later; what is not renewed ends by itself")
        changed = replace(changed, segments=max(changed.segments, len(segments))).and_also(work, longest)
    journal.forget(link.root)
    return changed


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

    def __init__(
        self, client: Client, depositor: Depositor, row: DepositRow, deleted: bool, progress: Progress
    ) -> None:
        self._client = client
        self._depositor = depositor
        self._row = row
        self._deleted = deleted
        self._progress = progress
        self.holders = 0
        self.silent = 0
        self.unreached = 0
        """Segments that not even one holder answered for."""

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
            self._depositor.identity,
            Lease(
                network=client.network.id,
                depositor=self._depositor.identity.key,
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

        async def question(contact: Contact) -> bool:
            reply, _ = await client.peers.request(contact, PutLease(lease=lease))
            if not isinstance(reply, LeaseReply):
                return False
            for data in reply.providers:
                if open_provider(client.network.id, segment, data).key == contact.key:
                    records.append(data)
            return True

        good, bad = await ask_each(client, contacts_of(await find_holders(client, segment)), question)
        self.holders += len(good)
        self.silent += len(bad)
        self.unreached += not good
        if records:
            await client.dht.announce(segment, records, await client.dht.lookup(segment))
