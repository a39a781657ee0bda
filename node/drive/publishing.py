"""A publish of an account: the deposit gets its place in the drive, and, if asked for, its name leads to it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from node.drive.entries import find_name, name_link_of, of_root, published_entry, renewed, title_of, without
from node.drive.known import Known, change_known, read_known
from node.drive.service import Change, DriveService
from node.drive.stored import Recorded, Stored
from node.drive.tree import put
from node.errors import MachineError, NodeError, told
from node.keeping.change import Changed
from node.keeping.receiptfile import ReceiptBook
from node.names.writing import Written, publish_version
from node.progress import Progress
from node.publishing.content import Content
from node.publishing.publish import Options, begin, publish_run
from protocol.drive import Drive, DriveEntry, EntryKind
from protocol.links import Link
from protocol.manifest import Entry
from protocol.names import MAX_LIFE_SECONDS, NameKeys


async def publish_to_drive(
    service: DriveService,
    content: Content,
    options: Options,
    progress: Progress,
    book: ReceiptBook | None = None,
    label: str | None = None,
    *,
    path: bytes | None = None,
) -> Stored:
    """As :func:`node.publishing.publish.publish`, signed by the drive's account.

    That the drive cannot be updated, or the name not be published, is no failure of it.

    Args:
        service: The drive.
        content: What to publish.
        options: How.
        progress: Told of it.
        book: For receipts.
        label: Of a name that is to lead to it.
        path: Where it is to stand in the drive, if it is new there; None: at the top, called by its own title.

    Raises:
        NotFoundError: The drive has no such name. Nothing was sent.
        NodeError: As ``publish``.
    """
    name = None if label is None else find_name((await read_known(service)).drive, label)
    run = begin(service.client, service.depositor, service.journal, content.identity, options, progress, book)
    published = await publish_run(run, content)
    written, failure = (None, None) if name is None else await _publish_name(service, name, published.link, options)
    terms = run.uploader.terms
    if path is None:
        path = await service.client.world.blocking(_title, content)
    entry = published_entry(
        EntryKind.DEPOSIT,
        terms.deposit,
        path,
        published.link,
        size=published.bytes,
        expiry=terms.expiry,
        policy=terms.policy,
        label="" if written is None or label is None else label,
    )
    entries = [entry]
    if name is not None and written is not None:
        news = replace(name.content, expiry=written.expiry, time=written.value.time, size=published.bytes)
        entries.append(replace(name, content=news))
    recorded = await record(service, entries)
    return Stored(published, recorded, None if name is None else name_link_of(name), written, failure)


def _title(content: Content) -> bytes:
    entries: Sequence[Entry] = content.entries()
    return title_of(entries)


async def record_renewal(
    service: DriveService, link: Link, deposits: Collection[bytes], changed: Changed
) -> Recorded | None:
    """The leases of these deposit ids on what a link leads to run longer. None: the drive does not list them."""

    def change(drive: Drive, now_ms: int) -> Drive:
        return renewed(drive, [(entry, changed.expiry) for entry in of_root(drive, link.root, deposits)], now_ms)

    return await _record_listed(service, link, deposits, change)


async def record_deletion(
    service: DriveService, link: Link, deposits: Collection[bytes], changed: Changed
) -> Recorded | None:
    """The leases of these deposit ids on what a link leads to have been ended. None: the drive did not list them."""

    def change(drive: Drive, now_ms: int) -> Drive:
        return without(drive, [entry.id for entry in of_root(drive, link.root, deposits)], now_ms)

    return await _record_listed(service, link, deposits, change)


async def _record_listed(
    service: DriveService, link: Link, deposits: Collection[bytes], change: Change
) -> Recorded | None:
    try:
        known = await read_known(service)
        found = of_root(known.drive, link.root, deposits)
        if not found:
            return None
        path = known.shown_at(found[0].id) or found[0].path
        known = await change_known(service, change)
        return Recorded(path, known.why, known.begun)
    except MachineError as exc:
        return Recorded(None, exc)


async def record(service: DriveService, entries: Sequence[DriveEntry]) -> Recorded:
    """Put entries into the drive, for what has happened already: that it cannot be done is told, and no failure.

    Args:
        service: The drive.
        entries: The first is the one of which it is told where it is shown. Their times are set to now.
    """
    seconds = int(service.client.world.clock.wall())

    def change(drive: Drive, now_ms: int) -> Drive:
        for entry in entries:
            content = entry.content if entry.content.time else replace(entry.content, time=seconds)
            drive = put(drive, replace(entry, content=content), now_ms)
        return drive

    try:
        known: Known = await change_known(service, change)
    except MachineError as exc:
        return Recorded(None, exc)
    return Recorded(known.shown_at(entries[0].id), known.why, known.begun)


async def _publish_name(
    service: DriveService, name: DriveEntry, link: Link, options: Options
) -> tuple[Written | None, NodeError | None]:
    """A new version of a name, which is kept as long as the leases are, and never shorter than the one before."""
    now = int(service.client.world.clock.wall())
    keys = NameKeys(service.account.name_secret(name.content.label))
    expiry = min(max(now + options.lease_seconds, name.content.expiry), now + MAX_LIFE_SECONDS)
    try:
        return await publish_version(service.client, keys, service.seen, link, expiry), None
    except (NodeError, ExceptionGroup) as exc:
        return None, told(exc)
