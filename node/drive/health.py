"""How the things in a drive are: each counted by a real check, several side by side, none for too long."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio

from node.client import Client
from node.errors import NodeError, NotFoundError, told
from node.keeping.check import check
from node.keeping.counted import Health
from node.keeping.survival import Survival
from node.names.reading import Shown, resolve
from node.names.seen import Seen
from node.progress import Progress
from protocol.drive import DriveEntry
from protocol.links import Link, NameLink
from protocol.names import NameReader

CHECKS_AT_ONCE = 4
CHECK_SECONDS = 30.0
"""How long one thing is waited for."""
RESOLVE_SECONDS = 10.0
"""How long a name is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How one thing in a drive is."""

    newest: Shown | None = None
    """Of a name, its newest version."""
    live: int = 0
    """Distinct live chunks, over all segments."""
    chunks: int = 0
    """n of all segments; 0: they were not counted."""
    lost: int = 0
    """Segments with fewer than k live chunks."""
    expires: int = 0
    """When the first holder may drop one, seconds since 1970-01-01 UTC; 0: unknown."""
    survives: Survival | None = None
    """What it survives; None: its chunks were not counted."""
    countries: Mapping[str, int] = field(default_factory=dict)
    """Live chunks by claimed country, over all segments; an empty name: none is claimed."""
    why: str = ""
    """Why it could not be found out."""

    @property
    def counted(self) -> bool:
        return self.chunks > 0

    @property
    def whole(self) -> bool:
        """Every chunk of every segment is live."""
        return self.counted and self.live == self.chunks


async def conditions(
    client: Client, seen: Seen, entries: Sequence[DriveEntry], progress: Progress, *, counted: bool = True
) -> dict[bytes, Condition]:
    """How each of some entries is, by their ids; folders have no condition.

    Args:
        client: Who asks.
        seen: What this home has seen of names.
        entries: Deposits, names, links.
        progress: Counts entries, not bytes.
        counted: Whether chunks are to be counted. Without, only names are resolved.
    """
    found: dict[bytes, Condition] = {}
    places = trio.Semaphore(CHECKS_AT_ONCE)

    async def one(entry: DriveEntry) -> None:
        async with places:
            found[entry.id] = await condition_of(client, seen, entry, counted=counted)
            progress.step(done=1)

    wanted = [entry for entry in entries if isinstance(entry.link, NameLink) or (counted and entry.link is not None)]
    progress.total = len(wanted)
    async with trio.open_nursery() as nursery:
        for entry in wanted:
            nursery.start_soon(one, entry)
    return found


async def condition_of(client: Client, seen: Seen, entry: DriveEntry, *, counted: bool = True) -> Condition:
    """How one entry with a link is: within RESOLVE_SECONDS and CHECK_SECONDS. Arguments as of :func:`conditions`."""
    link, newest = entry.link, None
    if isinstance(link, NameLink):
        if not entry.content.expiry and entry.content.label:
            return Condition(why="nothing was published under it yet")
        reader = NameReader(link.name, link.read_key)
        with trio.move_on_after(RESOLVE_SECONDS):
            try:
                newest = await resolve(client, reader, seen)
            except (NodeError, ExceptionGroup) as exc:
                return Condition(why=str(told(exc)))
        if newest is None:
            return Condition(why=f"the name was not found within {RESOLVE_SECONDS:.0f} seconds")
        link = newest.link
    assert isinstance(link, Link)
    return await _count(client, link, newest) if counted else Condition(newest=newest, why="not counted")


async def _count(client: Client, link: Link, newest: Shown | None) -> Condition:
    health = None
    with trio.move_on_after(CHECK_SECONDS):
        try:
            health = await check(client, link, Progress())
        except (NodeError, ExceptionGroup) as exc:
            why = told(exc)
            if isinstance(why, NotFoundError):  # its root cannot be read
                return Condition(newest=newest, lost=1, why=str(why))
            return Condition(newest=newest, why=str(why))
    if health is None:
        return Condition(newest=newest, why=f"not counted within {CHECK_SECONDS:.0f} seconds")
    return await client.world.blocking(_counted, health, newest)


def _counted(health: Health, newest: Shown | None) -> Condition:
    countries: Counter[str] = Counter()
    for segment in health.segments:
        countries.update(segment.countries)
    return Condition(
        newest=newest,
        live=sum(segment.live for segment in health.segments),
        chunks=sum(segment.n for segment in health.segments),
        lost=sum(not segment.readable for segment in health.segments),
        expires=health.expires,
        survives=health.survives,
        countries=dict(sorted(countries.items())),
    )
