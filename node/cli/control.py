"""`archipel node status` and `node leave`: asking a node that runs on this machine."""

import sys
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from node.cli.options import common_options, settings
from node.cli.output import note, show
from node.cli.running import run_async
from node.cli.text import count_text, duration_text, size_text, visible
from node.control import ask
from node.errors import ConfigError, RefusedError
from node.home import Home
from node.metrics import metrics_text

_TENTHS = 10
_REASONS = 3
"""Why nodes refused what the account asked of them: the JSON has the others."""
_NOTE_SECONDS = 60.0
"""Where there is no terminal, leaving is told of at every tenth of the chunks, and so often."""

DATA_OPTION = click.option("--data", metavar="DIR", help="The data folder of the running node.  [default: HOME/node]")


def node_folder(given: str | None) -> Path:
    """As said behind the command, or before it, or by default."""
    context = click.get_current_context()
    said = given or (context.parent and context.parent.params.get("data"))
    return Path(said) if said else Home(settings().config().home).node


@click.command()
@click.option("--metrics", is_flag=True, help="As Prometheus reads it.")
@DATA_OPTION
@common_options
def status(metrics: bool, data: str | None) -> None:
    """Show what the node that runs here holds, knows and does.

    \b
    Examples:
      archipel node status
      archipel node status --json --data /srv/archipel
    """
    if metrics and settings().json:
        raise ConfigError("--metrics and --json are two forms of the same")
    found = run_async(partial(_ask_once, node_folder(data), "status"))
    if metrics:
        click.echo(metrics_text(found), nl=False)
    else:
        show(status_text(found), found)


@click.command()
@DATA_OPTION
@common_options
def leave(data: str | None) -> None:
    """Hand every chunk on to other nodes; then the node stops.

    Interrupted, the command only stops watching. When the node was interrupted, start it and say so again: it goes on
    with what is left. While nobody takes what is left, the node stays and keeps it.

    \b
    Example:
      archipel node leave --data /srv/archipel
    """
    done = run_async(partial(_leave, node_folder(data)))
    gone = f"; {done['gone']} no longer wanted" if done["gone"] else ""
    handed_on = f"handed on {count_text(done['moved'], 'chunk')} ({size_text(done['bytes'])})"
    show(f"{handed_on}, {done['left']} left{gone}", done)
    if done["left"]:
        why = ", ".join(f"{reason} {count}" for reason, count in done["why"].items())
        raise RefusedError(
            f"nobody has taken {count_text(done['left'], 'chunk')} of {done['total']}: {why}",
            hint="the node goes on and keeps them; let it leave again when there are more nodes with room. "
            "Its log (-v) tells of each chunk",
        )


async def _ask_once(folder: Path, what: str) -> dict[str, Any]:
    async with aclosing(ask(folder, {"do": what})) as replies:
        async for reply in replies:
            return reply
    raise AssertionError(f"the node ends {what} without a reply")


async def _leave(folder: Path) -> dict[str, Any]:
    """Watch it to its end; the last that was said of it."""
    last: dict[str, Any] = {"moved": 0, "left": 0, "gone": 0, "total": 0, "failed": 0, "bytes": 0, "why": {}}
    terminal = sys.stderr.isatty()
    tenth, told_at = 0, trio.current_time()
    try:
        async with aclosing(ask(folder, {"do": "leave"})) as replies:
            async for last in replies:
                if terminal:
                    click.echo(f"\r{_how_far(last)}\x1b[K", nl=False, err=True)
                    continue
                tenths, now = _TENTHS * last["moved"] // max(1, last["total"]), trio.current_time()
                if tenths > tenth or now >= told_at + _NOTE_SECONDS:
                    note(_how_far(last))
                    tenth, told_at = tenths, now
    finally:
        if terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
    return last


def _how_far(progress: Mapping[str, Any]) -> str:
    failed = f", {progress['failed']} without a taker so far" if progress["failed"] else ""
    handed_on = f"{progress['moved']} of {count_text(progress['total'], 'chunk')} handed on"
    return f"{handed_on}, {size_text(progress['bytes'])}; {progress['left']} left{failed}"


# What a status looks like to a person


def status_text(status: Mapping[str, Any]) -> str:
    """Lines of a label and what there is to say, then a table of the traffic."""
    rows = [
        ("node", f"{status['node_id']} at {status['address']}, network {status['network']}"),
        ("key", status["key"]),
        ("country", f"{status['country']} (claimed)" if status["country"] else "none claimed"),
        ("running", f"since {_date(status['started'])} UTC ({duration_text(status['uptime_seconds'])})"),
        ("storing", _storing(status)),
        *_held(status),
        ("contacts", _contacts(status["contacts"])),
        ("connections", f"{status['connections']['accepted']} accepted, {status['connections']['dialled']} dialled"),
        *_healing(status["healing"]),
        *_tending(status["tending"]),
    ]
    return "\n".join([*(f"{label:<12}{text}" for label, text in rows), *_traffic(status["traffic"])])


