"""Memory that a load has left behind."""

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.buffers import Buffers
from node.tidying import SECONDS, give_back, tidy


class Left:
    """What refers to itself."""

    def __init__(self) -> None:
        self.me = self


async def test_what_is_left_goes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[float] = []
    monkeypatch.setattr("node.tidying.give_back", lambda: trimmed.append(trio.current_time()))
    monkeypatch.setattr("gc.freeze", lambda: None)  # nobody thaws what else this process has
    buffers = Buffers(100)
    room = buffers.take(40)
    buffers.give(room)
    gc.disable()
    try:
        left = weakref.ref(Left())
        began = trio.current_time()
        with trio.move_on_after(2.5 * SECONDS):
            await tidy(buffers, InlineBlocking())
    finally:
        gc.enable()
    assert left() is None
    assert buffers.take(40).obj is not room.obj
    assert [at - began for at in trimmed] == [SECONDS, 2 * SECONDS]


def test_the_system_takes_memory_back() -> None:
    give_back()
