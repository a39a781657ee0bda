"""The table: rows, printed as soon as they are known, and kept for the JSON file."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    unit: str
    beside: str = ""
    """What it is to be compared with, and how far single runs lay apart."""


class Table:
    """Rows in the order in which they became known."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def add(self, what: str, value: float, unit: str, beside: str = "") -> None:
        row = Row(what, round(value, 3), unit, beside)
        self._rows.append(row)
        print(f"{row.what:<44} {row.value:>10.2f} {row.unit:<7} {row.beside}".rstrip(), flush=True)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps([asdict(row) for row in self._rows], indent=1) + "\n")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """How far single runs lay apart."""
    return f"{min(values):.0f}-{max(values):.0f}" if len(values) > 1 else f"{values[0]:.0f}"
