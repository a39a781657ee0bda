"""Nodes die for good, disk and all, one after another, and others come: what the holders rebuild keeps pace.

More of the same, 60 nodes for 30 days: scripts/soak days.
"""

from pathlib import Path

from node.intervals import DAY, HOUR
from tests.network.days import AT_ONCE, K, N, Plan, run_plan


def test_the_holders_keep_pace_with_deaths(base: Path) -> None:
    """Nine chunks die with their nodes: without repair 3 of 12 would be left, and 8 are needed."""
    plan = Plan(half_life=0.75 * DAY, intervals=AT_ONCE, days=0.75, seed=2, nodes=14, segments=1, scale=240, real=False)
    result = run_plan(base, plan)
    assert result.deaths == 12
    assert not result.lost
    assert not result.root_lost
    assert result.least > K
    assert len(result.back) + result.missing > N - K
    assert max(result.back) <= HOUR
    assert result.longest_missing <= HOUR
    assert result.health is not None
    assert result.health.readable
