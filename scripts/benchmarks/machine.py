"""What Linux tells of processes, and memory that is as quick to get for everything that is measured."""

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
_BLOCK_BYTES = 64 * MIB
_HEADROOM_BYTES = 512 * MIB
"""Kept free for what is measured: it cannot use more than that up between two looks."""
_LOOK_SECONDS = 0.01


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, of the user and of the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int, field: str) -> float:
    """``VmRSS`` or ``VmHWM`` of a process; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def written_bytes(pid: int) -> int:
    """Bytes a process has written to files; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree"))


@contextmanager
def ready_memory(size: int) -> Iterator[None]:
    """While this lasts, the first ``size`` bytes of new pages anybody takes are ones the machine has backed already.

    A page that a virtual machine has not used for some seconds is taken back by its host, and costs ten times as much
    when it is first touched again: the page cache is then filled with 0.3 GB/s instead of 4, and whatever runs second
    looks fast. So take ``size`` bytes beforehand, write to them, and give them back as they are used up.
    """
    os.sync()  # nor is anybody to share the disk with what an earlier run left to be written
    size = min(size, _free_bytes() // 2)
    ballast = [_backed(_BLOCK_BYTES) for _ in range(size // _BLOCK_BYTES)]
    over = threading.Event()
    thread = threading.Thread(target=_give_back, args=(ballast, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for block in ballast:
            block.close()


def _backed(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, size, mmap.PAGESIZE):
        block[at] = 1
    return block


def _give_back(ballast: list[mmap.mmap], over: threading.Event) -> None:
    floor = _free_bytes()
    while ballast and not over.is_set():
        while ballast and _free_bytes() < floor + _HEADROOM_BYTES:
            ballast.pop().close()
        over.wait(_LOOK_SECONDS)
