"""What a node has done for the segments it holds, counted since it started."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counters, but for those called gauges. One per node; ``archipel node status`` shows them."""

    pings: int = 0
    """Signs of life asked for."""
    surveys_asked: int = 0
    surveys_answered: int = 0
    leases_learned: int = 0
    """Leases and tombstones that came from another holder."""
    audits_passed: int = 0
    audits_failed: int = 0
    """Answered wrongly, or with a refusal."""
    audits_proven: int = 0
    """Of those that failed: a wrong answer that was signed."""
    audits_silent: int = 0
    scrubbed_chunks: int = 0
    rotten_chunks: int = 0
    """Own chunks found damaged, and dropped."""
    repairs_done: int = 0
    """Chunks rebuilt and placed."""
    repairs_failed: int = 0
    """Attempts at a segment that ended without a chunk."""
    repair_read_bytes: int = 0
    repair_written_bytes: int = 0
    handed_on: int = 0
    """Chunks given to a better holder."""
    duplicates_dropped: int = 0
    taken_over: int = 0
    """Chunks taken from another holder rather than from their depositor."""
    take_overs_refused: int = 0
    co_holders: int = 0
    """Gauge: nodes with which we share segments."""
    missing_nodes: int = 0
    """Gauge: those of them that do not answer."""
    repairs_pending: int = 0
    """Gauge: segments with a chunk that nobody has, as far as we know."""
    beyond_repair: int = 0
    """Gauge: of these, segments with fewer than k chunks live."""
