"""Both countings of a node's page."""

from dataclasses import dataclass

import trio

from node.client import Client
from node.serving.depositors import DepositorDesk
from node.status import Status
from node.web.census.deposits import DepositCensus
from node.web.census.nodes import NodeCensus
from node.web.desks.drive import DriveDesk


@dataclass(frozen=True, slots=True)
class Census:
    """Start :meth:`run` as a task."""

    nodes: NodeCensus
    deposits: DepositCensus

    @classmethod
    def of(cls, client: Client, status: Status, desk: DepositorDesk, drive: DriveDesk) -> "Census":
        """Of a node: its client, what it says of itself, whose chunks it keeps, and the drive that its page shows."""
        return cls(NodeCensus(client, status, desk), DepositCensus(drive))

    async def run(self) -> None:
        """Count as long as somebody looks, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.nodes.run)
            nursery.start_soon(self.deposits.run)
