"""One transfer under way: the publish of what was uploaded, the fetch of what is wanted here."""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from node.account.depositor import locked
from node.client import Client
from node.drive.entries import title_of
from node.drive.known import read_known
from node.drive.publishing import publish_to_drive
from node.drive.service import open_drive
from node.drive.stored import Stored
from node.drive.tree import Tree, drive_path
from node.errors import ConfigError, MachineError, NotFoundError
from node.fetching.download import Downloader
from node.fetching.reader import WholeFiles, read_contents, select
from node.fetching.restore import Target, choose_target, restore
from node.home import Home
from node.journal import Journal
from node.linktext import read_link_text, unseal
from node.names.reading import resolve
from node.names.seen import Seen
from node.progress import Progress
from node.publishing.publish import Options
from node.sharing.part import find_part
from node.web.transfers.spool import Spool
from node.web.transfers.wanted import Upload
from protocol.account import AccountKeys
from protocol.drive import Drive, DriveEntry
from protocol.links import Link, LinkKind, NameLink, SealedLink
from protocol.names import NameReader


@dataclass(frozen=True, slots=True)
class Around:
    """What a transfer needs of the node."""

    client: Client
    home: Home
    account: AccountKeys | None
    """Of the home, if it is unlocked."""


async def publish_upload(around: Around, identifier: str, upload: Upload, spool: Spool, progress: Progress) -> Stored:
    """Publish what has come, and put it into the drive. Run again, it sends only what the network lacks.

    Raises:
        NodeError: As :func:`publish_to_drive`.
    """
    client, account = around.client, around.account
    assert account is not None, "whoever starts it has seen to that"
    content = await client.world.blocking(upload.content, identifier, spool)
    with closing(Journal(around.home.journal, client.network.id)) as journal:
        service = open_drive(client, around.home, account, journal)
        return await publish_to_drive(service, content, Options(), progress, path=upload.drive_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a download is to bring: a deposit, or a part of it."""

    link: str | None
    """Where it is somebody's link: as it was given, so that one that is sealed stays so."""
    entry: str | None
    """Where it is in the account's drive: the id of the entry, in hex."""
    inside: str | None
    """Path in the deposit; None: all of it. Of what is in the drive it goes on from the one folder that it is."""
    name: str | None
    """What to call it; None: by its title."""
    to: str
    """Folder of this machine."""
    place: str | None = None
    """Where it goes, once that is claimed."""

    @property
    def private(self) -> bool:
        """Whether it takes the account's keys."""
        return self.link is None or isinstance(read_link_text(self.link), SealedLink)

    def kept(self) -> dict[str, Any]:
        """What the table keeps of it."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Any) -> Self:
        """What :meth:`kept` gave. Raises MachineError: it is something else."""
        try:
            return cls(**kept)
        except TypeError as exc:
            raise MachineError("what was kept of a download is damaged") from exc


async def find_in_drive(around: Around, text: str) -> tuple[DriveEntry, bytes]:
    """What the account's drive has at a path, and the rest: a path in what that leads to. First as this home knows it.

    Raises:
        ConfigError, NotFoundError: There is no such path.
        RefusedError: It is a folder of the drive; or the account is locked.
        MachineError: As :func:`read_known`.
    """
    path, client = drive_path(text), around.client
    if around.account is None:
        raise locked()
    with closing(Journal(around.home.journal, client.network.id)) as journal:
        service = open_drive(client, around.home, around.account, journal)
        cached = await client.world.blocking(service.cache.load)
        try:
            return await client.world.blocking(_split, cached.drive, path)
        except NotFoundError:
            known = await read_known(service)
            return await client.world.blocking(_split, known.drive, path)


def _split(drive: Drive, path: bytes) -> tuple[DriveEntry, bytes]:
    return Tree(drive).split(path)


async def fetch_download(
    around: Around,
    download: Download,
    progress: Progress,
    claim: Callable[[Download, str, int], Awaitable[Path]],
) -> None:
    """Fetch what is wanted, to a place that is free. Run again, it goes on where it was.

    Args:
        around: What it needs.
        download: What is wanted.
        progress: Told of it.
        claim: Told, before anything is fetched, what it is called, and how many entries it has: finds a place for it.

    Raises:
        NodeError: As a fetch.
    """
    client = around.client
    blocking = client.world.blocking
    link = await _link(around, download)
    downloader = Downloader(client, progress)
    manifest = await read_contents(downloader, link)
    inside = None if download.inside is None else os.fsencode(download.inside)
    if inside is not None and download.entry is not None:
        inside = await blocking(find_part, manifest, inside)
    chosen = await blocking(select, manifest, inside)
    wanted = WholeFiles(manifest, chosen)
    progress.total = await blocking(lambda: sum(stop - start for _, start, stop in wanted))
    name = download.name or os.fsdecode(title_of([manifest.entries[index] for index in chosen]))
    place = await claim(download, name, len(chosen))

    def target() -> Target:
        return choose_target(manifest, chosen, place, link.root, force=False)

    await restore(downloader, link, manifest, wanted, chosen, await blocking(target), force=False)


async def _link(around: Around, download: Download) -> Link:
    """The deposit that is wanted, as of now."""
    found = await _found(around, download)
    if isinstance(found, NameLink):
        seen = Seen(around.home.names, around.client.network.id)
        found = (await resolve(around.client, NameReader(found.name, found.read_key), seen)).link
    check_reads(found)
    return found


def check_reads(link: object) -> None:
    """Raises ConfigError: it is a link that reads nothing."""
    if isinstance(link, Link) and link.kind is not LinkKind.READ:
        raise ConfigError("this is a verify link: it can check the deposit, not read it")


async def _found(around: Around, download: Download) -> Link | NameLink:
    if download.link is not None:
        opened = read_link_text(download.link)
        if not isinstance(opened, SealedLink):
            return opened
        assert around.account is not None, "whoever starts it has seen to that"
        return unseal(opened, around.account)
    assert around.account is not None
    client = around.client
    with closing(Journal(around.home.journal, client.network.id)) as journal:
        cached = await client.world.blocking(open_drive(client, around.home, around.account, journal).cache.load)
    entries: Mapping[bytes, DriveEntry] = cached.drive.by_id()
    entry = entries.get(bytes.fromhex(download.entry or ""))
    if entry is None or not entry.live or not isinstance(entry.link, Link | NameLink):
        raise NotFoundError("it is not in the drive any more")
    return entry.link
