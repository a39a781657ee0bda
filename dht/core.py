"""What every part of one node's DHT shares: who it is, whom it knows, and how it asks them."""

from collections.abc import Callable, Sequence

import trio

from dht.calls import Answer, Call, Calls, Mailbox
from dht.contact import Contact, believable, unpack_contact
from dht.counters import Counters
from dht.routing import K, Table, View
from dht.search import Search
from dht.socket import DatagramSocket
from protocol.datagrams import MAX_CONTACTS, Datagram, Message, Nodes, Ping, Request
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity, Network
from protocol.ids import Address, PublicKey, node_id

VIEW_SECONDS = 2.0
"""How long a node that knows fewer than 20 others is not asked again, for whatever target."""


class Core:
    """One node's routing table and open calls."""

    def __init__(
        self,
        identity: Identity,
        network: Network,
        socket: DatagramSocket,
        random_bytes: Callable[[int], bytes],
        *,
        counters: Counters,
        read_only: bool,
    ) -> None:
        self.identity = identity
        self.network = network
        self.socket = socket
        self.random_bytes = random_bytes
        self.counters = counters
        self.read_only = read_only
        self.table = Table(identity.node_id)
        self.calls = Calls(identity, network, socket, random_bytes, counters=counters, gave_up=self._gave_up)

    async def ask(self, contact: Contact, message: Request, mailbox: Mailbox | None = None, tag: object = None) -> Call:
        """Send a request to a node whose key is known; the outcome goes to ``mailbox``."""
        entry = self.table.get(contact.node_id)
        return await self.calls.begin(
            contact.address,
            contact.key,
            contact.node_id,
            message,
            mailbox,
            rtt=None if entry is None else entry.rtt,
            read_only=self.read_only,
            tag=tag,
        )

    async def ask_address(self, address: Address, mailbox: Mailbox | None = None) -> Call:
        """Ping whoever is at an address."""
        return await self.calls.begin(address, None, None, Ping(), mailbox, read_only=self.read_only)

    def take(self, call: Call, datagram: Datagram, message: Message) -> None:
        """A verified answer: its sender may enter the table, having signed our fresh transaction."""
        repeated = call.repeated
        answer = self.calls.answered(call, datagram, message)
        if answer.read_only:
            self.table.remove(answer.contact.node_id)
        elif self.network.admits(answer.contact.node_id):
            self.table.add(answer.contact, answer.time, None if repeated else answer.rtt)

    def _gave_up(self, call: Call) -> None:
        entry = None if call.key is None else self.table.get(node_id(call.key))
        if entry is None or entry.contact.address != call.address:
            return
        entry.view = None
        if self.calls.online_since(call.sent):
            self.table.strike(entry.id)

    def usable(self, contact: Contact) -> bool:
        """Whether asking this node is worth a request."""
        return not self.calls.struck_out(contact.address, contact.key) and self.network.admits(contact.node_id)

    def search(self, target: bytes) -> Search:
        """A search that begins with the contacts we have."""
        self.counters.lookups_total += 1
        search = Search(target, self.identity.node_id)
        search.offer(entry.contact for entry in self.table.nearest(target))
        return search

    def named(self, answer: Answer) -> list[Contact]:
        """The contacts a node named that may be dialled on its word; of a bad list, none."""
        assert isinstance(answer.message, Nodes)
        try:
            contacts = [unpack_contact(data) for data in answer.message.contacts()]
        except RemoteProtocolError:
            return []
        by = answer.contact.address
        return [contact for contact in contacts if believable(contact.address, by) and self.usable(contact)]

    def note_view(self, answer: Answer, named: Sequence[Contact]) -> None:
        """Remember an answer that would be the same for any target."""
        assert isinstance(answer.message, Nodes)
        entry = self.table.get(answer.contact.node_id)
        if entry is not None and len(answer.message.contacts()) < MAX_CONTACTS:
            entry.view = View(answer.message.token, tuple(named), answer.rtt, answer.time)

    def view(self, contact: Contact) -> View | None:
        """What a node said a moment ago, if asking it again would bring nothing new."""
        entry = self.table.get(contact.node_id)
        if entry is None or entry.view is None or entry.contact != contact:
            return None
        return entry.view if trio.current_time() - entry.view.time < VIEW_SECONDS else None

    def knows_address(self, address: Address, key: PublicKey) -> bool:
        """Whether a contact of ours has this key and address."""
        entry = self.table.get(node_id(key))
        return entry is not None and entry.contact.address == address

    def is_near(self, target: bytes) -> bool:
        """Whether others find this node near an id, and expect it to keep what belongs there."""
        if self.read_only:
            return False
        others = self.table.nearest(target)
        number = int.from_bytes(target, "big")
        distance = int.from_bytes(self.identity.node_id, "big") ^ number
        return len(others) < K or distance <= others[-1].long_id ^ number
