"""Publishes and fetches that are killed at random moments and run again: what that sends, and what is left lying about.

The moment is a share of the work, seen on disk, and a little time: so it lies in the midst of it on any machine.
"""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from node.store.chunkfile import ChunkFile, parse_name
from protocol.ids import SegmentId
from tests.e2e.freezing import bytes_below
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import COMMAND_SECONDS, Json, Net, check_no_secrets, learn_secret, until

LARGE = {"large": 20_000_000, "middling": 14_000_000, "small": 300_000, "inside/tiny": 1_000}
SMALL = {"large": 1_500_000, "inside/tiny": 1_000}
"""Files to publish: names and sizes."""

_EARLY = 0.25
"""The share of kills before any work can be seen, when home, journal and staging folder are made."""
_EARLY_SECONDS = 1.0
_LATER_SECONDS = 0.05
_POLL_SECONDS = 0.002
_MOST_OF_NEEDED = 1.5
"""n/k: a busy machine may have a fetch ask for every chunk of a segment."""
_SLACK_BYTES = 400_000
"""The root, and what is read of a segment to know it."""

_DIE_AT = """
import os, signal, sys
from importlib import import_module
module, _, path = sys.argv.pop(1).partition(":")
*owners, step = path.split(".")
owner = import_module(module)
for name in owners:
    owner = getattr(owner, name)
setattr(owner, step, lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL))
from node.cli import main
main()
"""

_Chunks = dict[tuple[SegmentId, int], Path]


@dataclass(frozen=True, slots=True)
class Killed:
    """A command that was killed and run again. All sizes are of chunks for a publish, of files for a fetch."""

    what: str
    share: float
    """Of the work that was seen to be done before the kill; below 0: none was waited for."""
    there: int
    """Bytes that were there after the kill."""
    moved: int
    """Bytes that the second run sent or received."""
    total: int
    """Bytes in all."""

    def __str__(self) -> str:
        there, moved, total = (f"{size / 1e6:4.1f} MB" for size in (self.there, self.moved, self.total))
        return f"{self.what:8} at {max(0.0, self.share):4.0%}  {there} there, {moved} moved then, {total} in all"


