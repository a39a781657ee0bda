#!/usr/bin/env python3
"""Runs tests/network/soak.py for many seeds, one after the other: a line for each, then how often what came of what.

A seed replays exactly, whatever else the machine does: the same digest stands for the same events at the same
(virtual) times.
"""

import argparse
import json
import logging
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.network.soak import NODES, Report, run_seed

MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first (default %(default)s)")
    parser.add_argument("--nodes", type=int, default=NODES, help="of each network (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    args = parser.parse_args()
    logging.disable()  # what nodes say of rotten chunks and lost peers
    began = time.monotonic()
    rows = []
    for seed in range(args.first, args.first + args.seeds):
        report, seconds = _timed(seed, args.nodes)
        _print(report, seconds, args.nodes)
        rows.append(_row(report, seconds))
        if args.json is not None:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return _summary(rows, time.monotonic() - began)


def _timed(seed: int, nodes: int) -> tuple[Report, float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="archipel-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        report = run_seed(Path(folder), seed, nodes)
    return report, time.monotonic() - began


def _print(report: Report, seconds: float, nodes: int) -> None:
    word = "FAILED" if report.problems else "ok"
    outcomes = "; ".join(map(str, report.outcomes))
    print(
        f"{report.seed:4} {word}: {report.faults} | {outcomes} | {report.virtual_seconds:.0f} s virtual,"
        f" {seconds:.1f} s real | {report.events} events, {report.digest}",
        flush=True,
    )
    for problem in report.problems:
        print(f"     {problem}")
    if report.problems:
        print(f"     again: scripts/soak --first {report.seed} --seeds 1 --nodes {nodes}", flush=True)


def _row(report: Report, seconds: float) -> dict[str, object]:
    return {
        "seed": report.seed,
        "faults": report.faults,
        "outcomes": [
            {
                "what": outcome.what,
                "how": outcome.how,
                "seconds": outcome.ended - outcome.began,
                "message": str(outcome.error or ""),
            }
            for outcome in report.outcomes
        ],
        "problems": report.problems,
        "virtual_seconds": report.virtual_seconds,
        "real_seconds": seconds,
        "digest": report.digest,
    }


def _summary(rows: list[dict[str, object]], seconds: float) -> int:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    longest: dict[str, float] = defaultdict(float)
    for row in rows:
        for outcome in row["outcomes"]:
            counts[outcome["what"]][outcome["how"]] += 1
            longest[outcome["what"]] = max(longest[outcome["what"]], outcome["seconds"])
    failed = [row["seed"] for row in rows if row["problems"]]
    print()
    for what, kinds in counts.items():
        told = ", ".join(f"{count} {how}" for how, count in kinds.most_common())
        print(f"{what}: {told}; the longest took {longest[what]:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(rows)} seeds in {seconds:.0f} s, at most {peak:.0f} MB; failed: {', '.join(map(str, failed)) or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
