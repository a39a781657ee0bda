"""One large file: publish and fetch beside the raw limit, in turns; then what else one does with it."""

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
from blake3 import blake3

from node.client import open_client
from node.config import Config
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_runs
from node.progress import Progress
from protocol.links import Link, parse_link
from scripts.benchmarks import raw
from scripts.benchmarks.localnet import Localnet, Person, Work, same
from scripts.benchmarks.machine import MIB, memory_mb, ready_memory
from scripts.benchmarks.raw import Limit
from scripts.benchmarks.table import Table, median, spread

ROUNDS = 3
_RANGE_READS = 7
_MEMORY_OF_PROCESSES = 512 * MIB
"""What clients and nodes may take beside the files they write."""


@dataclass(slots=True)
class LargeFile:
    """A file of random bytes, and what has been done with it."""

    source: Path
    size: int
    k: int = 8
    n: int = 12
    publisher: Person | None = None
    """Who published it last, and has not deleted it."""
    link: str = ""
    """``@FILE`` with their link."""
    calm_seconds: dict[str, float] = field(default_factory=dict)
    """Medians of ``publish`` and ``fetch``."""

    @property
    def name(self) -> str:
        return f"{self.size // MIB} MiB"

    @property
    def mb(self) -> float:
        return self.size / 1e6


