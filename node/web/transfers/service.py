"""The transfers of a node, as its API asks for them.

What a call has answered is on the disk. A transfer that has neither ended nor been paused goes on when the node starts
again, whatever ended it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from node.client import Client
from node.config import downloads_folder
from node.drive.service import open_cache
from node.drive.tree import Tree, drive_path
from node.errors import ConfigError, NotFoundError, RefusedError
from node.home import Home
from node.linktext import read_link_text
from node.web.http.answers import HttpError
from node.web.told import Told
from node.web.transfers.book import Book
from node.web.transfers.live import Live
from node.web.transfers.places import check_folder
from node.web.transfers.receiving import Body, Receiving
from node.web.transfers.row import ENDED, OVER, Kind, State
from node.web.transfers.runner import Runner
from node.web.transfers.running import Around, Download, check_reads, find_in_drive
from node.web.transfers.spool import Spool, check_room
from node.web.transfers.table import Table
from node.web.transfers.wanted import Upload
from protocol.account import AccountKeys
from protocol.drive import parents


@dataclass(eq=False, slots=True)
class Transfers:
    """Of one node. Start :meth:`run` as a task; the rest may be called as soon as it is there."""

    client: Client
    home: Home | None
    """Whose account uploads are published by, and where they wait; None: there are no transfers."""
    told: Told
    downloads: Callable[[], Path] = downloads_folder
    """Where downloads go of which nothing else is said."""
    _book: Book = field(init=False)
    _runner: Runner = field(init=False)
    _creating: trio.Lock = field(default_factory=trio.Lock)

    def __post_init__(self) -> None:
        self._book = Book(self.client, self.home, self.told)
        self._runner = Runner(self._book)

    async def run(self) -> None:
        """Have them run, until cancelled. Nothing that happens here ends the node."""
        await self._runner.run()

    def wake(self) -> None:
        """What one waits for may be there: such as the account, which has been unlocked."""
        self._book.news.set()

    async def all(self) -> list[Live]:
        """All transfers, the oldest first. Raises NodeError: there can be none."""
        return await self._book.all()

    async def get(self, identifier: str) -> Live:
        """One of them. Raises NotFoundError: there is none."""
        return await self._book.get(identifier)

    async def asked(self, identifier: str) -> Upload:
        """What an upload that is not over is to become. Raises NotFoundError, MachineError."""
        live = await self.get(identifier)
        kept = None if live.receiving is None else await self._book.stored(Table.wanted, live.row.id)
        if kept is None:
            raise NotFoundError("no such upload is under way")
        return await self._book.blocking(Upload.of, kept)

    async def upload(self, upload: Upload) -> Live:
        """Begin one: from now on its files may be sent.

        Raises:
            NotFoundError: This node has no account that could publish it.
            RefusedError: The folder of the drive is none; or too many transfers, or files of uploads, are under way.
            HttpError: There is no room for it (507).
        """
        home, account = await self._owner()
        if account is not None:
            await self._check_folder(home, account, upload)
        async with self._creating:
            self._book.check_open(len(upload.files))
            sizes = await self._book.blocking(lambda: upload.sizes)
            total = sum(sizes)
            await self._book.blocking(check_room, home.path, self._book.coming + total)
            row = self._book.new_row(Kind.UPLOAD, upload.name, upload.folder, len(upload.files), total)
            spool = await self._book.blocking(Spool, self._book.folder(row.id), sizes)
            if not spool.missing:
                row = row.at(State.WAITING)
            await self._book.blocking(spool.make)
            try:
                await self._book.stored(lambda table: table.add(row, upload.kept()))
            except BaseException:  # whatever it was
                spool.remove()
                raise
            return self._book.begin(Live(row, True, Receiving(spool, self._book.blocking)))

    async def download(self, *, link: str | None, path: str | None, inside: str | None, to: str | None) -> Live:
        """Begin one: of somebody's link, or of a path in the account's drive.

        Raises:
            ConfigError: It is no link that reads, no path, no folder of this machine that can be written to.
            NotFoundError: The drive has nothing there; or there is no account.
            RefusedError: The account is locked; or too many transfers are under way.
        """
        if (link is None) == (path is None):
            raise ConfigError("want either a link or a path in the drive")
        inside = None if inside is None else os.fsdecode(drive_path(inside)) or None
        home = self._book.owner_home()
        folder = self.downloads() if to is None else await self._book.blocking(check_folder, to)
        entry, name = None, None
        if link is not None:
            check_reads(read_link_text(link))
        else:
            _, account = await self._owner()
            found, rest = await find_in_drive(Around(self.client, home, account), path or "")
            check_reads(found.link)
            entry, name = found.id.hex(), _last(path or "")
            inside = "/".join(filter(None, (os.fsdecode(rest), inside))) or None
        name = name if inside is None else _last(inside)
        wanted = Download(link=link, entry=entry, inside=inside, name=name, to=str(folder))
        if wanted.private:
            await self._owner()
        async with self._creating:
            self._book.check_open()
            row = self._book.new_row(Kind.DOWNLOAD, name or "", str(folder), 0, None).at(State.WAITING)
            row = replace(row, link_path=None if path is None else path.strip("/"))
            await self._book.stored(Table.add, row, wanted.kept())
            return self._book.begin(Live(row, wanted.private))

    async def receive(
        self, identifier: str, number: int | None, offset: int, parts: Body, announced: int | None
    ) -> int:
        """Take in what comes of a file, or of the pack (None), as :meth:`Receiving.take` does.

        Raises:
            NotFoundError: There is no such transfer or file.
            HttpError: It is no upload that anything is to be sent for (409); or as ``take``.
        """
        live = await self.get(identifier)
        if live.row.kind is not Kind.UPLOAD or live.receiving is None:
            raise HttpError(409, "nothing is to be sent for this transfer")
        if number is not None and not 0 <= number < live.row.files:
            raise NotFoundError(f"this upload has {live.row.files} files, counted from 0")
        if live.row.state is not State.RECEIVING:
            raise HttpError(409, f"this upload is {live.row.state.value}: nothing is to be sent for it now")
        number = live.receiving.spool.pack if number is None else number
        received = await live.receiving.take(number, offset, parts, announced)
        self._book.say(live)
        if live.receiving is not None and not live.receiving.spool.missing:  # it may have been cancelled meanwhile
            await self._book.become(live, live.row.at(State.WAITING), only_from=State.RECEIVING)
        return received

    async def pause(self, identifier: str) -> Live:
        """Stop one. What is confirmed stays so. Raises HttpError (409): it has ended."""
        live = await self.get(identifier)
        if live.row.state in ENDED:
            raise HttpError(409, f"this transfer is {live.row.state.value} and cannot be paused")
        return await self._stop(live, State.PAUSED)

    async def resume(self, identifier: str) -> Live:
        """Have one go on that was paused or has failed. Raises HttpError (409): it is over."""
        live = await self.get(identifier)
        if live.row.state in OVER:
            raise HttpError(409, f"this transfer is {live.row.state.value}", hint="begin it anew")
        if live.row.kind is Kind.UPLOAD and live.receiving is None:
            raise HttpError(409, "what was uploaded is gone", hint="upload it again")
        if live.row.state in (State.PAUSED, State.FAILED):
            missing = live.receiving is not None and live.receiving.spool.missing
            await self._book.become(live, live.row.at(State.RECEIVING if missing else State.WAITING))
        return live

    async def cancel(self, identifier: str) -> Live:
        """Give one up, with all that was kept for it. Raises HttpError (409): it is done."""
        live = await self.get(identifier)
        if live.row.state is State.DONE:
            raise HttpError(409, "this transfer is done")
        return live if live.row.state is State.CANCELLED else await self._stop(live, State.CANCELLED)

    async def forget(self, identifier: str) -> Live:
        """Do not show one any more that has ended. Raises HttpError (409): it has not."""
        live = await self.get(identifier)
        if live.row.state not in ENDED:
            raise HttpError(409, f"this transfer is {live.row.state.value}", hint="cancel it first")
        await self._book.clean(live)
        await self._book.remove(live)
        return live

    async def _stop(self, live: Live, state: State) -> Live:
        run = live.run
        if run is not None:
            run.then = state
            run.scope.cancel()
            await run.ended.wait()
        ended = ENDED if state is State.PAUSED else OVER
        if live.row.state not in (*ended, state):  # it may have come to its end just then
            await self._book.become(live, live.row.at(state))
        if live.receiving is not None:
            await live.receiving.stop()
        return live

    async def _owner(self) -> tuple[Home, AccountKeys | None]:
        """The home, and its account's keys if it is unlocked. Raises NotFoundError: it has no account."""
        home = self._book.owner_home()
        await self._book.open()
        account, error = await self._runner.keys()
        if error is not None:
            raise error
        return home, account

    async def _check_folder(self, home: Home, account: AccountKeys, upload: Upload) -> None:
        """Raises RefusedError: something else than a folder is there, as far as this home knows."""

        def check() -> None:
            tree = Tree(open_cache(home, account, self.client.network.id, self.client.world.random_bytes).load().drive)
            for folder in parents(upload.drive_path):
                if folder in tree.shown:
                    raise RefusedError(f"{os.fsdecode(folder)!r} is no folder of the drive", hint="choose another one")

        await self._book.blocking(check)


def _last(path: str) -> str:
    return path.strip("/").rpartition("/")[2]
