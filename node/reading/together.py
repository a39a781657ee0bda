"""What several ask for at the same time is done once, and all of them have what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from node.errors import NodeError

K = TypeVar("K")
T = TypeVar("T")


@dataclass(slots=True)
class _Run(Generic[T]):
    ended: trio.Event = field(default_factory=trio.Event)
    result: tuple[T] | None = None
    error: NodeError | None = None


class Together(Generic[K, T]):
    """Work under way, by key."""

    def __init__(self) -> None:
        self._runs: dict[K, _Run[T]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` returns, be it this one or one that is under way under the same key.

        Who is cancelled in the middle of it leaves it to the next who waits.

        Raises:
            NodeError: It failed; all who waited are told, and nobody tries again for them.
        """
        while (run := self._runs.get(key)) is not None:
            await run.ended.wait()
            if run.error is not None:
                raise type(run.error)(str(run.error), hint=run.error.hint) from run.error
            if run.result is not None:
                return run.result[0]
        run = self._runs[key] = _Run()
        try:
            run.result = (await work(),)
        except NodeError as exc:
            run.error = exc
            raise
        finally:
            del self._runs[key]
            run.ended.set()
        return run.result[0]
