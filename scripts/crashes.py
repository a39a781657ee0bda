"""Nodes and clients killed and frozen at random moments, longer than the test suite has time for."""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.clientkills import LARGE, ClientKills
from tests.e2e.freezing import Freezer, Took
from tests.e2e.healingkills import HealingKills
from tests.e2e.nodekills import NodeKills
from tests.e2e.world import Nodes, local_network

PUTS, NODE_KILLS = 200, 50
CLIENT_KILLS = 30
MIB = 1 << 20
FROZEN_MIB, FROZEN_TIMES = 256, 5
STORM_SECONDS, STORM_NODES = 120, 8


def kill_nodes(folder: Path, seed: int) -> None:
    """One node, killed in the midst of puts."""
    nodes = Nodes(folder)
    began = time.monotonic()
    try:
        kills = NodeKills(nodes, seed=seed, puts=PUTS, kills=NODE_KILLS)
        kills.run()
    finally:
        nodes.end()
    print(
        f"node killed {NODE_KILLS} times in {PUTS} puts: all that was acknowledged is there, all there is is whole; "
        f"{kills.unheard} times a chunk whose acknowledgement had not come; {time.monotonic() - began:.0f} s"
    )


def kill_clients(folder: Path, seed: int) -> None:
    """Publishes and fetches in turn, killed and run again."""
    with local_network(folder) as net:
        clients = ClientKills(net, folder, LARGE, seed=seed)
        for number in range(CLIENT_KILLS):
            print(clients.fetch() if number % 2 else clients.publish(), flush=True)


def freeze(folder: Path, seed: int) -> None:
    """Each command undisturbed and disturbed, several times."""
    source = folder / "file"
    with source.open("wb") as file:
        for _ in range(FROZEN_MIB):
            file.write(os.urandom(MIB))
    took: list[Took] = []
    with local_network(folder) as net:
        freezer = Freezer(net, folder, source, seed=seed)
        link = freezer.link()
        for _ in range(FROZEN_TIMES):
            for one in (freezer.publish(), freezer.fetch(link), freezer.check(link)):
                print(one, flush=True)
                took.append(one)
    for what in dict.fromkeys(one.what for one in took):
        costs = [one.cost for one in took if one.what == what]
        print(f"{what:8} 3 of 12 frozen cost {statistics.median(costs):+.2f} s (median), {max(costs):+.2f} s at most")


def kill_healing(folder: Path, seed: int) -> None:
    """Any node, in the midst of repairs, puts, deletions, leaving."""
    nodes = Nodes(folder)
    kills = HealingKills(nodes, seed=seed, seconds=STORM_SECONDS, count=STORM_NODES)
    try:
        kills.run()
    finally:
        print(kills.seen, flush=True)
        nodes.end()
    print("all that was acknowledged is there, each chunk once and whole; what was deleted or has expired is gone")


PARTS = {"nodes": kill_nodes, "clients": kill_clients, "healing": kill_healing, "frozen": freeze}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1_000_000), help="of the moments; drawn by default"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for name in options.parts or PARTS:
        print(f"{name}, seed {options.seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder), options.seed)


if __name__ == "__main__":
    main()
