"""A local network of real node processes on 127.0.0.1, to try things on and to break (docs/operations.md)."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

import trio

from dht.routing import K
from node.client import open_client
from node.config import CONFIG_FILE, Config, split_host_port
from node.errors import ConfigError, MachineError, NotFoundError, RefusedError, machine_error
from node.home import write_private
from node.intervals import Intervals
from node.slowsteps import SWITCH
from protocol.ids import Address

READY_SECONDS = 30.0
SHORT_INTERVALS: Mapping[str, object] = {
    "ping": "2s",
    "survey": "30s",
    "audit": "10m",
    "scrub": "1h",
    "announce": "5m",
    "grace": "30s",
    "short_grace": "10s",
    "rank": "5s",
    "tick": "1s",
    "tend": "1m",
    "repair_rate": "100MB",
}
"""So that one can watch a network heal. Another network's are in the [intervals] of one's own configuration file."""
_STATE = "devnet.json"
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_MAX_NODES = 200
_ERROR = "archipel: error: "
"""How a command's last words begin."""


@dataclass(frozen=True, slots=True)
class DevNode:
    """One node process."""

    name: str
    country: str
    data: str
    pid: int = 0
    born: int = 0
    """When the process started, in clock ticks since boot: tells it from another one with the same pid."""
    node_id: str = ""
    address: str = ""

    @property
    def state(self) -> str:
        """``running``, ``frozen`` or ``dead``."""
        state, born = _process(self.pid)
        if born != self.born or state in ("Z", "X", ""):
            return "dead"
        return "frozen" if state in ("T", "t") else "running"


@dataclass(frozen=True, slots=True)
class Devnet:
    """The network in one folder."""

    folder: Path
    network: str
    nodes: tuple[DevNode, ...]

    def save(self) -> None:
        state = {"network": self.network, "nodes": [asdict(node) for node in self.nodes]}
        write_private(self.folder / _STATE, json.dumps(state, indent=1).encode(), replace=True)


def load(folder: Path) -> Devnet:
    """The network in ``folder``.

    Raises:
        NotFoundError: There is none.
        MachineError: Its state cannot be read.
    """
    try:
        state = json.loads((folder / _STATE).read_text())
        return Devnet(folder, state["network"], tuple(DevNode(**node) for node in state["nodes"]))
    except FileNotFoundError:
        raise NotFoundError(f"no local network in {str(folder)!r}", hint="archipel devnet up") from None
    except OSError as exc:
        raise machine_error("read", exc) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise MachineError(f"{str(folder / _STATE)!r} is damaged: {exc}") from exc


def up(
    folder: Path,
    network: str,
    countries: Sequence[str],
    count: int,
    quota: str,
    intervals: Mapping[str, object],
) -> Devnet:
    """Start ``count`` nodes; the first begins the network, the others join it. ``intervals`` replace the short ones.

    Raises:
        ConfigError: A number out of range.
        RefusedError: There is a network in this folder already.
        MachineError: A node does not come up; those started are ended again.
    """
    if not 1 <= count <= _MAX_NODES:
        raise ConfigError(f"want 1 to {_MAX_NODES} nodes, got {count}")
    if (folder / _STATE).exists():
        raise RefusedError(f"there is a local network in {str(folder)!r} already", hint="archipel devnet down")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise machine_error("create", exc) from exc
    width = len(str(count))
    planned = [
        DevNode(f"node-{i + 1:0{width}}", countries[i % len(countries)], str(folder / f"node-{i + 1:0{width}}"))
        for i in range(count)
    ]
    started: list[_Starting] = []
    try:
        with _uninterrupted():
            started.append(_Starting(planned[0], network, quota, intervals, None))
        first = _ready(started)[0]
        with _uninterrupted():
            started.extend(_Starting(node, network, quota, intervals, first.address) for node in planned[1:])
        nodes = tuple(_ready(started))
    except BaseException:  # also on Ctrl-C: nothing we started may stay behind
        for starting in started:
            starting.process.kill()
            starting.process.wait()
        raise
    devnet = Devnet(folder, network, nodes)
    devnet.save()
    return devnet


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait: a process that was just started is to be in a list before we end."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, usual, strict=True):
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


class _Starting:
    """A node process that is coming up; its first line of output says that it is ready."""

    def __init__(
        self, node: DevNode, network: str, quota: str, intervals: Mapping[str, object], join: str | None
    ) -> None:
        Path(node.data).mkdir(parents=True, exist_ok=True)
        (Path(node.data) / CONFIG_FILE).write_text(Intervals.read({**SHORT_INTERVALS, **intervals}).settings())
        command = [
            sys.executable,
            "-P",
            "-m",
            "node.cli",
            "--home",
            node.data,
            "--network",
            network,
            "--json",
            "node",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "off",
            "--country",
            node.country,
            "--quota",
            quota,
            "--depositor-share",
            "100%",  # one person's network: its only depositor may fill it
            "--data",
            node.data,
        ]
        if join is not None:
            command += ["--join", join]
        environment = {
            name: value for name, value in os.environ.items() if name == SWITCH or not name.startswith("ARCHIPEL_")
        }
        self.log = Path(node.data) / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
        self.node = replace(node, pid=self.process.pid, born=_process(self.process.pid)[1])

    def take(self, line: bytes) -> None:
        """Read the ready line."""
        try:
            said = json.loads(line)
            self.node = replace(self.node, node_id=said["node_id"], address=said["address"])
        except (ValueError, KeyError, TypeError):
            lines = self.log.read_text(errors="replace").splitlines() or ["it said nothing"]
            errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
            raise MachineError(
                f"{self.node.name} did not start: {(errors or lines)[-1]}", hint=f"see {self.log}"
            ) from None


