"""The store of names' records (docs/spec/dht.md section 8)."""

from collections.abc import Iterator, Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht import records as module
from dht.records import NEAR, SLACK_SECONDS, Kept, RecordStore
from dht.routing import K
from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.identity import Network
from protocol.ids import Address, NameId, NodeId
from protocol.names import MAX_LIFE_SECONDS, NameKeys, NameValue, archive_salt, name_id

NETWORK = Network("tests")
NOW = 1_700_000_000
BY = Address("45.0.0.1", 4110)
NAMES = [NameKeys(bytes([number]) * 32) for number in range(12)]
KEPT, OLDER, CONFLICT, FORKED, REFUSED = PutCode

_nonces: Iterator[int] = count()


def record(
    sequence: int = 1,
    *,
    name: int = 0,
    life: int = 3600,
    number: int = 1,
    salt: bytes = b"",
    network: Network = NETWORK,
    nonce: int | None = None,
) -> bytes:
    """A record; every one another."""
    previous = bytes(32) if number > 1 else b""
    value = NameValue(number=number, kind=1, root=bytes(32), key=bytes(32), time=NOW, previous=previous)
    fresh = (next(_nonces) if nonce is None else nonce).to_bytes(16, "big")
    return NAMES[name].sign(network.id, value, sequence=sequence, expiry=NOW + life, nonce=fresh, salt=salt)


def put(store: RecordStore, data: bytes, cas: int = ANY_SEQUENCE, *, by: Address = BY, now: float = NOW) -> PutCode:
    return store.add(data, cas, by, now).reply.code


def kept(store: RecordStore, name: int = 0, now: float = NOW) -> tuple[bytes, ...]:
    return store.get(name_id(NAMES[name].identity.key), now)


def test_what_is_put_is_kept_and_counted() -> None:
    store = RecordStore(NETWORK)
    assert kept(store) == ()
    data = record(5)
    verdict = store.add(data, 0, BY, NOW)
    assert (verdict.name, verdict.reply.code, verdict.reply.sequence) == (name_id(NAMES[0].identity.key), KEPT, 5)
    assert put(store, data) is KEPT, "the same again"
    assert kept(store) == (data,)
    assert (len(store), store.names()) == (1, [verdict.name])
    archived = record(number=2, salt=archive_salt(2))
    assert put(store, archived) is KEPT
    assert len(store) == 2, "another place"


def test_the_table() -> None:
    """Every row of docs/spec/dht.md section 8."""
    store = RecordStore(NETWORK)
    five = record(5)
    assert put(store, five, cas=77) is KEPT, "nothing to compare with"
    for cas in (0, 4, 5, 6, ANY_SEQUENCE):
        assert put(store, record(4), cas) is OLDER
        assert put(store, five, cas) is KEPT
    assert put(store, record(6), 4) is CONFLICT
    assert put(store, record(9), 0) is CONFLICT
    assert kept(store) == (five,)
    six = record(6)
    assert put(store, six, 5) is KEPT
    assert kept(store) == (six,)
    seven = record(7)
    assert put(store, seven, 100) is KEPT, "it missed some: no reason for a conflict"
    eight = record(8)
    assert put(store, eight) is KEPT
    assert kept(store) == (eight,)


def test_two_with_one_sequence_are_kept_and_no_third() -> None:
    store = RecordStore(NETWORK)
    one, other, third = record(3), record(3), record(3)
    assert put(store, one, 2) is KEPT
    assert put(store, other, 2) is FORKED
    assert put(store, third, 2) is FORKED
    assert put(store, one, 2) is FORKED, "whoever asks again because the answer was lost is told, too"
    assert kept(store) == (one, other)
    after = record(4)
    assert put(store, after, 3) is KEPT
    assert kept(store) == (after,)


@pytest.mark.parametrize("life", [0, -1, MAX_LIFE_SECONDS + SLACK_SECONDS + 1])
def test_a_life_that_is_over_or_too_long_is_refused(life: int) -> None:
    store = RecordStore(NETWORK)
    assert put(store, record(life=life)) is REFUSED
    good = record()
    put(store, good)
    assert put(store, record(2, life=life)) is REFUSED
    assert kept(store) == (good,)
    assert put(store, record(2, life=MAX_LIFE_SECONDS + SLACK_SECONDS)) is KEPT


