"""Who keeps an account unlocked for a while: the agent (node/account/agent.py)."""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from node.account import agent
from node.account.agent import LOCK_FILE, SOCKET_FILE, START_FILE, Agent, Place, ask_agent, end_agent, start_agent
from node.account.held import Held
from node.errors import MachineError
from node.home import Home
from node.unixsockets import listening_socket, peer_uid, socket_address
from tests.vectors.make_account import KEYS

UNTIL_SECONDS = 3600


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def running(home: Home, clock: Callable[[], float]) -> Iterator[threading.Thread]:
    """An agent in a thread; it has ended when the ``with`` does."""
    listener = listening_socket(home.path / SOCKET_FILE, 8)
    thread = threading.Thread(target=Agent(Place(home.path), listener, KEYS, UNTIL_SECONDS, clock).run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        end_agent(home)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(params=["short", "long"])
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Home:
    """Also one whose path no socket's address can hold."""
    path = tmp_path if request.param == "short" else tmp_path / ("x" * 120)
    path.mkdir(exist_ok=True)
    return Home(path)


def send(home: Home, request: bytes) -> bytes:
    """All that comes back."""
    with socket.socket(socket.AF_UNIX) as connection, socket_address(home.path / SOCKET_FILE) as address:
        connection.connect(address)
        connection.settimeout(10)
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):  # it hung up before it had read all
            return b""


def test_it_answers_until_it_is_locked(home: Home) -> None:
    with running(home, Clock()):
        for _ in range(3):
            found = ask_agent(home)
            assert found is not None
            assert (found.keys.secret, found.keeper) == (KEYS.secret, "agent")
            assert 0 < found.until - time.time() <= UNTIL_SECONDS
            assert KEYS.secret.hex() not in repr(found)
        assert (home.path / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        assert end_agent(home)
        assert ask_agent(home) is None
        assert not end_agent(home)


def test_it_answers_nobody_when_its_time_is_over(tmp_path: Path) -> None:
    home, clock = Home(tmp_path), Clock()
    with running(home, clock) as thread:
        assert ask_agent(home) is not None
        clock.now += UNTIL_SECONDS - 0.5
        assert ask_agent(home) is not None
        clock.now += 0.5
        assert send(home, b"open\n") == b""
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "request_bytes", [b"", b"\n", b"open", b"close\n", b"open\nopen\n", b"x" * 15 + b"\n", b"x" * 5000, b"\xff\0\n"]
)
def test_nonsense_gets_nothing(tmp_path: Path, request_bytes: bytes) -> None:
    home = Home(tmp_path)
    with running(home, Clock()):
        assert send(home, request_bytes) == b""
        assert ask_agent(home) is not None


def test_who_says_nothing_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are; nor do they stay."""
    home = Home(tmp_path)
    with running(home, Clock()), ExitStack() as stack:
        silent = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(agent.MAX_CALLERS + 6)]
        for number, connection in enumerate(silent):
            connection.connect(str(tmp_path / SOCKET_FILE))
            connection.send(b"op" if number % 2 else b"x")
        started = time.monotonic()
        assert ask_agent(home) is not None
        assert time.monotonic() - started < agent.REQUEST_SECONDS / 2
        silent[0].settimeout(10)
        assert silent[0].recv(1) == b"", "the first has made room"
        monkeypatch.setattr(agent, "REQUEST_SECONDS", 0.05)
        late = stack.enter_context(socket.socket(socket.AF_UNIX))
        late.settimeout(10)
        late.connect(str(tmp_path / SOCKET_FILE))
        assert late.recv(1) == b"", "its time was over"


def test_other_users_are_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor asked: what another user listens with is no agent of ours."""
    home = Home(tmp_path)
    with running(home, Clock()):
        with monkeypatch.context() as patched:
            patched.setattr(os, "geteuid", lambda: os.getuid() + 1)
            assert send(home, b"open\n") == b""
            assert send(home, b"lock\n") == b""
            with pytest.raises(MachineError, match="does not answer as an agent"):
                ask_agent(home)
        assert ask_agent(home) is not None


@pytest.mark.parametrize(
    "reply",
    [
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"key": 1, "secret": 2, "until": 3}\n',
        b'{"key": "00", "secret": "zz", "until": 3}\n',
        json.dumps({"key": "00" * 32, "secret": KEYS.secret.hex(), "until": 3}).encode() + b"\n",
        json.dumps({"key": KEYS.identity.key.hex(), "secret": "00" * 31, "until": 3}).encode() + b"\n",
        b"[" * 1000 + b"\n",
        b"x" * 5000,
    ],
)
def test_a_liar_is_found_out(tmp_path: Path, reply: bytes) -> None:
    home = Home(tmp_path)

    def lie() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(reply)

    with listening_socket(tmp_path / SOCKET_FILE, 1) as listener:
        thread = threading.Thread(target=lie, daemon=True)
        thread.start()
        with pytest.raises(MachineError, match="does not answer as an agent") as caught:
            ask_agent(home)
        thread.join(10)
    assert KEYS.secret.hex() not in str(caught.value)


