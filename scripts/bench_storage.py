"""Publish, fetch, check and the rest through the command line on a 12-node local network, beside the raw limit.

Every figure is of whole processes, one after the other, in one run; compare the ratios, not the absolute values.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import bench_raw
import trio

from node.client import open_client
from node.config import Config
from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.home import Home
from node.journal import Journal
from node.progress import Progress
from node.publishing.publish import Options, StreamContent, publish
from protocol.identity import Network

MIB = 1 << 20
NODES = 12
WARM_FILES = 30
SMALL_FILES = 2000
_COMMAND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    unit: str
    beside: str = ""
    """The same work at the raw limit, and the ratio."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command that ended well."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str

    @property
    def fields(self) -> dict[str, object]:
        fields: dict[str, object] = json.loads(self.output)
        return fields


class Bench:
    """A local network and a home, in a folder that is removed in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("ARCHIPEL_")}
        self.environment["ARCHIPEL_HOME"] = str(folder / "home")
        self.rows: list[Row] = []

    def command(self, *arguments: str) -> Run:
        """Run one archipel command and measure the process."""
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "node.cli", *arguments],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        output, errors = process.communicate(timeout=_COMMAND_SECONDS)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"archipel {arguments[0]} failed: {errors}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(took, cpu, after.ru_maxrss / 1024, output)

    def add(self, what: str, value: float, unit: str, beside: str = "") -> None:
        row = Row(what, value, unit, beside)
        self.rows.append(row)
        print(f"{row.what:<42} {row.value:>10.2f} {row.unit:<8} {row.beside}", flush=True)

    @contextmanager
    def network(self) -> Iterator[list[int]]:
        """A running network; yields the pids of its nodes."""
        up = self.command("devnet", "up", "--nodes", str(NODES), "--json")
        self.add(f"{NODES} nodes up", up.seconds, "s")
        try:
            fields = up.fields
            join, nodes = fields["join"], fields["nodes"]
            assert isinstance(join, list)
            assert isinstance(nodes, list)
            self.environment |= {"ARCHIPEL_NETWORK": str(fields["network"]), "ARCHIPEL_JOIN": ",".join(join)}
            yield [node["pid"] for node in nodes]
        finally:
            self.command("devnet", "down")


def large_file(bench: Bench, size: int, pids: list[int]) -> None:
    """Publish and fetch of one file, beside the raw limit."""
    source = bench.folder / "large"
    with source.open("wb") as handle:
        for _ in range(size // MIB):
            handle.write(os.urandom(MIB))
    mb = size / 1e6
    name = f"{size // MIB} MiB"
    raw = mb / bench_raw.publish_seconds(source, bench.folder)
    before = node_cpu(pids)
    run = bench.command("publish", str(source), "--json")
    rate = mb / float(str(run.fields["seconds"]))
    bench.add(f"publish {name}", rate, "MB/s", f"raw {raw:.0f}, ratio {rate / raw:.2f}")
    per_gib = 1024 * MIB / size
    bench.add("  CPU of the client, per GiB", run.cpu_seconds * per_gib, "s")
    bench.add("  CPU of all nodes, per GiB", (node_cpu(pids) - before) * per_gib, "s")
    link = bench.folder / "link"
    link.write_text(str(run.fields["link"]))
    raw = mb / bench_raw.fetch_seconds(source, bench.folder)
    before = node_cpu(pids)
    run = bench.command("fetch", f"@{link}", "-o", str(bench.folder / "copy"), "--json")
    rate = mb / float(str(run.fields["seconds"]))
    bench.add(f"fetch {name}", rate, "MB/s", f"raw {raw:.0f}, ratio {rate / raw:.2f}")
    bench.add("  CPU of the client, per GiB", run.cpu_seconds * per_gib, "s")
    bench.add("  CPU of all nodes, per GiB", (node_cpu(pids) - before) * per_gib, "s")
    if subprocess.run(["cmp", str(source), str(bench.folder / "copy")], check=False).returncode:
        raise SystemExit("the copy differs")
    run = bench.command("publish", str(source), "--json")
    bench.add(f"publish {name} again, unchanged", mb / float(str(run.fields["seconds"])), "MB/s",
              f"{run.fields['sent_bytes']} bytes sent")  # fmt: skip
    bench.add(f"check {name}", bench.command("check", f"@{link}", "--json").seconds, "s")
    start = size // 2
    run = bench.command("fetch", f"@{link}", "--range", f"{start}-{start + MIB - 1}", "-o", str(bench.folder / "part"),
                        "--json")  # fmt: skip
    bench.add(f"1 MiB out of {name}, cold client", run.seconds * 1000, "ms", f"{run.fields['received_bytes']} bytes")
    bench.add("peak memory of a client", peak_of_children(), "MB")


def peak_of_children() -> float:
    """The largest resident size any child process had, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def small_files(bench: Bench) -> None:
    """A folder of many small files."""
    folder, chance = bench.folder / "small", random.Random(1)
    for number in range(SMALL_FILES):
        place = folder / f"{number % 40:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:05}").write_bytes(chance.randbytes(chance.randrange(1024, 20 * 1024)))
    run = bench.command("publish", str(folder), "--json")
    bench.add(f"publish {SMALL_FILES} files of 1-20 KiB", SMALL_FILES / float(str(run.fields["seconds"])), "files/s")
    link = bench.folder / "small-link"
    link.write_text(str(run.fields["link"]))
    run = bench.command("fetch", f"@{link}", "-o", str(bench.folder / "small-copy"), "--json")
    bench.add("fetch them", SMALL_FILES / float(str(run.fields["seconds"])), "files/s")


async def warm(bench: Bench) -> None:
    """10 KiB files, one by one, with a client that has joined."""
    config = Config(
        home=bench.folder / "warm",
        network=bench.environment["ARCHIPEL_NETWORK"],
        join=tuple(bench.environment["ARCHIPEL_JOIN"].split(",")),
    )
    home = Home(config.home)
    depositor, journal = home.depositor(), Journal(home.journal, Network(config.network).id)
    up, down = [], []
    async with open_client(config) as client:
        for number in range(WARM_FILES):
            content = StreamContent(Once(os.urandom(10 * 1024)), b"%d" % number, b"%d" % number)
            began = trio.current_time()
            published = await publish(client, depositor, journal, content, Options(), Progress())
            middle = trio.current_time()
            await read_contents(Downloader(client, Progress()), published.link)
            up.append(middle - began)
            down.append(trio.current_time() - middle)
    journal.close()
    bench.add("10 KiB, warm client: publish", statistics.median(up[3:]) * 1000, "ms", f"of {WARM_FILES}: median")
    bench.add("10 KiB, warm client: fetch", statistics.median(down[3:]) * 1000, "ms")


class Once:
    """Bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def node_cpu(pids: list[int]) -> float:
    """CPU seconds all nodes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def node_memory(bench: Bench, pids: list[int], what: str, field: str) -> None:
    sizes = []
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith(field)]
    bench.add(what, max(sizes), "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="MiB of the large file")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="archipel-bench-"))
    bench = Bench(folder)
    try:
        starts = [bench.command("--help").seconds for _ in range(5)]
        bench.add("archipel --help", statistics.median(starts) * 1000, "ms")
        with bench.network() as pids:
            node_memory(bench, pids, "memory of an idle node", "VmRSS")
            large_file(bench, chosen.size * MIB, pids)
            small_files(bench)
            trio.run(partial(warm, bench))
            node_memory(bench, pids, "peak memory of a node", "VmHWM")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in bench.rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
