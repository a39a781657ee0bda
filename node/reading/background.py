"""An event loop in a thread of its own, for programs that have none: one for the process, begun at the first read."""

import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from node.config import Config
from node.home import Home
from node.reading.session import Session
from node.reading.shelf import Shelf

T = TypeVar("T")

START_SECONDS = 10.0
"""Far more than a thread takes to begin."""
END_SECONDS = 3.0
"""What the end of the process waits for, at most: clients note whom they know."""

_Key = tuple[str, str, tuple[str, ...]]


@dataclass(slots=True)
class _Thread:
    """The loop while it runs."""

    thread: threading.Thread
    token: trio.lowlevel.TrioToken
    nursery: trio.Nursery
    ending: trio.Event = field(default_factory=trio.Event)
    sessions: dict[_Key, Session] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)

    def end(self) -> None:
        if os.getpid() != self.process:  # a child that ends: the loop is its parent's
            return
        try:
            self.token.run_sync_soon(self.ending.set)
        except trio.RunFinishedError:
            return
        self.thread.join(END_SECONDS)


class Background:
    """Runs work for threads that wait for it. Use the one of the module."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: _Thread | None = None

    def call(self, config: Config, work: Callable[[Session], Awaitable[T]]) -> T:
        """What ``work`` returns, run with the session of a configuration. Interrupted, it is cancelled.

        Raises:
            NodeError: As ``work`` says.
            RuntimeError: The loop ended meanwhile, with the process or by a bug.
        """
        running = self._running()
        scope = trio.CancelScope()

        async def task() -> T:
            with scope:
                return await work(_session(running, config))
            raise RuntimeError("it was interrupted")

        try:
            return trio.from_thread.run(task, trio_token=running.token)
        except (trio.Cancelled, trio.RunFinishedError) as exc:
            raise RuntimeError("the thread that reads from the network has ended") from exc
        except KeyboardInterrupt:
            running.token.run_sync_soon(scope.cancel)
            raise

    def after_fork(self) -> None:
        """In a child process there are no threads but the one that forked: it begins anew."""
        self._lock = threading.Lock()
        self._thread = None

    def _running(self) -> _Thread:
        with self._lock:
            if self._thread is None or not self._thread.thread.is_alive():
                self._thread = _start()
            return self._thread


def _start() -> _Thread:
    begun: list[_Thread] = []
    ready = threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            begun.append(_Thread(threading.current_thread(), trio.lowlevel.current_trio_token(), nursery))
            ready.set()
            await begun[0].ending.wait()
            nursery.cancel_scope.deadline = trio.current_time() + END_SECONDS / 2

    threading.Thread(target=trio.run, args=(main,), name="archipel reading", daemon=True).start()
    if not ready.wait(START_SECONDS):
        raise RuntimeError("the thread that reads from the network does not start")
    atexit.register(begun[0].end)
    return begun[0]


def _session(running: _Thread, config: Config) -> Session:
    key = (str(config.home), config.network, config.join)
    if key not in running.sessions:
        running.sessions[key] = Session(config, running.nursery, running.ending, Shelf(Home(config.home)))
    return running.sessions[key]


background = Background()
os.register_at_fork(after_in_child=background.after_fork)
