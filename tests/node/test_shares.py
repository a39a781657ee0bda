"""Shares of the quota: what one depositor, or one neighbourhood of the network, may take of a node."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.store.chunkstore import ChunkStore
from node.store.quota import HEADROOM_BYTES, charge, lease_charge
from node.store.refusal import Refusal
from node.store.shares import account_charge
from protocol.identity import Identity
from protocol.leases import Lease
from protocol.messages import ErrorCode, PutReply
from tests.node.builders import (
    ALICE,
    BOB,
    DAY,
    NOW,
    FakeClock,
    Sample,
    files_charge,
    lease_for,
    open_store,
    put,
    sample,
)
from tests.node.serving import CONTACT, bench, put_message

ONE = account_charge(1)
"""What a small chunk counts for."""
QUOTA = HEADROOM_BYTES + 20 * ONE
ROOM = QUOTA // ONE // 4
"""Small chunks in a quarter of the quota."""


def small(seed: int) -> Sample:
    return sample(seed, 1000)


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.code


def put_from(store: ChunkStore, seed: int, source: str | None, identity: Identity = ALICE) -> None:
    segment = small(seed)
    writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], *lease_for(segment, identity), source)
    try:
        writer.write(memoryview(segment.columns[0]))
        writer.commit()
    finally:
        writer.abort()


def test_one_depositor_takes_its_share_and_no_more(tmp_path: Path) -> None:
    store = open_store(tmp_path, quota=QUOTA, depositor_share=0.25)
    for seed in range(ROOM):
        put(store, small(seed), 0)
    with pytest.raises(Refusal, match="refused: one depositor may take 25% of this node's quota, and has it"):
        put(store, small(100), 0)
    put(store, small(100), 0, lease_for(small(100), BOB))
    assert store.apply_lease(*lease_for(small(100))), "a lease on what another has put takes no share"
    assert store.apply_lease(*lease_for(small(0), sequence=2, deleted=True)) == []
    put(store, small(101), 0)
    assert code_of(lambda: put(store, small(102), 0)) is ErrorCode.REFUSED
    assert store._quota.reserved == 0
    store.close()


@pytest.mark.parametrize(
    ("sources", "taken"),
    [
        (["8.8.8.1", "8.8.8.2"], False),
        (["8.8.8.1", "8.8.9.1"], True),
        (["2600::1", "2600:0:0:ffff::1"], False),
        (["2600::1", "2600:0:1::1"], True),
        (["127.0.0.1"], True),
        (["192.168.0.1"], True),
        (["::1"], True),
        ([None], True),
    ],
    ids=str,
)
def test_one_neighbourhood_takes_its_share_whoever_deposits(
    tmp_path: Path, sources: list[str | None], taken: bool
) -> None:
    """A crowd of new depositors is one neighbourhood. One's own machine and network are not counted."""
    store = open_store(tmp_path, quota=QUOTA, subnet_share=0.25)
    crowd = [Identity(bytes([number]) * 32) for number in range(1, ROOM + 2)]
    for number, depositor in enumerate(crowd[:ROOM]):
        put_from(store, number, sources[0], depositor)

    def one_more() -> None:
        put_from(store, 100, sources[-1], crowd[ROOM])

    if taken:
        one_more()
    else:
        with pytest.raises(Refusal, match="refused: one subnet may take 25%"):
            one_more()
        put_from(store, 101, "9.9.9.9")
    store.close()


