"""What lookups are judged by: times, recall, datagrams. The same for every DHT that is measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LOOKUPS = 300
"""Per line of the table, at most."""
K = 20


@dataclass
class Row:
    """One line of the table."""

    what: str
    nodes: int
    dead_percent: int
    lookups: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    recall: float
    """Of the truly nearest 20 living nodes."""
    datagrams: float | None
    """That the asking node sent and received, per lookup."""
    kilobytes: float | None


def row(
    what: str,
    nodes: int,
    dead: int,
    times: Sequence[float],
    recalls: Sequence[float],
    traffic: tuple[int, int] | None = None,
) -> Row:
    """A line, from the seconds and the recall of each lookup, and datagrams and bytes of all of them."""
    ordered = sorted(times)
    return Row(
        what=what,
        nodes=nodes,
        dead_percent=dead,
        lookups=len(times),
        p50_ms=round(statistics.median(ordered) * 1e3, 1),
        p95_ms=round(ordered[int(len(ordered) * 0.95)] * 1e3, 1),
        max_ms=round(ordered[-1] * 1e3, 1),
        recall=round(statistics.fmean(recalls), 4),
        datagrams=None if traffic is None else round(traffic[0] / len(times), 1),
        kilobytes=None if traffic is None else round(traffic[1] / len(times) / 1e3, 1),
    )


def recall(found: Sequence[bytes], target: bytes, living: Sequence[bytes], asker: bytes) -> float:
    """The share of the truly nearest that was found."""
    number = int.from_bytes(target, "big")
    others = [identifier for identifier in living if identifier != asker]
    nearest = sorted(others, key=lambda identifier: int.from_bytes(identifier, "big") ^ number)[:K]
    return len(set(nearest) & set(found)) / len(nearest)
