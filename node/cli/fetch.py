"""`archipel fetch` and `archipel ls`."""

import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

import click
import trio

from node.cli.links import Led, check_version, follow, read_unsealed, version_option
from node.cli.options import common_options, settings
from node.cli.output import note, progress_shown, show
from node.cli.running import run_async
from node.cli.text import date_text, size_text, visible
from node.client import open_client
from node.errors import ConfigError
from node.fetching.download import Downloader
from node.fetching.reader import Wanted, WholeFiles, read_contents, read_runs, select, single_file
from node.fetching.restore import Target, choose_target, restore
from node.keeping.lifetime import runs_until
from node.progress import Progress
from protocol.ids import SegmentId
from protocol.links import Link, NameLink
from protocol.manifest import Entry, Kind, Manifest

_LINES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the user asked to fetch."""

    link: Link | NameLink
    version: int | None
    """Of a name; None: the newest."""
    dest: Path | None
    stdout: bool
    path: bytes | None
    span: tuple[int, int] | None
    """First and last byte, inclusive."""
    force: bool


@click.command()
@click.argument("link")
@click.option("-o", "--output", metavar="DEST", help="Where to put it; - for standard output (one file).")
@click.option("--path", metavar="SUB", help="Only this file or folder of the deposit, as `archipel ls` shows it.")
@click.option("--range", "span", metavar="A-B", help="Only bytes A to B (inclusive) of one file.")
@click.option("--force", is_flag=True, help="Replace what is at the destination.")
@version_option
@common_options
def fetch(link: str, output: str | None, path: str | None, span: str | None, force: bool, version: int | None) -> None:
    """Fetch what LINK leads to; run it again after an interruption and it goes on.

    LINK may be - (read from standard input) or @FILE. The destination appears when all of it is there and verified.
    Of a name's link it is the newest version, or version N; a link that was sealed for your account is opened with it.

    \b
    Examples:
      archipel fetch archipel:... -o copy
      archipel fetch archipel:... --version 3 -o as-it-was
      archipel fetch @link.txt --path site/index.html -o - | less
      archipel fetch archipel:... --range 0-1023 -o head.bin
    """
    stdout = output == "-"
    if stdout and settings().json:
        raise ConfigError("-o - and --json both want standard output", hint="name a file with -o, or leave out --json")
    opened = read_unsealed(link)
    check_version(opened, version)
    order = _Order(
        link=opened,
        version=version,
        dest=None if stdout or output is None else Path(output),
        stdout=stdout,
        path=None if path is None else os.fsencode(path),
        span=_span(span),
        force=force,
    )
    started = time.monotonic()
    with progress_shown("fetching") as progress:
        result = run_async(partial(_fetch, order, progress))
    seconds = time.monotonic() - started
    if stdout:
        return
    resumed = f", {size_text(result.kept)} were here already" if result.kept else ""
    note(f"fetched {size_text(result.size)} in {seconds:.1f} s, {size_text(result.received)} received{resumed}")
    show(
        "\n".join(visible(str(place)) for place in result.places),
        {
            "paths": [str(place) for place in result.places],
            "bytes": result.size,
            "received_bytes": result.received,
            "resumed_bytes": result.kept,
            "seconds": round(seconds, 3),
            **result.led.fields,
        },
    )


def _span(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})", text, re.ASCII)
    if match is None or int(match[1]) > int(match[2]):
        raise ConfigError(f"want a range of bytes such as 0-1023, got {text!r}")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True)
class _Fetched:
    led: Led
    places: tuple[Path, ...]
    size: int
    received: int
    kept: int


async def _fetch(order: _Order, progress: Progress) -> _Fetched:
    async with open_client(settings().config(), hints=order.link.hints) as client:
        led = await follow(client, order.link, order.version)
        downloader = Downloader(client, progress)
        manifest = await read_contents(downloader, led.link)
        choice = await client.world.blocking(_choose, manifest, led.link.root, order)
        progress.total = choice.size
        if choice.target is None:
            await _to_stdout(downloader, manifest, choice.wanted)
            return _Fetched(led, (), choice.size, downloader.received_bytes, 0)
        chosen, target = choice.entries, choice.target
        kept = await restore(downloader, led.link, manifest, choice.wanted, chosen, target, force=order.force)
        places = tuple(place for _, place in target.moves)
        return _Fetched(led, places, choice.size, downloader.received_bytes, kept)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What an order comes to, for one manifest."""

    entries: Sequence[int]
    wanted: Iterable[Wanted]
    size: int
    """Bytes of all that is wanted."""
    target: Target | None
    """None: standard output."""


