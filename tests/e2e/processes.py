"""Which processes of archipel there are."""

import os
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """The pids of processes that were started for something in ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and b"node.cli" in command and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found
