"""The raw limit: what this machine does when it only reads, sends, writes and fsyncs, in the same shape.

Publish at k of n: one process reads a file and sends n/k times its bytes to n processes, each of which writes its share
to a file and fsyncs it. Fetch: k processes read files and send them to one process, which writes them into one file; as
``archipel fetch``, it does not fsync. No encryption, no hash, no code, no protocol.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STEP_BYTES = 1 << 20
_WAIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What one transfer took."""

    seconds: float
    cpu_seconds: float
    """Of all processes together."""


def publish(source: Path, folder: Path, k: int, n: int) -> Limit:
    """Spread n/k times the bytes of ``source`` over ``n`` processes that fsync them."""
    share = source.stat().st_size // k
    with _others("sink", [folder / f"raw-{i}" for i in range(n)]) as others, source.open("rb") as handle:
        return _measure(others, lambda number, line: _send(handle.fileno(), number % k * share, share, line))


def fetch(source: Path, folder: Path, k: int) -> Limit:
    """Gather the bytes of ``source`` from ``k`` processes into one file."""
    share = source.stat().st_size // k
    places, out_place = [folder / f"raw-{i}" for i in range(k)], folder / "raw-out"
    with source.open("rb") as handle:
        for place in places:
            with place.open("wb") as part:
                for _ in range(share // _STEP_BYTES):
                    part.write(handle.read(_STEP_BYTES))
    with _others("source", places) as others, out_place.open("wb") as out:
        try:
            return _measure(others, lambda number, line: _receive(line, out.fileno(), number * share))
        finally:
            out_place.unlink()


def _measure(others: "Sequence[subprocess.Popen[str]]", work: Callable[[int, socket.socket], None]) -> Limit:
    """Do ``work`` on a connection to each of ``others`` at once; each then says what CPU time it used."""
    ports = [_number(process) for process in others]
    began, used = time.perf_counter(), time.process_time()
    with ExitStack() as stack:
        lines = [
            stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), _WAIT_SECONDS)) for port in ports
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(lines)))
        try:
            list(pool.map(work, range(len(lines)), lines))  # raises what went wrong in a thread
        except BaseException:  # also on Ctrl-C: the threads are to end, too
            for line in lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            raise
    took, used = time.perf_counter() - began, time.process_time() - used
    return Limit(took, used + sum(_number(process) for process in others))


def _number(process: "subprocess.Popen[str]") -> float:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a raw process ended early")
    return float(line)


@contextmanager
def _others(role: str, places: Sequence[Path]) -> "Iterator[list[subprocess.Popen[str]]]":
    """One process for each file; ended, and the files removed, afterwards."""
    started: list[subprocess.Popen[str]] = []
    try:
        for place in places:
            command = [sys.executable, "-m", "scripts.benchmarks.raw", role, str(place)]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for place in places:
            place.unlink(missing_ok=True)


def _send(handle: int, start: int, size: int, line: socket.socket) -> None:
    """Send a part of a file, then wait until the other side says that it is on disk."""
    for at in range(start, start + size, _STEP_BYTES):
        line.sendall(os.pread(handle, min(_STEP_BYTES, start + size - at), at))
    line.shutdown(socket.SHUT_WR)
    if line.recv(1) != b"!":
        raise SystemExit("a raw process ended early")


def _receive(line: socket.socket, out: int, at: int) -> None:
    buffer = memoryview(bytearray(_STEP_BYTES))
    while count := line.recv_into(buffer):
        os.pwrite(out, buffer[:count], at)
        at += count


def _serve(role: str, place: Path) -> None:
    """One holder: takes or gives one file over one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        server.settimeout(_WAIT_SECONDS)
        line, _ = server.accept()
    used = time.process_time()
    with line:
        line.settimeout(_WAIT_SECONDS)
        if role == "sink":
            out = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            _receive(line, out, 0)
            os.fsync(out)
            line.sendall(b"!")
        else:
            with place.open("rb") as handle:
                line.sendfile(handle)
    print(time.process_time() - used, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
