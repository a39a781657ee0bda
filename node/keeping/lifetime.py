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
    holders: int
    """Answers that took the new lease, over all segments."""
    silent: int
    """Holders that did not answer or refused, over all segments."""
    expiry: int
    """Seconds since 1970-01-01 UTC."""


async def renew(
    client: Client, depositor: Depositor, journal: Journal, link: Link, lease_seconds: int, progress: Progress
) -> Changed:
    """Make every lease of a deposit run for ``lease_seconds`` from now, or longer if it does already.

    Raises:
        RefusedError: This home did not publish it.
        NotFoundError: A segment has no holder that took the lease.
    """
    row = _own(journal, link)
    now = client.world.clock.wall()
    expiry = max(row.expiry, int(now) + lease_seconds)
    sequence, _ = journal.next_terms(row.deposit, int(now * 1000), expiry)
    row = replace(row, sequence=sequence, expiry=expiry)
    segments = journal.segments(link.root)
    work = _Change(client, depositor, row, False, progress)
    await work.run(segments)
    if work.unreached:
        raise NotFoundError(
            f"{work.unreached} of {len(segments)} segments have no holder that could be asked",
            hint="archipel check LINK shows what is left; publish it again to restore it",
        )
    journal.update(row)
    return Changed(len(segments), work.holders, work.silent, row.expiry)


async def delete(client: Client, depositor: Depositor, journal: Journal, link: Link, progress: Progress) -> Changed:
    """End every lease of a deposit. Segments that another version of it still needs are left alone.

    Raises:
        RefusedError: This home did not publish it.
        NotFoundError: No holder of any segment could be asked; nothing is forgotten.
    """
    row = _own(journal, link)
    now = client.world.clock.wall()
    sequence, longest = journal.next_terms(row.deposit, int(now * 1000), row.expiry)
    row = replace(row, sequence=sequence, expiry=longest)
    segments = journal.only_in(row)
    work = _Change(client, depositor, row, True, progress)
    await work.run(segments)
    if segments and not work.holders:
        raise NotFoundError("no holder could be asked", hint="try again later; what is not renewed ends by itself")
    journal.forget(link.root)
    return Changed(len(segments), work.holders, work.silent, row.expiry)


def _own(journal: Journal, link: Link) -> DepositRow:
    row = journal.deposit(link.root)
    if row is None:
        raise RefusedError(
            "this home has not published it, or has deleted it: only the depositor can change its leases",
            hint="use the --home it was published with",
        )
    return row


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
        self._progress.total = sum(sizes.values())

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
