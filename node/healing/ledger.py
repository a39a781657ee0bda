"""Who is said to hold what of the segments this node holds, and who of them is there (docs/spec/healing.md section 1).

In memory, some 250 bytes a segment: all of it can be learned again. Nothing here waits, asks or knows the time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dht.contact import Contact
from node.healing.margin import Standing
from protocol.ids import NodeId, PublicKey, SegmentId

_ENTRY = 3
"""Bytes of a packed holding: index u8, number of the node u16."""
_MAX_NODES = 65_536
MAX_CLAIMS_EACH = 64
"""Of one segment, waiting to be shown; who says more is not believed."""
MAX_CLAIMS_BY = 64
"""Of one node: what it claims beyond that it has to claim again."""
MAX_CLAIMS = 16_384
_MAX_ENTRIES = 256
"""Holdings of one segment."""


@dataclass(slots=True, eq=False)
class CoHolder:
    """A node with which we share segments; also this node itself."""

    contact: Contact
    country: str
    """Claimed; empty for unknown."""
    heard: float
    """When it last signed something for us, by trio's clock."""
    pinged: float = 0.0
    """When it was last asked for a sign of life, likewise."""
    missing_since: float | None = None
    distrusted: bool = False
    """It signed something wrong: what it says it holds does not count."""
    failed: int = 0
    """Chunks it was said to hold and has shown of late not to hold."""
    unanswered: int = 0
    """Audits in a row that it has left without an answer."""
    surveyed: float | None = None
    """When it last told us what it holds."""
    claims: int = 0
    """Of its claims that have yet to be shown."""
    holdings: int = 0
    """Chunks it is said to hold of our segments."""
    number: int = -1
    """What stands for it in packed holdings."""

    @property
    def live(self) -> bool:
        return self.missing_since is None and not self.distrusted

    @property
    def node_id(self) -> NodeId:
        return self.contact.node_id


@dataclass(slots=True)
class Trouble:
    """A segment that is not whole."""

    since: dict[int, float] = field(default_factory=dict)
    """Index -> when it was first missing, by trio's clock."""
    lost: dict[int, float] = field(default_factory=dict)
    """Index -> when that had been so for the grace time. Another loss may end that for all holders at once: so ranks
    are counted from here."""
    certain: set[int] = field(default_factory=set)
    """Indices for which nobody need be waited for: whoever had them says, or has shown, that they are gone."""
    retry: float = 0.0
    """Before that moment nothing is tried again."""
    failures: int = 0
    """Attempts that failed, up to some."""
    unwanted: bool = False
    """No lease kept it when it was looked at last; a renewal may come."""


Claim = tuple[int, CoHolder]
"""(index, who says to hold that chunk)."""


