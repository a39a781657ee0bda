"""No step of any task works for long in an event loop: the switch that tells is on, at every node and every command.

What it says of steps that stood still is not judged here: on two cores with fifteen busy processes a worker thread is
sent off its core while it holds the interpreter, and the loop waits for it.
"""

import random
import re
from pathlib import Path

from node.slowsteps import SLOW_SECONDS, SWITCH
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Json, Net, Person, end_network, learn_secret

LARGE_BYTES = 33 << 20
"""Three segments: so many are on their way at once."""
SMALL_FILES = 2000
NODES = 8
ROUNDS = 3
ON = {SWITCH: "1"}

_TOLD = re.compile(r"slow step of .*: (from .* to .*): busy for (\d+) ms")


class Watched:
    """Somebody whose commands tell their slow steps."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.slow: set[str] = set()

    def __call__(self, *arguments: str | Path) -> Json:
        result = self._person.run("--json", *arguments, env=ON)
        self.take(str(arguments[0]), result.err)
        return result.fields

    def take(self, who: str, log: str) -> None:
        """Note where slow steps began and ended; tasks and times differ from run to run."""
        told = ((found[1], int(found[2])) for found in _TOLD.finditer(log))
        self.slow |= {f"{who}: {place}" for place, busy_ms in told if busy_ms > SLOW_SECONDS * 1e3}


def test_no_step_works_for_long(tmp_path: Path) -> None:
    """A step that works for long does so every time; one that did so once was disturbed (a virtual core is lent out,
    the kernel works for others in our name). So what one round tells counts if the next ones, on new networks, do too.
    """
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(random_bytes(1, LARGE_BYTES))
    chance = random.Random(2)
    for number in range(SMALL_FILES):
        write(small / f"{number % 40}" / f"{number}", chance.randbytes(chance.randrange(1024, 20 * 1024)))
    slow = _round(tmp_path / "0", large, small)
    for number in range(1, ROUNDS):
        if slow:
            slow &= _round(tmp_path / f"{number}", large, small)
    assert not slow


def _round(folder: Path, *sources: Path) -> set[str]:
    """Publish, fetch, check and publish again, on a network of its own; the slow steps of all who took part."""
    place = folder / "net"
    operator = Watched(Person(folder / "operator"))
    try:
        told = operator("devnet", "up", "--nodes", f"{NODES}", "--dir", place)
        net = Net(place, told["network"], tuple(told["join"]))
        somebody = Watched(net.person(folder / "home"))
        for source in sources:
            published = somebody("publish", source)
            learn_secret(published["link"])
            copy = folder / source.name
            somebody("fetch", published["link"], "-o", copy)
            assert snapshot(copy) == snapshot(source)
            assert somebody("check", published["link"])["healthy"]
            assert somebody("publish", source)["sent_bytes"] == 0
        for node in net.nodes:
            somebody.take("node", net.log(node.name))
        return operator.slow | somebody.slow
    finally:
        end_network(place)
