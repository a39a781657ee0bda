"""`archipel node`."""

import gc
import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from click.core import ParameterSource

from node.app import run_node
from node.cli.control import leave, status
from node.cli.depositors import depositors
from node.cli.options import common_options, parsed, parsed_if_given, settings
from node.cli.output import note, show
from node.cli.text import size_text
from node.config import DEFAULT_PORT, Config, parse_share, parse_size, resolve
from node.errors import ConfigError
from node.home import Home
from node.intervals import Intervals
from node.net.portmap import Router, UpnpRouter
from node.net.throttle import MIN_BYTES_PER_SECOND
from node.nodeconfig import GatewayConfig, NodeConfig, NodeInfo
from node.slowsteps import instruments
from node.store.quota import FULL_CHUNK_BYTES, HEADROOM_BYTES
from protocol.ids import Address

HTTP = "127.0.0.1:8420"
OFF = "off"
_LIMITS = {"quota": "quota_bytes", "up": "up_bytes_per_second", "down": "down_bytes_per_second"}
"""The options whose values can be changed while the node runs, and are kept then."""


@click.group(invoke_without_command=True)
@click.option(
    "--listen",
    default=f"0.0.0.0:{DEFAULT_PORT}",
    show_default=True,
    metavar="H:P",
    help="Address and port, the same for UDP and TCP; port 0: any.",
)
@click.option("--advertise", metavar="H:P", help="What others dial, if it is not what it listens on.")
@click.option("--no-port-mapping", is_flag=True, help="Do not ask the router to let peers through (UPnP).")
@click.option("--country", default="", metavar="CC", help="The country it stands in: a claim others spread by.")
@click.option("--quota", default="50GB", show_default=True, metavar="SIZE", help="Hard limit of what it stores.")
@click.option(
    "--depositor-share",
    default="50%",
    show_default=True,
    metavar="P",
    help="Of the quota, for one depositor at most.",
)
@click.option(
    "--subnet-share", default="50%", show_default=True, metavar="P", help="Of the quota, from one public /24 or /48."
)
@click.option("--allow", metavar="FILE", help="Depositors whose chunks it takes.  [default: everybody's]")
@click.option("--deny", metavar="FILE", help="Segments and depositors for which it keeps nothing.")
@click.option("--up", metavar="R", help="Bytes per second it may send, such as 2MB; off: no limit.  [default: off]")
@click.option(
    "--down", metavar="R", help="Bytes per second it may receive, such as 500KiB; off: no limit.  [default: off]"
)
@click.option("--metrics", metavar="H:P", help="Serve /metrics for Prometheus there, to whoever asks.  [default: no]")
@click.option(
    "--http",
    default=HTTP,
    show_default=True,
    metavar="H:P",
    help="Serve its page there, to this machine alone; port 0: any; off: nowhere.",
)
@click.option("--gateway", metavar="H:P", help="Serve a page there that opens links, to everybody.  [default: no]")
@click.option("--gateway-cert", metavar="FILE", help="Its TLS certificate and chain, PEM.")
@click.option("--gateway-key", metavar="FILE", help="The certificate's key, PEM.")
@click.option("--gateway-uploads", is_flag=True, help="It also takes what browsers have sealed.")
@click.option("--data", metavar="DIR", help="Its data folder.  [default: HOME/node]")
@common_options
@click.pass_context
def node(context: click.Context, /, no_port_mapping: bool, **given: Any) -> None:
    """Run a storage node until interrupted; or ask the one that runs, by a command.

    It keeps sealed chunks for others and can read none of them. Without --join it uses the peers it remembers;
    if it has none, it begins a new network.

    While the account of its home is unlocked (archipel account unlock), it renews and restores what is in its drive.

    \b
    Examples:
      archipel node --country FR --quota 200GB --join example.org:4110
      archipel node --listen 127.0.0.1:4110 --data /tmp/n1
      archipel node --up 2MB --down 5MB --join example.org:4110
      archipel node --depositor-share 10% --deny /etc/archipel/denied
      archipel node --metrics 127.0.0.1:9410
      archipel node status
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    http_wanted = context.get_parameter_source("http") is not ParameterSource.DEFAULT
    limits_given = frozenset(
        limit
        for option, limit in _LIMITS.items()
        if context.get_parameter_source(option) is not ParameterSource.DEFAULT
    )
    wanted = _wanted(settings().config(), http_wanted=http_wanted, limits_given=limits_given, **given).with_kept()
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    too_small = _too_small(wanted)
    if too_small is not None:
        note(too_small)
    router = None if no_port_mapping else UpnpRouter()
    gc.freeze()  # what has been imported stays: looking through it would hold up the event loop for 20 ms
    trio.run(_run, wanted, router, instruments=instruments(os.environ))


def _wanted(
    config: Config,
    *,
    listen: str,
    advertise: str | None,
    country: str,
    quota: str,
    depositor_share: str,
    subnet_share: str,
    allow: str | None,
    deny: str | None,
    up: str | None,
    down: str | None,
    metrics: str | None,
    http: str,
    http_wanted: bool,
    limits_given: frozenset[str],
    gateway: str | None,
    gateway_cert: str | None,
    gateway_key: str | None,
    gateway_uploads: bool,
    data: str | None,
) -> NodeConfig:
    """What the options of `archipel node` ask for. Raises ConfigError."""
    return NodeConfig(
        data=parsed_if_given("--data", _path, data) or Home(config.home).node,
        intervals=Intervals.read(config.intervals),
        listen=parsed("--listen", _here, listen),
        advertise=parsed_if_given("--advertise", _one, advertise),
        country=country.upper(),
        quota_bytes=parsed("--quota", parse_size, quota),
        depositor_share=parsed("--depositor-share", parse_share, depositor_share),
        subnet_share=parsed("--subnet-share", parse_share, subnet_share),
        allow=parsed_if_given("--allow", _path, allow),
        deny=parsed_if_given("--deny", _path, deny),
        up_bytes_per_second=parsed_if_given("--up", _rate, up),
        down_bytes_per_second=parsed_if_given("--down", _rate, down),
        network=config.network,
        join=_joined(config),
        home=Home(config.home),
        metrics=parsed_if_given("--metrics", _one, metrics),
        http=None if http == OFF else parsed("--http", _here, http),
        http_wanted=http_wanted,
        given=limits_given,
        gateway=_gateway(gateway, gateway_cert, gateway_key, gateway_uploads),
    )


def _gateway(address: str | None, certificate: str | None, key: str | None, uploads: bool) -> GatewayConfig | None:
    if address is None:
        if certificate is not None or key is not None or uploads:
            raise ConfigError("a certificate, a key and uploads are for a gateway: --gateway H:P")
        return None
    return GatewayConfig(
        address=parsed("--gateway", _here, address),
        certificate=parsed_if_given("--gateway-cert", _path, certificate),
        key=parsed_if_given("--gateway-key", _path, key),
        uploads=uploads,
    )


node.add_command(status)
node.add_command(leave)
node.add_command(depositors)


def _refuse_options(context: click.Context) -> None:
    """A node that runs already does not heed them."""
    given = sorted(
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name != "data" and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    )
    if given:
        raise ConfigError(f"{', '.join(given)}: for a node that is being started, not for {context.invoked_subcommand}")


def _here(text: str) -> Address:
    """Where to listen; port 0 is any that is free."""
    return resolve(text)[0]


def _rate(text: str) -> int | None:
    if text == OFF:
        return None
    rate = parse_size(text, such_as="2MB or 500KiB")
    if rate < MIN_BYTES_PER_SECOND:
        raise ConfigError(f"at least {MIN_BYTES_PER_SECOND >> 10}KiB a second, got {text!r}", hint="such as 2MB")
    return rate


def _path(text: str) -> Path:
    if not text:
        raise ConfigError("want a path, got nothing")
    return Path(text)


def _too_small(wanted: NodeConfig) -> str | None:
    """What to say when not even one full chunk fits."""
    share = min(wanted.depositor_share, wanted.subnet_share)
    room = max(0, min(wanted.quota_bytes - HEADROOM_BYTES, int(share * wanted.quota_bytes)))
    if room >= FULL_CHUNK_BYTES:
        return None
    return (
        f"hardly anything will fit: a full chunk takes {size_text(FULL_CHUNK_BYTES)}, and of this quota "
        f"{size_text(room)} can go to one depositor (--quota, --depositor-share, --subnet-share)"
    )


def _one(text: str) -> Address:
    found = resolve(text)
    if found[0].port == 0:
        raise ConfigError(f"want a port that others can dial, got {text!r}")
    return found[0]


def _joined(config: Config) -> tuple[Address, ...]:
    return tuple(address for name in config.join for address in resolve(name))


async def _run(config: NodeConfig, router: Router | None) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, stop)
        async with trio.open_nursery() as running:
            info: NodeInfo = await running.start(partial(run_node, config, stop=stop, router=router))
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
            "http": None if info.http is None else str(info.http),
            "gateway": None if info.gateway is None else str(info.gateway),
        },
    )
    if info.http is not None:
        note(f"its page: http://{info.http}")
    if info.gateway is not None:
        note(f"its gateway, for everybody: {info.gateway}")
    if not info.storing:
        note("not storing yet: it goes on trying")
