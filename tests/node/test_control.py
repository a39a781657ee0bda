"""Asking a running node through the socket in its data folder."""

import json
import logging
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.control import (
    BUSY_SECONDS,
    MAX_CLIENTS,
    MAX_LINE_BYTES,
    REQUEST_SECONDS,
    SEND_SECONDS,
    SILENT_SECONDS,
    SOCKET_FILE,
    Control,
    Handler,
    ask,
)
from node.errors import ConfigError, MachineError, NetworkError, NodeError, NotFoundError, RefusedError

Request = Mapping[str, object]
Replies = AsyncGenerator[Mapping[str, object], None]


async def echo(request: Request) -> Replies:
    """Says what it was asked, twice."""
    yield {"asked": dict(request)}
    yield {"again": dict(request)}


class Endless:
    """A handler that goes on until it is closed."""

    def __init__(self, reply: str = "") -> None:
        self.reply = reply
        self.closed = trio.Event()

    async def __call__(self, request: Request) -> Replies:
        try:
            yield {"begun": True}
            while True:
                await trio.sleep(0 if self.reply else 1000)
                yield {"reply": self.reply}
        finally:
            self.closed.set()


@asynccontextmanager
async def served(folder: Path, **handlers: Handler) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        await nursery.start(Control(folder, handlers).run)
        yield nursery
        nursery.cancel_scope.cancel()


async def replies(folder: Path, **request: object) -> list[dict[str, Any]]:
    async with aclosing(ask(folder, request)) as found:
        return [reply async for reply in found]


async def raw(folder: Path) -> trio.SocketStream:
    return await trio.open_unix_socket(folder / SOCKET_FILE)


async def all_of(stream: trio.SocketStream) -> list[Any]:
    data = b"".join([part async for part in stream])
    return [json.loads(line) for line in data.splitlines()]


async def test_a_request_and_its_replies(tmp_path: Path) -> None:
    async with served(tmp_path, echo=echo):
        told = await replies(tmp_path, do="echo", more=[1, "é\n"])
        assert told == [{word: {"do": "echo", "more": [1, "é\n"]}} for word in ("asked", "again")]
        assert await replies(tmp_path, do="echo") != [], "and again"


async def test_the_socket_is_the_owners_and_goes_with_the_node(tmp_path: Path) -> None:
    async with served(tmp_path, echo=echo):
        mode = (tmp_path / SOCKET_FILE).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not list(tmp_path.iterdir())


async def test_nobody_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(NotFoundError, match="no node runs in ") as caught:
            await replies(folder, do="echo")
        assert caught.value.hint is not None
        assert "--data DIR" in caught.value.hint


async def test_a_socket_that_a_killed_node_left_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_FILE))
    left.close()
    with pytest.raises(NotFoundError):
        await replies(tmp_path, do="echo")
    async with served(tmp_path, echo=echo):
        assert await replies(tmp_path, do="echo")


async def test_what_is_no_socket_is_left_alone_and_the_node_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET_FILE).write_bytes(b"mine")
    async with served(tmp_path, echo=echo):
        pass
    assert (tmp_path / SOCKET_FILE).read_bytes() == b"mine"
    assert "cannot be asked by `archipel node status`" in caplog.text
    with pytest.raises(MachineError, match=rf"^{tmp_path}/control is not a socket: .* cannot be asked$") as caught:
        await replies(tmp_path, do="echo")
    assert caught.value.hint == "remove it and restart the node"


async def test_a_path_longer_than_a_sockets_address(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    folder.mkdir(parents=True)
    async with served(folder, echo=echo):
        assert await replies(folder, do="echo")
        assert stat.S_IMODE((folder / SOCKET_FILE).stat().st_mode) == 0o600
    assert not list(folder.iterdir())


@pytest.mark.parametrize("error", [NotFoundError, RefusedError, NetworkError, MachineError])
async def test_errors_keep_their_kind(tmp_path: Path, error: type[NodeError]) -> None:
    async def fails(request: Request) -> Replies:
        yield {"so far": 1}
        raise error("it cannot be", hint="do that")

    async with served(tmp_path, fails=fails):
        seen = []
        with pytest.raises(error, match=r"^it cannot be$") as caught:
            async with aclosing(ask(tmp_path, {"do": "fails"})) as found:
                async for reply in found:
                    seen.append(reply)
        assert caught.value.hint == "do that"
        assert seen == [{"so far": 1}]


async def test_a_bug_in_a_handler_is_told_and_logged_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: Request) -> Replies:
        if "do" in request:
            raise KeyError("inside")
        yield {}

    async with served(tmp_path, broken=broken, echo=echo):
        with pytest.raises(NodeError, match="this is a bug of the node: see its log") as caught:
            await replies(tmp_path, do="broken")
        assert caught.value.exit_code == 1
        assert await replies(tmp_path, do="echo")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"nonsense\n", "a request is a JSON object on one line"),
        (b"[1]\n", "a request is a JSON object on one line"),
        (b"\xff\n", "a request is a JSON object on one line"),
        (b"[" * 50_000 + b"\n", "a request is a JSON object on one line"),
        (b"{}\n", "this node knows no 'None'"),
        (b'{"do": "dance"}\n', "this node knows no 'dance'"),
        (b'{"do": ["echo"]}\n', "this node knows no"),
    ],
)
async def test_requests_that_are_none(tmp_path: Path, line: bytes, text: str) -> None:
    async with served(tmp_path, echo=echo):
        async with await raw(tmp_path) as stream:
            await stream.send_all(line)
            (told,) = await all_of(stream)
        assert told["error"]["exit"] == ConfigError.exit_code
        assert text in told["error"]["text"]
        assert await replies(tmp_path, do="echo")


