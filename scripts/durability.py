#!/usr/bin/env python3
"""How many segments a network loses, and what repair moves, by theory: for k of n, half-lives, graces, rebuild times.

The model. Nodes vanish at random, for good, independently, at a half-life; each live chunk of a segment is on a node of
its own. When a chunk goes missing a wait begins: the grace of that margin, afresh with each further loss; then the
rebuild. A rebuild takes a fixed time, and in its end all n chunks live again, those included that were lost meanwhile;
it reads k chunks and writes the missing ones. A segment with fewer than k live chunks is lost; one that is lost during
a rebuild is counted when that ends.

The chain. Its states are the numbers of live chunks. Lifetimes are memoryless, graces and rebuilds are not: they are
fixed, and a memoryless rebuild of the same mean would lose several times as much (half-life 7 days, 6 h:
twelve times), since losses come of the long ones. So
it is a Markov renewal process: from each state the Laplace transform of where it leads, and when, is written down as it
is, and what has happened by a given day is had by inverting the transform numerically. The simulation beside it knows
nothing of that.

Expectations add up however segments share nodes: a node that dies takes chunks of many segments with it, so losses come
in bunches, but the number expected is the same.
"""

import argparse
import cmath
import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from node.config import parse_duration
from node.errors import ConfigError
from node.intervals import DAY, HOUR, Intervals

SEED = 4
CYCLES = 200_000
HISTORIES = 2_000
GRACES = Intervals()
DESIGN_REBUILD = 900.0
"""Within which the design rebuilds, seconds."""


@dataclass(frozen=True)
class Case:
    """What is asked. Times in seconds."""

    k: int
    n: int
    half_life: float
    rebuild: float
    """From the end of the grace until all n chunks live again."""
    at: int
    """A rebuild begins at so many live chunks or fewer; 0: never."""
    graces: bool = False
    """Whether the design's graces come before it."""
    days: float = 30.0
    segments: int = 200

    def __post_init__(self) -> None:
        if not (1 <= self.k <= self.n and 0 <= self.at < self.n):
            raise ValueError(f"want 1 <= k <= n and at < n, got {self.k} of {self.n} at {self.at}")
        if min(self.half_life, self.rebuild, self.days) <= 0 or self.segments < 0:
            raise ValueError("half-life, rebuild time and days are more than 0, segments 0 or more")

    @property
    def hazard(self) -> float:
        """Chance of a node's end per second."""
        return math.log(2) / self.half_life

    def grace(self, live: int) -> float | None:
        """Seconds before a rebuild begins with so many live chunks; None: it does not."""
        if live > self.at or live == self.n:
            return None
        if not self.graces or live <= self.k + 1:
            return 0.0
        return GRACES.grace if live == self.n - 1 else GRACES.short_grace


@dataclass(frozen=True)
class Answer:
    """What theory says of a case."""

    lost: float
    """Segments expected to be lost, of all."""
    rebuilds: float
    """Of one segment in a day."""
    traffic: float
    """Bytes moved for each byte stored (all n chunks of a segment), in a day."""


class Course(NamedTuple):
    """What becomes of a segment from some moment on, as transforms: E[e^(-s t); it ends so], t the time until then."""

    lost: complex
    """It ends with too few chunks ..."""
    whole: complex
    """... or with all n,"""
    moved: complex
    """and the same times the chunks that the rebuild read and wrote."""

    def plus(self, other: "Course") -> "Course":
        return Course(self.lost + other.lost, self.whole + other.whole, self.moved + other.moved)

    def times(self, factor: complex) -> "Course":
        return Course(*(factor * value for value in self))


def _after_loss(case: Case, live: int, s: complex) -> Course:
    """From the moment a chunk is lost outside a rebuild, and ``live`` are left."""
    if live < case.k:
        return Course(1, 0, 0)
    wait = case.grace(live)
    if wait == 0:
        return _rebuild(case, live, s)
    speed = live * case.hazard
    lasts = 0j if wait is None else cmath.exp(-(s + speed) * wait)
    another = _after_loss(case, live - 1, s).times(speed / (s + speed) * (1 - lasts))
    return another if wait is None else another.plus(_rebuild(case, live, s).times(lasts))


def _rebuild(case: Case, live: int, s: complex) -> Course:
    """From the beginning of a rebuild: each chunk survives it or not, independently."""
    dies = -math.expm1(-case.hazard * case.rebuild)
    chances = [math.comb(live, dead) * dies**dead * (1 - dies) ** (live - dead) for dead in range(live + 1)]
    enough = live - case.k + 1
    moved = sum(chance * (case.k + case.n - live + dead) for dead, chance in enumerate(chances[:enough]))
    return Course(sum(chances[enough:]), sum(chances[:enough]), moved).times(cmath.exp(-s * case.rebuild))


def theory(case: Case) -> Answer:
    """Solve it: with n live chunks again everything begins afresh, so each sum over cycles is a geometric series."""

    def by_then(what: Callable[[Course], complex]) -> float:
        def transform(s: complex) -> complex:
            speed = case.n * case.hazard
            cycle = _after_loss(case, case.n - 1, s).times(speed / (s + speed))
            return what(cycle) / (1 - cycle.whole) / s

        return _inverted(transform, case.days * DAY)

    lost = case.segments * by_then(lambda cycle: cycle.lost)
    return Answer(
        lost, by_then(lambda cycle: cycle.whole) / case.days, by_then(lambda cycle: cycle.moved) / case.n / case.days
    )


