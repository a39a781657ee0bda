"""Who says that they hold chunks of a segment: for a page that shows how well it is."""

from dataclasses import dataclass

import trio

from dht.contact import Contact
from node.client import Client
from node.errors import NetworkError, NotFoundError
from node.keeping.holders import ask_each, contacts_of, find_holders, read_descriptor
from protocol.ids import ID_BYTES, NodeId, PublicKey, SegmentId, node_id
from protocol.leases import DEPOSIT_ID_BYTES
from protocol.messages import Have, HaveReply
from protocol.records import ProviderRecord
from protocol.segment import Layout

COUNT_SECONDS = 10.0
"""For all of it."""
_NOBODY = PublicKey(bytes(ID_BYTES)), bytes(DEPOSIT_ID_BYTES)
"""Of no depositor's lease is anything to be said."""


@dataclass(slots=True)
class Counted:
    """What is known of a segment's holders."""

    holders: list[ProviderRecord]
    """Everybody who is announced to hold a chunk, by index."""
    live: set[tuple[NodeId, int]]
    """Who answers that it holds which. It was not made to prove it."""
    layout: Layout | None = None
    """None: nobody shows the descriptor."""

    def is_live(self, holder: ProviderRecord) -> bool:
        """Whether it answers that it holds what it is announced to hold."""
        return (node_id(holder.key), holder.index) in self.live


async def count_holders(client: Client, segment: SegmentId) -> Counted:
    """Ask all who are announced to hold chunks; whoever does not answer within 10 seconds is not live.

    Raises:
        NotFoundError: Nobody has announced it.
        NetworkError: It is not known within 10 seconds who has.
    """
    counted = Counted([], set())

    async def holds(contact: Contact) -> bool:
        depositor, deposit = _NOBODY
        ask = Have(depositor=depositor, deposit=deposit, segments=(segment,))
        reply, _ = await client.peers.request(contact, ask)
        assert isinstance(reply, HaveReply)
        counted.live |= {(contact.node_id, index) for index in reply.held[0].indices}
        return True

    async def describe() -> None:
        descriptor = await read_descriptor(client, segment, counted.holders)
        counted.layout = None if descriptor is None else descriptor.layout

    with trio.move_on_after(COUNT_SECONDS) as scope:
        counted.holders = await find_holders(client, segment)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(describe)
            nursery.start_soon(ask_each, client, contacts_of(counted.holders), holds)
    if not counted.holders:
        if scope.cancelled_caught:
            raise NetworkError("it takes too long to find out who holds it", hint="try again in a moment")
        raise NotFoundError("nobody in this network has announced it", hint="it has expired, or been deleted")
    return counted
