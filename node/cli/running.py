"""From a command's function to an event loop and back; links from arguments, files or standard input."""

import gc
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from node.errors import ConfigError, machine_error
from node.slowsteps import instruments
from protocol.errors import LinkError
from protocol.links import MAX_TEXT, AnyLink, Link, NameLink, SealedLink, parse_link

T = TypeVar("T")

_LOOK_UP_SECONDS = 0.1
"""How long a thread waits for standard input before it looks whether it is still wanted."""
_READ_BYTES = 1 << 20
_COLLECT_AFTER = (10_000, 20, 100)
"""Allocations, and rounds, between two searches for garbage: the usual (700, 10, 10) go over a manifest of many
thousand entries again and again while it is made, and nothing else runs meanwhile."""


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` to its end; SIGTERM interrupts it as Ctrl-C does.

    Either comes to this function's own task, where it waits, and from there to all others. Raised wherever the
    interpreter happens to be, as Python does it, Ctrl-C gets lost in a callback whose errors are dropped, or comes in
    the middle of a change that is not meant to be left half done.
    """

    async def main() -> T:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_interrupt_on_sigterm)
            result = await work()
            nursery.cancel_scope.cancel()
        return result

    gc.freeze()  # what has been imported stays
    gc.set_threshold(*_COLLECT_AFTER)
    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True, instruments=instruments(os.environ))


async def _interrupt_on_sigterm() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


class StandardInput:
    """Standard input, for a worker thread of trio: interrupted, it stops waiting for what may never come."""

    def __init__(self) -> None:
        if sys.stdin is None:
            raise ConfigError("standard input is closed")
        self._handle = sys.stdin.fileno()

    def read(self, size: int) -> bytes:
        """1 to ``size`` bytes; none at the end. Raises OSError."""
        while not select.select([self._handle], [], [], _LOOK_UP_SECONDS)[0]:
            trio.from_thread.check_cancelled()
        return os.read(self._handle, min(size, _READ_BYTES))


def read_link(text: str) -> Link:
    """The link of a deposit, given as itself, behind a gateway's address, as ``-`` (standard input) or as ``@FILE``.

    Raises:
        ConfigError: It is not a link, or one of another kind.
        MachineError: The file cannot be read.
    """
    return _of_a_deposit(read_any_link(text))


def read_any_link(text: str) -> AnyLink:
    """A link of any kind, given as ``read_link`` takes it. Raises ConfigError, MachineError as it does."""
    try:
        if text == "-":
            if sys.stdin is None:
                raise ConfigError("standard input is closed")
            text = sys.stdin.read(MAX_TEXT)
        elif text.startswith("@"):
            with Path(text[1:]).open(encoding="utf-8", errors="replace") as handle:
                text = handle.read(MAX_TEXT)
    except OSError as exc:
        raise machine_error("read the link from", exc) from exc
    try:
        return parse_link(text)
    except LinkError as exc:
        raise ConfigError(str(exc), hint="copy the whole link, from archipel: to its last character") from exc


def _of_a_deposit(link: AnyLink) -> Link:
    """The one place that knows what commands do with links of other kinds."""
    match link:
        case Link():
            return link
        case NameLink():
            raise ConfigError(
                "this link leads to a name: to whatever its owner published last, not to one deposit",
                hint="ask for the link of a deposit",
            )
        case SealedLink():
            raise ConfigError(
                "this link is sealed: only the account that it was made for opens it",
                hint="ask whoever sent it for a link that is not sealed",
            )
