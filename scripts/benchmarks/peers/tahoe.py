"""Tahoe-LAFS 1.20 at 4 of 8 on 8 nodes, with each of its two storage protocols, beside ours at 4 of 8 on 8 nodes."""

import http.client
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.large import ROUNDS, make_file, publish_and_fetch
from scripts.benchmarks.localnet import local_network, same
from scripts.benchmarks.machine import MIB, cpu_seconds, memory_mb, ready_memory
from scripts.benchmarks.peers.environment import install
from scripts.benchmarks.processes import background
from scripts.benchmarks.table import Table, median, spread

_VERSION = "tahoe-lafs==1.20.0"
_K, _N, _HAPPY = 4, 8, 6
"""Servers that must get some: on a busy machine one in eight may be late with its answer."""
_LARGE_BYTES = 512 * MIB
"""From here on one round has to do: they take half a minute each way."""
_WARM_FILES = 23
_NOT_WARM_YET = 3
_UP_SECONDS = 150.0
_ANSWER_SECONDS = 240.0


def measure(table: Table, folder: Path, sizes: list[int]) -> None:
    home = folder / "tahoe"
    program = install(home / "environment", _VERSION) / "tahoe"
    with local_network(folder / "net-8", _N) as net:
        for size in sizes:
            publish_and_fetch(table, net, make_file(folder, size, k=_K, n=_N))
    shutil.rmtree(folder / "net-8")
    for protocol in ("HTTP", "Foolscap"):
        began = time.perf_counter()
        with _grid(program, home / protocol, foolscap=protocol == "Foolscap") as grid:
            table.add(f"Tahoe, {protocol}: {_N} nodes up", time.perf_counter() - began, "s")
            _one_by_one(table, grid, protocol)
            for size in sizes:
                _one_file(table, grid, protocol, make_file(folder, size).source)
        shutil.rmtree(home / protocol)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Nodes that know each other."""

    port: int
    """Of the client's web interface."""
    client: int
    nodes: tuple[int, ...]
    """Pids."""
    connected: str
    """How the status of a connection begins that speaks the wanted protocol."""

    def put(self, body: Path) -> str:
        """Upload a file; returns its capability."""
        with body.open("rb") as handle:
            return self._ask("PUT", "/uri", handle).decode()

    def get(self, capability: str, copy: Path) -> None:
        connection = self._connection()
        connection.request("GET", f"/uri/{capability}")
        reply = connection.getresponse()
        with copy.open("wb") as handle:
            shutil.copyfileobj(reply, handle, MIB)
        connection.close()

    def servers(self) -> int:
        """How many storage servers the client is connected to by the wanted protocol, and has asked for their room."""
        try:
            servers = json.loads(self._ask("GET", "/?t=json"))["servers"]
        except OSError:  # it does not listen yet
            return 0
        return sum(
            server["connection_status"].startswith(self.connected) and server["available_space"] is not None
            for server in servers
        )

    def _ask(self, method: str, path: str, body: object = None) -> bytes:
        connection = self._connection()
        connection.request(method, path, body, {"Accept": "text/plain"})  # type: ignore[arg-type]  # a file, or nothing
        reply = connection.getresponse()
        told = reply.read()
        connection.close()
        if reply.status >= 300:
            raise SystemExit(f"Tahoe-LAFS said {reply.status}: {told[-500:].decode(errors='replace')}")
        return told

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS, blocksize=MIB)


@contextmanager
def _grid(program: Path, home: Path, *, foolscap: bool) -> Iterator[_Grid]:
    """An introducer, 8 storage nodes and a client."""
    home.mkdir()
    with ExitStack() as stack:

        def run(name: str) -> int:
            return stack.enter_context(background([str(program), "run", str(home / name)], home / f"{name}.log")).pid

        _write_node(home / "introducer", "introducer")
        run("introducer")
        furl = _wait_for(home / "introducer" / "private" / "introducer.furl")
        for number in range(_N):
            _write_node(home / f"storage-{number}", "client", furl, foolscap=foolscap, storage=True)
        nodes = tuple(run(f"storage-{number}") for number in range(_N))
        port = _write_node(home / "client", "client", furl, foolscap=foolscap)
        grid = _Grid(port, run("client"), nodes, "Connected to tcp" if foolscap else "connected")
        deadline = time.monotonic() + _UP_SECONDS
        while grid.servers() < _N:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {grid.servers()} Tahoe-LAFS nodes came up")
            time.sleep(0.1)
        yield grid


