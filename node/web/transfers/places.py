"""Where a download goes on this machine: beside what is there, never over it."""

import os
import tempfile
from collections.abc import Collection
from itertools import count
from pathlib import Path

from node.errors import ConfigError, machine_error, reason
from node.fetching.staging import exists, staging_name, was_moving
from protocol.paths import MAX_COMPONENT_BYTES


def staging_of(place: Path) -> Path:
    """What has come of a download, until it is whole."""
    return place.with_name(staging_name(place.name))


def free_place(folder: Path, name: str, before: Path | None, taken: Collection[Path | None] = ()) -> Path:
    """A place of this name in a folder that is free, as is that of its staging folder. Blocks.

    Args:
        folder: Made, if it is not there.
        name: What it is to be called; ``name (2)``, if something is.
        before: What an earlier run of the same download staged: it goes on there, if that is free still.
        taken: Places of other downloads, which may not have made anything there yet.

    Raises:
        MachineError: The disk says no.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise machine_error("write", exc) from exc
    if before is not None and _came(before) and (was_moving(staging_of(before)) or not exists(before)):
        return before
    for number in count(1):
        place = folder / numbered(name, number)
        if place not in taken and not exists(place) and not exists(staging_of(place)):
            return place
    raise AssertionError("there is no last number")


def stage(place: Path, before: Path | None) -> bool:
    """Make the staging folder of a free place, or move there what an earlier run has staged elsewhere. Blocks.

    Returns:
        False: somebody else has made it just now.

    Raises:
        MachineError: The disk says no.
    """
    try:
        if before is not None and _came(before):
            if place != before:
                staging_of(before).rename(staging_of(place))
        else:
            staging_of(place).mkdir(mode=0o700)
    except FileExistsError:
        return False
    except OSError as exc:
        raise machine_error("write", exc) from exc
    return True


def _came(place: Path) -> bool:
    return exists(staging_of(place))


def numbered(name: str, number: int) -> str:
    """``film (2).mp4`` for ``film.mp4``, cut to what a file may be called."""
    if number == 1:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > _SUFFIX:
        stem, dot, suffix = name, "", ""
    end = os.fsencode(f" ({number}){dot}{suffix}")
    begin = os.fsencode(stem)[: MAX_COMPONENT_BYTES - len(end)]
    while len(begin) < len(os.fsencode(stem)) and os.fsencode(stem)[len(begin)] & 0xC0 == 0x80 and begin:
        begin = begin[:-1]  # not within a character of UTF-8
    return os.fsdecode(begin + end)


_SUFFIX = 8
"""Characters: what is longer is part of a name."""


_HINT = "name one that is there and yours, as /home/me/Films"


def check_folder(to: str) -> Path:
    """A folder of this machine that somebody named. Blocks. Raises ConfigError: there is none, or it takes nothing."""
    folder = Path(to)
    try:
        good = folder.is_absolute() and folder.is_dir()
    except (OSError, ValueError):
        good = False
    if not good:
        raise ConfigError(f"there is no folder {to[:200]!r} on this machine", hint=_HINT)
    try:  # permissions do not tell: of a file system that is only read, of one that the kernel makes up
        os.rmdir(tempfile.mkdtemp(prefix=".archipel-", dir=folder))
    except OSError as exc:
        raise ConfigError(f"nothing can be written to {to[:200]!r}: {reason(exc)}", hint=_HINT) from exc
    return folder
