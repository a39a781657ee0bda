"""One run of publish and fetch on a whole network in trouble, from one seed, and what must be true of it.

In calm weather Alice publishes. Then a storm breaks: meanwhile Bob publishes and Carol fetches. It passes, and
everything is tried again by somebody new: the network must be as good as if nothing had happened. Whatever cannot be
done has to end with the error that fits what was wrong, within its bound.
"""

import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import Random

import trio
from trio.testing import MockClock

from node.errors import NodeError
from node.progress import Progress
from node.publishing.publish import Published
from node.store.quota import HEADROOM_BYTES
from protocol.ids import Address
from protocol.segment import BLOCK_BYTES
from tests.network.archipelago import COUNTRIES, Archipelago, User, archipelago, failure
from tests.network.frauds import FRAUDS, Fraud
from tests.network.holder import Holder, holder
from tests.network.leaks import counting, leaks
from tests.network.verdict import Deposit, Judge, Outcome
from tests.network.weather import Weather

NODES = 60
SIZES = (1000, 70_000, BLOCK_BYTES, 5 * BLOCK_BYTES, 9 * BLOCK_BYTES, 20 * BLOCK_BYTES, 130 * BLOCK_BYTES)
SHARES = (0.1, 0.2, 0.2, 0.35, 0.35, 0.6, 0.9)
"""Of the nodes, how many are in trouble at once."""
PAUSES = (0.03, 0.2, 1.0)
BANDWIDTH = 1_000_000
"""Bytes per second of what a node sends on one stream: so that a fetch takes long enough for something to happen."""
DSL = 500_000
"""Bytes per second of a user's line that is slow: no excuse for anything."""
FETCH_SILENCE = 15.0 + 5.0 + 1.0
"""A fetch ends 15 s after the last verified block; a lookup may follow, to see whether anybody is there at all."""
FETCH_SECONDS = 240.0
"""In all: some such silences one after the other, and what a slow line takes."""
PUBLISH_SILENCE = 15.0 + 3.0 + 3 * 5.0 + 1.0
"""A publish ends 15 s after the last byte that anybody took. Between two segments, nothing is sent for an announcement
(3 s), the next lookup (5 s), and twice for records of nodes that cannot be dialled (5 s each)."""
PUBLISH_SECONDS = 240.0
"""Content and root, each: a lookup (5 s), records asked for twice (5 s each), what is there (4 questions of 5 s), puts
until all who stall are left out (5 s each, at least 4 at a time, of at most 60), 15 s without a byte that anybody
takes, an announcement (3 s)."""
RECOVERY_SECONDS = 150.0
"""Longer than a peer that struck out is left alone (``dht.calls.STRUCK_OUT_SECONDS``)."""
QUIET_SECONDS = 200.0
"""Longer than a connection without a request is kept (``node.serving.serve.IDLE_SECONDS``)."""


