"""What the DHT counted since it started."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counters of one node's DHT; they only grow."""

    received_total: int = 0
    """Datagrams received, whatever they were."""
    received_bytes: int = 0
    """Bytes in them."""
    sent_total: int = 0
    """Datagrams sent, repetitions included."""
    sent_bytes: int = 0
    """Bytes in them."""
    malformed_total: int = 0
    """Datagrams dropped for their form."""
    limited_total: int = 0
    """Requests dropped because their source asks too often."""
    unasked_total: int = 0
    """Replies dropped because no open transaction fits them."""
    forged_total: int = 0
    """Datagrams dropped for their signature."""
    verified_total: int = 0
    """Datagram signatures that were right."""
    calls_total: int = 0
    """Requests of our own, repetitions not included."""
    unanswered_total: int = 0
    """Requests of our own given up."""
    lookups_total: int = 0
    """Lookups begun."""
