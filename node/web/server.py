"""The HTTP server: Hypercorn on trio, in the node's nursery."""

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.types import ASGIApp

from node.errors import machine_error
from node.web.files import read_files
from node.web.parts import Parts
from node.web.site import own_site
from protocol.ids import Address

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 16 * 1024
GRACE_SECONDS = 2.0
"""How long answers under way may go on once the node stops."""
KEEP_ALIVE_SECONDS = 30.0
_BACKLOG = 100


def bind(address: Address) -> tuple[socket.socket, Address]:
    """A socket that listens, and where. Raises MachineError: the address is not free."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as exc:
        listening.close()
        raise machine_error(f"serve the page at {address}", exc) from exc
    listening.setblocking(False)
    return listening, Address(*listening.getsockname()[:2])


async def run_page(
    parts: Parts,
    listening: socket.socket,
    address: Address,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the node's own page until cancelled.

    Args:
        parts: Of the node.
        listening: From :func:`bind`; closed in the end.
        address: Where that is.
    """
    files = await parts.client.world.blocking(read_files)
    async with trio.open_nursery() as nursery:
        for service in services(parts):
            nursery.start_soon(service)
        await nursery.start(partial(run_site, own_site(parts, files, address), listening))
        task_status.started()


def services(parts: Parts) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What runs beside the server as long as it serves."""
    return parts.client.peers.run, parts.nodes.run, parts.deposits.run


async def run_site(
    app: ASGIApp,
    listening: socket.socket,
    set_up: Callable[[Config], None] = lambda _: None,
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until cancelled."""
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.errorlog = None  # what there is to be told, the application tells; nothing of requests is logged
    config.accesslog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.graceful_timeout = GRACE_SECONDS
    set_up(config)
    with listening:
        await serve(app, config, task_status=task_status, mode="asgi")  # type: ignore[arg-type]  # Starlette's types are wider
