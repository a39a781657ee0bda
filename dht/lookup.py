"""Lookups: the nodes nearest to an id, and the provider records they keep (docs/spec/dht.md section 5)."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

import trio

from dht.calls import Answer, Call, Event, Mailbox, Outcome
from dht.contact import Contact, believable
from dht.core import Core
from dht.search import ALPHA, Found, Search
from protocol.datagrams import NO_MORE, FindNode, GetProviders, Nodes, Providers
from protocol.errors import RemoteProtocolError
from protocol.ids import Address, NodeId, SegmentId
from protocol.records import ProviderRecord, open_provider

LOOKUP_SECONDS = 5.0
"""The longest a lookup waits, whatever it is told: what has answered by then is its result."""


def take(core: Core, search: Search, event: Event) -> None:
    """Tell a search what became of one of its find_node calls."""
    call, outcome = event
    contact = call.tag
    assert isinstance(contact, Contact)
    match outcome:
        case Answer(message=Nodes(token=token)):
            named = core.named(outcome)
            core.note_view(outcome, named)
            search.offer(named)
            if outcome.read_only:
                search.failed(contact, final=True)
            else:
                search.answered(Found(contact, token, outcome.rtt, outcome.time))
        case Outcome.SLOW:
            search.slow(contact)
        case _:
            search.failed(contact)


async def advance(core: Core, search: Search, mailbox: Mailbox, *, afresh: bool = False) -> None:
    """Keep ALPHA requests in flight."""
    while search.waiting() < ALPHA and (contact := search.next()) is not None:
        search.asked(contact)
        view = None if afresh else core.view(contact)
        if view is None:
            await core.ask(contact, FindNode(target=search.target), mailbox, contact)
        else:
            search.offer(view.contacts)
            search.answered(Found(contact, view.token, view.rtt, view.time))


async def lookup(core: Core, target: bytes, seeds: Iterable[Contact] = (), *, afresh: bool = False) -> list[Found]:
    """The nodes nearest to ``target`` that answered, nearest first, at most 20, this node not among them.

    Args:
        core: This node.
        target: 32 bytes.
        seeds: Contacts to begin with, besides those in the table.
        afresh: Ask those again, too, that have just told all they know.
    """
    await trio.lowlevel.checkpoint()
    search = core.search(target)
    search.offer(seeds)
    mailbox = Mailbox()
    try:
        with trio.move_on_after(LOOKUP_SECONDS):
            await advance(core, search, mailbox, afresh=afresh)
            while not search.done():
                take(core, search, await mailbox.get())
                await advance(core, search, mailbox, afresh=afresh)
    finally:
        mailbox.close()
        if target != core.identity.node_id:  # which says nothing about the far half of our own bucket
            core.table.touch(target, trio.current_time())
    return search.found()


class _Pages:
    """Provider records as they come in: each read once, each node asked page by page."""

    def __init__(self, core: Core, segment: SegmentId, wall_clock: Callable[[], float]) -> None:
        self._core = core
        self._segment = segment
        self._wall_clock = wall_clock
        self._seen: set[bytes] = set()
        self._asked: set[NodeId] = set()
        self.waiting: set[Call] = set()
        """Calls neither answered nor slow."""
        self.open: set[Call] = set()
        """Calls neither answered nor given up."""

    def wants(self, contact: Contact) -> bool:
        """Whether it has not been asked and there is room for another call."""
        return len(self.waiting) < ALPHA and contact.node_id not in self._asked

    async def ask(self, contact: Contact, mailbox: Mailbox, first: int = 0) -> None:
        self._asked.add(contact.node_id)
        call = await self._core.ask(contact, GetProviders(segment=self._segment, first=first), mailbox, first)
        self.waiting.add(call)
        self.open.add(call)

    async def take(self, event: Event, mailbox: Mailbox) -> list[ProviderRecord]:
        """The records that are new, after asking for the page behind them."""
        call, outcome = event
        self.waiting.discard(call)
        if outcome is Outcome.SLOW:
            return []
        self.open.discard(call)
        if not isinstance(outcome, Answer) or not isinstance(outcome.message, Providers):
            return []
        assert isinstance(call.tag, int)
        page = outcome.message
        if call.tag < page.next < NO_MORE:
            await self.ask(outcome.contact, mailbox, page.next)
        return self.read(page.records, outcome.contact.address)

    def read(self, records: Iterable[bytes], by: Address | None) -> list[ProviderRecord]:
        """Check records not seen before; those named by a peer must be for addresses it can vouch for."""
        found = []
        for data in records:
            if data in self._seen:
                continue
            self._seen.add(data)
            try:
                record = open_provider(self._core.network.id, self._segment, data)
            except RemoteProtocolError:
                continue
            if record.expiry > self._wall_clock() and (by is None or believable(record.address, by)):
                found.append(record)
        return found


async def providers(
    core: Core, segment: SegmentId, own: Sequence[bytes], wall_clock: Callable[[], float]
) -> AsyncGenerator[list[ProviderRecord], None]:
    """Provider records of ``segment`` as they arrive, each once, checked; ends when the lookup is complete.

    The nearest contacts we know are asked for records at once; the lookup begins when they have been heard,
    and every node it finds is asked too. Nothing is sent while the consumer does not ask for more, but
    answers that come meanwhile are kept.

    Args:
        core: This node.
        segment: What to look for.
        own: Records this node keeps itself.
        wall_clock: Seconds since 1970, for expiry.
    """
    pages = _Pages(core, segment, wall_clock)
    mailbox = Mailbox()
    search = core.search(segment)
    patience = LOOKUP_SECONDS
    try:
        if fresh := pages.read(own, None):
            yield fresh
        for entry in core.table.nearest(segment, ALPHA):
            await pages.ask(entry.contact, mailbox)
        walking = False
        while True:
            walking = walking or not pages.waiting
            if walking:
                await advance(core, search, mailbox)
                for found in search.found():
                    if pages.wants(found.contact):
                        await pages.ask(found.contact, mailbox)
                if not pages.open and search.done():
                    return
            before = trio.current_time()
            with trio.move_on_after(patience) as scope:
                event = await mailbox.get()
            if scope.cancelled_caught:
                return
            patience -= trio.current_time() - before
            if isinstance(event[0].tag, Contact):
                take(core, search, event)
            elif fresh := await pages.take(event, mailbox):
                yield fresh
    finally:
        mailbox.close()
