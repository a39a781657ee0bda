"""What one fuzz target is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and what must hold for whatever it is given."""

    name: str
    run: Callable[[bytes], None]
    """Feed one input. It passes by the documented errors of the parser; whatever else it raises is a finding."""
    seeds: Callable[[], Iterable[bytes]]
    """Inputs to begin with: what an honest sender writes, and what is known to be wrong."""
    max_bytes: int
    """The longest input worth a try."""