class _Somebody:
    """New to everything: with a home, a folder to work in, and one for temporary files."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.place = folder / "place"
        self._temporary = folder / "tmp"
        for made in (self.place, self._temporary):
            made.mkdir(parents=True)
        self._person = net.person(folder / "home")
        self._environment = {"TMPDIR": str(self._temporary)}

    @property
    def home(self) -> Path:
        return self._person.home

    def run(self, *arguments: str | Path) -> Json:
        """Run a command to its end; its result."""
        with self._person.start("--json", *arguments, cwd=self.place, env=self._environment) as command:
            return command.finish(code=0).fields

    def kill_at(self, step: str, *arguments: str | Path) -> None:
        """Run a command that dies when it comes to a step: ``module:Class.method``."""
        environment = self._person.environment(self._environment)
        command = [sys.executable, "-P", "-c", _DIE_AT, step, *map(str, arguments)]
        ended = subprocess.run(
            command, check=False, cwd=self.place, env=environment, capture_output=True, timeout=COMMAND_SECONDS
        )
        assert ended.returncode == -signal.SIGKILL, f"it never came to {step}\n{ended.stderr.decode()}"

    def kill(self, arguments: Sequence[str | Path], moment: Callable[[], bool], seconds: float) -> bool:
        """Run a command and kill it so long after the moment; whether it still ran."""
        with self._person.start("--json", *arguments, cwd=self.place, env=self._environment) as command:
            while command.running and not moment():
                time.sleep(_POLL_SECONDS)
            time.sleep(seconds)  # not to wait for anything: it is the moment that was drawn
            command.signal(signal.SIGKILL)
            out, err = command.process.communicate(timeout=COMMAND_SECONDS)
            check_no_secrets(err.decode(errors="replace"), "standard error")
            if command.process.returncode == 0 and arguments[0] == "publish":
                _learn(json.loads(out))
            return command.process.returncode == -signal.SIGKILL

    def leavings(self) -> set[str]:
        """All files there are, but for what was fetched."""
        top = self.place.parent
        found = {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() or path.parent != top}
        return {name for name in found if not name.startswith(("place/copy/", "home/deposits.sqlite-"))}


class ClientKills:
    """One folder that is published and fetched again and again, each time by somebody new."""

    def __init__(self, net: Net, folder: Path, files: Mapping[str, int], *, seed: int) -> None:
        """
        Args:
            net: Nodes; nobody else publishes there meanwhile.
            folder: For what is published, for homes and for copies.
            files: Names and sizes.
            seed: Of the moments.
        """
        self._net = net
        self._folder = folder
        self._random = random.Random(seed)
        self._serial = 0
        self._source = folder / "source"
        for number, (name, size) in enumerate(files.items()):
            write(self._source / name, random_bytes(number, size))
        self._content = snapshot(self._source)
        self._size = sum(files.values())
        publisher, reader = self._somebody(), self._somebody()
        published = publisher.run("publish", self._source)
        _learn(published)
        self._link = str(published["link"])
        self._chunk_count = int(published["chunks"])
        reader.run("fetch", self._link, "-o", "copy")
        self._published, self._fetched = publisher.leavings(), reader.leavings()

    def publish(self) -> Killed:
        """Kill a publish at a random moment, and run it again."""
        before, somebody, share = self._chunks(), self._somebody(), self._share()

        def moment() -> bool:
            return len(self._chunks().keys() - before.keys()) >= share * self._chunk_count

        if not somebody.kill(("publish", self._source), moment, self._delay(share)):
            return self.publish()  # it was too quick for us
        return self._publish_again(somebody, before, share)

    def publish_until(self, step: str) -> Killed:
        """Kill a publish when it comes to a step, and run it again."""
        before, somebody = self._chunks(), self._somebody()
        somebody.kill_at(step, "publish", self._source)
        return self._publish_again(somebody, before, -1.0)

    def _publish_again(self, somebody: _Somebody, before: _Chunks, share: float) -> Killed:
        there = _column_bytes(self._chunks(), before)
        said = somebody.run("publish", self._source)
        _learn(said)
        total = _column_bytes(self._chunks(), before)
        assert said["placed"] == said["chunks"] == self._chunk_count
        assert said["stored_bytes"] == total
        assert said["sent_bytes"] <= total - there, "what is there is not sent again"
        assert somebody.leavings() == self._published
        _check_journal(somebody.home / "deposits.sqlite")
        until(lambda: not any(any((Path(node.data) / "tmp").iterdir()) for node in self._net.nodes))
        return Killed("publish", share, there, int(said["sent_bytes"]), total)

    def fetch(self) -> Killed:
        """Kill a fetch at a random moment, and run it again."""
        somebody, share = self._somebody(), self._share()
        part = somebody.place / "copy.part"

        def moment() -> bool:
            return bytes_below(part) >= share * self._size

        if not somebody.kill(("fetch", self._link, "-o", "copy"), moment, self._delay(share)):
            return self.fetch()
        return self._fetch_again(somebody, share)

    def fetch_until(self, step: str) -> Killed:
        """Kill a fetch when it comes to a step, and run it again."""
        somebody = self._somebody()
        somebody.kill_at(step, "fetch", self._link, "-o", "copy")
        return self._fetch_again(somebody, -1.0)

    def _fetch_again(self, somebody: _Somebody, share: float) -> Killed:
        if (somebody.place / "copy").exists() and not (somebody.place / "copy.part").exists():
            assert snapshot(somebody.place / "copy") == self._content  # killed when all was done
            return Killed("fetch", share, self._size, 0, self._size)
        said = somebody.run("fetch", self._link, "-o", "copy")
        resumed, received = int(said["resumed_bytes"]), int(said["received_bytes"])
        assert snapshot(somebody.place / "copy") == self._content
        assert somebody.leavings() == self._fetched
        assert received <= (self._size - resumed) * _MOST_OF_NEEDED + _SLACK_BYTES
        return Killed("fetch", share, resumed, received, self._size)

    def _share(self) -> float:
        """Of the work; below 0 when the kill comes before any can be seen."""
        return -1.0 if self._random.random() < _EARLY else self._random.random()

    def _delay(self, share: float) -> float:
        """Seconds."""
        return self._random.uniform(0, _EARLY_SECONDS if share < 0 else _LATER_SECONDS)

    def _somebody(self) -> _Somebody:
        self._serial += 1
        return _Somebody(self._net, self._folder / f"somebody-{self._serial}")

    def _chunks(self) -> _Chunks:
        """What lies on the nodes' disks, whole."""
        found: _Chunks = {}
        for node in self._net.nodes:
            for path in Path(node.data).glob("chunks/*/*"):
                segment, index = parse_name(path.name) or (None, None)
                if segment is not None and index is not None:
                    found[segment, index] = path
        return found


def _learn(published: Json) -> None:
    for link in (published["link"], published["verify_link"]):
        learn_secret(link)


def _column_bytes(chunks: _Chunks, before: _Chunks) -> int:
    """Of the chunks that are new, without what their files say besides."""
    total = 0
    for segment, index in chunks.keys() - before.keys():
        path = chunks[segment, index]
        with closing(ChunkFile.open(path, segment, index)) as file:
            total += file.descriptor.layout.column_bytes(index)
    return total


def _check_journal(path: Path) -> None:
    """One publish, which has ended."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT finished FROM attempt").fetchall() == [(1,)]
        assert len(db.execute("SELECT root FROM deposit").fetchall()) == 1
