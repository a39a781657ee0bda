"""One node's part in the DHT: it answers others, looks up, announces (docs/spec/dht.md).

:meth:`Dht.run` reads the socket, keeps deadlines and the routing table; everything else is called from other
tasks while it runs. A lookup is a loop over the outcomes of its calls, so it needs neither task nor nursery,
and one that is abandoned leaves nothing behind but transactions that close by themselves.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import trio

from dht.announce import announce, sweep
from dht.answers import Answers
from dht.calls import Answer, Mailbox, Outcome
from dht.contact import Contact
from dht.core import Core
from dht.counters import Counters
from dht.keeping import OURSELVES, Persist, RecordKeeper
from dht.limits import Limits
from dht.lookup import lookup, providers
from dht.names import NameRecords, PutResult, get_records, put_record, republish
from dht.providers import ProviderStore
from dht.records import RecordStore
from dht.search import Found
from dht.socket import DatagramSocket
from dht.tokens import Tokens
from dht.upkeep import Upkeep
from protocol.datagrams import (
    NO_MORE,
    Datagram,
    FindNode,
    Ping,
    PutRecord,
    RecordPut,
    Reply,
    parse,
    seal,
)
from protocol.errors import RemoteProtocolError, SignatureError
from protocol.identity import Identity, Network
from protocol.ids import Address, NameId, NodeId, PublicKey, SegmentId
from protocol.records import ProviderRecord

JOIN_SECONDS = 5.0
"""The longest a join takes."""
JOIN_ROUND_SECONDS = 1.0
"""How often a join asks those again that have not answered."""
JOIN_MORE_SECONDS = 0.2
"""How long a join waits for further answers once it has one."""
MAX_JOIN = 64
"""Addresses and remembered contacts one join asks."""
PROBE_SECONDS = 5.0
"""How often a node that asks us and is in no bucket is asked for a sign of life."""
MAX_PROBES = 1024


class Dht:
    """One node of the DHT."""

    def __init__(
        self,
        identity: Identity,
        network: Network,
        socket: DatagramSocket,
        *,
        read_only: bool,
        wall_clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        counters: Counters | None = None,
        records: RecordStore | None = None,
        persist: Persist | None = None,
    ) -> None:
        """Make a node that is silent until :meth:`run`.

        Args:
            identity: Who signs our datagrams.
            network: Datagrams of others are ignored.
            socket: Ours from now on; run() closes it.
            read_only: See :attr:`read_only`.
            wall_clock: Seconds since 1970, for the expiry of records. Deadlines use trio's clock.
            random_bytes: Unpredictable bytes, for transactions and tokens.
            counters: To count in.
            records: What it keeps of names already; None: nothing.
            persist: Puts records of names on the disk; None: they are kept in memory alone.
        """
        self.counters = counters or Counters()
        self._core = Core(identity, network, socket, random_bytes, counters=self.counters, read_only=read_only)
        self.store = ProviderStore(network)
        self.records = RecordStore(network) if records is None else records
        self.records.settle(identity.node_id, self._core.table.nearer)
        self.on_heard: Callable[[PublicKey], None] = _ignore
        """Called with the key that signed an answer to a fresh question of ours. A request proves no life: it may have
        been recorded long ago."""
        self._network = network
        self._identity = identity
        self._socket = socket
        self._wall_clock = wall_clock
        self._tokens = Tokens(random_bytes)
        self._answers = Answers(self._core.table, self.store, self.records, self._tokens, wall_clock)
        self._keeper = RecordKeeper(self.records, wall_clock, persist)
        self._limits = Limits()
        self._probes: OrderedDict[NodeId, float] = OrderedDict()
        self._ways_in: tuple[Sequence[Address], Sequence[Contact]] = ((), ())
        self._upkeep = Upkeep(self._core, self._purge, wall_clock, self._enter)

    @property
    def read_only(self) -> bool:
        """Whether this is a client (BEP 43): it keeps nothing for others and is in nobody's table.

        Once it is set to False, the nodes around us are told so.
        """
        return self._core.read_only

    @read_only.setter
    def read_only(self, value: bool) -> None:
        changed = value is not self._core.read_only
        self._core.read_only = value
        if changed and not value:
            self._upkeep.settle()

    @property
    def address(self) -> Address:
        """Where the socket is bound."""
        return self._socket.address

    def contacts(self) -> list[Contact]:
        """The contacts in the routing table."""
        return [entry.contact for entry in self._core.table.entries()]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then close the socket."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._core.calls.run)
                nursery.start_soon(self._upkeep.run)
                nursery.start_soon(self._keeper.run)
                task_status.started()
                while True:
                    data, source = await self._socket.receive()
                    await self._take(data, source)
        finally:
            self._socket.close()

    # Receiving

    async def _take(self, data: bytes, source: Address) -> None:
        """Handle one datagram. Nothing that comes in it can raise."""
        self.counters.received_total += 1
        self.counters.received_bytes += len(data)
        try:
            datagram = parse(data)
            if datagram.sender == self._identity.key:
                return  # our own words, thrown back at us
            if datagram.kind.is_reply:
                self._take_reply(datagram, source)
            else:
                await self._take_request(datagram, source)
        except SignatureError:
            self.counters.forged_total += 1
        except RemoteProtocolError:
            self.counters.malformed_total += 1

    def _take_reply(self, datagram: Datagram, source: Address) -> None:
        call = self._core.calls.match(datagram, source)
        if call is None:
            self.counters.unasked_total += 1
            return
        datagram.verify(self._network.id, self._identity.node_id)
        self.counters.verified_total += 1
        self.on_heard(datagram.sender)
        self._core.take(call, datagram, datagram.message())

    async def _take_request(self, datagram: Datagram, source: Address) -> None:
        now = trio.current_time()
        known = self._core.knows_address(source, datagram.sender)
        if not self._limits.allow(source, now, known=known):
            self.counters.limited_total += 1
            return
        datagram.verify(self._network.id, self._identity.node_id)
        self.counters.verified_total += 1
        asker = Contact(datagram.sender, source)
        message = datagram.message()
        if isinstance(message, PutRecord):
            await self._take_record(message, datagram, asker)
        else:
            reply = self._answers.answer(message, asker, storing=not self.read_only)
            if reply is not None:
                await self._reply(reply, datagram, asker)
        if not known and not datagram.read_only:
            await self._probe(asker, now)

    async def _take_record(self, message: PutRecord, datagram: Datagram, asker: Contact) -> None:
        """Answered when the record is on the disk: not now, since nobody else would be answered meanwhile."""

        async def answer(reply: RecordPut) -> None:
            await self._reply(reply, datagram, asker)

        if not self.read_only and self._answers.may_write(message.token, asker):
            await self._keeper.take(message.record, message.cas, asker.address, answer)

    async def _reply(self, reply: Reply, request: Datagram, asker: Contact) -> None:
        identity, network = self._identity, self._network.id
        data = seal(identity, network, asker.node_id, request.transaction, reply, read_only=self.read_only)
        if len(data) <= len(request.data):  # always so, by the byte table; and if not, rather silence
            self.counters.sent_total += 1
            self.counters.sent_bytes += len(data)
            await self._socket.send(data, asker.address)

    async def _probe(self, contact: Contact, now: float) -> None:
        """Ask a node that asked us to sign something fresh: then it may enter the table."""
        last = self._probes.get(contact.node_id)
        if last is not None and now - last < PROBE_SECONDS:
            return
        if not self._network.admits(contact.node_id) or not self._core.table.wants(contact):
            return
        self._probes[contact.node_id] = now
        self._probes.move_to_end(contact.node_id)
        if len(self._probes) > MAX_PROBES:
            self._probes.popitem(last=False)
        if not self._core.calls.full:  # whoever reads the socket must not wait for room: answers make it
            await self._core.ask(contact, Ping())

    # Asking

    async def join(self, addresses: Sequence[Address], remembered: Sequence[Contact] = ()) -> int:
        """Get to know the network through any of these; at most JOIN_SECONDS.

        They are remembered as ways in: a node that comes to know nobody tries them again.

        Args:
            addresses: Nodes whose keys are not known.
            remembered: Contacts of an earlier run.

        Returns:
            How many contacts are known now.
        """
        self._ways_in = (list(addresses)[:MAX_JOIN], list(remembered)[:MAX_JOIN])
        await self._enter()
        self._upkeep.settle()
        return len(self._core.table)

    async def _enter(self) -> None:
        began = trio.current_time()
        with trio.move_on_after(JOIN_SECONDS):
            if seeds := await self._knock():
                await lookup(self._core, self._identity.node_id, seeds, afresh=True)
                await self._upkeep.refresh(began)

    async def _knock(self) -> list[Contact]:
        """Ping the ways in, again and again, until some answer."""
        addresses, remembered = self._ways_in
        doors: list[Address | Contact] = [address for address in addresses if address != self.address]
        doors.extend(remembered)
        seeds: dict[Contact, None] = {}
        mailbox = Mailbox()
        try:
            while doors and not seeds:
                for door in doors:
                    if isinstance(door, Contact):
                        await self._core.ask(door, Ping(), mailbox)
                    else:
                        await self._core.ask_address(door, mailbox)
                with trio.move_on_after(JOIN_ROUND_SECONDS) as scope:
                    while len(seeds) < len(doors):
                        _, outcome = await mailbox.get()
                        if isinstance(outcome, Answer):
                            seeds[outcome.contact] = None
                            scope.deadline = min(scope.deadline, outcome.time + JOIN_MORE_SECONDS)
        finally:
            mailbox.close()
        return list(seeds)

    async def ping(self, address: Address, key: PublicKey | None = None) -> Contact | None:
        """Ask for a sign of life.

        Args:
            address: Where to.
            key: Whose answer counts; None: whoever is there.

        Returns:
            Who answered, read-only or not; None if nobody did within some two seconds.
        """
        mailbox = Mailbox()
        try:
            if key is None:
                await self._core.ask_address(address, mailbox)
            else:
                await self._core.ask(Contact(key, address), Ping(), mailbox)
            while True:
                _, outcome = await mailbox.get()
                if isinstance(outcome, Answer):
                    return outcome.contact
                if outcome is Outcome.GIVEN_UP:
                    return None
        finally:
            mailbox.close()

    async def known_by(self, contact: Contact, target: bytes) -> list[Contact]:
        """The contacts one node names as nearest to ``target``; none if it does not answer."""
        mailbox = Mailbox()
        try:
            await self._core.ask(contact, FindNode(target=target), mailbox)
            while True:
                _, outcome = await mailbox.get()
                if isinstance(outcome, Answer):
                    return self._core.named(outcome)
                if outcome is Outcome.GIVEN_UP:
                    return []
        finally:
            mailbox.close()

    async def lookup(self, target: bytes) -> list[Found]:
        """The nodes nearest to an id of 32 bytes: those that answered, nearest first, at most 20.

        This node is not among them. Takes five seconds at most, far less if few of them are dead.
        """
        return await lookup(self._core, target)

    def providers(self, segment: SegmentId) -> AsyncGenerator[list[ProviderRecord], None]:
        """Provider records of a segment as they arrive: checked, not expired, each once.

        Ends when the lookup is complete. Use with aclosing(): leaving early is normal.
        """
        return providers(self._core, segment, self._own_records(segment), self._wall_clock)

    def _own_records(self, segment: SegmentId) -> list[bytes]:
        records: list[bytes] = []
        after = NO_MORE if self.read_only else 0
        while after < NO_MORE:
            page, after = self.store.page(segment, after, self._wall_clock())
            records.extend(page)
        return records

    async def announce(self, segment: SegmentId, records: Sequence[bytes], nearest: Sequence[Found]) -> int:
        """Tell the nodes of a lookup who holds a segment's chunks.

        Args:
            segment: What the records are about.
            records: Packed provider records, signed by the holders.
            nearest: What :meth:`lookup` of this segment found, or the part of it to tell.

        Returns:
            How many nodes keep them now, this one included.
        """
        told = await announce(self._core, [(segment, records)], nearest)
        return len(told) + self._keep(segment, records)

    async def announce_all(self, records: Mapping[SegmentId, Sequence[bytes]]) -> int:
        """Announce many segments, sharing lookups between neighbours in the keyspace.

        Returns:
            How many of the segments at least one node keeps records of now, this one included.
        """
        told = await sweep(self._core, records)
        return sum(self._keep(segment, records[segment]) or bool(told[segment]) for segment in records)

    def _keep(self, segment: SegmentId, records: Sequence[bytes]) -> bool:
        """Store records here if this node is one of the nearest to the segment."""
        return self._core.is_near(segment) and self.store.add(segment, records, OURSELVES, self._wall_clock()) > 0

    def _purge(self, now: float) -> None:
        self.store.purge(now)
        self.records.purge(now)

    # Names

    async def get_records(self, name: NameId) -> NameRecords:
        """Ask all nodes near a name for its records, this one included; five seconds at most, as a lookup."""
        own = () if self.read_only else self.records.get(name, self._wall_clock())
        return await get_records(self._core, name, own, self._wall_clock)

    async def put_record(self, data: bytes, cas: int, found: NameRecords) -> PutResult:
        """Put a record on the nodes that :meth:`get_records` found, and on this one if it is as near.

        Args:
            data: A signed record of the same name.
            cas: The highest sequence known; ANY_SEQUENCE: it does not matter.
            found: What there was, and on whom.
        """
        result = await put_record(self._core, data, cas, found.nodes)
        own = await self._keeper.put(data, cas, OURSELVES) if self._core.is_near(found.name) else None
        return result if own is None else result.plus(self._identity.node_id, own)

    async def republish(self, name: NameId) -> int:
        """Bring what this node keeps of a name to the nodes near it; if they have something newer, keep that.

        Returns:
            How many nodes keep it now.
        """
        return await republish(self._core, self.records, self._keeper, name, self._wall_clock)


def _ignore(key: PublicKey) -> None:
    """Nobody wants to know."""
