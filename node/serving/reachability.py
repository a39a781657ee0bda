"""Whether peers can reach this node. Only then does it take chunks and stand in routing tables.

Two peers, or all that answer if they are fewer, must have dialled it back by UDP and TCP. A node that nobody could
check because there is nobody starts a network, and stores at once. Where that fails behind a home router, the router is
asked for the port, and the peers are asked again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from dht.contact import Contact
from dht.service import Dht
from node.net.peers import PeerError, PeerRefused, Peers
from node.net.portmap import PortMapping
from node.net.transport import is_unspecified
from node.serving.statements import Statements
from node.store.refusal import Refusal
from protocol.errors import WrongNetworkError
from protocol.ids import Address, PublicKey
from protocol.messages import DialBack, DialBackReply, ErrorCode

log = logging.getLogger(__name__)

WITNESSES = 2
"""Peers that must have reached us."""
ASK_SECONDS = 8.0
"""For a peer's answer; it has 5 seconds to try."""
TRY_SECONDS = 4.5
AT_ONCE = 4
"""Peers asked side by side."""
RECHECK_SECONDS = 1800.0
RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0)
"""After a failed check; the last one goes on."""
MAX_WAYS_IN = 16
MAX_DIAL_BACKS = 16
"""Peers we dial back side by side."""


