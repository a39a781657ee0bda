"""Everybody who says they hold a chunk of a segment, and one question put to each of them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import trio

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerError
from protocol.errors import ProtocolError
from protocol.ids import PublicKey, SegmentId
from protocol.messages import Get, GetReply
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

ANSWER_SECONDS = 5.0
"""How long one holder may take over one small question."""


async def find_holders(client: Client, segment: SegmentId) -> list[ProviderRecord]:
    """All provider records of a segment, one per holder and index, in order of index."""
    found: dict[tuple[int, PublicKey], ProviderRecord] = {}
    async with aclosing(client.dht.providers(segment)) as batches:
        async for records in batches:
            found |= {(record.index, record.key): record for record in records}
    return [found[key] for key in sorted(found)]


async def read_descriptor(client: Client, segment: SegmentId, holders: Sequence[ProviderRecord]) -> Descriptor | None:
    """The descriptor, from the first holder that sends the right one; None if nobody does."""
    for holder in holders:
        contact = Contact(holder.key, holder.address)
        if client.is_suspect(contact):
            continue
        with trio.move_on_after(ANSWER_SECONDS) as scope:
            try:
                reply, _ = await client.peers.request(
                    contact, Get(segment=segment, index=holder.index, count=0, proof=True)
                )
                if isinstance(reply, GetReply):
                    return Descriptor.decode(reply.descriptor, segment)
            except (PeerError, ProtocolError):
                continue
        if scope.cancelled_caught:
            client.suspect(contact)
    return None


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
