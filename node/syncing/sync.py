"""Making a folder of this machine and one in the drive equal: what changed here goes up, what changed there comes down.

Nothing in the folder is touched before all that comes down is whole and verified. The base is replaced last, once both
sides are equal. Killed before that, the next sync decides anew, with the old base, on what it finds.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path

from node.blocking import Blocking
from node.client import Client
from node.errors import ConfigError, RefusedError, machine_error
from node.fetching.download import Downloader
from node.fetching.reader import WholeFiles, read_contents
from node.fetching.restore import Target, restore
from node.progress import Progress
from node.publishing.source import Source, scan_folder
from node.syncing.ancestry import followed, version_of
from node.syncing.folder import SyncedFolder
from node.syncing.listing import Side, check_skipped, learn, recognise, side
from node.syncing.plan import Item, Plan, changed, kept_path, make_plan, missing
from node.syncing.state import Base, Known, SyncState
from node.syncing.upload import Publish, Upload
from node.syncing.workfolder import MARK_BYTES, WORK_NAME
from protocol.links import Link
from protocol.manifest import Kind, Manifest

_STEPS = 64


@dataclass(slots=True, kw_only=True)
class Synced:
    """What a sync did. Paths are those in the folder."""

    link: Link
    """To what both sides have now."""
    published: bool = False
    up: tuple[bytes, ...] = ()
    """New or changed in the drive."""
    removed_there: tuple[bytes, ...] = ()
    down: list[bytes] = field(default_factory=list)
    """Files and links that are new or changed here."""
    removed_here: list[bytes] = field(default_factory=list)
    kept: dict[bytes, bytes] = field(default_factory=dict)
    """What both sides had changed -> where the drive's is kept, beside ours."""
    skipped: tuple[str, ...] = ()
    """What is here and cannot be published, each with its reason."""


async def sync(client: Client, there: Link | None, state: SyncState, publish: Publish, progress: Progress) -> Synced:
    """Make both sides equal.

    Args:
        client: To fetch with.
        there: What the drive has now; None: nothing yet. An older version than the base's would undo what is newer.
        state: Which folder, and what both sides last agreed on. The folder is made if it was never synced.
        publish: Called only if something has to go up.
        progress: Of what comes down.

    Raises:
        RefusedError: Another sync is at it; the drive has no folder there; something cannot be kept twice.
        NotFoundError, IntegrityFailure: What the drive has cannot be fetched. Nothing was changed.
        MachineError: The disk says no, or the folder changed at the wrong moment. Nothing is lost; run it again.
    """
    blocking = client.world.blocking
    with await blocking(_open, state, there) as folder:
        downloader = Downloader(client, progress)
        manifest = None if there is None else await read_contents(downloader, there)
        agreed = None if there is None else await blocking(state.read, await blocking(folder.work.mark))
        base = {} if agreed is None else agreed.known
        top = os.fsencode(state.folder.name) if manifest is None else _top(manifest)
        source = await blocking(_listing, folder, state.folder, top)
        await _through(blocking, recognise(folder, source, top, base))
        course = await blocking(
            _Course.begin, folder, source, top, manifest, base, _follows(agreed, there, manifest, top)
        )
        if there is not None and manifest is not None and course.plan.down:
            await _bring_down(downloader, there, manifest, course)
        done = _Done()
        await _through(blocking, course.apply(done))
        await blocking(folder.finish)
        known = {**base, **course.put_here()}
        source = await blocking(_listing, folder, state.folder, course.top)
        await _through(blocking, recognise(folder, source, course.top, known))
        here = await blocking(course.check_again, source)
        if there is None or changed(here, course.there.items) or missing(course.there.items, here):
            link = await Upload(client, folder, top, source, there, manifest, course.there).run(publish)
            here = side(source.entries, top).items
            await blocking(folder.finish)
        else:
            link = there
        learnt: dict[bytes, Known] = {}
        await _through(blocking, learn(folder, source, course.top, known, learnt))
        mark = await blocking(folder.work.make_mark, client.world.random_bytes(MARK_BYTES))
        await blocking(state.write, mark, Base(learnt, version_of(link)))
    return Synced(
        link=link,
        published=link != there,
        up=changed(here, course.there.items),
        removed_there=missing(course.there.items, here),
        down=done.down,
        removed_here=done.removed,
        kept=done.kept,
        skipped=tuple(source.skipped),
    )


def _open(state: SyncState, there: Link | None) -> SyncedFolder:
    """Open the folder; make it, if it is one that was never synced."""
    if not state.folder.name:
        raise ConfigError(f"{str(state.folder)!r} has no name")
    try:
        if there is not None and not state.folder.exists():
            if state.path.exists():
                raise RefusedError(
                    f"the folder {str(state.folder)!r} is gone",
                    hint="is its disk there? Make a new folder to have all of it anew from the drive",
                )
            state.folder.mkdir()
    except OSError as exc:
        raise machine_error("sync", exc) from exc
    return SyncedFolder(state.folder)