def _inverted(transform: Callable[[complex], complex], time: float) -> float:
    """A function at ``time`` from its Laplace transform: the Euler algorithm of Abate and Whitt (2006, section 5)."""
    terms = 15  # good for 9 digits of a smooth function
    weights = [0.5, *([1.0] * terms), *([0.0] * terms)]
    for back in range(terms):
        weights[2 * terms - back] = 2**-terms * sum(math.comb(terms, each) for each in range(back + 1))
    total = 0.0
    for number, weight in enumerate(weights):
        at = complex(terms * math.log(10) / 3, math.pi * number) / time
        total += (-1) ** number * weight * transform(at).real
    return 10 ** (terms / 3) / time * total


class Cycle(NamedTuple):
    """From n live chunks until there are n again, or too few."""

    seconds: float
    lost: bool
    weight: float
    """How much likelier this course is than it was to be drawn."""
    moved: int
    """Chunks read and written by the rebuild in its end."""


def _cycle(case: Case, chance: random.Random, *, forced: bool) -> Cycle:
    """Draw one cycle; ``forced``: in each wait a chunk is lost half the time (importance sampling)."""
    live, seconds, weight = case.n, 0.0, 1.0
    rebuilding, left = False, math.inf
    while live >= case.k:
        speed = live * case.hazard
        dies = -math.expm1(-speed * left)
        drawn = 0.5 if forced and left < math.inf else dies
        if chance.random() >= drawn:
            weight *= (1 - dies) / (1 - drawn)
            seconds += left
            if rebuilding:
                return Cycle(seconds, False, weight, case.k + case.n - live)
            rebuilding, left = True, case.rebuild
            continue
        weight *= dies / drawn
        after = -math.log1p(-chance.random() * dies) / speed
        seconds, live = seconds + after, live - 1
        if rebuilding:
            left -= after
        elif (grace := case.grace(live)) is None:
            left = math.inf
        else:
            rebuilding, left = grace == 0.0, grace or case.rebuild
    return Cycle(seconds, True, weight, 0)


def simulation(case: Case, seed: int = SEED, cycles: int = CYCLES, histories: int = HISTORIES) -> Answer:
    """The same by Monte Carlo.

    Losses are rare: the chance of one in a cycle is drawn with forced losses, how many cycles end in time without.
    """
    chance = random.Random(seed)
    each = (_cycle(case, chance, forced=True) for _ in range(cycles))
    risk = sum(cycle.weight for cycle in each if cycle.lost) / cycles
    ended = moved = 0
    for _ in range(histories):
        left = case.days * DAY
        while (cycle := _cycle(case, chance, forced=False)).seconds <= left:
            ended, moved = ended + 1, moved + cycle.moved
            if cycle.lost:
                break
            left -= cycle.seconds
    return Answer(
        case.segments * -math.expm1(ended / histories * math.log1p(-risk)),
        ended / histories / case.days,
        moved / histories / case.days / case.n,
    )


def usual_cases(k: int, n: int, days: float, segments: int) -> list[Case]:
    """Half-lives of 7, 14 and 28 days: the design's figures, and with its graces."""
    cases = []
    for half_life in (7, 14, 28):
        one = Case(k, n, half_life * DAY, HOUR, at=n - 1, days=days, segments=segments)
        graces = replace(one, graces=True)
        cases += [replace(one, rebuild=6 * HOUR), one, graces, replace(graces, rebuild=DESIGN_REBUILD)]
    return cases


_COLUMNS = ("chunks", "half-life", "rebuild begins", "takes", "lost", "by simulation", "rebuilds of a segment", "moved")


def _span(seconds: float) -> str:
    for size, unit in ((DAY, "d"), (HOUR, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _line(case: Case, chain: Answer, drawn: Answer) -> str:
    begins = "after the graces" if case.graces else f"at {case.at}"
    return (
        f"| {case.k} of {case.n} | {_span(case.half_life)} | {begins} | {_span(case.rebuild)} | {chain.lost:.2g} | "
        f"{drawn.lost:.2g} | {chain.rebuilds:.3f} | {chain.traffic:.3f} |"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/durability", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument(
        "--half-life", metavar="TIME", help="of nodes, such as 7d; the next three go with it (default: a table)"
    )
    parser.add_argument("--rebuild", metavar="TIME", help="how long a rebuild takes (default: 1h)")
    parser.add_argument("--at", type=int, help="live chunks at which a rebuild begins (default: n - 1)")
    parser.add_argument("--graces", action="store_true", help="wait as the design does: 6h, 30m, not at all")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED, help="of the simulation")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    options = parser.parse_args()
    if options.half_life is None and (options.rebuild or options.at is not None or options.graces):
        parser.error("--rebuild, --at and --graces want a --half-life")
    return options


def _asked(options: argparse.Namespace) -> list[Case]:
    k, n, days, segments = options.k, options.n, options.days, options.segments
    if options.half_life is None:
        return usual_cases(k, n, days, segments)
    half_life, rebuild = float(parse_duration(options.half_life)), float(parse_duration(options.rebuild or "1h"))
    return [Case(k, n, half_life, rebuild, n - 1 if options.at is None else options.at, options.graces, days, segments)]


def main() -> None:
    options = _options()
    try:
        cases = _asked(options)
    except (ValueError, ConfigError) as exc:
        raise SystemExit(f"durability: {exc}") from None
    found = []
    if not options.json:
        print(f"Lost: expected among {cases[0].segments} segments in {cases[0].days:g} days.", end=" ")
        print("Rebuilds and bytes moved: in a day, the bytes for each one stored.\n")
        print("| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS))
    for case in cases:
        chain, drawn = theory(case), simulation(case, options.seed)
        found.append({"case": asdict(case), "theory": asdict(chain), "simulation": asdict(drawn)})
        if not options.json:
            print(_line(case, chain, drawn), flush=True)
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
