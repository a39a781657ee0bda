"""What holders show of the leases of a segment: signed, so that nobody can make one up."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dht.contact import Contact
from node.client import Client
from node.keeping.holders import ask_each, fetch_leases
from protocol.ids import NodeId, PublicKey, SegmentId
from protocol.leases import Lease


@dataclass(frozen=True, slots=True)
class Shown:
    """What the holders of one segment show of the leases of one deposit."""

    newest: Lease | None = None
    """The depositor's own, of the highest sequence: it may be a deletion. None: nobody shows one that has not ended."""
    signed: bytes = b""
    """The bytes of it that were signed."""
    foreign: bool = False
    """Whether the deposit has a lease of another depositor: somebody else published it, or the depositor under another
    identity."""
    having: frozenset[NodeId] = frozenset()
    """Who shows the newest."""
    asked: int = 0
    silent: frozenset[NodeId] = frozenset()
    """Of so many nodes that were asked, those that did not answer."""

    @property
    def unheard(self) -> bool:
        """Whether all who were asked were silent: then there may be any lease, or a deletion."""
        return 0 < self.asked == len(self.silent)


async def shown_leases(
    client: Client,
    contacts: Sequence[Contact],
    segment: SegmentId,
    depositor: PublicKey,
    deposit: bytes | None = None,
    others: Sequence[Contact] = (),
) -> Shown:
    """Ask nodes for their leases of a segment, all at once, and pick those of one deposit: five seconds at most.

    Args:
        client: Who asks.
        contacts: Distinct nodes. Who is silent or answers badly is counted as silent.
        segment: Which.
        depositor: Whose own leases are looked for.
        deposit: The deposit id, 16 bytes. None: any.
        others: More nodes to ask, of which it does not matter whether they answer.
    """
    own: list[tuple[Lease, bytes]] = []
    having: defaultdict[bytes, set[NodeId]] = defaultdict(set)
    foreign = False

    async def question(contact: Contact) -> bool:
        nonlocal foreign
        for lease, data in await fetch_leases(client, contact, segment):
            if deposit in (None, lease.deposit) and lease.depositor == depositor:
                own.append((lease, data))
                having[data].add(contact.node_id)
            foreign = foreign or (lease.deposit == deposit and lease.depositor != depositor)
        return True

    everybody = {contact.node_id: contact for contact in (*others, *contacts)}
    _, bad = await ask_each(client, list(everybody.values()), question)
    silent = {contact.node_id for contact in bad} & {contact.node_id for contact in contacts}
    # Of two that carry one sequence holders keep whichever came first: the same one is chosen every time.
    newest, signed = max(own, key=lambda item: (item[0].sequence, item[1]), default=(None, b""))
    return Shown(newest, signed, foreign, frozenset(having[signed]), len(contacts), frozenset(silent))
