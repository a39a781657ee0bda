"""Counting what is really there: every chunk of every segment, by audit.

What cannot be told from our own slow line must not be taken for a dead holder. So nothing is looked up while blocks are
on their way, the audits under way at once are bounded, each has a deadline of its own, and who gave no answer is asked
once more at the end, when the line is quiet. Both times all are asked for a sign of life first: when the others gave
theirs, the dead are waited for a moment, together, and not for as long as an audit may take.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import trio

from dht.contact import Contact
from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.keeping.audit import answered_rightly
from node.keeping.holders import ANSWER_SECONDS, Questions, contacts_of, find_holders, in_parallel, read_descriptor
from node.keeping.survival import Holding, Survival, survival
from node.net.peers import PeerError, PeerUnreachable
from node.progress import Progress
from protocol.errors import ProtocolError
from protocol.ids import NodeId, PublicKey, SegmentId, node_id
from protocol.links import Link
from protocol.messages import (
    MAX_HAVE_SEGMENTS,
    MAX_SURVEYED,
    NONCE_BYTES,
    Have,
    HaveReply,
    Shared,
    Survey,
    SurveyReply,
)
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

LOOKUPS_AT_ONCE = 4
SEGMENTS_AT_ONCE = 64
"""Looked up, then audited: what is remembered of them meanwhile is bounded."""
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


@dataclass(frozen=True, slots=True)
class SegmentHealth:
    """One segment's live chunks."""

    id: SegmentId
    k: int
    """0 when nobody has shown its descriptor."""
    n: int
    holdings: tuple[Holding, ...]
    expires: int
    """When the first of its holders may drop it, seconds since 1970-01-01 UTC; 0 when unknown. When leases of one
    deposit were asked about: when these end; 0 also when a holder has none."""
    noticed: int = 0
    """Missing chunks that a live holder counts as lost: they are being rebuilt. 0 where too few are live for that."""
    records: tuple[ProviderRecord, ...] = ()
    """By which the live ones were found, in the order of the holdings."""

    @property
    def live(self) -> int:
        """Distinct chunks that passed an audit just now."""
        return len({holding.index for holding in self.holdings})

    @property
    def countries(self) -> dict[str, int]:
        """Live chunks by claimed country."""
        return dict(sorted(Counter(holding.country for holding in self.holdings).items()))

    @property
    def readable(self) -> bool:
        return 0 < self.k <= self.live


@dataclass(frozen=True, slots=True)
class Health:
    """A whole deposit."""

    segments: tuple[SegmentHealth, ...]
    survives: Survival

    @property
    def healthy(self) -> bool:
        """Every chunk of every segment is live."""
        return all(segment.live == segment.n > 0 for segment in self.segments)

    @property
    def readable(self) -> bool:
        return all(segment.readable for segment in self.segments)

    @property
    def expires(self) -> int:
        """The earliest expiry; 0 when unknown."""
        return min((segment.expires for segment in self.segments if segment.expires), default=0)


async def check(client: Client, link: Link, progress: Progress) -> Health:
    """Audit one random block of every chunk of every segment, the root included. A verify link is enough.

    Raises:
        NotFoundError, IntegrityFailure: The root itself cannot be read, so the segments are not known.
    """
    lengths = await read_segments(Downloader(client, Progress()), link)
    segments = await count_chunks(client, lengths | {link.root: 0}, progress)
    return Health(segments, survival((segment.k or 1, segment.holdings) for segment in segments))


async def count_chunks(
    client: Client, lengths: Mapping[SegmentId, int], progress: Progress, whose: Whose = ANYBODY
) -> tuple[SegmentHealth, ...]:
    """The same for segments that are known, in their order.

    Args:
        client: Who asks.
        lengths: The segments, each with the bytes that the progress counts for it.
        progress: Its total is set.
        whose: Of whose leases the expiry is told.
    """
    progress.total = sum(lengths.values())
    counts = [_Count(segment, length) for segment, length in lengths.items()]
    work = _Check(client, progress, whose)
    remaining = iter(counts)
    while some := list(islice(remaining, SEGMENTS_AT_ONCE)):
        await work.count(some)
    await work.ask_again()
    return tuple(count.health() for count in counts)


