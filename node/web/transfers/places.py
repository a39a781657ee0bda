"""Where a download goes on this machine: beside what is there, never over it."""

import os
from itertools import count
from pathlib import Path

from node.errors import ConfigError, machine_error
from node.fetching.staging import exists, staging_name, was_moving
from protocol.paths import MAX_COMPONENT_BYTES


def staging_of(place: Path) -> Path:
    """What has come of a download, until it is whole."""
    return place.with_name(staging_name(place.name))


def claim_place(folder: Path, name: str, before: Path | None) -> Path:
    """A place of this name in a folder that is free, as is that of its staging folder, which is made. Blocks.

    Args:
        folder: Made, if it is not there.
        name: What it is to be called; ``name (2)``, if something is.
        before: What an earlier run of the same download claimed: it goes on there, if that is free still. Else what has
            come moves along.

    Raises:
        MachineError: The disk says no.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        came = None if before is None or not exists(staging_of(before)) else staging_of(before)
        if before is not None and came is not None and (was_moving(came) or not exists(before)):
            return before
        for number in count(1):
            place = folder / numbered(name, number)
            if exists(place) or exists(staging_of(place)):
                continue
            if came is not None:
                came.rename(staging_of(place))
            else:
                staging_of(place).mkdir(mode=0o700)
            return place
    except OSError as exc:
        raise machine_error("write", exc) from exc
    raise AssertionError("there is no last number")


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


def check_folder(to: str) -> Path:
    """A folder of this machine that somebody named. Blocks. Raises ConfigError: there is none."""
    folder = Path(to)
    try:
        good = folder.is_absolute() and folder.is_dir()
    except (OSError, ValueError):
        good = False
    if not good:
        raise ConfigError(
            f"there is no folder {to[:200]!r} on this machine", hint="name one that is, as /home/me/Films"
        )
    return folder
