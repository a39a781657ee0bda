"""One configuration's way into the network for programs: a client that is opened when it is wanted, and a shelf."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.blocking import T, ThreadBlocking, Ts
from node.client import Client, World, open_client
from node.config import Config
from node.errors import NodeError, told
from node.home import Home
from node.reading.opened import Opened
from node.reading.sealed import unsealed
from node.reading.shelf import Shelf
from node.reading.together import Together
from protocol.ids import Address
from protocol.links import AnyLink

IDLE_SECONDS = 300.0
"""After so long without a read the client is closed: nothing is sent for the sake of a program that does other work."""
THREADS = 4


@dataclass(slots=True)
class Session:
    """Lives in one event loop, whose nursery runs its client."""

    config: Config
    nursery: trio.Nursery
    ending: trio.Event
    """Set when the client has to note whom it knows, and go."""
    shelf: Shelf
    _client: Client | None = None
    _users: int = 0
    _used_at: float = 0.0
    _opening: Together[None, Client] = field(default_factory=Together)

    async def open(self, link: AnyLink) -> Opened:
        """What a link leads to (see :meth:`Shelf.open`); a sealed one is opened by the account of the home.

        Raises:
            RefusedError: It is sealed, and nothing here opens it.
            NodeError: As :meth:`Shelf.open` and :func:`open_client`.
        """
        home = Home(self.config.home)
        bare = await trio.to_thread.run_sync(unsealed, home, link)
        async with self._client_for(bare.hints) as client:
            return await self.shelf.open(client, bare)

    async def read(self, opened: Opened, index: int, start: int, stop: int) -> bytes:
        """Bytes of a file, as :meth:`Opened.read`."""
        async with self._client_for(()) as client:
            return await opened.read(client, index, start, stop)

    @asynccontextmanager
    async def _client_for(self, hints: Sequence[Address]) -> AsyncIterator[Client]:
        self._users += 1
        try:
            yield self._client or await self._opening.do(None, lambda: self._join(hints))
        finally:
            self._users -= 1
            self._used_at = trio.current_time()

    async def _join(self, hints: Sequence[Address]) -> Client:
        try:
            client: Client = await self.nursery.start(self._keep, hints)
        except (NodeError, ExceptionGroup) as exc:
            raise told(exc) from exc
        return client

    async def _keep(self, hints: Sequence[Address], *, task_status: trio.TaskStatus[Client]) -> None:
        world = World(blocking=_Blocking(self.ending))
        async with open_client(self.config, hints=hints, world=world) as client:
            self._client = client
            task_status.started(client)
            await self._idle()
            self._client = None

    async def _idle(self) -> None:
        """Until nobody has read for a while, or all ends."""
        left = IDLE_SECONDS
        while left > 0 and not self.ending.is_set():
            with trio.move_on_after(left):
                await self.ending.wait()
            left = IDLE_SECONDS if self._users else self._used_at + IDLE_SECONDS - trio.current_time()


class _Blocking(ThreadBlocking):
    """Worker threads; when the process ends, none can be begun any more, and there is nobody else to hold up."""

    def __init__(self, ending: trio.Event) -> None:
        super().__init__(THREADS)
        self._ending = ending

    async def __call__(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        return fn(*args) if self._ending.is_set() else await super().__call__(fn, *args)
