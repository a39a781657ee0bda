"""A segment on an archipelago, as whoever has no key sees it: and what is true of it, from the disks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from node.web.sealed.gather import SealedSegments
from protocol.ids import SegmentId
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, block_hash
from tests.network.archipelago import Archipelago, Node, User


@dataclass(frozen=True)
class Stored:
    """A segment on the disks of nodes."""

    id: SegmentId
    descriptor: Descriptor
    holders: dict[int, Node]
    blocks: list[bytes]
    """All sealed blocks, in order."""

    @property
    def hashes(self) -> bytes:
        return b"".join(map(block_hash, self.blocks))


def stored(islands: Archipelago, segment: str) -> Stored:
    """One segment, whose chunks each have one holder."""
    holders = {index: nodes[0] for index, nodes in islands.holders()[segment].items()}
    descriptor = Descriptor.decode(holders[0].trailer((segment, 0)).descriptor)
    layout = descriptor.layout
    blocks = []
    for index in range(layout.k):
        data = holders[index].chunk_file((segment, index)).read_bytes()[: layout.column_bytes(index)]
        blocks += [data[at : at + SEALED_BLOCK_BYTES] for at in range(0, len(data), SEALED_BLOCK_BYTES)]
    return Stored(descriptor.id, descriptor, holders, blocks)


async def published(islands: Archipelago, size: int, name: str = "film") -> Stored:
    """The segment of a file of ``size`` bytes, more than 64 KiB and at most 16 MiB."""
    before = set(islands.holders())
    async with islands.user("alice") as alice:
        root = (await alice.publish(islands.file(name, size))).link.root
    (segment,) = (s for s in islands.holders() if s not in before and s != root.hex())
    return stored(islands, segment)


@asynccontextmanager
async def reader(islands: Archipelago, name: str = "bob") -> AsyncIterator[tuple[User, SealedSegments]]:
    """Somebody's node that gathers for others."""
    async with islands.user(name) as user:
        yield user, SealedSegments(user.client)


async def read(sealed: SealedSegments, segment: SegmentId, first: int, count: int) -> list[bytes]:
    """Blocks, copied."""
    async with sealed.blocks(segment, first, count) as blocks:
        return [bytes(block) for block in blocks]
