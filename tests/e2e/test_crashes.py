"""Nodes and clients that are killed: what was acknowledged stays, and running again goes on from there.

``scripts/crashes`` does the same for longer.
"""

from collections.abc import Callable

import pytest

from tests.e2e.clientkills import LARGE, SMALL, ClientKills, Killed
from tests.e2e.healingkills import HealingKills
from tests.e2e.nodekills import NodeKills
from tests.e2e.world import Net, Nodes


@pytest.mark.parametrize("seed", [2])
def test_a_node_that_is_killed_while_it_is_put_to(nodes: Nodes, seed: int) -> None:
    NodeKills(nodes, seed=seed, puts=24, kills=3).run()


@pytest.mark.parametrize("seed", [1])
def test_nodes_that_heal_each_other_are_killed(nodes: Nodes, seed: int) -> None:
    """Here one in the midst of leaving, which goes on when it is told again; the storm is for ``scripts/crashes``."""
    kills = HealingKills(nodes, seed=seed, seconds=0, count=4)
    kills.run()
    assert kills.seen.done["leave"] > 0
    assert kills.seen.kills.total() > 0


@pytest.fixture(scope="module")
def large(calm: Net, tmp_path_factory: pytest.TempPathFactory) -> ClientKills:
    return ClientKills(calm, tmp_path_factory.mktemp("large"), LARGE, seed=3)


@pytest.fixture(scope="module")
def small(calm: Net, tmp_path_factory: pytest.TempPathFactory) -> ClientKills:
    return ClientKills(calm, tmp_path_factory.mktemp("small"), SMALL, seed=4)


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("what", [ClientKills.publish, ClientKills.fetch])
def test_a_command_that_is_killed_at_some_moment(
    large: ClientKills, what: Callable[[ClientKills], Killed], number: int
) -> None:
    what(large)


@pytest.mark.parametrize(
    "step",
    [
        "pathlib:Path.hardlink_to",  # a secret is made, and has no name yet
        "node.journal:Journal.note_placed",
        "node.journal:Journal.finish",
        "pathlib:Path.replace",  # contacts are written, and have no name yet
    ],
)
def test_a_publish_that_is_killed_between_two_steps(small: ClientKills, step: str) -> None:
    small.publish_until(step)


@pytest.mark.parametrize(
    ("step", "resumes"),
    [
        ("node.fetching.restore:Restore.finished_before", False),
        ("node.fetching.restore:Restore._finish_entries", True),
        ("node.fetching.restore:Restore._move", True),
        ("node.fetching.restore:Restore._remove_staging", True),
    ],
)
def test_a_fetch_that_is_killed_between_two_steps(small: ClientKills, step: str, resumes: bool) -> None:
    killed = small.fetch_until(step)
    assert killed.there == (killed.total if resumes else 0)
