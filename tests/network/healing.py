"""What tests of healing ask of an archipelago: how it stands, by its disks, and what its nodes say they have done."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import trio

from node.control import ask
from node.healing.margin import rank
from node.intervals import Intervals
from node.net.peers import Peers
from protocol.identity import Identity
from protocol.ids import SegmentId
from protocol.leases import Policy, sign_lease
from protocol.messages import Leases, LeasesReply, Put, PutLease
from protocol.segment import Descriptor
from tests.network.archipelago import NETWORK, Archipelago, Chunk, Node
from tests.network.swarm import wall_clock

KIB = 1 << 10
MIB = 1 << 20
NOTE = 10 * KIB
"""A file of this size is one segment of one block, 1 of 5; one of 1 MiB is another, 8 of 12."""
SCALE = 15
QUICK = Intervals(
    **{
        name: getattr(Intervals(), name) / SCALE
        for name in ("ping", "survey", "audit", "scrub", "announce", "short_grace", "rank", "tick", "trash")
    },
    grace=360,
)
"""The real intervals, a fifteenth as long: short grace 2 min, a rank 40 s, a survey 96 min. Grace is 6 minutes."""
TIDY = replace(QUICK, survey=60, grace=60)
"""Likewise, but what is to be tidied is tidied within minutes."""
NOTICED = 2 * QUICK.ping
"""A node that is gone has been noticed by then: the ping that is due, another, and a lookup."""
LOOK_SECONDS = 5.0
"""How often a test looks at the disks: that is 256 folders a node."""
DONE = 5 * QUICK.tick
"""What is due has been done: looked up, surveyed, rebuilt, audited by its receiver, put."""


def n_of(islands: Archipelago, segment: str) -> int:
    """Chunks the segment has when nothing is missing, as some holder's descriptor says."""
    return descriptor(islands, segment).layout.n


def descriptor(islands: Archipelago, segment: str) -> Descriptor:
    index, (node, *_) = next(iter(islands.holders()[segment].items()))
    return Descriptor.decode(node.trailer((segment, index)).descriptor)


def missing(islands: Archipelago) -> int:
    """Chunks that lie on no disk, of all segments that lie on any."""
    return sum(n_of(islands, segment) - len(held) for segment, held in islands.holders().items())


def copies(islands: Archipelago, *but: Node) -> Counter[Chunk]:
    """How many disks each chunk lies on."""
    return Counter(chunk for node in islands.nodes if node not in but for chunk in node.chunks())


def most_in_a_country(islands: Archipelago, segment: str) -> int:
    held = islands.holders()[segment]
    return max(Counter(node.country for nodes in held.values() for node in nodes).values())


async def until(done: Callable[[], bool], within: float) -> float:
    """Wait for it, ``within`` seconds at most; returns how many it took, to five seconds."""
    began = trio.current_time()
    while not done():
        assert trio.current_time() < began + within, f"not within {within:.0f} s"
        await trio.sleep(LOOK_SECONDS)
    return trio.current_time() - began


async def healed(islands: Archipelago, within: float) -> float:
    """Wait until every chunk lies on a disk."""
    return await until(lambda: not missing(islands), within)


async def stays(same: Callable[[], object], seconds: float) -> None:
    """See that something does not change for so long, looking at it every few seconds."""
    before, ends = same(), trio.current_time() + seconds
    while trio.current_time() < ends:
        await trio.sleep(min(seconds / 20, ends - trio.current_time()))
        assert same() == before


def remove(islands: Archipelago, *nodes: Node) -> None:
    """They are gone, disks and all."""
    for node in nodes:
        node.kill()
        islands.nodes.remove(node)


def raid(islands: Archipelago, country: str) -> list[Node]:
    """All nodes of a country are gone, disks and all."""
    gone = [node for node in islands.nodes if node.country == country]
    remove(islands, *gone)
    return gone


def holders_of(islands: Archipelago, segment: str) -> list[Node]:
    """Of a segment's chunks, in order of index."""
    return [nodes[0] for _, nodes in sorted(islands.holders()[segment].items())]


def only_segment(islands: Archipelago) -> str:
    (segment,) = islands.holders()
    return segment


