"""Commands while nodes stand still: how long they take beside the same commands undisturbed.

The moment is a share of the work, seen on disk, and not a time: so it lies in the midst of it on any machine.
"""

import filecmp
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node import devnet as local
from tests.e2e.world import COMMAND_SECONDS, Json, Net, Person, Running, learn_secret

FROZEN = 3
"""Of twelve nodes, at the default 8 of 12: one less than what a deposit survives."""

_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Took:
    """One command, undisturbed and disturbed."""

    what: str
    share: float
    """Of the work that was done when the nodes froze."""
    calm: float
    """Seconds."""
    disturbed: float
    """Seconds."""

    @property
    def cost(self) -> float:
        """Seconds that the disturbance took."""
        return self.disturbed - self.calm

    def __str__(self) -> str:
        when = f"at {self.share:3.0%}"
        return f"{self.what:8} {when}  calm {self.calm:5.2f} s  disturbed {self.disturbed:5.2f} s  {self.cost:+5.2f} s"


class Freezer:
    """Publishes and fetches one file on a network whose nodes it freezes."""

    def __init__(self, net: Net, folder: Path, source: Path, seed: int) -> None:
        """
        Args:
            net: Twelve nodes; nobody else uses them.
            folder: For homes and copies.
            source: The file to publish.
            seed: Of which nodes freeze, and when.
        """
        self._net = net
        self._folder = folder
        self._source = source
        self._random = random.Random(seed)
        self._serial = 0

    def publish(self) -> Took:
        """Publish twice, the second time with nodes frozen in its midst."""
        calm, _ = self._published(None)
        share = self._share()
        disturbed, _ = self._published(share)
        return Took("publish", share, calm, disturbed)

    def fetch(self, link: str) -> Took:
        """Fetch twice, the second time with nodes frozen in its midst."""
        calm = self._fetched(link, None)
        share = self._share()
        return Took("fetch", share, calm, self._fetched(link, share))

    def check(self, link: str) -> Took:
        """Check twice, the second time with nodes frozen before it begins: it is too short to have a midst."""
        calm = self._checked(link)
        with self._frozen():
            return Took("check", 0.0, calm, self._checked(link))

    def link(self) -> str:
        """Publish undisturbed; the link."""
        return self._published(None)[1]

    def _share(self) -> float:
        return self._random.uniform(0.05, 0.9)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        nodes = self._random.sample(self._net.nodes, FROZEN)
        local.freeze(nodes)
        try:
            yield
        finally:
            local.thaw(nodes)

    def _person(self) -> Person:
        self._serial += 1
        return self._net.person(self._folder / f"person-{self._serial}")

    def _published(self, share: float | None) -> tuple[float, str]:
        """Seconds, and the link. Every publisher seals with a secret of its own: nothing is there already."""
        before = self._stored()
        want = self._source.stat().st_size * 3 // 2
        with self._person().start("--json", "publish", self._source) as publish:
            said = self._run(publish, share, lambda: (self._stored() - before) / want)
        learn_secret(said["link"])
        assert said["placed"] == said["chunks"]
        return said["seconds"], said["link"]

    def _fetched(self, link: str, share: float | None) -> float:
        person = self._person()
        copy = self._folder / "copy"
        want = self._source.stat().st_size
        with person.start("--json", "fetch", link, "-o", copy) as fetch:
            said = self._run(fetch, share, lambda: bytes_below(copy.with_name("copy.part") / "content") / want)
        assert filecmp.cmp(copy, self._source, shallow=False)
        copy.unlink()
        return float(said["seconds"])

    def _checked(self, link: str) -> float:
        began = time.monotonic()
        self._person().json("check", link, seconds=2 * COMMAND_SECONDS)
        return time.monotonic() - began

    def _run(self, command: Running, share: float | None, done: Callable[[], float]) -> Json:
        """See a command through; nodes are frozen once it has done its share, until it ends."""
        if share is None:
            return command.finish(code=0, seconds=2 * COMMAND_SECONDS).fields
        while command.running and done() < share:
            time.sleep(_POLL_SECONDS)
        assert command.running, f"it ended before {share:.0%} of it were seen to be done"
        with self._frozen():
            return command.finish(code=0, seconds=2 * COMMAND_SECONDS).fields

    def _stored(self) -> int:
        """Bytes of chunks on the nodes' disks."""
        return sum(bytes_below(Path(node.data) / "chunks") for node in self._net.nodes)


def bytes_below(folder: Path) -> int:
    """What the files in ``folder`` take of the disk: those that are written in any order grow from the first byte."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # renamed or removed just now
    return total