async def test_a_line_that_never_ends_is_not_kept(tmp_path: Path) -> None:
    async with served(tmp_path, echo=echo), await raw(tmp_path) as stream:
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await stream.send_all(b"x" * MAX_LINE_BYTES)


async def test_who_says_nothing_is_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, echo=echo), await raw(tmp_path) as stream:
        await stream.send_all(b'{"do": "ec')
        began = trio.current_time()
        assert await all_of(stream) == []
        assert trio.current_time() - began == pytest.approx(REQUEST_SECONDS)


async def test_no_more_than_some_at_once(tmp_path: Path) -> None:
    endless = Endless()
    async with served(tmp_path, endless=endless, echo=echo):
        streams = [await raw(tmp_path) for _ in range(MAX_CLIENTS)]
        for stream in streams:
            await stream.send_all(b'{"do": "endless"}\n')
            assert b"begun" in await stream.receive_some(1000)
        with pytest.raises(RefusedError, match="asked too much at once"):
            await replies(tmp_path, do="echo")
        for stream in streams:
            await stream.aclose()
        await endless.closed.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await replies(tmp_path, do="echo"), "there is room again"


async def test_nothing_more_is_done_for_whoever_goes_away(tmp_path: Path) -> None:
    endless = Endless()
    async with served(tmp_path, endless=endless):
        async with aclosing(ask(tmp_path, {"do": "endless"})) as found:
            async for _ in found:
                break
        with trio.fail_after(BUSY_SECONDS / 2):  # sooner than it would be told that there is more to come
            await endless.closed.wait()


async def test_who_does_not_listen_is_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    endless = Endless("x" * 50_000)
    async with served(tmp_path, endless=endless), await raw(tmp_path) as stream:
        await stream.send_all(b'{"do": "endless"}\n')
        began = trio.current_time()
        await endless.closed.wait()
        assert trio.current_time() - began == pytest.approx(SEND_SECONDS)


async def test_a_long_work_is_waited_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def slow(request: Request) -> Replies:
        await trio.sleep(10 * SILENT_SECONDS)
        yield {"done": True}

    async with served(tmp_path, slow=slow):
        assert await replies(tmp_path, do="slow") == [{"done": True}]
    assert BUSY_SECONDS < SILENT_SECONDS


async def test_a_frozen_node_is_not_waited_for_for_ever(autojump_clock: MockClock, tmp_path: Path) -> None:
    frozen = socket.socket(socket.AF_UNIX)
    with frozen:
        frozen.bind(str(tmp_path / SOCKET_FILE))
        frozen.listen()
        with pytest.raises(NetworkError, match="does not answer"):
            await replies(tmp_path, do="echo")
    assert trio.current_time() <= 2 * SILENT_SECONDS


async def _begun(folder: Path) -> AsyncGenerator[dict[str, Any], None]:
    found = ask(folder, {"do": "endless"})
    assert await anext(found) == {"begun": True}
    return found


async def test_a_node_that_ends_in_the_middle(tmp_path: Path) -> None:
    endless = Endless()
    with pytest.raises(NetworkError, match="ended before it had answered"):
        async with trio.open_nursery() as nursery:
            await nursery.start(Control(tmp_path, {"endless": endless}).run)
            found = await _begun(tmp_path)
            nursery.cancel_scope.cancel()
        async with aclosing(found):
            await anext(found)
    assert endless.closed.is_set()


async def test_the_end_is_told_even_if_the_node_stops_by_it(tmp_path: Path) -> None:
    """As after it has left the network: its last act is to say so."""
    stop = trio.Event()

    async def last(request: Request) -> Replies:
        yield {"left": 0}
        stop.set()

    async def stopped() -> None:
        await stop.wait()
        services.cancel_scope.cancel()

    for _ in range(20):  # who runs first, the one that stops or the one that tells, is chance
        stop = trio.Event()
        told: list[dict[str, Any]] = []

        async def client(told: list[dict[str, Any]]) -> None:
            told += await replies(tmp_path, do="last")

        async with trio.open_nursery() as nursery, trio.open_nursery() as services:
            await services.start(Control(tmp_path, {"last": last}).run)
            nursery.start_soon(client, told)
            services.start_soon(stopped)
        assert told == [{"left": 0}]
