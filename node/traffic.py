"""How many bytes a node's connections carried, and for which kinds of request. Datagrams: dht/counters.py."""

import re
from dataclasses import dataclass, field
from typing import Final, get_args

from node.net.wire import Wire
from protocol.messages import Message, Request

CONNECTION: Final = "connection"
"""Handshakes, and what belongs to no request."""
_KINDS: Final = {kind: re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in get_args(Request)}
KINDS: Final = (*_KINDS.values(), CONNECTION)
"""``put``, ``dial_back`` and so on: the names of the requests, as in protocol/messages.py."""


@dataclass(slots=True)
class Count:
    """Of one kind; all of them only grow."""

    requests: int = 0
    received_bytes: int = 0
    """As they came over the line: sealed, with all that is sent around them."""
    sent_bytes: int = 0


class Counts:
    """What was carried for requests of one side: of others, which we serve, or our own."""

    def __init__(self) -> None:
        self.by_kind = {kind: Count() for kind in KINDS}

    def request(self, message: Message, wire: Wire) -> None:
        """A request has ended, in whatever way: what ``wire`` carried since it was last counted was for it."""
        self._add(_KINDS[type(message)], wire, 1)

    def connection(self, wire: Wire) -> None:
        """A handshake is over."""
        self._add(CONNECTION, wire, 1)

    def rest(self, wire: Wire) -> None:
        """A connection has ended; what was not counted yet was for no request."""
        self._add(CONNECTION, wire, 0)

    def _add(self, kind: str, wire: Wire, requests: int) -> None:
        count = self.by_kind[kind]
        received, sent = wire.take_counts()
        count.requests += requests
        count.received_bytes += received
        count.sent_bytes += sent


@dataclass(frozen=True, slots=True)
class Traffic:
    """One per node."""

    served: Counts = field(default_factory=Counts)
    """Requests of others, and our replies."""
    asked: Counts = field(default_factory=Counts)
    """Our own requests, and their replies."""
