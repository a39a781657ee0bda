"""The service that tends deposits: once in an interval each of them, for as long as their depositor is unlocked."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from node.client import Client
from node.errors import NodeError, told
from node.home import Depositor
from node.keeping.kept import Kept
from node.keeping.patience import Patience
from node.keeping.tend import Tended, tend
from node.progress import Progress
from node.refusals import Refusals, by_reason
from protocol.ids import short

log = logging.getLogger(__name__)

LOCKED_SECONDS = 60.0
"""So often it is looked whether the depositor has been unlocked; in an interval that is shorter, as often as that."""
FIRST_SHARE = 1 / 24
"""Of an interval, after which the first round begins: a node that has just started has better things to do. So soon it
is tried again when the deposits are not known, and no sooner does one round follow another."""
GRACE_SHARE = 0.45
"""Of an interval: what two rounds that follow each other have missed was missing for longer; and for twice as long, for
which what was restored once has to be missing."""
AUDITED_ROUNDS = 7
"""In one of so many rounds holders have to prove what they hold: that downloads a block of every chunk. In the others
they are asked what they hold, so that one that is gone is found in time."""
MOST_REASONS = 16
"""For which nodes refused that a status names."""
_TOLD = 3
"""Reasons that a line of the log names."""

Unlock = Callable[[], Awaitable[Depositor | None]]
"""Who signs; None: locked. Raises NodeError."""
WhatIsKept = Callable[[], Awaitable[Sequence[Kept]]]
"""The deposits to tend. Raises NodeError."""
Remember = Callable[[Kept, Tended], Awaitable[None]]
"""Told of every deposit that was tended: its leases may end later now. Raises NodeError."""
Finish = Callable[[], Awaitable[None]]
"""Told at the end of each round, of one that was broken off too. Raises NodeError."""


@dataclass(slots=True)
class TenderTally:
    """What was done since the start, for a node's status; gauges are of the last round."""

    rounds: int = 0
    """Times that all deposits had their turn."""
    tended: int = 0
    """Deposits that were counted, once for each time."""
    failed: int = 0
    """Those that could not be: their root cannot be read."""
    restored_chunks: int = 0
    """Chunks made again and placed."""
    renewed_segments: int = 0
    """Segments that were given a new lease."""
    deposits: int = 0
    """Gauge: deposits to be tended."""
    weak: int = 0
    """Gauge: of these, not whole afterwards, those that failed included."""
    lost_segments: int = 0
    """Gauge: segments with fewer than k live chunks."""
    locked: int = 0
    """Gauge: 1 while nobody is unlocked who could sign."""
    last_round: int = 0
    """When all deposits had had their turn last, seconds since 1970-01-01 UTC; 0: not yet."""
    next_round: int = 0
    """When the next round begins, likewise; 0: not known, for it is locked or under way."""
    refusals: list[dict[str, str | int]] = field(default_factory=list)
    """In the last round: for which reasons nodes would not do what they were asked, the most frequent first, each with
    ``code``, ``reason`` (a node's own words) and ``nodes``."""


@dataclass(slots=True)
class _Standing:
    """How a deposit stood in the last round."""

    rounds: int = 0
    """In which it was counted."""
    weak: bool = False


