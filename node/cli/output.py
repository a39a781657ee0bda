"""How results, notes and progress are shown: results to standard output and nothing else there."""

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

import click

from node.cli.options import settings
from node.cli.text import visible
from node.errors import ConfigError, MachineError, reason
from node.keeping.survival import Survival
from node.progress import Progress


def show(text: str, fields: Mapping[str, object]) -> None:
    """Print a result: the text, or with ``--json`` the fields as one object."""
    click.echo(json.dumps(fields) if settings().json else text)


def hand_over(text: str, fields: Mapping[str, object]) -> None:
    """Print what exists nowhere else, as :func:`show` does; it has been taken when this returns, and is on the disk if
    it goes into a file.

    Raises:
        MachineError: It cannot be written, or nobody reads it any more.
    """
    try:
        show(text, fields)
        sys.stdout.flush()
        if (handle := _handle(sys.stdout)) is not None and stat.S_ISREG(os.fstat(handle).st_mode):
            os.fsync(handle)
    except OSError as exc:  # also a pipe that is closed, which ends other commands without a word
        with suppress(OSError):  # so that what is left of it is not tried again in the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise MachineError(
            f"cannot write to standard output: {reason(exc)}",
            hint="nothing was made; what was printed counts for nothing",
        ) from exc


def refuse_nowhere() -> None:
    """Make sure that what is printed goes somewhere. Raises ConfigError: standard output is closed, or /dev/null."""
    handle = _handle(sys.stdout)
    if handle is not None and os.path.samestat(os.fstat(handle), os.stat(os.devnull)):
        raise ConfigError("standard output is closed, or leads nowhere", hint="what is printed exists nowhere else")


def _handle(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:  # it is in memory
        return None


def note(text: str) -> None:
    """Say something on standard error."""
    click.echo(f"archipel: {visible(text)}", err=True)


def survival_text(survives: Survival) -> str:
    """One line on what a deposit survives now."""
    if survives.nodes < 0:
        return "it cannot be read now: some segment has fewer than k live chunks"
    nodes = (
        "the loss of no node"
        if survives.nodes == 0
        else f"the loss of any {survives.nodes} " + ("node" if survives.nodes == 1 else "nodes")
    )
    if not survives.country and not survives.not_country:
        return f"it survives {nodes}; no holder claims a country"
    if not survives.not_country:
        return f"it survives {nodes}, and of any one (claimed) country of {', '.join(survives.country)}"
    rest = f"; it survives that of {_any_of(survives.country)}" if survives.country else ""
    kind = "the (claimed) countries " if len(survives.not_country) > 1 else "(claimed) country "
    return f"it survives {nodes}, but NOT the loss of {_any_of(survives.not_country, kind)}{rest}"


def _any_of(countries: Sequence[str], kind: str = "") -> str:
    """``FR``, ``either of FR and NZ``, ``any one of DE, IS, NZ``; ``kind`` stands before the names."""
    if len(countries) == 2:
        return f"either of {kind}{' and '.join(countries)}"
    return f"{'any one of ' if len(countries) > 2 else ''}{kind}{', '.join(countries)}"


@contextmanager
def progress_shown(doing: str) -> Iterator[Progress]:
    """A progress bar on a terminal, and nothing elsewhere; notes are told in the end."""
    progress = Progress()
    if not sys.stderr.isatty():
        yield progress
        return
    from rich.console import Console  # noqa: PLC0415 - costs 50 ms, which only a terminal is worth
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        "[progress.description]{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        progress.changed = lambda now: bar.update(task, completed=now.done, total=now.total)
        yield progress
