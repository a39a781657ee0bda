"""Which node gets which chunk (node/publishing/placement.py)."""

from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from dht.contact import Contact
from node.publishing.placement import Candidate, assign, country_bound_met, why_not
from protocol.identity import Identity
from protocol.ids import Address
from protocol.leases import Policy

CHUNK = 1000
KEYS = [Identity(bytes([number]) * 32).key for number in range(40)]


def candidate(number: int, country: str = "FR", *, free: int = 10**9, host: str | None = None) -> Candidate:
    return Candidate(Contact(KEYS[number], Address(host or f"10.0.{number}.1", 4110)), country, free)


def plan(candidates: list[Candidate], n: int, *, policy: Policy | None = None) -> list[Candidate]:
    chosen = assign(range(n), candidates, {}, policy or Policy(), chunk_bytes=CHUNK)
    assert list(chosen) == list(range(n)) or not chosen
    return list(chosen.values())


places = st.lists(st.sampled_from(["", "DE", "FR", "IS", "NZ"]), min_size=1, max_size=40)


@given(places, st.integers(1, 32))
def test_nodes_are_distinct_and_countries_even(countries: list[str], n: int) -> None:
    candidates = [candidate(number, country) for number, country in enumerate(countries)]
    chosen = plan(candidates, n)
    assert len(chosen) == n
    loads = Counter(holder.node_id for holder in chosen)
    assert max(loads.values()) - min(loads[c.node_id] for c in candidates) <= 1
    if n <= len(candidates):
        assert max(loads.values()) == 1
        most = max(Counter(holder.country for holder in chosen).values())
        room = Counter(countries)
        # The least that any choice of distinct nodes can have as its largest share.
        assert most == next(m for m in range(1, n + 1) if sum(min(m, have) for have in room.values()) >= n)


@given(places, st.integers(1, 32))
def test_without_spreading_the_nearest_are_taken(countries: list[str], n: int) -> None:
    assume(n <= len(countries))
    candidates = [candidate(number, country) for number, country in enumerate(countries)]
    assert plan(candidates, n, policy=Policy(spread_countries=False)) == candidates[:n]


@given(places, st.integers(1, 32), st.sets(st.sampled_from(["DE", "FR", "IS"])))
def test_avoided_countries_and_full_nodes_get_nothing(countries: list[str], n: int, avoid: set[str]) -> None:
    policy = Policy(avoid=tuple(sorted(avoid)))
    candidates = [
        candidate(number, country, free=CHUNK - 1 if number % 3 == 0 else CHUNK)
        for number, country in enumerate(countries)
    ]
    usable = [c for number, c in enumerate(candidates) if c.country not in avoid and number % 3]
    chosen = plan(candidates, n, policy=policy)
    assert set(chosen) <= set(usable)
    assert len(chosen) == (n if usable else 0)
    assert {c for c in candidates if why_not(c, policy, CHUNK) is None} == set(usable)


def test_subnets_then_nearness_decide_within_a_country() -> None:
    candidates = [
        candidate(0, host="10.1.1.1"),
        candidate(1, host="10.1.1.2"),
        candidate(2, host="10.1.2.1"),
        candidate(3, host="10.1.3.1"),
    ]
    assert [c.contact.address.host for c in plan(candidates, 4)] == ["10.1.1.1", "10.1.2.1", "10.1.3.1", "10.1.1.2"]
    v6 = [
        candidate(0, host="2001:db8:1::1"),
        candidate(1, host="2001:db8:1:ffff::2"),
        candidate(2, host="2001:db8:2::1"),
    ]
    assert plan(v6, 2) == [v6[0], v6[2]]
    local = [Candidate(Contact(KEYS[i], Address("127.0.0.1", 4110 + i)), "FR", 10**9) for i in range(3)]
    assert len({c.subnet for c in local}) == 3


def test_what_is_placed_already_counts() -> None:
    candidates = [candidate(number, country) for number, country in enumerate(["DE", "FR", "IS", "DE", "FR", "IS"])]
    placed = {0: candidates[0], 1: candidates[3], 2: candidates[1]}  # two in DE, one in FR
    chosen = assign([5, 3, 4], candidates, placed, Policy(), chunk_bytes=CHUNK)
    assert list(chosen) == [3, 4, 5]
    assert Counter(c.country for c in chosen.values()) == {"IS": 2, "FR": 1}
    assert not set(chosen.values()) & set(placed.values())
    assert assign([], candidates, placed, Policy(), chunk_bytes=CHUNK) == {}
    assert assign([1], [], placed, Policy(), chunk_bytes=CHUNK) == {}


def test_the_country_bound() -> None:
    holders = [candidate(number, country) for number, country in enumerate(["DE"] * 4 + ["FR"] * 4 + ["IS"] * 4)]
    assert country_bound_met(holders, 8)
    assert country_bound_met([*holders, candidate(12, "DE")], 8)
    assert not country_bound_met(holders, len(holders) - 2)
    assert not country_bound_met([], 1)
