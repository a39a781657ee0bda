"""Where chunks end up: evenly over claimed countries, each on a node of its own, and never where they must not."""

from collections import Counter
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.errors import RefusedError
from node.publishing.publish import Options
from protocol.ids import Address
from protocol.leases import Policy
from tests.network.archipelago import PORT, archipelago

MIB = 1 << 20


async def test_countries_and_nodes_are_filled_evenly(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 24) as islands:
        folder = islands.file("films/0", MIB).parent
        for number in range(1, 12):
            islands.file(f"films/{number}", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(folder)
        assert published.segments == 13
        for held in islands.holders().values():
            holders = [node for nodes in held.values() for node in nodes]
            assert len(set(holders)) == len(holders) == len(held)
            countries = Counter(node.country for node in holders)
            assert max(countries.values()) - min(countries.values()) <= 1
            assert len(countries) == 4
        loads = [len(node.chunks()) for node in islands.nodes]
        assert sum(loads) == 12 * 12 + 5
        assert max(loads) <= 12  # 4.7 on average: segment ids, and so the nodes nearest to them, are random
        assert min(loads) >= 1


async def test_a_refusal_of_many_segments_is_one_error(autojump_clock: MockClock, base: Path) -> None:
    """Which whoever waits for a NodeError catches, published or shared."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        folder = islands.file("films/0", MIB).parent
        for number in range(1, 4):
            islands.file(f"films/{number}", MIB)
        nowhere = Options(policy=Policy(avoid=("DE", "FR", "IS", "NZ")))
        with pytest.raises(RefusedError, match="avoided"):
            await alice.publish(folder, options=nowhere)
        whole = (await alice.publish(folder)).link
        with pytest.raises(RefusedError, match="avoided"):
            await alice.share(whole, b"films/1", options=nowhere)


async def test_what_lies_together_stays_so(autojump_clock: MockClock, base: Path) -> None:
    """Chunks put when there were few nodes: a lost one is put again, and the rest need no other place for that."""
    async with archipelago(base, 5) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        (held,) = (held for held in islands.holders().values() if len(held) == 12)
        (segment,) = (s for s, found in islands.holders().items() if len(found) == 12)
        held[3][0].chunk_file((segment, 3)).unlink()
        await islands.grow(12)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        assert published.link == link
        assert published.placed == published.chunks
        assert 0 < published.sent_bytes < published.stored_bytes / 10


async def test_avoided_countries_get_nothing(autojump_clock: MockClock, base: Path) -> None:
    policy = Policy(avoid=("DE", "FR"))
    async with archipelago(base, 16) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source, options=Options(policy=policy))
            assert published.placed == published.chunks
            assert published.survives.not_country == ("IS", "NZ")  # two countries: either has more than n-k
            assert any("too few countries" in note for note in published.notes)
            for node in islands.nodes:
                assert node.country in ("IS", "NZ") or not node.chunks()
                assert all(node.lease(chunk).policy == policy for chunk in node.chunks())
            await alice.fetch(published.link, base / "copy")


async def test_a_new_policy_moves_what_is_there(autojump_clock: MockClock, base: Path) -> None:
    """Chunks on nodes that the new policy excludes do not count as present."""
    async with archipelago(base, 16) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            await alice.publish(source)
            published = await alice.publish(source, options=Options(policy=Policy(avoid=("DE",))))
            assert 0 < published.sent_bytes < published.stored_bytes
            assert published.placed == published.chunks
        for held in islands.holders().values():
            for nodes in held.values():
                assert any(node.country != "DE" for node in nodes)


async def test_who_cannot_be_reached_gets_nothing(autojump_clock: MockClock, base: Path) -> None:
    """A node that peers cannot dial back stores nothing and stands in no routing table."""
    async with archipelago(base, 8) as islands:
        hidden = await islands.start(advertise=Address("10.0.9.1", PORT + 1))
        assert hidden.host.ip == "10.0.9.1"
        assert not hidden.info.storing
        async with islands.user("alice") as alice:
            await alice.publish(islands.file("film", MIB))
            for node in islands.nodes[:8]:
                known = await alice.client.dht.known_by(node.contact, hidden.node_id)
                assert known
                assert hidden.node_id not in {contact.node_id for contact in known}
        assert not hidden.chunks()


async def test_clients_are_in_no_routing_table(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        async with islands.user("bob") as bob:
            await bob.fetch(link, base / "copy")
            for node in islands.nodes:
                known = await bob.client.dht.known_by(node.contact, node.node_id)
                assert {c.address.host for c in known} == {n.host.ip for n in islands.nodes if n is not node}
                assert not {alice.host.ip, bob.host.ip}.intersection(c.address.host for c in known)


async def test_what_is_stored_is_not_sent_again_when_the_network_has_grown(
    autojump_clock: MockClock, base: Path
) -> None:
    async with archipelago(base, 13) as islands, islands.user("alice") as alice:
        source = islands.file("film", 2 * MIB)
        first = await alice.publish(source)
        for _ in range(30):  # now 20 others are nearer to most segments than some of their holders
            await islands.start()
        second = await alice.publish(source)
        assert second.link == first.link
        assert second.sent_bytes == 0
