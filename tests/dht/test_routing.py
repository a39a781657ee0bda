"""The routing table against the obvious: a sorted list of everybody (docs/spec/dht.md section 4)."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Contact
from dht.routing import MAX_STRIKES, PER_BUCKET, PER_TABLE, K, Shortlist, Table, random_in
from protocol.ids import Address, NodeId, PublicKey


def contact(number: int, host: str = "10.0.0.1") -> Contact:
    return Contact(PublicKey(number.to_bytes(32, "big")), Address(host, 1 + number % 65535))


def far_from(table: Table) -> "list[Contact]":
    """Contacts of the other half of the keyspace."""
    return [c for c in map(contact, range(1, 400)) if (c.node_id[0] ^ table.own_id[0]) & 0x80]


def filled(seed: int, count: int) -> tuple[Table, list[Contact]]:
    random = Random(seed)
    table = Table(NodeId(random.randbytes(32)))
    contacts = [contact(random.getrandbits(256)) for _ in range(count)]
    kept = [c for c in contacts if table.add(c, 0.0)]
    return table, kept


def distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


@given(st.integers(0, 2**32), st.integers(0, 120), st.binary(min_size=32, max_size=32))
def test_nearest_is_exact(seed: int, count: int, target: bytes) -> None:
    table, kept = filled(seed, count)
    expected = sorted((c.node_id for c in kept), key=lambda identifier: distance(identifier, target))
    assert [entry.id for entry in table.nearest(target)] == expected[:K]
    assert len(table) == len(kept) == sum(len(bucket.nodes) for bucket in table.buckets)


@given(st.integers(0, 2**32), st.integers(0, 200), st.binary(min_size=32, max_size=32), st.integers(0, 40))
def test_who_is_nearer_is_counted(seed: int, count: int, target: bytes, shared: int) -> None:
    """Of those in the table exactly; of those that wait for a place in the target's bucket, too."""
    table, kept = filled(seed, count)
    prefix, rest = int.from_bytes(table.own_id, "big") >> (256 - shared), int.from_bytes(target, "big")
    target = (prefix << (256 - shared) | rest & ((1 << (256 - shared)) - 1)).to_bytes(32, "big")
    ours = distance(table.own_id, target)
    waiting = table.bucket_of(target).replacement_nodes
    expected = sum(distance(c.node_id, target) < ours for c in kept) + len(waiting)
    assert table.nearer(target) == expected
    assert all(distance(identifier, target) < ours for identifier in waiting)
    assert table.nearer(table.own_id) == 0


@given(st.integers(0, 2**32), st.integers(0, 200))
def test_buckets_are_disjoint_whole_and_bounded(seed: int, count: int) -> None:
    table, _ = filled(seed, count)
    assert table.buckets[0].range[0] == 0
    assert table.buckets[-1].range[1] == 2**256 - 1
    for one, two in zip(table.buckets, table.buckets[1:], strict=False):
        assert one.range[1] + 1 == two.range[0]
    for bucket in table.buckets:
        assert len(bucket.nodes) <= K
        assert len(bucket.replacement_nodes) <= K
        assert all(bucket.holds(entry.long_id) for entry in bucket.nodes.values())
        assert not bucket.nodes.keys() & bucket.replacement_nodes.keys()


def test_everybody_near_us_is_kept() -> None:
    """A full bucket splits as long as our own id is in its range."""
    table, _ = filled(3, 2000)
    random = Random(3)
    random.randbytes(32)
    everybody = sorted(
        (contact(random.getrandbits(256)).node_id for _ in range(2000)), key=lambda i: distance(i, table.own_id)
    )
    assert [entry.id for entry in table.nearest(table.own_id)] == everybody[:K]


def test_ids_at_the_edges_of_ranges() -> None:
    table, _ = filled(1, 500)
    for bucket in table.buckets:
        for number in bucket.range:
            assert table.bucket_of(number.to_bytes(32, "big")) is bucket
    for number in (0, 2**256 - 1):
        assert len(table.nearest(number.to_bytes(32, "big"))) == K


def test_we_are_not_in_our_own_table() -> None:
    own = contact(1)
    table = Table(own.node_id)
    assert not table.wants(own)
    assert not table.add(own, 0.0)
    assert len(table) == 0


def test_a_full_bucket_keeps_who_is_in_and_remembers_the_rest() -> None:
    table = Table(NodeId(bytes(32)))
    far = far_from(table)[: 3 * K]
    added = [table.add(c, 0.0) for c in far]
    assert added == [True] * K + [False] * 2 * K
    bucket = table.bucket_of(far[0].node_id)
    assert [entry.contact for entry in bucket.replacement_nodes.values()] == far[2 * K :]
    assert not table.wants(far[2 * K])
    table.remove(far[0].node_id)
    assert table.get(far[-1].node_id) is not None  # the latest replacement moved up
    table.remove(far[K].node_id)  # not in the table: nothing happens
    assert len(table) == K


