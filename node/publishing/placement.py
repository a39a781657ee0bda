"""Which node gets which chunk: fill countries evenly, then subnets, then by closeness (docs/design.md, "Placement").

Pure: candidates in, plan out.
"""

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dht.contact import Contact
from protocol.ids import Address, NodeId
from protocol.leases import Policy

ENOUGH_COUNTRIES = 3
"""With so many, none need hold more than n-k chunks of a segment (docs/design.md, "Placement")."""
_CACHE = 1024
"""Addresses whose subnet is remembered: the same nodes are compared again and again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that might hold a chunk. Candidates are given nearest to the segment id first."""

    contact: Contact
    country: str
    """As the node claims; empty for unknown, which counts as one country."""
    free_bytes: int

    @property
    def node_id(self) -> NodeId:
        return self.contact.node_id

    @property
    def subnet(self) -> str:
        """The /24 (IPv4) or /48 (IPv6) its address is in; loopback addresses are each their own."""
        return _subnet(self.contact.address)


@lru_cache(_CACHE)
def _subnet(address: Address) -> str:
    host = ipaddress.ip_address(address.host)
    if host.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((host, 24 if host.version == 4 else 48), strict=False))


def assign(
    indices: Collection[int],
    candidates: Sequence[Candidate],
    placed: Mapping[int, Candidate],
    policy: Policy,
    *,
    chunk_bytes: int,
) -> dict[int, Candidate]:
    """Choose a holder for each of ``indices``.

    Args:
        indices: Chunks that have no holder yet.
        candidates: Nodes to choose from, nearest first. A node gets a second chunk only when every other has one.
        placed: Chunks that have one, with their holders.
        policy: The depositor's: avoided countries are never used; ``spread_countries`` evens out countries.
        chunk_bytes: Size of the largest chunk: a node with less space free is left out.

    Returns:
        index -> holder; without the indices for which there is nobody. Indices are filled in order.
    """
    usable = [c for c in candidates if why_not(c, policy, chunk_bytes) is None]
    rank = {candidate.node_id: position for position, candidate in enumerate(usable)}
    load: Counter[NodeId] = Counter(holder.node_id for holder in placed.values())
    countries = Counter(holder.country for holder in placed.values())
    subnets = Counter(holder.subnet for holder in placed.values())
    chosen: dict[int, Candidate] = {}
    for index in sorted(indices) if usable else ():
        best = min(
            usable,
            key=lambda c: (
                load[c.node_id],
                countries[c.country] if policy.spread_countries else 0,
                subnets[c.subnet],
                rank[c.node_id],
            ),
        )
        chosen[index] = best
        load[best.node_id] += 1
        countries[best.country] += 1
        subnets[best.subnet] += 1
    return chosen


def why_not(candidate: Candidate, policy: Policy, chunk_bytes: int) -> str | None:
    """What keeps a chunk of this size from a node: the depositor's policy, or want of space; None: nothing."""
    if candidate.country in policy.avoid:
        return "avoided"
    return "too little space" if candidate.free_bytes < chunk_bytes else None


def country_bound_met(holders: Iterable[Candidate], k: int) -> bool:
    """Whether the chunks that have a holder outlive the loss of any one country: k are left without the largest."""
    countries = Counter(holder.country for holder in holders)
    return countries.total() - max(countries.values(), default=0) >= k
