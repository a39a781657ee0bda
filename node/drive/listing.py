"""What `archipel drive` lists: everything below a path, and how each thing is."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from node.drive.ending import Ending, ending
from node.drive.health import Condition, conditions
from node.drive.known import Known, Owner, read_known
from node.drive.service import DriveService
from node.drive.tree import Item, Tree
from node.errors import NetworkError
from node.progress import Progress


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of things, and what is to be said of the drive as a whole."""

    known: Known
    items: tuple[Item, ...]
    """Folders before what lies in them."""
    ending: tuple[Ending, ...]
    """Of the whole drive."""
    conditions: dict[bytes, Condition] = field(default_factory=dict)
    """By the entries' ids; of what was not looked at there is none."""


async def list_drive(owner: Owner, path: bytes, progress: Progress, *, counted: bool) -> Listing:
    """List what is at a path, or in it if it is a folder, by the newest drive there is.

    Without the network the last copy is listed, without conditions.

    Args:
        owner: Whose drive.
        path: Empty for all of it.
        progress: Counts things.
        counted: Whether live chunks are to be counted.

    Raises:
        NotFoundError: Nothing is at the path.
        MachineError: The last copy cannot be used.
    """

    async def work(service: DriveService) -> Listing:
        known = await read_known(service)
        items = below(Tree(known.drive), path)
        entries = [item.entry for item in items if item.entry is not None]
        found = await conditions(service.client, service.seen, entries, progress, counted=counted)
        return Listing(known, items, _ending(owner, known), found)

    try:
        return await owner.online(work)
    except NetworkError as exc:
        known = Known(await owner.world.blocking(owner.cache.load), exc)
        return Listing(known, below(Tree(known.drive), path), _ending(owner, known))


def _ending(owner: Owner, known: Known) -> tuple[Ending, ...]:
    return tuple(ending(known.drive, owner.world.clock.wall()))


def below(tree: Tree, path: bytes) -> tuple[Item, ...]:
    """What is at a path, or everything in it if it is a folder. Raises NotFoundError: nothing is there."""
    return tuple(_below(tree, path))


def _below(tree: Tree, path: bytes) -> Iterator[Item]:
    for item in tree.items(path):
        yield item
        if item.is_folder:
            yield from _below(tree, item.path)
