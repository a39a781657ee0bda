"""Records that are put on this node: answered when they are on the disk (docs/spec/dht.md section 8).

The disk takes its time, and whoever reads the socket must not wait for it. So what changed is written by one task, all
at once, and the answers are sent when it is there: a hundred puts cost one write or two.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from dht.calls import CLOSE_SECONDS
from dht.records import Kept, RecordStore
from protocol.datagrams import PutCode, RecordPut
from protocol.ids import Address, NameId

MAX_WAITING = 512
"""Puts that wait for the disk. More are not taken: those who sent them ask again, or others."""

OURSELVES = Address("127.0.0.1", 1)
"""Who puts what this node puts on itself, and vouches for the addresses in it."""

Answer = Callable[[RecordPut], Awaitable[None]]


class Persist(Protocol):
    """Puts records on the disk."""

    async def __call__(self, changed: Mapping[NameId, Kept]) -> bool:
        """Keep this, and only this, of each name. Whether it is there when this returns; raises nothing."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    name: NameId
    reply: RecordPut
    answer: Answer


class RecordKeeper:
    """Takes records into a store, and says so when they are safe."""

    def __init__(self, store: RecordStore, wall_clock: Callable[[], float], persist: Persist | None) -> None:
        """
        Args:
            store: Where they go.
            wall_clock: Seconds since 1970.
            persist: None: memory is all there is.
        """
        self._store = store
        self._wall = wall_clock
        self._persist = persist
        self._next: list[_Waiting] = []
        self._current: list[_Waiting] = []
        self._writing: frozenset[NameId] = frozenset()
        self._wake = trio.Event()

    async def take(self, data: bytes, cas: int, by: Address, answer: Answer) -> None:
        """Judge a record; ``answer`` is told now, or when it is on the disk, or never when too many wait."""
        if len(self._next) + len(self._current) >= MAX_WAITING:
            return
        verdict = self._store.add(data, cas, by, self._wall())
        kept = verdict.reply.code in (PutCode.KEPT, PutCode.FORKED)
        if kept and verdict.name is not None and self._persist is not None:
            waiting = _Waiting(verdict.name, verdict.reply, answer)
            if verdict.name in self._store.unsaved:
                self._next.append(waiting)
                self._wake.set()
                return
            if verdict.name in self._writing:
                self._current.append(waiting)
                return
        await answer(verdict.reply)

    async def put(self, data: bytes, cas: int, by: Address) -> RecordPut | None:
        """The same for whoever waits for it; None: too many are waiting, or the disk takes more than CLOSE_SECONDS."""
        done = trio.Event()
        replies: list[RecordPut] = []

        async def answer(reply: RecordPut) -> None:
            replies.append(reply)
            done.set()

        if len(self._next) + len(self._current) >= MAX_WAITING:
            return None
        await self.take(data, cas, by, answer)
        with trio.move_on_after(CLOSE_SECONDS):
            await done.wait()
        return replies[0] if replies else None

    def drop(self, name: NameId) -> None:
        """Let a name go; the disk follows when it can."""
        self._store.drop(name)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._persist is not None:
                await self._write(self._persist)

    async def _write(self, persist: Persist) -> None:
        batch = self._store.take_unsaved()
        self._current, self._next, self._writing = self._next, [], frozenset(batch)
        safe = await persist(batch)
        waiting, self._current, self._writing = self._current, [], frozenset()
        if not safe:  # it is tried again with the next put; until then nobody is told that it is kept
            again = (name for name, kept in batch.items() if not kept.records or self._store.touched(name) is not None)
            self._store.unsaved.update(again)
        for one in waiting:
            gave_way = one.name in batch and not batch[one.name].records
            refused = RecordPut(code=PutCode.REFUSED, sequence=0 if gave_way else one.reply.sequence)
            await one.answer(one.reply if safe and not gave_way else refused)
