"""How near a segment is to loss, and whose turn it is (node/healing/margin.py)."""

import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.healing.margin import EPOCH_SECONDS, Standing, grace, joint_policy, rank, successor, urgency
from node.intervals import Intervals
from protocol.hashing import digest
from protocol.ids import NodeId, SegmentId
from protocol.leases import MAX_AVOIDED, Lease, Policy
from tests.strategies import IDENTITY, NETWORK, leases

INTERVALS = Intervals(grace=6.0, short_grace=0.5)
EVEN = ("DE", "FR", "IS", "NZ")
WALL = 1_800_000_000.0
SEGMENT = SegmentId(b"s" * 32)

nodes = st.sets(st.binary(min_size=32, max_size=32).map(NodeId), min_size=1, max_size=20)
walls = st.floats(0, 2**40)
segments = st.binary(min_size=32, max_size=32).map(SegmentId)


def even(indices: range) -> dict[int, str]:
    return {index: EVEN[index % len(EVEN)] for index in indices}


def standing(live: int, k: int = 8, n: int = 12) -> Standing:
    """The first ``live`` chunks are there; all were, in four countries."""
    return Standing(k, n, even(range(live)), even(range(n)))


def someone(number: int) -> NodeId:
    return NodeId(hashlib.sha256(bytes([number])).digest())


@pytest.mark.parametrize(("live", "seconds"), [(12, 6.0), (11, 6.0), (10, 0.5), (9, 0.0), (8, 0.0), (3, 0.0), (0, 0.0)])
def test_grace_shrinks_with_what_is_left(live: int, seconds: float) -> None:
    """8 of 12 without the country rule: everything was in one country before."""
    at_home = dict.fromkeys(range(12), "DE")
    assert grace(Standing(8, 12, dict.fromkeys(range(live), "DE"), at_home), INTERVALS) == seconds


@pytest.mark.parametrize(
    ("k", "n", "seconds"),
    [
        (1, 5, [0.0, 0.0, 0.0, 0.5, 6.0]),
        (1, 2, [0.0, 0.0]),
        (8, 9, [0.0] * 9),
        (8, 10, [0.0] * 10),  # n - 1 is k + 1, too: the shorter time counts
        (8, 11, [0.0] * 10 + [6.0]),
        (16, 32, [0.0] * 18 + [0.5] * 13 + [6.0]),
    ],
)
def test_grace_of_other_shares(k: int, n: int, seconds: list[float]) -> None:
    each_its_own = {index: f"{index:02}" for index in range(n)}
    for live, expected in enumerate(seconds):
        left = {index: each_its_own[index] for index in range(live)}
        recorded = each_its_own | dict.fromkeys(range(live, n), "XX")
        # Countries of one chunk each are never short before k + 1 chunks are.
        assert grace(Standing(k, n, left, recorded), INTERVALS) == expected, live


def test_no_grace_when_one_country_is_all_that_lies_before_loss() -> None:
    whole = {
        0: "DE",
        1: "DE",
        2: "DE",
        3: "DE",
        **dict.fromkeys(range(4, 8), "FR"),
        **dict.fromkeys(range(8, 12), "IS"),
    }

    def left(lost: int) -> Mapping[int, str]:
        return {index: country for index, country in whole.items() if index != lost}

    assert grace(Standing(8, 12, whole, whole), INTERVALS) == 6.0
    assert grace(Standing(8, 12, left(5), whole), INTERVALS) == 0.0
    worse = whole | {11: "DE"}  # five in one country from the beginning: nothing was lost that was had
    assert grace(Standing(8, 12, {i: c for i, c in worse.items() if i != 5}, worse), INTERVALS) == 6.0
    unknown = {index: "" if country == "DE" else country for index, country in whole.items()}
    assert grace(Standing(8, 12, {i: c for i, c in unknown.items() if i != 5}, unknown), INTERVALS) == 0.0


def test_urgency_sorts_by_what_is_nearest_to_loss() -> None:
    one_country = Standing(8, 12, dict.fromkeys(range(10), "DE"), {})
    order = [standing(6), standing(8), standing(9), one_country, standing(10), standing(11), standing(12)]
    assert sorted([*order[3:], *order[:3]], key=urgency) == order
    assert urgency(standing(10)) == (2, -1)
    assert urgency(Standing(8, 12, {}, {})) == (-8, -8)