@dataclass(slots=True, eq=False)
class _Count:
    """What is known of one segment so far."""

    id: SegmentId
    length: int
    """Bytes of plaintext not told to the progress yet."""
    k: int = 0
    n: int = 0
    live: list[ProviderRecord] = field(default_factory=list)
    """By which chunks were found that passed."""
    expires: dict[NodeId, int] = field(default_factory=dict)
    noticed: int = 0
    unasked: int = 0
    """Questions of the first round that are open."""

    def health(self) -> SegmentHealth:
        self.live.sort(key=lambda record: (record.index, node_id(record.key)))
        holdings = tuple(Holding(record.index, node_id(record.key), record.country) for record in self.live)
        first = min((self.expires.get(holding.node, 0) for holding in holdings), default=0)
        live = len({holding.index for holding in holdings})
        noticed = min(self.noticed, self.n - live) if live >= self.k else 0
        return SegmentHealth(self.id, self.k, self.n, holdings, first, noticed, tuple(self.live))


@dataclass(frozen=True, slots=True)
class _Question:
    """One chunk that somebody says they hold."""

    count: _Count
    descriptor: Descriptor
    holder: ProviderRecord


_Questions = dict[Contact, list[_Question]]


class _Check:
    """Two rounds of questions: everybody, and then, one by one, those who gave no answer."""

    def __init__(self, client: Client, progress: Progress, whose: Whose = ANYBODY) -> None:
        self._client = client
        self._progress = progress
        self._whose = whose
        self._questions = Questions()
        self._unanswered: _Questions = defaultdict(list)
        self._there: set[Contact] = set()
        """Who gave a sign of life when last asked for one."""
        self._unread: list[_Count] = []
        """Segments whose descriptor nobody has shown."""

    async def count(self, counts: Sequence[_Count]) -> None:
        """The first round, for some of the segments: look them all up, then audit."""
        questions = await self._look_up(counts)
        for count in counts:
            if not count.unasked:
                self._told(count)
        greeted = [contact for contact in questions if contact not in self._unanswered]
        self._there = self._there.difference(greeted) | await self._who_is_there(greeted, QUIET_SECONDS)
        async with trio.open_nursery() as nursery:
            for contact, asked in questions.items():
                nursery.start_soon(self._ask_holder, contact, asked)

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

    async def _look_up(self, counts: Iterable[_Count]) -> _Questions:
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
            self._done(question)

    async def _ask(self, contact: Contact, questions: Sequence[_Question], seconds: float) -> int:
        """Audit chunk after chunk until the holder is silent; returns how many questions it answered."""
        passed: dict[SegmentId, _Count] = {}
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

    def _done(self, question: _Question) -> None:
        question.count.unasked -= 1
        if question.count.unasked == 0:
            self._told(question.count)

    def _told(self, count: _Count) -> None:
        self._progress.step(done=count.length)
        count.length = 0

    async def _read_expiries(self, contact: Contact, counts: Sequence[_Count]) -> None:
        """When the lease of each at this node ends that is asked about."""
        depositor, deposit = self._whose
        remaining = iter(counts)
        while some := list(islice(remaining, MAX_HAVE_SEGMENTS)):
            ask = Have(depositor=depositor, deposit=deposit, segments=tuple(count.id for count in some))
            with trio.move_on_after(ANSWER_SECONDS), suppress(PeerError, ProtocolError):
                reply, _ = await self._client.peers.request(contact, ask)
                if isinstance(reply, HaveReply) and len(reply.held) == len(some):
                    for count, held in zip(some, reply.held, strict=True):
                        count.expires[contact.node_id] = held.expiry

    async def _read_noticed(self, contact: Contact, counts: Sequence[_Count]) -> None:
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
