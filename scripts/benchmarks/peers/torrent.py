"""libtorrent over TCP: one seeder that has the file already, one downloader that is told where it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.large import ROUNDS, make_file
from scripts.benchmarks.localnet import same
from scripts.benchmarks.machine import MIB, cpu_seconds, memory_mb, ready_memory
from scripts.benchmarks.peers.environment import install
from scripts.benchmarks.processes import Run, Started, background
from scripts.benchmarks.table import Table, median, spread

_VERSION = "libtorrent==2.1.*"
_SIDE = Path(__file__).with_name("torrent_side.py")
_SMALL_BYTES = 10 * 1024
_WAIT_SECONDS = 120.0


def measure(table: Table, folder: Path, sizes: list[int]) -> None:
    home = folder / "libtorrent"
    python = install(home / "environment", _VERSION) / "python"
    small = home / "file-small"
    small.write_bytes(os.urandom(_SMALL_BYTES))
    _one_file(table, python, home, small, "10 KiB")
    for size in sizes:
        _one_file(table, python, home, make_file(folder, size).source, f"{size // MIB} MiB")


def _one_file(table: Table, python: Path, home: Path, source: Path, name: str) -> None:
    size, torrent, copies = source.stat().st_size, home / "torrent", home / "copies"
    hashing = [_side(python, "make", source, torrent).seconds for _ in range(ROUNDS)]
    runs: list[Run] = []
    with _seeder(python, torrent, source.parent) as (pid, port):
        before = cpu_seconds(pid)
        for _ in range(ROUNDS):
            copies.mkdir()
            with ready_memory(size):
                runs.append(_side(python, "fetch", torrent, copies, port))
            same(source, copies / source.name)
            (copies / source.name).unlink()
            copies.rmdir()
        used, peak = (cpu_seconds(pid) - before) / ROUNDS, memory_mb(pid, "VmHWM")
    took = [run.seconds for run in runs]
    if size < MIB:
        table.add(f"libtorrent: hash {name}", median(hashing) * 1000, "ms")
        table.add(f"libtorrent: fetch {name}", median(took) * 1000, "ms", f"worst {max(took) * 1000:.0f}")
        return
    table.add(f"libtorrent: hash {name}", size / 1e6 / median(hashing), "MB/s", "nothing is sent")
    rates = [size / 1e6 / seconds for seconds in took]
    table.add(f"libtorrent: fetch {name}", median(rates), "MB/s", f"({spread(rates)})")
    gib = size / (1024 * MIB)
    client = median([run.cpu_seconds for run in runs]) / gib
    table.add("  CPU s per GiB: downloader", client, "s", f"seeder {used / gib:.2f}")
    table.add("  peak memory of the downloader", max(run.peak_mb for run in runs), "MB", f"seeder {peak:.0f}")


def _side(python: Path, *arguments: object) -> Run:
    return Started([str(python), str(_SIDE), *map(str, arguments)], os.environ).finish(_WAIT_SECONDS)


@contextmanager
def _seeder(python: Path, torrent: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Somebody who has the whole file; yields pid and port."""
    with background([str(python), str(_SIDE), "seed", str(torrent), str(folder)]) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the libtorrent seeder did not start")
        yield process.pid, int(line)