def _storing(status: Mapping[str, Any]) -> str:
    if not status["storing"]:
        return f"no: {status['why_not_storing']}"
    if not status["full"]:
        return "yes"
    over = status["quota"]["used_bytes"] > status["quota"]["limit_bytes"]
    return "yes, but over its quota: takes nothing new" if over else "yes, but full: nothing more fits"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _held(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    quota, held = status["quota"], status["held"]
    return [
        (
            "quota",
            f"{size_text(quota['limit_bytes'])}: {size_text(quota['used_bytes'])} used, "
            f"{size_text(quota['trash_bytes'])} of it trash; {size_text(quota['free_bytes'])} free",
        ),
        (
            "held",
            f"{count_text(held['chunks'], 'chunk')} of {count_text(held['segments'], 'segment')}, for "
            f"{count_text(held['depositors'], 'depositor')}; {count_text(held['records'], 'record')} of names",
        ),
    ]


def _contacts(contacts: Mapping[str, Any]) -> str:
    claims = [f"{country or 'no country'} {count}" for country, count in contacts["countries"].items()]
    unknown = [f"unknown {contacts['unknown']}"] if contacts["unknown"] else []
    told = ", ".join([*claims, *unknown])
    return f"{contacts['total']}, by claimed country as far as known: {told}" if told else "none"


def _healing(tally: Mapping[str, int]) -> list[tuple[str, str]]:
    pending, beyond = tally["repairs_pending"], tally["beyond_repair"]
    return [
        ("co-holders", f"{tally['co_holders']}, {tally['missing_nodes']} missing"),
        ("healing", _doing(pending, beyond)),
        (
            "repairs",
            f"{count_text(tally['repairs_done'], 'chunk')} rebuilt, "
            f"{count_text(tally['repairs_failed'], 'attempt')} failed; {size_text(tally['repair_read_bytes'])} read, "
            f"{size_text(tally['repair_written_bytes'])} written",
        ),
        (
            "audits",
            f"{tally['audits_passed']} passed, {tally['audits_failed']} failed ({tally['audits_proven']} proven), "
            f"{tally['audits_silent']} without answer",
        ),
        ("own disk", f"{count_text(tally['scrubbed_chunks'], 'chunk')} checked, {tally['rotten_chunks']} rotten"),
        (
            "moved",
            f"{tally['taken_over']} taken over, {tally['take_overs_refused']} refused; {tally['handed_on']} handed on, "
            f"{count_text(tally['duplicates_dropped'], 'duplicate')} dropped",
        ),
    ]


def _doing(pending: int, beyond: int) -> str:
    if not pending:
        return "nothing to repair"
    text = f"{count_text(pending, 'segment')} not whole"
    return f"{text}, {beyond} of them beyond repair: fewer than k chunks live" if beyond else text


def _tending(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Nothing without an account."""
    if told is None:
        return []
    failed = told["failed"] + told["failed_names"] + told["failed_drive"] + told["failed_rounds"]
    weak = f", {told['weak']} of them not whole" if told["weak"] else ""
    lost = f"; {count_text(told['lost_segments'], 'segment')} beyond repair" if told["lost_segments"] else ""
    last = f"last {_date(told['last_round'])} UTC" if told["last_round"] else "no round yet"
    following = f", next {_date(told['next_round'])} UTC" if told["next_round"] else ", under way"
    return [
        ("account", "locked: archipel account unlock" if told["locked"] else "unlocked: its drive is kept"),
        (
            "drive",
            f"{count_text(told['deposits'], 'deposit')}{weak}{lost}, {count_text(told['names'], 'name')}; {last}"
            f"{'' if told['locked'] else following}",
        ),
        (
            "tended",
            f"{count_text(told['restored_chunks'], 'chunk')} restored, leases of "
            f"{count_text(told['renewed_segments'], 'segment')} and {count_text(told['renewed_names'], 'record')} of "
            f"names renewed; {count_text(failed, 'failure')}",
        ),
        *[("refused", _refused(refusal)) for refusal in told["refusals"][:_REASONS]],
    ]


def _refused(refusal: Mapping[str, Any]) -> str:
    """``by 2 nodes, full: its text``."""
    said = f": {visible(refusal['reason'])}" if refusal["reason"] else ""
    return f"by {count_text(refusal['nodes'], 'node')}, {refusal['code'].replace('_', ' ')}{said}"


def _traffic(traffic: Mapping[str, Any]) -> list[str]:
    """A table without the kinds that did not occur."""
    datagrams = traffic["datagrams"]
    rows = [
        ("datagrams", datagrams["received"] + datagrams["sent"], datagrams["received_bytes"], datagrams["sent_bytes"])
    ]
    for side in ("served", "asked"):
        for kind, count in traffic[side].items():
            sizes = count["received_bytes"], count["sent_bytes"]
            if any(sizes):
                rows.append((f"{side} {kind}", count["requests"], *sizes))
    head = f"{'traffic':<22}{'count':>10}{'received':>12}{'sent':>12}"
    return [
        head,
        *(f"  {what:<20}{count:>10}{size_text(came):>12}{size_text(went):>12}" for what, count, came, went in rows),
    ]
