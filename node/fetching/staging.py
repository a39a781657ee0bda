"""The staging folder of a fetch, ``DEST.part``: its name, and how one of ours is told from a stranger's."""

import os
import shutil
import stat
from pathlib import Path

from node.errors import machine_error
from protocol.hashing import digest
from protocol.paths import MAX_COMPONENT_BYTES

FETCHING = b"archipel fetch 1\n"
"""Begins the ``state`` of a staging folder: without it a folder is somebody else's."""
MOVING = b"archipel moves 1\n"
"""Instead, once all is whole: from then on what is not in the folder has been moved to its destination."""


def staging_name(name: str) -> str:
    """``name`` and ``.part``; of a name too long for that its beginning and a digest of it."""
    raw = os.fsencode(name)
    if len(raw) + len(".part") <= MAX_COMPONENT_BYTES:
        return name + ".part"
    cut = MAX_COMPONENT_BYTES - len(".part") - 8
    while raw[cut] & 0xC0 == 0x80 and cut > MAX_COMPONENT_BYTES - 16:  # not within a character of UTF-8
        cut -= 1
    return f"{os.fsdecode(raw[:cut])}{digest('local', raw)[:4].hex()}.part"


def is_ours(staging: Path) -> bool:
    """Whether a fetch made this folder, or might have: it is empty, or holds our state and maybe content."""
    if not stat.S_ISDIR(os.lstat(staging).st_mode):
        return False
    kinds = {name: stat.S_IFMT(os.lstat(staging / name).st_mode) for name in os.listdir(staging)}
    if not kinds:
        return True
    if kinds.pop("state", 0) != stat.S_IFREG or kinds not in ({}, {"content": stat.S_IFDIR}):
        return False
    with (staging / "state").open("rb") as handle:
        head = handle.read(len(FETCHING))
    return head in (FETCHING, MOVING) or (not head and not kinds)  # killed before it wrote anything


def was_moving(staging: Path) -> bool:
    """Whether a fetch was killed between its first move and its end: what it moved is no reason to refuse."""
    try:
        with (staging / "state").open("rb") as handle:
            return handle.read(len(MOVING)) == MOVING
    except OSError:
        return False


def remove_staging(staging: Path) -> None:
    """Give up a fetch: what came of it is removed. A stranger's folder stays. Blocks.

    Raises:
        MachineError: It cannot be removed.
    """
    try:
        if exists(staging) and is_ours(staging):
            shutil.rmtree(staging)
    except OSError as exc:
        raise machine_error("remove", exc) from exc


def exists(place: Path) -> bool:
    """Whether anything is at ``place``, a dangling link included. Raises MachineError when the system does not tell."""
    try:
        os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise machine_error("write", exc) from exc
    return True
