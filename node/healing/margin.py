"""How far a segment is from being lost, and whose turn it is to do something about it (docs/spec/healing.md).

Pure: what is known of the holders in, decisions out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.intervals import Intervals
from protocol.hashing import digest
from protocol.ids import NodeId, SegmentId
from protocol.leases import MAX_AVOIDED, Lease, Policy

EPOCH_SECONDS = 86_400
"""An order of rank holds so long. All holders must agree on it, so it is no setting."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one segment stands."""

    k: int
    """Chunks that rebuild it."""
    n: int
    """Chunks it has when nothing is missing."""
    live: Mapping[int, str]
    """Index -> claimed country of a live holder; "" for unknown, which counts as one country."""
    recorded: Mapping[int, str]
    """Index -> country, of all recorded holders, live or missing."""

    @property
    def spare(self) -> int:
        """Live chunks above k; below 0 it cannot be rebuilt."""
        return len(self.live) - self.k

    @property
    def spare_abroad(self) -> int:
        """The same when the claimed country with the most live chunks is gone."""
        return _outside_largest(self.live) - self.k


def grace(standing: Standing, intervals: Intervals) -> float:
    """Seconds for which a holder may be missing before its chunk counts as lost (section 2).

    Where two lines of the table fit, the shorter time counts: of 1 of 3 with one missing, k + 1 are live.
    """
    one_country_short = standing.spare_abroad < 0 <= _outside_largest(standing.recorded) - standing.k
    if standing.spare <= 1 or one_country_short:
        return 0.0
    return intervals.grace if len(standing.live) >= standing.n - 1 else intervals.short_grace


def rank(nodes: Iterable[NodeId], own: NodeId, segment: SegmentId, wall: float) -> int:
    """The place of ``own`` among the live holders ``nodes``, 0 first: how many repair before it (section 3).

    Args:
        nodes: With or without ``own``, which is counted once either way.
        own: The node that asks.
        segment: Of the chunk to be repaired.
        wall: Seconds since 1970.
    """
    return _order({*nodes, own}, segment, int(wall // EPOCH_SECONDS)).index(own)


def successor(nodes: Iterable[NodeId], own: NodeId, segment: SegmentId, wall: float, period: float) -> NodeId | None:
    """Whom ``own`` audits in this period of ``period`` seconds: the next in the ring of that period's order.

    Holders who know the same ``nodes`` audit each of them once. None: there is nobody else.
    """
    ring = _order({*nodes, own}, segment, int(wall // period))
    return ring[(ring.index(own) + 1) % len(ring)] if len(ring) > 1 else None


def urgency(standing: Standing) -> tuple[int, int]:
    """Sorts segments, the one nearest to loss first."""
    return standing.spare, standing.spare_abroad


def joint_policy(leases: Iterable[Lease]) -> Policy:
    """What keeps to the policies of all ``leases``: spread if any wants it, avoiding what any avoids.

    Of more countries than a policy can name, those that the most leases avoid are kept. The caller leaves out leases
    that have expired or been deleted.
    """
    policies = [lease.policy for lease in leases]
    avoided = Counter(country for policy in policies for country in set(policy.avoid))
    kept = sorted(avoided, key=lambda country: (-avoided[country], country))[:MAX_AVOIDED]
    return Policy(any(policy.spread_countries for policy in policies), tuple(sorted(kept)))


def _order(nodes: Iterable[NodeId], segment: SegmentId, epoch: int) -> list[NodeId]:
    """By a hash of their own in each epoch: neighbours in one order are none in the next."""
    start = segment + epoch.to_bytes(8, "big")
    return sorted(nodes, key=lambda node: digest("rank", start, node))


def _outside_largest(countries: Mapping[int, str]) -> int:
    """Chunks that are left when the country with the most of them is gone."""
    counted = Counter(countries.values())
    return counted.total() - max(counted.values(), default=0)
