"""Small files: one by one with a client that has joined, and thousands in one folder."""

import os
import random
import shutil
from functools import partial
from pathlib import Path

import trio

from node.client import Client, open_client
from node.config import Config
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_runs
from node.home import Depositor, Home
from node.journal import Journal
from node.progress import Progress
from node.publishing.content import StreamContent
from node.publishing.publish import Options, publish
from protocol.identity import Network
from scripts.benchmarks.localnet import Localnet, same
from scripts.benchmarks.table import Table, median

FILES = 10_000
_WARM_FILES = 33
_NOT_WARM_YET = 3
_KIB = 1024


def one_by_one(table: Table, net: Localnet) -> None:
    """10 KiB files, each a deposit of its own."""
    up, down = trio.run(partial(_warm, net))
    count = f"median of {len(up)}, worst"
    table.add("10 KiB file, warm client: publish", median(up) * 1000, "ms", f"{count} {max(up) * 1000:.1f}")
    table.add("10 KiB file, warm client: fetch", median(down) * 1000, "ms", f"{count} {max(down) * 1000:.1f}")


async def _warm(net: Localnet) -> tuple[list[float], list[float]]:
    home = Home(net.folder / "warm-home")
    depositor, journal = home.depositor(), Journal(home.journal, Network(net.network).id)
    try:
        async with open_client(Config(home=home.path, network=net.network, join=net.join)) as client:
            pairs = [await _one(client, depositor, journal, number) for number in range(_WARM_FILES)]
    finally:
        journal.close()
    up, down = zip(*pairs[_NOT_WARM_YET:], strict=True)
    return list(up), list(down)


async def _one(client: Client, depositor: Depositor, journal: Journal, number: int) -> tuple[float, float]:
    """Seconds to publish one file and to fetch it."""
    data, name = os.urandom(10 * _KIB), b"%d" % number
    began = trio.current_time()
    published = await publish(client, depositor, journal, StreamContent(_Once(data), name, name), Options(), Progress())
    middle = trio.current_time()
    downloader = Downloader(client, Progress())
    manifest = await read_contents(downloader, published.link)
    async with read_runs(downloader, manifest, [(0, 0, len(data))]) as runs:
        got = b"".join([bytes(run.data) async for run in runs])
    end = trio.current_time()
    if got != data:
        raise SystemExit("a small file is not what was published")
    return middle - began, end - middle


class _Once:
    """Bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def one_folder(table: Table, net: Localnet) -> None:
    """Thousands of files as one deposit, and again, and with one of them changed."""
    folder, copy, person = net.folder / "small", net.folder / "small-copy", net.person()
    _fill(folder)
    run = person.run("publish", folder, "--json")
    mb = int(str(run.fields["bytes"])) / 1e6
    table.add(f"publish {FILES} files of 1-20 KiB", FILES / run.seconds, "files/s", f"{run.seconds:.2f} s, {mb:.0f} MB")
    table.add("  CPU and peak memory of the client", run.cpu_seconds, "s", f"{run.peak_mb:.0f} MB")
    run = net.person().run("fetch", net.note_link(run), "-o", copy, "--json")
    table.add("fetch them", FILES / run.seconds, "files/s", f"{run.seconds:.2f} s")
    table.add("  CPU and peak memory of the client", run.cpu_seconds, "s", f"{run.peak_mb:.0f} MB")
    same(folder, copy)
    shutil.rmtree(copy)
    for what in ("publish them again, unchanged", "publish them again, one changed"):
        run = person.run("publish", folder, "--json")
        table.add(what, FILES / run.seconds, "files/s", f"{run.seconds:.2f} s, {run.fields['sent_bytes']} bytes sent")
        changed = folder / "20" / "05020"
        changed.write_bytes(os.urandom(changed.stat().st_size))


def _fill(folder: Path) -> None:
    chance = random.Random(1)
    for number in range(FILES):
        place = folder / f"{number % 40:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:05}").write_bytes(chance.randbytes(chance.randrange(_KIB, 20 * _KIB)))