async def _bring_down(downloader: Downloader, there: Link, manifest: Manifest, course: "_Course") -> None:
    """Fetch what is wanted, whole and verified, into the working folder."""
    folder, plan = course.folder, course.plan
    chosen = sorted(course.there.numbers[path] for path in plan.down.values())
    downloader.progress.total = sum(manifest.entries[index].size for index in chosen)
    target = Target(folder.staging, ((course.top, folder.tree / os.fsdecode(course.top)),))
    await restore(downloader, there, manifest, WholeFiles(manifest, chosen), chosen, target, force=False)
    await downloader.client.world.blocking(folder.settle)


@dataclass(slots=True)
class _Done:
    """What was done here."""

    down: list[bytes] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    kept: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Course:
    """One sync under way. All calls block."""

    folder: SyncedFolder
    top: bytes
    """What the paths of the deposit begin with: the name the folder had where it was first published."""
    source: Source
    here: Side
    there: Side
    plan: Plan
    beside: dict[bytes, bytes] = field(default_factory=dict)
    """Place -> path there, of what was put beside its place."""

    @classmethod
    def begin(
        cls,
        folder: SyncedFolder,
        source: Source,
        top: bytes,
        manifest: Manifest | None,
        base: Mapping[bytes, Known],
        follows: bool,
    ) -> "_Course":
        """Decide. ``follows``: what is there was made by somebody who had the base."""
        here = side(source.entries, top)
        if base and not here.items:
            raise RefusedError(
                f"the folder {os.fsdecode(source.tops[top])!r} is empty, and was not when it was last synced",
                hint="to have all of it anew, make a new folder in its place; to give it up, use `archipel drive rm`",
            )
        there = Side({}, {}) if manifest is None else side(manifest.entries, top)
        check_skipped(source, top, there.items)
        return cls(
            folder,
            top,
            source,
            here,
            there,
            make_plan({path: known.item for path, known in base.items()} if follows else {}, here.items, there.items),
        )

    def apply(self, done: _Done) -> Iterator[None]:
        """Do here what the plan says, where it is still as it was listed, step by step."""
        for path in self.plan.remove:
            stamp = self._stamp(path)
            assert stamp is not None
            if self.folder.remove(path, self.here.items[path].kind, stamp):
                done.removed.append(path)
            yield
        for path in self.plan.folders:
            self.folder.make(path)
            yield
        done.kept = dict(self.plan.kept)
        for place, origin in self.plan.down.items():
            if self.plan.kept.get(origin) == place and self._is_ours(origin):
                del done.kept[origin]
            else:
                done.down.append(self._put(origin, place, done))
            yield

    def _is_ours(self, path: bytes) -> bool:
        """Whether what both sides changed is one file with two times: not to be kept twice."""
        ours, theirs = self.here.items.get(path), self.there.items[path]
        if ours is None or theirs.kind is not Kind.FILE or ours != theirs._replace(mtime_ns=ours.mtime_ns):
            return False
        return self.folder.holds(self.top + b"/" + path, path)

    def _put(self, origin: bytes, place: bytes, done: _Done) -> bytes:
        """Put what came down into its place, or beside it if somebody has been there since; returns where."""
        item = self.there.items[origin]
        put = partial(self.folder.put, self.top + b"/" + origin, item)
        if put(place, self._stamp(place)):
            return place
        beside = next(path for number in count(1) if put(path := kept_path(place, item, number), None))
        self.beside[beside] = origin
        done.kept[place] = beside
        return beside

    def check_again(self, source: Source) -> dict[bytes, Item]:
        """The folder as it is now: what others changed meanwhile goes up as well."""
        check_skipped(source, self.top, self.there.items)
        return side(source.entries, self.top).items

    def put_here(self) -> dict[bytes, Known]:
        """What came down, as it stands in its place."""
        origins = {**self.plan.down, **self.beside}
        return {
            place: Known(self.there.items[origins[place]], stamp) for place, stamp in self.folder.put_stamps.items()
        }

    def _stamp(self, path: bytes) -> int | None:
        number = self.here.numbers.get(path)
        return None if number is None else self.source.stamps[number]


def _listing(folder: SyncedFolder, path: Path, top: bytes) -> Source:
    """What is in the folder now. Blocks."""
    source = scan_folder(path, top, WORK_NAME)
    folder.check_place()
    return source


def _follows(base: Base | None, there: Link | None, manifest: Manifest | None, top: bytes) -> bool:
    """Whether whoever made what is there had what this machine agreed on."""
    if base is None or there is None or manifest is None:
        return False
    return base.version in (version_of(there), *followed(manifest.entries, top))


async def _through(blocking: Blocking, steps: Iterator[None]) -> None:
    """Take all steps, in worker threads."""
    while await blocking(_some, steps):
        pass


def _some(steps: Iterator[None]) -> bool:
    """Take some steps; False once there are none left. All at once could not be interrupted, and may take minutes."""
    return sum(1 for _ in islice(steps, _STEPS)) == _STEPS


def _top(manifest: Manifest) -> bytes:
    """The name of the folder that the deposit is.

    Raises:
        RefusedError: It is something else.
    """
    first = manifest.entries[0]
    if first.kind is not Kind.FOLDER or any(b"/" not in entry.path for entry in manifest.entries[1:]):
        raise RefusedError("what the drive has there is not one folder", hint="sync with another path of the drive")
    return first.path
