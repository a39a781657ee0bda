"""What holders show of the leases of a segment: signed, so that nobody can make one up."""

from collections.abc import Sequence
from dataclasses import dataclass

from dht.contact import Contact
from node.client import Client
from node.keeping.holders import ask_each, fetch_leases
from protocol.ids import PublicKey, SegmentId
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

    def why_not(self, *, deleting: bool = False) -> str:
        """Why this depositor is not to sign a lease that keeps the segment, or ends it; nothing, if it may."""
        if self.newest is not None:
            return "its depositor has deleted it" if self.newest.deleted and not deleting else ""
        return "another depositor has signed them" if self.foreign else ""


async def shown_leases(
    client: Client, contacts: Sequence[Contact], segment: SegmentId, depositor: PublicKey, deposit: bytes
) -> Shown:
    """Ask nodes for their leases of a segment, all at once, and pick those of one deposit: five seconds at most.

    Args:
        client: Who asks.
        contacts: Distinct nodes. Who is silent or answers badly counts for nothing.
        segment: Which.
        depositor: Whose own leases are looked for.
        deposit: The deposit id, 16 bytes.
    """
    own: list[tuple[Lease, bytes]] = []
    foreign = False

    async def question(contact: Contact) -> bool:
        nonlocal foreign
        for lease, data in await fetch_leases(client, contact, segment):
            if lease.deposit == deposit and lease.depositor == depositor:
                own.append((lease, data))
            foreign = foreign or (lease.deposit == deposit and lease.depositor != depositor)
        return True

    await ask_each(client, contacts, question)
    # Of two that carry one sequence holders keep whichever came first: the same one is chosen every time.
    newest, signed = max(own, key=lambda item: (item[0].sequence, item[1]), default=(None, b""))
    return Shown(newest, signed, foreign)