def bystanders(islands: Archipelago) -> list[Node]:
    """Nodes that hold nothing."""
    return [node for node in islands.nodes if not node.chunks()]


def distance(node: Node, segment: str) -> int:
    return int.from_bytes(node.node_id, "big") ^ int(segment, 16)


def by_rank(nodes: Iterable[Node], segment: str) -> list[Node]:
    """Holders in the order in which they repair a segment now."""
    ids = [node.node_id for node in nodes]
    sid = SegmentId(bytes.fromhex(segment))
    return sorted(nodes, key=lambda node: rank(ids, node.node_id, sid, wall_clock()))


async def status(node: Node) -> dict[str, Any]:
    """What a node says of itself by its control socket."""
    async with aclosing(ask(node.data, {"do": "status"})) as replies:
        async for reply in replies:
            return reply
    raise AssertionError("it says nothing")


async def tally(islands: Archipelago, but: Sequence[Node] = ()) -> Counter[str]:
    """What all nodes together have done for the segments they hold, but for those that do not run."""
    total: Counter[str] = Counter()
    for node in set(islands.nodes).difference(but):
        total.update((await status(node))["healing"])
    return total


async def bulk_bytes(islands: Archipelago) -> int:
    """Bytes of chunks that all nodes together have sent each other, but for blocks of audits."""
    total = 0
    for node in islands.nodes:
        asked = (await status(node))["traffic"]["asked"]
        total += asked["put"]["sent_bytes"] + asked["get"]["received_bytes"]
    return total


@asynccontextmanager
async def asker(islands: Archipelago, identity: Identity) -> AsyncIterator[Peers]:
    """Somebody of that identity, at an address of their own, who can ask nodes for things."""
    islands.users += 1
    host = islands.net.host(f"10.230.{islands.users}.1")
    peers = Peers(identity, NETWORK, host, islands.random.randbytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peers.run)
        yield peers
        nursery.cancel_scope.cancel()


def offer(node: Node, chunk: Chunk, lease: bytes | None = None) -> tuple[Put, memoryview]:
    """A put without permit of a chunk that ``node`` holds, under its own lease or another, and the body."""
    trailer = node.trailer(chunk)
    put = Put(descriptor=trailer.descriptor, index=chunk[1], hashes=trailer.hashes, lease=lease or trailer.lease)
    return put, memoryview(node.chunk_file(chunk).read_bytes())[: node.chunk_bytes(chunk)]


async def leases_of(islands: Archipelago, node: Node, segment: str) -> set[bytes]:
    """What a node says is under which a segment is kept."""
    async with asker(islands, Identity(b"q" * 32)) as peers:
        reply, _ = await peers.request(node.contact, Leases(segment=SegmentId(bytes.fromhex(segment)), skip=0))
    assert isinstance(reply, LeasesReply)
    return set(reply.leases)


def other_lease(islands: Archipelago, segment: str, depositor: Identity, **changes: Any) -> bytes:
    """A lease of another depositor on a segment that is held."""
    index, (node, *_) = next(iter(islands.holders()[segment].items()))
    fields: dict[str, Any] = {
        "deposit": b"d" * 16,
        "sequence": 1,
        "expiry": int(wall_clock()) + 10**7,
        "policy": Policy(),
    } | changes
    return sign_lease(depositor, replace(node.lease((segment, index)), depositor=depositor.key, **fields))


async def add_lease(islands: Archipelago, segment: str, depositor: Identity, policy: Policy) -> bytes:
    """Have another depositor want the same segment, at all its holders."""
    lease = other_lease(islands, segment, depositor, policy=policy)
    async with asker(islands, depositor) as peers:
        for node in holders_of(islands, segment):
            await peers.request(node.contact, PutLease(lease=lease))
    return lease


def at_first_bulk(islands: Archipelago, host_ip: str, do: Callable[[], None]) -> None:
    """Do something once, as soon as a large piece of a stream is on its way to a host."""
    done = False

    def see(data: bytes, _: str, to: str) -> None:
        nonlocal done
        if not done and to == host_ip and len(data) > 32 * KIB:
            done = True
            do()

    islands.net.on_piece = see
