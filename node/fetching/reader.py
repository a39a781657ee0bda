"""Opening a link and reading what it leads to: the table of contents, and any bytes of any of its files."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import trio

from node.errors import ConfigError, IntegrityFailure, NotFoundError
from node.fetching.download import Downloader
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.manifest import (
    Entry,
    Index,
    Kind,
    Manifest,
    SegmentRef,
    extents,
    inline_content,
    open_index,
    open_root,
    read_manifest,
)
from protocol.seal import root_key
from protocol.segment import BLOCK_BYTES

SEGMENTS_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of one entry's bytes inside a segment."""

    entry: int
    """Index into the manifest's entries."""
    at: int
    """Where it belongs in that file."""
    offset: int
    """Where it lies in the segment's plaintext."""
    size: int


@dataclass(frozen=True, slots=True)
class Step:
    """What is wanted of one segment: some of its blocks, for some runs of files."""

    ref: SegmentRef
    first: int
    count: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of one file's bytes, verified."""

    entry: int
    at: int
    data: memoryview


async def read_index(downloader: Downloader, link: Link) -> tuple[Index, SegmentId]:
    """Every segment of a deposit but the root; all that a verify link needs.

    Raises:
        NotFoundError, IntegrityFailure: As :meth:`Downloader.blocks`, or the root is not one.
    """
    try:
        return open_index(await _root(downloader, link)), link.root
    except (RemoteProtocolError, IntegrityError) as exc:
        raise IntegrityFailure(f"the link leads to something else than a deposit: {exc}") from exc


async def read_contents(downloader: Downloader, link: Link) -> Manifest:
    """The manifest of a deposit.

    Raises:
        ConfigError: A verify link reads nothing.
        NotFoundError, IntegrityFailure: As :meth:`Downloader.blocks`, or the root or manifest is not one.
    """
    if link.kind is not LinkKind.READ:
        raise ConfigError("this is a verify link: it can check the deposit, not read it", hint="archipel check LINK")
    plaintext = await _root(downloader, link)
    blocking = downloader.client.world.blocking
    try:
        root = await blocking(open_root, plaintext, link.key)
        encoded: bytes | bytearray = root.encoded
        if root.spill:
            encoded = bytearray()
            async with segments_ahead(downloader, map(_whole, root.spill)) as opened:
                async for _, part in opened:
                    encoded += part
        return await blocking(read_manifest, root, encoded)
    except (RemoteProtocolError, IntegrityError) as exc:
        raise IntegrityFailure(f"the link leads to something else than a deposit: {exc}") from exc


async def _root(downloader: Downloader, link: Link) -> memoryview:
    return await downloader.whole(link.root, root_key(link.verify_key))


def _whole(ref: SegmentRef) -> Step:
    return Step(ref, 0, -(-ref.length // BLOCK_BYTES), ())


@trio.as_safe_channel
async def segments_ahead(
    downloader: Downloader, steps: Iterable[Step]
) -> AsyncGenerator[tuple[Step, memoryview], None]:
    """Fetch the steps' blocks, up to three at a time; yields them in order."""
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel["tuple[Step, _Slot]"](SEGMENTS_AHEAD - 1)

        async def fetch(step: Step, slot: "_Slot") -> None:
            slot.data = await downloader.blocks(step.ref, step.first, step.count)
            slot.ready.set()

        async def feed() -> None:
            async with send:
                for step in steps:
                    slot = _Slot(trio.Event())
                    await send.send((step, slot))
                    nursery.start_soon(fetch, step, slot)

        nursery.start_soon(feed)
        async with receive:
            async for step, slot in receive:
                await slot.ready.wait()
                assert slot.data is not None
                data, slot.data = slot.data, None
                yield step, data
                del data
        nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Slot:
    """Where the blocks of one step arrive."""

    ready: trio.Event
    data: memoryview | None = None


def plan_steps(manifest: Manifest, wanted: Sequence[tuple[int, int, int]]) -> Iterator[Step]:
    """What to fetch for runs of files, segment by segment in stream order.

    Args:
        manifest: Whose entries they are.
        wanted: (entry index, start, stop) of each run, in order of entries.
    """
    position: int | None = None
    slices: list[Slice] = []
    for entry, start, stop in wanted:
        at = start
        for extent in extents(manifest.entries[entry], manifest.segments, start, stop):
            if extent.segment != position:
                if position is not None:
                    yield _step(manifest.segments[position], slices)
                position, slices = extent.segment, []
            slices.append(Slice(entry, at, extent.offset, extent.length))
            at += extent.length
    if position is not None:
        yield _step(manifest.segments[position], slices)


def _step(ref: SegmentRef, slices: list[Slice]) -> Step:
    first = min(item.offset for item in slices) // BLOCK_BYTES
    last = (max(item.offset + item.size for item in slices) - 1) // BLOCK_BYTES
    return Step(ref, first, last - first + 1, tuple(slices))


def runs_of(step: Step, data: memoryview) -> Iterator[Run]:
    """The runs of files in what was fetched for a step."""
    begin = step.first * BLOCK_BYTES
    for item in step.slices:
        start = item.offset - begin
        yield Run(item.entry, item.at, data[start : start + item.size])


@trio.as_safe_channel
async def read_runs(
    downloader: Downloader, manifest: Manifest, wanted: Sequence[tuple[int, int, int]]
) -> AsyncGenerator[Run, None]:
    """The bytes of runs of files, in order, as they are verified."""
    if not manifest.segments:
        for entry, start, stop in wanted:
            content = inline_content(manifest, manifest.entries[entry], start, stop)
            yield Run(entry, start, memoryview(content))
        return
    async with segments_ahead(downloader, plan_steps(manifest, wanted)) as steps:
        async for step, data in steps:
            for run in runs_of(step, data):
                yield run


def select(manifest: Manifest, path: bytes | None) -> list[int]:
    """Indices of the entries at and beneath ``path`` (None: all).

    Raises:
        NotFoundError: There is no such path.
    """
    entries = manifest.entries
    if path is None:
        return list(range(len(entries)))
    wanted = path.strip(b"/")
    chosen = [i for i, e in enumerate(entries) if e.path == wanted or e.path.startswith(wanted + b"/")]
    if not chosen:
        raise NotFoundError("the deposit has no such path", hint="archipel ls LINK lists what it has")
    return chosen


def single_file(manifest: Manifest, chosen: Sequence[int]) -> Entry:
    """The one file among the chosen entries.

    Raises:
        ConfigError: There is more than one entry, or it is not a file.
    """
    entry = manifest.entries[chosen[0]]
    if len(chosen) != 1 or entry.kind is not Kind.FILE:
        raise ConfigError("this needs a single file", hint="name one with --path, as archipel ls LINK shows it")
    return entry