def _choose(manifest: Manifest, root: SegmentId, order: _Order) -> _Choice:
    """A second's work, in a million of files."""
    chosen = select(manifest, order.path)
    wanted = _wanted(manifest, chosen, order)
    size = sum(stop - start for _, start, stop in wanted)
    if order.stdout:
        return _Choice(chosen, wanted, size, None)
    target = choose_target(manifest, chosen, order.dest, root, force=order.force)
    return _Choice(chosen, wanted, size, target)


def _wanted(manifest: Manifest, chosen: Sequence[int], order: _Order) -> Iterable[Wanted]:
    """The runs of files to fetch."""
    if order.span is None and not order.stdout:
        return WholeFiles(manifest, chosen)
    entry = single_file(manifest, chosen)
    first, last = order.span or (0, entry.size - 1)
    if last >= entry.size and order.span is not None:
        raise ConfigError(f"the range ends at byte {last}, but the file has {entry.size} bytes")
    return [(chosen[0], first, last + 1)] if entry.size else []


async def _to_stdout(downloader: Downloader, manifest: Manifest, wanted: Iterable[Wanted]) -> None:
    out = sys.stdout.buffer
    async with read_runs(downloader, manifest, wanted) as runs:
        async for run in runs:
            await trio.to_thread.run_sync(out.write, run.data, abandon_on_cancel=True)
            downloader.progress.step(done=len(run.data))
    await trio.to_thread.run_sync(out.flush, abandon_on_cancel=True)


@click.command()
@click.argument("link")
@version_option
@common_options
def ls(link: str, version: int | None) -> None:
    """List what LINK leads to: sizes, times and paths, without fetching it. Says until when it is kept, too.

    \b
    Examples:
      archipel ls archipel:...
      archipel ls archipel:... --version 3
    """
    opened = read_unsealed(link)
    check_version(opened, version)

    async def work() -> tuple[Led, Manifest, int]:
        async with open_client(settings().config(), hints=opened.hints) as client:
            led = await follow(client, opened, version)
            manifest = await read_contents(Downloader(client, Progress()), led.link)
            return led, manifest, await runs_until(client, led.link.root)

    led, manifest, expiry = run_async(work)
    for text in _listing_json(led, manifest, expiry) if settings().json else _listing(manifest):
        click.echo(text, nl=False)
    if not settings().json:
        note(f"leases run until {date_text(expiry)}" if expiry else "leases run until: unknown, no holder says")


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Some at a time: a million lines at once would take more memory than the entries."""
    ahead = iter(entries)
    while batch := list(islice(ahead, _LINES)):
        yield batch


def _listing(manifest: Manifest) -> Iterator[str]:
    for batch in _batches(manifest.entries):
        yield "".join(f"{_line(entry)}\n" for entry in batch)


def _listing_json(led: Led, manifest: Manifest, expiry: int) -> Iterator[str]:
    """One object, a piece at a time."""
    between = '{"entries": ['
    for batch in _batches(manifest.entries):
        yield between + ", ".join(json.dumps(_fields(entry)) for entry in batch)
        between = ", "
    rest = {"bytes": manifest.content_bytes, "expires": expiry or None, **led.fields}
    yield f"], {json.dumps(rest)[1:]}\n"


def _fields(entry: Entry) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": os.fsdecode(entry.path),
        "kind": entry.kind.name.lower(),
        "size": entry.size,
        "mtime": entry.mtime_ns / 10**9,
        "executable": entry.executable,
    }
    return fields | ({"target": os.fsdecode(entry.target)} if entry.kind is Kind.SYMLINK else {})


_TYPES = {
    Kind.FILE: stat.S_IFREG | 0o644,
    Kind.FOLDER: stat.S_IFDIR | 0o755,
    Kind.SYMLINK: stat.S_IFLNK | 0o777,
}


def _line(entry: Entry) -> str:
    mode = stat.filemode(_TYPES[entry.kind] | (0o111 if entry.executable else 0))
    when = "-" if not entry.mtime_ns else datetime.fromtimestamp(entry.mtime_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
    arrow = f" -> {visible(os.fsdecode(entry.target))}" if entry.kind is Kind.SYMLINK else ""
    slash = "/" if entry.kind is Kind.FOLDER else ""
    return f"{mode} {entry.size:>12} {when:>16} {visible(os.fsdecode(entry.path))}{slash}{arrow}"
