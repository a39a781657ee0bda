"""Weeks of a network whose nodes die for good, disk and all, and what its holders make of it by themselves.

Time may be scaled: half-lives and all intervals are divided by the same number, which leaves the chance to lose a
segment as it is. What is no interval of healing is not scaled (timeouts, the upkeep of the DHT), so a scaled network is
relatively slower than a real one. Pings are fewer than the design's: a death is noticed later.
"""

import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import patch

import trio
from nacl import bindings
from nacl.exceptions import BadSignatureError
from trio.testing import MockClock

from dht.contact import Contact
from dht.service import Dht
from node import app
from node.healing import service
from node.healing.tally import Tally
from node.intervals import DAY, HOUR, Intervals
from node.keeping.counted import Health
from node.progress import Progress
from node.publishing.content import Room
from node.publishing.publish import Options, Published, publish
from protocol.identity import SIGNATURE_BYTES
from protocol.ids import Address, PublicKey
from protocol.manifest import Entry, Kind
from protocol.segment import BLOCK_BYTES
from tests.network.archipelago import Archipelago, Chunk, Node, archipelago

K, N = 8, 12
SEGMENT = K * BLOCK_BYTES
"""Bytes of content: 8 blocks, so 8 of 12."""
REPLACED_AFTER = 600.0
"""Seconds from a death to the start of the node that takes its place."""
BEFORE = 2 * HOUR
"""From the publish to when nodes begin to die: the holders have found each other."""
LOOK = 600.0
"""So often it is looked what has come back."""
SPARING = Intervals(ping=1800.0, tick=300.0, rank=1800.0, survey=3 * DAY, announce=3 * DAY, scrub=1e4 * DAY)
"""The design's, but fewer pings, looks, surveys and announcements, and a repair is left longer to the first in rank;
disks do not rot here. With the design's own a run would spend nine tenths of its time on these."""
AT_ONCE = replace(SPARING, grace=1.0, short_grace=1.0)
"""A death is noticed within 46 minutes, and nobody waits for the dead to return."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run. Times in seconds as they would be without a scale."""

    half_life: float
    intervals: Intervals
    days: float = 30.0
    seed: int = 1
    nodes: int = 60
    segments: int = 200
    scale: float = 60.0
    real: bool = True
    """Else a keyed hash stands in for Ed25519, and the simulation itself answers pings, as long as this runs."""

    def scaled(self) -> Intervals:
        """The intervals the nodes get; the rate of repair is a rate, so it grows."""
        given = self.intervals
        times = {name: getattr(given, name) / self.scale for name in given.__slots__}
        return Intervals(**times | {"repair_rate": given.repair_rate * self.scale})


@dataclass(slots=True)
class Result:
    """What became of it. Times in seconds as they would be without a scale."""

    deaths: int = 0
    lost: dict[str, float] = field(default_factory=dict)
    """Segments of content -> when they first had fewer than k chunks on all disks."""
    root_lost: bool = False
    least: int = N
    """Chunks of a segment of content, the fewest seen after any death."""
    below: Counter[int] = field(default_factory=Counter)
    """Live chunks -> segments that had so many after some death."""
    back: list[float] = field(default_factory=list)
    """Of each chunk of content that died with its node: until another node had it."""
    missing: int = 0
    """Chunks that died and are not yet anywhere else."""
    longest_missing: float = 0.0
    """The one of them that died first: how long ago, at the end."""
    stored_bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    """Of all nodes, the dead ones too."""
    pieces_bytes: int = 0
    """All that streams carried, sealed: healing, and the publish before it is not counted."""
    datagrams: int = 0
    datagram_bytes: int = 0
    days: float = 0.0
    """Over so far."""
    health: Health | None = None
    """What ``check`` says at the end."""
    digest: str = ""


