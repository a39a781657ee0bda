"""Where the nodes of these tests keep their data."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ROOM = 512 * 1024 * 1024


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A folder for the data of many nodes: in memory where there is room, for they make thousands of folders."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK) or _room(_MEMORY) < _ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="archipel-", dir=_MEMORY) as folder:
        yield Path(folder)


def _room(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
