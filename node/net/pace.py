"""How fast our own line goes: so that a slow line is not taken for slow peers, and is not asked for all at once.

One ``Pace`` for each direction of a command, shared by all its requests.
"""

from dataclasses import dataclass, field

import trio

SILENCE_SECONDS = 1.0
"""A request on which nothing moves for this long, and for 4 times the usual pause, is stalled."""
MAX_SILENCE_SECONDS = 5.0
"""So long at most: peers that drip shall not teach us patience."""
WINDOW_SECONDS = 4.0
"""So many seconds' worth of bytes may be under way at once."""
MIN_WINDOW_BYTES = 9 << 19
"""And so many in any case, until the line's rate is known: two columns of a full segment."""

_PAUSES_MISSED = 4
_LONGER_WEIGHT, _SHORTER_WEIGHT = 0.5, 0.05
_HALF_LIFE_SECONDS = 1.0
_SHORTEST_SECONDS = 0.02


@dataclass(slots=True)
class Pace:
    """What arrived lately, and what is under way."""

    first_silence: float = SILENCE_SECONDS
    """Seconds of silence that are borne until something has arrived, and it is known how fast the line is."""
    silence: float = SILENCE_SECONDS
    """Seconds of silence that are borne from then on, 0 to 5."""
    moved_at: float = field(default_factory=trio.current_time)
    """When there was a last sign of life on any request, by trio's clock."""
    usual_pause: float = 0.0
    """Seconds between two signs of life of one request, lately."""
    under_way: int = 0
    """Bytes asked for or offered that have not arrived."""
    _bytes: float = 0.0
    _seconds: float = 0.0
    _counted_at: float = 0.0
    _flights: list["Flight"] = field(default_factory=list)
    """Requests under way."""
    _waiting: list[trio.Event] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Bytes per second that arrive, lately; 0: nothing has yet."""
        return self._bytes / max(self._seconds, _SHORTEST_SECONDS)

    @property
    def patience(self) -> float:
        """Seconds of silence after which a request is stalled."""
        least = self.silence if self._bytes else self.first_silence
        return min(max(least, _PAUSES_MISSED * self.usual_pause), MAX_SILENCE_SECONDS)

    def paused(self, seconds: float) -> None:
        """A request moved on after so long: rather a long pause too many in mind than one too few."""
        weight = _LONGER_WEIGHT if seconds > self.usual_pause else _SHORTER_WEIGHT
        self.usual_pause += weight * (seconds - self.usual_pause)

    def room(self, size: int, event: trio.Event) -> bool:
        """Whether a request of ``size`` bytes may begin now; if not, ``event`` is set when it may be asked again."""
        window = max(MIN_WINDOW_BYTES, self.rate * WINDOW_SECONDS)
        if not self.under_way or self.under_way + size <= window:
            return True
        self._waiting.append(event)
        return False

    def doubtful(self, peer: object) -> bool:
        """Whether a request to ``peer`` has been silent for half as long as makes it stalled."""
        before = trio.current_time() - self.patience / 2
        return any(flight.peer == peer and flight.moved_at < before for flight in self._flights)

    def begin(self, size: int, peer: object = None) -> "Flight":
        """A request of ``size`` bytes is under way from now, to somebody who can be asked about as doubtful."""
        now = trio.current_time()
        if not self._flights:
            self._counted_at = now
        self.under_way += size
        flight = Flight(self, size, now, now, peer)
        self._flights.append(flight)
        return flight

    def count(self, size: int) -> None:
        """``size`` bytes arrived."""
        now = trio.current_time()
        passed = now - self._counted_at
        keep = 0.5 ** (passed / _HALF_LIFE_SECONDS)
        self._bytes = self._bytes * keep + size
        self._seconds = self._seconds * keep + passed
        self._counted_at = now

    def less(self, size: int) -> None:
        """``size`` bytes are under way no more: whoever waits for room may ask again."""
        self.under_way -= size
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()


@dataclass(slots=True, eq=False)
class Flight:
    """The bytes of one request."""

    _pace: Pace
    left: int
    """Bytes that have not arrived yet."""
    began_at: float
    moved_at: float
    """When there was a last sign of life, by trio's clock."""
    peer: object = None
    _over: bool = False

    @property
    def stalled_at(self) -> float:
        """When it counts as stalled if nothing moves until then."""
        return self.moved_at + self._pace.patience

    @property
    def silent(self) -> bool:
        """Whether nothing has moved at all."""
        return self.moved_at == self.began_at

    def alive(self) -> None:
        """A sign of life: bytes were handed to the system, which is not to say that they arrived."""
        now = trio.current_time()
        if not self._over:
            self._pace.paused(now - self.moved_at)
        self.moved_at = self._pace.moved_at = now

    def expect(self, size: int) -> None:
        """An answer begins, and is of another size than was assumed."""
        self.alive()
        less, self.left = self.left - size, size
        if not self._over:
            self._pace.less(less)

    def arrived(self, left: int) -> None:
        """Bytes arrived; so many have yet to."""
        self.alive()
        size, self.left = self.left - left, left
        self._pace.count(size)
        if not self._over:
            self._pace.less(size)

    def end(self) -> None:
        """It is over, or no longer counted on: what is left of it takes no room. May be called twice."""
        if not self._over:
            self._over = True
            self._pace._flights.remove(self)
            self._pace.less(self.left)
