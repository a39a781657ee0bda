"""Counting what is really there: every chunk of every segment, by audit.

What cannot be told from our own slow line must not be taken for a dead holder. So nothing is looked up while blocks are
on their way, the audits under way at once are bounded, each has a deadline of its own, and who gave no answer is asked
once more at the end, when the line is quiet. Both times all are asked for a sign of life first: when the others gave
theirs, the dead are waited for a moment, together, and not for as long as an audit may take.

A deposit may have 100,000 segments: they are counted in batches, and of those that are counted little is remembered.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice

import trio

from dht.contact import Contact
from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.keeping.audit import answered_rightly
from node.keeping.counted import Count, Health, SegmentHealth, Shelf
from node.keeping.holders import ANSWER_SECONDS, Questions, contacts_of, find_holders, in_parallel, read_descriptor
from node.keeping.survival import survival
from node.net.peers import PeerError, PeerUnreachable
from node.progress import Progress
from protocol.errors import ProtocolError
from protocol.ids import PublicKey, SegmentId
from protocol.links import Link
from protocol.messages import (
    MAX_HAVE_SEGMENTS,
    MAX_SURVEYED,
    NONCE_BYTES,
    Have,
    HaveReply,
    Held,
    Shared,
    Survey,
    SurveyReply,
)
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

LOOKUPS_AT_ONCE = 4
SEGMENTS_AT_ONCE = 64
"""Looked up, then audited: what is remembered of them meanwhile is bounded."""
OPEN_SEGMENTS = 1024
"""Of which somebody was silent: when there are so many, the second round is held for them before others are counted."""
ALONE_SECONDS = 15.0
"""How long a holder may be silent when it is asked again and nothing else is on the line."""
QUIET_SECONDS = 1.0
"""Who has given no sign of life so long after the last of the others did is left for the second round."""
GONE_SECONDS = 2.5
"""And then is not there: a first packet that was lost is sent again after one second."""
Whose = tuple[PublicKey, bytes]
"""Whose leases: a depositor and a deposit id."""
ANYBODY: Whose = (PublicKey(bytes(32)), bytes(16))
"""Of zeros: whoever's lease ends last."""
_HELLOS_AT_ONCE = 16
_WITNESSES = 3


Urgent = Callable[[Sequence[SegmentHealth]], Awaitable[None]]
"""Given the thin segments of those that were just counted; nothing is counted until it returns."""


async def check(client: Client, link: Link, progress: Progress) -> Health:
    """Audit one random block of every chunk of every segment, the root included. A verify link is enough.

    Raises:
        NotFoundError, IntegrityFailure: The root itself cannot be read, so the segments are not known.
    """
    lengths = await read_segments(Downloader(client, Progress()), link)
    segments = await count_chunks(client, lengths | {link.root: 0}, progress)
    places = [(segment.k or 1, segment.holdings) for segment in segments]
    return Health(segments, await client.world.blocking(survival, places))


async def count_chunks(
    client: Client,
    lengths: Mapping[SegmentId, int],
    progress: Progress,
    whose: Whose = ANYBODY,
    *,
    audited: bool = True,
    urgent: Urgent | None = None,
) -> tuple[SegmentHealth, ...]:
    """The same for segments that are known, in their order.

    Args:
        client: Who asks.
        lengths: The segments, each with the bytes that the progress counts for it.
        progress: Its total is set.
        whose: Of whose leases the expiry is told.
        audited: Whether a block of each chunk is downloaded. Without, holders are believed what they say they hold, and
            nobody is asked what has been noticed.
        urgent: Called between two batches; what it restores counts as it was before.
    """
    progress.total = sum(lengths.values())
    work = _Check(client, progress, whose, audited)
    found: dict[SegmentId, SegmentHealth] = {}
    remaining = iter(lengths.items())
    more = True
    while more:
        some = [Count(segment, length) for segment, length in islice(remaining, SEGMENTS_AT_ONCE)]
        more = len(some) == SEGMENTS_AT_ONCE
        await work.count(some)
        if not more or len(work.open) >= OPEN_SEGMENTS or (urgent and any(count.thin for count in work.open)):
            await work.ask_again()
        counted = work.closed()
        found |= {health.id: health for health in counted}
        thin = [health for health in counted if health.thin] if urgent else []
        if urgent and thin:
            await urgent(thin)
    return tuple(found[segment] for segment in lengths)


