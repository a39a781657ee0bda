"""What a pipeline tells while it works: only what is really confirmed."""

from collections.abc import Callable
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
    notes: list[str] = field(default_factory=list)
    """What a person should know, each once."""
    changed: Callable[["Progress"], None] = lambda _: None

    def step(self, *, done: int = 0, moved: int = 0) -> None:
        """Count and tell."""
        self.done += done
        self.moved += moved
        self.changed(self)

    def part(self, size: int, chunks: int) -> "ProgressPart":
        """A segment that stands for ``size`` bytes of plaintext, stored as so many chunks."""
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

    def confirmed(self, chunks: int, *, moved: int = 0) -> None:
        """Count ``chunks`` as there, all in all, and tell."""
        done = self._size * chunks // self._chunks
        self._progress.step(done=done - self._done, moved=moved)
        self._done = done
