"""The routing table and the shortlist of a lookup (docs/spec/dht.md sections 4 and 5).

The only file that imports kademlia. From there come k-buckets with their replacement caches, the splitting,
and the heap of nodes by distance. Overridden is what does not fit: 160-bit ids, a call into asyncio when a
bucket is full, a search for neighbours that is not exact, the wall clock, and the absence of any limit per
subnet.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kademlia.node import Node, NodeHeap
from kademlia.routing import KBucket, RoutingTable

from dht.contact import Contact, subnet
from protocol.ids import ID_BYTES, NodeId

K = 20
"""Contacts in a bucket, nodes in the answer to a lookup (Kademlia section 2.4; BEP 5 has 8)."""
MAX_STRIKES = 3
PER_BUCKET = 2
"""Contacts of one public subnet in a bucket."""
PER_TABLE = 10
"""Contacts of one public subnet in the table."""
_REPLACEMENTS = 1
"""Size of a replacement cache, in buckets."""
_MAX_SHORTLIST = 200
"""Candidates of one lookup: ten times what it returns. Whoever invents nodes cannot make it grow."""
MAX_ELSEWHERE = 2
"""Further addresses of one key that a lookup may try."""

_TOP = 2 ** (8 * ID_BYTES) - 1


@dataclass(frozen=True, slots=True)
class View:
    """What a node answered when it named fewer than 20 contacts: all it knows, whatever the target."""

    token: bytes
    contacts: tuple[Contact, ...]
    rtt: float
    time: float
    """When it answered, monotonic seconds."""


class Entry(Node):  # type: ignore[misc]  # kademlia has no types
    """A contact in the routing table, and what we have seen of it."""

    id: NodeId
    long_id: int

    def __init__(self, contact: Contact, now: float) -> None:
        super().__init__(contact.node_id, contact.address.host, contact.address.port)
        self.contact = contact
        self.packed = contact.pack()
        self.subnet = subnet(contact.address.host)
        self.heard = now
        """When it last answered, monotonic seconds."""
        self.strikes = 0
        """Requests in a row that it left unanswered."""
        self.rtt: float | None = None
        """Smoothed round trip, seconds."""
        self.view: View | None = None

    def answered(self, now: float, rtt: float | None) -> None:
        """It signed an answer to a fresh request of ours."""
        self.heard = now
        self.strikes = 0
        if rtt is not None:
            self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 8  # RFC 6298, alpha


class Bucket(KBucket):  # type: ignore[misc]  # kademlia has no types
    """A k-bucket: ``nodes`` from least to most recently heard, and a replacement cache."""

    range: tuple[int, int]
    nodes: "dict[NodeId, Entry]"
    replacement_nodes: "dict[NodeId, Entry]"
    last_updated: float

    def __init__(self, lower: int, upper: int) -> None:
        super().__init__(lower, upper, K, _REPLACEMENTS)

    def touch_last_updated(self) -> None:
        """The parent's constructor would read a clock of its own here; the table says when it is."""
        self.last_updated = float("-inf")

    def split(self) -> "tuple[Bucket, Bucket]":
        middle = (self.range[0] + self.range[1]) // 2
        halves = Bucket(self.range[0], middle), Bucket(middle + 1, self.range[1])
        for entry in self.nodes.values():
            halves[entry.long_id > middle].add_node(entry)
        for entry in self.replacement_nodes.values():  # whether they may enter is the table's to say
            halves[entry.long_id > middle].replacement_nodes[entry.id] = entry
        return halves

    def holds(self, long_id: int) -> bool:
        return self.range[0] <= long_id <= self.range[1]

    def remember(self, entry: Entry) -> None:
        """Put an entry into the replacement cache, the oldest giving way."""
        self.replacement_nodes.pop(entry.id, None)
        self.replacement_nodes[entry.id] = entry
        while len(self.replacement_nodes) > self.max_replacement_nodes:
            del self.replacement_nodes[next(iter(self.replacement_nodes))]


