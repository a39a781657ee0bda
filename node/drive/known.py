"""A drive as far as it can be known and changed now: on the network, or else by this machine's last copy."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

from node.client import Client, World, open_client
from node.config import Config
from node.drive.cache import DriveCache
from node.drive.service import Change, DriveService, open_cache, open_drive, remember
from node.errors import MachineError, NetworkError, NodeError, NotFoundError, told
from node.home import Home
from node.journal import Journal
from protocol.account import AccountKeys
from protocol.drive import LISTED, Drive, DriveEntry, listed
from protocol.drivecache import CachedDrive
from protocol.identity import Network

T = TypeVar("T")

Reach = Callable[[], AbstractAsyncContextManager[Client]]
"""A way into the network for one piece of work. Raises NetworkError: there is none."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a drive."""

    cached: CachedDrive
    why: NodeError | None = None
    """Why the network's newest could not be read, or what was changed here not be sent."""
    begun: bool = False
    """Whether a new drive was begun, since none was found."""

    @property
    def drive(self) -> Drive:
        return self.cached.drive

    @property
    def is_new(self) -> bool:
        """Whether no machine that we know of has written a drive yet."""
        return not self.cached.sequence and not self.drive.entries

    @property
    def unsent(self) -> list[DriveEntry]:
        """What was changed here after the second in which the network was last heard, and has not been sent."""
        since = (self.cached.seen + 1) * 1000
        entries = self.drive.entries if self.cached.unsent else ()
        changed = (entry for entry in entries if max(entry.place.stamp, entry.content.stamp) >= since)
        return [entry for entry in changed if entry.kind in LISTED]

    def shown_at(self, identifier: bytes) -> bytes | None:
        """Where an entry is shown."""
        return next((path for path, entry in listed(self.drive).items() if entry.id == identifier), None)


@dataclass(frozen=True, slots=True)
class Owner:
    """An account in its home, on one network: what is done with its drive begins here, in a command and in a node."""

    home: Home
    account: AccountKeys
    journal: Journal
    cache: DriveCache
    """What this home remembers of the drive."""
    world: World
    reach: Reach

    @classmethod
    def of_command(
        cls, config: Config, home: Home, account: AccountKeys, journal: Journal, world: World | None = None
    ) -> Self:
        """One that joins the network anew for each piece of work."""
        world = world or World()
        cache = open_cache(home, account, Network(config.network).id, world.random_bytes)
        return cls(home, account, journal, cache, world, partial(open_client, config, world=world))

    @classmethod
    def of_node(cls, client: Client, home: Home, account: AccountKeys, journal: Journal, cache: DriveCache) -> Self:
        """One in a node, by the node's own client."""
        return cls(home, account, journal, cache, client.world, lambda: nullcontext(client))

    def service(self, client: Client) -> DriveService:
        return open_drive(client, self.home, self.account, self.journal, self.cache)

    async def online(self, work: Callable[[DriveService], Awaitable[T]]) -> T:
        """Do something with the drive and the network.

        Raises:
            NodeError: As ``work`` does, out of all groups; NetworkError: nobody to join by, or nobody answered.
        """
        try:
            async with self.reach() as client:
                return await work(self.service(client))
        except (NodeError, ExceptionGroup) as exc:
            raise told(exc) from exc

    async def change(self, change: Change) -> Known:
        """Change the newest drive there is; without the network, the last copy, to be sent with the next change.

        Raises:
            NodeError: As ``change``. The drive is as it was.
            MachineError: As :class:`DriveCache`.
        """
        try:
            return await self.online(lambda service: _read_and_change(service, change))
        except NetworkError as exc:
            return Known(await self._remember(change), exc)

    async def _remember(self, change: Change) -> CachedDrive:
        return await remember(self.cache, change, self.world.blocking, int(self.world.clock.wall() * 1000))


async def read_known(service: DriveService) -> Known:
    """The newest drive there is, kept alive; or the last copy, and why it is that.

    Raises:
        MachineError: As :class:`DriveCache`.
    """
    return await _or_copy(service, service.keep)


async def change_known(service: DriveService, change: Change) -> Known:
    """Change the drive. That it cannot be sent now is no failure: it is remembered here.

    Raises:
        NodeError: As ``change``: nothing was changed.
        MachineError: It could not be remembered.
    """
    await service.remember(change)
    return await _or_copy(service, service.send)


async def _read_and_change(service: DriveService, change: Change) -> Known:
    with suppress(NotFoundError):  # the network has none, or none that is newer than ours
        await service.read()
    return await change_known(service, change)


async def _or_copy(service: DriveService, work: Callable[[], Awaitable[CachedDrive]]) -> Known:
    """What ``work`` brings from the network; or the last copy, and why it is that. Raises MachineError."""
    try:
        return Known(await work(), begun=service.begun)
    except (NodeError, ExceptionGroup) as exc:
        why = told(exc)
    if isinstance(why, MachineError):
        raise why
    return Known(await _copy(service), why)


async def _copy(service: DriveService) -> CachedDrive:
    cached: CachedDrive = await service.client.world.blocking(service.cache.load)
    return cached
