#!/usr/bin/env python3
"""Weeks on a network whose nodes die for good, healing by themselves: what is lost, beside what theory expects.

Everything is the real thing but the wires, the clock and, unless --real is given, signatures (a keyed hash stands in
for Ed25519) and pings (the simulation answers them). Time is scaled: half-lives and all intervals are divided by
--scale; timeouts and the upkeep of the DHT are not, so the network is relatively slower than a real one. A seed replays
exactly.
"""

import argparse
import gc
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.intervals import DAY, HOUR
from scripts.durability import DESIGN_REBUILD, Answer, Case, theory
from tests.network.days import AT_ONCE, SPARING, K, N, Plan, Result, run_plan

MEMORY = Path("/dev/shm")
REBUILD = {"1h": AT_ONCE, "graces": SPARING}
_COLUMNS = (
    "half-life, days", "rebuild", "seed", "days", "deaths", "segments lost", "by theory", "least chunks",
    "back after, h: mean, longest", "chunks rebuilt", "moved", "by theory", "pings, surveys, audits", "CPU s",
)  # fmt: skip


def main() -> int:
    args = _options()
    logging.disable()  # what nodes say of lost peers
    gc.set_threshold(200_000, 50, 100)  # as archipel does itself: it would be a tenth of the time
    print(_preamble(args), flush=True)
    print("| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS), flush=True)
    rows = []
    for half_life in args.half_life:
        row = _measure(args, half_life)
        rows.append(row)
        print(_line(row), flush=True)
        if args.json is not None:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["lost"] or row["root_lost"] or not row["readable"] for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak days", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half-life", type=float, nargs="+", default=[7.0], metavar="DAYS", help="one run for each")
    parser.add_argument(
        "--rebuild", choices=REBUILD, default="1h", help="within 1 h of a death, or after the design's graces"
    )
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--segments", type=int, default=200, help="of 1 MiB, 8 of 12")
    parser.add_argument("--scale", type=float, default=60.0, help="times as fast (default %(default)g)")
    parser.add_argument("--real", action="store_true", help="real signatures, real pings: several times slower")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser.parse_args()


def _preamble(args: argparse.Namespace) -> str:
    given = REBUILD[args.rebuild]
    shortcuts = (
        ""
        if args.real
        else " Signatures are keyed hashes, pings are answered by the simulation, the DHT's upkeep is rarer."
    )
    return (
        f"{args.nodes} nodes, {args.segments} segments of {K} of {N}; time {args.scale:g} times as fast.{shortcuts}\n"
        f"Pings every {given.ping / 60:g} min, looks every {given.tick / 60:g} min, graces"
        f" {given.grace / 60:.3g} and {given.short_grace / 60:.3g} min, next in rank after {given.rank / 60:g} min,"
        f" surveys every {given.survey / DAY:g} d, audits every {given.audit / DAY:g} d, announcements every"
        f" {given.announce / DAY:g} d.\nMoved: bytes of chunks read and written for repair, for each byte stored and"
        " day. Pings, surveys, audits: of one node in a day.\n"
    )


def _measure(args: argparse.Namespace, half_life: float) -> dict[str, object]:
    plan = Plan(
        half_life=half_life * DAY, intervals=REBUILD[args.rebuild], days=args.days, seed=args.seed, nodes=args.nodes,
        segments=args.segments, scale=args.scale, real=args.real,
    )  # fmt: skip
    began, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="archipel-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        result = run_plan(Path(folder), plan, partial(_tell, lambda: time.process_time() - cpu))
    case = Case(
        K, N, plan.half_life, DESIGN_REBUILD if args.rebuild == "graces" else HOUR, N - 1, args.rebuild == "graces",
        args.days, args.segments,
    )  # fmt: skip
    row = _row(plan, result, theory(case))
    return row | {
        "rebuild": args.rebuild,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.monotonic() - began,
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _tell(cpu: Callable[[], float], result: Result) -> None:
    back = result.back or [0.0]
    print(
        f"day {result.days:g}: {result.deaths} deaths, {len(result.lost)} lost, least {result.least},"
        f" {len(result.back)} back after {mean(back) / HOUR:.2f} h, at most {max(back) / HOUR:.2f};"
        f" {result.missing} missing; {result.tally.repairs_done} rebuilt, {result.tally.repairs_failed} failed,"
        f" {_moved(result):.3f} moved; {cpu():.0f} s",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _moved(result: Result) -> float:
    moved = result.tally.repair_read_bytes + result.tally.repair_written_bytes
    return moved / result.stored_bytes / result.days


def _row(plan: Plan, result: Result, expected: Answer) -> dict[str, object]:
    each = plan.nodes * result.days
    tally, health = result.tally, result.health
    return {
        "half_life_days": plan.half_life / DAY,
        "seed": plan.seed,
        "nodes": plan.nodes,
        "segments": plan.segments,
        "days": result.days,
        "scale": plan.scale,
        "real": plan.real,
        "deaths": result.deaths,
        "lost": result.lost,
        "root_lost": result.root_lost,
        "least": result.least,
        "below": dict(sorted(result.below.items())),
        "readable": health is not None and health.readable,
        "whole": health is not None and sum(found.live == found.n for found in health.segments),
        "back_hours_mean": mean(result.back or [0.0]) / HOUR,
        "back_hours_longest": max(result.back, default=0.0) / HOUR,
        "back": len(result.back),
        "missing": result.missing,
        "moved_per_byte_and_day": _moved(result),
        "stored_bytes": result.stored_bytes,
        "stream_bytes": result.pieces_bytes,
        "datagram_bytes": result.datagram_bytes,
        "datagrams": result.datagrams,
        "pings_per_node_and_day": tally.pings / each,
        "surveys_per_node_and_day": tally.surveys_asked / each,
        "audits_per_node_and_day": (tally.audits_passed + tally.audits_failed + tally.audits_silent) / each,
        "tally": asdict(tally),
        "theory": asdict(expected),
        "digest": result.digest,
    }


def _line(row: dict[str, object]) -> str:
    said: dict[str, float] = row["theory"]  # type: ignore[assignment]  # a row is what json makes of it
    lost, tally = row["lost"], row["tally"]
    assert isinstance(lost, dict)
    assert isinstance(tally, dict)
    return (
        f"| {row['half_life_days']:g} | {row['rebuild']} | {row['seed']} | {row['days']:g} | {row['deaths']} |"
        f" {len(lost)} | {said['lost']:.2g} | {row['least']} |"
        f" {row['back_hours_mean']:.2f}, {row['back_hours_longest']:.2f} | {tally['repairs_done']} |"
        f" {row['moved_per_byte_and_day']:.3f} | {said['traffic']:.3f} |"
        f" {row['pings_per_node_and_day']:.0f}, {row['surveys_per_node_and_day']:.1f},"
        f" {row['audits_per_node_and_day']:.1f} | {row['cpu_seconds']:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
