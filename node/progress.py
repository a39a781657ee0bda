"""What a pipeline tells while it works: only what is really confirmed."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Counters of one publish, fetch or check. ``changed`` is called after each step, on the event loop."""

    total: int | None = None
    """Bytes of plaintext there are to do; None while unknown."""
    done: int = 0
    """Bytes of plaintext whose chunks are acknowledged (publish) or which are verified and written (fetch)."""
    moved: int = 0
    """Bytes of chunks sent and acknowledged, or received and verified."""
    sealed: int = 0
    """Bytes of plaintext, of those to be published, that are sealed: by this run, or by an earlier one whose chunks are
    all there."""
    chunks: int = 0
    """n of all segments that have been begun, those of the table of contents included."""
    holders: set[bytes] = field(default_factory=set)
    """Ids of the nodes that have confirmed a chunk: by a receipt or an audit (publish), or by verified blocks (fetch).
    """
    countries: Counter[str] = field(default_factory=Counter)
    """Chunks that are confirmed, by the country their holder claims; empty for unknown."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, each once."""
    changed: Callable[["Progress"], None] = lambda _: None

    def step(self, *, done: int = 0, moved: int = 0, sealed: int = 0) -> None:
        """Count and tell."""
        self.done += done
        self.moved += moved
        self.sealed += sealed
        self.changed(self)

    def held(self, holders: Iterable[tuple[bytes, str]]) -> None:
        """Count chunks as confirmed, of which it is told with the next step.

        Args:
            holders: Of each chunk its holder's id, and the country that claims; empty for unknown.
        """
        for node_id, country in holders:
            self.holders.add(node_id)
            self.countries[country] += 1

    def part(self, size: int, chunks: int) -> "ProgressPart":
        """A segment that stands for ``size`` bytes of plaintext, stored as so many chunks."""
        self.chunks += chunks
        return ProgressPart(self, size, chunks)

    def note(self, text: str) -> None:
        """Tell something once."""
        if text not in self.notes:
            self.notes.append(text)
            self.changed(self)


@dataclass(slots=True)
class ProgressPart:
    """What is done of one segment, in proportion to its chunks: all of them make exactly its size."""

    _progress: Progress
    _size: int
    _chunks: int
    _done: int = 0

    def sealed(self) -> None:
        """Count its plaintext as sealed, and tell."""
        self._progress.step(sealed=self._size)

    def held(self, holders: Iterable[tuple[bytes, str]]) -> None:
        """As :meth:`Progress.held`."""
        self._progress.held(holders)

    def confirmed(self, chunks: int, *, moved: int = 0) -> None:
        """Count ``chunks`` as there, all in all, and tell."""
        done = self._size * chunks // self._chunks
        self._progress.step(done=done - self._done, moved=moved)
        self._done = done
