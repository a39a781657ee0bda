"""Numbers, dates and strangers' names as text for a person."""

import time
from datetime import UTC, datetime

_LAST = 253402300799
"""The end of the year 9999, which is as far as dates go: strangers sign later ones."""


def size_text(count: float) -> str:
    """``64.1 MB``: powers of 1000, as disks and lines are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def date_text(seconds: int) -> str:
    """A date and how far off it is, as ``2027-05-20 (in 179 days)``."""
    days = (seconds - time.time()) / 86400
    when = datetime.fromtimestamp(min(seconds, _LAST), UTC).strftime("%Y-%m-%d")
    if days < 0:
        return f"{when} (expired)"
    return f"{when} (in {days:.0f} days)" if days >= 2 else f"{when} (in {days * 24:.0f} hours)"


def clock_text(seconds: int) -> str:
    """A moment as ``2027-05-20 14:05 UTC``."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).strftime("%Y-%m-%d %H:%M UTC")


def seen_text(seconds: int, unsent: bool) -> str:
    """When a copy of the drive was the newest, as ``at 2027-05-20 14:05 UTC``.

    Args:
        seconds: Since 1970-01-01 UTC; 0: it was never read from the network.
        unsent: Whether it holds changes that the network has not.
    """
    when = f"at {clock_text(seconds)}" if seconds else "on this machine"
    return f"{when}, with changes that the network has not" if unsent else when


def duration_text(seconds: float) -> str:
    """``3 days``, ``5 hours``: whole units of the largest that fits."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return count_text(int(seconds // size), unit)
    return count_text(int(seconds), "second")


def visible(text: str) -> str:
    """A name with its control characters shown instead of obeyed: a stranger chose it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def count_text(count: int, what: str) -> str:
    """``1 segment``, ``17 segments``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