def _write_node(home: Path, kind: str, furl: str = "", *, foolscap: bool = False, storage: bool = False) -> int:
    """A node's folder, as ``tahoe create-node`` makes it; returns the port of its web interface (a client's)."""
    (home / "private").mkdir(parents=True)
    (home / f"tahoe-{kind}.tac").touch()
    port, web = _free_port(), _free_port()
    text = f"[node]\ntub.port = tcp:{port}:interface=127.0.0.1\ntub.location = tcp:127.0.0.1:{port}\n"
    if kind == "client":
        if not storage:
            text += f"web.port = tcp:{web}:interface=127.0.0.1\n"
        shares = f"shares.needed = {_K}\nshares.happy = {_HAPPY}\nshares.total = {_N}\n"
        text += f"[client]\n{shares}force_foolscap = {foolscap}\n"
        text += f"[storage]\nenabled = {storage}\nforce_foolscap = {foolscap}\n"
        (home / "private" / "introducers.yaml").write_text(f"introducers:\n  one:\n    furl: {furl}\n")
    (home / "tahoe.cfg").write_text(text)
    return web


def _free_port() -> int:
    """Tahoe-LAFS takes no port 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + _UP_SECONDS
    while not (path.exists() and path.read_text().endswith("\n")):
        if time.monotonic() > deadline:
            raise SystemExit("the Tahoe-LAFS introducer did not start")
        time.sleep(0.05)
    return path.read_text().strip()


def _one_by_one(table: Table, grid: _Grid, protocol: str) -> None:
    up, down = [], []
    with tempfile.TemporaryDirectory() as place:
        source, copy = Path(place) / "file", Path(place) / "copy"
        for _ in range(_WARM_FILES):
            source.write_bytes(os.urandom(10 * 1024))
            began = time.perf_counter()
            capability = grid.put(source)
            middle = time.perf_counter()
            grid.get(capability, copy)
            up.append(middle - began)
            down.append(time.perf_counter() - middle)
            same(source, copy)
    table.add(f"Tahoe, {protocol}: 10 KiB, publish", median(up[_NOT_WARM_YET:]) * 1000, "ms")
    table.add(f"Tahoe, {protocol}: 10 KiB, fetch", median(down[_NOT_WARM_YET:]) * 1000, "ms")


def _one_file(table: Table, grid: _Grid, protocol: str, source: Path) -> None:
    size = source.stat().st_size
    costs: dict[str, list[_Cost]] = {"publish": [], "fetch": []}
    for _ in range(1 if size >= _LARGE_BYTES else ROUNDS):
        with source.open("r+b") as handle:  # it would find again what it has
            handle.write(os.urandom(32))
        copy = source.with_name("tahoe-copy")
        with ready_memory(size * _N // _K + size), _cost(grid, costs["publish"]):
            capability = grid.put(source)
        with ready_memory(2 * size), _cost(grid, costs["fetch"]):
            grid.get(capability, copy)
        same(source, copy)
        copy.unlink()
    gib = size / (1024 * MIB)
    for what, found in costs.items():
        rates = [size / 1e6 / cost.seconds for cost in found]
        table.add(f"Tahoe, {protocol}: {what} {size // MIB} MiB", median(rates), "MB/s", f"({spread(rates)})")
        client, nodes = median([cost.client for cost in found]) / gib, median([cost.nodes for cost in found]) / gib
        table.add("  CPU s per GiB: client", client, "s", f"all nodes {nodes:.2f}, mean node {nodes / _N:.2f}")
    table.add("  peak memory of the client so far", memory_mb(grid.client, "VmHWM"), "MB",
              f"largest node {max(memory_mb(pid, 'VmHWM') for pid in grid.nodes):.0f}")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    client: float
    """CPU seconds, as those of all nodes."""
    nodes: float


@contextmanager
def _cost(grid: _Grid, costs: list[_Cost]) -> Iterator[None]:
    client, nodes, began = cpu_seconds(grid.client), sum(map(cpu_seconds, grid.nodes)), time.perf_counter()
    yield
    took = time.perf_counter() - began
    costs.append(_Cost(took, cpu_seconds(grid.client) - client, sum(map(cpu_seconds, grid.nodes)) - nodes))
