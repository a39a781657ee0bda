"""Asking a node that runs on this machine: a unix socket in its data folder (docs/operations.md, "A running node").

One request to a connection: a line with a JSON object, ``{"do": NAME, ...}``. Lines come back, each with one key:
``reply`` (an object), ``busy`` (there is more to come: the node is at work), and as the last one ``end`` or ``error``
(``{exit, text, hint}``). Whoever may read the data folder's owner-only files may ask; nobody else can.
"""

import json
import logging
import socket as stdlib
import stat
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import trio

from node.errors import (
    ConfigError,
    IntegrityFailure,
    MachineError,
    NetworkError,
    NodeError,
    NotFoundError,
    RefusedError,
    machine_error,
)
from node.unixsockets import listening_socket, socket_address

log = logging.getLogger(__name__)

SOCKET_FILE = "control"
MAX_LINE_BYTES = 64 * 1024
MAX_CLIENTS = 8
"""Served at once; who comes after them is told so."""
REQUEST_SECONDS = 5.0
"""For the request to come, all of it."""
SEND_SECONDS = 5.0
"""For a client to take a line."""
BUSY_SECONDS = 2.0
"""How often a client is told that its request is still being worked at."""
SILENT_SECONDS = 15.0
"""How long a client waits for a line: a node that is frozen says nothing at all."""
_RECEIVE_BYTES = 4096

Handler = Callable[[Mapping[str, object]], AsyncGenerator[Mapping[str, object], None]]
"""Given the request, yields the replies. It may take as long as it likes. A NodeError reaches the client as itself.
When the client goes away, the generator is closed."""

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
_ERRORS: dict[int, type[NodeError]] = {
    error.exit_code: error
    for error in (ConfigError, NotFoundError, RefusedError, NetworkError, IntegrityFailure, MachineError)
}


class Control:
    """The node's side."""

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        """
        Args:
            folder: The data folder, whose lock the caller holds while :meth:`run` runs.
            handlers: What can be asked for.
        """
        self._folder = folder
        self._handlers = handlers
        self._clients = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled, then remove the socket. Where none can be made, say so and do nothing."""
        try:
            listener = trio.SocketListener(
                trio.socket.from_stdlib_socket(listening_socket(self._folder / SOCKET_FILE, MAX_CLIENTS))
            )
        except OSError as exc:  # some file systems have no sockets: no reason not to store chunks there
            log.warning("cannot be asked by `archipel node status`: no socket in the data folder (%s)", exc.strerror)
            task_status.started()
            return
        try:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])
        finally:
            with suppress(OSError):  # the next start replaces it
                (self._folder / SOCKET_FILE).unlink()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        try:
            async with trio.open_nursery() as nursery:
                said = _Said(stream, nursery.cancel_scope)
                if self._clients > MAX_CLIENTS:
                    await said.error(RefusedError("the node is being asked too much at once", hint="try again"))
                else:
                    await self._answer(stream, said, nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._clients -= 1
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream, said: "_Said", nursery: trio.Nursery) -> None:
        line = None
        with suppress(*_BROKEN), trio.move_on_after(REQUEST_SECONDS):
            line = await _Lines(stream).next()
        if line is None:
            return
        nursery.start_soon(said.busy)
        nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
        try:
            request = _parse(line)
            handler = self._handlers.get(str(request.get("do")))
            if handler is None:
                raise ConfigError(f"this node knows no {str(request.get('do'))[:40]!r}")
            async with aclosing(handler(request)) as replies:
                async for reply in replies:
                    await said.line({"reply": reply})
        except NodeError as exc:
            await said.error(exc)
        except Exception:  # a bug: the client is told, but the node, which keeps other people's chunks, must go on
            log.exception("a bug in what the node was asked")
            await said.error(NodeError("this is a bug of the node: see its log"))
        else:
            await said.line({"end": True}, last=True)


class _Said:
    """What goes back to one client. When it cannot, all that is done for it is cancelled."""

    def __init__(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        self._stream = stream
        self._scope = scope
        self._turn = trio.Lock()

    async def line(self, message: Mapping[str, object], *, last: bool = False) -> None:
        """Send a line; the last one also while the node stops, as after it has left the network."""
        with trio.CancelScope(deadline=trio.current_time() + SEND_SECONDS, shield=last) as scope:
            try:
                async with self._turn:
                    await self._stream.send_all(json.dumps(message).encode() + b"\n")
            except _BROKEN:
                scope.cancel()
        if scope.cancel_called:
            self._scope.cancel()

    async def error(self, exc: NodeError) -> None:
        await self.line({"error": {"exit": exc.exit_code, "text": str(exc), "hint": exc.hint}}, last=True)

    async def busy(self) -> None:
        while True:
            await trio.sleep(BUSY_SECONDS)
            await self.line({"busy": True})


async def _until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Whatever else a client says is dropped; when it hangs up, nothing more is done for it."""
    with suppress(*_BROKEN):
        while await stream.receive_some(_RECEIVE_BYTES):
            pass
    scope.cancel()


