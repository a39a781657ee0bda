"""Publish, fetch, check and the rest through the command line on a 12-node local network, beside the raw limit."""

import argparse
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.frozen import frozen_holders
from scripts.benchmarks.idle import help_start, idle_nodes
from scripts.benchmarks.large import again_and_parts, make_file, publish_and_fetch
from scripts.benchmarks.localnet import Person, local_network
from scripts.benchmarks.machine import MIB
from scripts.benchmarks.page import page_transfers
from scripts.benchmarks.peers import tahoe, torrent
from scripts.benchmarks.rates import rate_limits
from scripts.benchmarks.small import one_by_one, one_folder
from scripts.benchmarks.table import Table

_NODES = 12
_PARTS = ("idle", "large", "small", "frozen", "rates", "page", "peers")
_PEERS = {"tahoe": tahoe.measure, "libtorrent": torrent.measure}
_ENDING = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(_PARTS)} (default: all)")
    parser.add_argument("--size", type=int, action="append", metavar="MiB", help="of a large file (default: 256, 1024)")
    parser.add_argument("--peer", choices=sorted(_PEERS), action="append", default=[], help="also measure this one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if any(size < 8 or size % 8 for size in chosen.size or ()):
        parser.error("want sizes in whole steps of 8 MiB")  # each of 8 raw senders has as much
    for number in _ENDING:
        signal.signal(number, _interrupt)
    table, folder = Table(), Path(tempfile.mkdtemp(prefix="archipel-bench-"))
    sizes = [size * MIB for size in sorted(chosen.size or (256, 1024))]
    try:
        _ours(table, folder, chosen.parts or _PARTS, sizes)
        if not chosen.parts or "peers" in chosen.parts:
            for peer in chosen.peer:
                _PEERS[peer](table, folder, sizes)
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None
    finally:
        shutil.rmtree(folder)
        if chosen.json:
            table.save(chosen.json)


def _interrupt(number: int, frame: object) -> None:
    """End the run; whatever comes while it cleans up does not disturb it."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _ours(table: Table, folder: Path, parts: Sequence[str], sizes: list[int]) -> None:
    if "idle" in parts:
        help_start(table, Person(folder / "nobody"))
    if "rates" in parts:
        rate_limits(table, folder / "rates")
    if set(parts) <= {"peers", "rates"}:
        return
    with local_network(folder / "net", _NODES) as net:
        if "idle" in parts:
            idle_nodes(table, net)
        files = [make_file(folder, size) for size in sizes]
        if "frozen" in parts and "large" not in parts:
            publish_and_fetch(table, net, files[0])  # the undisturbed runs
        if "large" in parts:
            for file in files:
                publish_and_fetch(table, net, file)
            again_and_parts(table, net, files[-1])
        if "frozen" in parts:
            frozen_holders(table, net, files[0])
        if "page" in parts:
            page_transfers(table, net, files[-1])
        if "small" in parts:
            one_by_one(table, net)
            one_folder(table, net)


if __name__ == "__main__":
    main()
