"""What a network costs that nobody uses, and how long things take to start."""

import time

from scripts.benchmarks.localnet import Localnet, Person
from scripts.benchmarks.machine import memory_mb
from scripts.benchmarks.table import Table, median

_SETTLE_SECONDS = 2.0
_IDLE_SECONDS = 10.0
_STARTS = 7


def help_start(table: Table, person: Person) -> None:
    starts = [person.run("--help").process_seconds for _ in range(_STARTS)]
    table.add("archipel --help", median(starts) * 1000, "ms", "whole process")


def idle_nodes(table: Table, net: Localnet) -> None:
    """Memory and CPU of nodes nobody asks anything, soon after they came up."""
    table.add(f"{len(net.pids)} nodes up", net.up_seconds, "s", "until each knows the others")
    time.sleep(_SETTLE_SECONDS)
    before = net.cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    used = [(now - then) / _IDLE_SECONDS * 100 for then, now in zip(before, net.cpu_seconds(), strict=True)]
    table.add("idle node: memory, largest", max(memory_mb(pid, "VmRSS") for pid in net.pids), "MB")
    table.add(
        "idle node: CPU, mean", sum(used) / len(used), "%", f"largest {max(used):.2f}, over {_IDLE_SECONDS:.0f} s"
    )
