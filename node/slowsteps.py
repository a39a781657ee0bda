"""Steps of tasks that hold up the event loop: a debug switch tells them (docs/operations.md section 9).

Between two points where a task waits, nothing else runs in the process. Off, none of this is in the loop at all.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from types import CodeType
from typing import NamedTuple

import trio

log = logging.getLogger(__name__)

SWITCH = "ARCHIPEL_SLOW_STEPS"
"""The environment variable that turns it on, whatever its value."""
SLOW_SECONDS = 0.02
"""A step that takes longer is told: every other connection waits for it."""
_FRAMES = 3
"""Enough to see who called what waits on everybody's behalf."""
_TRIO = os.path.dirname(trio.__file__)
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep

Place = list[tuple[CodeType, int]]
"""Where a task waits: frames and lines, innermost last; none once it has ended."""


class Moment(NamedTuple):
    """What the loop's thread has used so far, in seconds."""

    wall: float
    busy: float
    """On a core."""
    queued: float
    """Ready to run, while other processes had the cores: no step's fault."""


class Thread:
    """Measures the thread that makes it; that thread alone may ask."""

    def __init__(self) -> None:
        try:
            self._queue: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not on Linux
            self._queue = None

    def now(self) -> Moment:
        wall, busy = time.perf_counter(), time.thread_time()
        if self._queue is None:  # nobody can tell standing from queueing: only work is told
            return Moment(wall, busy, wall - busy)
        _, queued, _ = os.pread(self._queue, 80, 0).split()
        return Moment(wall, busy, int(queued) / 1e9)

    def close(self) -> None:
        if self._queue is not None:
            os.close(self._queue)


class SlowSteps(trio.abc.Instrument):
    """Logs each step of a task that computed, or stood still, for more than SLOW_SECONDS.

    On a busy machine a step of a millisecond takes fifty when its thread is sent off its core. So time spent
    queueing for one is told and does not count. What remains is work done in the loop (*busy*), and waiting there
    for the disk, a lock, or the interpreter that another thread holds (*stood*).
    """

    def __init__(self, now: Callable[[], Moment] | None = None) -> None:
        """``now`` is asked before and after each step; default: what the thread that runs the loop has used."""
        self._thread = Thread()
        self._now = now or self._thread.now
        self._from: Place = []
        self._before = self._now()

    def after_run(self) -> None:
        self._thread.close()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._from = _where(task)
        self._before = self._now()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        wall, busy, queued = (after - before for after, before in zip(self._now(), self._before, strict=True))
        stood = wall - busy - queued
        if busy > SLOW_SECONDS or stood > SLOW_SECONDS:
            log.warning(
                "slow step of %s: from %s to %s: busy for %.0f ms, stood for %.0f ms, queued for a core for %.0f ms",
                task.name,
                _text(self._from),
                _text(_where(task)),
                busy * 1e3,
                max(0.0, stood) * 1e3,
                queued * 1e3,
            )


def instruments(environ: Mapping[str, str]) -> list[trio.abc.Instrument]:
    """What to give ``trio.run``, which is to be called in this thread: nothing, unless the switch is on."""
    return [SlowSteps()] if environ.get(SWITCH) else []


def _where(task: trio.lowlevel.Task) -> Place:
    """The innermost frames that are not trio's own. They are put into words only when they have to be."""
    frames = [(frame.f_code, line) for frame, line in task.iter_await_frames()]
    return [place for place in frames if not place[0].co_filename.startswith(_TRIO)][-_FRAMES:]


def _text(place: Place) -> str:
    lines = (f"{code.co_name} ({code.co_filename.removeprefix(_OURS)}:{line})" for code, line in reversed(place))
    return " in ".join(lines) or "its end"
