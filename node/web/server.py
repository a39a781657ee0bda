"""The HTTP server: Hypercorn's connections on trio, in the node's nursery, within bounds of ours.

Goals: as many connections as there is room for and no more; a client that does not read, or says nothing, goes; the
node stops at once, whoever is being answered. Hypercorn's own accept loop has no bounds, and it shields what it sends
from being cancelled, without a deadline: so only its ``TCPServer``, one to a connection, is used.
"""

import logging
import socket
import ssl
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from node.errors import machine_error
from node.serving.admission import Connections
from node.web.files import read_files
from node.web.parts import Parts
from node.web.site import own_site
from protocol.ids import Address

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 16 * 1024
IDLE_SECONDS = 30.0
"""For the head of a request to come, the next as well as the first."""
SEND_SECONDS = 30.0
"""For a client to take 64 KiB."""
_SEND_BYTES = 64 * 1024
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
    room = Connections(total=MAX_CONNECTIONS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.client.peers.run)
        await nursery.start(partial(serve_site, own_site(parts, files, address), listening, room))
        task_status.started()


async def serve_site(
    app: ASGIApp,
    listening: socket.socket,
    room: Connections,
    *,
    secure: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until cancelled.

    Args:
        app: What answers.
        listening: A socket that listens; closed in the end.
        room: For connections.
        secure: For TLS; None: without.
    """
    config = _config()
    context = WorkerContext(None)
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # Starlette's types are wider
    streams: set[_Stream] = set()

    async def serve(accepted: trio.SocketStream) -> None:
        host = _host(accepted)
        if host is None or not room.enter(host):
            await trio.aclose_forcefully(accepted)
            return
        stream = _Stream(accepted)
        streams.add(stream)
        try:
            talked = (
                stream if secure is None else trio.SSLStream(stream, secure, server_side=True, https_compatible=True)
            )
            await TCPServer(wrapped, config, context, ConnectionState({}), talked)  # type: ignore[arg-type]  # duck-typed
        finally:
            streams.discard(stream)
            room.leave(host)
            stream.close()

    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listening))]
    async with trio.open_nursery() as connections:
        try:
            await trio.serve_listeners(serve, listeners, handler_nursery=connections, task_status=task_status)
        finally:
            for stream in streams:  # what Hypercorn is sending, nobody can cancel
                stream.close()


def _config() -> Config:
    config = Config()
    config.errorlog = None  # what there is to be told, the application tells; nothing of requests is logged
    config.accesslog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.keep_alive_timeout = IDLE_SECONDS
    config.ssl_handshake_timeout = IDLE_SECONDS
    return config


def _host(stream: trio.SocketStream) -> str | None:
    """Who is at the other end; None: it has gone."""
    try:
        host: str = stream.socket.getpeername()[0]
    except OSError:
        return None
    return host


class _Stream(trio.abc.HalfCloseableStream):
    """A connection whose other end has to take what it is sent."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _SEND_BYTES):
            with trio.move_on_after(SEND_SECONDS) as scope:
                await self._stream.send_all(view[start : start + _SEND_BYTES])
            if scope.cancelled_caught:
                self.close()
                raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        """Close it now; whoever waits for it is told."""
        self.socket.close()
