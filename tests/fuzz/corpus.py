"""Seeds from the test vectors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors"


def vectors(*patterns: str) -> Iterator[dict[str, Any]]:
    """The vectors whose names match one of the patterns, in order of name."""
    for path in sorted({path for pattern in patterns for path in FOLDER.glob(f"{pattern}.json")}):
        yield json.loads(path.read_text("utf-8"))


def hex_values(*patterns: str) -> list[bytes]:
    """Every distinct byte string, given in hex, of the inputs and outputs of those vectors."""
    found: dict[bytes, None] = {}
    for vector in vectors(*patterns):
        for text in _texts([vector["input"], vector.get("output")]):
            try:
                found[bytes.fromhex(text)] = None
            except ValueError:
                continue  # a name or a link
    return list(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
