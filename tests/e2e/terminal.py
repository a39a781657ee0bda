"""A person at a terminal: what a command asks for, typed when it asks."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.world import COMMAND, Person

SECONDS = 30.0
"""More than a command takes between two prompts."""

Answer = str | Callable[[str], str]
"""What is typed; or made of all that has been shown so far."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a command ended that was started at a terminal, and what the terminal showed."""

    code: int
    screen: str


def at_a_terminal(person: Person, *arguments: str, answers: list[tuple[str, Answer, bool]]) -> Shown:
    """Run a command whose input, output and terminal are one; whenever it has shown the next prompt, type the answer.

    Each answer goes with a regular expression for its prompt, and with whether it is typed unseen.
    """
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=end,
        stdout=end,
        stderr=end,
        env=person.environment(),
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one system call, and no test starts threads beside it
    )
    os.close(end)
    screen, seen = b"", 0
    try:
        for prompt, answer, hidden in answers:
            while (found := re.compile(prompt.encode()).search(screen, seen)) is None:
                screen += _read(terminal, screen)
            seen = found.end()
            if hidden:
                _wait_until_hidden(terminal)
            typed = answer if isinstance(answer, str) else answer(screen.decode())
            os.write(terminal, typed.encode() + b"\n")
        while more := _read(terminal, screen, ended=True):
            screen += more
        return Shown(process.wait(SECONDS), screen.decode())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(terminal)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int, before: bytes, *, ended: bool = False) -> bytes:
    """What is shown next; nothing at the end, which ``ended`` expects."""
    assert select.select([terminal], [], [], SECONDS)[0], before.decode()
    try:
        more = os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the other end any more
        more = b""
    assert more or ended, before.decode()
    return more


def _wait_until_hidden(terminal: int) -> None:
    """The terminal stops to echo a moment before the prompt is shown, or after."""
    deadline = time.monotonic() + SECONDS
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert time.monotonic() < deadline, "the passphrase would be shown"
        time.sleep(0.002)
