"""Everybody who says they hold a chunk of a segment, and one question put to each of them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

import trio

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerBroke, PeerError, PeerUnreachable
from protocol.errors import ProtocolError
from protocol.ids import PublicKey, SegmentId
from protocol.leases import Lease, open_lease
from protocol.messages import LEASES_PAGE, MAX_LEASES, Get, GetReply, Leases, LeasesReply
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

ANSWER_SECONDS = 5.0
"""How long one holder may be silent over one question."""
DESCRIPTOR_SECONDS = 1.0
"""After so long another holder is asked for the descriptor as well."""
SLOW_SECONDS = 2.0
"""An answer that takes longer says that too much is under way at once."""
_MOST, _FEWEST = 16, 2
_STEP_BYTES = 32 * 1024  # of an answer: who sends less at a time gains no time by it


class Questions:
    """Bounds the questions with long answers under way at once: fewer while answers are slow.

    Our own line is what they share. Were they all asked at once, a slow line would make every holder look silent.
    """

    def __init__(self) -> None:
        self._places = trio.CapacityLimiter(_MOST)

    async def ask(self, seconds: float, question: Callable[[Callable[[int], None]], Awaitable[bool]]) -> bool:
        """Put a question when there is a place, and let it take as long as its answer moves.

        Args:
            seconds: At most so long without 32 KiB more of the answer.
            question: Given what is to be told how many bytes of the answer have come.

        Raises:
            PeerUnreachable: No answer.
        """
        async with self._places:
            began = trio.current_time()
            answer = await _while_it_moves(seconds, question)
            most = int(self._places.total_tokens)
            slow = trio.current_time() - began > SLOW_SECONDS
            self._places.total_tokens = max(_FEWEST, most // 2) if slow else min(_MOST, most + 1)
            return answer


async def _while_it_moves(seconds: float, question: Callable[[Callable[[int], None]], Awaitable[bool]]) -> bool:
    counted = 0

    def on_body(come: int) -> None:
        nonlocal counted
        if come - counted >= _STEP_BYTES:
            counted = come
            scope.deadline = trio.current_time() + seconds

    with trio.move_on_after(seconds) as scope:
        return await question(on_body)
    raise PeerUnreachable("no answer")


async def find_holders(client: Client, segment: SegmentId) -> list[ProviderRecord]:
    """All provider records of a segment, one per holder and index, in order of index."""
    found: dict[tuple[int, PublicKey], ProviderRecord] = {}
    async with aclosing(client.dht.providers(segment)) as batches:
        async for records in batches:
            found |= {(record.index, record.key): record for record in records}
    return [found[key] for key in sorted(found)]


async def read_descriptor(client: Client, segment: SegmentId, holders: Sequence[ProviderRecord]) -> Descriptor | None:
    """The descriptor, from the first holder that sends the right one; None if nobody does.

    Who takes more than a second gets company, and is suspect: about the next segment others are asked first.
    """
    found: Descriptor | None = None

    async def ask(holder: ProviderRecord, over: trio.Event) -> None:
        nonlocal found
        with trio.move_on_after(ANSWER_SECONDS), suppress(PeerError, ProtocolError):
            reply, _ = await client.peers.request(
                Contact(holder.key, holder.address), Get(segment=segment, index=holder.index, count=0, proof=True)
            )
            if isinstance(reply, GetReply):
                found = Descriptor.decode(reply.descriptor, segment)
                nursery.cancel_scope.cancel()
        over.set()

    async with trio.open_nursery() as nursery:
        for holder in sorted(holders, key=lambda h: client.is_suspect(Contact(h.key, h.address))):
            over = trio.Event()
            nursery.start_soon(ask, holder, over)
            with trio.move_on_after(DESCRIPTOR_SECONDS) as scope:
                await over.wait()
            if scope.cancelled_caught:
                client.suspect(Contact(holder.key, holder.address))
    return found


async def fetch_leases(client: Client, contact: Contact, segment: SegmentId) -> list[tuple[Lease, bytes]]:
    """All leases a node has of a segment, each with what was signed. The deadline is the caller's.

    Raises:
        PeerError, ProtocolError: It refuses or does not answer; or one lease is not good, which spoils them all.
    """
    found: list[tuple[Lease, bytes]] = []
    more = True
    while more:
        reply, _ = await client.peers.request(contact, Leases(segment=segment, skip=len(found)))
        assert isinstance(reply, LeasesReply)
        opened = [(open_lease(data, client.network.id), data) for data in reply.leases]
        if any(lease.segment != segment for lease, _ in opened):
            raise PeerBroke("sent the lease of another segment")
        found += opened
        if reply.more and len(opened) < LEASES_PAGE:
            raise PeerBroke("sent half a page of leases")
        more = reply.more and len(found) < MAX_LEASES
    return found


async def ask_each(
    client: Client, contacts: Sequence[Contact], question: Callable[[Contact], Awaitable[bool]]
) -> tuple[list[Contact], list[Contact]]:
    """Put a question to every contact at once.

    Args:
        client: Remembers who did not answer: they are not asked again for a while.
        contacts: Distinct nodes.
        question: Returns whether the answer was good; may raise PeerError or ProtocolError.

    Returns:
        Those who answered well, and those who did not.
    """
    good: list[Contact] = []

    async def ask(contact: Contact) -> None:
        with trio.move_on_after(ANSWER_SECONDS) as scope:
            try:
                if await question(contact):
                    good.append(contact)
            except (PeerError, ProtocolError):
                pass
        if scope.cancelled_caught:
            client.suspect(contact)

    async with trio.open_nursery() as nursery:
        for contact in contacts:
            if not client.is_suspect(contact):
                nursery.start_soon(ask, contact)
    answered = {contact.node_id for contact in good}
    return good, [contact for contact in contacts if contact.node_id not in answered]


def contacts_of(holders: Sequence[ProviderRecord]) -> list[Contact]:
    """Their distinct nodes."""
    return list({holder.key: Contact(holder.key, holder.address) for holder in holders}.values())


async def in_parallel(items: Sequence[SegmentId], most: int, work: Callable[[SegmentId], Awaitable[None]]) -> None:
    """Run ``work`` for every item, at most ``most`` at a time."""
    limit = trio.Semaphore(most)

    async def one(item: SegmentId) -> None:
        try:
            await work(item)
        finally:
            limit.release()

    async with trio.open_nursery() as nursery:
        for item in items:
            await limit.acquire()
            nursery.start_soon(one, item)