def make_file(folder: Path, size: int, *, k: int = 8, n: int = 12) -> LargeFile:
    source = folder / f"file-{size // MIB}"
    if not source.exists():
        with source.open("wb") as handle:
            for _ in range(size // MIB):
                handle.write(os.urandom(MIB))
    return LargeFile(source, size, k, n)


def publish_and_fetch(table: Table, net: Localnet, file: LargeFile) -> None:
    """Raw, ours, raw, ours ...: so that whatever else the machine does falls on both."""
    limits: list[Limit] = []
    works: list[Work] = []
    for _ in range(ROUNDS):
        with ready_memory(file.size * file.n // file.k):
            limits.append(raw.publish(file.source, net.folder, file.k, file.n))
        works.append(_publish(net, file))
    _report(table, "publish", file, limits, works)
    limits, works = [], []
    for _ in range(ROUNDS):
        with ready_memory(file.size):
            limits.append(raw.fetch(file.source, net.folder, file.k))
        works.append(_fetch(net, file))
    _report(table, "fetch", file, limits, works)
    table.add(
        "  peak memory of a node so far", max(memory_mb(pid, "VmHWM") for pid in net.pids), "MB", f"of {len(net.pids)}"
    )


def _publish(net: Localnet, file: LargeFile) -> Work:
    """Publish by somebody new; what was published before is deleted, so that all rounds find the same room."""
    if file.publisher is not None:
        file.publisher.run("delete", file.link)
    file.publisher = net.person()
    with ready_memory(file.size * file.n // file.k + _MEMORY_OF_PROCESSES):
        work = net.work(file.publisher, "publish", file.source, "--shares", f"{file.k}/{file.n}", "--json")
    file.link = net.note_link(work.run)
    return work


def _fetch(net: Localnet, file: LargeFile) -> Work:
    copy = net.folder / "copy"
    with ready_memory(file.size + _MEMORY_OF_PROCESSES):
        work = net.work(net.person(), "fetch", file.link, "-o", copy, "--json")
    same(file.source, copy)
    copy.unlink()
    return work


def _report(table: Table, what: str, file: LargeFile, limits: list[Limit], works: list[Work]) -> None:
    file.calm_seconds[what] = median([work.run.seconds for work in works])
    raws, ours = [file.mb / limit.seconds for limit in limits], [file.mb / work.run.seconds for work in works]
    ratio = median(ours) / median(raws)
    shares = f" at {file.k} of {file.n}" if (file.k, file.n) != (8, 12) else ""
    table.add(f"{what} {file.name}{shares}", median(ours), "MB/s",
              f"({spread(ours)}); raw {median(raws):.0f} ({spread(raws)}), ratio {ratio:.2f}")  # fmt: skip
    gib = file.size / (1024 * MIB)
    client = median([work.run.cpu_seconds for work in works]) / gib
    nodes = median([sum(work.node_cpu_seconds) for work in works]) / gib
    least = median([limit.cpu_seconds for limit in limits]) / gib
    table.add(
        "  CPU s per GiB: client",
        client,
        "s",
        f"all nodes {nodes:.2f}, mean node {nodes / file.n:.2f}; raw, all {least:.2f}",
    )
    table.add("  peak memory of the client", max(work.run.peak_mb for work in works), "MB")


def again_and_parts(table: Table, net: Localnet, file: LargeFile) -> None:
    """The same file once more, a little of it, and whether it is still there."""
    assert file.publisher is not None
    hashing, again, sent = [], [], 0
    for _ in range(ROUNDS):
        hashing.append(file.mb / _hash_seconds(file.source))
        run = file.publisher.run("publish", file.source, "--json")
        again.append(file.mb / run.seconds)
        sent += int(str(run.fields["sent_bytes"]))
    table.add(f"publish {file.name} again, unchanged", median(again), "MB/s",
              f"({spread(again)}); hashing the file {median(hashing):.0f}, {sent} bytes sent")  # fmt: skip
    checks = [file.publisher.run("check", file.link, "--json").process_seconds for _ in range(ROUNDS)]
    table.add(f"check {file.name}", median(checks), "s", "whole process")
    _ranges(table, net, file)


def _hash_seconds(source: Path) -> float:
    """BLAKE3 in one thread over a file that is in the page cache."""
    began, hasher, buffer = time.perf_counter(), blake3(), memoryview(bytearray(MIB))
    with source.open("rb", buffering=0) as handle:
        while count := handle.readinto(buffer):
            hasher.update(buffer[:count])
    return time.perf_counter() - began


def _ranges(table: Table, net: Localnet, file: LargeFile) -> None:
    """1 MiB out of the middle, by somebody who never was here, and by a client that has joined."""
    part, took, inner, received = net.folder / "part", [], [], 0
    for number in range(_RANGE_READS):
        start = (number + 1) * file.size // (_RANGE_READS + 2) + number
        run = net.person().run("fetch", file.link, "--range", f"{start}-{start + MIB - 1}", "-o", part, "--json")
        took.append(run.process_seconds)
        inner.append(run.seconds)
        received = int(str(run.fields["received_bytes"]))
        if part.read_bytes() != _part(file.source, start):
            raise SystemExit("a range is not what was published")
        part.unlink()
    table.add(f"1 MiB out of {file.name}, cold process", median(took) * 1000, "ms",
              f"without the start of Python {median(inner) * 1000:.0f}; {received} bytes received")  # fmt: skip
    link = parse_link(Path(file.link[1:]).read_text())
    assert isinstance(link, Link)
    warm = trio.run(partial(_warm_ranges, net, file, link))
    table.add(f"1 MiB out of {file.name}, warm client", median(warm[1:]) * 1000, "ms")


def _part(source: Path, start: int) -> bytes:
    with source.open("rb") as handle:
        handle.seek(start)
        return handle.read(MIB)


async def _warm_ranges(net: Localnet, file: LargeFile, link: Link) -> list[float]:
    config = Config(home=net.folder / "warm-reader", network=net.network, join=net.join)
    took = []
    async with open_client(config) as client:
        downloader = Downloader(client, Progress())
        manifest = await read_contents(downloader, link)
        for number in range(_RANGE_READS):
            start = (number + 1) * file.size // (_RANGE_READS + 3) + number
            began = trio.current_time()
            async with read_runs(downloader, manifest, [(0, start, start + MIB)]) as runs:
                data = b"".join([bytes(run.data) async for run in runs])
            took.append(trio.current_time() - began)
            if data != _part(file.source, start):
                raise SystemExit("a range is not what was published")
    return took
