"""Writing what was fetched to disk: beside the destination, resumable, and moved there only when it is whole."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from node.errors import ConfigError, MachineError, RefusedError, machine_error
from node.fetching.download import Downloader
from node.fetching.reader import Run, Step, Wanted, plan_steps, runs_of, segments_ahead, wanted_bytes
from node.fetching.staging import FETCHING, MOVING, exists, is_ours, staging_name, was_moving
from protocol.hashing import digest
from protocol.links import Link
from protocol.manifest import Kind, Manifest, inline_content

_HEAD_BYTES = len(FETCHING) + 32
_RECORD_BYTES = 4 + 32


@dataclass(frozen=True, slots=True)
class Target:
    """Where the chosen entries go."""

    staging: Path
    """The ``.part`` folder: what has come so far, and which segments of it are whole."""
    moves: tuple[tuple[bytes, Path], ...]
    """(path in the deposit, destination): what is moved where in the end."""


def choose_target(manifest: Manifest, chosen: Sequence[int], dest: Path | None, root: bytes, *, force: bool) -> Target:
    """Decide on destinations, before anything is fetched.

    Args:
        manifest: Of the deposit.
        chosen: Indices of the entries wanted: whole trees.
        dest: Where the user wants it; None for its own name in the current folder.
        root: The root id, which names the staging folder of several trees.
        force: Whether to replace what is there.

    Raises:
        RefusedError: A destination exists.
        MachineError: The folder to write to does not exist, or the system cannot hold such a name.
    """
    entries = [manifest.entries[index] for index in chosen]
    folders = {entry.path for entry in entries if entry.kind is Kind.FOLDER}
    tops = [entry.path for entry in entries if entry.path.rpartition(b"/")[0] not in folders]
    if dest is None:
        moves = [(top, Path(os.fsdecode(top.rpartition(b"/")[2]))) for top in tops]
    elif len(tops) == 1:
        moves = [(tops[0], dest)]
    else:
        moves = [(top, dest / os.fsdecode(top.rpartition(b"/")[2])) for top in tops]
    base = dest if dest is not None else moves[0][1] if len(moves) == 1 else Path(f"archipel-{root[:4].hex()}")
    if not base.name:
        raise ConfigError(f"{str(base)!r} is no name for a file or folder", hint="choose another place with -o")
    staging = base.with_name(staging_name(base.name))
    for _, place in moves:
        if exists(place) and not force and not was_moving(staging):
            raise RefusedError(f"{str(place)!r} exists", hint="choose another place with -o, or replace it: --force")
    if not staging.parent.is_dir():
        raise MachineError(f"the folder {str(staging.parent)!r} does not exist")
    return Target(staging, tuple(moves))


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except RecursionError:
        raise MachineError(f"cannot remove {str(path)!r}: its folders lie too deep in each other") from None
    except OSError as exc:
        raise machine_error("remove", exc) from exc


class Restore:
    """The files of one fetch, on this machine. All calls block; use as a context manager in worker threads."""

    def __init__(self, link: Link, manifest: Manifest, wanted: Iterable[Wanted], chosen: Sequence[int], target: Target):
        """``wanted`` is gone through more than once."""
        self._manifest = manifest
        self._wanted = wanted
        self._chosen = chosen
        self._target = target
        self._content = os.fsencode(target.staging / "content")
        self._parts: dict[int, tuple[int, int]] = {}
        """Of each file that is not wanted whole: where the wanted bytes begin, and how many they are."""
        self.size = 0
        """Bytes of all runs."""
        runs = bytearray()
        for entry, start, stop in wanted:
            self.size += stop - start
            runs += b"%d %d %d;" % (entry, start, stop)
            if stop - start != manifest.entries[entry].size:
                self._parts[entry] = start, stop - start
        self._token = digest("local", link.root, link.key, digest("local", runs))
        self._state = -1
        self.moving = False
        """Whether all is whole, and an earlier run began to move it: only that is left."""
        self._open: tuple[int, int] | None = None

    def begin(self) -> None:
        """Take the staging folder, and up what an earlier run left there, if it was the same fetch.

        Raises:
            RefusedError: Another process is at it, or the folder is not ours.
            MachineError: The disk says no.
        """
        try:
            self._lock_staging()
            found, head = os.pread(self._state, _HEAD_BYTES, 0), FETCHING + self._token
            self.moving = found == MOVING + self._token and all(
                os.path.lexists(self._staged(path)) or os.path.lexists(place) for path, place in self._target.moves
            )
            if not self.moving and found != head:
                if os.path.lexists(self._content):
                    _remove_tree(Path(os.fsdecode(self._content)))
                os.pwrite(self._state, head, 0)
                os.ftruncate(self._state, _HEAD_BYTES)
        except BlockingIOError:
            raise RefusedError(f"another fetch is writing to {str(self._target.staging)!r}") from None
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def _lock_staging(self) -> None:
        staging = self._target.staging
        try:
            staging.mkdir(mode=0o700)
        except FileExistsError:
            if not is_ours(staging):
                raise RefusedError(
                    f"{str(staging)!r} is in the way: no fetch made it",
                    hint="move it away, or choose another place with -o",
                ) from None
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._state = os.open(staging / "state", flags, 0o600)
        fcntl.flock(self._state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(self._state).st_nlink:
            raise BlockingIOError  # the other fetch finished, and removed it, after we opened it

    def make_places(self, size: int) -> None:
        """Make folders and empty files, if there is room for ``size`` bytes more.

        A manifest of a few bytes may name one segment again and again: nothing else bounds what it fills.

        Raises:
            MachineError: There is not, or the disk says no.
        """
        try:
            disk = os.statvfs(self._target.staging.parent)
            free = disk.f_bavail * disk.f_frsize
            if disk.f_blocks and size > free:  # some file systems do not know their size
                if not os.path.lexists(self._content):
                    self._remove_staging()
                where = str(self._target.staging.parent)
                raise MachineError(
                    f"{size} bytes are to be fetched, but {where!r} has room for {free}",
                    hint="free some space, or choose another place with -o",
                )
            self._make_places()
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def _make_places(self) -> None:
        os.makedirs(self._content, exist_ok=True)
        for index in self._chosen:
            entry = self._manifest.entries[index]
            if entry.kind is Kind.FOLDER:
                os.makedirs(self._place(index), exist_ok=True)
            elif entry.kind is Kind.FILE and entry.size == 0:
                os.close(self._create(index))

    def _place(self, index: int) -> bytes:
        return self._staged(self._manifest.entries[index].path)

    def _staged(self, path: bytes) -> bytes:
        return self._content + b"/" + path

    def _part(self, index: int) -> tuple[int, int]:
        """Which byte of a file is the first one here, and how many there are."""
        return self._parts.get(index, (0, self._manifest.entries[index].size))

    def _create(self, index: int) -> int:
        place = self._place(index)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = 0o777 if self._manifest.entries[index].executable else 0o666
        try:
            return os.open(place, flags, mode)
        except FileNotFoundError:  # it was chosen without the folder it is in
            os.makedirs(os.path.dirname(place), exist_ok=True)
            return os.open(place, flags, mode)

    def finished_before(self, steps: Iterable[Step]) -> dict[int, int]:
        """What lies here already, read back and compared with what was noted: numbers of steps, and their sizes."""
        noted = self._noted()
        good: dict[int, int] = {}
        for step in steps if noted else ():
            if step.number in noted and self._digest_of(step) == noted[step.number]:
                good[step.number] = step.size
        os.ftruncate(self._state, _HEAD_BYTES)
        os.lseek(self._state, 0, os.SEEK_END)
        os.write(self._state, b"".join(_record(number, noted[number]) for number in good))
        return good

    def _noted(self) -> dict[int, bytes]:
        """Numbers of steps, and the digest of what was written for each."""
        most = len(self._manifest.entries) + len(self._manifest.segments)  # steps
        noted = os.pread(self._state, most * _RECORD_BYTES, _HEAD_BYTES)
        starts = range(0, len(noted) - _RECORD_BYTES + 1, _RECORD_BYTES)
        return {int.from_bytes(noted[at : at + 4], "big"): noted[at + 4 : at + _RECORD_BYTES] for at in starts}

    def _digest_of(self, step: Step) -> bytes:
        content = bytearray()
        for item in step.slices:
            try:
                with open(self._place(item.entry), "rb") as handle:
                    handle.seek(item.at - self._part(item.entry)[0])
                    content += handle.read(item.size)
            except OSError:
                return b""
        return digest("local", content)

    def write(self, step: Step, data: memoryview) -> None:
        """Write the runs of a step, then note it.

        Raises:
            MachineError: The disk is full or says no; what was written stays for the next run.
        """
        try:
            for run in runs_of(step, data):
                self._write_run(run)
            os.write(self._state, _record(step.number, digest("local", *wanted_bytes(step, data))))
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def write_inline(self) -> None:
        """Write the content of a manifest without segments. Raises as :meth:`write`."""
        try:
            for entry, start, stop in self._wanted:
                content = inline_content(self._manifest, self._manifest.entries[entry], start, stop)
                self._write_run(Run(entry, start, memoryview(content)))
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def _write_run(self, run: Run) -> None:
        if self._open is None or self._open[0] != run.entry:
            self._close()
            self._open = run.entry, self._create(run.entry)
        at = run.at - self._part(run.entry)[0]
        done = 0
        while done < len(run.data):
            done += os.pwrite(self._open[1], run.data[done:], at + done)

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def finish(self, *, force: bool) -> None:
        """Set times, make symbolic links, move everything to its destination, leave nothing behind."""
        self._close()
        try:
            if not self.moving:
                self._finish_entries()
                os.pwrite(self._state, MOVING, 0)
            for path, place in self._target.moves:
                if not self.moving or os.path.lexists(self._staged(path)):
                    self._move(self._staged(path), place, force=force)
            self._remove_staging()
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def _finish_entries(self) -> None:
        for index in reversed(self._chosen):  # what is in a folder before the folder: writing would change its time
            entry, place = self._manifest.entries[index], self._place(index)
            if entry.kind is Kind.SYMLINK:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                if os.path.lexists(place):
                    os.unlink(place)
                os.symlink(entry.target, place)
            elif entry.kind is Kind.FILE and (found := os.lstat(place).st_size) != (size := self._part(index)[1]):
                if found < size:  # zeros in place of what is gone would pass for the file
                    shown = os.fsdecode(place)
                    raise MachineError(
                        f"{shown!r} was cut short by somebody else", hint="run it again: it is fetched anew"
                    )
                handle = self._create(index)  # somebody added to it in the meantime
                os.ftruncate(handle, size)
                os.close(handle)
            if entry.mtime_ns:  # 0: it has no time of its own, such as what came from standard input
                os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _remove_staging(self) -> None:
        if os.path.lexists(self._content):
            _remove_tree(Path(os.fsdecode(self._content)))
        os.unlink(self._target.staging / "state")
        with contextlib.suppress(OSError):  # somebody put something there: it is not ours to remove
            os.rmdir(self._target.staging)

    @staticmethod
    def _move(staged: bytes, place: Path, *, force: bool) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(place):
            os.rename(staged, place)
        elif not force:
            raise RefusedError(f"{str(place)!r} exists", hint="it appeared during the fetch; run again with --force")
        elif any(stat.S_ISDIR(os.lstat(path).st_mode) for path in (staged, place)):
            _swap_folder(staged, place)
        else:
            os.replace(staged, place)

    def close(self) -> None:
        """Release files and the lock. What is unfinished stays for the next run."""
        self._close()
        if self._state >= 0:
            os.close(self._state)
            self._state = -1


def _record(number: int, written: bytes) -> bytes:
    """What is noted of a finished step."""
    return number.to_bytes(4, "big") + written


def _swap_folder(staged: bytes, place: Path) -> None:
    """Put ``staged`` where ``place`` is; a folder is involved, so it takes two steps."""
    aside = Path(tempfile.mkdtemp(prefix=".replaced-", dir=place.parent))
    try:
        place.rename(aside / place.name)
        try:
            os.rename(staged, place)
        except OSError:
            (aside / place.name).rename(place)
            raise
    except OSError:
        with contextlib.suppress(OSError):  # what could not be put back is still in it
            aside.rmdir()
        raise
    _remove_tree(aside)


async def restore(
    downloader: Downloader,
    link: Link,
    manifest: Manifest,
    wanted: Iterable[Wanted],
    chosen: Sequence[int],
    target: Target,
    *,
    force: bool,
) -> int:
    """Fetch runs of files to their destination.

    Returns:
        Bytes that lay here from an earlier run.

    Raises:
        MachineError, RefusedError: The disk, or what is on it, is in the way.
        NotFoundError, IntegrityFailure: The network does not have it; what came is kept for the next run.
    """
    blocking = downloader.client.world.blocking
    work = await blocking(Restore, link, manifest, wanted, chosen, target)
    try:
        await blocking(work.begin)
        if work.moving:
            downloader.progress.step(done=work.size)
            await blocking(partial(work.finish, force=force))
            return work.size
        finished = await blocking(work.finished_before, plan_steps(manifest, wanted))
        kept = sum(finished.values())
        await blocking(work.make_places, work.size - kept)
        downloader.progress.step(done=kept)
        if manifest.segments:
            steps = (step for step in plan_steps(manifest, wanted) if step.number not in finished)
            await _fetch_steps(downloader, work, steps)
        else:
            await blocking(work.write_inline)
            downloader.progress.step(done=work.size)
        await blocking(partial(work.finish, force=force))
        return kept
    finally:
        work.close()


async def _fetch_steps(downloader: Downloader, work: Restore, steps: Iterable[Step]) -> None:
    async with segments_ahead(downloader, steps) as fetched:
        async for step, data in fetched:
            await downloader.client.world.blocking(work.write, step, data)
            downloader.buffers.give(data)
            downloader.progress.step(done=step.size)
