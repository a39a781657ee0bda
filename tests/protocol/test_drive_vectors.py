"""The vectors of docs/spec/drive.md, one operation each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import errors
from protocol.drive import Drive
from protocol.drivecache import open_cache
from protocol.identity import Network
from tests.vectors import make_drive

FOLDER = Path(__file__).parent.parent / "vectors"
PATHS = sorted(FOLDER.glob("drive_*.json"))

Json = dict[str, Any]


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


OPERATIONS: dict[str, Callable[[Json], Json]] = {"read drive": _read, "merge drives": _merge, "open cache": _cache}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    operation = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert operation(vector["input"]) == vector["output"]
        return
    with pytest.raises(errors.ProtocolError) as caught:
        operation(vector["input"])
    assert type(caught.value).__name__ == vector["expect"]


def test_vectors_on_disk_are_those_that_are_made() -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in make_drive.vectors()}
    assert made == {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PATHS}
