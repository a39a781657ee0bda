"""The agent: a process of its own that keeps an account unlocked for a while.

It holds the account's secret in memory, answers on a socket in the home folder, and ends when its time is over, when it
is told to lock, or by a signal. One request to a connection: a line, ``open`` or ``lock``. The reply is a line with a
JSON object: ``{"key", "secret", "until"}`` in hex and seconds since 1970, or ``{"locked": true}``. Whoever runs as the
same user may ask; nobody else can reach the socket, and if they could they would not be answered.

This module does not import trio: the agent stays small.
"""

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from node.account.held import Held
from node.errors import MachineError, reason
from node.home import Home
from node.unixsockets import listening_socket, peer_uid, socket_address
from protocol.account import SECRET_BYTES, AccountKeys, Secret

SOCKET_FILE = "agent"
LOCK_FILE = "agent.lock"
START_FILE = "agent.start"
KEEPER = "agent"
REQUEST_SECONDS = 2.0
"""For a request to come: all who ask are of our own."""
MAX_CALLERS = 64
"""Connected at once; one more, and the one that has said nothing for the longest is dropped."""
ASK_SECONDS = 10.0
"""How long a command waits for the agent, which may be serving others."""
START_SECONDS = 20.0
_LOCK_SECONDS = 5.0
"""For the agent before us to end."""
_AGAIN_SECONDS = 0.02
_LOOK_SECONDS = 20.0
"""How often the clock is looked at: a machine that slept wakes up with its timers where they were; and the place."""
_BACKLOG = 8
_MAX_REQUEST_BYTES = 16
_MAX_REPLY_BYTES = 1024
_PR_SET_DUMPABLE = 4
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def seconds_since_boot() -> float:
    """Goes on while the machine sleeps, and is not changed by setting the clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))  # the latter does so on macOS


class Place:
    """The socket file that was just made in a home folder, wherever that is moved to."""

    def __init__(self, home: Path) -> None:
        """Raises OSError."""
        self._folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._made = self._look()

    def _look(self) -> os.stat_result:
        return os.stat(SOCKET_FILE, dir_fd=self._folder, follow_symlinks=False)

    @property
    def there(self) -> bool:
        """Whether anybody still finds it."""
        try:
            return os.path.samestat(self._look(), self._made)
        except OSError:
            return False

    def clear(self) -> None:
        """Remove it, if it is still there."""
        if self.there:
            os.unlink(SOCKET_FILE, dir_fd=self._folder)


class Agent:
    """The agent's side, in the process that is it."""

    def __init__(
        self,
        place: Place,
        listener: socket.socket,
        keys: AccountKeys,
        seconds: int,
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """
        Args:
            place: Where it is found.
            listener: Where it is asked.
            keys: What it holds.
            seconds: For how long, from now.
            clock: Seconds that only go up.
        """
        self._place = place
        self._listener = listener
        self._keys = keys
        self._clock = clock
        self._end = clock() + seconds
        self._until = int(time.time()) + seconds
        self._locked = False
        self._callers: dict[socket.socket, _Caller] = {}

    def run(self) -> None:
        """Answer until the time is over, somebody locks, or nobody finds it; then nobody listens any more."""
        self._listener.setblocking(False)
        try:
            while not self._locked and self._place.there and (left := self._end - self._clock()) > 0:
                self._step(min(left, _LOOK_SECONDS))
        finally:
            self._listener.close()
            for connection in list(self._callers):
                self._drop(connection)

    def _step(self, seconds: float) -> None:
        """Wait until somebody comes or says something, and hear them all: who says nothing holds nobody up."""
        now = time.monotonic()
        waits = min((caller.deadline - now for caller in self._callers.values()), default=seconds)
        ready = select.select([*self._callers, self._listener], [], [], max(0.0, min(seconds, waits)))[0]
        for connection in ready:
            if self._locked:
                return
            if connection is self._listener:
                self._accept()
            else:
                self._hear(connection)
        now = time.monotonic()
        for connection in [one for one, caller in self._callers.items() if caller.deadline <= now]:
            self._drop(connection)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # it has gone again
            return
        connection.setblocking(False)
        if len(self._callers) >= MAX_CALLERS:
            self._drop(next(iter(self._callers)))
        self._callers[connection] = _Caller(time.monotonic() + REQUEST_SECONDS)

    def _hear(self, connection: socket.socket) -> None:
        caller = self._callers[connection]
        try:
            more = connection.recv(_MAX_REQUEST_BYTES + 1 - len(caller.said))
            caller.said += more
            whole = caller.said.endswith(b"\n")
            if more and not whole and len(caller.said) <= _MAX_REQUEST_BYTES:
                return
            if whole:
                self._answer(connection, caller.said[:-1])
        except BlockingIOError:
            return
        except OSError:  # who hangs up has no answer
            pass
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        del self._callers[connection]
        connection.close()

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        """A reply is so short that a connection takes it at once. Raises OSError."""
        if peer_uid(connection) != os.geteuid() or self._clock() >= self._end:
            return
        if request == b"open":
            key, secret = self._keys.identity.key.hex(), self._keys.secret.hex()
            connection.sendall(json.dumps({"key": key, "secret": secret, "until": self._until}).encode() + b"\n")
        elif request == b"lock":
            self._locked = True
            self._listener.close()  # who asks from now on finds nobody, and need not wait to be told
            connection.sendall(b'{"locked": true}\n')


@dataclass(slots=True)
class _Caller:
    """One who has connected."""

    deadline: float
    said: bytes = b""


def _receive_line(connection: socket.socket, limit: int, seconds: float) -> bytes:
    """A line without its end, of at most ``limit`` bytes. Raises OSError: too slow, too long, or the other side
    has hung up (ConnectionResetError)."""
    deadline = time.monotonic() + seconds
    data = b""
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        more = connection.recv(limit + 1 - len(data))
        if not more:
            raise ConnectionResetError("no line")
        if len(data) + len(more) > limit:
            raise OSError("too long a line")
        data += more
    return data[:-1]


# The side of the commands


def ask_agent(home: Home) -> Held | None:
    """What the agent of this home holds; None: no agent runs.

    Raises:
        MachineError: Something is there that does not answer as an agent does.
    """
    reply = _ask(home, b"open\n")
    if reply is None:
        return None
    match reply:
        case {"key": str(key), "secret": str(text), "until": int(until)}:
            with suppress(ValueError):
                secret = Secret(bytes.fromhex(text))
                if len(secret) == SECRET_BYTES and (keys := AccountKeys(secret)).identity.key.hex() == key:
                    return Held(keys, until, KEEPER)
    raise _no_agent(home)


def end_agent(home: Home) -> bool:
    """Have the agent of this home forget the account and end; whether there was one. Raises MachineError."""
    return _ask(home, b"lock\n") is not None


def start_agent(home: Home, keys: AccountKeys, seconds: int) -> Held:
    """Start an agent for this home, in place of one that runs. It goes on when this process has ended. Of several who
    do so at once the last one's stays.

    The secret goes to it through a pipe: neither arguments nor environment of a process hold it.

    Raises:
        MachineError: It does not start.
    """
    try:
        handle = _locked(home.path / START_FILE, START_SECONDS)
    except OSError as exc:
        raise MachineError(f"cannot start the agent: {reason(exc)}") from exc
    try:
        end_agent(home)
        said = _start(home, keys, seconds)
    finally:
        os.close(handle)
    if said != b"ready":
        raise MachineError(f"cannot start the agent: {said[:500].decode(errors='replace') or 'it said nothing'}")
    return Held(keys, int(time.time()) + seconds, KEEPER)


def _start(home: Home, keys: AccountKeys, seconds: int) -> bytes:
    """What it says when it has started, or why it has not. Raises MachineError."""
    command = [sys.executable, "-P", "-m", "node.account.agent", str(home.path.resolve())]
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        ) as process:
            said = b"it did not start in time"
            try:
                said, _ = process.communicate(b"%d %s\n" % (seconds, keys.secret.hex().encode()), START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
    except OSError as exc:
        raise MachineError(f"cannot start the agent: {reason(exc)}") from exc
    return said


def _ask(home: Home, request: bytes) -> dict[str, Any] | None:
    path = home.path / SOCKET_FILE
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ASK_SECONDS)
        try:
            with socket_address(path) as address:
                _connect(connection, address)
            if peer_uid(connection) != os.geteuid():
                raise _no_agent(home)
            connection.sendall(request)
            line = _receive_line(connection, _MAX_REPLY_BYTES, ASK_SECONDS)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            return None  # none is there; or its time was over just now
        except OSError as exc:
            if not path.exists():
                return None
            raise _no_agent(home) from exc
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise _no_agent(home)
    return reply


