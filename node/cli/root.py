"""The top of the command line: common options, commands loaded when used, errors and exit codes."""

import importlib
import os
import resource
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from node.cli import INTERRUPTED
from node.cli.options import common_options, settings
from node.cli.text import visible
from node.errors import NodeError, leaves, machine_error

_COMMANDS = {
    "node": ("node.cli.node", "Run a storage node, ask it how it is, or let it leave."),
    "publish": ("node.cli.publish", "Publish files or folders; prints the link."),
    "fetch": ("node.cli.fetch", "Fetch what a link leads to."),
    "ls": ("node.cli.fetch", "List what a link leads to, without fetching it."),
    "open": ("node.cli.open", "The page of the node that runs here, in a browser."),
    "drive": ("node.cli.drive", "Your drive: deposits, names, links; synced folders."),
    "share": ("node.cli.share", "A link to a deposit or a part of it, which opens nothing else."),
    "check": ("node.cli.keep", "Count the live chunks of a deposit, by audit."),
    "renew": ("node.cli.keep", "Extend the leases of a deposit of yours."),
    "delete": ("node.cli.keep", "End the leases of a deposit of yours."),
    "lease": ("node.cli.lease", "Who has signed that a deposit be kept, and until when."),
    "receipt": ("node.cli.receipt", "What holders signed, and whether they keep their word."),
    "name": ("node.cli.name", "Lasting links, which lead to what was published last."),
    "account": ("node.cli.account", "Your account: made here, restored anywhere from 24 words."),
    "page-hash": ("node.cli.pagehash", "The hashes of the page's files; whether a gateway serves those."),
    "devnet": ("node.cli.devnet", "A local network of real nodes, to try things on."),
}
"""Command -> (module, what the list of commands says): a command's imports cost nothing until it runs."""


@contextmanager
def _wrapped_broken_pipe() -> Iterator[None]:
    """Bring it past click, which would exit with 1."""
    try:
        yield
    except BrokenPipeError as exc:
        raise ExceptionGroup("standard output", [exc]) from exc


class _LazyGroup(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _wrapped_broken_pipe():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with _wrapped_broken_pipe():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="archipel", prog_name="archipel")
@common_options
def cli() -> None:
    """Peer-distributed, encrypted storage: no country, no company, no server.

    \b
    Try it on this machine:
      eval "$(archipel devnet up)"
      archipel publish FILE_OR_FOLDER
      archipel fetch LINK -o COPY
      archipel devnet down
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        Its exit code. Nothing but its result has been written to standard output.
    """
    _open_missing_streams()
    _leave_no_core_files()
    try:
        result = cli.main(list(arguments), prog_name="archipel", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001 - the root: every failure ends as a line and an exit code
        return _report(exc)
    return result if isinstance(result, int) else 0


def _open_missing_streams() -> None:
    """Started without standard output or error, write to nowhere: not into the next file that is opened."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends


def _leave_no_core_files() -> None:
    """A process that crashes writes its memory, and the keys in it, nowhere; nor does what it starts.

    Who needs a core file raises the soft limit of the running process (`prlimit`).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _report(exc: BaseException) -> int:
    causes = list(leaves(exc))
    for cause in causes:
        if isinstance(cause, KeyboardInterrupt | click.Abort):
            _say("interrupted", "what was done is kept: run the same command again to go on")
            return INTERRUPTED
    for cause in causes:
        if isinstance(cause, BrokenPipeError):  # whoever read our output went away, as `head` does
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    known = next((cause for cause in causes if isinstance(cause, NodeError)), None)
    if known is not None:
        _say(str(known), known.hint)
        return known.exit_code
    usage = next((cause for cause in causes if isinstance(cause, click.ClickException)), None)
    if isinstance(usage, click.exceptions.NoArgsIsHelpError):
        click.echo(usage.format_message(), err=True)
        return 2
    if usage is not None:
        context = getattr(usage, "ctx", None)
        _say(usage.format_message(), f"{context.command_path} --help" if context else "archipel --help")
        return 2
    leaving = next((cause for cause in causes if isinstance(cause, SystemExit)), None)
    if leaving is not None:
        return leaving.code if isinstance(leaving.code, int) else 1
    system = next((cause for cause in causes if isinstance(cause, OSError)), None)
    if system is not None and len(causes) == 1:
        error = machine_error("go on", system)
        _say(str(error), error.hint)
        return error.exit_code
    _say(f"this is a bug: {type(causes[0]).__name__}: {causes[0]}", _keep_traceback(exc))
    return 1


def _say(message: str, hint: str | None) -> None:
    with suppress(OSError):
        click.echo(f"archipel: error: {visible(message)}", err=True)
        if hint:
            click.echo(f"hint: {visible(hint)}", err=True)


def _keep_traceback(exc: BaseException) -> str:
    """Write the traceback where it can be sent from; returns the hint."""
    text = "".join(_without_values(exc))
    try:
        path = Path(settings().config().home) / "crash.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text)
        path.chmod(0o600)
    except (OSError, NodeError, RuntimeError):
        return "please report it, with what you did"
    return f"please report it, with {path}"


def _without_values(exc: BaseException, depth: int = 0) -> Iterator[str]:
    """Where it went wrong and what kind of error it was: messages may hold names, links and addresses."""
    indent = "  " * depth
    before = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if before is not None:
        yield from _without_values(before, depth)
        yield f"{indent}then:\n"
    yield f"{indent}Traceback (most recent call last):\n"
    for frame in traceback.extract_tb(exc.__traceback__):
        yield f"{indent}  {frame.filename}:{frame.lineno} {frame.name}\n"
    yield f"{indent}{type(exc).__module__}.{type(exc).__qualname__}\n"
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _without_values(inner, depth + 1)
