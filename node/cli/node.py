"""`archipel node`."""

import logging
import os
import signal
from functools import partial
from pathlib import Path

import click
import trio

from node.app import NodeConfig, NodeInfo, run_node
from node.cli.options import common_options, settings
from node.cli.output import note, show
from node.cli.text import size_text
from node.config import DEFAULT_PORT, Config, parse_size, resolve, split_host_port
from node.errors import ConfigError
from node.home import Home
from node.slowsteps import instruments
from protocol.ids import Address


@click.command()
@click.option(
    "--listen",
    default=f"0.0.0.0:{DEFAULT_PORT}",
    show_default=True,
    metavar="H:P",
    help="Address and port, the same for UDP and TCP; port 0: any.",
)
@click.option("--advertise", metavar="H:P", help="What others dial, if it is not what it listens on.")
@click.option("--country", default="", metavar="CC", help="The country it stands in: a claim others spread by.")
@click.option("--quota", default="50GB", show_default=True, help="Hard limit of what it stores.")
@click.option("--data", metavar="DIR", help="Its data folder.  [default: HOME/node]")
@common_options
def node(listen: str, advertise: str | None, country: str, quota: str, data: str | None) -> None:
    """Run a storage node until interrupted.

    It keeps sealed chunks for others and can read none of them. Without --join it uses the peers it remembers;
    if it has none, it begins a new network.

    \b
    Examples:
      archipel node --country FR --quota 200GB --join example.org:4110
      archipel node --listen 127.0.0.1:4110 --data /tmp/n1
    """
    config = settings().config()
    host, port = split_host_port(listen)
    advertised = None if advertise is None else _one(advertise)
    wanted = NodeConfig(
        data=Path(data) if data else Home(config.home).node,
        listen=Address(resolve(f"[{host}]:{port}" if ":" in host else listen)[0].host, port),
        advertise=advertised,
        country=country.upper(),
        quota_bytes=parse_size(quota),
        network=config.network,
        join=_joined(config),
    )
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    trio.run(_run, wanted, instruments=instruments(os.environ))


def _one(text: str) -> Address:
    found = resolve(text)
    if found[0].port == 0:
        raise ConfigError(f"want a port that others can dial, got {text!r}")
    return found[0]


def _joined(config: Config) -> tuple[Address, ...]:
    return tuple(address for name in config.join for address in resolve(name))


async def _run(config: NodeConfig) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, stop)
        async with trio.open_nursery() as running:
            info: NodeInfo = await running.start(partial(run_node, config, stop=stop))
            _ready(info, config.network)
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stop.set()
            return


def _ready(info: NodeInfo, network: str) -> None:
    where = f"country {info.country} (claimed)" if info.country else "no country claimed"
    text = f"node {info.node_id.hex()} at {info.address}, {where}, quota {size_text(info.quota_bytes)}"
    show(
        text,
        {
            "node_id": info.node_id.hex(),
            "address": str(info.address),
            "country": info.country or None,
            "quota_bytes": info.quota_bytes,
            "used_bytes": info.used_bytes,
            "storing": info.storing,
            "network": network,
        },
    )
    if not info.storing:
        note("not storing yet: it goes on trying")
