"""What tests of tending share: what a drive remembers, leases as holders have them, requests as they are made."""

from typing import Any

import pytest

from dht.contact import Contact
from node.keeping.kept import Kept
from node.keeping.tend import Tended, tend
from node.net.peers import Peers
from node.progress import Progress
from protocol.leases import Policy, open_lease
from protocol.links import Link
from protocol.messages import Request
from tests.network.archipelago import NETWORK, Archipelago, User
from tests.network.healing import leases_of, remove

MIB = 1 << 20
DAY = 86_400
HALF_A_YEAR = 180 * DAY


def kept_by(user: User, link: Link) -> Kept:
    """What a drive would remember."""
    (row,) = user.journal.deposits(link.root)
    return Kept(link.verify_link(), row.deposit, row.policy, row.expiry)


async def tended(user: User, kept: Kept, lease_seconds: int = HALF_A_YEAR) -> Tended:
    return await tend(user.client, user.depositor, kept, lease_seconds, Progress())


def kinds_asked(user: User, monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The requests a client makes from now on."""
    asked: list[type] = []
    request = Peers.request

    async def counted(self: Peers, contact: Contact, message: Request, **rest: Any) -> Any:
        if self is user.client.peers:
            asked.append(type(message))
        return await request(self, contact, message, **rest)

    monkeypatch.setattr(Peers, "request", counted)
    return asked


async def own_leases(islands: Archipelago, user: User, kept: Kept) -> set[tuple[int, bool, Policy, int]]:
    """Expiry, whether deleted, policy and sequence of the deposit's leases, as all who hold chunks have them."""
    found = set()
    for segment, indices in islands.holders().items():
        for node in {node for nodes in indices.values() for node in nodes}:
            opened = [open_lease(data, NETWORK.id) for data in await leases_of(islands, node, segment)]
            own = [x for x in opened if (x.depositor, x.deposit) == (user.depositor.identity.key, kept.deposit)]
            found |= {(x.expiry, x.deleted, x.policy, x.sequence) for x in own} or {(0, False, Policy(), 0)}
    return found


def lose(islands: Archipelago, count: int) -> None:
    """So many nodes that hold something are gone for good."""
    holders = [node for node in islands.nodes if node.chunks()]
    remove(islands, *holders[:count])
