"""What happens in the node, told to whoever listens: the newest of each thing, never a queue that grows."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

MAX_LISTENERS = 16
MAX_NEWS = 1_000
"""Things that one listener may lag behind with; it is given up then, and begins anew."""

Fields = Mapping[str, Any]
"""What is told of a thing, ready for JSON."""
Look = Callable[[], Fields]
"""Gets it when somebody takes it in: what changes often is not put together for nobody."""
News = tuple[str, Fields]
"""Its kind, and what is told."""


class LaggingError(Exception):
    """A listener has not taken in so much that it is to begin anew."""


@dataclass(slots=True)
class Told:
    """Anybody in the node says what happens; pages listen."""

    _listeners: "list[Listener]" = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= MAX_LISTENERS

    def say(self, kind: str, fields: Fields | Look, about: str = "") -> None:
        """Tell everybody who listens. It takes the place of what they were told of the same thing and have not yet
        taken in.

        Args:
            kind: What the event is called.
            fields: What to tell; or what gets it when it is taken in.
            about: Which thing; empty: the one of this kind.
        """
        for listener in self._listeners:
            listener.hear(kind, fields, about or kind)

    @contextmanager
    def listen(self) -> "Iterator[Listener]":
        """Hear what is said from now on. Not to be called when it is full."""
        assert not self.full
        listener = Listener()
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)


class Listener:
    """One who listens."""

    def __init__(self) -> None:
        self._news: dict[str, tuple[str, Fields | Look]] = {}
        self._some = trio.Event()
        self._lagging = False

    def hear(self, kind: str, fields: Fields | Look, about: str) -> None:
        """Keep it until it is taken in, in the place of what was there about the same thing."""
        self._news.pop(about, None)  # the new one is the last
        self._news[about] = kind, fields
        if len(self._news) > MAX_NEWS:
            self._lagging = True
            self._news.clear()
        self._some.set()

    async def take(self) -> list[News]:
        """Wait for news; all there is, of each thing the newest. Raises LaggingError: there was too much."""
        await self._some.wait()
        if self._lagging:
            raise LaggingError
        self._some = trio.Event()
        news, self._news = self._news, {}
        return [(kind, fields() if callable(fields) else fields) for kind, fields in news.values()]
