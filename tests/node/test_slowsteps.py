"""The switch that tells which steps hold up the event loop."""

import logging
import re
import time
from collections.abc import Iterator

import pytest
import trio

from node.slowsteps import SWITCH, Moment, SlowSteps, instruments


async def _work(seconds: float) -> None:
    await trio.lowlevel.checkpoint()
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    await trio.lowlevel.checkpoint()


def test_a_busy_step_is_told_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    trio.run(_work, 0.03, instruments=[SlowSteps()])
    file, line = f"{__name__.replace('.', '/')}.py", _work.__code__.co_firstlineno
    place = re.escape(f"from _work ({file}:{line + 1}) to _work ({file}:{line + 5}): ")
    found = [(record, re.search(place + r"busy for (\d+) ms", record.getMessage())) for record in caplog.records]
    ((record, told),) = [(record, told) for record, told in found if told]  # a machine that stands still tells others
    assert int(told[1]) >= 30
    assert record.levelno == logging.WARNING


def test_a_quiet_step_is_not(caplog: pytest.LogCaptureFixture) -> None:
    trio.run(_work, 0.0, instruments=[SlowSteps(Clocks(wall=0.002, busy=0.002, queued=0.0))])
    assert not caplog.records


class Clocks:
    """Every step takes the same."""

    def __init__(self, *, wall: float, busy: float, queued: float) -> None:
        self._step = Moment(wall, busy, queued)
        self._asked = self._answers()

    def _answers(self) -> Iterator[Moment]:
        yield Moment(1.0, 1.0, 1.0)  # when the loop begins
        while True:
            yield Moment(7.0, 5.0, 3.0)
            yield Moment(7.0 + self._step.wall, 5.0 + self._step.busy, 3.0 + self._step.queued)

    def __call__(self) -> Moment:
        return next(self._asked)


@pytest.mark.parametrize(
    ("clocks", "told"),
    [
        (Clocks(wall=0.019, busy=0.019, queued=0.0), None),
        (Clocks(wall=0.5, busy=0.019, queued=0.462), None),
        (Clocks(wall=0.5, busy=0.1, queued=0.4), "busy for 100 ms, stood for 0 ms, queued for a core for 400 ms"),
        (Clocks(wall=0.5, busy=0.0, queued=0.4), "busy for 0 ms, stood for 100 ms, queued for a core for 400 ms"),
        (Clocks(wall=0.03, busy=0.001, queued=0.05), None),
    ],
    ids=["short", "sent off its core", "busy", "waiting in the loop", "clocks that disagree"],
)
def test_what_counts(caplog: pytest.LogCaptureFixture, clocks: Clocks, told: str | None) -> None:
    trio.run(trio.lowlevel.checkpoint, instruments=[SlowSteps(clocks)])
    assert bool(caplog.records) is (told is not None)
    for record in caplog.records:
        assert record.getMessage().endswith(told or "")


def test_off_there_is_nothing_in_the_loop() -> None:
    assert instruments({}) == []
    assert instruments({SWITCH: ""}) == []
    (found,) = instruments({SWITCH: "1"})
    assert isinstance(found, SlowSteps)
    found.after_run()
