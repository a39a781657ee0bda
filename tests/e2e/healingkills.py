"""A network that heals while its nodes are killed, and what lies on its disks when all of it has come to rest.

Deposits are published, deleted and left to expire, nodes leave and are killed while they do: everything at once, in an
order that a seed draws. What was acknowledged has to be there in the end, each chunk once, and nothing else.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from node.intervals import Intervals
from node.store.chunkfile import Paths, parse_name
from node.store.chunkstore import ChunkStore
from protocol.identity import Network
from tests.e2e.storefiles import compare_files
from tests.e2e.trees import Snapshot, snapshot, write
from tests.e2e.world import Json, NodeProcess, Nodes, Running, learn_secret, until
from tests.node.builders import files_charge

INTERVALS = Intervals(
    ping=1, survey=3, audit=10, scrub=10, announce=30, grace=2, short_grace=1, rank=1, tick=1, trash=1, repair_rate=1e8
)
COUNTRIES = ("FR", "DE", "NZ", "IS")
SHARES = "2/4"
QUOTA_BYTES = 10**9
LARGEST_BYTES = 1_500_000

_PAUSE_SECONDS = 0.4
"""Between two things that are done, half of it or up to one and a half times as much."""
_AWAY_SECONDS = 6.0
"""The longest time a killed node stays away: long enough for others to rebuild what it held."""
_AT_ONCE = 3
"""Commands side by side."""
_SHORT, _SHORT_LEASE_SECONDS = 0.25, 8
"""The share of deposits whose lease ends soon, and when."""
_REST_SECONDS = 120.0
_DONE, _NOT_NOW = 0, (3, 4, 5)
"""How commands may end while nodes are killed: network, refusal, nobody there."""


@dataclass(slots=True, eq=False)
class _Island:
    """One node, running or dead; its disk stays."""

    name: str
    country: str
    process: NodeProcess | None = None
    address: str = ""
    back_at: float = 0.0
    leaving: bool = False


@dataclass(slots=True, eq=False)
class _Deposit:
    """Something to publish, and how far it has come."""

    source: Path
    content: Snapshot
    lease: str
    link: str = ""
    """Of what was acknowledged."""
    unwanted: bool = False
    """Its deletion has begun."""
    deleted: bool = False
    """And was acknowledged."""
    ends: float = float("inf")
    busy: bool = False


@dataclass(slots=True)
class _Job:
    """A command under way."""

    what: str
    running: Running
    deposit: _Deposit | None = None
    island: _Island | None = None


@dataclass(slots=True)
class Seen:
    """What there was of everything."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what the node, or somebody, was doing then."""
    done: Counter[str] = field(default_factory=Counter)
    """Commands that were acknowledged, by name."""
    failed: Counter[str] = field(default_factory=Counter)
    """Those that ended with an error, as they may."""
    rest_seconds: float = 0.0
    """How long it took until every chunk was where it should be."""

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        failed = ", ".join(f"{count} {what}" for what, count in sorted(self.failed.items())) or "none"
        return (
            f"{self.kills.total()} kills ({kills}); done: {done}; failed and done later: {failed}; "
            f"at rest after {self.rest_seconds:.0f} s"
        )