class _Lines:
    """The lines that come over a stream, each no longer than MAX_LINE_BYTES."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes:
        """The next line. Raises trio.BrokenResourceError when there is none, or it is too long."""
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self._stream.receive_some(_RECEIVE_BYTES)
            if not data or len(self._buffer) + len(data) > MAX_LINE_BYTES:
                raise trio.BrokenResourceError("no line")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def _parse(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ConfigError("a request is a JSON object on one line") from exc
    if not isinstance(found, dict):
        raise ConfigError("a request is a JSON object on one line")
    return found


# The client's side


async def ask(folder: Path, request: Mapping[str, object]) -> AsyncGenerator[dict[str, Any], None]:
    """The replies of the node that runs in ``folder``. Use with aclosing().

    Raises:
        NotFoundError: No node runs there.
        MachineError: It cannot be asked: what has the socket's name is no socket.
        NetworkError: It does not answer, or ended meanwhile.
        NodeError: What the node says.
    """
    sock = trio.socket.socket(stdlib.AF_UNIX)
    try:
        with trio.fail_after(SILENT_SECONDS):
            await _connect(sock, folder)
            stream = trio.SocketStream(sock)
            await stream.send_all(json.dumps(request).encode() + b"\n")
        lines = _Lines(stream)
        while True:
            with trio.fail_after(SILENT_SECONDS):
                line = json.loads(await lines.next())
            if "reply" in line:
                yield line["reply"]
            elif "error" in line:
                error = line["error"]
                raise _ERRORS.get(error["exit"], NodeError)(error["text"], hint=error["hint"])
            elif "end" in line:
                return
    except trio.TooSlowError as exc:
        raise NetworkError(f"the node in {folder} does not answer", hint="is it frozen, or the machine?") from exc
    except _BROKEN as exc:
        raise NetworkError(f"the node in {folder} ended before it had answered") from exc
    finally:
        sock.close()


async def _connect(sock: "trio.socket.SocketType", folder: Path) -> None:
    try:
        with socket_address(folder / SOCKET_FILE) as address:
            await sock.connect(address)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as exc:
        if _is_in_the_way(folder / SOCKET_FILE):
            raise MachineError(
                f"{folder / SOCKET_FILE} is not a socket: a node that runs there cannot be asked",
                hint="remove it and restart the node",
            ) from exc
        raise NotFoundError(
            f"no node runs in {folder}", hint="start it, or name the folder it runs in: --data DIR"
        ) from exc
    except OSError as exc:
        raise machine_error(f"ask the node in {folder}", exc) from exc


def _is_in_the_way(path: Path) -> bool:
    """Whether something else has the socket's name: a node leaves it alone, as it did not make it."""
    try:
        return not stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False
