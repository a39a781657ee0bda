"""The course of one lookup: whom to ask next, and when it is over. Pure: no I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from dht.contact import Contact
from dht.routing import Candidate, K, Shortlist
from protocol.ids import NodeId

ALPHA = 3
"""Requests in flight (Kademlia section 2.3)."""
MAX_ASKED = 120
"""Nodes one lookup may ask: six times what it returns. Invented nodes cannot keep it going."""


class State(Enum):
    """What a lookup knows of a candidate."""

    NEW = auto()
    ASKED = auto()
    SLOW = auto()
    """Has not answered within its time: another is asked in its place, but it may still answer."""
    ANSWERED = auto()
    FAILED = auto()
    """Given up, or answered that it stores nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A node that answered a lookup."""

    contact: Contact
    token: bytes
    """For an announce to this node (docs/spec/dht.md section 2)."""
    rtt: float
    """Round trip of its answer, seconds."""
    time: float
    """When it answered, monotonic seconds: tokens age."""


class Search:
    """Candidates around a target, nearest first, and what came of asking each."""

    def __init__(self, target: bytes, own_id: NodeId) -> None:
        self.target = target
        self._own_id = own_id
        self._shortlist = Shortlist(target)
        self._states: dict[NodeId, State] = {}
        self._found: dict[NodeId, Found] = {}

    def offer(self, contacts: Iterable[Contact]) -> None:
        """Learn of candidates. Another address of a known one is tried once the first has failed."""
        others = (contact for contact in contacts if contact.node_id != self._own_id)
        self._shortlist.offer(others, self._in_use)

    def _in_use(self, candidate: Candidate) -> bool:
        return candidate.id in self._states

    def _state(self, candidate: Candidate) -> State:
        return self._states.get(candidate.id, State.NEW)

    def next(self) -> Contact | None:
        """The nearest candidate not asked yet, if it is among the nearest K counting those that may still be
        found.

        None while enough have been asked: wait for an answer, unless :meth:`done`.
        """
        if len(self._states) >= MAX_ASKED:
            return None
        live = 0
        for candidate in self._shortlist.nearest():
            state = self._state(candidate)
            if state is State.NEW:
                return candidate.contact
            live += state is State.ASKED or state is State.ANSWERED
            if live >= K:
                break
        return None

    def waiting(self) -> int:
        """Requests in flight that hold a place."""
        return sum(state is State.ASKED for state in self._states.values())

    def done(self) -> bool:
        """Whether the nearest K that have not failed have all answered, and nobody is left to ask."""
        if self.next() is not None:
            return False
        places = 0
        for candidate in self._shortlist.nearest():
            state = self._state(candidate)
            if state in (State.ASKED, State.SLOW):
                return False
            places += state is State.ANSWERED
            if places >= K:
                break
        return True

    def asked(self, contact: Contact) -> None:
        self._states[contact.node_id] = State.ASKED

    def slow(self, contact: Contact) -> None:
        if self._states.get(contact.node_id) is State.ASKED:
            self._states[contact.node_id] = State.SLOW

    def failed(self, contact: Contact, *, final: bool = False) -> None:
        """It was given up: its next address gets a turn, unless it stores nothing anyway (``final``)."""
        identifier = contact.node_id
        candidate = self._shortlist.get(identifier)
        if candidate is None or candidate.contact != contact or self._state(candidate) is State.ANSWERED:
            return
        self._states[identifier] = State.FAILED
        while not final and candidate.elsewhere:
            candidate.contact = candidate.elsewhere.pop()
            if candidate.contact != contact:
                del self._states[identifier]
                return

    def answered(self, found: Found) -> None:
        self._states[found.contact.node_id] = State.ANSWERED
        self._found[found.contact.node_id] = found

    def found(self) -> list[Found]:
        """The nodes that answered, nearest first, at most K."""
        answers = (self._found.get(candidate.id) for candidate in self._shortlist.nearest())
        return [found for found in answers if found is not None][:K]
