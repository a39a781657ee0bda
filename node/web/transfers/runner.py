"""Has transfers run: two at a time, each as soon as what it needs is there."""

import logging
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from node.account.unlocked import Watch
from node.account.vault import Vault
from node.errors import NodeError, leaves, told
from node.progress import Progress
from node.web.transfers.book import Book, no_account
from node.web.transfers.live import Live, Run
from node.web.transfers.places import free_place, stage
from node.web.transfers.row import OVER, Counts, Kind, Row, State
from node.web.transfers.running import Around, Download, fetch_download, publish_upload
from node.web.transfers.table import Table
from node.web.transfers.wanted import Upload
from protocol.account import AccountKeys

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Transfers that run: more of them share the same line, and memory for segments is for two."""
LOOK_SECONDS = 2.0
"""How often it is looked for what a transfer waits for: a network that is there, an account that is unlocked."""


@dataclass(eq=False, slots=True)
class Runner:
    """Of one book of transfers."""

    book: Book
    _watch: Watch | None = None
    """One for all looks: a keyring that does not answer is not asked again."""
    _claiming: trio.Lock = field(default_factory=trio.Lock)

    async def run(self) -> None:
        """Until cancelled. Neither the network, nor the disk, nor a bug ends it."""
        if self.book.home is None:
            return
        try:
            while True:
                try:
                    async with trio.open_nursery() as nursery:
                        await self._go(nursery)
                except Exception as exc:  # noqa: BLE001 - whatever it is, the node has others' chunks to look after
                    log_bug(exc)
                await trio.sleep(LOOK_SECONDS)
        finally:
            self.book.close()

    async def _go(self, nursery: trio.Nursery) -> None:
        try:
            await self.book.open()
        except NodeError as exc:
            log.warning("there are no transfers: %s", exc)
            await trio.sleep_forever()
        while True:
            self.book.news = trio.Event()
            wait = LOOK_SECONDS if await self._start(nursery) else float("inf")
            with trio.move_on_after(wait):
                await self.book.news.wait()

    async def _start(self, nursery: trio.Nursery) -> bool:
        """Start what may run; whether others wait for something that has to be looked for."""
        waiting = [live for live in self.book.lives.values() if live.row.state is State.WAITING]
        account, error = await self.keys() if any(live.private for live in waiting) else (None, None)
        for live in waiting:
            if live.row.state is not State.WAITING or live.changing.locked():  # somebody was quicker
                continue
            reason = self._reason(live, account)
            if reason == "account" and error is not None:
                await self._end(live, live.row.failed(error, self.book.now()))
                continue
            if reason is None:
                self._begin(nursery, live, account)
            if live.waits_for != reason:
                live.waits_for = reason
                self.book.say(live)
        return any(live.row.state is State.WAITING and live.waits_for != "turn" for live in waiting)

    def _reason(self, live: Live, account: AccountKeys | None) -> str | None:
        """What it waits for; None: it may run."""
        if not self.book.client.dht.contacts():
            return "network"
        if live.private and account is None:
            return "account"
        running = sum(other.run is not None for other in self.book.lives.values())
        return "turn" if running >= AT_ONCE else None

    async def keys(self) -> tuple[AccountKeys | None, NodeError | None]:
        """The account's, if it is unlocked; or why it cannot be."""
        home = self.book.owner_home()
        try:
            if not await self.book.blocking(lambda: Vault.of(home).exists):
                return None, no_account()
            self._watch = self._watch or Watch(home)
            return await self.book.blocking(self._watch.keys), None
        except NodeError as exc:
            return None, exc

    def _begin(self, nursery: trio.Nursery, live: Live, account: AccountKeys | None) -> None:
        progress = Progress(changed=lambda _: self.book.say(live))
        live.run = Run(live.row.counts.sent_bytes, progress)
        live.row = live.row.at(State.RUNNING)
        nursery.start_soon(self._run, live, live.run, account if live.private else None)

    async def _run(self, live: Live, run: Run, account: AccountKeys | None) -> None:
        """One transfer, to its end or to where it is stopped."""
        row: Row | None = None
        try:
            try:
                with run.scope:
                    row = await self._work(live, run, account)
            except Exception as exc:  # noqa: BLE001 - a bug in one transfer ends that one
                if run.then is None:  # else it is what came of being stopped
                    row = live.row.failed(_told(exc), self.book.now())
            if row is None:
                row = live.row.at(run.then or State.WAITING)
            await self._end(live, replace(row, counts=Counts.of(run.progress, run.sent_before)))
        finally:
            live.run = None
            if live.row.state is State.RUNNING:  # the node stops, or the disk failed
                live.row = live.row.at(State.WAITING)
            run.ended.set()
            self.book.news.set()

    async def _end(self, live: Live, row: Row) -> None:
        try:
            await self.book.become(live, row)
        except NodeError as exc:
            log.warning("what became of a transfer cannot be noted: %s", exc)
            live.row = row  # as long as the node runs

    async def _work(self, live: Live, run: Run, account: AccountKeys | None) -> Row:
        """What it is when it has come to its end. Raises NodeError."""
        book = self.book
        around, progress = Around(book.client, book.owner_home(), account), run.progress
        wanted = await book.stored(Table.wanted, live.row.id)
        if live.row.kind is Kind.DOWNLOAD:
            await fetch_download(around, Download.of(wanted), progress, partial(self._claim, live, progress))
            return replace(live.row, state=State.DONE)
        assert live.receiving is not None
        upload = await book.blocking(Upload.of, wanted)
        stored = await publish_upload(around, live.row.id, upload, live.receiving.spool, progress)
        path, notes = None, list(stored.published.notes)
        if stored.recorded is not None:
            path = None if stored.recorded.path is None else os.fsdecode(stored.recorded.path)
            if stored.recorded.why is not None:
                notes.append(f"the drive could not be updated: {stored.recorded.why}")
        return replace(live.row, state=State.DONE, link_path=path, notes=tuple(notes))

    async def _claim(self, live: Live, progress: Progress, download: Download, name: str, files: int) -> Path:
        """Where a download goes. That is noted before a folder is made there: killed in between, it finds it again."""
        book, before = self.book, None if download.place is None else Path(download.place)
        async with self._claiming:
            while True:
                taken = {
                    other.place for other in book.lives.values() if other.row.state not in OVER and other is not live
                }
                place = await book.blocking(free_place, Path(download.to), name, before, taken)
                with trio.CancelScope(shield=True):  # what is noted and not made would be taken for ours
                    await self._note(live, progress, replace(download, place=str(place)), place, files)
                    if await book.blocking(stage, place, before):
                        return place

    async def _note(self, live: Live, progress: Progress, download: Download, place: Path, files: int) -> None:
        live.row = replace(live.row, name=place.name, files=files, total_bytes=progress.total)
        await self.book.stored(Table.want, live.row.id, download.kept())
        await self.book.stored(Table.save, live.row)
        live.place = place
        self.book.say(live)


def _told(exc: Exception) -> NodeError:
    """What a transfer failed by."""
    try:
        return told(exc)
    except Exception as bug:  # noqa: BLE001 - it is told as one, and where it was is in the log
        log_bug(bug)
        return NodeError("this is a bug of the node: see its log")


def log_bug(exc: Exception) -> None:
    """Say where it was; its text may hold a link."""
    kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves(exc)}))
    first = next(leaves(exc))
    trace = RuntimeError(type(first).__name__).with_traceback(first.__traceback__)
    log.error("a bug in a transfer: %s", kinds, exc_info=trace)
