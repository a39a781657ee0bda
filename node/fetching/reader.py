"""Opening a link and reading what it leads to: the table of contents, and any bytes of any of its files."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import trio

from node.errors import ConfigError, IntegrityFailure, NotFoundError, one_error
from node.fetching.download import Downloader
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.manifest import (
    Entry,
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


Wanted = tuple[int, int, int]
"""(entry index, start, stop): a run of a file's bytes."""


@dataclass(frozen=True, slots=True)
class WholeFiles:
    """All bytes of the chosen files, run by run. A run is made when it is asked for: there may be a million."""

    manifest: Manifest
    chosen: Sequence[int]

    def __iter__(self) -> Iterator[Wanted]:
        for index in self.chosen:
            entry = self.manifest.entries[index]
            if entry.size:
                yield index, 0, entry.size


class Slice(NamedTuple):
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

    number: int
    """Its place in the plan."""
    ref: SegmentRef
    first: int
    count: int
    size: int
    """Bytes of its slices."""
    slices: tuple[Slice, ...]


class Run(NamedTuple):
    """A run of one file's bytes, verified."""

    entry: int
    at: int
    data: memoryview


async def read_segments(downloader: Downloader, link: Link) -> dict[SegmentId, int]:
    """Every segment of a deposit, the root first, with its bytes of plaintext: all that a verify link needs.

    Raises:
        NotFoundError, IntegrityFailure: As :meth:`Downloader.blocks`, or the root is not one.
    """
    plaintext = await _root(downloader, link)
    try:
        return {link.root: len(plaintext)} | {entry.id: entry.length for entry in open_index(plaintext)}
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
        encoded = await _spilled(downloader, root.spill) if root.spill else root.encoded
        return await blocking(read_manifest, root, encoded)
    except (RemoteProtocolError, IntegrityError) as exc:
        raise IntegrityFailure(f"the link leads to something else than a deposit: {exc}") from exc


async def _spilled(downloader: Downloader, spill: Iterable[SegmentRef]) -> bytes:
    """The encoded manifest, of the segments it was cut into."""
    parts: list[memoryview] = []
    whole = (_whole(number, ref) for number, ref in enumerate(spill))
    async with segments_ahead(downloader, whole) as opened:
        async for _, part in opened:
            parts.append(part)
    return await downloader.client.world.blocking(b"".join, parts)


async def _root(downloader: Downloader, link: Link) -> memoryview:
    return await downloader.whole(link.root, root_key(link.verify_key))


def _whole(number: int, ref: SegmentRef) -> Step:
    return Step(number, ref, 0, -(-ref.length // BLOCK_BYTES), ref.length, ())


@trio.as_safe_channel
async def segments_ahead(
    downloader: Downloader, steps: Iterable[Step]
) -> AsyncGenerator[tuple[Step, memoryview], None]:
    """Fetch the steps' blocks, up to three at a time; yields them in order.

    The steps are made in a worker thread, and none before its time: each may hold a hundred thousand files.
    """
    blocking = downloader.client.world.blocking
    ahead = iter(steps)
    async with one_error(), trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel["tuple[Step, _Slot]"](SEGMENTS_AHEAD - 1)

        async def fetch(step: Step, slot: "_Slot") -> None:
            slot.data = await downloader.blocks(step.ref, step.first, step.count)
            slot.ready.set()

        async def feed() -> None:
            async with send:
                while (step := await blocking(next, ahead, None)) is not None:
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


def plan_steps(manifest: Manifest, wanted: Iterable[Wanted]) -> Iterator[Step]:
    """What to fetch for runs of files, segment by segment in stream order. None, if the content is inline.

    Args:
        manifest: Whose entries they are.
        wanted: The runs, in order of entries.
    """
    number = 0
    position: int | None = None
    slices: list[Slice] = []
    for entry, start, stop in wanted if manifest.segments else ():
        at = start
        for extent in extents(manifest.entries[entry], manifest.segments, start, stop):
            if extent.segment != position:
                if position is not None:
                    yield _step(number, manifest.segments[position], slices)
                    number += 1
                position, slices = extent.segment, []
            slices.append(Slice(entry, at, extent.offset, extent.length))
            at += extent.length
    if position is not None:
        yield _step(number, manifest.segments[position], slices)


def _step(number: int, ref: SegmentRef, slices: list[Slice]) -> Step:
    first = min(item.offset for item in slices) // BLOCK_BYTES
    last = (max(item.offset + item.size for item in slices) - 1) // BLOCK_BYTES
    return Step(number, ref, first, last - first + 1, sum(item.size for item in slices), tuple(slices))


def runs_of(step: Step, data: memoryview) -> Iterator[Run]:
    """The runs of files in what was fetched for a step."""
    begin = step.first * BLOCK_BYTES
    for item in step.slices:
        start = item.offset - begin
        yield Run(item.entry, item.at, data[start : start + item.size])


def wanted_bytes(step: Step, data: memoryview) -> Iterator[memoryview]:
    """The wanted bytes in what was fetched for a step; slices that follow each other, of small files, as one."""
    base = step.first * BLOCK_BYTES
    begin = end = step.slices[0].offset
    for item in step.slices:
        if item.offset != end:
            yield data[begin - base : end - base]
            begin = item.offset
        end = item.offset + item.size
    yield data[begin - base : end - base]


@trio.as_safe_channel
async def read_runs(downloader: Downloader, manifest: Manifest, wanted: Iterable[Wanted]) -> AsyncGenerator[Run, None]:
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


def select(manifest: Manifest, path: bytes | None) -> Sequence[int]:
    """Indices of the entries at and beneath ``path`` (None: all).

    Raises:
        NotFoundError: There is no such path.
    """
    entries = manifest.entries
    if path is None:
        return range(len(entries))
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
