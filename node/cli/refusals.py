"""Which nodes refused, and why, as a command tells it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from node.cli.output import note
from node.cli.text import count_text
from node.refusals import NodeRefusal, Refusals, by_reason
from protocol.ids import short
from protocol.messages import ErrorCode

_REASONS = 8
"""Told of: the JSON has the rest."""
_NODES = 6
"""Named of those that gave one reason."""
_SAID = {
    ErrorCode.REFUSED: ("refuses you", "refuse you"),
    ErrorCode.FULL: ("is full", "are full"),
    ErrorCode.BUSY: ("is busy", "are busy"),
    ErrorCode.NOT_STORING: ("stores nothing now", "store nothing now"),
    ErrorCode.DISK: ("has trouble with its disk", "have trouble with their disks"),
}


@contextmanager
def refusals_told() -> Iterator[Refusals]:
    """A list to be filled; told on standard error in the end, also when the command fails."""
    refusals = Refusals()
    try:
        yield refusals
    finally:
        for text in refusal_notes(refusals.found):
            note(f"note: {text}")


def refusal_notes(refusals: Sequence[NodeRefusal]) -> list[str]:
    """A line for each reason: ``2 nodes refuse you: its text (a1b2c3d4 FR, e5f6a7b8)``."""
    groups = list(by_reason(refusals).items())
    lines = [_line(code, reason, nodes) for (code, reason), nodes in groups[:_REASONS]]
    if len(groups) > _REASONS:
        lines.append(f"{count_text(len(groups) - _REASONS, 'other reason')} of nodes that refused: --json names all")
    return lines


def _line(code: ErrorCode, reason: str, nodes: Sequence[NodeRefusal]) -> str:
    named = [" ".join([short(refusal.node), *filter(None, [refusal.country])]) for refusal in nodes[:_NODES]]
    if len(nodes) > _NODES:
        named.append(f"and {len(nodes) - _NODES} more")
    usual = f"{_word(code)}: it was not done there"
    one, many = _SAID.get(code, (usual, usual))
    said = f"{count_text(len(nodes), 'node')} {one if len(nodes) == 1 else many}"
    return f"{said}{': ' + reason if reason else ''} ({', '.join(named)})"


def _word(code: ErrorCode) -> str:
    return code.name.lower().replace("_", " ")


def refusal_fields(refusals: Refusals) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "node": refusal.node.hex(),
            "country": refusal.country or None,
            "code": _word(refusal.code),
            "reason": refusal.reason,
        }
        for refusal in refusals.found
    ]
