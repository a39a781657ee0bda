"""Passphrases: from a person at the terminal, or from a file. Never from arguments or the environment."""

import getpass
import os
import sys
import termios
from pathlib import Path
from typing import TextIO

import click

from node.account.depositor import locked
from node.account.vault import check_new_passphrase
from node.errors import ConfigError, RefusedError, machine_error
from protocol.accountfile import MAX_PASSPHRASE_BYTES

_MAX_LINE = MAX_PASSPHRASE_BYTES + 2
_TRIES = 3
_PROMPT = "passphrase of the account: "

passphrase_file = click.option(
    "--passphrase-file", metavar="FILE", help="Read the passphrase from the first line of FILE, or of standard input: -"
)


def ask_passphrase() -> str:
    """The account's passphrase for a command that needs it by the way, typed by a person, without echo.

    Raises:
        RefusedError: There is no terminal to ask at.
    """
    if not can_ask():
        raise locked()
    return typed_unseen(_PROMPT)


def get_passphrase(file: str | None) -> str:
    """The account's passphrase, from ``--passphrase-file`` or typed by a person.

    Raises:
        RefusedError: There is no terminal to ask at.
        ConfigError, MachineError: As :func:`first_line` does.
    """
    if file is not None:
        return first_line(file)
    if not can_ask():
        raise _no_terminal("--passphrase-file")
    return typed_unseen(_PROMPT)


def new_passphrase(file: str | None, option: str = "--passphrase-file") -> str:
    """One to be set: from a file, or typed twice.

    Raises:
        ConfigError: It cannot be set.
        RefusedError: There is no terminal to ask at, or what was typed differs each time.
        MachineError: The file cannot be read.
    """
    if file is not None:
        found = first_line(file)
        check_new_passphrase(found)
        return found
    if not can_ask():
        raise _no_terminal(option)
    for _ in range(_TRIES):
        found = typed_unseen("new passphrase: ")
        try:
            check_new_passphrase(found)
        except ConfigError as exc:
            click.echo(f"archipel: {exc}", err=True)
            continue
        if typed_unseen("once more: ") == found:
            return found
        click.echo("archipel: these are two", err=True)
    raise RefusedError("no passphrase was set", hint="what you type is not shown: try again")


def _no_terminal(option: str) -> RefusedError:
    return RefusedError("there is no terminal to ask for a passphrase at", hint=f"{option} FILE")


def can_ask() -> bool:
    """Whether a person sits at a terminal."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def typed_unseen(prompt: str) -> str:
    """What a person types at the terminal of this process, without echo.

    Raises:
        RefusedError: It cannot be asked.
        ConfigError: What was typed is not UTF-8.
        click.Abort: The person has ended the input.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))  # else getpass would show it
        return getpass.getpass(prompt)
    except EOFError as exc:
        raise click.Abort from exc
    except UnicodeDecodeError:  # told below, without what was typed
        pass
    except (OSError, termios.error) as exc:
        raise RefusedError("the terminal cannot be asked for a passphrase", hint="--passphrase-file FILE") from exc
    raise ConfigError("a passphrase is UTF-8")


def first_line(file: str) -> str:
    """The first line of a file, or of what is left of standard input.

    Raises:
        ConfigError: It is too long or not UTF-8. The message does not repeat it.
        MachineError: The file cannot be read.
    """
    line = _input_line() if file == "-" else _first_line_of(Path(file))
    if len(line) >= _MAX_LINE and not line.endswith(b"\n"):
        raise ConfigError(f"a passphrase is 1 to {MAX_PASSPHRASE_BYTES} bytes")
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        pass
    raise ConfigError("a passphrase is UTF-8")


def _first_line_of(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.readline(_MAX_LINE)
    except OSError as exc:
        raise machine_error("read the passphrase from", exc) from exc


def _input_line() -> bytes:
    return standard_input().buffer.readline(_MAX_LINE)


def standard_input() -> TextIO:
    """Raises ConfigError if it is closed."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed")
    return sys.stdin
