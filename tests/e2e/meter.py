"""What a process takes of its machine, as the kernel counts it."""

import os
from pathlib import Path

MIB = 1 << 20


def resident_bytes(pid: int) -> int:
    """Memory it has at this moment."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most memory it ever had."""
    return _status(pid, "VmHWM")


def cpu_seconds(pid: int) -> float:
    """Time it has computed, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Files and sockets it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