@given(nodes, segments, walls)
def test_every_node_has_one_rank(found: set[NodeId], segment: SegmentId, wall: float) -> None:
    assert sorted(rank(found, node, segment, wall) for node in found) == list(range(len(found)))
    for node in found:
        assert rank(found - {node}, node, segment, wall) == rank([*found, node], node, segment, wall)


def test_rank_is_by_a_hash_of_segment_epoch_and_node() -> None:
    """Worked out beside the code, from the words of the specification."""
    found = [someone(number) for number in range(7)]
    near = sorted(found, key=lambda node: digest("rank", SEGMENT, (20833).to_bytes(8, "big"), node))
    assert WALL // EPOCH_SECONDS == 20833
    assert [rank(found, node, SEGMENT, WALL) for node in near] == list(range(7))


def test_the_leader_changes_from_day_to_day_and_from_segment_to_segment() -> None:
    found = [someone(number) for number in range(12)]
    assert {rank(found, found[0], SEGMENT, 20833 * 86_400 + second) for second in (0, 1, 43_200, 86_399.9)} == {
        rank(found, found[0], SEGMENT, 20833 * 86_400.0)
    }
    days = {next(n for n in found if rank(found, n, SEGMENT, WALL + day * 86_400) == 0) for day in range(100)}
    assert days == set(found)
    others = {next(n for n in found if rank(found, n, SegmentId(bytes([s]) * 32), WALL) == 0) for s in range(100)}
    assert others == set(found)


@given(nodes, segments, walls, st.floats(1, 1e7))
def test_each_is_audited_by_exactly_one_other(
    found: set[NodeId], segment: SegmentId, wall: float, period: float
) -> None:
    start = node = min(found)
    seen = []
    while (node := successor(found, node, segment, wall, period) or node) != start:  # one ring through all of them
        seen.append(node)
    assert sorted([*seen, start]) == sorted(found)
    assert (successor(found, start, segment, wall, period) is None) == (len(found) == 1)
    assert successor(found - {start}, start, segment, wall, period) == successor(found, start, segment, wall, period)


def test_the_auditor_changes_with_the_period() -> None:
    found = [someone(number) for number in range(5)]
    for node in found:
        audited = {successor(found, node, SEGMENT, WALL + week * 604_800, 604_800.0) for week in range(50)}
        assert len(audited) > 1, "not the same ones for ever"
    assert len({successor(found, found[0], SEGMENT, WALL // 100 * 100 + second, 100.0) for second in range(100)}) == 1


def lease(*avoid: str, spread: bool = False) -> Lease:
    return Lease(
        network=NETWORK.id,
        depositor=IDENTITY.key,
        deposit=bytes(16),
        segment=SEGMENT,
        size=1,
        sequence=1,
        expiry=2**40,
        policy=Policy(spread, avoid),
    )


def test_joint_policy() -> None:
    assert joint_policy([lease("FR", "DE"), lease("IS", "DE")]) == Policy(False, ("DE", "FR", "IS"))
    assert joint_policy([lease(), lease(spread=True), lease()]) == Policy(True, ())
    assert joint_policy([]) == Policy(False, ())


def test_of_too_many_countries_those_are_avoided_that_most_avoid() -> None:
    many = [f"{one}{other}" for one in "ABCDEFGH" for other in "ABCDEFGH"]
    found = joint_policy(
        [lease(*many[:32]), lease(*many[32:], *["ZZ"] * 5), lease("ZZ"), lease("YY", "ZZ"), lease("YY")]
    )
    assert found.avoid == (*many[: MAX_AVOIDED - 2], "YY", "ZZ")


@given(st.lists(leases, max_size=4))
def test_a_joint_policy_is_the_same_in_any_order_and_never_laxer(found: list[Lease]) -> None:
    joint = joint_policy(found)
    assert joint == joint_policy(reversed(found))
    assert joint.spread_countries == any(one.policy.spread_countries for one in found)
    asked = {country for one in found for country in one.policy.avoid}
    assert set(joint.avoid) <= asked
    assert len(joint.avoid) == min(len(asked), MAX_AVOIDED)
