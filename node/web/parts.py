"""What of a node its page shows and does."""

from dataclasses import dataclass
from pathlib import Path

from node.client import Client
from node.healing.leave import Leave
from node.home import Home
from node.serving.depositors import DepositorDesk
from node.serving.limits import LimitsDesk
from node.status import Status
from node.web.accountdesk import AccountDesk
from node.web.census.census import Census
from node.web.drivedesk import DriveDesk
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
    data: Path
    """The node's data folder."""
    told: Told
    """Who says something here, says it to all pages."""
    transfers: Transfers