class Ledger:
    """The holders of our segments."""

    def __init__(self, own: Contact, country: str) -> None:
        self._nodes: dict[PublicKey, CoHolder] = {}
        self._numbers: list[CoHolder | None] = []
        self._segments: dict[SegmentId, bytes] = {}
        """Segment -> k, n, then its holdings; k = n = 0 while no descriptor was read."""
        self.troubles: dict[SegmentId, Trouble] = {}
        self.claims: dict[SegmentId, dict[Claim, None]] = {}
        """What has to be shown before it counts, in the order in which it was said."""
        self._claimed = 0
        self._shown: set[tuple[SegmentId, Claim]] = set()
        """Claims that were shown to be true in this audit period: they need not be again."""
        self._silent: set[tuple[SegmentId, Claim]] = set()
        """Claims that were asked about in vain: not again before long."""
        self._disproved: list[set[tuple[SegmentId, Claim]]] = [set(), set()]
        self._denied: set[tuple[SegmentId, Claim]] = set()
        self.own = self.node(own, country, float("inf"))

    def __len__(self) -> int:
        return len(self._segments)

    def __contains__(self, segment: object) -> bool:
        return segment in self._segments

    def segments(self) -> list[SegmentId]:
        """All segments, in order of id."""
        return sorted(self._segments)

    # Nodes

    def node(self, contact: Contact, country: str | None, heard: float) -> CoHolder:
        """The node of that key, entered if it is new; its address and country are what was said last."""
        node = self._nodes.get(contact.key)
        if node is None:
            node = CoHolder(contact, country or "", heard)
            self._number(node)
        elif node.contact != contact:
            node.contact = contact
        if country is not None:
            node.country = country
        return node

    def _number(self, node: CoHolder) -> bool:
        """Enter a node, under a number that is free; False when there are too many: it counts for nothing then."""
        if len(self._nodes) >= _MAX_NODES:
            self.forget_idle(full=True)
        if len(self._nodes) >= _MAX_NODES:
            return False
        node.number = next((i for i, known in enumerate(self._numbers) if known is None), len(self._numbers))
        if node.number == len(self._numbers):
            self._numbers.append(node)
        self._numbers[node.number] = node
        self._nodes[node.contact.key] = node
        return True

    def known(self, key: PublicKey) -> CoHolder | None:
        return self._nodes.get(key)

    def others(self) -> list[CoHolder]:
        """All nodes but this one."""
        return [node for node in self._nodes.values() if node is not self.own]

    def forget_idle(self, *, full: bool = False) -> None:
        """Forget nodes with which no segment is shared any more, but for those that are not to be trusted again.

        ``full``: those as well.
        """
        claiming = {node for claims in self.claims.values() for _, node in claims}
        for key, node in list(self._nodes.items()):
            remembered = (node.distrusted or node.failed) and not full
            if not node.holdings and node is not self.own and not remembered and node not in claiming:
                del self._nodes[key]
                self._numbers[node.number] = None
                node.number = -1

    def distrust(self, node: CoHolder) -> None:
        """A node has signed something wrong: all it was said to hold is lost, and nothing it says counts any more."""
        node.distrusted = True
        for segment in self.shared_with(node):
            for index in self.held_by(segment, node):
                self.lost(segment, index)
            self._replace(segment, node, set())

    # Holdings

    def enter(self, segment: SegmentId, k: int = 0, n: int = 0) -> None:
        """A segment of which this node holds something; k and n once they are known."""
        packed = self._segments.get(segment, b"\0\0")
        self._segments[segment] = (bytes((k, n)) if k else packed[:2]) + packed[2:]
        if k:
            for node in {node for index, node in self.holders(segment) if index >= n}:
                self._replace(segment, node, {index for index in self.held_by(segment, node) if index < n})

    def shape(self, segment: SegmentId) -> tuple[int, int]:
        """(k, n); (0, 0) while they are unknown."""
        packed = self._segments.get(segment, b"\0\0")
        return packed[0], packed[1]

    def holders(self, segment: SegmentId) -> list[tuple[int, CoHolder]]:
        """(index, holder), live or not, in order of index."""
        packed = self._segments.get(segment, b"\0\0")
        found = []
        for at in range(2, len(packed), _ENTRY):
            node = self._numbers[packed[at + 1] << 8 | packed[at + 2]]
            assert node is not None
            found.append((packed[at], node))
        return found

    def held_by(self, segment: SegmentId, node: CoHolder) -> list[int]:
        """The indices one node is said to hold."""
        return [index for index, holder in self.holders(segment) if holder is node]

    def says(self, segment: SegmentId, node: CoHolder, indices: Iterable[int]) -> None:
        """What a node holds of a segment, all of it, by its own word. What it held before and no more is lost.

        Of a chunk that is missed, or that another is said to hold, its word is not enough: that becomes one of the
        ``claims``.
        """
        before = set(self.held_by(segment, node))
        now = set(indices)
        counted = {index for index in now if index in before or self._believed(segment, index, node)}
        self._replace(segment, node, counted)
        for index in before - now:
            self._shown.discard((segment, (index, node)))
            self.lost(segment, index)

    def add(self, segment: SegmentId, index: int, node: CoHolder) -> None:
        """Somebody is said to hold a chunk, among others perhaps: a claim, as with :meth:`says`."""
        if (segment, (index, node)) not in self._denied and self._believed(segment, index, node):
            self._replace(segment, node, {*self.held_by(segment, node), index})

    def proved(self, segment: SegmentId, index: int, node: CoHolder) -> None:
        """A node has shown that it holds a chunk."""
        if node is not self.own:
            self._shown.add((segment, (index, node)))
        self.settled(segment, (index, node))
        self._replace(segment, node, {*self.held_by(segment, node), index})

    def silent(self, segment: SegmentId, claim: Claim) -> None:
        """Nobody answered when a claim was to be shown."""
        self._silent.add((segment, claim))
        self.settled(segment, claim)

    def hope(self) -> None:
        """Let those show their claims again who were silent."""
        self._silent.clear()

    def disproved(self, segment: SegmentId, index: int, node: CoHolder) -> None:
        """A node has shown that it does not hold a chunk it is said to hold, and is not believed again for long."""
        known = (segment, (index, node))
        if not any(known in some for some in self._disproved):
            node.failed += 1
        self._disproved[0].add(known)
        self._shown.discard(known)
        self.settled(segment, (index, node))
        self.remove(segment, index, node)

    def denied(self, segment: SegmentId, index: int, node: CoHolder) -> None:
        """A node says itself that it does not hold a chunk: what others say of it, or old records, counts no more."""
        self._denied.add((segment, (index, node)))
        self.settled(segment, (index, node))
        self.remove(segment, index, node)

    def forgive(self) -> None:
        """Forget what was disproved before the last call of this, and what was denied or shown."""
        self._denied.clear()
        self._shown.clear()
        recent, old = self._disproved
        for known in old - recent:
            known[1][1].failed -= 1
        self._disproved = [set(), recent]

    def _believed(self, segment: SegmentId, index: int, node: CoHolder) -> bool:
        """Whether a node's word that it has a chunk is enough. If showing it would be, that is to be asked for.

        Where there are two, the other may be the one that lies: it has to show it as well.
        """
        _, n = self.shape(segment)
        if node.distrusted or (n and index >= n):
            return False
        if any((segment, (index, node)) in some for some in self._disproved):
            return False
        trouble = self.troubles.get(segment)
        missed = trouble is not None and index in trouble.since.keys() | trouble.certain
        others = [other for i, other in self.holders(segment) if i == index and other is not node]
        if node is self.own or not (missed or others) or (segment, (index, node)) in self._shown:
            return True
        for other in (node, *others):
            if other is node or (other.live and other is not self.own):
                self._claim(segment, (index, other))
        return False

    def _claim(self, segment: SegmentId, claim: Claim) -> None:
        claims = self.claims.get(segment, {})
        node = claim[1]
        full = len(claims) >= MAX_CLAIMS_EACH or self._claimed >= MAX_CLAIMS or node.claims >= MAX_CLAIMS_BY
        known = (segment, claim) in self._shown or (segment, claim) in self._silent or claim in claims
        if segment in self._segments and not known and not full:
            self.claims.setdefault(segment, {})[claim] = None
            node.claims += 1
            self._claimed += 1

    def settled(self, segment: SegmentId, claim: Claim) -> None:
        """A claim has been looked into."""
        claims = self.claims.get(segment, {})
        if claim in claims:
            del claims[claim]
            claim[1].claims -= 1
            self._claimed -= 1
            if not claims:
                del self.claims[segment]

    def remove(self, segment: SegmentId, index: int, node: CoHolder) -> None:
        """A node holds a chunk no longer, or no longer counts as its holder."""
        self.says(segment, node, set(self.held_by(segment, node)) - {index})

    def _replace(self, segment: SegmentId, node: CoHolder, indices: set[int]) -> None:
        packed = self._segments.get(segment)
        node = self._nodes.get(node.contact.key, node)  # perhaps it was forgotten, and has come back
        if packed is None or (node.number < 0 and not self._number(node)):
            return
        rest = [(index, other.number) for index, other in self.holders(segment) if other is not node]
        if len(rest) + len(indices) > _MAX_ENTRIES:
            return
        node.holdings += len(indices) - ((len(packed) - 2) // _ENTRY - len(rest))
        entries = sorted([*rest, *((index, node.number) for index in indices)])
        self._segments[segment] = packed[:2] + b"".join(
            bytes((index, number >> 8, number & 255)) for index, number in entries
        )

    def forget(self, segment: SegmentId) -> None:
        """This node has nothing to do with a segment any more."""
        for _, node in self.holders(segment):
            node.holdings -= 1
        for claim in list(self.claims.get(segment, ())):
            self.settled(segment, claim)
        self._segments.pop(segment, None)
        self.troubles.pop(segment, None)

    def bury(self, node: CoHolder) -> None:
        """Forget what a node was said to hold and others hold now. Without this the dead would be pinged for ever."""
        for segment in self.shared_with(node):
            live = self.standing(segment).live
            self._replace(segment, node, {index for index in self.held_by(segment, node) if index not in live})

    def between(self, low: bytes, high: bytes) -> list[SegmentId]:
        """The segments from ``low`` on and before ``high``."""
        return sorted(segment for segment in self._segments if low <= segment < high)

    def shared_with(self, node: CoHolder) -> Iterator[SegmentId]:
        """Segments of which ``node`` is said to hold something."""
        if node.number < 0:
            return  # it was forgotten while somebody was still asking it
        number = node.number.to_bytes(2, "big")
        for segment, packed in list(self._segments.items()):
            # The first test is quick, and wrong now and then: there may be a hundred thousand.
            if number in packed and any(packed.startswith(number, at + 1) for at in range(2, len(packed), _ENTRY)):
                yield segment

    # Standing

    def lost(self, segment: SegmentId, index: int) -> None:
        """The chunk's holder says itself that it has it no longer, or has shown it."""
        if segment in self._segments:
            self.troubles.setdefault(segment, Trouble()).certain.add(index)

    def doubt(self, segment: SegmentId) -> None:
        """Look at the segment again soon."""
        if segment in self._segments:
            self.troubles.setdefault(segment, Trouble())

    def standing(self, segment: SegmentId) -> Standing:
        """Live and recorded holders of each index."""
        k, n = self.shape(segment)
        live: dict[int, str] = {}
        recorded: dict[int, str] = {}
        for index, node in self.holders(segment):
            recorded[index] = node.country
            if node.live:
                live[index] = node.country
        return Standing(k, n, live, recorded | live)

    def review(self, segment: SegmentId, now: float) -> Trouble | None:
        """What is missing of a segment as of ``now``; None, and forgotten as a trouble, when it is whole."""
        trouble = self.troubles.get(segment)
        _, n = self.shape(segment)
        if trouble is None or not n:
            return trouble
        holders: dict[int, list[CoHolder]] = {}
        for index, node in self.holders(segment):
            holders.setdefault(index, []).append(node)
        for index in range(n):
            nodes = holders.get(index, [])
            if any(node.live for node in nodes):
                trouble.since.pop(index, None)
                trouble.certain.discard(index)
                continue
            trouble.since.setdefault(index, _missing_since(nodes, now))
            if nodes and all(node.distrusted for node in nodes):
                trouble.certain.add(index)
        if not trouble.since:
            del self.troubles[segment]
            return None
        return trouble


def _missing_since(nodes: list[CoHolder], now: float) -> float:
    """Of the holders of one chunk, none of them live: when the last one went."""
    return max((node.missing_since for node in nodes if node.missing_since is not None), default=now)
