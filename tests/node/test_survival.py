"""What a deposit survives, against trying every loss (node/keeping/survival.py)."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from node.keeping.survival import Holding, Survival, survival
from protocol.ids import NodeId

NODES = [NodeId(bytes([number]) * 32) for number in range(6)]
COUNTRIES = ["DE", "DE", "FR", "FR", "IS", ""]
"""Of each node."""

chunks = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), max_size=14, unique=True)
"""(index, node) of each live chunk."""
segments = st.lists(st.tuples(st.integers(1, 5), chunks), min_size=1, max_size=3)


def holdings(found: list[tuple[int, int]]) -> list[Holding]:
    return [Holding(index, NODES[node], COUNTRIES[node]) for index, node in found]


def readable(found: list[tuple[int, list[tuple[int, int]]]], gone: tuple[int, ...]) -> bool:
    return all(len({index for index, node in held if node not in gone}) >= k for k, held in found)


def truth(found: list[tuple[int, list[tuple[int, int]]]]) -> int:
    """The most nodes any of which may go."""
    for size in range(len(NODES) + 1):
        if not all(readable(found, gone) for gone in combinations(range(len(NODES)), size)):
            return size - 1
    raise AssertionError("it survives the loss of every node")


@given(segments)
def test_never_more_than_is_true(found: list[tuple[int, list[tuple[int, int]]]]) -> None:
    answer = survival((k, holdings(held)) for k, held in found)
    assert -1 <= answer.nodes <= truth(found)
    assert (answer.nodes == -1) == (not readable(found, ()))


@given(segments)
def test_exact_where_no_chunk_is_held_twice(found: list[tuple[int, list[tuple[int, int]]]]) -> None:
    once = [(k, list({index: (index, node) for index, node in held}.values())) for k, held in found]
    assert survival((k, holdings(held)) for k, held in once).nodes == truth(once)


@given(segments)
def test_countries_are_exact(found: list[tuple[int, list[tuple[int, int]]]]) -> None:
    answer = survival((k, holdings(held)) for k, held in found)
    named = {COUNTRIES[node] for _, held in found for _, node in held} - {""}
    assert set(answer.country) | set(answer.not_country) == named
    assert not set(answer.country) & set(answer.not_country)
    for country in named:
        gone = tuple(node for node in range(len(NODES)) if COUNTRIES[node] == country)
        affected = [(k, held) for k, held in found if any(node in gone for _, node in held)]
        assert (country in answer.country) == readable(affected, gone)


def test_two_of_three_on_three_nodes() -> None:
    held = [(0, 0), (1, 2), (2, 4)]
    assert survival([(2, holdings(held))]) == Survival(1, ("DE", "FR", "IS"), ())
    assert survival([(3, holdings(held))]) == Survival(0, (), ("DE", "FR", "IS"))
    assert survival([(2, holdings(held)), (1, holdings(held[:1]))]) == Survival(0, ("FR", "IS"), ("DE",))
    assert survival([(1, [])]) == Survival(-1, (), ())
    # An index held twice counts on the node that holds fewest: here any one node may go.
    assert survival([(1, holdings([(0, 0), (1, 0), (0, 2)]))]).nodes == 1
