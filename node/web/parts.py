"""What of a node its page shows and does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from node.buffers import Buffers
from node.client import Client
from node.healing.leave import Leave
from node.home import Home
from node.reading.served import KEPT_BYTES
from node.serving.depositors import DepositorDesk
from node.serving.limits import LimitsDesk
from node.status import Status
from node.web.census.census import Census
from node.web.desks.account import AccountDesk
from node.web.desks.drive import DriveDesk
from node.web.sealed.gather import SealedSegments
from node.web.sealed.receiving import SealedUploads
from node.web.tickets import Tickets
from node.web.told import Told
from node.web.transfers.service import Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Given to every group of calls. They run in the node's nursery, one after another of its requests."""

    client: Client
    """Asks holders as anybody would: with connections of its own, under an identity that nobody knows."""
    status: Status
    desk: DepositorDesk
    limits: LimitsDesk
    leave: Leave
    census: Census
    accounts: AccountDesk
    """The account of the home."""
    drive: DriveDesk
    """Its drive."""
    home: Home | None
    """Whose account and drive the page shows; None: nobody's."""
    tickets: Tickets
    buffers: Buffers
    """Memory for what is read here, of files and of segments, used again."""
    segments: SealedSegments
    """Gathered for whoever opens them elsewhere; in memory that both pages share."""
    uploads: SealedUploads
    """The other way; of the same memory."""
    data: Path
    """The node's data folder."""
    told: Told
    """Who says something here, says it to all pages."""
    transfers: Transfers

    @classmethod
    def of(
        cls,
        *,
        client: Client,
        status: Status,
        desk: DepositorDesk,
        limits: LimitsDesk,
        leave: Leave,
        home: Home | None,
        tickets: Tickets,
        data: Path,
        accounts: AccountDesk | None = None,
    ) -> Self:
        """What the page does itself is built around what the node brings.

        Args:
            client: As above; whoever calls runs its ``peers``.
            status: Of the node.
            desk: Of the node.
            limits: Of the node.
            leave: Of the node.
            home: As above.
            tickets: Of the node, which is asked by its control socket as well.
            data: As above.
            accounts: The account of the home; None: as it is kept there.
        """
        accounts = accounts or AccountDesk(home, client.world.blocking)
        drive, told = DriveDesk(accounts, client), Told()
        buffers = Buffers(KEPT_BYTES)
        segments = SealedSegments(client, buffers=buffers)
        return cls(
            client=client,
            status=status,
            desk=desk,
            limits=limits,
            leave=leave,
            census=Census.of(client, status, desk, drive),
            accounts=accounts,
            drive=drive,
            home=home,
            tickets=tickets,
            buffers=buffers,
            segments=segments,
            uploads=SealedUploads(client, segments.room),
            data=data,
            told=told,
            transfers=Transfers(client, home, told),
        )