def test_forged_foreign_and_damaged_records_are_refused() -> None:
    store = RecordStore(NETWORK)
    good = record(2)
    put(store, good)
    forged = record(3)
    forged = forged[:-1] + bytes([forged[-1] ^ 1])
    for data in (b"", b"x" * 900, forged, record(3, network=Network("elsewhere")), record(3) + b"\0"):
        verdict = store.add(data, ANY_SEQUENCE, BY, NOW)
        assert (verdict.name, verdict.reply.code, verdict.reply.sequence) == (None, REFUSED, 0)
    assert kept(store) == (good,)


def test_what_has_expired_is_forgotten() -> None:
    store = RecordStore(NETWORK)
    put(store, record(9, life=100))
    put(store, record(name=1, life=100))
    assert kept(store, now=NOW + 100) == ()
    assert len(store) == 1
    assert put(store, record(1), now=NOW + 100) is KEPT, "a lower sequence, and nothing to compare with"
    store.purge(NOW + 100)
    assert store.names() == [name_id(NAMES[0].identity.key)]
    assert store.touched(name_id(NAMES[1].identity.key)) is None


def test_of_a_fork_one_may_end_before_the_other() -> None:
    store = RecordStore(NETWORK)
    short, long = record(2, life=10), record(2, life=1000)
    put(store, short)
    put(store, long)
    assert kept(store, now=NOW + 10) == (long,)
    assert put(store, long, now=NOW + 10) is KEPT


def test_caps_of_a_subnet_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_SUBNET", 3)
    monkeypatch.setattr(module, "MAX_NAMES", 5)
    store = RecordStore(NETWORK)
    assert [put(store, record(name=name, life=100)) for name in range(4)] == [KEPT] * 3 + [REFUSED]
    beside, elsewhere, home = Address("45.0.0.99", 1), Address("46.0.0.1", 1), Address("10.0.0.1", 1)
    assert put(store, record(name=3), by=beside) is REFUSED
    assert put(store, record(2, name=2, life=100), by=beside) is KEPT, "no new name"
    assert put(store, record(name=3), by=elsewhere) is KEPT
    assert put(store, record(name=4), by=home) is KEPT
    assert put(store, record(name=5), by=home) is REFUSED
    assert store.add(record(name=5), 0, home, NOW).reply.sequence == 0
    assert put(store, record(name=5), by=home, now=NOW + 100) is KEPT, "three have ended, and made room"
    assert put(store, record(name=6), by=BY, now=NOW + 100) is KEPT, "also for their subnet"


def where(name: int = 0) -> NameId:
    return name_id(NAMES[name].identity.key)


def placed(ranks: Mapping[NameId, int], own: bytes = bytes(32)) -> RecordStore:
    """A store on a node that knows of so many nodes nearer to these names, and to all others of none."""
    store = RecordStore(NETWORK)
    store.settle(NodeId(own), lambda name: ranks.get(name, 0))
    return store


def test_a_new_name_is_taken_where_we_are_near_and_what_is_kept_stays() -> None:
    ranks = {where(0): NEAR - 1, where(1): NEAR}
    store = placed(ranks)
    assert put(store, record(name=0)) is KEPT
    refused = store.add(record(name=1), 0, BY, NOW)
    assert (refused.reply.code, refused.reply.sequence) == (REFUSED, 0)
    ranks[where(0)] = NEAR
    assert put(store, record(2, name=0)) is KEPT, "it came when we were near"
    assert store.is_far(where(0))
    assert len(store) == 1
    away = RecordStore(NETWORK)
    away.load([(record(name=1), None)], NOW)
    away.settle(NodeId(bytes(32)), lambda name: NEAR)
    assert away.names() == [where(1)], "a node that starts knows nobody, and loses nothing by it"
    assert put(away, record(2, name=1)) is KEPT


def test_in_a_full_store_the_farthest_gives_way_if_others_are_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 3)
    order = sorted(range(6), key=where)  # by distance from a node whose id is zeros
    ranks = {where(order[5]): K}
    store = placed(ranks)
    for number in (order[1], order[5], order[3]):
        put(store, record(name=number))
    store.take_unsaved()
    assert put(store, record(name=order[4])) is KEPT
    assert set(store.names()) == {where(order[number]) for number in (1, 3, 4)}
    assert store.take_unsaved()[where(order[5])] == Kept((), 0, None), "the disk is told"
    assert put(store, record(name=order[5])) is REFUSED, "it is farther than all of them"
    assert put(store, record(name=order[0])) is REFUSED, "we are among the nearest to the farthest"
    ranks[where(order[4])] = K - 1
    assert put(store, record(name=order[0])) is REFUSED
    ranks[where(order[4])] = K
    assert put(store, record(name=order[0])) is KEPT


