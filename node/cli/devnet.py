"""`archipel devnet`: a local network of real nodes."""

import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from node import devnet as local
from node.cli.options import common_options, parsed, settings
from node.cli.output import note, show
from node.cli.running import run_async
from node.config import parse_size
from node.devnet import DevNode
from node.errors import ConfigError
from node.home import Home
from node.intervals import Intervals
from protocol.records import is_country

F = TypeVar("F", bound=Callable[..., Any])

_DIR = click.option("--dir", "folder", metavar="DIR", help="Where it lives.  [default: HOME/devnet]")


def _folder(given: str | None) -> Path:
    if given:
        return Path(given).absolute()
    home = Home(settings().config().home)
    home.create()
    return home.devnet.absolute()


@click.group()
@common_options
def devnet() -> None:
    """A local network of real node processes on 127.0.0.1, to try things on and to break.

    \b
    Example:
      eval "$(archipel devnet up --nodes 12 --countries FR,DE,NZ,IS)"
      archipel devnet raid FR
      archipel devnet down
    """


@devnet.command()
@click.option("--nodes", default=12, show_default=True, help="How many.")
@click.option("--countries", default="FR,DE,NZ,IS", show_default=True, help="Dealt to the nodes in turn.")
@click.option("--quota", default="10GB", show_default=True, metavar="SIZE", help="Of each node.")
@_DIR
@common_options
def up(nodes: int, countries: str, quota: str, folder: str | None) -> None:
    """Start it; prints `export` lines to eval once every node knows the others."""
    dealt = [part.strip().upper() for part in countries.split(",") if part.strip()]
    if not dealt or not all(is_country(country) for country in dealt):
        raise ConfigError(f"want countries as two letters each, such as FR,DE, got {countries!r}")
    parsed("--quota", parse_size, quota)
    network = str(settings().flags.get("network") or "devnet")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as Ctrl-C does
    intervals = settings().config().intervals
    Intervals.read(
        {**local.SHORT_INTERVALS, **intervals}
    )  # a mistake in it is told now, and not by a node that does not start
    started = local.up(_folder(folder), network, dealt, nodes, quota, intervals)
    join = ",".join(node.address for node in started.nodes)
    config = replace(settings().config(), network=network, join=(started.nodes[0].address,))
    try:
        run_async(partial(local.everyone_knows, config, started.nodes))
    except BaseException:  # also on Ctrl-C: nothing we started may stay behind
        local.down(started)
        raise
    lines = [f"export ARCHIPEL_NETWORK={shlex.quote(network)}", f"export ARCHIPEL_JOIN={shlex.quote(join)}"]
    show("\n".join(lines), {"network": network, "join": join.split(","), "nodes": _fields(started.nodes)})


@devnet.command()
@_DIR
@common_options
def status(folder: str | None) -> None:
    """List its nodes: name, pid, state, country, node id, address, data folder."""
    nodes = local.load(_folder(folder)).nodes
    lines = [
        f"{node.name}  {node.pid:>7}  {node.state:<7}  {node.country}  {node.node_id[:16]}  {node.address}  {node.data}"
        for node in nodes
    ]
    show("\n".join(lines), {"nodes": _fields(nodes)})


def _which(command: F) -> F:
    """The ways to say which nodes."""
    for option in (
        _DIR,
        click.option("--seed", type=int, help="Makes the random choice repeatable."),
        click.option("--node", "name", metavar="NAME", help="One node, as `devnet status` names it."),
        click.option("--country", metavar="CC", help="All nodes that claim this country."),
        click.argument("count", type=int, required=False, metavar="[N]"),
    ):
        command = option(command)
    return command


def _chosen(
    states: Sequence[str],
    count: int | None,
    country: str | None,
    name: str | None,
    seed: int | None,
    folder: str | None,
) -> list[DevNode]:
    return local.choose(local.load(_folder(folder)), states, count=count, country=country, name=name, seed=seed)


@devnet.command()
@_which
@common_options
def kill(count: int | None, country: str | None, name: str | None, seed: int | None, folder: str | None) -> None:
    """End N random nodes, a country's, or one, without warning (SIGKILL). Their disks stay."""
    nodes = _chosen(("running", "frozen"), count, country, name, seed, folder)
    local.kill(nodes)
    _told("killed", nodes)


@devnet.command()
@_which
@common_options
def freeze(count: int | None, country: str | None, name: str | None, seed: int | None, folder: str | None) -> None:
    """Stop nodes in their tracks (SIGSTOP): they accept connections and never answer."""
    nodes = _chosen(("running",), count, country, name, seed, folder)
    local.freeze(nodes)
    _told("froze", nodes)


@devnet.command()
@_which
@common_options
def thaw(count: int | None, country: str | None, name: str | None, seed: int | None, folder: str | None) -> None:
    """Let frozen nodes go on (SIGCONT)."""
    nodes = _chosen(("frozen",), count, country, name, seed, folder)
    local.thaw(nodes)
    _told("thawed", nodes)


@devnet.command()
@click.argument("country", metavar="CC")
@_DIR
@common_options
def raid(country: str, folder: str | None) -> None:
    """Kill every node of a country and destroy their disks."""
    network = local.load(_folder(folder))
    gone = local.is_gone(network, country)
    _told("already gone:" if gone else "raided", local.raid(network, country))


@devnet.command()
@_DIR
@common_options
def down(folder: str | None) -> None:
    """End all its nodes and remove their folders."""
    found = local.load(_folder(folder))
    local.down(found)
    note(f"ended {len(found.nodes)} nodes")
    if settings().json:
        show("", {"nodes": len(found.nodes)})


def _told(done: str, nodes: Sequence[DevNode]) -> None:
    show(f"{done} {', '.join(f'{node.name} ({node.country})' for node in nodes)}", {"nodes": _fields(nodes)})


def _fields(nodes: Sequence[DevNode]) -> list[dict[str, object]]:
    return [
        {
            "name": node.name,
            "pid": node.pid,
            "state": node.state,
            "country": node.country,
            "node_id": node.node_id,
            "address": node.address,
            "data": node.data,
        }
        for node in nodes
    ]