class Trace:
    """A digest of everything that happened, and when: two runs of one seed have the same."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)
        self.events = 0
        self._sent_at: dict[str, float] = {}
        self._silences: dict[str, float] = {}

    def datagram(self, data: bytes, source: Address, to: Address) -> None:
        self.note("datagram", source, to, blake2b(data, digest_size=8).hexdigest())

    def piece(self, data: bytes, source: str, to: str) -> None:
        self.note("piece", source, to, blake2b(data, digest_size=8).hexdigest())
        self._sends(source)

    def _sends(self, ip: str) -> None:
        now = trio.current_time()
        self._silences[ip] = max(self._silences.get(ip, 0.0), now - self._sent_at.get(ip, now))
        self._sent_at[ip] = now

    def silence(self, ip: str) -> float:
        """The longest time in which a host sent nothing on any stream, since this was last asked."""
        self._sends(ip)
        return self._silences.pop(ip)

    def note(self, *facts: object) -> None:
        self.events += 1
        self._digest.update(f"{trio.current_time()!r} {' '.join(map(str, facts))}\n".encode())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@dataclass(slots=True)
class Report:
    """What became of one seed."""

    seed: int
    faults: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    virtual_seconds: float = 0.0
    digest: str = ""
    events: int = 0


def run_seed(base: Path, seed: int, nodes: int = NODES) -> Report:
    """Run one seed in an empty folder. What went wrong is in the report; nothing is raised."""
    report = Report(seed)
    older = {id(found) for found in counting()}
    try:
        trio.run(_run, base, report, nodes, older, clock=MockClock(autojump_threshold=0))
    except Exception:  # whatever comes out is what a soak is there to find
        report.problems.append(traceback.format_exc())
    left = sum(id(found) not in older for found in counting())
    if left and not report.problems:
        report.problems.append(f"{left} objects outlive the network")
    return report


async def _run(base: Path, report: Report, nodes: int, older: set[int]) -> None:
    random = Random(f"soak {report.seed}")
    trace = Trace()
    lying = random.choice((0, 0, nodes // 30, nodes // 15, nodes // 10))
    full = random.choice((0, nodes // 12, nodes // 6))
    weather: Weather | None = None

    def delay(one: str, other: str) -> float:
        return 0.005 if weather is None else weather.one_way(one, other)

    async with archipelago(base, 0, seed=report.seed, delay=delay) as islands:
        islands.net.on_datagram, islands.net.on_piece = trace.datagram, trace.piece
        await islands.grow(nodes - full - lying)
        for _ in range(full):  # with no room, or room for a few chunks
            await islands.start(quota=HEADROOM_BYTES + random.choice((10_000, 300_000, 600_000)))
        async with AsyncExitStack() as stack:
            frauds = [await _start_fraud(islands, stack, random) for _ in range(lying)]
            await trio.sleep(1)
            weather = Weather(islands, random, [found.host.ip for found, _ in frauds])
            judge = Judge(islands, weather, frauds)

            def datagram(data: bytes, source: Address, to: Address) -> None:
                trace.datagram(data, source, to)
                judge.overhear(data)

            islands.net.on_datagram = datagram
            run = Run(islands, weather, judge, random, trace, report)
            await run.all()
            seen = "".join(f", {count} {kind}" for kind, count in sorted(weather.seen.items()))
            report.faults = f"{run.setting}: {lying} lying, {full} full{seen}"
        await trio.sleep(QUIET_SECONDS)
        report.problems += leaks(islands, weather.running(), older)
        report.virtual_seconds = trio.current_time()
    report.digest, report.events = trace.hexdigest(), trace.events


async def _start_fraud(islands: Archipelago, stack: AsyncExitStack, random: Random) -> tuple[Holder, Fraud]:
    fraud = random.choice(FRAUDS)()
    country = random.choice(COUNTRIES)
    return await stack.enter_async_context(holder(islands, fraud, country=country, read_only=False)), fraud


@dataclass(slots=True)
class Run:
    """What is done in one run."""

    islands: Archipelago
    weather: Weather
    judge: Judge
    random: Random
    trace: Trace
    report: Report
    setting: str = ""

    async def all(self) -> None:
        """Calm, storm, and afterwards."""
        source = self.islands.file("calm", self.random.choice(SIZES))
        async with self.islands.user("alice") as alice:
            calm, outcome = await self._publish(alice, source, "publish")
        if calm is None:  # among full and lying nodes, and nothing else is wrong
            self.report.problems.append(f"{outcome}: {outcome.error}")
            return
        wild = self.islands.file("wild", self.random.choice(SIZES))
        for node in self.islands.nodes:
            node.host.bytes_per_second = BANDWIDTH
        (stored, publish), fetch = await self._storm(calm, wild)
        for node in self.islands.nodes:
            node.host.bytes_per_second = float("inf")
        await self.weather.heal()
        await trio.sleep(RECOVERY_SECONDS)
        self.report.problems += self.judge.fetch(fetch, calm)
        for deposit in filter(None, (calm, stored)):
            await self._fetch_afterwards(deposit)
        async with self.islands.user("bob") as bob:
            found, again = await self._publish(bob, wild, "publish again")
        if found is None:
            self.report.problems.append(f"{again}: {again.error}")
        elif stored is None:
            self.report.problems += self.judge.publish(publish, found)
            await self._fetch_afterwards(found)
        else:
            self._expect(found.link == stored.link, f"{again}: as something else")

    async def _fetch_afterwards(self, deposit: Deposit) -> None:
        async with self.islands.user("erin") as erin:
            outcome = await self._fetch(erin, deposit, f"fetch {deposit.source.name} afterwards")
        self.report.problems += self.judge.fetch(outcome, deposit)

    async def _storm(self, calm: Deposit, wild: Path) -> tuple[tuple[Deposit | None, Outcome], Outcome]:
        """Publish and fetch at once, while all sorts of things go wrong."""
        share, pause = self.random.choice(SHARES), self.random.choice(PAUSES)
        line = self.random.choice(("", "", "", "", "slow line", "torn line"))
        torn = line == "torn line"
        self.setting = f"{share:.0%} hit, changing every {pause} s{line and ', on a '}{line}"
        published: list[tuple[Deposit | None, Outcome]] = []
        fetched: list[Outcome] = []
        async with self.islands.user("bob") as bob, self.islands.user("carol") as carol:

            async def publish() -> None:
                published.append(await self._publish(bob, wild, "publish in the storm", hampered=torn))

            async def fetch() -> None:
                fetched.append(await self._fetch(carol, calm, "fetch in the storm", hampered=torn))

            for user in (bob, carol):
                _spoil(user, line)
            async with trio.open_nursery() as storm:
                storm.start_soon(self.weather.storm, share, pause)
                await trio.sleep(self.random.choice((0.0, 0.0, 0.5)))
                async with trio.open_nursery() as both:
                    both.start_soon(publish)
                    both.start_soon(fetch)
                storm.cancel_scope.cancel()
        return published[0], fetched[0]

    async def _publish(
        self, user: User, source: Path, what: str, *, hampered: bool = False
    ) -> tuple[Deposit | None, Outcome]:
        results: list[Published] = []

        async def work() -> None:
            results.append(await user.publish(source))

        self.trace.silence(user.host.ip)
        outcome = await self._attempt(what, work, PUBLISH_SECONDS, hampered)
        silence = self.trace.silence(user.host.ip)
        self._expect(silence <= PUBLISH_SILENCE, f"{outcome}: {silence:.1f} s without a byte")
        if not results:
            return None, outcome
        deposit = Deposit.of(user, source, results[0])
        self.report.problems += [f"{outcome}: {missing}" for missing in self.judge.missing(deposit, results[0])]
        return deposit, outcome

    async def _fetch(self, user: User, deposit: Deposit, what: str, *, hampered: bool = False) -> Outcome:
        folder = self.islands.base / f"fetched {deposit.source.name}"
        folder.mkdir(exist_ok=True)
        dest = folder / "copy"
        silence, moved_at = 0.0, trio.current_time()

        def changed(_: Progress | None = None) -> None:
            nonlocal silence, moved_at
            silence = max(silence, trio.current_time() - moved_at)
            moved_at = trio.current_time()

        fetch = partial(user.fetch, deposit.link, dest, progress=Progress(changed=changed))
        outcome = await self._attempt(what, fetch, FETCH_SECONDS, hampered)
        changed()
        self._expect(silence <= FETCH_SILENCE, f"{outcome}: {silence:.1f} s without a block")
        there = {path.name for path in folder.iterdir()}
        if outcome.error is not None:
            self._expect(there <= {"copy.part"}, f"{outcome}: leaves {there}")  # for the next run
            return outcome
        self._expect(there == {"copy"}, f"{outcome}: leaves {there}")
        self._expect(dest.read_bytes() == deposit.source.read_bytes(), f"{outcome}: not what was published")
        dest.unlink()
        return outcome

    async def _attempt(self, what: str, work: Callable[[], Awaitable[object]], bound: float, hampered: bool) -> Outcome:
        """Do it. An error that no person is told is a bug, and comes out."""
        began = trio.current_time()
        error: NodeError | None = None
        done = False

        async def tried() -> None:
            nonlocal done
            await work()
            done = True

        try:
            error = await failure(tried())
        except AssertionError:
            if not done:
                raise
        if error is not None:  # its traceback would keep the whole client alive
            error.__cause__ = error.__context__ = error.__traceback__ = None
        outcome = Outcome(what, began, trio.current_time(), error, hampered)
        self.report.outcomes.append(outcome)
        self.trace.note(outcome, error)
        self._expect(outcome.ended - began <= bound, f"{outcome}: its bound is {bound} s")
        return outcome

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.report.problems.append(problem)


def _spoil(user: User, line: str) -> None:
    """The user's own machine is the trouble."""
    if line == "slow line":
        user.host.uplink.bytes_per_second = user.host.downlink.bytes_per_second = DSL
    elif line == "torn line":
        user.host.tearing = 0.03
