"""Asking for the records of a name, and putting one (docs/spec/dht.md section 8)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from dht.announce import ENOUGH_NODES, with_fresh_tokens
from dht.calls import CLOSE_SECONDS, Answer, Call, Event, Mailbox, Outcome
from dht.contact import Contact
from dht.core import Core
from dht.keeping import OURSELVES, RecordKeeper
from dht.lookup import LOOKUP_SECONDS, advance, lookup, take
from dht.records import RecordStore
from dht.routing import K
from dht.search import Found
from protocol.datagrams import ANY_SEQUENCE, GetRecord, GotRecord, PutCode, PutRecord, RecordPut
from protocol.errors import RemoteProtocolError
from protocol.ids import NameId, NodeId
from protocol.names import NameRecord, fork_rank, open_record

AT_ONCE = 6
"""Nodes asked for a record at the same time; the lookup has its own three."""
QUIET_SECONDS = 0.3
"""When ENOUGH of those asked have answered, and the others are slow, one waits so long after the last answer."""
QUIET_TRIPS = 2.5
"""The same in usual round trips, if that is longer: what was lost was sent once more after one and a half."""
ENOUGH = 0.75


@dataclass(frozen=True, slots=True)
class Signed:
    """A record whose signature, network and name are right."""

    data: bytes
    """As it is kept."""
    record: NameRecord


@dataclass(frozen=True, slots=True)
class NameRecords:
    """What the nodes near a name have of it."""

    name: NameId
    nodes: tuple[Found, ...]
    """Those the lookup found and that answered, nearest first, at most 20: where a record is to be put."""
    newest: tuple[Signed, ...]
    """All records of the highest sequence that have not expired; more than one: a fork. In the order of fork_rank."""
    holders: Mapping[NodeId, tuple[bytes, ...]]
    """Who has which valid records."""
    expired: int
    """The latest expiry of the records that are over; 0: there are none."""

    @property
    def sequence(self) -> int:
        """The highest there is; 0: none."""
        return self.newest[0].record.sequence if self.newest else 0


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of a record that was put on several nodes."""

    replies: Mapping[NodeId, RecordPut]
    """Of those that answered."""
    asked: int

    def count(self, *codes: PutCode) -> int:
        """How many answered with one of these."""
        return sum(reply.code in codes for reply in self.replies.values())

    def plus(self, node: NodeId, reply: RecordPut) -> "PutResult":
        """The same with one node more."""
        return PutResult({**self.replies, node: reply}, self.asked + 1)


@dataclass(slots=True)
class _Asking:
    """Nodes being asked for the records of one name."""

    core: Core
    name: NameId
    tokens: dict[NodeId, tuple[bytes, float]] = field(default_factory=dict)
    answers: dict[NodeId, list[Signed]] = field(default_factory=dict)
    opened: dict[bytes, Signed | None] = field(default_factory=dict)
    """Each record is checked once, however many nodes have it."""
    asked: set[NodeId] = field(default_factory=set)
    waiting: set[Call] = field(default_factory=set)
    """Calls neither answered nor slow."""
    open: set[Call] = field(default_factory=set)
    """Calls neither answered nor given up."""
    heard: float = float("-inf")
    """When the last answer came."""

    def patience(self) -> float:
        """Until when to wait for those that are slow, when everybody has been asked; monotonic seconds."""
        if self.waiting or len(self.tokens) < ENOUGH * len(self.asked):
            return float("inf")
        return self.heard + max(QUIET_SECONDS, QUIET_TRIPS * self.core.calls.patience.seconds)

    def wants(self, contact: Contact) -> bool:
        return len(self.waiting) < AT_ONCE and contact.node_id not in self.asked

    async def ask(self, contact: Contact, mailbox: Mailbox, place: int = 0) -> None:
        self.asked.add(contact.node_id)
        call = await self.core.ask(contact, GetRecord(name=self.name, place=place), mailbox, place)
        self.waiting.add(call)
        self.open.add(call)

    async def take(self, event: Event, mailbox: Mailbox) -> None:
        call, outcome = event
        self.waiting.discard(call)
        if outcome is Outcome.SLOW:
            return
        self.open.discard(call)
        if not isinstance(outcome, Answer) or not isinstance(outcome.message, GotRecord):
            return
        identifier = outcome.contact.node_id
        self.tokens[identifier] = outcome.message.token, outcome.time
        self.heard = outcome.time
        signed = self._open(outcome.message.record)
        if signed is not None:
            self.answers.setdefault(identifier, []).append(signed)
            assert isinstance(call.tag, int)
            if call.tag + 1 < outcome.message.count:
                await self.ask(outcome.contact, mailbox, call.tag + 1)

    def _open(self, data: bytes) -> Signed | None:
        if not data:
            return None
        if data not in self.opened:
            self.opened[data] = _checked(self.core, self.name, data)
        return self.opened[data]

    def own(self, records: Sequence[bytes]) -> None:
        """What this node keeps itself."""
        found = [signed for signed in map(self._open, records) if signed is not None]
        if found:
            self.answers[self.core.identity.node_id] = found

    def result(self, nodes: Sequence[Found], now: float) -> NameRecords:
        found = {signed.data: signed for answers in self.answers.values() for signed in answers}
        live = [signed for signed in found.values() if signed.record.expiry > now]
        highest = max((signed.record.sequence for signed in live), default=0)
        newest = [signed for signed in live if signed.record.sequence == highest]
        return NameRecords(
            name=self.name,
            nodes=tuple(self._with_token(node) for node in nodes if node.contact.node_id in self.tokens),
            newest=tuple(sorted(newest, key=lambda signed: fork_rank(signed.data))),
            holders={node: tuple(signed.data for signed in answers) for node, answers in self.answers.items()},
            expired=max((s.record.expiry for s in found.values() if s.record.expiry <= now), default=0),
        )

    def _with_token(self, node: Found) -> Found:
        token, time = self.tokens[node.contact.node_id]
        return replace(node, token=token, time=time)


