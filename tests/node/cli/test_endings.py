"""Every way a command can end: its exit code, and what a person is told."""

import errno
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from node.cli import root
from node.errors import (
    ConfigError,
    IntegrityFailure,
    MachineError,
    NetworkError,
    NodeError,
    NotFoundError,
    RefusedError,
)
from tests.node.cli.conftest import Cli

Ending = Callable[[BaseException], None]


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Makes every command raise something."""

    def ending(exc: BaseException) -> None:
        @click.command("ls")
        def fail() -> None:
            raise exc

        monkeypatch.setattr(root._LazyGroup, "get_command", lambda *_: fail)

    return ending


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigError, 2),
        (NotFoundError, 3),
        (RefusedError, 4),
        (NetworkError, 5),
        (IntegrityFailure, 6),
        (MachineError, 7),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_known_errors(cli: Cli, ends_with: Ending, kind: type[NodeError], code: int, depth: int) -> None:
    exc: BaseException = kind("it did not work", hint="do this")
    for _ in range(depth):
        exc = BaseExceptionGroup("tasks", [exc])
    ends_with(exc)
    told = cli("ls")
    assert (told.code, told.out) == (code, "")
    assert told.err == "archipel: error: it did not work\nhint: do this\n"


def test_an_error_without_a_hint(cli: Cli, ends_with: Ending) -> None:
    ends_with(NotFoundError("gone"))
    assert cli("ls").err == "archipel: error: gone\n"


def test_what_a_stranger_wrote_cannot_command_the_terminal(cli: Cli, ends_with: Ending) -> None:
    ends_with(RefusedError("FR: \x1b[2J\x1b]0;owned\x07 no\nno", hint="\x1b[31m"))
    assert cli("ls").err == "archipel: error: FR: \\x1b[2J\\x1b]0;owned\\x07 no\\nno\nhint: \\x1b[31m\n"


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_interruption(cli: Cli, ends_with: Ending, wrapped: bool) -> None:
    stop = KeyboardInterrupt()
    ends_with(BaseExceptionGroup("tasks", [NotFoundError("gone"), stop]) if wrapped else stop)
    told = cli("ls")
    assert told.code == 130
    assert told.err.lstrip("\n") == (  # click ends the line that a terminal shows ^C on
        "archipel: error: interrupted\nhint: what was done is kept: run the same command again to go on\n"
    )


def test_a_reader_that_went_away(cli: Cli, ends_with: Ending) -> None:
    ends_with(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    told = cli("ls")
    assert (told.code, told.out, told.err) == (0, "", "")


def test_the_systems_errors(cli: Cli, ends_with: Ending) -> None:
    ends_with(OSError(errno.ENOSPC, "No space left on device", "/here"))
    told = cli("ls")
    assert told.code == 7
    assert told.err == "archipel: error: cannot go on '/here': No space left on device\n"


def test_a_bug_leaves_a_trace_in_a_file_and_none_on_the_terminal(cli: Cli, ends_with: Ending, tmp_path: Path) -> None:
    cause = KeyError("archipel:secret")
    bug = ZeroDivisionError("three apples")
    bug.__cause__ = cause
    ends_with(ExceptionGroup("tasks", [bug]))
    told = cli("ls")
    log = tmp_path / "home" / "crash.log"
    assert told.code == 1
    assert told.err == (
        f"archipel: error: this is a bug: ZeroDivisionError: three apples\nhint: please report it, with {log}\n"
    )
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert f"{__file__}:" in text
    assert "builtins.ZeroDivisionError" in text
    assert "builtins.KeyError" in text
    assert "apples" not in text  # a message may hold a name or a link
    assert "secret" not in text
    assert "tasks" not in text
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_bug_where_no_file_can_be_written(cli: Cli, ends_with: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIPEL_HOME", "/proc/nowhere")
    ends_with(ZeroDivisionError("three apples"))
    assert cli("ls").err.endswith("hint: please report it, with what you did\n")


@pytest.mark.parametrize(("given", "code"), [(0, 0), (3, 3), ("text", 1)])
def test_leaving_by_itself(cli: Cli, ends_with: Ending, given: object, code: int) -> None:
    ends_with(SystemExit(given))
    assert cli("ls").code == code
