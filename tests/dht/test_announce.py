"""Batches and regions of announcements (docs/spec/dht.md section 6)."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dht.announce import REGION_NODES, batches, region
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


@given(st.integers(1, 300), st.integers(1, 200), st.integers(0, 2**32))
def test_a_region_is_served_by_the_nodes_nearest_to_each_of_its_ids(count: int, many: int, seed: int) -> None:
    contacts, random = _network(count), Random(seed)
    segments = sorted(SegmentId(random.randbytes(32)) for _ in range(many))
    served, nodes = region(segments, _nearest(contacts, segments[0]))
    assert 1 <= served <= many
    assert len(nodes) >= min(count, REGION_NODES)
    told = {found.contact for found in nodes}
    for segment in segments[:served]:
        assert told == {found.contact for found in _nearest(contacts, segment)[: len(told)]}


def test_a_small_network_is_one_region() -> None:
    segments = sorted(SegmentId(Random(n).randbytes(32)) for n in range(50))
    assert region(segments, _nearest(_network(12), segments[0]))[0] == 50
