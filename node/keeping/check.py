"""Counting what is really there: every chunk of every segment, by audit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dht.contact import Contact
from node.client import Client
from node.fetching.download import Downloader
from node.fetching.reader import read_index
from node.keeping.audit import audit
from node.keeping.holders import ask_each, contacts_of, find_holders, in_parallel, read_descriptor
from node.keeping.survival import Holding, Survival, survival
from node.progress import Progress
from protocol.ids import NodeId, PublicKey, SegmentId
from protocol.links import Link
from protocol.messages import Have, HaveReply
from protocol.records import ProviderRecord
from protocol.segment import Descriptor

SEGMENTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class SegmentHealth:
    """One segment's live chunks."""

    id: SegmentId
    k: int
    """0 when nobody has shown its descriptor."""
    n: int
    holdings: tuple[Holding, ...]
    expires: int
    """When the first of its holders may drop it, seconds since 1970-01-01 UTC; 0 when unknown."""

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
    index, root = await read_index(Downloader(client, Progress()), link)
    lengths = {root: 0} | {entry.id: entry.length for entry in index}
    progress.total = sum(lengths.values())
    found: dict[SegmentId, SegmentHealth] = {}

    async def one(segment: SegmentId) -> None:
        found[segment] = await _check_segment(client, segment)
        progress.step(done=lengths[segment])

    await in_parallel(list(lengths), SEGMENTS_AT_ONCE, one)
    segments = tuple(found[segment] for segment in lengths)
    return Health(segments, survival((segment.k or 1, segment.holdings) for segment in segments))


async def _check_segment(client: Client, segment: SegmentId) -> SegmentHealth:
    holders = await find_holders(client, segment)
    descriptor = await read_descriptor(client, segment, holders)
    if descriptor is None:
        return SegmentHealth(segment, 0, 0, (), 0)
    expires: dict[NodeId, int] = {}
    live: list[Holding] = []

    async def question(contact: Contact) -> bool:
        mine = [h for h in holders if h.key == contact.key and h.index < descriptor.layout.n]
        live.extend(await _audited(client, contact, descriptor, mine))
        expires[contact.node_id] = await _expiry(client, contact, segment)
        return True

    await ask_each(client, contacts_of(holders), question)
    first = min((expires.get(holding.node, 0) for holding in live), default=0)
    live.sort(key=lambda holding: (holding.index, holding.node))
    return SegmentHealth(segment, descriptor.layout.k, descriptor.layout.n, tuple(live), first)


async def _audited(
    client: Client, contact: Contact, descriptor: Descriptor, holders: Sequence[ProviderRecord]
) -> list[Holding]:
    """The chunks of one node that passed."""
    passed = []
    for holder in holders:
        if await audit(client, contact, descriptor, holder.index):
            passed.append(Holding(holder.index, contact.node_id, holder.country))
    return passed


async def _expiry(client: Client, contact: Contact, segment: SegmentId) -> int:
    """When the last lease at this node ends, whoever's it is: a deposit of zeros asks for that."""
    reply, _ = await client.peers.request(
        contact, Have(depositor=PublicKey(bytes(32)), deposit=bytes(16), segments=(segment,))
    )
    return reply.held[0].expiry if isinstance(reply, HaveReply) and len(reply.held) == 1 else 0
