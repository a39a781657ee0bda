"""Whole storage nodes and their users in one process, on a network in memory, from one seed.

Everything is the real thing but the wires and the clocks: ``run_node`` on a host of its own, with its data folder on
the disk, and clients opened as the command line opens them.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio
import trio.testing
from trio._core import _run as trio_run

from dht.contact import Contact
from node.app import run_node
from node.blocking import InlineBlocking
from node.client import Client, World, open_client
from node.config import Config
from node.errors import NodeError, leaves
from node.fetching.download import Downloader
from node.fetching.reader import Wanted, read_contents, select
from node.fetching.restore import choose_target, restore
from node.home import Depositor, Home
from node.intervals import Intervals
from node.journal import Journal
from node.keeping.change import Changed
from node.keeping.check import check
from node.keeping.counted import Health
from node.keeping.lifetime import delete, renew
from node.nodeconfig import NodeConfig, NodeInfo
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options, Published, publish
from node.publishing.source import scan
from node.sharing.share import share_part
from node.store.chunkfile import ChunkFile, Trailer
from node.store.datafolder import KEY_FILE
from node.store.expiring import EXPIRE_SECONDS
from protocol.hashing import plain_digest
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId, SegmentId
from protocol.leases import Lease, open_lease
from protocol.links import Link
from protocol.manifest import Kind, Manifest
from protocol.segment import Descriptor
from tests.network.memory import MemoryHost, MemoryNetwork
from tests.network.meter import Meter
from tests.network.swarm import START, wall_clock

NETWORK = Network("archipelago")
COUNTRIES = ("DE", "FR", "IS", "NZ")
PORT = 4110
WAYS_IN = 3
"""Nodes that a new one joins by."""
AT_ONCE = 8
"""Nodes that start at the same moment."""
QUOTA = 10**9
DELAY = 0.005
"""One-way seconds between any two hosts."""

STILL = Intervals(**dict.fromkeys(("ping", "survey", "audit", "scrub", "tick"), 1e12), trash=EXPIRE_SECONDS)
"""Under which nothing heals: what a test breaks stays broken, and what has ended is soon gone."""

Chunk = tuple[str, int]
"""(segment in hex, index)."""


@dataclass(frozen=True)
class WallClock:
    """The time of day as the simulation has it."""

    error: float = 0.0
    """Seconds by which a machine's clock is ahead."""

    def wall(self) -> float:
        return wall_clock() + self.error


@dataclass(eq=False)
class Node:
    """A node that runs."""

    host: MemoryHost
    country: str
    data: Path
    info: NodeInfo
    scope: trio.CancelScope
    quota: int
    clock_error: float

    @property
    def node_id(self) -> NodeId:
        return self.info.node_id

    @property
    def identity(self) -> Identity:
        return Identity((self.data / KEY_FILE).read_bytes())

    @property
    def contact(self) -> Contact:
        return Contact(self.identity.key, self.info.address)

    def kill(self) -> None:
        """As SIGKILL: no word to anybody; the system closes its sockets."""
        self.scope.cancel()

    def chunks(self) -> set[Chunk]:
        """What is on its disk, found by looking there."""
        names = (path.name.split(".") for path in (self.data / "chunks").glob("*/*"))
        return {(segment, int(suffix)) for segment, suffix in names if suffix != "leases"}

    def chunk_file(self, chunk: Chunk) -> Path:
        segment, index = chunk
        return self.data / "chunks" / segment[:2] / f"{segment}.{index}"

    def lease(self, chunk: Chunk) -> Lease:
        """The lease a chunk was put under."""
        return open_lease(self.trailer(chunk).lease, NETWORK.id)

    def chunk_bytes(self, chunk: Chunk) -> int:
        """Bytes of a chunk as it is sent."""
        _, index = chunk
        return Descriptor.decode(self.trailer(chunk).descriptor).layout.column_bytes(index)

    def trailer(self, chunk: Chunk) -> Trailer:
        """What stands behind the blocks of a chunk."""
        segment, index = chunk
        with closing(ChunkFile.open(self.chunk_file(chunk), SegmentId(bytes.fromhex(segment)), index)) as file:
            return file.trailer


