"""A network in trouble: what is asked for is done whole or fails for the right reason, within its bound.

More of the same, and a hundred times: scripts/soak.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.network.soak import Report, run_seed

FEW, MANY = 20, 36
"""Nodes: as many as a lookup asks, and as many as leave out some of them."""
_ROOT = Path(__file__).resolve().parents[2]
_REPLAY = "import sys; from tests.network.test_soak import replay; replay(*sys.argv[1:])"


def told(report: Report) -> str:
    return "\n".join([report.faults, *map(str, report.outcomes), *report.problems])


@pytest.mark.parametrize(("seed", "nodes"), [(3, MANY), *((seed, FEW) for seed in (0, 36))])
def test_whole_or_the_right_error(base: Path, seed: int, nodes: int) -> None:
    report = run_seed(base, seed, nodes)
    assert not report.problems, told(report)
    assert len(report.outcomes) >= 5


def replay(folder: str, seed: str) -> None:
    """Run one seed and print its digest."""
    report = run_seed(Path(folder), int(seed), FEW)
    sys.stdout.write(" ".join([report.digest, str(report.events), *report.problems]))


def test_a_seed_replays_exactly(base: Path) -> None:
    """In processes whose sets and dictionaries of bytes are in another order."""
    processes = []
    for hash_seed in ("1", "2"):
        (base / hash_seed).mkdir()
        command = [sys.executable, "-c", _REPLAY, str(base / hash_seed), "9"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        processes.append(subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True))
    one, other = (process.communicate(timeout=120)[0] for process in processes)
    assert one == other
    assert len(one.split()) == 2, one
    assert int(one.split()[1]) > 3000
