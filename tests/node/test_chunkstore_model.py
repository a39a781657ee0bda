"""The chunk store against a dict: any order of puts, leases, deletions, damage, passing time and restarts."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.store.chunkstore import ChunkStore
from node.store.quota import charge, lease_charge
from node.store.refusal import Refusal
from protocol.leases import Lease, lease_set_digest
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
TRASH = 3 * DAY


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

    def forget(self, now: float) -> None:
        """Deletions when they expire, other leases when their time in the trash is over."""
        self.leases = {o: lease for o, lease in self.leases.items() if lease.expiry + TRASH * (not lease.deleted) > now}

    def settle(self, now: float) -> None:
        """What follows from a change of leases."""
        self.forget(now)
        if all(lease.deleted for lease in self.leases.values()):
            self.chunks.clear()
        if not self.chunks:
            self.leases = {owner: lease for owner, lease in self.leases.items() if lease.deleted}


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.measured = self.clock.now
        self.store: ChunkStore = open_store(self.path, self.clock, trash=TRASH)
        self.lost: list[tuple[bytes, int]] = []
        self.store.on_lost = lambda segment, index: self.lost.append((segment, index))
        self.model = {number: ModelSegment() for number in range(len(SEGMENTS))}

    def reopen(self) -> None:
        self.store = open_store(self.path, self.clock, trash=TRASH)
        self.store.on_lost = lambda segment, index: self.lost.append((segment, index))
        self.measured = self.clock.now

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

    @rule(segment=segments, index=indices, truncate=st.booleans(), scrub=st.booleans())
    def damage(self, segment: int, index: int, truncate: bool, scrub: bool) -> None:
        model, wanted = self.model[segment], SEGMENTS[segment]
        if index not in model.chunks:
            assert self.store.scrub(wanted.id, index), "what is not held is not lost"
            return
        assert self.store.scrub(wanted.id, index)
        path = self.path / "chunks" / wanted.id.hex()[:2] / f"{wanted.id.hex()}.{index}"
        data = bytearray(path.read_bytes())
        data[3] ^= 1
        path.write_bytes(data[:-5] if truncate else data)
        self.lost.clear()
        if scrub:
            assert not self.store.scrub(wanted.id, index)
        else:
            try:
                self.store.read(wanted.id, index, 0, 1)
            except Refusal as exc:
                assert exc.code is ErrorCode.CORRUPT
            else:
                raise AssertionError("damage was served")
        assert self.lost == [(wanted.id, index)]
        model.chunks.discard(index)
        model.settle(self.clock.now)

    @rule(segment=segments, index=indices)
    def drop(self, segment: int, index: int) -> None:
        model = self.model[segment]
        self.store.drop(SEGMENTS[segment].id, index)
        if index in model.chunks:
            model.chunks.discard(index)
            model.settle(self.clock.now)

    @rule(segment=segments, found=st.lists(st.tuples(owners, sequences, lifetimes, st.booleans()), max_size=3))
    def merge(self, segment: int, found: list[tuple[int, int, int, bool]]) -> None:
        """What another holder knows: news is taken, the rest passed over."""
        model, leases, changed = self.model[segment], list[tuple[Lease, bytes]](), False
        for owner, sequence, life, deleted in found:
            lease, (identity, deposit) = self.lease(segment, owner, sequence, life, deleted), OWNERS[owner]
            more = {"deposit": deposit, "sequence": sequence, "expiry": lease.expiry, "deleted": deleted}
            leases.append(lease_for(SEGMENTS[segment], identity, **more))  # type: ignore[arg-type]  # keyword arguments
            known = model.leases.get(owner)
            news = known is None or (sequence > known.sequence and not (deleted and lease.expiry < known.expiry))
            if model.chunks and news:
                model.leases[owner] = lease
                changed = True
        self.store.merge_leases(SEGMENTS[segment].id, leases)
        if changed:
            model.settle(self.clock.now)

    @rule(days=st.integers(1, 10))
    def wait(self, days: int) -> None:
        """Nothing is removed yet, but a forgotten lease counts for nothing."""
        self.clock.now += days * DAY
        for model in self.model.values():
            model.forget(self.clock.now)

    @rule()
    def sweep(self) -> None:
        before = sum(len(model.chunks) for model in self.model.values())
        for model in self.model.values():
            model.settle(self.clock.now)
        assert self.store.expire() == before - sum(len(model.chunks) for model in self.model.values())
        self.measured = self.clock.now

    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        self.store.close() if orderly else self.store._index.close()
        self.reopen()

    @precondition(lambda self: any(model.chunks for model in self.model.values()))
    @rule()
    def lose_the_index(self) -> None:
        self.store.close()
        (self.path / "index.sqlite").unlink()
        self.reopen()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        now = self.clock.now
        for trash in (False, True):
            held = {(chunk.segment, chunk.index) for chunk in self.store.holdings(trash=trash)}
            models = {n: model for n, model in self.model.items() if trash or model.live(now)}
            assert held == {(SEGMENTS[n].id, index) for n, model in models.items() for index in model.chunks}
        digests = self.store.digests([segment.id for segment in SEGMENTS])
        for number, model in self.model.items():
            wanted = SEGMENTS[number]
            unexpired = [lease.data for lease in model.leases.values() if lease.expiry > now]
            assert sorted(self.store.leases(wanted.id)) == sorted(unexpired)
            assert digests[number] == (bytes(sorted(model.chunks)), lease_set_digest(unexpired))
            assert bool(self.store.live_leases(wanted.id)) == model.live(now)
            for index in model.chunks:
                assert self.store.read(wanted.id, index, 0, 1) == next(wanted.blocks(index))

    @invariant()
    def leaks_nothing(self) -> None:
        assert self.store.used_bytes == files_charge(self.path)
        assert self.store._quota.reserved == self.store._quota.hoped == 0
        assert not list((self.path / "tmp").iterdir())

    @invariant()
    def counts_the_trash_and_the_shares(self) -> None:
        """Of the trash, what was there at the last sweep and has not been brought back since."""
        leases = {segment.id: self.store._index.leases(segment.id) for segment in SEGMENTS}
        ended = [segment for segment, known in leases.items() if not any(lease.live(self.measured) for lease in known)]
        files = [path for segment in ended for path in self.path.glob(f"chunks/*/{segment.hex()}.*")]
        chunks = sum(charge(p.stat().st_size) for p in files if p.suffix != ".leases")
        grown = sum(lease_charge(p.stat().st_size) - lease_charge(0) for p in files if p.suffix == ".leases" and chunks)
        held = [segment for segment in ended if any(p.suffix != ".leases" for p in files if p.stem == segment.hex())]
        assert self.store.trash_bytes == chunks + grown + lease_charge(0) * len(held)
        accounts = self.store._index.accounts()
        assert self.store.depositors._shares._depositors == {
            identity.key: 4096
            * sum(chunks + units for account, chunks, units in accounts if account.depositor == identity.key)
            for identity in (ALICE, BOB)
            if identity.key in {account.depositor for account, _, _ in accounts}
        }


StoreMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25)
TestStore = StoreMachine.TestCase