def _connect(connection: socket.socket, address: str) -> None:
    """Wait for room while others are waiting to be let in, as a socket with a timeout does not. Raises OSError."""
    deadline = time.monotonic() + ASK_SECONDS
    while True:
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _no_agent(home: Home) -> MachineError:
    return MachineError(
        f"what listens at {str(home.path / SOCKET_FILE)!r} does not answer as an agent does",
        hint="end that process, then unlock again: an agent shows as node.account.agent in the list of processes",
    )


# The process itself


def main() -> NoReturn:
    """Become the agent of the home folder that is the argument; seconds and secret come by standard input."""
    _hide_memory()
    path = Path(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # until what they leave behind is cleared away
    try:
        seconds, secret = sys.stdin.buffer.readline(200).split()
        keys = AccountKeys(bytes.fromhex(secret.decode("ascii")))
        _locked(path / LOCK_FILE, _LOCK_SECONDS)  # held for as long as this process and its child live
        listener = listening_socket(path / SOCKET_FILE, _BACKLOG)
        place = Place(path)
        if os.fork():
            os.write(1, b"ready")
            os._exit(0)  # who started us need not wait for us; what is open belongs to the child now
    except OSError as exc:
        os.write(1, reason(exc).encode())
        sys.exit(7)
    try:
        for number in _ENDING:
            signal.signal(number, _end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(nowhere, handle)
        Agent(place, listener, keys, int(seconds)).run()
    finally:
        place.clear()
    sys.exit(0)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _hide_memory() -> None:
    """No core file; and on Linux nobody but root traces this process, or reads its memory in /proc."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _locked(path: Path, seconds: float) -> int:
    """A handle that holds the lock of this file, until it is closed by this process and its children.

    Raises:
        OSError: It cannot be used, or somebody else has had it for so long.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(0, f"another process holds {str(path)!r}") from None
                time.sleep(_AGAIN_SECONDS)
            else:
                return handle
    except BaseException:  # whatever it was, the file must not stay open
        os.close(handle)
        raise


if __name__ == "__main__":
    main()