def test_three_strikes_in_a_row() -> None:
    table = Table(NodeId(bytes(32)))
    peer = contact(1)
    table.add(peer, 0.0)
    for _ in range(MAX_STRIKES - 1):
        table.strike(peer.node_id)
    table.add(peer, 1.0)  # it answered
    for _ in range(MAX_STRIKES - 1):
        table.strike(peer.node_id)
    assert table.get(peer.node_id) is not None
    table.strike(peer.node_id)
    assert table.get(peer.node_id) is None
    table.strike(peer.node_id)


def test_an_answer_moves_a_contact_to_the_end_and_to_its_new_address() -> None:
    table = Table(NodeId(bytes(32)))
    for number in range(3):
        table.add(contact(number), float(number))
    table.add(contact(0), 5.0, 0.1)
    assert [entry.contact for entry in table.buckets[0].nodes.values()] == [contact(1), contact(2), contact(0)]
    moved = Contact(contact(1).key, Address("10.0.0.9", 9))
    table.add(moved, 6.0)
    entry = table.get(moved.node_id)
    assert entry is not None
    assert (entry.contact, entry.heard, len(table)) == (moved, 6.0, 3)


def test_round_trips_are_smoothed() -> None:
    table = Table(NodeId(bytes(32)))
    for rtt in (0.8, None, 0.0):
        table.add(contact(1), 0.0, rtt)
    entry = table.get(contact(1).node_id)
    assert entry is not None
    assert entry.rtt == pytest.approx(0.7)


@pytest.mark.parametrize(("host", "same"), [("45.0.0.{}", "45.0.0.99"), ("2a00:1:2:{}::1", "2a00:1:2:ff::1")])
def test_a_public_subnet_has_two_places_in_a_bucket(host: str, same: str) -> None:
    table = Table(NodeId(bytes(32)))
    peers = [contact(number, host.format(number + 1)) for number in range(10)]
    assert [table.add(peer, 0.0) for peer in peers] == [True] * PER_BUCKET + [False] * 8
    assert table.add(contact(50, "46.0.0.1"), 0.0)
    table.remove(peers[0].node_id)
    assert sum(peer.node_id in table.buckets[0].nodes for peer in peers) == PER_BUCKET
    assert not table.add(contact(60, same), 0.0)


def test_a_public_subnet_has_ten_places_in_the_table() -> None:
    table = Table(NodeId(bytes(32)))
    for number in range(1000):
        table.add(contact(number), 0.0)  # private: makes the table split
    while len(table):  # until no replacement is left, either
        for entry in table.entries():
            table.remove(entry.id)
    for number in range(1000, 4000):
        table.add(contact(number, f"45.0.0.{number % 250 + 1}"), 0.0)
    assert sum(entry.subnet is not None for entry in table.entries()) == PER_TABLE
    for entry in table.entries():
        table.remove(entry.id)
    assert sum(entry.subnet is not None for entry in table.entries()) <= PER_TABLE


def test_loopback_and_private_ranges_are_exempt() -> None:
    table = Table(NodeId(bytes(32)))
    assert all(table.add(contact(number, "127.0.0.1"), 0.0) for number in range(K))


def test_stale_buckets_and_ids_to_refresh_them_with() -> None:
    table, _ = filled(2, 200)
    assert len(table.stale(0.0)) == len(table.buckets) > 2
    random = Random(4)
    for bucket in table.buckets:
        target = random_in(bucket, random.randbytes)
        assert bucket.holds(int.from_bytes(target, "big"))
        table.touch(target, 10.0)
    assert table.stale(10.0) == []
    assert len(table.stale(10.1)) == len(table.buckets)


def test_a_shortlist_knows_a_node_once_and_stays_small() -> None:
    target = bytes(32)
    shortlist = Shortlist(target)
    contacts = [contact(number) for number in range(500)]
    used = {contacts[7].node_id, contacts[499].node_id}
    for _ in range(2):
        for at in range(0, 500, 20):
            shortlist.offer(contacts[at : at + 20], lambda candidate: candidate.id in used)
    ids = [candidate.id for candidate in shortlist.nearest()]
    expected = sorted((c.node_id for c in contacts), key=lambda identifier: distance(identifier, target))
    assert ids[:200] == expected[:200]
    assert used <= set(ids)
    assert len(ids) == len(set(ids)) <= 202


def test_a_shortlist_keeps_a_few_other_addresses_of_a_key() -> None:
    shortlist = Shortlist(bytes(32))
    key = contact(1).key
    addresses = [Contact(key, Address("10.0.0.1", port)) for port in range(1, 6)]
    shortlist.offer([addresses[0], *addresses], lambda candidate: False)
    candidate = shortlist.get(addresses[0].node_id)
    assert candidate is not None
    assert (candidate.contact, candidate.elsewhere) == (addresses[0], addresses[1:3])