def test_shares_hold_for_puts_side_by_side(tmp_path: Path) -> None:
    store = open_store(tmp_path, quota=QUOTA, depositor_share=0.25, subnet_share=0.5)
    codes: list[ErrorCode | None] = []

    def try_put(seed: int, identity: Identity) -> None:
        try:
            put_from(store, seed, "8.8.8.8", identity)
            codes.append(None)
        except Refusal as exc:
            codes.append(exc.code)

    threads = [threading.Thread(target=try_put, args=(seed, [ALICE, BOB][seed % 2])) for seed in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count(None) == 2 * ROOM
    assert codes.count(ErrorCode.REFUSED) == 30 - 2 * ROOM
    assert store.used_bytes == files_charge(tmp_path) <= QUOTA // 2
    store.close()


@pytest.mark.parametrize("share", ["depositor", "subnet"])
def test_what_is_promised_to_a_put_counts_and_is_given_back(tmp_path: Path, share: str) -> None:
    one = 1.5 * ONE / QUOTA
    shares = (one, 1.0) if share == "depositor" else (1.0, one)
    store = open_store(tmp_path, quota=QUOTA, depositor_share=shares[0], subnet_share=shares[1])
    segment = small(0)
    for _ in range(3):
        writer = store.begin_put(segment.descriptor, 0, segment.hashes[0], *lease_for(segment), "8.8.8.8")
        assert code_of(lambda: put_from(store, 1, "8.8.8.8")) is ErrorCode.REFUSED
        writer.abort()
        writer.abort()
    put_from(store, 0, "8.8.8.8")
    store.drop(segment.id, 0)
    full = sample(5, 16_000_000)
    assert code_of(lambda: put(store, full, 0, lease_for(full, BOB))) in (ErrorCode.FULL, ErrorCode.REFUSED)
    put_from(store, 2, "8.8.8.8")
    store.close()


def test_a_chunk_is_on_the_account_of_the_lease_it_was_put_under(tmp_path: Path) -> None:
    """Whoever puts it again, and takes its lease over, has it for nothing: it takes no more room."""
    store = open_store(tmp_path, quota=QUOTA, depositor_share=1.5 * ONE / QUOTA)
    put(store, small(0), 0)
    put(store, small(0), 0, lease_for(small(0), BOB))
    put(store, small(1), 0, lease_for(small(1), BOB))
    assert code_of(lambda: put(store, small(2), 0)) is ErrorCode.REFUSED
    store.close()


@pytest.mark.parametrize("index_lost", [False, True])
def test_accounts_outlast_a_restart(tmp_path: Path, index_lost: bool) -> None:
    """The files say whose a chunk is, but not whence it came: that is lost with the index, and nobody is charged."""
    share = 1.5 * ONE / QUOTA
    store = open_store(tmp_path, quota=QUOTA)
    put_from(store, 0, "8.8.8.8")
    store.close()
    if index_lost:
        (tmp_path / "index.sqlite").unlink()
    store = open_store(tmp_path, quota=QUOTA, depositor_share=share)
    assert code_of(lambda: put(store, small(1), 0)) is ErrorCode.REFUSED
    store.close()
    store = open_store(tmp_path, quota=QUOTA, subnet_share=share)
    if not index_lost:
        assert code_of(lambda: put_from(store, 1, "8.8.8.9", BOB)) is ErrorCode.REFUSED
    else:
        put_from(store, 1, "8.8.8.9", BOB)
    store.close()


def test_what_goes_from_the_trash_is_on_no_account(tmp_path: Path) -> None:
    clock = FakeClock()
    store = open_store(tmp_path, clock, quota=HEADROOM_BYTES + charge(1) + lease_charge(0), depositor_share=0.2)
    lease: tuple[Lease, bytes] = lease_for(small(0), expiry=NOW + DAY)
    put(store, small(0), 0, lease)
    clock.now = NOW + 2 * DAY
    store.expire()
    put(store, small(1), 0, lease_for(small(1), BOB))
    assert set(store.depositors._shares._depositors) == {BOB.key}
    store.close()


async def test_the_server_says_where_a_chunk_came_from(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path, quota=QUOTA, subnet_share=1.5 * ONE / QUOTA) as it:
        it.peers = it.make_peers("8.8.8.8")
        it.nursery.start_soon(it.peers.run)
        first, second = small(0), small(1)
        assert isinstance(await it.ask(put_message(first, 0), first.columns[0]), PutReply)
        assert await it.code(put_message(second, 0), second.columns[0]) is ErrorCode.REFUSED
        near = it.make_peers("192.168.0.1")
        it.nursery.start_soon(near.run)
        reply, _ = await near.request(CONTACT, put_message(second, 0), body=(memoryview(second.columns[0]),))
        assert isinstance(reply, PutReply)
