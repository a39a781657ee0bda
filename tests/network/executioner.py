"""Kills a sync right before any step that changes something."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from node.publishing.source import Source
from node.syncing import folder as folder_module
from node.syncing.state import SyncState
from node.syncing.swap import Place
from protocol.links import Link
from tests.network.machines import Machine


class Killed(BaseException):
    """What nothing catches, as SIGKILL."""


@dataclass
class Executioner:
    """Counts the steps that change anything, and kills right before one of them."""

    last: int = 0
    """0: nobody."""
    steps: int = 0
    names: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps += 1
        self.names.append(name)
        if self.steps == self.last:
            raise Killed

    @contextmanager
    def at_work(self, one: Machine) -> Iterator[None]:
        """Everything a sync of this machine changes passes by here."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in (
                (folder_module, "bring_to_disk"),
                (folder_module, "move"),
                (folder_module, "exchange"),
                (Place, "unlink"),
                (Place, "mkdir"),
                (Place, "rmdir"),
                (SyncState, "write"),
            ):
                patch.setattr(owner, name, self._counted(getattr(owner, name), name))
            patch.setattr(one, "publish_first", self._counted_publish(one.publish_first))
            yield

    def _counted(self, call: Callable[..., object], name: str) -> Callable[..., object]:
        def wrapper(*args: object) -> object:
            self.step(name)
            return call(*args)

        return wrapper

    def _counted_publish(self, call: Callable[[Source], Awaitable[Link]]) -> Callable[[Source], Awaitable[Link]]:
        async def wrapper(source: Source) -> Link:
            self.step("publish")
            return await call(source)

        return wrapper
