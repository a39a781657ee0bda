"""The HTTP server: Hypercorn's connections on trio, in the node's nursery, within bounds of ours.

Goals: as many connections as there is room for and no more; a client that does not read, or says nothing, goes; the
node stops at once, whoever is being answered. Hypercorn's own accept loop has no bounds, and it shields what it sends
from being cancelled, without a deadline: so only its ``TCPServer``, one to a connection, is used.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp
from trio.abc import Listener, Stream

from node.errors import MachineError, machine_error
from node.net.descriptors import room_for
from node.net.throttle import ThrottledStream
from node.net.transport import Transport, peer_address
from node.nodeconfig import GatewayConfig
from node.serving.admission import Connections
from node.web.api.operator import tell_leaving
from node.web.files import read_files
from node.web.http.draining import Draining
from node.web.parts import Parts
from node.web.site import gateway_site, own_site
from protocol.ids import Address

MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 16 * 1024
IDLE_SECONDS = 30.0
"""For the head of a request to come, the next as well as the first."""
SEND_SECONDS = 30.0
"""For a client to take 64 KiB."""
_SEND_BYTES = 64 * 1024
MAX_GATEWAY_CONNECTIONS, MAX_PER_NEIGHBOUR = 256, 32
_DESCRIPTORS = 1 / 10
"""Of ours, for a gateway's connections."""


async def bind(transport: Transport, address: Address) -> tuple[Listener[Stream], Address]:
    """A listener, and where it listens. Raises MachineError: the address is not free."""
    try:
        return await transport.listen(address)
    except OSError as exc:
        raise machine_error(f"serve the page at {address}", exc) from exc


async def run_page(
    parts: Parts,
    listener: Listener[Stream],
    address: Address,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the node's own page until cancelled.

    Args:
        parts: Of the node.
        listener: From :func:`bind`; closed in the end.
        address: Where that is.
    """
    files = await parts.client.world.blocking(read_files)
    room = Connections(total=MAX_CONNECTIONS)
    async with trio.open_nursery() as nursery:
        for service in services(parts):
            nursery.start_soon(service)
        await nursery.start(partial(serve_site, own_site(parts, files, address), listener, room))
        task_status.started()


def services(parts: Parts) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What runs beside the server of the node's own page as long as it serves."""
    return parts.accounts.run, parts.drive.run, parts.transfers.run, parts.census.run, partial(tell_leaving, parts)


async def run_gateway(
    parts: Parts,
    gateway: GatewayConfig,
    listener: Listener[Stream],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the page for everybody until cancelled: links, and the sealed segments they lead to.

    Args:
        parts: Of the node.
        gateway: What it was asked for.
        listener: From :func:`bind`; closed in the end.

    Raises:
        MachineError: The certificate or its key cannot be used.
    """
    blocking = parts.client.world.blocking
    files = await blocking(read_files)
    secure = await blocking(_tls, gateway)
    room = Connections(total=room_for(MAX_GATEWAY_CONNECTIONS, _DESCRIPTORS), per_neighbour=MAX_PER_NEIGHBOUR)
    app = gateway_site(parts, files, uploads=gateway.uploads, secure=secure is not None)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_site, app, listener, room, secure=secure))
        task_status.started()


def _tls(gateway: GatewayConfig) -> ssl.SSLContext | None:
    if gateway.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(
            gateway.certificate, gateway.key, password=lambda: ""
        )  # or OpenSSL asks at the terminal
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        why = "they are no PEM certificate and unencrypted key that belong together"
        raise MachineError(
            f"cannot use {gateway.certificate} and {gateway.key}: {why if isinstance(exc, ssl.SSLError) else exc}"
        ) from exc
    return context


async def serve_site(
    app: ASGIApp,
    listener: Listener[Stream],
    room: Connections,
    *,
    secure: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until cancelled.

    Args:
        app: What answers.
        listener: From :func:`bind`; closed in the end.
        room: For connections.
        secure: For TLS; None: without.
    """
    config = _config()
    context = WorkerContext(None)
    streams: set[_Stream] = set()

    async def serve(accepted: Stream) -> None:
        source = peer_address(accepted)
        host = None if source is None else source.host
        if host is None or not room.enter(host):
            await trio.aclose_forcefully(accepted)
            return
        stream = _Stream(accepted)
        streams.add(stream)
        try:
            talked = (
                stream if secure is None else trio.SSLStream(stream, secure, server_side=True, https_compatible=True)
            )
            async with trio.open_nursery() as helpers:
                whole: Any = Draining(app, helpers, stream.close)
                wrapped = wrap_app(whole, config.wsgi_max_body_size, "asgi")
                await _Server(wrapped, config, context, ConnectionState({}), talked)  # type: ignore[arg-type]  # duck-typed
                helpers.cancel_scope.cancel()
        finally:
            streams.discard(stream)
            room.leave(host)
            stream.close()

    async with trio.open_nursery() as connections:
        try:
            await trio.serve_listeners(serve, [listener], handler_nursery=connections, task_status=task_status)
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


class _Server(TCPServer):
    """Hypercorn's, for HTTP/1.1 alone, and with an end.

    By HTTP/2 a connection has a hundred requests, and once it has broken their answers wait for ever: Hypercorn never
    ends them. And it waits for the next request for IDLE_SECONDS even when the client has hung up.
    """

    @property
    def protocol(self) -> ProtocolWrapper:
        return self._wrapper

    @protocol.setter
    def protocol(self, wrapper: ProtocolWrapper) -> None:
        wrapper.protocol._check_protocol = _no_other  # type: ignore[method-assign,union-attr]  # it would begin HTTP/2
        self._wrapper = wrapper

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()
        nursery = self._task_group._nursery
        assert nursery is not None
        nursery.cancel_scope.cancel()  # whoever still answers, answers nobody


async def _no_other(_: object) -> None:
    """Whoever asks for another protocol is answered by HTTP/1.1."""


class _Stream(Stream):
    """A connection whose other end has to take what it is sent."""

    def __init__(self, stream: Stream) -> None:
        assert isinstance(stream, trio.SocketStream | ThrottledStream)
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

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        """Close it now; whoever waits for it is told."""
        self.socket.close()
