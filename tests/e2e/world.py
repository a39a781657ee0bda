"""Real processes: people who type commands, nodes in the background, local networks. All of them end with their test.

Every command's standard error is searched for tracebacks and for the links and keys that were printed so far; so is
every node's log when its network ends.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

from node import devnet as local
from node.intervals import Intervals
from protocol.links import Link, LinkKind, NameLink, parse_link

COMMAND = (sys.executable, "-P", "-m", "node.cli")
COMMAND_SECONDS = 60.0
"""More than any command may take on a busy machine."""

Json = dict[str, Any]

_secrets: set[str] = set()


def learn_secret(link: str) -> None:
    """From now on the word of ``link``, and the key in it, must not be seen where logs and messages go."""
    opened = parse_link(link)
    _secrets.add(link.partition(":")[2])
    if isinstance(opened, NameLink):
        _secrets.add(opened.read_key.hex())
        return
    assert isinstance(opened, Link)
    _secrets.add(opened.key.hex())
    if opened.kind is LinkKind.READ:
        _secrets.add(opened.verify_key.hex())


def check_no_secrets(text: str, where: str) -> None:
    """No link and no key stands in ``text``."""
    told = [secret[:8] for secret in _secrets if secret in text.lower()]
    assert not told, f"{where} tells secrets that begin with {told}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def fields(self) -> Json:
        """The one JSON object that is all of standard output."""
        lines = self.text.splitlines()
        assert len(lines) == 1, lines
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found


class Running:
    """A command under way."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def feed(self, data: bytes) -> None:
        """Write to its standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def finish(self, *, code: int, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> Result:
        """Wait for its end, and look at what it said."""
        out, err = self.process.communicate(stdin or None, timeout=seconds)
        result = Result(self.process.returncode, out or b"", (err or b"").decode(errors="replace"))
        check_result(result, code, self.process.args)
        return result

    def end(self) -> None:
        """End it if it still runs: first so that it can clean up, then for good."""
        if self.running:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def without_notes(err: str) -> str:
    """What a command said on standard error besides notes, such as that it has made an identity."""
    return "".join(line for line in err.splitlines(True) if not line.startswith("archipel: note: ")).lstrip("\n")


def check_result(result: Result, code: int, arguments: object) -> None:
    """The exit code is the one expected; nothing was said that never may be."""
    told = f"{arguments}\nexit code {result.code}, not {code}\n{result.out[-2000:]!r}\n{result.err}"
    assert result.code == code, told
    assert "Traceback" not in result.err, told
    assert ("this is a bug" in result.err) == (code == 1), told
    assert ("archipel: error: " in result.err) == (code > 0), told
    check_no_secrets(result.err, "standard error")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a home folder of their own, who knows whom to join by, or does not."""

    home: Path
    network: str = ""
    join: tuple[str, ...] = ()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Theirs: nothing of ours that archipel heeds."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIPEL_")}
        environment["ARCHIPEL_HOME"] = str(self.home)
        if self.network:
            environment["ARCHIPEL_NETWORK"] = self.network
        if self.join:
            environment["ARCHIPEL_JOIN"] = ",".join(self.join)
        return environment | dict(more or {})

    def run(
        self,
        *arguments: str | bytes | Path,
        code: int = 0,
        stdin: bytes = b"",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        """Run a command to its end; it must exit with ``code``."""
        with self.start(*arguments, cwd=cwd, env=env) as command:
            return command.finish(code=code, stdin=stdin, seconds=seconds)

    def json(
        self,
        *arguments: str | bytes | Path,
        code: int = 0,
        stdin: bytes = b"",
        cwd: Path | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Json:
        """Run a command with ``--json``; its result."""
        return self.run("--json", *arguments, code=code, stdin=stdin, cwd=cwd, seconds=seconds).fields

    def publish(self, *arguments: str | bytes | Path, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> Json:
        """``publish --json``, its links remembered as secrets."""
        published = self.json("publish", *arguments, stdin=stdin, seconds=seconds)
        for link in (published["link"], published["verify_link"]):
            learn_secret(link)
        return published

    @contextmanager
    def start(
        self,
        *arguments: str | bytes | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: IO[bytes] | int = subprocess.PIPE,
        stderr: IO[bytes] | int = subprocess.PIPE,
        within: Sequence[str] = (),
    ) -> Iterator[Running]:
        """Start a command, ``within`` another that becomes it; it has ended when the ``with`` does."""
        process = subprocess.Popen(
            [*within, *COMMAND, *map(os.fsencode, arguments)],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=self.environment(env),
            cwd=cwd,
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.end()


def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for something another process is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Net:
    """A local network that `devnet up` started."""

    folder: Path
    network: str
    join: tuple[str, ...]

    def person(self, home: Path) -> Person:
        """Somebody new who knows how to join."""
        return Person(home, self.network, self.join)

    @property
    def operator(self) -> Person:
        return Person(self.folder.parent / "operator", self.network, self.join)

    def devnet(self, *arguments: str, code: int = 0) -> Result:
        """`archipel devnet ...` for this network."""
        return self.operator.run("devnet", *arguments, "--dir", self.folder, code=code)

    @property
    def nodes(self) -> tuple[local.DevNode, ...]:
        return local.load(self.folder).nodes

    def node(self, name: str) -> local.DevNode:
        return next(node for node in self.nodes if node.name == name)

    def chunks(self) -> dict[str, dict[int, list[str]]]:
        """What lies on the nodes' disks: segment id -> index -> names of the nodes that hold the chunk."""
        found: dict[str, dict[int, list[str]]] = {}
        for node in self.nodes:
            for path in Path(node.data).glob("chunks/*/*"):
                segment, _, index = path.name.partition(".")
                if index != "leases":
                    found.setdefault(segment, {}).setdefault(int(index), []).append(node.name)
        return found

    def holders(self, segment: str) -> set[str]:
        """The names of the nodes that hold a chunk of a segment."""
        return {name for names in self.chunks().get(segment, {}).values() for name in names}

    def chunk_file(self, segment: str, index: int) -> Path:
        """Where a chunk lies."""
        (name,) = self.chunks()[segment][index]
        return Path(self.node(name).data) / "chunks" / segment[:2] / f"{segment}.{index}"

    def log(self, name: str) -> str:
        return (Path(self.node(name).data) / "log").read_text(errors="replace")


def root_of(link: str) -> str:
    """The id of a link's root segment."""
    opened = parse_link(link)
    assert isinstance(opened, Link)
    return opened.root.hex()


@contextmanager
def local_network(
    folder: Path,
    *,
    nodes: int = 12,
    countries: str = "FR,DE,NZ,IS",
    quota: str = "10GB",
    network: str = "",
    heals: bool = False,
) -> Iterator[Net]:
    """A local network; ended, with its folder removed, when the ``with`` is. ``heals``: while one looks on;
    else it is as slow to heal as a real one, and what a test breaks stays broken.
    """
    place = folder / "net"
    operator = Person(folder / "operator")
    if not heals:
        operator.home.mkdir(parents=True, exist_ok=True)
        (operator.home / "config.toml").write_text(Intervals().settings())
    try:
        options = ["--nodes", str(nodes), "--countries", countries, "--quota", quota, "--dir", str(place)]
        fields = operator.json("devnet", "up", *options, *(["--network", network] if network else []))
        yield Net(place, fields["network"], tuple(fields["join"]))
    finally:
        end_network(place)


def end_network(place: Path) -> None:
    """Kill what still runs of the network in ``place``, and look for secrets in what its nodes logged."""
    if not (place / "devnet.json").exists():
        return
    found = local.load(place)
    local.kill(found.nodes)
    logs = {node.name: Path(node.data) / "log" for node in found.nodes}
    told = {name: path.read_text(errors="replace") for name, path in logs.items() if path.exists()}
    local.down(found)
    for name, text in told.items():
        _check_log(text, f"the log of {name}")


def _check_log(text: str, where: str) -> None:
    """It tells no secret and of no bug: a node that ended by one may not be missed by anybody."""
    check_no_secrets(text, where)
    assert not any(word in text for word in ("Traceback", "this is a bug")), text


@dataclass(slots=True)
class NodeProcess:
    """A storage node started by `archipel node`."""

    process: "subprocess.Popen[bytes]"
    said: Json
    log: Path

    @property
    def address(self) -> str:
        return str(self.said["address"])

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()
        self.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.close()
        return code

    def close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass(slots=True)
class Nodes:
    """Starts storage nodes in one folder; they end with it."""

    folder: Path
    network: str = "islands"
    started: list[NodeProcess] = field(default_factory=list)

    def start(
        self, name: str, *more: str, join: Sequence[str] = (), listen: str = "127.0.0.1:0", within: Sequence[str] = ()
    ) -> NodeProcess:
        """Start a node, ``within`` a command that becomes it, and wait for its ready line."""
        data = self.folder / name
        data.mkdir(exist_ok=True)
        log = self.folder / f"{name}.log"
        arguments = ["--json", "node", "--listen", listen, "--http", "off", "--data", str(data), *more]
        with log.open("ab") as err:
            process = subprocess.Popen(
                [*within, *COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                env=Person(self.folder / "home", self.network, tuple(join)).environment(),
            )
        node = NodeProcess(process, {}, log)
        self.started.append(node)
        node.said = json.loads(_first_line(process, log))
        return node

    def person(self, name: str, *nodes: NodeProcess) -> Person:
        """Somebody who joins by these nodes."""
        return Person(self.folder / name, self.network, tuple(node.address for node in nodes))

    def end(self) -> None:
        """Kill those that still run; look at what all have logged."""
        for node in self.started:
            if node.process.poll() is None:
                node.kill()
            node.close()
        for log in {node.log for node in self.started}:
            _check_log(log.read_text(errors="replace"), f"the log {log.name}")


def _first_line(process: "subprocess.Popen[bytes]", log: Path) -> bytes:
    assert process.stdout is not None
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        assert selector.select(COMMAND_SECONDS), "the node did not start"
    line = process.stdout.readline()
    assert line, log.read_text(errors="replace")
    return line