@dataclass(eq=False)
class User:
    """Somebody with a home folder and a client."""

    client: Client
    depositor: Depositor
    journal: Journal
    host: MemoryHost
    meter: Meter

    async def publish(
        self, *paths: Path, progress: Progress | None = None, options: Options | None = None
    ) -> Published:
        content = FileContent(scan(paths), plain_digest(b"\0".join(bytes(path) for path in paths)))
        return await publish(
            self.client, self.depositor, self.journal, content, options or Options(), progress or Progress()
        )

    async def share(
        self, link: Link, path: bytes | None, *, progress: Progress | None = None, options: Options | None = None
    ) -> Published:
        progress, options = progress or Progress(), options or Options()
        return await share_part(self.client, self.depositor, self.journal, link, path, options, progress)

    async def fetch(
        self,
        link: Link,
        dest: Path,
        *,
        span: tuple[int, int] | None = None,
        path: bytes | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> "Fetched":
        """Fetch to ``dest``: all of it, or bytes ``span[0]`` to ``span[1] - 1`` of the file at ``path``."""
        progress = progress or Progress()
        downloader = Downloader(self.client, progress)
        manifest = await read_contents(downloader, link)
        before = downloader.received_bytes
        chosen = select(manifest, path)
        wanted = _wanted(manifest, chosen) if span is None else [(chosen[0], *span)]
        progress.total = sum(stop - start for _, start, stop in wanted)
        target = choose_target(manifest, chosen, dest, link.root, force=force)
        kept = await restore(downloader, link, manifest, wanted, chosen, target, force=force)
        return Fetched(before, downloader.received_bytes - before, kept)

    async def check(self, link: Link, progress: Progress | None = None) -> Health:
        return await check(self.client, link, progress or Progress())

    async def renew(self, link: Link, lease_seconds: int) -> Changed:
        return await renew(self.client, self.depositor, self.journal, link, lease_seconds, Progress())

    async def delete(self, link: Link) -> Changed:
        return await delete(self.client, self.depositor, self.journal, link, Progress())


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch moved."""

    manifest_bytes: int
    """Verified bytes of blocks that the table of contents took."""
    content_bytes: int
    """Verified bytes of blocks that came for the files."""
    kept_bytes: int
    """Bytes of files that lay there from an earlier run."""


def _wanted(manifest: Manifest, chosen: Sequence[int]) -> list[Wanted]:
    entries = manifest.entries
    return [(i, 0, entries[i].size) for i in chosen if entries[i].kind is Kind.FILE and entries[i].size]


@dataclass(eq=False)
class Archipelago:
    """Nodes, one IP address each, and a way in for users."""

    base: Path
    seed: int
    net: MemoryNetwork
    nursery: trio.Nursery
    random: Random
    intervals: Intervals = STILL
    """Of all nodes started from now on."""
    nodes: list[Node] = field(default_factory=list)
    started: int = 0
    users: int = 0

    async def start(
        self,
        *,
        country: str | None = None,
        quota: int = QUOTA,
        advertise: Address | None = None,
        clock_error: float = 0.0,
        deny: Path | None = None,
        home: Home | None = None,
        page: bool = False,
    ) -> Node:
        """One more node, joined through the first ones; ready when it returns.

        Args:
            country: Claimed; None: the next one in turn.
            quota: Bytes it may store.
            advertise: Where it says it is reached; None: where it is.
            clock_error: Seconds by which its clock is ahead.
            deny: Its operator's denylist.
            home: Of whose account it keeps the drive.
            page: Whether it serves one: see tests/network/pages.py.
        """
        number = self.started
        self.started += 1
        country = COUNTRIES[number % len(COUNTRIES)] if country is None else country
        host = self.net.host(f"10.{number // 200}.{number % 200 + 1}.1")
        config = NodeConfig(
            data=self.base / f"node-{number}",
            listen=Address(host.ip, PORT),
            advertise=advertise,
            country=country,
            quota_bytes=quota,
            depositor_share=1.0,
            deny=deny,
            home=home,
            network=NETWORK.name,
            join=tuple(node.info.address for node in self.nodes[:WAYS_IN]),
            http=Address("127.0.0.1", 0) if page else None,
            intervals=self.intervals,
        )
        node = await self._run(config, host, clock_error)
        self.nodes.append(node)
        return node

    async def restart(self, node: Node) -> Node:
        """Start a killed node again, on the disk it left; it takes its old place among the nodes."""
        config = NodeConfig(
            data=node.data,
            listen=node.info.address,
            country=node.country,
            quota_bytes=node.quota,
            depositor_share=1.0,
            network=NETWORK.name,
            join=tuple(other.info.address for other in self.nodes if other is not node)[:WAYS_IN],
            intervals=self.intervals,
        )
        again = await self._run(config, node.host, node.clock_error)
        self.nodes[self.nodes.index(node)] = again
        return again

    async def _run(self, config: NodeConfig, host: MemoryHost, clock_error: float) -> Node:
        scope = trio.CancelScope()
        run = partial(
            run_node,
            config,
            stop=trio.Event(),
            transport=host,
            clock=WallClock(clock_error),
            blocking=InlineBlocking(),
            random_bytes=Random(f"{self.seed} {config.data.name} {trio.current_time()}").randbytes,
        )
        info = await self.nursery.start(_run_in, scope, host, run)
        return Node(host, config.country, config.data, info, scope, config.quota_bytes, clock_error)

    async def grow(self, count: int) -> None:
        """So many nodes more, a few at a time."""
        before = self.started
        while self.started < before + count:
            async with trio.open_nursery() as nursery:
                for _ in range(min(AT_ONCE if self.nodes else 1, before + count - self.started)):
                    nursery.start_soon(self.start)
                    await trio.testing.wait_all_tasks_blocked()
        self.nodes.sort(key=lambda node: [int(part) for part in node.host.ip.split(".")])
        await trio.sleep(1)
        assert all(node.info.storing for node in self.nodes)

    @asynccontextmanager
    async def user(self, name: str = "alice", *, clock_error: float = 0.0) -> AsyncIterator[User]:
        """A client for a while. Who has the same name has the same home folder: depositor, journal, contacts."""
        self.users += 1
        host = self.net.host(f"10.250.{self.users // 250}.{self.users % 250 + 1}")
        home = Home(self.base / f"home-{name}")
        home.create()
        secrets = Random(f"{self.seed} {name}")
        depositor = Depositor(Identity(secrets.randbytes(32)), secrets.randbytes(32))
        meter = Meter(host)
        random = Random(f"{self.seed} {name} {self.users}")
        world = World(meter, WallClock(clock_error), InlineBlocking(), random.randbytes)
        join = tuple(str(node.info.address) for node in self.nodes)
        journal = Journal(home.journal, NETWORK.id)
        try:
            async with open_client(Config(home.path, NETWORK.name, join), world=world) as client:
                yield User(client, depositor, journal, host, meter)
        finally:
            journal.close()

    def chunk_bytes(self, segments: Iterable[str]) -> int:
        """Bytes of all distinct chunks of these segments, as they are sent."""
        found = self.holders()
        return sum(
            nodes[0].chunk_bytes((segment, index)) for segment in segments for index, nodes in found[segment].items()
        )

    def holders(self) -> dict[str, dict[int, list[Node]]]:
        """Segment -> index -> nodes that have that chunk on their disk."""
        found: dict[str, dict[int, list[Node]]] = defaultdict(lambda: defaultdict(list))
        for node in self.nodes:
            for segment, index in node.chunks():
                found[segment][index].append(node)
        return {segment: dict(indices) for segment, indices in found.items()}

    def file(self, name: str, size: int) -> Path:
        """A file of random bytes, with a time of its own: the same from run to run, as is the link to it."""
        path = self.base / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Random(f"{self.seed} {name}").randbytes(size))
        for place in (path, path.parent):
            os.utime(place, ns=(0, (START - size) * 10**9 + 123_456_789))
        return path


async def _run_in(
    scope: trio.CancelScope,
    host: MemoryHost,
    run: Callable[..., Awaitable[None]],
    *,
    task_status: trio.TaskStatus[NodeInfo],
) -> None:
    try:
        with scope:
            await run(task_status=task_status)
    finally:
        host.kill()


@asynccontextmanager
async def archipelago(
    base: Path,
    count: int = 32,
    *,
    seed: int = 1,
    delay: float | Callable[[str, str], float] = DELAY,
    intervals: Intervals = STILL,
) -> AsyncIterator[Archipelago]:
    """``count`` nodes that know each other, in four countries, until the end of the ``with``."""
    # The order in which ready tasks run is drawn from this, once trio sorts them first: as it does under Hypothesis.
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # meant for just this
    trio_run._r.seed(seed)
    async with trio.open_nursery() as nursery:
        islands = Archipelago(base, seed, MemoryNetwork(seed, delay=delay), nursery, Random(seed))
        islands.intervals = intervals
        if count:
            await islands.grow(count)
        yield islands
        nursery.cancel_scope.cancel()


def uneven(one: str, other: str) -> float:
    """A delay that differs from node to node, so that things do not happen all at once."""
    return 0.002 * max(int(ip.split(".")[2]) for ip in (one, other) if not ip.startswith("10.250."))


async def failure(work: Awaitable[object]) -> NodeError:
    """The error, one that a person is told, that ``work`` ends with. Anything else it ends with is a bug."""
    try:
        await work
    except (NodeError, ExceptionGroup) as exc:
        found = list(leaves(exc))
        assert all(isinstance(leaf, NodeError) for leaf in found), found
        (first, *_) = found
        assert isinstance(first, NodeError)
        return first
    raise AssertionError("it did not fail")
