"""A transfer in the memory of the node."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from node.progress import Progress
from node.web.transfers.receiving import Receiving
from node.web.transfers.row import Counts, Row, State


@dataclass(eq=False, slots=True)
class Run:
    """It, while it runs."""

    sent_before: int
    progress: Progress
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    then: State | None = None
    """What it is to be, once it is stopped."""


@dataclass(eq=False, slots=True)
class Live:
    """A transfer."""

    row: Row
    private: bool
    """Whether it takes the account's keys."""
    receiving: Receiving | None = None
    """Of an upload that is not over."""
    waits_for: str | None = None
    """While it waits: ``turn``, ``network``, or ``account``, which is locked."""
    run: Run | None = None
    place: Path | None = None
    """Where a download goes, once that is noted."""
    changing: trio.Lock = field(default_factory=trio.Lock)
    """Held while another state is brought to the disk."""

    @property
    def now(self) -> Row:
        """What is true of it at this moment."""
        row = self.row
        if self.receiving is not None:
            row = replace(row, received_bytes=self.receiving.spool.received_bytes)
        if self.run is not None:
            row = replace(row, counts=Counts.of(self.run.progress, self.run.sent_before))
        return row

    def fields(self) -> dict[str, Any]:
        """What the API tells of it."""
        return {**self.now.fields(), "waits_for": self.waits_for if self.row.state is State.WAITING else None}