class Table(RoutingTable):  # type: ignore[misc]  # kademlia has no types
    """Who we know: at most 20 contacts for each distance range."""

    buckets: list[Bucket]

    def __init__(self, own_id: NodeId) -> None:
        self.own_id = own_id
        self._own = int.from_bytes(own_id, "big")
        self._entries: dict[NodeId, Entry] = {}
        self._subnets: Counter[bytes] = Counter()
        super().__init__(protocol=None, ksize=K, node=Node(own_id))

    def flush(self) -> None:
        self.buckets = [Bucket(0, _TOP)]
        self._entries.clear()
        self._subnets.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, identifier: NodeId) -> Entry | None:
        return self._entries.get(identifier)

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def bucket_of(self, identifier: bytes) -> Bucket:
        number = int.from_bytes(identifier, "big")
        return next(bucket for bucket in self.buckets if number <= bucket.range[1])

    def wants(self, contact: Contact) -> bool:
        """Whether a sign of life from this unknown node could be of use: a guess, :meth:`add` decides."""
        if contact.node_id == self.own_id:
            return False
        bucket = self.bucket_of(contact.node_id)
        full = len(bucket.nodes) >= K and not bucket.holds(self._own)
        return not full or len(bucket.replacement_nodes) < bucket.max_replacement_nodes

    def add(self, contact: Contact, now: float, rtt: float | None = None) -> bool:
        """Keep a contact that has just signed an answer to a fresh request from its address.

        A known key moves to its new address. A full bucket splits if our own id is in its range; otherwise
        the contact waits in the replacement cache.

        Returns:
            Whether it is in the table now.
        """
        if contact.node_id == self.own_id:
            return False
        entry = self._entries.get(contact.node_id)
        if entry is not None and entry.contact.address == contact.address:
            entry.answered(now, rtt)
            self.bucket_of(entry.id).add_node(entry)  # to the end: most recently heard
            return True
        if entry is not None:
            self._drop(entry)
        entry = Entry(contact, now)
        entry.answered(now, rtt)
        return self._insert(entry)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.id]
        del self.bucket_of(entry.id).nodes[entry.id]
        if entry.subnet is not None:
            self._subnets[entry.subnet] -= 1
            if not self._subnets[entry.subnet]:
                del self._subnets[entry.subnet]

    def _insert(self, entry: Entry) -> bool:
        bucket = self.bucket_of(entry.id)
        bucket.replacement_nodes.pop(entry.id, None)
        while len(bucket.nodes) >= K and bucket.holds(self._own) and bucket.range[0] < bucket.range[1]:
            self.split_bucket(self.buckets.index(bucket))
            bucket = self.bucket_of(entry.id)
        if len(bucket.nodes) >= K or not self._room(bucket, entry):
            bucket.remember(entry)
            return False
        bucket.add_node(entry)
        self._entries[entry.id] = entry
        if entry.subnet is not None:
            self._subnets[entry.subnet] += 1
        return True

    def _room(self, bucket: Bucket, entry: Entry) -> bool:
        if entry.subnet is None:
            return True
        beside = sum(other.subnet == entry.subnet for other in bucket.nodes.values())
        return beside < PER_BUCKET and self._subnets[entry.subnet] < PER_TABLE

    def remove(self, identifier: NodeId) -> None:
        """Drop a contact; the latest replacement that the subnet limits allow takes its place."""
        bucket = self.bucket_of(identifier)
        bucket.replacement_nodes.pop(identifier, None)
        entry = self._entries.get(identifier)
        if entry is None:
            return
        self._drop(entry)
        for spare in reversed(list(bucket.replacement_nodes.values())):
            if self._insert(spare):
                return

    def strike(self, identifier: NodeId) -> None:
        """Count an unanswered request; the third in a row removes the contact."""
        entry = self._entries.get(identifier)
        if entry is not None:
            entry.strikes += 1
            if entry.strikes >= MAX_STRIKES:
                self.remove(identifier)

    def nearest(self, target: bytes, count: int = K) -> list[Entry]:
        """The ``count`` contacts truly nearest to ``target``, nearest first.

        Bucket ranges are aligned and disjoint, so all of one bucket is nearer than all of another.
        """
        number = int.from_bytes(target, "big")
        found: list[Entry] = []
        for bucket in sorted(self.buckets, key=lambda bucket: _gap(bucket, number)):
            found.extend(sorted(bucket.nodes.values(), key=lambda entry: entry.long_id ^ number))
            if len(found) >= count:
                break
        return found[:count]

    def nearer(self, target: bytes) -> int:
        """How many nodes we know of that are nearer to ``target`` than we are.

        All of a bucket that does not hold our own id are, or none. Of the target's own bucket the replacement cache
        counts, too: a bucket that is full says nothing of how many nodes are there.
        """
        number = int.from_bytes(target, "big")
        ours = self._own ^ number
        count = 0
        for bucket in self.buckets:
            if bucket.holds(self._own):
                count += sum(entry.long_id ^ number < ours for entry in bucket.nodes.values())
            elif bucket.range[0] ^ number < ours:
                count += len(bucket.nodes) + (len(bucket.replacement_nodes) if bucket.holds(number) else 0)
        return count

    def touch(self, target: bytes, now: float) -> None:
        """A lookup in this target's range has been made."""
        self.bucket_of(target).last_updated = now

    def stale(self, before: float) -> list[Bucket]:
        """Buckets nobody looked into since ``before``."""
        return [bucket for bucket in self.buckets if bucket.last_updated < before]


