"""How what is in the account's drive stands: live chunks by claimed country, and what it survives."""

import os
from typing import Any

from node.drive.fields import kind_of, state_of
from node.drive.health import Condition
from node.drive.known import Known
from node.errors import NodeError, NotFoundError, RefusedError
from node.keeping.survival import survival_fields
from node.web.census.rounds import Rounds
from node.web.desks.drive import DriveDesk
from protocol.drive import DriveEntry
from protocol.ids import PublicKey

KEPT_SECONDS = 60.0
"""How long a count holds."""
MOST = 1000
"""Things counted in a round, each by a real check."""
TRIES = 3
"""How often it is counted again in a round, since the drive was read anew meanwhile: what was counted is remembered."""
BATCH = 16
"""Counted, then told."""
BATCH_SECONDS = 180.0
"""For a batch: four are counted at once, each within 40 seconds."""


class DepositCensus:
    """Counts them all again and again, as long as somebody looks."""

    def __init__(self, drive: DriveDesk) -> None:
        self._drive = drive
        self._rounds = Rounds(self._round, KEPT_SECONDS)
        self._whose: PublicKey | None = None
        self._forget()
        self.run = self._rounds.run

    def _forget(self) -> None:
        self._found: dict[bytes, dict[str, Any]] = {}
        self._done = self._total = self._left_out = 0
        self._ended: int | None = None
        self._trouble: str | None = None
        self._rounds.forget()

    async def look(self) -> dict[str, Any]:
        """What is known now, ready for JSON; if it is old, a round begins.

        Raises:
            NotFoundError, RefusedError: There is no account; it is locked. What was known is forgotten.
            MachineError: Its file, or who keeps it, cannot be asked.
        """
        try:
            whose = (await self._drive.accounts.keys()).identity.key
        except (NotFoundError, RefusedError):
            self._forget()
            self._whose = None
            raise
        if whose != self._whose:
            self._forget()
            self._whose = whose
        self._rounds.look()
        return {
            "deposits": list(self._found.values()),
            "done": self._done,
            "total": self._total,
            "left_out": self._left_out,
            "counting": self._rounds.under_way,
            "counted": self._ended,
            "trouble": self._trouble,
        }

    async def _round(self) -> None:
        try:
            await self._count()
        except NodeError as exc:
            self._trouble = str(exc)

    async def _count(self) -> None:
        """Count what is in the drive; and once more if it turns out to be another one by now."""
        for _ in range(TRIES):
            known = await self._drive.look()
            await self._count_all(known)
            if (await self._drive.look()).drive == known.drive:
                break
        self._ended = int(self._drive.client.world.clock.wall())

    async def _count_all(self, known: Known) -> None:
        whose = self._whose
        shown = sorted((await self._drive.tree(known)).shown.items())
        wanted = [(path, entry) for path, entry in shown if entry.link is not None]
        none_yet = known.is_new and isinstance(known.why, NotFoundError)
        self._trouble = None if known.why is None or none_yet else str(known.why)
        self._done, self._total, self._left_out = 0, min(MOST, len(wanted)), max(0, len(wanted) - MOST)
        kept = {entry.id for _, entry in wanted[:MOST]}
        self._found = {identifier: found for identifier, found in self._found.items() if identifier in kept}
        for start in range(0, self._total, BATCH):
            batch = wanted[start : min(start + BATCH, MOST)]
            found = await self._drive.conditions([entry for _, entry in batch], BATCH_SECONDS)
            if whose != self._whose:
                return  # it was locked meanwhile, or is another account's page now
            for path, entry in batch:
                self._found[entry.id] = deposit_fields(path, entry, found.get(entry.id, Condition()))
            self._done += len(batch)


def deposit_fields(path: bytes, entry: DriveEntry, condition: Condition) -> dict[str, Any]:
    """How one thing stands. What was not counted survives nothing that is known: null."""
    return {
        "id": entry.id.hex(),
        "path": os.fsdecode(path),
        "kind": kind_of(entry),
        "state": state_of(condition),
        "live": condition.live,
        "chunks": condition.chunks,
        "countries": {code: count for code, count in condition.countries.items() if code},
        "unclaimed": condition.countries.get("", 0),
        "survives": None if condition.survives is None else survival_fields(condition.survives),
        "why": condition.why or None,
    }
