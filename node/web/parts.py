"""What of a node its page shows and does."""

from dataclasses import dataclass
from pathlib import Path

from node.client import Client
from node.home import Home
from node.serving.depositors import DepositorDesk
from node.status import Status
from node.web.sealed.gather import SealedSegments
from node.web.sealed.receiving import SealedUploads
from node.web.tickets import Tickets


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Given to every group of calls. They run in the node's nursery, one after another of its requests."""

    client: Client
    """Asks holders as anybody would: with connections of its own, under an identity that nobody knows."""
    status: Status
    desk: DepositorDesk
    home: Home | None
    """Whose account and drive the page shows; None: nobody's."""
    tickets: Tickets
    segments: SealedSegments
    """Gathered for whoever opens them elsewhere; in memory that both pages share."""
    uploads: SealedUploads
    """The other way; of the same memory."""
    data: Path
    """The node's data folder."""
