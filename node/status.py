"""What a running node can say of itself: one object, for `archipel node status` and for the metrics.

Its fields: docs/operations.md, "A running node".
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from dht.contact import Contact
from dht.service import Dht
from node.blocking import Blocking
from node.clock import Clock
from node.errors import MachineError
from node.healing.tally import Tally
from node.net.peers import Peers
from node.serving.admission import Connections
from node.serving.reachability import Reachability
from node.serving.statements import Statements, software
from node.store.chunkstore import ChunkStore
from node.store.quota import SMALLEST_PUT_BYTES
from node.store.refusal import Refusal
from node.traffic import Traffic


@dataclass(slots=True, kw_only=True)
class Status:
    """Looks at the parts of a node. Changes nothing, asks nobody."""

    statements: Statements
    network: str
    store: ChunkStore
    dht: Dht
    peers: Peers
    accepted: Connections
    reachability: Reachability
    claimed: Callable[[Contact], str | None]
    """What a node claims as its country, by other means than its node record; None: not known."""
    tally: Tally
    tending: Callable[[], dict[str, Any] | None]
    """What was done for the account of the node's home; None: it has none."""
    traffic: Traffic
    clock: Clock
    blocking: Blocking
    _began: float = field(init=False)
    """By trio's clock, which nobody sets."""
    _started: int = field(init=False)

    def __post_init__(self) -> None:
        self._began = trio.current_time()
        self._started = int(self.clock.wall())

    async def look(self) -> dict[str, Any]:
        """The whole object, ready for JSON. Raises MachineError when the store's index fails."""
        try:
            held = await self.blocking(self.store.totals)
        except Refusal as exc:
            raise MachineError(f"cannot count what is held: {exc}") from exc
        return {
            "node_id": self.statements.identity.node_id.hex(),
            "key": self.statements.identity.key.hex(),
            "address": str(self.statements.address),
            "country": self.statements.country or None,
            "network": self.network,
            "software": software(),
            "started": self._started,
            "uptime_seconds": int(trio.current_time() - self._began),
            "storing": self.statements.storing,
            "why_not_storing": self._why_not(),
            "full": self.store.free_bytes < SMALLEST_PUT_BYTES,
            "quota": self._quota(),
            "held": asdict(held) | {"records": len(self.dht.records)},
            "contacts": self._contacts(),
            "connections": {"accepted": self.accepted.open, "dialled": self.peers.open},
            "healing": asdict(self.tally),
            "tending": self.tending(),
            "traffic": self._traffic(),
        }

    async def answer(self, request: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """The same for whoever asks by the control socket."""
        yield await self.look()

    def _why_not(self) -> str | None:
        return "it is leaving" if self.statements.leaving else self.reachability.why_not

    def _quota(self) -> dict[str, int]:
        return {
            "limit_bytes": self.store.depositors.quota_bytes,
            "used_bytes": self.store.used_bytes,
            "trash_bytes": self.store.trash_bytes,
            "free_bytes": self.store.free_bytes,
        }

    def _contacts(self) -> dict[str, Any]:
        """A country is known of those contacts that told us their node record, or hold what we hold too."""
        contacts = self.dht.contacts()
        claims = Counter(map(self._country, contacts))
        unknown = claims.pop(None, 0)
        return {"total": len(contacts), "countries": dict(sorted(claims.items())), "unknown": unknown}

    def _country(self, contact: Contact) -> str | None:
        country = self.peers.country(contact)
        return self.claimed(contact) if country is None else country

    def _traffic(self) -> dict[str, Any]:
        counters = self.dht.counters
        return {
            "datagrams": {
                "received": counters.received_total,
                "received_bytes": counters.received_bytes,
                "sent": counters.sent_total,
                "sent_bytes": counters.sent_bytes,
            },
            "served": {kind: asdict(count) for kind, count in self.traffic.served.by_kind.items()},
            "asked": {kind: asdict(count) for kind, count in self.traffic.asked.by_kind.items()},
        }
