"""Writing what was fetched to disk: beside the destination, resumable, and moved there only when it is whole."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.errors import ConfigError, MachineError, RefusedError, machine_error
from node.fetching.download import Downloader
from node.fetching.reader import Run, Step, plan_steps, runs_of, segments_ahead
from node.fetching.staging import FETCHING, MOVING, is_ours, staging_name, was_moving
from protocol.hashing import digest
from protocol.links import Link
from protocol.manifest import Kind, Manifest, inline_content

Wanted = tuple[int, int, int]
"""(entry index, start, stop): a run of a file's bytes."""

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
    paths = {manifest.entries[index].path for index in chosen}
    tops = [path for path in sorted(paths) if path.rpartition(b"/")[0] not in paths]
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
        if _exists(place) and not force and not was_moving(staging):
            raise RefusedError(f"{str(place)!r} exists", hint="choose another place with -o, or replace it: --force")
    if not staging.parent.is_dir():
        raise MachineError(f"the folder {str(staging.parent)!r} does not exist")
    return Target(staging, tuple(moves))


def _exists(place: Path) -> bool:
    try:
        os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise machine_error("write", exc) from exc
    return True


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except RecursionError:
        raise MachineError(f"cannot remove {str(path)!r}: its folders lie too deep in each other") from None
    except OSError as exc:
        raise machine_error("remove", exc) from exc


class Restore:
    """The files of one fetch, on this machine. All calls block; use as a context manager in worker threads."""

    def __init__(self, link: Link, manifest: Manifest, wanted: Sequence[Wanted], chosen: Sequence[int], target: Target):
        self._manifest = manifest
        self._wanted = wanted
        self._chosen = chosen
        self._target = target
        self._content = os.fsencode(target.staging / "content")
        self._starts = {entry: start for entry, start, _ in wanted}
        self._sizes = {entry: stop - start for entry, start, stop in wanted}
        runs = b"".join(b"%d %d %d;" % run for run in wanted)
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
            place = self._place(index)
            if entry.kind is Kind.FOLDER:
                os.makedirs(place, exist_ok=True)
            elif entry.kind is Kind.FILE and entry.size == 0:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.close(self._create(place, executable=entry.executable))

    def _place(self, index: int) -> bytes:
        return self._staged(self._manifest.entries[index].path)

    def _staged(self, path: bytes) -> bytes:
        return os.path.join(self._content, path)

    @staticmethod
    def _create(place: bytes, *, executable: bool) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(place, flags, 0o777 if executable else 0o666)

    def finished_before(self, steps: Sequence[Step]) -> set[int]:
        """Numbers of the steps whose bytes lie here already, read back and compared with what was noted."""
        noted = os.pread(self._state, len(steps) * _RECORD_BYTES * 2, _HEAD_BYTES)
        good: dict[int, bytes] = {}
        for start in range(0, len(noted) - _RECORD_BYTES + 1, _RECORD_BYTES):
            number = int.from_bytes(noted[start : start + 4], "big")
            if number < len(steps) and self._digest_of(steps[number]) == noted[start + 4 : start + _RECORD_BYTES]:
                good[number] = noted[start : start + _RECORD_BYTES]
        os.ftruncate(self._state, _HEAD_BYTES)
        os.pwrite(self._state, b"".join(good.values()), _HEAD_BYTES)
        os.lseek(self._state, 0, os.SEEK_END)
        return set(good)

    def _digest_of(self, step: Step) -> bytes:
        parts = []
        for item in step.slices:
            try:
                with open(self._place(item.entry), "rb") as handle:
                    handle.seek(item.at - self._starts[item.entry])
                    parts.append(handle.read(item.size))
            except OSError:
                return b""
        return digest("local", *parts)

    def write(self, number: int, step: Step, data: memoryview) -> None:
        """Write the runs of a step, then note it.

        Raises:
            MachineError: The disk is full or says no; what was written stays for the next run.
        """
        try:
            parts = []
            for run in runs_of(step, data):
                self.write_run(run)
                parts.append(run.data)
            os.write(self._state, number.to_bytes(4, "big") + digest("local", *parts))
        except OSError as exc:
            raise machine_error("write", exc) from exc

    def write_run(self, run: Run) -> None:
        """Write one run of a file."""
        if self._open is None or self._open[0] != run.entry:
            self._close()
            place = self._place(run.entry)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            self._open = (
                run.entry,
                self._create(place, executable=self._manifest.entries[run.entry].executable),
            )
        at = run.at - self._starts[run.entry]
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
            elif entry.kind is Kind.FILE and os.lstat(place).st_size != self._sizes.get(index, 0):
                handle = self._create(place, executable=entry.executable)  # somebody added to it in the meantime
                os.ftruncate(handle, self._sizes.get(index, 0))
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
    wanted: Sequence[Wanted],
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
    work = Restore(link, manifest, wanted, chosen, target)
    try:
        await blocking(work.begin)
        size = sum(stop - start for _, start, stop in wanted)
        if work.moving:
            downloader.progress.step(done=size)
            await blocking(_finish, work, force)
            return size
        steps = await blocking(list, plan_steps(manifest, wanted)) if manifest.segments else []
        finished = await blocking(work.finished_before, steps)
        kept = sum(item.size for number in finished for item in steps[number].slices)
        await blocking(work.make_places, size - kept)
        downloader.progress.step(done=kept)
        if manifest.segments:
            await _fetch_steps(downloader, work, [(n, s) for n, s in enumerate(steps) if n not in finished])
        else:
            for run in _inline_runs(manifest, wanted):
                await blocking(work.write_run, run)
                downloader.progress.step(done=len(run.data))
        await blocking(_finish, work, force)
        return kept
    finally:
        work.close()


def _finish(work: Restore, force: bool) -> None:
    work.finish(force=force)


def _inline_runs(manifest: Manifest, wanted: Sequence[Wanted]) -> Iterator[Run]:
    for entry, start, stop in wanted:
        if stop > start:
            yield Run(entry, start, memoryview(inline_content(manifest, manifest.entries[entry], start, stop)))


async def _fetch_steps(downloader: Downloader, work: Restore, steps: Sequence[tuple[int, Step]]) -> None:
    numbers = iter(steps)
    async with segments_ahead(downloader, [step for _, step in steps]) as fetched:
        async for step, data in fetched:
            number, expected = next(numbers)
            assert step is expected
            await downloader.client.world.blocking(work.write, number, step, data)
            downloader.buffers.give(data)
            downloader.progress.step(done=sum(item.size for item in step.slices))
