"""`archipel node depositors`: for whom a running node keeps how much; to refuse one, to admit one."""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import click

from node.cli.control import DATA_OPTION, node_folder
from node.cli.options import common_options, parsed
from node.cli.output import show
from node.cli.running import run_async
from node.cli.text import count_text, date_text, size_text
from node.config import parse_key
from node.control import ask
from node.errors import ConfigError
from node.serving.depositors import joined


@click.command()
@click.option("--refuse", metavar="KEY", help="Put a depositor on the denylist; what is kept for nobody else goes.")
@click.option("--admit", metavar="KEY", help="Take a depositor off the denylist, and put it on the allow-list.")
@DATA_OPTION
@common_options
def depositors(refuse: str | None, admit: str | None, data: str | None) -> None:
    """Show for whom the node that runs here keeps how much, the largest first; or refuse one, or admit one.

    \b
    Examples:
      archipel node depositors
      archipel node depositors --refuse 9a...   (64 digits)
      archipel node depositors --admit archipel-key:...
    """
    if refuse is not None and admit is not None:
        raise ConfigError("--refuse and --admit are two commands")
    folder = node_folder(data)
    if refuse is not None:
        _change(folder, "refuse", parsed("--refuse", parse_key, refuse))
    elif admit is not None:
        _change(folder, "admit", parsed("--admit", parse_key, admit))
    else:
        found = joined(run_async(partial(_ask, folder, {"do": "depositors"})))
        show(depositors_text(found), found)


def _change(folder: Path, what: str, key: bytes) -> None:
    (said,) = run_async(partial(_ask, folder, {"do": what, "key": key.hex()}))
    show(_changed_text(what, said), said)


async def _ask(folder: Path, request: Mapping[str, object]) -> list[dict[str, Any]]:
    async with aclosing(ask(folder, request)) as replies:
        return [reply async for reply in replies]


def _changed_text(what: str, said: Mapping[str, Any]) -> str:
    if what == "refuse":
        gone = f"; removed {count_text(said['removed_chunks'], 'chunk')} that nobody else has a lease on"
        return f"{said['key']} is refused{'' if said['changed'] else ', as before'}{gone}"
    return f"{said['key']} is admitted{'' if said['changed'] else ', as before'}"


def depositors_text(found: Mapping[str, Any]) -> str:
    """Two lines for each: the key, then what there is to say."""
    if not found["total"]:
        return "it keeps nothing for anybody"
    lines = [f"{count_text(found['total'], 'depositor')}; of a quota of {size_text(found['quota_bytes'])}"]
    for one in found["depositors"]:
        lines += [one["key"], f"  {_text(one)}"]
    if found["more"]:
        lines.append(f"and {found['more']} more, with less than these")
    return "\n".join(lines)


def _text(one: Mapping[str, Any]) -> str:
    segments = f"{count_text(one['chunks'], 'chunk')} of {count_text(one['segments'], 'segment')}"
    share = f"{one['part']:.1%} of the quota (at most {100 * one['share']:.4g}%)"
    parts = [f"{segments}: {size_text(one['bytes'])}, {share}", _leases(one)]
    if one["refused"]:
        parts.append("REFUSED: on the denylist")
    elif one["allowed"] is not None:
        parts.append("on the allow-list" if one["allowed"] else "not on the allow-list: gets no more")
    return "; ".join(parts)


def _leases(one: Mapping[str, Any]) -> str:
    first, last = one["first_expires"], one["last_expires"]
    if not one["leases"]:
        return "no lease of its own any more"
    until = date_text(first) if first == last else f"{date_text(first)} to {date_text(last)}"
    return f"{count_text(one['leases'], 'lease')} until {until}"