def _gap(bucket: Bucket, number: int) -> int:
    """The distance from ``number`` to the nearest id a bucket could hold."""
    lower, upper = bucket.range
    return (lower ^ number) & ~(upper - lower)


class Candidate(Node):  # type: ignore[misc]  # kademlia has no types
    """A node a lookup knows of."""

    id: NodeId
    long_id: int

    def __init__(self, contact: Contact) -> None:
        super().__init__(contact.node_id)
        self.contact = contact
        self.elsewhere: list[Contact] = []
        """The same key at other addresses, as other peers have it: one that lies must not hide a node."""


class Shortlist(NodeHeap):  # type: ignore[misc]  # kademlia has no types
    """A lookup's candidates by distance to its target. A node is on it once, however often it is named."""

    heap: list[tuple[int, Candidate]]

    def __init__(self, target: bytes) -> None:
        super().__init__(Node(target), K)
        self._known: dict[NodeId, Candidate] = {}
        self._sorted: list[Candidate] | None = None

    def offer(self, contacts: Iterable[Contact], keep: Callable[[Candidate], bool]) -> None:
        """Add contacts; past the limit, far ones go unless ``keep`` says that they are in use."""
        for contact in contacts:
            candidate = self._known.get(contact.node_id)
            if candidate is None:
                candidate = self._known[contact.node_id] = Candidate(contact)
                heapq.heappush(self.heap, (self.node.distance_to(candidate), candidate))
                self._sorted = None
            elif len(candidate.elsewhere) < MAX_ELSEWHERE and candidate.contact != contact:
                candidate.elsewhere.append(contact)
        if len(self.heap) > _MAX_SHORTLIST:
            near = heapq.nsmallest(_MAX_SHORTLIST, self.heap)
            self.heap = near + [pair for pair in self.heap if pair > near[-1] and keep(pair[1])]
            heapq.heapify(self.heap)
            self._known = {candidate.id: candidate for _, candidate in self.heap}
            self._sorted = None

    def get(self, identifier: NodeId) -> Candidate | None:
        return self._known.get(identifier)

    def nearest(self) -> list[Candidate]:
        """All candidates, nearest first."""
        if self._sorted is None:
            self._sorted = [candidate for _, candidate in sorted(self.heap)]
        return self._sorted


def random_in(bucket: Bucket, random_bytes: Callable[[int], bytes]) -> bytes:
    """A random id in a bucket's range, to refresh it with."""
    lower, upper = bucket.range
    offset = int.from_bytes(random_bytes(ID_BYTES), "big") & (upper - lower)
    return (lower | offset).to_bytes(ID_BYTES, "big")
