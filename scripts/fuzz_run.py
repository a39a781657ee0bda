"""Run the targets of tests/fuzz under atheris, one process each; called by scripts/fuzz."""

import argparse
import faulthandler
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

WORK = Path(".cache/fuzz")
MAX_CPU_SECONDS = 1.0
"""Of one input. Processor time, not time by the clock: a busy machine is no finding."""
MAX_MEMORY_BYTES = 512 << 20
"""Address space of the whole process, most of which is the interpreter: an input that asks for more gets
MemoryError, which is a finding."""
HANG_SECONDS = 300
"""Of one input, by the clock, after which it is taken to hang. A starved process of low priority has been seen to stand
still for 41 s."""


@dataclass(frozen=True)
class Outcome:
    """What came of one target."""

    name: str
    executions: int
    per_second: int
    edges: int
    corpus: int
    peak_mb: int
    finding: Path | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Fuzz the parsers with hostile input.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them, if none is given")
    parser.add_argument("--minutes", type=float, default=10, help="for each target (default: %(default)s)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one target once, on this input")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.targets[0], options.child)
    from tests.fuzz.targets import TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown or (options.replay and len(options.targets) != 1):
        parser.error(f"unknown target {', '.join(sorted(unknown))}" if unknown else "--replay takes one target")
    if options.replay and not options.replay.is_file():
        parser.error(f"there is no file {options.replay}")
    if options.replay:
        _limit_memory()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        _within_time(TARGETS[options.targets[0]].run)(options.replay.read_bytes())
        print("nothing wrong with it")
        return 0
    outcomes = []
    print(f"{'target':12}{'minutes':>8}{'executions':>12}{'per s':>8}{'edges':>7}{'corpus':>8}{'MB':>6}  finding")
    for name in options.targets or TARGETS:
        outcomes.append(drive(name, TARGETS[name].seeds(), TARGETS[name].max_bytes, options.minutes))
        report(outcomes[-1], options.minutes)
    return 1 if any(outcome.finding for outcome in outcomes) else 0


def drive(name: str, seeds: object, max_bytes: int, minutes: float) -> Outcome:
    """Fuzz one target in a process of its own, which ends with its time or with its first finding."""
    folder = WORK / name
    corpus, findings = folder / "corpus", folder / "findings"
    for path in (corpus, findings):
        path.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    command = [sys.executable, __file__, name, "--child", str(corpus), f"-artifact_prefix={findings}/"]
    command += [f"-max_total_time={max(1, int(minutes * 60))}", f"-max_len={max_bytes}", f"-timeout={HANG_SECONDS}"]
    command += [f"-report_slow_units={HANG_SECONDS}"]  # slow is a matter of processor time, see _within_time
    command += [f"-rss_limit_mb={MAX_MEMORY_BYTES >> 20}", "-print_final_stats=1", "-verbosity=1"]
    with (folder / "log").open("wb") as log, tempfile.TemporaryDirectory(dir=_quick_folder()) as temporary:
        environment = {**os.environ, "TMPDIR": temporary}
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False, env=environment).returncode
    text = (folder / "log").read_text("utf-8", "replace")
    found = re.findall(r"Test unit written to (\S+)", text)
    if code and not found:
        raise SystemExit(f"{name}: the fuzzer itself failed, see {folder / 'log'}\n{text[-2000:]}")
    return Outcome(
        name,
        executions=_number(r"stat::number_of_executed_units:\s+(\d+)", text),
        per_second=_number(r"stat::average_exec_per_sec:\s+(\d+)", text),
        edges=_number(r"cov: (\d+)", text),
        corpus=_number(r"corp: (\d+)", text),
        peak_mb=_number(r"stat::peak_rss_mb:\s+(\d+)", text),
        finding=Path(found[-1]) if found else None,
    )


def _quick_folder() -> str | None:
    """Where a sync costs nothing: some targets write files, and libFuzzer ends without removing them."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _number(pattern: str, text: str) -> int:
    """The last match's."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def report(outcome: Outcome, minutes: float) -> None:
    print(
        f"{outcome.name:12}{minutes:8g}{outcome.executions:12}{outcome.per_second:8}{outcome.edges:7}"
        f"{outcome.corpus:8}{outcome.peak_mb:6}  {outcome.finding or 'none'}",
        flush=True,
    )
    if outcome.finding:
        log = (WORK / outcome.name / "log").read_text("utf-8", "replace")
        _, exception, trace = log.partition("=== Uncaught Python exception")
        print((exception + trace)[:4000] or log[-1000:])
        print(f"again: scripts/fuzz {outcome.name} --replay {outcome.finding}", flush=True)


def fuzz(name: str, arguments: list[str]) -> NoReturn:
    """In a process of its own: run libFuzzer on one target. Does not return."""
    import atheris

    with atheris.instrument_imports(include=["protocol", "dht", "node", "tomllib"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.mutation import mutate

    target = TARGETS[name]

    def change(data: bytes, max_bytes: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return mutate(data, rng, max_bytes) if rng.random() < 0.5 else atheris.Mutate(data, max_bytes)

    _limit_memory()
    atheris.Setup([sys.argv[0], *arguments], _within_time(target.run), custom_mutator=change)
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


def _within_time(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run_one(data: bytes) -> None:
        start = time.thread_time()
        run(data)
        spent = time.thread_time() - start
        if spent > MAX_CPU_SECONDS:
            raise TimeoutError(f"{spent:.2f} s of processor time for {len(data)} bytes")

    return run_one


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
