"""Running the vectors of tests/vectors whose operations a test knows."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from protocol import errors

FOLDER = Path(__file__).parent.parent / "vectors"

Json = dict[str, Any]
Operations = Mapping[str, Callable[[Json], Json | None]]


def vector_paths(prefix: str) -> list[Path]:
    """The files whose names begin so, in order."""
    return sorted(FOLDER.glob(f"{prefix}_*.json"))


def check_vector(path: Path, operations: Operations) -> None:
    """The vector's operation gives the output it promises, or raises the very error."""
    vector = json.loads(path.read_text(encoding="utf-8"))
    operation = operations[vector["operation"]]
    if vector["expect"] == "success":
        assert operation(vector["input"]) == vector.get("output")
        return
    with pytest.raises(errors.ProtocolError) as caught:
        operation(vector["input"])
    assert type(caught.value).__name__ == vector["expect"]


def check_made(module: ModuleType, prefix: str) -> None:
    """The vectors on disk are those that ``module`` makes."""
    made = {stem: json.loads(json.dumps(content)) for stem, content in module.vectors()}
    assert made == {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in vector_paths(prefix)}