def test_nobody_is_there(tmp_path: Path) -> None:
    """Nothing at all; no home; a socket that was left behind; a file of that name."""
    assert ask_agent(Home(tmp_path)) is None
    assert ask_agent(Home(tmp_path / "missing")) is None
    listening_socket(tmp_path / SOCKET_FILE, 1).close()
    assert ask_agent(Home(tmp_path)) is None
    assert not end_agent(Home(tmp_path))
    (tmp_path / SOCKET_FILE).unlink()
    (tmp_path / SOCKET_FILE).write_bytes(b"")
    assert ask_agent(Home(tmp_path)) is None


def test_a_real_one(tmp_path: Path) -> None:
    """A process of its own session, which hides its memory and ends by itself; the next one takes its place."""
    home = Home(tmp_path)
    start_agent(home, KEYS, 60)
    first = _pid(home)
    assert ask_agent(home) is not None
    assert os.getsid(first) != os.getsid(0)
    proc = Path(f"/proc/{first}")
    assert "Max core file size        0                    0 " in (proc / "limits").read_text()
    told = (proc / "cmdline").read_bytes()
    with suppress(PermissionError):  # unless root runs the tests
        told += (proc / "environ").read_bytes()
        assert {os.readlink(proc / "fd" / number) for number in "012"} == {"/dev/null"}
    assert not [form for form in (KEYS.secret.hex().encode(), bytes(KEYS.secret)) if form in told]

    found = start_agent(home, KEYS, 2)
    second = _pid(home)
    assert second != first
    assert not _runs(first)
    assert 0 < found.until - time.time() <= 2
    deadline = time.monotonic() + 10
    while _runs(second):
        assert time.monotonic() < deadline, "its time was over long ago"
        time.sleep(0.01)
    assert ask_agent(home) is None
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE, START_FILE}

    start_agent(home, KEYS, 60)
    third = _pid(home)
    os.kill(third, signal.SIGTERM)
    while _runs(third):
        assert time.monotonic() < deadline, "SIGTERM ends it"
        time.sleep(0.01)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE, START_FILE}


def test_it_is_found_where_its_home_is_moved_to_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_LOOK_SECONDS", 0.05)
    home, moved = Home(tmp_path / "home"), Home(tmp_path / "moved")
    home.create()
    with running(home, Clock()) as thread:
        home.path.rename(moved.path)
        assert ask_agent(home) is None
        assert ask_agent(moved) is not None
        (moved.path / SOCKET_FILE).unlink()
        thread.join(10)
        assert not thread.is_alive(), "what nobody can ask, nor lock, holds nothing"


def test_whose_process_it_is_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its struct xucred tells, which is not Linux's."""

    class Peer(socket.socket):
        def getsockopt(self, *arguments: int) -> bytes:  # type: ignore[override]
            assert arguments == (0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED, its size
            return struct.pack("IIh2x16I", 0, 501, 1, 20, *bytes(15))

    with Peer(socket.AF_UNIX) as peer:
        monkeypatch.delattr(socket, "SO_PEERCRED")
        assert peer_uid(peer) == 501


def test_it_clears_away_no_socket_but_its_own(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_FILE
    with listening_socket(path, 1):
        first = Place(tmp_path)
        path.rename(tmp_path / "elsewhere")
        with listening_socket(path, 1):
            second = Place(tmp_path)
            first.clear()
            assert path.exists()
            second.clear()
            assert not path.exists()
            second.clear()


def test_several_start_one_at_once(tmp_path: Path) -> None:
    """None fails, and one agent is left: the last one's."""
    home = Home(tmp_path)
    found: list[Held] = []
    threads = [threading.Thread(target=lambda: found.append(start_agent(home, KEYS, 60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    last = _pid(home)
    assert end_agent(home)
    deadline = time.monotonic() + 10
    while _runs(last):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(AssertionError, match="no agent runs"):
        _pid(home)


def test_one_that_waits_in_vain_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "START_SECONDS", 0.05)
    with (tmp_path / START_FILE).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match=r"cannot start the agent: another process holds '.*agent\.start'"):
            start_agent(Home(tmp_path), KEYS, 60)


def test_it_hides_its_memory() -> None:
    """The system says of the process itself that nobody may trace it."""
    asked = "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    script = f"import ctypes; from node.account.agent import _hide_memory; {asked}; _hide_memory(); {asked}"
    told = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, check=True)
    assert told.stdout == b"1\n0\n"


def test_one_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot start the agent: No such file"):
        start_agent(Home(tmp_path / "missing"), KEYS, 60)
    (tmp_path / SOCKET_FILE).mkdir()
    with pytest.raises(MachineError, match="cannot start the agent: Address already in use"):
        start_agent(Home(tmp_path), KEYS, 60)


def _pid(home: Home) -> int:
    """Of the agent of a home, as the system lists it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"node.account.agent" in words and os.fsencode(home.path.resolve()) in words:
            return int(path.parent.name)
    raise AssertionError("no agent runs")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
