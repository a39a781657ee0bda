"""Vectors of docs/spec/drive.md section 6: what a version of a synced folder follows. Run by scripts/make_vectors."""

from collections.abc import Iterator
from typing import Any

from protocol.hashing import digest

ROOTS = (bytes(range(32)), b"\x07" * 32)


def vectors() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each file's name and content."""
    names = [digest("drive version", root)[:16].hex() for root in ROOTS]
    yield (
        "syncing_follows",
        {
            "roots": [root.hex() for root in ROOTS],
            "versions": names,
            "path": "photos/.archipel-sync/follows",
            "target": "/".join(names),
        },
    )
