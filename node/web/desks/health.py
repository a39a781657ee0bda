"""How the things in a drive are, as counted within the last minute: every tab asks, and each thing is counted once."""

from collections.abc import Sequence
from functools import partial

import trio

from node.client import Client
from node.drive.health import CHECKS_AT_ONCE, Condition, condition_of
from node.names.seen import Seen
from protocol.drive import DriveEntry

FRESH_SECONDS = 60.0
MAX_KEPT = 4096

_Key = tuple[bytes, bytes]
"""An entry's id, and what its link says: a new version is another thing."""


class HealthBook:
    """Of one node, for all who ask."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[_Key, tuple[float, Condition]] = {}
        """The oldest first."""
        self._counting: dict[_Key, trio.Event] = {}
        self._places = trio.CapacityLimiter(CHECKS_AT_ONCE)

    def clear(self) -> None:
        """Forget all that was counted."""
        self._found.clear()

    async def conditions(self, seen: Seen, entries: Sequence[DriveEntry], seconds: float) -> dict[bytes, Condition]:
        """How entries with links are, by their ids; those that were not counted in time are left out.

        Args:
            seen: What the home has seen of names.
            entries: Deposits, names, links.
            seconds: After so many what is known is returned.
        """
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                places = trio.Semaphore(CHECKS_AT_ONCE)
                for entry in entries:
                    if entry.link is not None and self._known(entry) is None:
                        await places.acquire()
                        nursery.start_soon(partial(self._one, seen, entry, places))
        found = {entry.id: self._known(entry) for entry in entries}
        return {identifier: condition for identifier, condition in found.items() if condition is not None}

    async def _one(self, seen: Seen, entry: DriveEntry, places: trio.Semaphore) -> None:
        try:
            while self._known(entry) is None:
                counting = self._counting.get(_key(entry))
                if counting is None:
                    await self._count(seen, entry)
                else:
                    await counting.wait()  # whoever counts it may be interrupted
        finally:
            places.release()

    async def _count(self, seen: Seen, entry: DriveEntry) -> None:
        key = _key(entry)
        done = self._counting[key] = trio.Event()
        try:
            async with self._places:
                condition = await condition_of(self._client, seen, entry)
            self._found.pop(key, None)
            self._found[key] = trio.current_time(), condition
            while len(self._found) > MAX_KEPT:
                del self._found[next(iter(self._found))]
        finally:
            del self._counting[key]
            done.set()

    def _known(self, entry: DriveEntry) -> Condition | None:
        found = self._found.get(_key(entry))
        return found[1] if found is not None and trio.current_time() - found[0] < FRESH_SECONDS else None


def _key(entry: DriveEntry) -> _Key:
    return entry.id, entry.content.link