class HealingKills:
    """Nodes that heal each other's chunks, and are killed."""

    def __init__(self, nodes: Nodes, *, seed: int, seconds: float, count: int) -> None:
        """
        Args:
            nodes: Where they are started.
            seed: Of what is done, and when.
            seconds: How long; what comes to an end afterwards takes as long as it takes.
            count: Nodes, at least 4: two may be away at once.
        """
        self.seen = Seen()
        self._nodes = nodes
        self._random = random.Random(seed)
        self._seconds = seconds
        self._islands = [_Island(f"node-{n}", COUNTRIES[n % len(COUNTRIES)]) for n in range(count)]
        self._deposits: list[_Deposit] = []
        self._jobs: list[_Job] = []
        self._stack = ExitStack()
        home = nodes.folder / "home"
        home.mkdir()
        (home / "config.toml").write_text(INTERVALS.settings())

    def run(self) -> None:
        """The storm, and the look at what is left."""
        with self._stack:
            self._start(self._islands[0])
            self._start_all(self._islands[1:])
            self._leave_once_killed()
            ends = time.monotonic() + self._seconds
            while time.monotonic() < ends:
                self._step()
                time.sleep(_PAUSE_SECONDS * self._random.uniform(0.5, 1.5))  # the moments are what is drawn
            self._come_to_rest()
        self._look()

    # Nodes

    def _start(self, island: _Island) -> None:
        others = [other.address for other in self._islands if other.address and other is not island]
        options = ("--country", island.country, "--quota", f"{QUOTA_BYTES}", "--depositor-share", "100%")
        listen = island.address or "127.0.0.1:0"
        island.process = self._nodes.start(island.name, *options, join=others, listen=listen)
        island.address = island.process.address
        island.leaving = False

    def _start_all(self, islands: Sequence[_Island]) -> None:
        """Side by side: most of it is waiting for processes."""
        with ThreadPoolExecutor(max(1, len(islands))) as pool:
            for _ in pool.map(self._start, islands):
                continue

    def _kill(self, island: _Island) -> None:
        assert island.process is not None
        doing = sorted({job.what for job in self._jobs if job.what != "leave"}) or ["healing"]
        self.seen.kills["leaving" if island.leaving else f"beside {' and '.join(doing)}"] += 1
        island.process.kill()
        island.process = None
        island.back_at = time.monotonic() + self._random.uniform(0, _AWAY_SECONDS)

    def _running(self) -> list[_Island]:
        return [island for island in self._islands if island.process is not None]

    def _restart(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        self._start_all([it for it in self._islands if it.process is None and (all_of_them or now >= it.back_at)])

    # What is done meanwhile

    def _step(self) -> None:
        """One thing that is drawn, and whatever has come to its end."""
        self._collect()
        self._see_who_stopped()
        self._restart()
        act = self._random.choices((self._strike, self._publish, self._delete, self._leave), (6, 3, 1, 1))[0]
        act()

    def _strike(self) -> None:
        """Kill a node: rather one that leaves."""
        running = self._running()
        if len(running) > len(self._islands) - 2:
            self._kill(next((island for island in running if island.leaving), self._random.choice(running)))

    def _publish(self, *, lasting: bool = False) -> None:
        number = len(self._deposits)
        source = self._nodes.folder / f"file-{number}"
        write(source, self._random.randbytes(int(LARGEST_BYTES ** self._random.uniform(0.6, 1.0))))
        short = not lasting and self._random.random() < _SHORT
        deposit = _Deposit(source, snapshot(source), f"{_SHORT_LEASE_SECONDS}s" if short else "180d")
        if len(self._jobs) < _AT_ONCE:
            self._deposits.append(deposit)
            self._begin_publish(deposit)
            if short:
                deposit.ends = time.time() + 2 * _SHORT_LEASE_SECONDS  # it has begun by then, or never will

    def _begin_publish(self, deposit: _Deposit) -> None:
        arguments = ("publish", str(deposit.source), "--shares", SHARES, "--lease", deposit.lease)
        self._begin("publish", *arguments, deposit=deposit)

    def _delete(self) -> None:
        able = [deposit for deposit in self._deposits if deposit.link and not deposit.unwanted]
        if len(able) > 2 and len(self._jobs) < _AT_ONCE:
            deposit = self._random.choice(able)
            if deposit.ends == float("inf"):
                deposit.unwanted = True
                self._begin("delete", "delete", deposit.link, deposit=deposit)

    def _leave(self) -> None:
        running = self._running()
        if not any(island.leaving for island in running) and len(running) >= len(self._islands) - 1:
            self._begin_leave(self._random.choice(running))

    def _begin_leave(self, island: _Island) -> None:
        island.leaving = True
        self._begin("leave", "node", "leave", "--data", str(self._nodes.folder / island.name), island=island)

    def _begin(
        self, what: str, *arguments: str, deposit: _Deposit | None = None, island: _Island | None = None
    ) -> None:
        alice = self._nodes.person("alice", *[found.process for found in self._running() if found.process])
        running = self._stack.enter_context(alice.start("--json", *arguments))
        if deposit is not None:
            deposit.busy = True
        self._jobs.append(_Job(what, running, deposit, island))

    def _collect(self, *, wait: bool = False) -> None:
        """See how commands have ended; ``wait`` for those that have not."""
        for job in list(self._jobs):
            if wait:
                until(lambda job=job: not job.running.running, seconds=60.0)  # type: ignore[misc]  # bound at once
            if not job.running.running:
                self._jobs.remove(job)
                self._ended(job)

    def _ended(self, job: _Job) -> None:
        code = job.running.process.returncode
        result = job.running.finish(code=code)
        assert code == _DONE or code in _NOT_NOW, result
        (self.seen.failed if code else self.seen.done)[job.what] += 1
        if job.deposit is not None:
            job.deposit.busy = False
            if code == _DONE and job.what == "publish":
                self._published(job.deposit, result.fields)
            job.deposit.deleted |= code == _DONE and job.what == "delete"
        if job.island is not None:
            self._left(job.island, result.fields if code == _DONE else None)

    def _published(self, deposit: _Deposit, said: Json) -> None:
        for link in (said["link"], said["verify_link"]):
            learn_secret(link)
        deposit.link = said["link"]

    def _left(self, island: _Island, told: Json | None) -> None:
        """A node that has handed everything on holds nothing, and stops; the same folder becomes a new one."""
        if told is not None:
            assert told["left"] == 0
            if island.process is not None:  # else it was killed as it had done all but stop
                island.process.process.wait(20)
            assert not self._held(island), "what it said it had handed on"
        self._see_who_stopped()

    def _see_who_stopped(self) -> None:
        """Only those who were told to leave."""
        for island in self._running():
            assert island.process is not None
            code = island.process.process.poll()
            if code is not None:
                assert (code, island.leaving) == (0, True), island.process.log.read_text()
                island.process.close()
                island.process = None
                island.back_at = 0.0

    def _leave_once_killed(self) -> None:
        """A node that leaves is killed in the midst of it; started again, it goes on to the end."""
        self._publish(lasting=True)
        self._collect(wait=True)
        held = {island.name: len(self._held(island)) for island in self._islands}
        island = max(self._islands, key=lambda island: held[island.name])
        self._begin_leave(island)
        until(lambda: len(self._held(island)) < held[island.name])  # the first has been handed on
        if island.process is not None and island.process.process.poll() is None:
            self._kill(island)
        self._collect(wait=True)
        self._restart(all_of_them=True)
        self._begin_leave(island)
        self._collect(wait=True)

    # The end

    def _come_to_rest(self) -> None:
        """Everybody is back; what has failed is done again; then each chunk is where it should be, within a bound."""
        self._collect(wait=True)
        self._restart(all_of_them=True)
        for deposit in self._deposits:
            if not deposit.link and deposit.ends == float("inf"):
                self._begin_publish(deposit)
                self._collect(wait=True)
                assert deposit.link, "what failed in the storm is done in the calm"
            elif deposit.unwanted and not deposit.deleted:
                self._begin("delete", "delete", deposit.link, deposit=deposit)
                self._collect(wait=True)
        began = time.monotonic()
        alice = self._nodes.person("alice", *[found.process for found in self._running() if found.process])
        live = [deposit for deposit in self._deposits if not deposit.unwanted and deposit.ends == float("inf")]
        wanted: dict[str, int] = {}
        for deposit in live:
            for segment in alice.json("check", deposit.link)["segments"]:
                wanted[segment["id"]] = segment["n"]
        while wrong := self._difference(wanted):
            assert time.monotonic() < began + _REST_SECONDS, wrong
            time.sleep(_PAUSE_SECONDS)
        self.seen.rest_seconds = time.monotonic() - began
        bob = self._nodes.person("bob", *[found.process for found in self._running() if found.process])
        for number, deposit in enumerate(live):
            copy = self._nodes.folder / f"copy-{number}"
            bob.run("fetch", deposit.link, "-o", copy)
            assert snapshot(copy) == deposit.content
        for island in self._running():
            assert island.process is not None
            assert island.process.stop() == 0

    def _difference(self, wanted: dict[str, int]) -> dict[str, int]:
        """Chunk -> how many disks hold it, of all that are not on the one disk, or none, where they should be."""
        found = Counter(chunk for island in self._islands for chunk in self._held(island))
        expected = Counter(f"{segment}.{index}" for segment, n in wanted.items() for index in range(n))
        return {chunk: found[chunk] for chunk in found.keys() | expected.keys() if found[chunk] != expected[chunk]}

    def _held(self, island: _Island) -> list[str]:
        """What lies on a node's disk, whole: SEGMENT.INDEX of each chunk."""
        names = [path.name for path in (self._nodes.folder / island.name).glob("chunks/*/*")]
        return [name for name in names if (parse_name(name) or (None, None))[1] is not None]

    def _look(self) -> None:
        """Inside every store, now that nobody runs."""
        for island in self._islands:
            folder = self._nodes.folder / island.name
            compare_files(Paths(folder))
            store = ChunkStore.open(
                folder, quota_bytes=QUOTA_BYTES, network=Network(self._nodes.network), wall_clock=time.time
            )
            assert store.used_bytes == files_charge(folder)
            after = (b"", 0)
            while page := store.holdings(after, 100, trash=True):
                after = (page[-1].segment, page[-1].index)
                assert all(store.scrub(chunk.segment, chunk.index) for chunk in page)
            store.close()
