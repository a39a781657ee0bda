"""The local network that is measured, and the people who use it through the command line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.intervals import Intervals
from scripts.benchmarks.machine import cpu_seconds
from scripts.benchmarks.processes import Run, Started


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a home of their own: who publishes the same bytes in two homes publishes them twice."""

    home: Path
    network: str = ""
    join: tuple[str, ...] = ()

    def start(self, *arguments: object) -> Started:
        """Start an archipel command."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIPEL_")}
        environment["ARCHIPEL_HOME"] = str(self.home)
        if self.join:
            environment |= {"ARCHIPEL_NETWORK": self.network, "ARCHIPEL_JOIN": ",".join(self.join)}
        return Started([sys.executable, "-P", "-m", "node.cli", *map(str, arguments)], environment)

    def run(self, *arguments: object) -> Run:
        return self.start(*arguments).finish()


@dataclass(frozen=True, slots=True)
class Work:
    """One command, and what the nodes did for it."""

    run: Run
    node_cpu_seconds: tuple[float, ...]


class Localnet:
    """A running network, and the folder in which everything about it lies."""

    def __init__(self, folder: Path, up: Run) -> None:
        self.folder = folder
        self.up_seconds = up.process_seconds
        fields = up.fields
        join, nodes = fields["join"], fields["nodes"]
        assert isinstance(join, list)
        assert isinstance(nodes, list)
        self.network, self.join = str(fields["network"]), tuple(map(str, join))
        self.pids: tuple[int, ...] = tuple(node["pid"] for node in nodes)
        self._people = self._links = 0

    def person(self) -> Person:
        """Somebody new, who has never done anything here."""
        self._people += 1
        return Person(self.folder / f"person-{self._people}", self.network, self.join)

    def cpu_seconds(self) -> list[float]:
        return [cpu_seconds(pid) for pid in self.pids]

    def work(self, person: Person, *arguments: object) -> Work:
        """Run a command and see what it costs the nodes."""
        before = self.cpu_seconds()
        run = person.run(*arguments)
        return Work(run, tuple(now - then for then, now in zip(before, self.cpu_seconds(), strict=True)))

    def note_link(self, run: Run) -> str:
        """Put the link a publish printed into a file; returns the argument that names it."""
        self._links += 1
        path = self.folder / f"link-{self._links}"
        path.write_text(str(run.fields["link"]))
        return f"@{path}"

    @contextmanager
    def frozen(self, pids: Sequence[int]) -> Iterator[None]:
        """Stop nodes in their tracks for a while."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def local_network(folder: Path, nodes: int) -> Iterator[Localnet]:
    """A network of real node processes; ended, whatever happens."""
    folder.mkdir()
    owner = Person(folder / "owner")
    settings = folder / "owner" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(Intervals().settings())  # a local network's own are short, so that one can watch it heal
    up = owner.run("devnet", "up", "--nodes", nodes, "--quota", "40GB", "--json")
    try:
        yield Localnet(folder, up)
    finally:
        owner.run("devnet", "down")


def same(left: Path, right: Path) -> None:
    """Compare two files or folders, byte by byte.

    Raises:
        SystemExit: They differ.
    """
    if subprocess.run(["diff", "-rq", str(left), str(right)], check=False).returncode:
        raise SystemExit(f"{right.name} is not what was published")