def _checked(core: Core, name: NameId, data: bytes) -> Signed | None:
    try:
        record = open_record(data, core.network.id)
    except RemoteProtocolError:
        return None
    return Signed(data, record) if record.name_id == name else None


async def get_records(core: Core, name: NameId, own: Sequence[bytes], wall_clock: Callable[[], float]) -> NameRecords:
    """Ask every node near a name for its records; over when the lookup is, or LOOKUP_SECONDS have passed.

    One or two that are silent do not hold up the rest.

    Args:
        core: This node.
        name: What to ask for.
        own: Records this node keeps itself.
        wall_clock: Seconds since 1970, for expiry.
    """
    asking = _Asking(core, name)
    asking.own(own)
    mailbox = Mailbox()
    search = core.search(name)
    try:
        with trio.move_on_after(LOOKUP_SECONDS):
            await trio.lowlevel.checkpoint()
            while True:
                await advance(core, search, mailbox)
                for found in search.found():
                    if asking.wants(found.contact):
                        await asking.ask(found.contact, mailbox)
                if not asking.open and search.done():
                    break
                with trio.move_on_at(asking.patience() if search.done() else float("inf")) as scope:
                    event = await mailbox.get()
                if scope.cancelled_caught:
                    break
                if isinstance(event[0].tag, Contact):
                    take(core, search, event)
                else:
                    await asking.take(event, mailbox)
    finally:
        mailbox.close()
        core.table.touch(name, trio.current_time())
    return asking.result(search.found(), wall_clock())


async def put_record(core: Core, data: bytes, cas: int, nodes: Sequence[Found]) -> PutResult:
    """Put a record on each of ``nodes``, all at once, and wait for their answers.

    A disk may take longer than a lookup has patience for: while fewer than ENOUGH_NODES keep it, those that were given
    up are waited for, too, for CLOSE_SECONDS in all.
    """
    result = PutResult({}, len(nodes))
    mailbox = Mailbox()
    waiting: set[Call] = set()
    late: set[Call] = set()
    try:
        for found in await with_fresh_tokens(core, nodes):
            message = PutRecord(token=found.token, cas=cas, record=data)
            waiting.add(await core.ask(found.contact, message, mailbox, found.contact))
        with trio.move_on_after(CLOSE_SECONDS):
            while waiting or (late and result.count(PutCode.KEPT) < ENOUGH_NODES):
                call, outcome = await mailbox.get()
                if outcome is Outcome.SLOW:
                    continue
                waiting.discard(call)
                if isinstance(outcome, Answer):
                    late.discard(call)
                    if isinstance(outcome.message, RecordPut):
                        result = replace(result, replies={**result.replies, _node(call): outcome.message})
                else:
                    late.add(call)
    finally:
        mailbox.close()
    return result


def _node(call: Call) -> NodeId:
    assert isinstance(call.tag, Contact)
    return call.tag.node_id


async def republish(
    core: Core, store: RecordStore, keeper: RecordKeeper, name: NameId, wall_clock: Callable[[], float]
) -> int:
    """Bring what this node keeps of a name to the nodes near it; if they have something newer, keep that.

    If K of them keep it that are all nearer than this node, and it is far by all it knows, this node lets it go.

    Returns:
        How many nodes keep it now.
    """
    nodes = await lookup(core, name)
    results = [await put_record(core, data, ANY_SEQUENCE, nodes) for data in store.get(name, wall_clock())]
    if any(result.count(PutCode.OLDER, PutCode.FORKED) for result in results):
        for signed in (await get_records(core, name, (), wall_clock)).newest:
            await keeper.put(signed.data, ANY_SEQUENCE, OURSELVES)
    store.touch(name, wall_clock())
    if store.is_far(name) and results and all(_kept_nearer(core, name, result) >= K for result in results):
        keeper.drop(name)
    return max((result.count(PutCode.KEPT, PutCode.FORKED) for result in results), default=0)


def _kept_nearer(core: Core, name: NameId, result: PutResult) -> int:
    """How many nodes nearer to a name than this one keep what they were told."""
    number = int.from_bytes(name, "big")
    ours = int.from_bytes(core.identity.node_id, "big") ^ number
    kept = (node for node, reply in result.replies.items() if reply.code in (PutCode.KEPT, PutCode.FORKED))
    return sum(int.from_bytes(node, "big") ^ number < ours for node in kept)
