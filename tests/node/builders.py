"""Segments, leases and stores for tests: small, made from a seed, with no secrets worth keeping."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.quota import charge, lease_charge
from protocol.identity import Identity, Network
from protocol.ids import PublicKey, SegmentId
from protocol.leases import Lease, Policy, sign_lease
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Shares, block_hash, chunk_id, plan
from protocol.statements import permit_statement

NETWORK = Network("test")
ALICE = Identity(b"a" * 32)
BOB = Identity(b"b" * 32)
NOW = 1_800_000_000.0
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Sample:
    """A segment of random bytes. Nothing in it was sealed or coded: a holder cannot tell."""

    descriptor: Descriptor
    columns: tuple[bytes, ...]
    hashes: tuple[bytes, ...]

    @property
    def id(self) -> SegmentId:
        return self.descriptor.id

    def blocks(self, index: int) -> Iterator[bytes]:
        column = self.columns[index]
        for start in range(0, len(column), SEALED_BLOCK_BYTES):
            yield column[start : start + SEALED_BLOCK_BYTES]


def sample(seed: int = 0, length: int = 300_000, shares: Shares | None = None) -> Sample:
    """By default three blocks: columns of 2, 1 and 2 blocks."""
    rng = random.Random(seed)
    layout = plan(length, shares or Shares(2, 3))
    columns = tuple(rng.randbytes(layout.column_bytes(index)) for index in range(layout.n))
    hashes = tuple(
        b"".join(
            block_hash(column[start : start + SEALED_BLOCK_BYTES])
            for start in range(0, len(column), SEALED_BLOCK_BYTES)
        )
        for column in columns
    )
    ids = tuple(chunk_id(index, joined) for index, joined in enumerate(hashes))
    return Sample(Descriptor(layout, rng.randbytes(32), ids), columns, hashes)


def lease_for(
    segment: Sample,
    identity: Identity = ALICE,
    *,
    deposit: bytes = bytes(16),
    sequence: int = 1,
    expiry: float = NOW + 30 * DAY,
    deleted: bool = False,
    size: int | None = None,
    network: Network = NETWORK,
) -> tuple[Lease, bytes]:
    """A lease and its signed form."""
    lease = Lease(
        network=network.id,
        depositor=identity.key,
        deposit=deposit,
        segment=segment.id,
        size=segment.descriptor.layout.length if size is None else size,
        sequence=sequence,
        expiry=int(expiry),
        deleted=deleted,
        policy=Policy(),
    )
    return lease, sign_lease(identity, lease)


def permit_for(
    segment: Sample, index: int, holder: PublicKey, identity: Identity = ALICE, *, network: Network = NETWORK
) -> bytes:
    """A depositor's permit for one holder to take one chunk."""
    statement = permit_statement(network=network.id, segment=segment.id, index=index, holder=holder)
    return identity.sign("permit", statement)


class FakeClock:
    """Says what it is told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now


def open_store(
    path: Path,
    clock: FakeClock | None = None,
    *,
    quota: int = 10**9,
    trash: float = 7 * DAY,
    depositor_share: float = 1.0,
    subnet_share: float = 1.0,
) -> ChunkStore:
    return ChunkStore.open(
        path,
        quota_bytes=quota,
        network=NETWORK,
        wall_clock=(clock or FakeClock()).wall,
        trash_seconds=trash,
        depositor_share=depositor_share,
        subnet_share=subnet_share,
    )


def put(store: ChunkStore, segment: Sample, index: int, lease: tuple[Lease, bytes] | None = None) -> HeldChunk:
    """The whole of a put, one block at a time."""
    writer = store.begin_put(segment.descriptor, index, segment.hashes[index], *(lease or lease_for(segment)))
    try:
        for block in segment.blocks(index):
            writer.write(memoryview(block))
        return writer.commit()
    finally:
        writer.abort()


def read_whole(store: ChunkStore, segment: Sample, index: int) -> bytes:
    return store.read(segment.id, index, 0, segment.descriptor.layout.column_blocks(index))


def files_charge(path: Path) -> int:
    """What the files of a store take, as the quota counts it, found by looking at the disk."""
    total, segments, leased = 0, set(), set()
    for folder, _, names in os.walk(path / "chunks"):
        for name in names:
            segment, _, suffix = name.partition(".")
            size = (Path(folder) / name).stat().st_size
            segments.add(segment)
            if suffix == "leases":
                leased.add(segment)
                total += lease_charge(size)
            else:
                total += charge(size)
    return total + lease_charge(0) * len(segments - leased)