@dataclass(slots=True)
class Blocks:
    """Content of so many segments of 1 MiB, from a seed. Satisfies ``node.publishing.content.Content``."""

    seed: int
    count: int
    identity: bytes = bytes(32)
    skipped: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return self.count * SEGMENT

    def inline(self) -> bytes | None:
        return None

    def segments(self, room: Room) -> Iterator[memoryview]:
        for number in range(self.count):
            memory = room(SEGMENT)
            memory[:] = Random(f"{self.seed} {number}").randbytes(SEGMENT)
            yield memory

    def entries(self) -> tuple[Entry, ...]:
        return (Entry(path=b"days", kind=Kind.FILE, size=self.total_bytes),)


def run_plan(base: Path, plan: Plan, told: Callable[[Result], None] = lambda _: None) -> Result:
    """Run it in an empty folder; ``told`` hears every day how it stands."""
    result = Result()
    with nullcontext() if plan.real else _shortcuts():
        trio.run(_run, base, plan, result, told, clock=MockClock(autojump_threshold=0))
    return result


@contextmanager
def _hashed_signatures() -> Iterator[None]:
    """A keyed hash in the place of Ed25519: anybody could forge it, and nobody here does."""

    def sign(message: bytes, secret: bytes) -> bytes:
        return blake2b(message, key=secret[32:], digest_size=SIGNATURE_BYTES).digest() + message

    def check(signed: bytes, key: bytes) -> bytes:
        message = signed[SIGNATURE_BYTES:]
        if blake2b(message, key=key, digest_size=SIGNATURE_BYTES).digest() != signed[:SIGNATURE_BYTES]:
            raise BadSignatureError
        return message

    cheap = SimpleNamespace(
        crypto_sign_seed_keypair=bindings.crypto_sign_seed_keypair, crypto_sign=sign, crypto_sign_open=check
    )
    with patch("protocol.identity.bindings", cheap):
        yield


