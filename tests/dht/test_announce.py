"""Batches and regions of announcements (docs/spec/dht.md section 6)."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dht.announce import batches, region
from dht.contact import Contact
from dht.search import Found
from protocol import datagrams as d
from protocol.identity import Identity
from protocol.ids import Address, NetworkId, PublicKey, SegmentId

IDENTITY = Identity(bytes(32))


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=32, max_size=32).map(SegmentId),
            st.lists(st.sampled_from((bytes(113), bytes(125))), max_size=40),
        ),
        max_size=12,
    )
)
def test_every_batch_fits_and_nothing_is_lost(records: list[tuple[SegmentId, list[bytes]]]) -> None:
    sent: list[tuple[SegmentId, bytes]] = []
    for items in batches(records):
        message = d.Announce(token=bytes(8), items=items)
        d.seal(IDENTITY, NetworkId(bytes(32)), IDENTITY.node_id, bytes(8), message, read_only=False)
        sent += [(item.segment, data) for item in items for data in item.records]
    assert sent == [(segment, data) for segment, packed in records for data in packed]


def test_twelve_records_of_a_segment_take_two_datagrams_and_seven_segments_of_one_take_one() -> None:
    segments = [SegmentId(bytes([number]) * 32) for number in range(7)]
    twelve = list(batches([(segments[0], [bytes(113)] * 12)]))
    assert [[len(item.records) for item in items] for items in twelve] == [[8, 1], [3]]
    assert [len(items) for items in batches([(segment, [bytes(113)]) for segment in segments])] == [7]


def _network(count: int) -> list[Contact]:
    random = Random(count)
    return [Contact(PublicKey(random.randbytes(32)), Address("10.0.0.1", 1 + n)) for n in range(count)]


def _nearest(contacts: list[Contact], target: bytes) -> list[Found]:
    def distance(contact: Contact) -> int:
        return int.from_bytes(contact.node_id, "big") ^ int.from_bytes(target, "big")

    return [Found(contact, bytes(8), 0.0, 0.0) for contact in sorted(contacts, key=distance)[:20]]


def _distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


@given(st.integers(1, 300), st.integers(1, 200), st.integers(0, 2**32))
def test_all_that_a_lookup_must_know_are_told(count: int, many: int, seed: int) -> None:
    """Whoever is nearer to an id of the region than d - e, as region() says."""
    contacts, random = _network(count), Random(seed)
    segments = sorted(SegmentId(random.randbytes(32)) for _ in range(many))
    nearest = _nearest(contacts, segments[0])
    served = region(segments, nearest)
    assert 1 <= served <= many
    told = {found.contact for found in nearest}
    farthest = _distance(nearest[-1].contact.node_id, segments[0]) if count > 20 else 2**256
    for segment in segments[:served]:
        sure = farthest - _distance(segment, segments[0])
        assert sure > 0
        assert told.issuperset(contact for contact in contacts if _distance(contact.node_id, segment) < sure)


def test_most_of_the_nearest_are_told() -> None:
    """And many more ids are served than lookups made, however unevenly nodes lie in the keyspace."""
    lookups, told = 0, []
    for count in range(21, 301, 9):
        contacts, random = _network(count), Random(count)
        segments = sorted(SegmentId(random.randbytes(32)) for _ in range(count * 10))
        left = segments
        while left:
            nearest = _nearest(contacts, left[0])
            served = region(left, nearest)
            lookups += 1
            known = {found.contact for found in nearest}
            for segment in left[:served:20]:
                told.append(len(known.intersection(found.contact for found in _nearest(contacts, segment))))
            left = left[served:]
    assert min(told) >= 8
    assert sum(told) / len(told) > 16
    assert len(told) > 4 * lookups, "of every 20th segment"


def test_a_small_network_is_one_region() -> None:
    segments = sorted(SegmentId(Random(n).randbytes(32)) for n in range(50))
    assert region(segments, _nearest(_network(12), segments[0])) == 50
