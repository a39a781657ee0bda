"""What a deposit survives, computed from where its live chunks are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.ids import NodeId


@dataclass(frozen=True, slots=True)
class Holding:
    """One live chunk: which, on what node, in what claimed country."""

    index: int
    node: NodeId
    country: str


@dataclass(frozen=True, slots=True)
class Survival:
    """What a deposit survives, computed from its live chunks."""

    nodes: int
    """Any this many nodes may vanish at once; -1: it cannot be read now."""
    country: tuple[str, ...]
    """Claimed countries any one of which may vanish."""
    not_country: tuple[str, ...]
    """Claimed countries the loss of which loses it."""


def survival_fields(survives: Survival) -> dict[str, object]:
    """The same for programs."""
    return {"nodes": survives.nodes, "country": survives.country, "not_country": survives.not_country}


def survival(segments: Iterable[tuple[int, Sequence[Holding]]]) -> Survival:
    """What all of ``segments`` survive.

    Args:
        segments: For each its k and its live chunks. An index held twice counts once, on the node that holds fewest:
            the answer may be too low, never too high.
    """
    nodes = 10**9
    seen: set[str] = set()
    lost: set[str] = set()
    for k, holdings in segments:
        nodes = min(nodes, _nodes_survived(k, holdings))
        countries = {holding.country for holding in holdings}
        seen |= countries
        lost |= {c for c in countries if len({h.index for h in holdings if h.country != c}) < k}
    seen -= {""}
    lost -= {""}
    return Survival(nodes, tuple(sorted(seen - lost)), tuple(sorted(lost)))


def _nodes_survived(k: int, holdings: Sequence[Holding]) -> int:
    load = Counter(holding.node for holding in holdings)
    holder: dict[int, NodeId] = {}
    for holding in sorted(holdings, key=lambda h: -load[h.node]):
        holder[holding.index] = holding.node
    live = len(holder)
    survived = -1
    for count in [0, *sorted(Counter(holder.values()).values(), reverse=True)]:
        live -= count
        if live < k:
            break
        survived += 1
    return survived
