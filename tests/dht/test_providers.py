"""The provider store (docs/spec/dht.md section 6)."""

import tracemalloc
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dht import providers
from dht.contact import unpack_contact
from dht.providers import MAX_LIFE_SECONDS, PER_INDEX, PER_SEGMENT, ProviderStore
from protocol import datagrams as d
from protocol.identity import Identity, Network
from protocol.ids import Address, SegmentId
from protocol.records import ProviderRecord, open_provider

NETWORK = Network("tests")
NOW = 1_700_000_000
PUBLISHER = Address("45.0.0.1", 4110)
IDENTITIES = [Identity(bytes([number]) * 32) for number in range(80)]
SEGMENTS = [SegmentId(bytes([number]) * 32) for number in range(4)]


def record(
    holder: int = 0, index: int = 0, *, segment: SegmentId = SEGMENTS[0], life: int = 3600, host: str = "46.0.0.1"
) -> bytes:
    return ProviderRecord.sign(
        IDENTITIES[holder],
        NETWORK.id,
        segment,
        index=index,
        expiry=NOW + life,
        country="NZ",
        address=Address(host, 4110),
    )


def forged(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def store_of(*records: bytes) -> ProviderStore:
    store = ProviderStore(NETWORK)
    store.add(SEGMENTS[0], records, PUBLISHER, NOW)
    return store


def all_pages(store: ProviderStore, segment: SegmentId = SEGMENTS[0], now: float = NOW) -> list[list[bytes]]:
    pages, first = [], 0
    while first < d.NO_MORE:
        page, after = store.page(segment, first, now)
        assert after > first
        pages.append(list(page))
        first = after
    return pages


def test_a_page_holds_nine_records_in_order_of_index() -> None:
    records = [record(index, index) for index in range(12)]
    store = store_of(*reversed(records))
    assert store.page(SEGMENTS[0], 0, NOW) == (tuple(records[:9]), 9)
    assert store.page(SEGMENTS[0], 9, NOW) == (tuple(records[9:]), d.NO_MORE)
    assert store.page(SEGMENTS[0], 12, NOW) == ((), d.NO_MORE)
    assert store.page(SEGMENTS[1], 0, NOW) == ((), d.NO_MORE)


@pytest.mark.parametrize("host", ["46.0.0.1", "2a00::1"])
def test_every_page_fits_its_datagram_and_no_index_is_split(host: str) -> None:
    records = [record(holder, holder // PER_INDEX, host=host) for holder in range(PER_SEGMENT)]
    store = store_of(*records)
    pages = all_pages(store)
    assert [data for page in pages for data in page] == records
    for page in pages:
        message = d.Providers(token=bytes(8), records=tuple(page), next=0)
        sealed = d.seal(IDENTITIES[0], NETWORK.id, IDENTITIES[1].node_id, bytes(8), message, read_only=False)
        assert len(sealed) <= d.MAX_DATAGRAM_BYTES
        assert len(page) % PER_INDEX == 0


def test_mixed_addresses_fill_a_page() -> None:
    records = [record(index, index, host="2a00::1" if index < 6 else "46.0.0.1") for index in range(12)]
    assert [len(page) for page in all_pages(store_of(*records))] == [9, 3]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        record()[:-1],
        record() + b"\0",
        b"\x20" + record()[1:],
        record(life=0),
        record(life=-1),
        record(life=MAX_LIFE_SECONDS + 1),
        record(host="224.0.0.1"),
        record(host="192.168.0.1"),
        record(host="127.0.0.1"),
        record()[:47] + bytes(2) + record()[49:],
    ],
    ids=["empty", "cut", "long", "index", "over", "past", "far", "multicast", "private", "loopback", "port"],
)
def test_what_is_not_taken(data: bytes) -> None:
    store = ProviderStore(NETWORK)
    assert store.add(SEGMENTS[0], [data], PUBLISHER, NOW) == 0
    assert len(store) == 0


def test_private_addresses_are_taken_from_private_announcers() -> None:
    store = ProviderStore(NETWORK)
    assert store.add(SEGMENTS[0], [record(host="192.168.0.1")], Address("10.0.0.1", 1), NOW) == 1


def test_the_same_bytes_again_cost_no_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []

    def opened(*args: object) -> ProviderRecord:
        checked.append(args[2])  # type: ignore[arg-type]  # network, segment, data
        return open_provider(*args)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(providers, "open_provider", opened)
    records = [record(index, index) for index in range(8)]
    store = store_of(*records)
    assert store.add(SEGMENTS[0], records, PUBLISHER, NOW) == 8
    assert checked == []
    store.page(SEGMENTS[0], 0, NOW)
    store.page(SEGMENTS[0], 0, NOW)
    store.add(SEGMENTS[0], records, PUBLISHER, NOW)
    assert checked == records


def test_only_the_holder_renews_its_record() -> None:
    old, new = record(life=3600), record(life=7200)
    store = store_of(old)
    assert store.add(SEGMENTS[0], [forged(new)], PUBLISHER, NOW) == 0
    assert store.page(SEGMENTS[0], 0, NOW)[0] == (old,)
    assert store.add(SEGMENTS[0], [new], PUBLISHER, NOW) == 1
    assert store.add(SEGMENTS[0], [old], PUBLISHER, NOW) == 0  # a replay of the earlier one
    assert store.page(SEGMENTS[0], 0, NOW)[0] == (new,)
    assert len(store) == 1


def test_rubbish_in_a_holders_name_does_not_keep_it_out() -> None:
    good = record(life=3600)
    store = store_of(forged(record(life=7200)))
    assert store.add(SEGMENTS[0], [good], PUBLISHER, NOW) == 1
    assert store.page(SEGMENTS[0], 0, NOW)[0] == (good,)


def test_a_key_that_did_not_do_the_work_is_not_handed_out() -> None:
    network = Network("hard", 4)
    store = ProviderStore(network)
    for holder in range(20):
        data = ProviderRecord.sign(
            IDENTITIES[holder],
            network.id,
            SEGMENTS[0],
            index=holder,
            expiry=NOW + 9,
            country="",
            address=Address("46.0.0.1", 1),
        )
        store.add(SEGMENTS[0], [data], PUBLISHER, NOW)
    shown = [data[0] for page in all_pages(store) for data in page]
    assert shown == [holder for holder in range(20) if network.admits(IDENTITIES[holder].node_id)]


def test_caps_of_a_segment_and_incumbents_stay() -> None:
    store = ProviderStore(NETWORK)
    first = [record(holder, 0) for holder in range(PER_INDEX)]
    assert store.add(SEGMENTS[0], [*first, record(9, 0)], PUBLISHER, NOW) == PER_INDEX
    alone = [record(20, index) for index in range(32)]
    assert store.add(SEGMENTS[0], alone, PUBLISHER, NOW) == 31  # index 0 is taken
    many = [record(holder, 1 + holder // PER_INDEX) for holder in range(21, 80)]
    store.add(SEGMENTS[0], many, PUBLISHER, NOW)
    assert len(store) == PER_SEGMENT
    assert store.page(SEGMENTS[0], 0, NOW)[0][:PER_INDEX] == tuple(first)
    assert store.add(SEGMENTS[1], [record(9, 0, segment=SEGMENTS[1])], PUBLISHER, NOW) == 1


def test_rubbish_and_the_expired_make_room() -> None:
    store = store_of(*(forged(record(holder)) for holder in range(2)), record(2), record(3, life=10))
    assert store.add(SEGMENTS[0], [record(4)], PUBLISHER, NOW + 20) == 1
    assert len(store) == 2
    assert store.page(SEGMENTS[0], 0, NOW + 20)[0] == (record(2), record(4))


def test_caps_of_a_subnet_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "PER_SUBNET", 6)
    monkeypatch.setattr(providers, "MAX_RECORDS", 10)
    store = ProviderStore(NETWORK)
    for segment in SEGMENTS[:2]:
        records = [record(holder, holder, segment=segment, life=100) for holder in range(4)]
        store.add(segment, records, Address("45.0.0.7", 1), NOW)
    assert len(store) == 6
    store.add(SEGMENTS[2], [record(h, h, segment=SEGMENTS[2]) for h in range(8)], Address("47.0.0.1", 1), NOW)
    assert len(store) == 10
    data = [record(h, h, segment=SEGMENTS[3], life=1000) for h in range(8)]
    assert store.add(SEGMENTS[3], data, Address("48.0.0.1", 1), NOW) == 0
    assert store.add(SEGMENTS[3], data, Address("48.0.0.1", 1), NOW + 200) == 6  # the first source's are over
    assert store.add(SEGMENTS[0], [record(50, 9, life=900)], Address("45.0.0.9", 1), NOW + 200) == 0  # 10 again


def test_loopback_sources_share_the_total_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "PER_SUBNET", 1)
    store = ProviderStore(NETWORK)
    records = [record(holder, holder, host="127.0.0.1") for holder in range(10)]
    assert store.add(SEGMENTS[0], records, Address("127.0.0.1", 1), NOW) == 10


def test_a_purge_goes_round() -> None:
    store = ProviderStore(NETWORK)
    for number in range(100):
        segment = SegmentId(number.to_bytes(32, "big"))
        store.add(segment, [record(segment=segment, life=10 if number % 2 else 100)], PUBLISHER, NOW)
    for expected in (80, 60, 50, 50):
        store.purge(NOW + 20, most=40)
        assert len(store) == expected
    store.purge(NOW + 200, most=1000)
    assert len(store) == 0
    assert not store._segments and not store._sources


class StoreMachine(RuleBasedStateMachine):
    """The store against a plain dictionary: what it shows is genuine, alive, and was announced; counts add up."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ProviderStore(NETWORK)
        self.announced: set[tuple[SegmentId, bytes]] = set()
        self.now = NOW

    @rule(
        segment=st.sampled_from(SEGMENTS),
        holder=st.integers(0, 7),
        index=st.integers(0, 5),
        life=st.sampled_from((10, 20, 40)),
        false=st.booleans(),
        source=st.sampled_from(("45.0.0.1", "45.0.0.2", "47.0.0.1", "127.0.0.1")),
    )
    def announce(self, segment: SegmentId, holder: int, index: int, life: int, false: bool, source: str) -> None:
        data = record(holder, index, segment=segment, life=self.now - NOW + life)
        if false:
            data = forged(data)
        if self.store.add(segment, [data], Address(source, 1), self.now):
            self.announced.add((segment, data))

    @rule(segment=st.sampled_from(SEGMENTS))
    def show(self, segment: SegmentId) -> None:
        for page in all_pages(self.store, segment, self.now):
            assert [data[0] for data in page] == sorted(data[0] for data in page)
            for data in page:
                assert (segment, data) in self.announced
                assert open_provider(NETWORK.id, segment, data).expiry > self.now

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.store) > 0)
    @rule()
    def purge(self) -> None:
        self.store.purge(self.now)

    @invariant()
    def counts_add_up(self) -> None:
        kept = [entry for entries in self.store._segments.values() for entry in entries]
        assert len(self.store) == len(kept)
        assert sum(self.store._sources.values()) == sum(entry.source is not None for entry in kept)
        assert all(self.store._segments.values())
        assert all(count > 0 for count in self.store._sources.values())


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStoreMachine = StoreMachine.TestCase


def test_memory_of_a_full_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the constants promise, on a fortieth of them."""
    random = Random(1)
    body = record()
    unpack_contact.cache_clear()  # bounded by itself
    monkeypatch.setattr(providers, "unpack_contact", unpack_contact.__wrapped__)
    tracemalloc.start()
    store = ProviderStore(NETWORK)
    for _ in range(10_000 // 12):
        segment = SegmentId(random.randbytes(32))
        made = [bytes([index]) + random.randbytes(32) + body[33:] for index in range(12)]
        store.add(segment, made, Address("127.0.0.1", 1), NOW)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(store) > 9_900
    assert used / len(store) < 300
