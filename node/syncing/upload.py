"""What goes up, without what is being written to: that stays in the drive as it is there, until another sync."""

import os
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from node.client import Client
from node.errors import machine_error, told
from node.fetching.download import Downloader
from node.fetching.reader import WholeFiles
from node.fetching.restore import Target, restore
from node.progress import Progress
from node.publishing.source import ChangedError, Source, stamp
from node.syncing.ancestry import note_followed
from node.syncing.folder import SyncedFolder
from node.syncing.listing import Side, side
from node.syncing.plan import changed, missing
from protocol.links import Link
from protocol.manifest import Kind, Manifest

MAX_LEFT = 16
"""How many files may be written to at once: for each, all is read once more."""

Publish = Callable[[Source], Awaitable[Link]]
"""Publishes the folder as listed and makes its link the one in the drive, unless another has come there since."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One folder on its way up."""

    client: Client
    folder: SyncedFolder
    top: bytes
    """The name of the folder in the deposit."""
    source: Source
    """What is here. Of a file that is left, what is there stands in it, or nothing."""
    there: Link | None
    manifest: Manifest | None
    """What is there."""
    side: Side
    """The same."""

    async def run(self, publish: Publish) -> Link:
        """Publish what is here; returns the link to what both sides have then.

        Raises:
            NodeError: As ``publish``; as a fetch, of what is there.
        """
        note_followed(self.source, self.top, self.there, () if self.manifest is None else self.manifest.entries)
        for number in range(MAX_LEFT + 1):
            if self.there is not None and number and not self._differs():
                return self.there
            try:
                return await publish(self.source)
            except Exception as exc:  # it may have come out of nurseries, in groups
                error = told(exc)
                if not isinstance(error, ChangedError) or number == MAX_LEFT:
                    raise
            await self._leave(error, number)
        raise AssertionError("the last try returns or raises")

    def _differs(self) -> bool:
        here = side(self.source.entries, self.top).items
        return bool(changed(here, self.side.items) or missing(self.side.items, here))

    async def _leave(self, error: ChangedError, number: int) -> None:
        """Have what is there of a file stand in for it, or nothing."""
        source, path = self.source, error.path
        at = bisect_left(source.entries, path, key=lambda entry: entry.path)
        old = self.side.numbers.get(path[len(self.top) + 1 :])
        if self.there is None or self.manifest is None or old is None:
            del source.entries[at], source.stamps[at]
        elif (entry := self.manifest.entries[old]).kind is not Kind.FILE:
            raise error
        else:
            place = self.folder.tree / f"left-{number}"
            target = Target(self.folder.staging, ((path, place),))
            downloader = Downloader(self.client, Progress())
            wanted = WholeFiles(self.manifest, [old])
            await restore(downloader, self.there, self.manifest, wanted, [old], target, force=False)
            source.entries[at], source.stamps[at] = entry, await self.client.world.blocking(_stamp, place)
            source.places[path] = os.fsencode(place)
        source.skip(path, "it is being written to, and goes up another time")


def _stamp(place: os.PathLike[str]) -> int:
    try:
        return stamp(os.lstat(place))
    except OSError as exc:
        raise machine_error("read", exc) from exc
