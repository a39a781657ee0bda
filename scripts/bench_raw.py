"""The raw limit: what this machine does when it only reads, sends, writes and fsyncs.

Publish: one process reads a file and sends 1.5 times its bytes to 12 processes, which write and fsync them. Fetch: 8
processes read files and send them to one process, which writes them to one file.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

STEP = 1 << 20
HOLDERS = 12
SENDERS = 8


def publish_seconds(source: Path, folder: Path) -> float:
    """Seconds to spread 1.5 times the bytes of ``source`` over 12 fsyncing processes."""
    size = source.stat().st_size
    share = size * 3 // 2 // HOLDERS
    sinks, ports = _start("sink", HOLDERS, folder, share)
    began = time.perf_counter()
    lines = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    with source.open("rb") as handle:
        threads = [threading.Thread(target=_pump, args=(handle.fileno(), size, line, share)) for line in lines]
        _run(threads)
    for line in lines:
        line.shutdown(socket.SHUT_WR)
        line.recv(1)  # the sink says that all is on disk
    took = time.perf_counter() - began
    _end(sinks, lines)
    return took


def fetch_seconds(source: Path, folder: Path) -> float:
    """Seconds to gather the bytes of ``source`` from 8 processes into one file."""
    size = source.stat().st_size
    share = size // SENDERS
    for number in range(SENDERS):
        with source.open("rb") as handle, (folder / f"raw-{number}").open("wb") as part:
            handle.seek(number * share)
            part.write(handle.read(share))
    sources, ports = _start("source", SENDERS, folder, share)
    out = os.open(folder / "raw-out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.perf_counter()
    lines = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    _run([threading.Thread(target=_gather, args=(line, out, n * share)) for n, line in enumerate(lines)])
    took = time.perf_counter() - began
    os.close(out)
    _end(sources, lines)
    return took


def _start(role: str, count: int, folder: Path, share: int) -> tuple[list[subprocess.Popen[bytes]], list[int]]:
    command = [sys.executable, __file__, role]
    started = [
        subprocess.Popen([*command, str(folder / f"raw-{n}"), str(share)], stdout=subprocess.PIPE) for n in range(count)
    ]
    ports = [int(process.stdout.readline()) for process in started if process.stdout is not None]
    return started, ports


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _pump(handle: int, size: int, line: socket.socket, share: int) -> None:
    sent = 0
    while sent < share:
        data = os.pread(handle, min(STEP, share - sent), (sent * HOLDERS) % max(1, size - STEP))
        line.sendall(data)
        sent += len(data)


def _gather(line: socket.socket, out: int, at: int) -> None:
    buffer = memoryview(bytearray(STEP))
    while count := line.recv_into(buffer):
        os.pwrite(out, buffer[:count], at)
        at += count


def _end(processes: list[subprocess.Popen[bytes]], lines: list[socket.socket]) -> None:
    for line in lines:
        line.close()
    for process in processes:
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def _serve(role: str, path: Path, share: int) -> None:
    """One holder: takes or gives ``share`` bytes on one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        server.settimeout(60)
        line, _ = server.accept()
    with line:
        if role == "sink":
            out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            _gather(line, out, 0)
            os.fsync(out)
            line.sendall(b"!")
        else:
            with path.open("rb") as handle:
                line.sendfile(handle)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
