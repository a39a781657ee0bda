"""Which nodes would not do what a command asked of them, and why: kept while it runs, told at its end.

A node that refuses is replaced by another, so that a publish succeeds all the same; but its depositor should know.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dht.contact import Contact
from node.net.peers import PeerRefused
from protocol.ids import NodeId
from protocol.messages import ErrorCode

MAX_REFUSALS = 1000
"""In all; those after them are left out."""
REASONS_PER_NODE = 4
"""A node that gives ever new reasons is not to fill the list."""


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """What one node said."""

    node: NodeId
    country: str
    """As it claims; empty: nothing, or not known."""
    code: ErrorCode
    reason: str
    """Its own words: untrusted text, perhaps none."""


class Refusals:
    """Each node and reason once, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[tuple[NodeId, ErrorCode, str], NodeRefusal] = {}
        self._reasons: dict[NodeId, int] = {}

    def note(self, contact: Contact, country: str | None, exc: PeerRefused) -> None:
        """Keep what ``contact`` said; None: what country it claims is not known.

        That it does not hold something is an answer, and not kept.
        """
        if exc.code is ErrorCode.NOT_FOUND:
            return
        key = contact.node_id, exc.code, exc.text
        self._keep(key, NodeRefusal(contact.node_id, country or "", exc.code, exc.text))

    def _keep(self, key: tuple[NodeId, ErrorCode, str], refusal: NodeRefusal) -> None:
        reasons = self._reasons.get(refusal.node, 0)
        if key not in self._found and len(self._found) < MAX_REFUSALS and reasons < REASONS_PER_NODE:
            self._reasons[refusal.node] = reasons + 1
            self._found[key] = refusal

    def add(self, other: "Refusals") -> None:
        """Keep what another list has, within the same bounds."""
        for key, refusal in other._found.items():
            self._keep(key, refusal)

    @property
    def found(self) -> list[NodeRefusal]:
        return list(self._found.values())


def by_reason(refusals: Iterable[NodeRefusal]) -> dict[tuple[ErrorCode, str], list[NodeRefusal]]:
    """Those that gave the same reason together, the reason most nodes gave first."""
    groups: dict[tuple[ErrorCode, str], list[NodeRefusal]] = {}
    for refusal in refusals:
        groups.setdefault((refusal.code, refusal.reason), []).append(refusal)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))
