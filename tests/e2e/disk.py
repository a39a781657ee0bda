"""A disk of a few MiB, to be filled to the last byte.

It is a file system in memory, mounted where only the processes that are told to can see it: in a mount namespace, which
root may make, and elsewhere anybody within a user namespace. It goes when its keeper does, however the test ends.
Where the kernel forbids both, a limit on the size of files takes its place: the same writes fail at the same moments,
and the reason that the system gives is another one.
"""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.meter import MIB

_NAMESPACES = (("--mount",), ("--mount", "--user", "--map-root-user"))
_KEEP = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'
"""It lives until its standard input ends, as it does with the test."""


@dataclass
class TinyDisk:
    """A folder that has room for so many bytes."""

    folder: Path
    """Where those within it see it."""
    full: str
    """Why a write to it fails once it is full, in the system's words."""
    refused: str
    """Why a node does not even begin with what there is no room for."""
    within: tuple[str, ...]
    """The beginning of a command that becomes another, which sees the disk."""
    keeper: "subprocess.Popen[bytes] | None"

    @property
    def seen(self) -> Path:
        """The same folder as the test sees it."""
        return self.folder if self.keeper is None else Path(f"/proc/{self.keeper.pid}/root{self.folder}")

    def fill(self, pid: int, *, but: int = 0) -> None:
        """Leave room for ``but`` bytes; ``pid`` is who writes to it."""
        if self.keeper is None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (but, resource.RLIM_INFINITY))
            return
        with (self.seen / "ballast").open("ab", buffering=0) as ballast:
            try:
                while ballast.write(bytes(MIB)):
                    pass
            except OSError as exc:
                assert exc.errno == errno.ENOSPC
            ballast.truncate(ballast.tell() - but)

    def free(self, pid: int) -> None:
        """Undo :meth:`fill`."""
        if self.keeper is None:
            with suppress(ProcessLookupError):  # it has ended, and its limit with it
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            (self.seen / "ballast").unlink()


@contextmanager
def tiny_disk(folder: Path, size: int) -> Iterator[TinyDisk]:
    """A disk in ``folder``, which is made."""
    folder.mkdir()
    for namespaces in _NAMESPACES if shutil.which("unshare") else ():
        command = ["unshare", *namespaces, "sh", "-c", _KEEP, "sh", str(size), str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as keeper:
            assert keeper.stdout is not None
            if keeper.stdout.readline() == b"mounted\n":
                enter = ("--user", "--preserve-credentials") if "--user" in namespaces else ()
                within = ("nsenter", f"--target={keeper.pid}", *enter, "--mount", "--")
                yield TinyDisk(folder, os.strerror(errno.ENOSPC), "the disk is full", within, keeper)
                return
    yield TinyDisk(folder, os.strerror(errno.EFBIG), os.strerror(errno.EFBIG), (), None)
