"""The chunk store against a dict: any order of puts, leases, deletions, damage, passing time and restarts."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.messages import ErrorCode
from protocol.segment import Shares
from tests.node.builders import ALICE, BOB, DAY, FakeClock, files_charge, lease_for, open_store, put, sample

SEGMENTS = [sample(seed, length, Shares(2, 3)) for seed, length in enumerate((100, 131_073, 262_144))]
OWNERS = [(ALICE, bytes(16)), (ALICE, b"1" * 16), (BOB, bytes(16))]

segments = st.integers(0, len(SEGMENTS) - 1)
indices = st.integers(0, 1)
owners = st.integers(0, len(OWNERS) - 1)
sequences = st.integers(1, 6)
lifetimes = st.sampled_from([DAY, 5 * DAY, 20 * DAY])


@dataclass
class ModelLease:
    sequence: int
    expiry: int
    deleted: bool
    data: bytes


@dataclass
class ModelSegment:
    chunks: set[int] = field(default_factory=set)
    leases: dict[int, ModelLease] = field(default_factory=dict)

    def live(self, now: float) -> bool:
        return any(not lease.deleted and lease.expiry > now for lease in self.leases.values())

    def unexpired(self, now: float) -> None:
        self.leases = {owner: lease for owner, lease in self.leases.items() if lease.expiry > now}

    def settle(self, now: float) -> None:
        """What follows from a change of leases."""
        self.unexpired(now)
        if not self.live(now):
            self.chunks.clear()
        if not self.chunks:
            self.leases = {owner: lease for owner, lease in self.leases.items() if lease.deleted}


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.store: ChunkStore = open_store(self.path, self.clock)
        self.model = {number: ModelSegment() for number in range(len(SEGMENTS))}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.path)

    def lease(self, segment: int, owner: int, sequence: int, life: int, deleted: bool) -> ModelLease:
        identity, deposit = OWNERS[owner]
        expiry = int(self.clock.now) + life
        _, data = lease_for(
            SEGMENTS[segment], identity, deposit=deposit, sequence=sequence, expiry=expiry, deleted=deleted
        )
        return ModelLease(sequence, expiry, deleted, data)

    def stale(self, segment: int, owner: int, lease: ModelLease) -> bool:
        known = self.model[segment].leases.get(owner)
        return known is not None and known.sequence >= lease.sequence and known.data != lease.data

    @rule(segment=segments, index=indices, owner=owners, sequence=sequences, life=lifetimes)
    def put(self, segment: int, index: int, owner: int, sequence: int, life: int) -> None:
        lease, model = self.lease(segment, owner, sequence, life, False), self.model[segment]
        identity, deposit = OWNERS[owner]
        signed = lease_for(SEGMENTS[segment], identity, deposit=deposit, sequence=sequence, expiry=lease.expiry)
        try:
            put(self.store, SEGMENTS[segment], index, signed)
        except Refusal as exc:
            assert exc.code is ErrorCode.STALE
            assert self.stale(segment, owner, lease)
            return
        assert not self.stale(segment, owner, lease)
        model.chunks.add(index)
        model.leases[owner] = lease

    @rule(segment=segments, owner=owners, sequence=sequences, life=lifetimes, deleted=st.booleans())
    def change_lease(self, segment: int, owner: int, sequence: int, life: int, deleted: bool) -> None:
        lease, model = self.lease(segment, owner, sequence, life, deleted), self.model[segment]
        identity, deposit = OWNERS[owner]
        known = model.leases.get(owner)
        expected = None
        if not model.chunks:
            expected = ErrorCode.NOT_FOUND
        elif self.stale(segment, owner, lease):
            expected = ErrorCode.STALE
        elif deleted and known is not None and lease.expiry < known.expiry:
            expected = ErrorCode.BAD_LEASE
        signed = lease_for(
            SEGMENTS[segment], identity, deposit=deposit, sequence=sequence, expiry=lease.expiry, deleted=deleted
        )
        try:
            kept = self.store.apply_lease(*signed)
        except Refusal as exc:
            assert exc.code is expected
            return
        assert expected is None
        assert {chunk.index for chunk in kept} == (set() if deleted else model.chunks)
        if known is None or known.data != lease.data:
            model.leases[owner] = lease
            model.settle(self.clock.now)

    @rule(segment=segments, index=indices, truncate=st.booleans())
    def damage(self, segment: int, index: int, truncate: bool) -> None:
        model, wanted = self.model[segment], SEGMENTS[segment]
        if index not in model.chunks:
            return
        path = self.path / "chunks" / wanted.id.hex()[:2] / f"{wanted.id.hex()}.{index}"
        data = bytearray(path.read_bytes())
        data[3] ^= 1
        path.write_bytes(data[:-5] if truncate else data)
        try:
            self.store.read(wanted.id, index, 0, 1)
        except Refusal as exc:
            assert exc.code is ErrorCode.CORRUPT
        else:
            raise AssertionError("damage was served")
        model.chunks.discard(index)
        model.settle(self.clock.now)

    @rule(days=st.integers(1, 10))
    def wait(self, days: int) -> None:
        """Nothing is removed yet, but an expired lease counts for nothing."""
        self.clock.now += days * DAY
        for model in self.model.values():
            model.unexpired(self.clock.now)

    @rule()
    def sweep(self) -> None:
        before = sum(len(model.chunks) for model in self.model.values())
        for model in self.model.values():
            model.settle(self.clock.now)
        assert self.store.expire() == before - sum(len(model.chunks) for model in self.model.values())

    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        self.store.close() if orderly else self.store._index.close()
        self.store = open_store(self.path, self.clock)

    @precondition(lambda self: any(model.chunks for model in self.model.values()))
    @rule()
    def lose_the_index(self) -> None:
        self.store.close()
        (self.path / "index.sqlite").unlink()
        self.store = open_store(self.path, self.clock)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        held = {(chunk.segment, chunk.index) for chunk in self.store.holdings()}
        assert held == {(SEGMENTS[n].id, index) for n, model in self.model.items() for index in model.chunks}
        for number, model in self.model.items():
            wanted = SEGMENTS[number]
            assert sorted(self.store.leases(wanted.id)) == sorted(lease.data for lease in model.leases.values())
            for index in model.chunks:
                assert self.store.read(wanted.id, index, 0, 1) == next(wanted.blocks(index))

    @invariant()
    def leaks_nothing(self) -> None:
        assert self.store.used_bytes == files_charge(self.path)
        assert self.store._quota.reserved == 0
        assert not list((self.path / "tmp").iterdir())


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestStore = StoreMachine.TestCase