class Tender:
    """Tends every deposit of one depositor. Start :meth:`run` as a task."""

    def __init__(
        self,
        client: Client,
        unlock: Unlock,
        what_is_kept: WhatIsKept,
        remember: Remember,
        finish: Finish | None = None,
        *,
        interval: float,
        lease_seconds: int,
        tally: TenderTally,
    ) -> None:
        """
        Args:
            client: Who asks.
            unlock: Asked before each round, and before each deposit.
            what_is_kept: Asked at the beginning of each round.
            remember: Told of each deposit that was tended.
            finish: Told that a round is over; None: nobody wants to know.
            interval: Seconds from one round to the next.
            lease_seconds: For how long leases are renewed.
            tally: Where it is counted.
        """
        self._client = client
        self._unlock = unlock
        self._what_is_kept = what_is_kept
        self._remember = remember
        self._finish = finish
        self._interval = interval
        self._lease_seconds = lease_seconds
        self._tally = tally
        self._patience = Patience(interval * GRACE_SHARE)
        self._standing: dict[bytes, _Standing] = {}

    async def run(self) -> None:
        """Until cancelled. No failure of a deposit, of the account or of the network ends it."""
        wait = self._interval * FIRST_SHARE
        while True:
            self._tally.next_round = 0 if self._tally.locked else int(self._client.world.clock.wall() + wait)
            await trio.sleep(wait)
            self._tally.next_round = 0
            wait = await self._round()

    async def _round(self) -> float:
        """Give every deposit its turn. Returns after how many seconds the next round is to begin."""
        began = trio.current_time()
        soon = self._interval * FIRST_SHARE
        if await self._depositor() is None:
            return min(LOCKED_SECONDS, self._interval)
        try:
            deposits = await self._what_is_kept()
        except (NodeError, ExceptionGroup) as exc:
            log.warning("the deposits to be kept are not known: %s", told(exc))
            return soon
        whole = await self._all(deposits)
        if self._finish is not None:
            try:
                await self._finish()
            except (NodeError, ExceptionGroup) as exc:
                log.warning("what was done for the deposits could not be noted: %s", told(exc))
        if not whole:
            return min(LOCKED_SECONDS, self._interval)
        return max(began + self._interval - trio.current_time(), soon)

    async def _all(self, deposits: Sequence[Kept]) -> bool:
        """Each deposit in its turn; False: nobody is unlocked any more."""
        tally, began = self._tally, trio.current_time()
        before = tally.restored_chunks, tally.renewed_segments
        tally.deposits = len(deposits)
        weak = lost = 0
        self._patience.tidy(began)
        self._standing = {kept.deposit: self._standing.get(kept.deposit, _Standing()) for kept in deposits}
        refused = Refusals()
        for kept in sorted(deposits, key=self._order):
            depositor = await self._depositor()
            if depositor is None:
                return False
            tended = await self._tend(depositor, kept)
            weak += tended is None or not tended.well
            lost += 0 if tended is None else tended.lost
            refused.add(self._client.refusals)
        tally.weak, tally.lost_segments = weak, lost
        tally.refusals = _reasons(refused)
        tally.rounds += 1
        tally.last_round = int(self._client.world.clock.wall())
        log.info(
            "all deposits had their turn in %.0f s: %d, %d of them not whole; %d chunks restored, %d segments renewed",
            trio.current_time() - began,
            len(deposits),
            weak,
            tally.restored_chunks - before[0],
            tally.renewed_segments - before[1],
        )
        return True

    def _order(self, kept: Kept) -> tuple[bool, int]:
        """What was not well goes first, then whose leases end first; 0 is not known."""
        return not self._standing[kept.deposit].weak, kept.expiry

    async def _depositor(self) -> Depositor | None:
        """Who signs now. That there is nobody is said once."""
        why = "locked"
        try:
            depositor = await self._unlock()
        except NodeError as exc:
            depositor, why = None, str(exc)
        if depositor is None and not self._tally.locked:
            log.info("deposits are not tended until their account is unlocked (%s)", why)
        elif depositor is not None and self._tally.locked:
            log.info("deposits are tended again")
        self._tally.locked = int(depositor is None)
        return depositor

    async def _tend(self, depositor: Depositor, kept: Kept) -> Tended | None:
        """One deposit; None if it could not even be counted."""
        name = short(kept.deposit)
        standing = self._standing[kept.deposit]
        audited = standing.rounds % AUDITED_ROUNDS == 0
        client, seconds = self._client, self._lease_seconds
        client.refusals = Refusals()  # of this deposit alone: what nodes say is kept up to a number
        standing.weak = True
        try:
            tended = await tend(client, depositor, kept, seconds, Progress(), audited=audited, patience=self._patience)
        except (NodeError, ExceptionGroup) as exc:
            self._tally.failed += 1
            log.warning("deposit %s cannot be tended: %s", name, told(exc))
            return None
        standing.rounds += 1
        standing.weak = not tended.well
        self._tally.tended += 1
        self._tally.restored_chunks += tended.restored
        self._tally.renewed_segments += tended.renewed
        story = "; ".join([_story(tended), *_refused(client.refusals)])
        log.log(logging.INFO if tended.well else logging.WARNING, "deposit %s: %s", name, story)
        try:
            await self._remember(kept, tended)
        except NodeError as exc:
            log.warning("deposit %s: what was done for it could not be noted: %s", name, exc)
        return tended


def _story(tended: Tended) -> str:
    """``22 of 24 chunks were live, 2 restored; 2 of 2 segments renewed``."""
    parts = [f"{tended.live_before} of {tended.chunks} chunks were live"]
    parts[0] += f", {tended.restored} restored" if tended.restored else ""
    parts[0] += f", {tended.spared} may still come back" if tended.spared else ""
    if tended.renewed:
        parts.append(f"{tended.renewed} of {tended.segments} segments renewed")
    if tended.lost:
        parts.append(f"segments with too few to rebuild: {tended.lost}")
    reasons = list(dict.fromkeys(item.why for item in tended.undone))
    if reasons:
        parts.append(f"left undone: {'; '.join(reasons[:_TOLD])}")
    if len(reasons) > _TOLD:
        parts.append(f"and for {len(reasons) - _TOLD} more reasons")
    return "; ".join(parts)


def _reasons(refusals: Refusals) -> list[dict[str, str | int]]:
    groups = list(by_reason(refusals.found).items())[:MOST_REASONS]
    return [
        {"code": code.name.lower(), "reason": reason, "nodes": len({refusal.node for refusal in found})}
        for (code, reason), found in groups
    ]


def _refused(refusals: Refusals) -> list[str]:
    """``refused by 2 nodes (full), 1 node (refused: 'not you')``; nothing, if nobody refused."""
    told = []
    for reason in _reasons(refusals)[:_TOLD]:
        words = f"{reason['code']}: {reason['reason']!r}" if reason["reason"] else reason["code"]
        told.append(f"{reason['nodes']} {'node' if reason['nodes'] == 1 else 'nodes'} ({words})")
    return [f"refused by {', '.join(told)}"] if told else []