def test_a_full_store_does_not_look_for_what_is_over_at_every_put(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 1)
    store = RecordStore(NETWORK)
    looks: list[float] = []
    monkeypatch.setattr(store, "purge", looks.append)
    put(store, record())
    for later in range(21):
        assert put(store, record(name=1), now=NOW + later) is REFUSED
    assert looks == [NOW, NOW + 10, NOW + 20]
    put(store, record(name=1), now=NOW - 1000)
    assert len(looks) == 4, "the clock was set back"


def test_a_name_changes_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHANGE_BURST", 3)
    store = RecordStore(NETWORK)
    assert [put(store, record(sequence)) for sequence in range(1, 6)] == [KEPT] * 4 + [REFUSED]
    assert put(store, record(4)) is FORKED, "what proves two writers is kept all the same"
    assert put(store, record(name=1)) is KEPT, "other names are not its affair"
    assert put(store, record(5), now=NOW + 4) is REFUSED
    assert put(store, record(5), now=NOW + 5) is KEPT
    assert put(store, record(6), now=NOW + 5) is REFUSED
    home = Address("10.0.0.1", 1)
    assert put(store, record(6), by=home, now=NOW - 500) is REFUSED, "the clock was set back"
    assert put(store, record(6), by=home, now=NOW - 495) is KEPT


def test_a_subnet_has_names_change_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCE_BURST", 3)
    monkeypatch.setattr(module, "MAX_SOURCES", 1)
    store = RecordStore(NETWORK)
    for name in range(5):
        put(store, record(name=name))
    assert [put(store, record(2, name=name)) for name in range(4)] == [KEPT] * 3 + [REFUSED]
    assert put(store, record(2, name=3), by=Address("10.0.0.1", 1)) is KEPT
    assert put(store, record(2, name=4), now=NOW + 0.1) is KEPT
    assert put(store, record(3), now=NOW + 0.1) is KEPT
    assert put(store, record(4), now=NOW + 0.1) is REFUSED
    assert put(store, record(4), by=Address("46.0.0.1", 1), now=NOW + 0.1) is KEPT
    assert put(store, record(5), now=NOW + 0.1) is KEPT, "of sources some are remembered, not all"


def test_what_changed_is_handed_out_once() -> None:
    store = RecordStore(NETWORK)
    name = name_id(NAMES[0].identity.key)
    data = record()
    put(store, data)
    (kept_now,) = store.take_unsaved().items()
    assert (kept_now[0], kept_now[1].records, kept_now[1].source) == (name, (data,), bytes([45, 0, 0]))
    put(store, data)
    put(store, record(1, number=2, salt=archive_salt(2), life=-5))
    assert store.take_unsaved() == {}
    other = record()
    put(store, other)
    put(store, record())
    assert store.take_unsaved()[name].records == (data, other)


def test_what_was_saved_is_checked_when_it_is_loaded() -> None:
    store = RecordStore(NETWORK)
    one, other = record(4), record(4)
    rows = [(one, None), (other, bytes([45, 0, 0])), (b"rubbish", None), (record(name=1, life=-1), None)]
    store.load([*rows, (record(3), None)], NOW)
    assert kept(store) == (one, other)
    assert (len(store), store.take_unsaved()) == (1, {})


def test_when_a_record_was_last_put_or_given_on() -> None:
    store = RecordStore(NETWORK)
    name = name_id(NAMES[0].identity.key)
    data = record(2)
    put(store, data)
    put(store, record(1), now=NOW + 50)
    assert store.touched(name) == NOW, "a replay of an earlier one says nothing"
    put(store, data, now=NOW + 60)
    assert store.touched(name) == NOW + 60
    store.touch(name, NOW + 70)
    assert store.touched(name) == NOW + 70
    store.touch(name_id(NAMES[1].identity.key), NOW)
    assert len(store) == 1


@given(st.permutations([(sequence, nonce) for sequence in (1, 2, 3) for nonce in (1, 2)]))
def test_nodes_that_are_told_the_same_keep_the_same(order: list[tuple[int, int]]) -> None:
    """In whatever order: with cas that compares nothing, and two of each sequence."""
    store = RecordStore(NETWORK)
    for sequence, nonce in order:
        put(store, record(sequence, nonce=nonce))
    assert set(kept(store)) == {record(3, nonce=1), record(3, nonce=2)}
