"""Three holders of twelve that stop in mid-transfer: their connections stay open, and nothing comes from them."""

import time
from collections.abc import Callable
from functools import partial

from scripts.benchmarks.large import ROUNDS, LargeFile
from scripts.benchmarks.localnet import Localnet, Person, same
from scripts.benchmarks.machine import written_bytes
from scripts.benchmarks.processes import Run
from scripts.benchmarks.table import Table, median

_FROZEN = 3
_PART = 0.3
"""How much of the transfer is over when they freeze."""
_START_SECONDS = 30.0


def frozen_holders(table: Table, net: Localnet, file: LargeFile) -> None:
    """Publish and fetch with other holders frozen each time, beside the undisturbed runs of the same file."""
    up, down = [], []
    for turn in range(ROUNDS):
        stopped = [net.pids[(turn * _FROZEN + i) % len(net.pids)] for i in range(_FROZEN)]
        person = net.person()
        goal = _written_by_nodes(net) + int(file.size * file.n / file.k * _PART)
        run = _disturbed(net, person, ("publish", file.source), stopped, partial(_nodes_wrote, net, goal))
        up.append(run.seconds)
        link = net.note_link(run)
        copy = net.folder / "frozen-copy"
        run = _disturbed(net, net.person(), ("fetch", link, "-o", copy), stopped,
                         lambda pid: written_bytes(pid) >= file.size * _PART)  # fmt: skip
        down.append(run.seconds)
        same(file.source, copy)
        copy.unlink()
        person.run("delete", link)
    for what, took in (("publish", up), ("fetch", down)):
        calm = file.calm_seconds[what]
        table.add(f"{what} {file.name}, {_FROZEN} of {file.n} frozen", median(took), "s",
                  f"calm {calm:.2f}: {median(took) - calm:+.2f}, worst {max(took) - calm:+.2f}")  # fmt: skip


def _written_by_nodes(net: Localnet) -> int:
    return sum(map(written_bytes, net.pids))


def _nodes_wrote(net: Localnet, goal: int, _: int) -> bool:
    return _written_by_nodes(net) >= goal


def _disturbed(
    net: Localnet, person: Person, arguments: tuple[object, ...], stopped: list[int], begun: Callable[[int], bool]
) -> Run:
    """Run a command; once ``begun`` holds of its process, freeze the ``stopped`` nodes until it has ended."""
    command = person.start(*arguments, "--json")
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not begun(command.pid):
            if not command.running or time.monotonic() > deadline:
                command.finish(seconds=0)
                raise SystemExit(f"{arguments[0]} ended before anybody could freeze")
            time.sleep(0.005)
        with net.frozen(stopped):
            return command.finish()
    finally:
        command.end()
