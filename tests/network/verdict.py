"""What may be expected of a publish or fetch, from what was really wrong with the network meanwhile."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import IntegrityFailure, NetworkError, NodeError, NotFoundError, RefusedError
from node.publishing.publish import Published
from protocol.datagrams import Announce, Kind, parse
from protocol.ids import PublicKey, SegmentId
from protocol.links import Link
from protocol.records import open_provider
from protocol.segment import Descriptor
from tests.network.archipelago import NETWORK, QUOTA, Archipelago, Node, User
from tests.network.frauds import Fraud
from tests.network.holder import Holder
from tests.network.weather import Weather

NEAREST = 20
"""Nodes a publish considers first."""


@dataclass(slots=True)
class Outcome:
    """How one operation ended."""

    what: str
    began: float
    ended: float
    error: NodeError | None
    hampered: bool
    """Whether the user's own line was bad: then nothing is expected but that it ends rightly."""

    @property
    def how(self) -> str:
        return "whole" if self.error is None else type(self.error).__name__

    def __str__(self) -> str:
        return f"{self.what}: {self.how} in {self.ended - self.began:.1f} s"


@dataclass(frozen=True, slots=True)
class Deposit:
    """What was published."""

    source: Path
    link: Link
    segments: tuple[SegmentId, ...]

    @classmethod
    def of(cls, user: User, source: Path, published: Published) -> "Deposit":
        found = user.journal.segments(published.link.root)
        return cls(source, published.link, tuple(segment for segment, _ in found))


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows all about the network: every disk, every liar, every announcement, and who was hit when."""

    islands: Archipelago
    weather: Weather
    frauds: Sequence[tuple[Holder, Fraud]]
    announced: dict[SegmentId, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Provider records that somebody sent to a node, whether or not they arrived there."""

    def overhear(self, data: bytes) -> None:
        """Take in a datagram on its way."""
        datagram = parse(data)
        if datagram.kind is Kind.ANNOUNCE:
            message = datagram.message()
            assert isinstance(message, Announce)
            for item in message.items:
                self.announced[item.segment].update(item.records)

    def fetch(self, outcome: Outcome, deposit: Deposit) -> Iterator[str]:
        """What is wrong with how a fetch ended."""
        if outcome.error is None:
            return
        if not outcome.hampered and all(self._within_reach(outcome, segment) for segment in deposit.segments):
            yield f"{outcome}, although enough chunks were within reach: {outcome.error}"
        lied_about = {segment for _, fraud in self.frauds for segment, _ in fraud.taken}
        fits = {
            NotFoundError: True,
            IntegrityFailure: not lied_about.isdisjoint(deposit.segments),
            NetworkError: outcome.hampered or 2 * self._well(outcome) < len(self.islands.nodes),
        }
        if not fits.get(type(outcome.error), False):
            yield f"{outcome}: that is not what was wrong: {outcome.error}"

    def publish(self, outcome: Outcome, deposit: Deposit) -> Iterator[str]:
        """What is wrong with how a publish ended.

        Args:
            outcome: Of the publish.
            deposit: What came of the same source at another time.
        """
        if outcome.error is None:
            return
        if not outcome.hampered and all(self._room_near(outcome, segment) for segment in deposit.segments):
            yield f"{outcome}, although enough nodes were within reach: {outcome.error}"
        fits = {NetworkError: True, RefusedError: any(node.quota < QUOTA for node in self.islands.nodes)}
        if not fits.get(type(outcome.error), False):
            yield f"{outcome}: that is not what was wrong: {outcome.error}"

    def missing(self, deposit: Deposit, published: Published) -> Iterator[str]:
        """Chunks that were acknowledged, but are neither on a disk nor with a liar, or that nobody was told of."""
        lies = {chunk for _, fraud in self.frauds for chunk in fraud.taken}
        there = {(segment, index) for segment in deposit.segments for index in self.holders(segment)} | lies
        count = sum(segment in deposit.segments for segment, _ in there)
        if count < published.placed:
            yield f"{published.placed} chunks acknowledged, {count} are there"
        told = sum(len({index for index, _ in self._providers(segment)}) for segment in deposit.segments)
        if told < published.placed:
            yield f"{published.placed} chunks acknowledged, {told} are announced"

    def holders(self, segment: SegmentId) -> dict[int, list[Node]]:
        """Index -> nodes with that chunk of a segment on their disk."""
        found: dict[int, list[Node]] = {}
        name = segment.hex()
        for node in self.islands.nodes:
            for path in sorted((node.data / "chunks" / name[:2]).glob(f"{name}.*")):
                if path.suffix != ".leases":
                    found.setdefault(int(path.suffix[1:]), []).append(node)
        return found

    def _needed(self, segment: SegmentId) -> int:
        """k of a segment; more than there can be when nobody has it."""
        for index, (node, *_) in self.holders(segment).items():
            return Descriptor.decode(node.trailer((segment.hex(), index)).descriptor).layout.k
        return 256

    def _within_reach(self, outcome: Outcome, segment: SegmentId) -> bool:
        """Whether k chunks were with holders that were well all the time, and that somebody was told of.

        A chunk may have come to a disk and its receipt not to the depositor, who then cannot announce it. Nobody can
        know of it before its holder's next round of announcements, hours later, or the next publish of the same.
        """
        known = self._providers(segment)
        there = [
            (index, node.host.ip)
            for index, nodes in self.holders(segment).items()
            for node in nodes
            if (index, node.identity.key) in known
        ]
        return len({index for index, ip in there if self._was_well(outcome, ip)}) >= self._needed(segment)

    def _providers(self, segment: SegmentId) -> set[tuple[int, PublicKey]]:
        """Index and holder of all chunks that were announced."""
        records = (open_provider(NETWORK.id, segment, data) for data in self.announced[segment])
        return {(record.index, record.key) for record in records}

    def _room_near(self, outcome: Outcome, segment: SegmentId) -> bool:
        """Whether k+1 of the nodes nearest to a segment had room and were well all the time; liars take everything."""
        places = [(node.node_id, node.host.ip, node.quota == QUOTA) for node in self.islands.nodes]
        places += [(holder.identity.node_id, holder.host.ip, True) for holder, _ in self.frauds]
        nearest = sorted(places, key=lambda place: _distance(place[0], segment))[:NEAREST]
        well = sum(room and self._was_well(outcome, ip) for _, ip, room in nearest)
        return well > self._needed(segment)

    def _well(self, outcome: Outcome) -> int:
        return sum(self._was_well(outcome, node.host.ip) for node in self.islands.nodes)

    def _was_well(self, outcome: Outcome, ip: str) -> bool:
        return self.weather.undisturbed(ip, outcome.began, outcome.ended)


def _distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
