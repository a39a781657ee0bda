"""How fast our own line goes: so that a slow line is not taken for slow peers, and is not asked for all at once.

One ``Pace`` for each direction of a command, shared by all its requests.
"""

from dataclasses import dataclass, field

import trio

SILENCE_SECONDS = 1.0
"""A request on which nothing moves for this long, and for 4 times the usual pause, is stalled."""
WINDOW_SECONDS = 4.0
"""So many seconds' worth of bytes may be under way at once."""
MIN_WINDOW_BYTES = 4 << 20
"""And so many in any case, until the line's rate is known: two columns of a full segment."""

_HALF_LIFE_SECONDS = 1.0
_SHORTEST_SECONDS = 0.02
_PAUSE_WEIGHT = 0.2


@dataclass(slots=True)
class Pace:
    """What moved lately, and what is under way."""

    moved_at: float = field(default_factory=trio.current_time)
    """When anything last moved, by trio's clock."""
    usual_pause: float = 0.0
    """Seconds between two steps of one request, a moving average."""
    under_way: int = 0
    """Bytes asked for or offered, and not moved yet."""
    _bytes: float = 0.0
    _seconds: float = 0.0
    _counted_at: float = 0.0
    _waiting: list[trio.Event] = field(default_factory=list)

    @property
    def patience(self) -> float:
        """Seconds of silence after which a request is stalled."""
        return max(SILENCE_SECONDS, 4 * self.usual_pause)

    @property
    def window(self) -> float:
        """Bytes that may be under way."""
        rate = self._bytes / max(self._seconds, _SHORTEST_SECONDS)
        return max(MIN_WINDOW_BYTES, rate * WINDOW_SECONDS)

    def room(self, size: int, event: trio.Event) -> bool:
        """Whether a request of ``size`` bytes may begin now; if not, ``event`` is set when it may be asked again."""
        if not self.under_way or self.under_way + size <= self.window:
            return True
        self._waiting.append(event)
        return False

    def begin(self, size: int) -> "Flight":
        """A request of ``size`` bytes is under way from now."""
        now = trio.current_time()
        if not self.under_way:
            self._counted_at = now
        self.under_way += size
        return Flight(self, size, now, now)

    def count(self, size: int, pause: float) -> None:
        """``size`` bytes moved after a pause of so many seconds."""
        self.moved_at = trio.current_time()
        self.usual_pause += _PAUSE_WEIGHT * (pause - self.usual_pause)
        passed = self.moved_at - self._counted_at
        keep = 0.5 ** (passed / _HALF_LIFE_SECONDS)
        self._bytes = self._bytes * keep + size
        self._seconds = self._seconds * keep + passed
        self._counted_at = self.moved_at

    def less(self, size: int) -> None:
        """``size`` bytes are under way no more: whoever waits for room may ask again."""
        self.under_way -= size
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()


@dataclass(slots=True)
class Flight:
    """The bytes of one request."""

    _pace: Pace
    left: int
    """Bytes that have not moved yet."""
    began_at: float
    moved_at: float
    """When something last moved, by trio's clock."""
    _over: bool = False

    @property
    def stalled_at(self) -> float:
        """When it counts as stalled if nothing moves until then."""
        return self.moved_at + self._pace.patience

    @property
    def silent(self) -> bool:
        """Whether nothing has moved at all."""
        return self.moved_at == self.began_at

    def moved(self, left: int | None = None) -> None:
        """Something moved: a sign of life, or bytes, of which ``left`` have yet to come."""
        size = 0 if left is None else self.left - left
        self._pace.count(size, trio.current_time() - self.moved_at)
        self.moved_at = self._pace.moved_at
        self.left -= size
        if not self._over:
            self._pace.less(size)

    def end(self) -> None:
        """It is over, or no longer counted on: what is left of it takes no room. May be called twice."""
        if not self._over:
            self._over = True
            self._pace.less(self.left)
