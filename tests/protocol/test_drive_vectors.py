"""The vectors of docs/spec/drive.md, one operation each."""

from pathlib import Path

import pytest

from protocol.drive import Drive
from protocol.drivecache import open_cache
from protocol.identity import Network
from tests.protocol.vectorfiles import Json, Operations, check_made, check_vector, vector_paths
from tests.vectors import make_drive


def _read(inputs: Json) -> Json:
    data = bytes.fromhex(inputs["drive"])
    drive = Drive.decode(data)
    assert drive.encode() == data
    return make_drive.shown(drive)


def _merge(inputs: Json) -> Json:
    ours, theirs = (Drive.decode(bytes.fromhex(inputs[side])) for side in ("ours", "theirs"))
    assert ours.merge(theirs) == theirs.merge(ours)
    return {"drive": ours.merge(theirs).encode().hex()}


def _cache(inputs: Json) -> Json:
    cached = open_cache(bytes.fromhex(inputs["key"]), Network(inputs["network"]).id, bytes.fromhex(inputs["file"]))
    drive = cached.drive.encode().hex()
    return {"drive": drive, "sequence": cached.sequence, "seen": cached.seen, "unsent": cached.unsent}


OPERATIONS: Operations = {"read drive": _read, "merge drives": _merge, "open cache": _cache}


@pytest.mark.parametrize("path", vector_paths("drive"), ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    check_vector(path, OPERATIONS)


def test_vectors_on_disk_are_those_that_are_made() -> None:
    check_made(make_drive, "drive")