def _ready(started: Sequence[_Starting]) -> list[DevNode]:
    """Wait until each has said that it is ready; those that have said so before are not waited for."""
    deadline = time.monotonic() + READY_SECONDS
    with DefaultSelector() as selector:
        waiting = [starting for starting in started if not starting.node.address]
        for starting in waiting:
            assert starting.process.stdout is not None
            selector.register(starting.process.stdout, EVENT_READ, starting)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                silent = ", ".join(starting.node.name for starting in waiting if not starting.node.address)
                raise MachineError(f"not ready after {READY_SECONDS:.0f} s: {silent}")
            for key, _ in ready:
                starting = key.data
                starting.take(starting.process.stdout.readline())
                selector.unregister(starting.process.stdout)
                starting.process.stdout.close()
    return [starting.node for starting in started]


def choose(
    devnet: Devnet,
    states: Sequence[str],
    *,
    count: int | None,
    country: str | None,
    name: str | None,
    seed: int | None,
) -> list[DevNode]:
    """The nodes a command is about: a number of them at random, a country's, or one by name.

    Raises:
        ConfigError: Not exactly one of the three ways.
        NotFoundError: There are none, or too few, in one of ``states``.
    """
    if sum(way is not None for way in (count, country, name)) != 1:
        raise ConfigError("say which nodes: a number, --country CC or --node NAME")
    able = [node for node in devnet.nodes if node.state in states]
    if country is not None:
        chosen = [node for node in able if node.country == country.upper()]
    elif name is not None:
        chosen = [node for node in able if node.name == name]
    else:
        assert count is not None
        if count < 1:
            raise ConfigError(f"want a number of nodes, at least 1, got {count}")
        if count > len(able):
            raise NotFoundError(f"there are {len(able)} {' or '.join(states)} nodes, not {count}")
        chosen = random.Random(seed).sample(able, count)  # noqa: S311 - which test node dies is no secret
    if not chosen:
        raise NotFoundError(f"no {' or '.join(states)} node is called or claims {name or country!r}")
    return sorted(chosen, key=lambda node: node.name)


def send(nodes: Sequence[DevNode], signal_number: int) -> None:
    """Signal processes, each seen to be the one that was started."""
    for node in nodes:
        if node.state != "dead":
            os.kill(node.pid, signal_number)


def kill(nodes: Sequence[DevNode]) -> None:
    """SIGKILL, and wait until they are gone."""
    send(nodes, signal.SIGKILL)
    _wait(nodes, lambda node: node.state == "dead")


def freeze(nodes: Sequence[DevNode]) -> None:
    """SIGSTOP, and wait until they stand still."""
    send(nodes, signal.SIGSTOP)
    _wait(nodes, lambda node: node.state != "running")


def thaw(nodes: Sequence[DevNode]) -> None:
    """SIGCONT, and wait until they go on."""
    send(nodes, signal.SIGCONT)
    _wait(nodes, lambda node: node.state != "frozen")


def is_gone(devnet: Devnet, country: str) -> bool:
    """Whether of a country's nodes none runs and no disk is left, as after a raid."""
    nodes = _of_country(devnet, country)
    return bool(nodes) and not any(node.state != "dead" or Path(node.data).exists() for node in nodes)


def _of_country(devnet: Devnet, country: str) -> list[DevNode]:
    return [node for node in devnet.nodes if node.country == country.upper()]


def raid(devnet: Devnet, country: str) -> list[DevNode]:
    """Kill a country's nodes and destroy their disks."""
    nodes = _of_country(devnet, country)
    if not nodes:
        known = ", ".join(sorted({node.country for node in devnet.nodes}))
        raise NotFoundError(f"no node claims country {country!r}", hint=f"countries: {known}")
    kill(nodes)
    for node in nodes:
        shutil.rmtree(node.data, ignore_errors=True)
    return nodes


def down(devnet: Devnet) -> None:
    """End every node and remove the network's folders."""
    send(devnet.nodes, signal.SIGCONT)
    send(devnet.nodes, signal.SIGTERM)
    if not _wait(devnet.nodes, lambda node: node.state == "dead"):
        kill(devnet.nodes)
    for node in devnet.nodes:
        shutil.rmtree(node.data, ignore_errors=True)
    (devnet.folder / _STATE).unlink(missing_ok=True)


def _wait(nodes: Sequence[DevNode], done: Callable[[DevNode], bool]) -> bool:
    """Wait until ``done`` holds for all; False after 5 seconds."""
    deadline = time.monotonic() + _STOP_SECONDS
    while not all(done(node) for node in nodes):
        for node in nodes:
            _reap(node.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _reap(pid: int) -> None:
    """Collect a child that ended, when it is ours: a command that did not start it has nothing to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, ValueError):
        return


def _process(pid: int) -> tuple[str, int]:
    """(state letter, start time) of a process; ("", 0) when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


async def everyone_knows(config: Config, nodes: Sequence[DevNode]) -> None:
    """Return once every node knows every other (or its 20 nearest, in a larger network).

    Raises:
        MachineError: That did not come about in time.
    """
    want = min(len(nodes) - 1, K)
    with trio.move_on_after(READY_SECONDS):
        async with open_client(config) as client:
            for node in nodes:
                while True:
                    contact = await client.dht.ping(_address(node))
                    if contact is not None:
                        known = await client.dht.known_by(contact, contact.node_id)
                        if len(known) >= want:
                            break
                    await trio.sleep(_POLL_SECONDS)
            return
    raise MachineError(f"the nodes did not find each other within {READY_SECONDS:.0f} s")


def _address(node: DevNode) -> Address:
    host, port = split_host_port(node.address)
    return Address(host, port)