class DialBacks:
    """Our side of it: dialling back peers that ask."""

    def __init__(self, dht: Dht, peers: Peers) -> None:
        self._dht = dht
        self._peers = peers
        self._running = 0

    async def __call__(self, address: Address, key: PublicKey) -> DialBackReply:
        """Try to reach the holder of ``key`` at ``address``. Raises Refusal (busy)."""
        if self._running >= MAX_DIAL_BACKS:
            raise Refusal(ErrorCode.BUSY, "too many dial-backs at once")
        self._running += 1
        worked = {"udp": False, "tcp": False}

        async def udp() -> None:
            worked["udp"] = await self._dht.ping(address, key) is not None

        async def tcp() -> None:
            try:
                await self._peers.probe(address, key)
                worked["tcp"] = True
            except (PeerError, WrongNetworkError):
                pass

        try:
            with trio.move_on_after(TRY_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(udp)
                    nursery.start_soon(tcp)
        finally:
            self._running -= 1
        return DialBackReply(**worked)


class Reachability:
    """Checks again and again, and says so to the DHT and in what this node signs."""

    def __init__(
        self,
        dht: Dht,
        peers: Peers,
        statements: Statements,
        random_bytes: Callable[[int], bytes],
        *,
        advertised: bool,
        ways_in: Sequence[Address] = (),
        remembered: Sequence[Contact] = (),
        mapping: PortMapping | None = None,
    ) -> None:
        """
        Args:
            dht: Knows whom to ask; its ``read_only`` is set here.
            peers: Asks them.
            statements: Its ``address`` and ``reachable`` are set here.
            random_bytes: For the order of asking.
            advertised: Whether the address is the operator's word; else peers say where they see us.
            ways_in: Addresses to join by. Without any, a node that knows nobody starts a network.
            remembered: Contacts of an earlier run.
            mapping: Of our port, on the router; made when peers do not get through. None: not tried.
        """
        self._dht = dht
        self._peers = peers
        self._statements = statements
        self._random_bytes = random_bytes
        self._advertised = advertised
        self._ways_in = ways_in
        self._remembered = remembered
        self._mapping = mapping
        self._failures = 0
        self.found = trio.Event()
        """Set once the node stores; replaced when it no longer does."""
        self.why_not: str | None = "not checked yet whether peers can reach it"
        """Why the node does not store, for the operator; None while it does."""

    async def run(self) -> None:
        """Check until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._mapping is not None:
                nursery.start_soon(self._mapping.run)
                if not self._dht.contacts():
                    await self._mapping.open()  # nobody could say how things are: whoever comes shall get through
            while True:
                await trio.sleep(self._pause())
                await self.check()
                if self._statements.reachable and self._ways_in and not self._dht.contacts():
                    await self._dht.join(self._ways_in, self._remembered)

    async def close(self) -> None:
        """Take back what the router was asked for, within CLOSE_SECONDS; after the last request has been served."""
        if self._mapping is not None:
            await self._mapping.close()

    def _pause(self) -> float:
        known = self._dht.contacts() or not self._ways_in
        if self._statements.reachable and not self._failures and known:
            return RECHECK_SECONDS
        return RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]

    async def check(self) -> None:
        """One round of asking. A storing node gives up storing only after two bad rounds in a row."""
        contacts = sorted(await self._witnesses(), key=lambda _: self._random_bytes(4))
        if not contacts:
            if not self._ways_in:
                self._set(storing=True)
            else:
                self._note("nobody answered at the nodes it joins by")
            return
        if not self._advertised:
            await self._find_address(contacts)
        answers = await self._ask(contacts, self._statements.address)
        if _confirmed(answers) or (answers["no"] and await self._open_port(contacts)):
            self._failures = 0
            self._set(storing=True)
        elif answers["no"]:
            self._failures += 1
            if not self._statements.reachable or self._failures > 1:
                self._set(storing=False)
                address = self._statements.address
                outcome = f"{self._mapping.outcome}; " if self._mapping is not None else ""
                advice = (
                    f"{outcome}let UDP and TCP port {address.port} through, or name the address peers can reach: "
                    "--advertise HOST:PORT"
                )
                self._note(f"not reachable at {address} ({advice})")
                log.warning("not reachable at %s: not storing (%s)", address, advice)
        else:
            self._note("no peer has said yet whether it can be reached")

    def _note(self, why_not: str) -> None:
        if not self._statements.reachable:
            self.why_not = why_not

    async def _open_port(self, contacts: list[Contact]) -> bool:
        """Have the router map our port, and ask once more. Where the router says we are becomes our address only if
        peers confirm it."""
        mapped = None if self._mapping is None else await self._mapping.open()
        if mapped is None:
            return False
        address = self._statements.address
        if mapped.is_public:
            address = Address(mapped.external, address.port)
        confirmed = _confirmed(await self._ask(contacts, address))
        if confirmed:
            self._statements.address = address
        return confirmed

    async def _witnesses(self) -> list[Contact]:
        """Whom to ask. When a whole network starts again nobody stores, so that nobody stands in a routing table:
        then those we joined by will do, storing or not."""
        contacts = {contact.node_id: contact for contact in self._dht.contacts()}
        if len(contacts) >= WITNESSES:
            return list(contacts.values())

        async def ping(address: Address, key: PublicKey | None) -> None:
            contact = await self._dht.ping(address, key)
            if contact is not None and contact.node_id != self._statements.identity.node_id:
                contacts[contact.node_id] = contact

        async with trio.open_nursery() as nursery:
            for address in self._ways_in[:MAX_WAYS_IN]:
                nursery.start_soon(ping, address, None)
            for contact in self._remembered[:MAX_WAYS_IN]:
                nursery.start_soon(ping, contact.address, contact.key)
        return list(contacts.values())

    async def _ask(self, contacts: list[Contact], address: Address) -> Counter[str]:
        """How many peers reached us at ``address``, and how many tried in vain. Stops at enough."""
        answers: Counter[str] = Counter()
        queue = iter(contacts)

        async def ask_in_turn(nursery: trio.Nursery) -> None:
            for contact in queue:
                answers[await self._ask_one(contact, address)] += 1
                if answers["yes"] >= WITNESSES:
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(ask_in_turn, nursery)
        return answers

    async def _ask_one(self, contact: Contact, address: Address) -> str:
        """yes, no, or silent."""
        with trio.move_on_after(ASK_SECONDS):
            try:
                reply, _ = await self._peers.request(contact, DialBack(address=address))
                assert isinstance(reply, DialBackReply)
                return "yes" if reply.udp and reply.tcp else "no"
            except PeerRefused as exc:
                return "no" if exc.code is ErrorCode.REFUSED else "silent"
            except PeerError:
                pass
        return "silent"

    async def _find_address(self, contacts: list[Contact]) -> None:
        """Believe what most of a few peers say of where our requests come from."""
        seen: Counter[str] = Counter()

        async def ask(contact: Contact) -> None:
            with trio.move_on_after(ASK_SECONDS):
                try:
                    _, observed = await self._peers.hello(contact)
                    seen[observed.host] += 1
                except PeerError:
                    pass

        async with trio.open_nursery() as nursery:
            for contact in contacts[:AT_ONCE]:
                nursery.start_soon(ask, contact)
        for host, _ in seen.most_common(1):
            if not is_unspecified(host):
                self._statements.address = Address(host, self._statements.address.port)

    def _set(self, *, storing: bool) -> None:
        if storing and not self._statements.reachable:
            log.info("storing at %s", self._statements.address)
        self._statements.reachable = storing
        self._dht.read_only = not storing
        if storing:
            self.why_not = None
            self.found.set()
        elif self.found.is_set():
            self.found = trio.Event()


def _confirmed(answers: Counter[str]) -> bool:
    return answers["yes"] >= WITNESSES or bool(answers["yes"] and not answers["no"])
