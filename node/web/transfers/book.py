"""All transfers of a home, in memory and on the disk, and how one changes its state."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from node.client import Client
from node.errors import NodeError, NotFoundError, RefusedError
from node.fetching.staging import remove_staging
from node.home import Home
from node.web.told import Told
from node.web.transfers.live import Live
from node.web.transfers.places import staging_of
from node.web.transfers.receiving import Receiving
from node.web.transfers.row import ENDED, OVER, Kind, Row, State
from node.web.transfers.running import Download
from node.web.transfers.spool import Spool
from node.web.transfers.table import Table
from node.web.transfers.wanted import Upload

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_OPEN = 200
"""Transfers that are not over."""
MAX_OPEN_FILES = 400_000
"""Of all uploads that are not over: what is known of each file is in memory."""
MAX_OVER = 500
"""Transfers that are over and are still shown; the oldest go first."""
_ID_BYTES = 16


@dataclass(eq=False, slots=True)
class Book:
    """What a call has answered is on the disk. Every call may raise NodeError: there is no home, no table."""

    client: Client
    home: Home | None
    told: Told
    lives: dict[str, Live] = field(default_factory=dict)
    """By their ids, the oldest first; once it is open."""
    news: trio.Event = field(default_factory=trio.Event)
    """There may be something to start."""
    _table: Table | None = None
    _opening: trio.Lock = field(default_factory=trio.Lock)
    _writing: trio.Lock = field(default_factory=trio.Lock)
    """The table is for one thread at a time."""

    def close(self) -> None:
        """Leave the table to others."""
        if self._table is not None:
            self._table.close()
            self._table = None

    async def all(self) -> list[Live]:
        """All transfers, the oldest first. Raises NodeError: there can be none."""
        await self.open()
        return list(self.lives.values())

    async def get(self, identifier: str) -> Live:
        """One of them. Raises NotFoundError: there is none."""
        await self.open()
        if identifier not in self.lives:
            raise NotFoundError("there is no such transfer")
        return self.lives[identifier]

    async def open(self) -> None:
        """Read what is on the disk, once. Raises NodeError."""
        async with self._opening:
            if self._table is not None:
                return
            home = self.owner_home()
            table, lives = await self.blocking(self._read, home)
            self._table, self.lives = table, {live.row.id: live for live in lives}
            self.news.set()

    def _read(self, home: Home) -> tuple[Table, list[Live]]:
        home.create()
        table = Table(home.transfers, self.client.network.id)
        try:
            lives = [self._restored(table, row) for row in table.rows()]
            kept = {live.row.id for live in lives if live.receiving is not None}
            for folder in home.uploads(self.client.network.id).glob("*"):
                if folder.name not in kept:  # of an upload that ended, or never began, when the node was killed
                    Spool(folder, ()).remove()
        except BaseException:  # whatever it was, others may try
            table.close()
            raise
        return table, lives

    def _restored(self, table: Table, row: Row) -> Live:
        if row.state in OVER:
            return Live(row, False)
        try:
            wanted = table.wanted(row.id)
            if row.kind is Kind.DOWNLOAD:
                download = Download.of(wanted)
                return Live(row, download.private, place=None if download.place is None else Path(download.place))
            spool = Spool(self.folder(row.id), Upload.of(wanted).sizes)
            spool.look()
        except NodeError as exc:
            row = row.failed(exc, self.now())
            table.save(row)
            return Live(row, False)
        if row.state in (State.RECEIVING, State.WAITING):  # it may have been killed before it noted the last byte
            row = row.at(State.RECEIVING if spool.missing else State.WAITING)
        return Live(row, True, Receiving(spool, self.blocking))

    def owner_home(self) -> Home:
        """The home. Raises NotFoundError: there is none."""
        if self.home is None:
            raise no_account()
        return self.home

    def begin(self, live: Live) -> Live:
        """One more, which is on the disk."""
        self.lives[live.row.id] = live
        self.say(live)
        self.news.set()
        return live

    def say(self, live: Live) -> None:
        """Tell who listens."""
        self.told.say("transfer", live.fields, live.row.id)

    async def become(self, live: Live, row: Row, *, only_from: State | None = None) -> None:
        """Another state: on the disk, then told.

        Args:
            live: The transfer.
            row: What it is to be.
            only_from: The state it has to be in; in any other, nothing is done.
        """
        async with live.changing:
            if only_from is not None and live.row.state is not only_from:
                return
            if row.state in ENDED and row.finished is None:
                row = replace(row, finished=self.now())
            if live.receiving is not None:
                row = replace(row, received_bytes=live.receiving.spool.received_bytes)
            try:
                await self._save(live, row)
                live.row = row
                if row.state in OVER:
                    await self.clean(live)
                    await self._trim()
            finally:
                self.say(live)
                self.news.set()

    async def _save(self, live: Live, row: Row) -> None:
        """To the disk. If it is full, it may be so of what was kept for one that is over, and need not be any more."""
        try:
            await self.stored(Table.save, row)
        except NodeError:
            if row.state not in OVER:
                raise
            await self._release(live, row.state)
            try:
                await self.stored(Table.save, row)
            except NodeError as exc:  # as it will be found at the next start
                live.row = live.row.failed(exc, self.now())
                raise

    async def clean(self, live: Live) -> None:
        """Keep nothing any more of one that does not go on."""
        await self._release(live, live.row.state)
        await self.stored(Table.want, live.row.id, None)

    async def _release(self, live: Live, state: State) -> None:
        """Remove the files that were kept for one that is to be in this state."""
        if live.receiving is not None:
            await live.receiving.stop()
            spool, live.receiving = live.receiving.spool, None
            live.row = replace(live.row, received_bytes=spool.received_bytes)
            await self.blocking(spool.remove)
        elif live.row.kind is Kind.UPLOAD:  # it was damaged when the node started
            await self.blocking(Spool(self.folder(live.row.id), ()).remove)
        elif state is not State.DONE and live.place is not None:
            await self.blocking(remove_staging, staging_of(live.place))

    async def _trim(self) -> None:
        over = [live for live in self.lives.values() if live.row.state in OVER]
        for live in over[: max(0, len(over) - MAX_OVER)]:
            await self.remove(live)

    async def remove(self, live: Live) -> None:
        """Forget it."""
        await self.stored(Table.remove, live.row.id)
        self.lives.pop(live.row.id, None)
        self.told.say("gone", {"id": live.row.id}, live.row.id)

    def check_open(self, files: int = 0) -> None:
        """Whether one more may begin, an upload of so many files. Raises RefusedError: there are too many."""
        if sum(live.row.state not in OVER for live in self.lives.values()) >= MAX_OPEN:
            raise RefusedError(f"{MAX_OPEN} transfers are under way", hint="wait for some, or cancel them")
        here = sum(live.row.files for live in self.lives.values() if live.receiving is not None)
        if here + files > MAX_OPEN_FILES:
            raise RefusedError(
                f"uploads under way have {here} files, {MAX_OPEN_FILES} at most with the {files} of this one",
                hint="wait for some, or cancel them",
            )

    @property
    def coming(self) -> int:
        """Bytes that uploads are still to bring."""
        uploads = [live.now for live in self.lives.values() if live.receiving is not None]
        return sum((row.total_bytes or 0) - row.received_bytes for row in uploads)

    def new_row(self, kind: Kind, name: str, place: str, files: int, total: int | None) -> Row:
        """What is told of a new one at first."""
        identifier = self.client.world.random_bytes(_ID_BYTES).hex()
        return Row(
            id=identifier,
            kind=kind,
            name=name,
            place=place,
            state=State.RECEIVING,
            files=files,
            total_bytes=total,
            created=self.now(),
        )

    def folder(self, identifier: str) -> Path:
        """Where the files of an upload wait."""
        return self.owner_home().uploads(self.client.network.id) / identifier

    def now(self) -> int:
        """Seconds since 1970-01-01 UTC."""
        return int(self.client.world.clock.wall())

    async def blocking(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """In a worker thread."""
        return await self.client.world.blocking(fn, *args)

    async def stored(self, fn: Callable[[Table, *Ts], T], *args: *Ts) -> T:
        """A call of the table's."""
        await self.open()
        assert self._table is not None
        async with self._writing:
            return await self.client.world.blocking(fn, self._table, *args)


def no_account() -> NotFoundError:
    """Nobody publishes, nobody has a drive."""
    return NotFoundError("this node has no account", hint="create one on its page, or: archipel account new")
