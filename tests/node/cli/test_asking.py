"""`archipel node status` and `node leave`, asked of a socket in a data folder; what answers there is made up."""

import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from node.cli.control import status_text
from node.control import SOCKET_FILE, Control, Handler
from node.errors import RefusedError
from node.metrics import metrics_text
from tests.node.cli.conftest import Cli
from tests.node.test_metrics import status

Replies = AsyncGenerator[Mapping[str, object], None]


async def tell(request: Mapping[str, object]) -> Replies:
    yield status()


def leaving(*steps: tuple[int, int], failed: int = 0) -> Handler:
    """A node that hands on so many chunks of so many, step by step."""

    async def leave(request: Mapping[str, object]) -> Replies:
        for moved, total in steps:
            yield {"moved": moved, "left": total - moved, "total": total, "failed": failed, "bytes": moved * 1_000_000}

    return leave


@contextmanager
def node_in(folder: Path, **handlers: Handler) -> Iterator[None]:
    """What listens in a running node's data folder, in a thread of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = threading.Event()
    stop: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(Control(folder, handlers).run)
            stop.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        token, scope = stop[0]
        token.run_sync_soon(scope.cancel)
        thread.join(10)
    assert not thread.is_alive()


def test_status(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path / "data", status=tell):
        told = cli("node", "status", "--data", str(tmp_path / "data"))
        assert (told.code, told.err) == (0, "")
        assert told.out == status_text(status()) + "\n"
        for arguments in (("--data", str(tmp_path / "data"), "--json", "status"), ("status", "--json")):
            home = () if "--data" in arguments else ("--data", str(tmp_path / "data"))
            told = cli("node", *arguments, *home)
            assert told.code == 0
            assert told.out.startswith('{"node_id": "abab')
            assert told.out.count("\n") == 1
        told = cli("node", "status", "--metrics", "--data", str(tmp_path / "data"))
        assert (told.code, told.out) == (0, metrics_text(status()))
        told = cli("node", "status", "--metrics", "--json", "--data", str(tmp_path / "data"))
        assert told.code == 2


def test_the_default_is_the_home_s_node(cli: Cli, tmp_path: Path) -> None:
    assert cli("node", "status").code == 3
    assert not (tmp_path / "home").exists(), "asking makes nothing"
    with node_in(tmp_path / "home" / "node", status=tell):
        assert cli("node", "status").code == 0


@pytest.mark.parametrize("command", ["status", "leave"])
def test_no_node_there(cli: Cli, tmp_path: Path, command: str) -> None:
    told = cli("node", command, "--data", str(tmp_path))
    assert (told.code, told.out) == (3, "")
    assert told.err == (
        f"archipel: error: no node runs in {tmp_path}\nhint: start it, or name the folder it runs in: --data DIR\n"
    )


def test_options_of_a_node_that_is_started(cli: Cli) -> None:
    told = cli("node", "--quota", "5GB", "--no-port-mapping", "status")
    assert told.code == 2
    assert "--no-port-mapping, --quota: for a node that is being started, not for status" in told.err


def test_leaving(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving((0, 3), (2, 3), (3, 3))):
        told = cli("node", "leave", "--data", str(tmp_path))
        assert (told.code, told.err) == (0, "")
        assert told.out == "handed on 3 chunks (3.0 MB), 0 left\n"
        told = cli("node", "leave", "--data", str(tmp_path), "--json")
        assert told.out == '{"moved": 3, "left": 0, "total": 3, "failed": 0, "bytes": 3000000}\n'


def test_leaving_with_nothing_to_hand_on(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving()):
        assert cli("node", "leave", "--data", str(tmp_path)).out == "handed on 0 chunks (0 B), 0 left\n"


def test_leaving_where_nobody_takes_all(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving((1, 3), failed=2)):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert told.code == 4
    assert told.out == "handed on 1 chunk (1.0 MB), 2 left\n", "the result is shown all the same"
    assert "nobody has taken 2 chunks of 3: still in the data folder" in told.err
    assert "hint: " in told.err


def test_what_the_node_refuses(cli: Cli, tmp_path: Path) -> None:
    async def refuse(request: Mapping[str, object]) -> Replies:
        if "do" in request:
            raise RefusedError("not now", hint="later")
        yield {}

    with node_in(tmp_path, leave=refuse):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert (told.code, told.out, told.err) == (4, "", "archipel: error: not now\nhint: later\n")
    assert not (tmp_path / SOCKET_FILE).exists()


def test_progress_is_for_a_terminal(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.control.sys.stderr.isatty", lambda: True)
    with node_in(tmp_path, leave=leaving((1, 3), (3, 3))):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert told.err == "\r1 of 3 chunks handed on, 1.0 MB\x1b[K\r3 of 3 chunks handed on, 3.0 MB\x1b[K\n"
    assert told.out == "handed on 3 chunks (3.0 MB), 0 left\n"
