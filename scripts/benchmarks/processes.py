"""Commands as a user runs them, each measured as a whole process."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scripts.benchmarks.machine import memory_mb

COMMAND_SECONDS = 300.0
_LOOK_SECONDS = 0.05
_END_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """One command that ended well."""

    process_seconds: float
    """Of the whole process, its start included."""
    cpu_seconds: float
    peak_mb: float
    output: str

    @property
    def fields(self) -> dict[str, object]:
        """What it printed with ``--json``."""
        fields: dict[str, object] = json.loads(self.output)
        return fields

    @property
    def seconds(self) -> float:
        """From the start of the work to its end, as the command says."""
        return float(str(self.fields["seconds"]))


class Started:
    """A command under way."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name = " ".join(arguments[:6])
        self._out, self._err = _scratch(), _scratch()
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            list(arguments), env=dict(environment), stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err
        )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def finish(self, seconds: float = COMMAND_SECONDS) -> Run:
        """Wait for its end; end it if it takes longer than ``seconds``, or if we are interrupted."""
        try:
            peak = self._wait(seconds)
            _, status, used = os.wait4(self.pid, 0)
            took = time.perf_counter() - self._began
            self._process.returncode = os.waitstatus_to_exitcode(status)
            output, errors = (self._read(handle) for handle in (self._out, self._err))
            if self._process.returncode:
                raise SystemExit(f"{self._name} failed: {errors}")
            return Run(took, used.ru_utime + used.ru_stime, peak, output)
        finally:
            self.end()

    def _wait(self, seconds: float) -> float:
        """Until it has ended; returns its peak memory, which nobody can ask for afterwards."""
        peak, deadline = 0.0, time.monotonic() + seconds
        handle = os.pidfd_open(self.pid)
        try:
            while not select.select([handle], [], [], _LOOK_SECONDS)[0]:
                peak = max(peak, memory_mb(self.pid, "VmHWM"))
                if time.monotonic() > deadline:
                    raise SystemExit(f"{self._name} did not end within {seconds:.0f} s")
        finally:
            os.close(handle)
        return peak

    @staticmethod
    def _read(handle: IO[bytes]) -> str:
        handle.seek(0)
        return handle.read().decode(errors="replace")

    def end(self) -> None:
        """End it if it still runs: first so that it can clean up, then for good."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._out.close()
        self._err.close()


@contextmanager
def background(arguments: Sequence[str], log: Path | None = None) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that runs meanwhile. Its standard input stays open, and ends when we do; without a log, we may read
    its standard output.
    """
    with ExitStack() as stack:
        out = subprocess.PIPE if log is None else stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            list(arguments), stdin=subprocess.PIPE, stdout=out, stderr=None if log is None else out
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _scratch() -> IO[bytes]:
    """A file without a name: a pipe that nobody reads would stop the command."""
    return tempfile.TemporaryFile()
