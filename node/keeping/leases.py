"""What the holders of a deposit show about its leases: whoever has a link, a verify link too, sees who keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

import trio

from dht.contact import Contact
from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.keeping.holders import ask_each, contacts_of, fetch_leases, find_holders, in_parallel
from node.net.peers import PeerBroke
from node.progress import Progress
from protocol.ids import PublicKey, SegmentId
from protocol.leases import Lease, Policy
from protocol.links import Link

SEGMENTS_AT_ONCE = 8
GIVE_UP_SECONDS = 30.0
"""Without an answer of any holder for so long, nobody else is asked."""
MOST = 1000
"""Terms of leases, and disagreements, that are told of."""
_REMEMBERED = 65_536
"""Terms that are counted: a holder can sign any number of leases with keys of its own."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one depositor says of one deposit, alike on many of its segments."""

    depositor: PublicKey
    deposit: bytes
    deleted: bool
    expiry: int
    """Seconds since 1970-01-01 UTC."""
    policy: Policy


@dataclass(slots=True)
class Spoken:
    """Who says so."""

    segments: int = 0
    bytes: int = 0
    """Of plaintext in these segments."""
    answers: int = 0
    """That had this lease, over all these segments."""
    asked: int = 0
    """Answers there were about these segments."""
    holders: set[PublicKey] = field(default_factory=set)
    """Who had it."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A lease that not all holders of a segment have."""

    segment: SegmentId
    depositor: PublicKey
    deposit: bytes
    newest: int
    """Holders that have the one with the highest sequence."""
    older: int
    without: int


@dataclass(slots=True)
class Shown:
    """What all holders together show."""

    segments: int
    answers: int = 0
    """Of holders, each counted once for each segment."""
    silent: int = 0
    """Likewise: no answer, or one that is not to be believed."""
    unanswered: list[SegmentId] = field(default_factory=list)
    """Segments of which nobody said anything."""
    leases: list[tuple[Terms, Spoken]] = field(default_factory=list)
    """Those on most bytes first, depositor by depositor."""
    more_leases: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    more_disagreements: int = 0


async def show_leases(client: Client, link: Link, progress: Progress) -> Shown:
    """Ask the holders of every segment of a deposit, the root included, for the leases they know. All signatures are
    verified. It ends at the latest when no holder has answered for 30 seconds.

    Raises:
        NotFoundError, IntegrityFailure: The root itself cannot be read, so the segments are not known.
    """
    lengths = await read_segments(Downloader(client, Progress()), link)
    progress.total = sum(lengths.values())
    work = _Questions(client, lengths, progress)
    with work.patience:
        await in_parallel(list(lengths), SEGMENTS_AT_ONCE, work.ask)
    return work.result()


_Owner = tuple[PublicKey, bytes]
_Answer = Mapping[_Owner, tuple[Lease, bytes]]
"""Of each deposit the lease with the highest sequence, and its signed form."""


class _Questions:
    """What is asked, and what has been said so far."""

    def __init__(self, client: Client, lengths: Mapping[SegmentId, int], progress: Progress) -> None:
        self._client = client
        self._lengths = lengths
        self._progress = progress
        self.patience = trio.CancelScope(deadline=trio.current_time() + GIVE_UP_SECONDS)
        self._open = set(lengths)
        self._spoken: dict[Terms, Spoken] = {}
        self._shown = Shown(len(lengths))

    async def ask(self, segment: SegmentId) -> None:
        """Ask all holders of one segment, and count what they say."""
        length = self._lengths[segment]
        answers: dict[PublicKey, _Answer] = {}

        async def question(contact: Contact) -> bool:
            leases = await fetch_leases(self._client, contact, segment)
            if any(lease.size != length for lease, _ in leases):
                raise PeerBroke("sent a lease for another size")
            answers[contact.key] = _newest(leases)
            self.patience.deadline = trio.current_time() + GIVE_UP_SECONDS
            return True

        contacts = contacts_of(await find_holders(self._client, segment))
        _, silent = await ask_each(self._client, contacts, question)
        self._shown.silent += len(silent)
        self._shown.answers += len(answers)
        if answers:
            self._open.discard(segment)
            self._count(segment, answers)
        self._progress.step(done=length)

    def _count(self, segment: SegmentId, answers: Mapping[PublicKey, _Answer]) -> None:
        newest = _newest([lease for answer in answers.values() for lease in answer.values()])
        for owner, (lease, data) in newest.items():
            had = {key: answer[owner][1] for key, answer in answers.items() if owner in answer}
            holders = [key for key, signed in had.items() if signed == data]
            spoken = self._of(Terms(*owner, lease.deleted, lease.expiry, lease.policy))
            if spoken is not None:
                spoken.segments += 1
                spoken.bytes += lease.size
                spoken.answers += len(holders)
                spoken.asked += len(answers)
                spoken.holders.update(holders)
            if len(holders) < len(answers):
                self._disagree(
                    Disagreement(segment, *owner, len(holders), len(had) - len(holders), len(answers) - len(had))
                )

    def _of(self, terms: Terms) -> Spoken | None:
        if terms not in self._spoken and len(self._spoken) >= _REMEMBERED:
            self._shown.more_leases += 1
            return None
        return self._spoken.setdefault(terms, Spoken())

    def _disagree(self, found: Disagreement) -> None:
        if len(self._shown.disagreements) < MOST:
            self._shown.disagreements.append(found)
        else:
            self._shown.more_disagreements += 1

    def result(self) -> Shown:
        """All of it, what most answers say first kept if it is too much."""
        shown = self._shown
        kept = nlargest(MOST, self._spoken.items(), key=lambda item: item[1].answers)
        shown.more_leases += len(self._spoken) - len(kept)
        most: dict[PublicKey, int] = {}
        for terms, spoken in kept:
            most[terms.depositor] = max(most.get(terms.depositor, 0), spoken.bytes)
        shown.leases = sorted(
            kept, key=lambda item: (-most[item[0].depositor], item[0].depositor, -item[1].bytes, item[0].deposit)
        )
        shown.unanswered = sorted(self._open)
        return shown


def _newest(leases: Sequence[tuple[Lease, bytes]]) -> dict[_Owner, tuple[Lease, bytes]]:
    """Of each deposit the lease with the highest sequence; of two such, the one whose signed form is the higher."""
    found: dict[_Owner, tuple[Lease, bytes]] = {}
    for lease, data in leases:
        owner = lease.depositor, lease.deposit
        if owner not in found or (found[owner][0].sequence, found[owner][1]) < (lease.sequence, data):
            found[owner] = lease, data
    return found
