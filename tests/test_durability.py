"""scripts/durability: against what can be written down, the design's figures, and its own simulation."""

import math
from dataclasses import replace

import pytest

from node.intervals import DAY, HOUR
from scripts.durability import Case, simulation, theory

DESIGN = Case(k=8, n=12, half_life=7 * DAY, rebuild=6 * HOUR, at=11)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 3), (2, 4), (8, 12)])
def test_without_repair_it_is_a_binomial(k: int, n: int) -> None:
    case = Case(k=k, n=n, half_life=3 * DAY, rebuild=HOUR, at=0, days=5, segments=1)
    lives = 2 ** (-5 / 3)
    too_few = sum(math.comb(n, live) * lives**live * (1 - lives) ** (n - live) for live in range(k))
    answer = theory(case)
    assert answer.lost == pytest.approx(too_few, rel=1e-7)
    assert answer.traffic == answer.rebuilds == 0


def test_a_plain_copy_dies_when_both_die_within_a_rebuild() -> None:
    """1 of 2: cycles of a first loss and a rebuild, each lost with the chance that the other dies meanwhile."""
    case = Case(k=1, n=2, half_life=7 * DAY, rebuild=HOUR, at=1, days=365, segments=1)
    hazard = math.log(2) / case.half_life
    risk = -math.expm1(-hazard * HOUR)
    cycles = 365 * DAY / (1 / (2 * hazard) + HOUR)
    lost = -math.expm1(-cycles * risk)
    answer = theory(case)
    assert answer.lost == pytest.approx(lost, rel=0.001)
    assert answer.rebuilds * 365 == pytest.approx(lost / risk, rel=0.01), "as many as it lives to see"
    assert answer.traffic == pytest.approx(answer.rebuilds * (1 + 1) / 2, rel=1e-6)


@pytest.mark.parametrize(("half_life", "rebuild", "lost"), [(7, 6, 0.56), (7, 1, 0.0006), (28, 6, 0.0008)])
def test_the_figures_of_the_design(half_life: int, rebuild: int, lost: float) -> None:
    answer = theory(replace(DESIGN, half_life=half_life * DAY, rebuild=rebuild * HOUR))
    assert answer.lost == pytest.approx(lost, rel=0.1)


@pytest.mark.parametrize(
    "case",
    [
        DESIGN,
        replace(DESIGN, graces=True, rebuild=HOUR),
        replace(DESIGN, at=10, rebuild=HOUR),
        Case(k=2, n=4, half_life=2 * DAY, rebuild=3 * HOUR, at=3, graces=True),
    ],
)
def test_a_simulation_says_the_same(case: Case) -> None:
    chain, drawn = theory(case), simulation(case, seed=1, cycles=40_000, histories=500)
    assert drawn.lost == pytest.approx(chain.lost, rel=0.1)
    assert drawn.rebuilds == pytest.approx(chain.rebuilds, rel=0.03)
    assert drawn.traffic == pytest.approx(chain.traffic, rel=0.03)


def test_graces_save_traffic_and_cost_safety() -> None:
    at_once, later = theory(replace(DESIGN, rebuild=HOUR)), theory(replace(DESIGN, rebuild=HOUR, graces=True))
    assert later.traffic < at_once.traffic
    assert later.lost > at_once.lost


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 13}, {"at": 12}, {"rebuild": 0.0}, {"half_life": -1.0}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"want 1|more than 0"):
        replace(DESIGN, **wrong)  # type: ignore[arg-type]  # the values of one field each