@dataclass(frozen=True, slots=True)
class _Question:
    """One chunk that somebody says they hold."""

    count: Count
    descriptor: Descriptor
    holder: ProviderRecord


_Questions = dict[Contact, list[_Question]]


class _Check:
    """Two rounds of questions: everybody, and then, one by one, those who gave no answer."""

    def __init__(self, client: Client, progress: Progress, whose: Whose = ANYBODY, audited: bool = True) -> None:
        self._client = client
        self._progress = progress
        self._whose = whose
        self._audited = audited
        self._questions = Questions()
        self._unanswered: _Questions = defaultdict(list)
        self._there: set[Contact] = set()
        """Who gave a sign of life when last asked for one."""
        self._unread: list[Count] = []
        """Segments whose descriptor nobody has shown."""
        self._shelf = Shelf()
        self.open: list[Count] = []
        """Segments that :meth:`closed` has not returned yet."""

    async def count(self, counts: Sequence[Count]) -> None:
        """The first round, for some of the segments: look them all up, then audit."""
        self.open += counts
        questions = await self._look_up(counts)
        for count in counts:
            if not count.unasked:
                self._told(count)
        greeted = [contact for contact in questions if contact not in self._unanswered]
        self._there = self._there.difference(greeted) | await self._who_is_there(greeted, QUIET_SECONDS)
        async with trio.open_nursery() as nursery:
            for contact, asked in questions.items():
                nursery.start_soon(self._ask_holder, contact, asked)
        unread = set(self._unread)
        for count in counts:
            count.over = not count.waiting and count not in unread

    async def ask_again(self) -> None:
        """The second round, on a quiet line: every holder that was silent, by itself."""
        questions, self._unanswered = self._unanswered, defaultdict(list)
        unread, self._unread = self._unread, []
        for contact, asked in (await self._look_up(unread)).items():
            questions[contact] += asked
        # Beside some that answered before: when they have done so again, it is not the line that is slow.
        witnesses = list(islice((contact for contact in self._there if contact not in questions), _WITNESSES))
        there = await self._who_is_there([*questions, *witnesses], GONE_SECONDS) if questions else set()
        for contact, asked in questions.items():
            if contact in there:
                await self._ask(contact, asked, ALONE_SECONDS)
        self._unread.clear()
        for count in self.open:
            count.over = True

    def closed(self) -> list[SegmentHealth]:
        """The segments about which nobody will be asked any more; they are forgotten here."""
        over = [count for count in self.open if count.over]
        self.open = [count for count in self.open if not count.over]
        return [self._shelf.health(count) for count in over]

    async def _look_up(self, counts: Iterable[Count]) -> _Questions:
        """What to ask whom."""
        by_id = {count.id: count for count in counts}
        questions: _Questions = defaultdict(list)

        async def one(segment: SegmentId) -> None:
            count = by_id[segment]
            holders = await find_holders(self._client, segment)
            away = [h for h in holders if Contact(h.key, h.address) in self._unanswered]
            descriptor = await read_descriptor(self._client, segment, [h for h in holders if h not in away])
            if descriptor is None:
                self._unread.append(count)
                return
            count.k, count.n = descriptor.layout.k, descriptor.layout.n
            for contact in contacts_of(holders):
                mine = [h for h in holders if h.key == contact.key and h.index < count.n]
                questions[contact] += [_Question(count, descriptor, holder) for holder in mine]
                count.unasked += len(mine)

        await in_parallel(list(by_id), LOOKUPS_AT_ONCE, one)
        return questions

    async def _ask_holder(self, contact: Contact, questions: Sequence[_Question]) -> None:
        """First round: what it does not answer is kept for the second."""
        silent = contact in self._unanswered or contact not in self._there
        answered = 0 if silent else await self._ask(contact, questions, ANSWER_SECONDS)
        if answered < len(questions):
            self._unanswered[contact] += questions[answered:]
        for question in questions[answered:]:
            question.count.waiting = True
            self._done(question)

    async def _ask(self, contact: Contact, questions: Sequence[_Question], seconds: float) -> int:
        """Put questions until the holder is silent; returns how many it answered."""
        work = self._audit if self._audited else self._hear
        return await work(contact, questions, seconds)

    async def _audit(self, contact: Contact, questions: Sequence[_Question], seconds: float) -> int:
        """Chunk after chunk."""
        passed: dict[SegmentId, Count] = {}
        answered = 0
        for question in questions:
            audit = partial(answered_rightly, self._client, contact, question.descriptor, question.holder.index)
            try:
                good = await self._questions.ask(seconds, audit)
            except PeerUnreachable:
                break
            answered += 1
            if good:
                question.count.live.append(question.holder)
                passed[question.count.id] = question.count
            self._done(question)
        await self._read_expiries(contact, list(passed.values()))
        await self._read_noticed(contact, list(passed.values()))
        return answered

    async def _hear(self, contact: Contact, questions: Sequence[_Question], seconds: float) -> int:
        """What it says that it holds."""
        answered = 0
        remaining = iter(questions)
        while some := list(islice(remaining, MAX_HAVE_SEGMENTS)):
            said = await self._held(contact, list({question.count.id for question in some}), seconds)
            if said is None:
                break
            answered += len(some)
            for question in some:
                held = said[question.count.id]
                if question.holder.index in held.indices:
                    question.count.live.append(question.holder)
                    question.count.expires[contact.node_id] = held.expiry
                self._done(question)
        return answered

    def _done(self, question: _Question) -> None:
        question.count.unasked -= 1
        if question.count.unasked == 0:
            self._told(question.count)

    def _told(self, count: Count) -> None:
        self._progress.step(done=count.length)
        count.length = 0

    async def _read_expiries(self, contact: Contact, counts: Sequence[Count]) -> None:
        """When the lease of each at this node ends that is asked about."""
        remaining = iter(counts)
        while some := list(islice(remaining, MAX_HAVE_SEGMENTS)):
            said = await self._held(contact, [count.id for count in some], ANSWER_SECONDS) or {}
            for count in some:
                if count.id in said:
                    count.expires[contact.node_id] = said[count.id].expiry

    async def _held(
        self, contact: Contact, segments: Sequence[SegmentId], seconds: float
    ) -> dict[SegmentId, Held] | None:
        """What a node says it holds, MAX_HAVE_SEGMENTS segments at most; None: no answer that can be used."""
        depositor, deposit = self._whose
        ask = Have(depositor=depositor, deposit=deposit, segments=tuple(segments))
        with trio.move_on_after(seconds), suppress(PeerError, ProtocolError):
            reply, _ = await self._client.peers.request(contact, ask)
            if isinstance(reply, HaveReply) and len(reply.held) == len(segments):
                return dict(zip(segments, reply.held, strict=True))
        return None

    async def _read_noticed(self, contact: Contact, counts: Sequence[Count]) -> None:
        """How many chunks of each this node misses itself."""
        remaining = iter(counts)
        while some := list(islice(remaining, MAX_SURVEYED)):
            nonce = self._client.world.random_bytes(NONCE_BYTES)
            ask = Survey(nonce=nonce, segments=tuple(Shared(segment=count.id) for count in some))
            with trio.move_on_after(ANSWER_SECONDS), suppress(PeerError, ProtocolError):
                reply, _ = await self._client.peers.request(contact, ask)
                if isinstance(reply, SurveyReply):
                    for count, holds in zip(some, reply.segments, strict=True):
                        count.noticed = max(count.noticed, holds.missing)

    async def _who_is_there(self, contacts: Iterable[Contact], quiet_seconds: float) -> set[Contact]:
        """Those who answer the shortest of questions.

        Args:
            contacts: Distinct nodes.
            quiet_seconds: So long each is waited for after the last answer of another; ANSWER_SECONDS at most.
        """
        there: set[Contact] = set()
        places = trio.Semaphore(_HELLOS_AT_ONCE)
        ends: dict[trio.CancelScope, float] = {}  # when each that is open ends at the latest

        async def ask(contact: Contact) -> None:
            async with places:
                with trio.move_on_after(quiet_seconds if there else ANSWER_SECONDS) as scope:
                    ends[scope] = trio.current_time() + ANSWER_SECONDS
                    try:
                        await self._client.peers.hello(contact)
                    except PeerUnreachable:
                        return
                    except PeerError:
                        pass  # an answer all the same
                    finally:
                        del ends[scope]
                    there.add(contact)
                    for other, end in ends.items():
                        other.deadline = min(end, trio.current_time() + quiet_seconds)

        async with trio.open_nursery() as nursery:
            for contact in contacts:
                nursery.start_soon(ask, contact)
        return there
