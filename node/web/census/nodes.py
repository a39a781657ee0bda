"""The nodes that this one knows, and what they say of themselves: the country and the room they claim."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import trio

from dht.contact import Contact
from node.client import Client
from node.net.peers import PeerError
from node.serving.depositors import DepositorDesk
from node.status import Status
from node.web.census.rounds import Rounds
from protocol.ids import NodeId
from protocol.records import NodeRecord

KEPT_SECONDS = 300.0
"""How long an answer is kept."""
AT_ONCE = 16
"""Asked at the same time."""
ANSWER_SECONDS = 6.0
"""Waited for one node's answer."""
ROUND_SECONDS = 90.0
"""For all of them; who has not been asked by then is left for the next round."""
MOST = 2000
"""Contacts asked."""


class NodeCensus:
    """Asks them all for their node record, by connections that nobody knows to be this node's."""

    def __init__(self, client: Client, status: Status, desk: DepositorDesk) -> None:
        """
        Args:
            client: Who asks, and whose contacts.
            status: What this node says of itself.
            desk: Of the store, which is asked for the room there is.
        """
        self._client = client
        self._status = status
        self._desk = desk
        self._rounds = Rounds(self._round, KEPT_SECONDS)
        self._answers: dict[NodeId, NodeRecord] = {}
        self._asked = 0
        self._silent = 0
        self._ended: int | None = None
        self.run = self._rounds.run

    def look(self) -> dict[str, Any]:
        """What is known now, ready for JSON; if it is old, a round begins."""
        self._rounds.look()
        own = self._status.statements
        room = self._desk.store.free_bytes if own.storing else 0
        claims = [(own.country, own.storing, room)]
        claims += [(record.country, record.storing, record.free_bytes) for record in self._answers.values()]
        countries = {claim[0] for claim in claims} - {""}
        return {
            "nodes": len(claims),
            "countries": {code: _summed(claims, code) for code in sorted(countries)},
            "unknown": _summed(claims, ""),
            "contacts": len(self._contacts()),
            "asked": self._asked,
            "silent": self._silent,
            "counting": self._rounds.under_way,
            "counted": self._ended,
            "own": {
                "country": own.country or None,
                "address": str(own.address),
                "storing": own.storing,
                "free_bytes": room,
            },
        }

    def _contacts(self) -> list[Contact]:
        own = self._status.statements.identity.key
        return [contact for contact in self._client.dht.contacts() if contact.key != own][:MOST]

    async def _round(self) -> None:
        self._asked = self._silent = 0
        contacts = self._contacts()
        known = {contact.node_id for contact in contacts}
        self._answers = {node: record for node, record in self._answers.items() if node in known}
        places = trio.CapacityLimiter(AT_ONCE)
        with trio.move_on_after(ROUND_SECONDS):
            async with trio.open_nursery() as nursery:
                for contact in contacts:
                    nursery.start_soon(self._ask, contact, places)
        self._ended = int(self._client.world.clock.wall())

    async def _ask(self, contact: Contact, places: trio.CapacityLimiter) -> None:
        async with places:
            record = None
            with trio.move_on_after(ANSWER_SECONDS), suppress(PeerError):
                record, _ = await self._client.peers.hello(contact)
            self._asked += 1
            if record is None:
                self._silent += 1
                self._answers.pop(contact.node_id, None)
            else:
                self._answers[contact.node_id] = record


def _summed(claims: Iterable[tuple[str, bool, int]], country: str) -> dict[str, int]:
    """What those of one country claim together."""
    here = [(storing, room) for code, storing, room in claims if code == country]
    return {
        "nodes": len(here),
        "storing": sum(storing for storing, _ in here),
        "free_bytes": sum(room for _, room in here),
    }
