"""Keeping somebody else's link in the drive."""

from node.drive.entries import title_of
from node.drive.service import DriveService
from node.drive.tree import add
from node.errors import ConfigError
from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.names.reading import resolve
from node.progress import Progress
from protocol.drive import Content, Drive, link_entry
from protocol.links import Link, LinkKind, NameLink
from protocol.names import NameReader


async def describe(service: DriveService, link: Link | NameLink) -> tuple[bytes, int]:
    """What a link leads to now: its title, and the bytes of its files.

    Raises:
        ConfigError: A verify link does not tell.
        NotFoundError, IntegrityFailure, NetworkError: It cannot be read.
    """
    if isinstance(link, NameLink):
        link = (await resolve(service.client, NameReader(link.name, link.read_key), service.seen)).link
    if link.kind is not LinkKind.READ:
        raise ConfigError("a verify link does not tell what it leads to", hint="say what to call it: --path")
    manifest = await read_contents(Downloader(service.client, Progress()), link)
    return title_of(manifest.entries), manifest.content_bytes


def add_link(drive: Drive, link: Link | NameLink, path: bytes, size: int, now_ms: int) -> Drive:
    """The drive with somebody else's link at a path. Raises ConfigError, RefusedError: as :func:`add`."""
    entry = link_entry(link, path, Content(size=size, time=now_ms // 1000), now_ms)
    return add(drive, entry, now_ms)