class _Dht(Dht):
    """Pings are not sent: they are heard by whoever is there, and by who asked."""

    there: ClassVar[dict[PublicKey, "_Dht"]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.there[self._identity.key] = self
        try:
            await super().run(task_status=task_status)
        finally:
            del self.there[self._identity.key]

    async def ping(self, address: Address, key: PublicKey | None = None) -> Contact | None:
        await trio.lowlevel.checkpoint()
        other = self.there.get(key) if key is not None else None
        if other is None or key is None:
            return await super().ping(address, key)
        other.on_heard(self._identity.key)
        self.on_heard(key)
        return Contact(key, address)


@contextmanager
def _shortcuts() -> Iterator[None]:
    """For one run, what costs most and is not what is measured: signatures, pings, a look at every record each 10 s."""
    with _hashed_signatures(), patch.object(app, "Dht", _Dht), patch("dht.upkeep.UPKEEP_SECONDS", 60.0):
        yield


@contextmanager
def _tallies() -> Iterator[list[Tally]]:
    """Those of all nodes that are started meanwhile."""
    made: list[Tally] = []

    def make() -> Tally:
        made.append(Tally())
        return made[-1]

    with patch.object(service, "Tally", make):
        yield made


async def _run(base: Path, plan: Plan, result: Result, told: Callable[[Result], None]) -> None:
    with _tallies() as tallies:
        async with archipelago(base, plan.nodes, seed=plan.seed, intervals=plan.scaled()) as islands:
            async with islands.user() as alice:
                content = Blocks(plan.seed, plan.segments)
                published = await publish(alice.client, alice.depositor, alice.journal, content, Options(), Progress())
            await trio.sleep(BEFORE / plan.scale)
            run = _Days(islands, plan, result, published)

            def tell() -> None:
                for name in Tally.__slots__:
                    setattr(result.tally, name, sum(getattr(tally, name) for tally in tallies))
                told(result)

            await run.all(tell)
            async with islands.user("bob") as bob:
                result.health = await bob.check(published.link)


class _Days:
    """Deaths, replacements, and looks at the disks."""

    def __init__(self, islands: Archipelago, plan: Plan, result: Result, published: Published) -> None:
        self._islands = islands
        self._plan = plan
        self._result = result
        self._root = published.link.root.hex()
        self._content: list[str] = []
        """Segments of content."""
        self._missing: dict[Chunk, float] = {}
        """Chunks that died with their node -> when."""
        self._digest = blake2b(digest_size=16)
        islands.net.on_datagram = self._datagram
        islands.net.on_piece = self._piece

    def _datagram(self, data: bytes, source: Address, to: Address) -> None:
        self._result.datagrams += 1
        self._result.datagram_bytes += len(data)

    def _piece(self, data: bytes, source: str, to: str) -> None:
        self._result.pieces_bytes += len(data)

    async def all(self, tell: Callable[[], None]) -> None:
        plan, result = self._plan, self._result
        found = self._look()
        self._content = sorted(found.keys() - {self._root})
        assert [len(found[segment]) for segment in self._content] == [N] * plan.segments
        result.stored_bytes = self._islands.chunk_bytes(self._content)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            for number, node in enumerate(list(self._islands.nodes)):
                nursery.start_soon(self._place, node, Random(f"days {plan.seed} {number}"))
            while result.days < plan.days:
                day = min(1.0, plan.days - result.days)
                await trio.sleep(day * DAY / plan.scale)
                result.days += day
                tell()
            nursery.cancel_scope.cancel()
        self._look()
        self._islands.net.on_datagram = lambda data, source, to: None
        self._islands.net.on_piece = lambda data, source, to: None
        result.digest = self._digest.hexdigest()

    async def _place(self, node: Node, chance: Random) -> None:
        """One place in the network: a node lives and dies, a fresh one of that country comes, and so on."""
        plan = self._plan
        rate = math.log(2) / plan.half_life
        while True:
            await trio.sleep(chance.expovariate(rate) / plan.scale)
            await self._kill(node)
            await trio.sleep(REPLACED_AFTER / plan.scale)
            node = await self._islands.start(country=node.country)

    async def _kill(self, node: Node) -> None:
        with trio.CancelScope(shield=True):
            node.kill()
            self._islands.nodes.remove(node)
            await trio.sleep(0.001)  # it is gone when every task has seen it
            now = trio.current_time()
            gone = _chunks(node)
            shutil.rmtree(node.data)
            self._result.deaths += 1
            left = self._look()
            for segment, index in gone:
                if index not in left[segment] and segment != self._root:
                    self._missing[segment, index] = now

    def _look(self) -> dict[str, set[int]]:
        """What lies on the disks: segment -> indices."""
        found: dict[str, set[int]] = defaultdict(set)
        for node in self._islands.nodes:
            for segment, index in _chunks(node):
                found[segment].add(index)
        now = trio.current_time() * self._plan.scale
        for segment in self._content:
            count = len(found[segment])
            self._result.least = min(self._result.least, count)
            if count < N:
                self._result.below[count] += 1
            if count < K:
                self._result.lost.setdefault(segment, now)
        self._result.root_lost = self._result.root_lost or not found[self._root]
        self._digest.update(f"{now!r} {sorted((s, sorted(i)) for s, i in found.items())}".encode())
        return found

    async def _watch(self) -> None:
        """See when what has died is somewhere again."""
        while True:
            await trio.sleep(LOOK / self._plan.scale)
            for chunk in [chunk for chunk in self._missing if self._is_somewhere(chunk)]:
                took = trio.current_time() - self._missing.pop(chunk)
                self._result.back.append(took * self._plan.scale)
            self._result.missing = len(self._missing)
            first = min(self._missing.values(), default=trio.current_time())
            self._result.longest_missing = (trio.current_time() - first) * self._plan.scale

    def _is_somewhere(self, chunk: Chunk) -> bool:
        return any(os.path.exists(node.chunk_file(chunk)) for node in self._islands.nodes)


def _chunks(node: Node) -> set[Chunk]:
    """As ``Node.chunks``, quicker: it is asked thousands of times."""
    found: set[Chunk] = set()
    with os.scandir(node.data / "chunks") as folders:
        for folder in folders:
            for name in os.listdir(folder.path):
                segment, _, suffix = name.partition(".")
                if suffix.isdecimal():
                    found.add((segment, int(suffix)))
    return found
