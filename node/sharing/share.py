"""Sharing a part of a deposit: what is its own is kept where it lies, the rest is fetched, sealed anew and placed."""

from collections.abc import AsyncGenerator
from functools import partial

import trio

from node.client import Client
from node.errors import IntegrityFailure, NotFoundError
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_runs
from node.home import Depositor
from node.journal import Journal
from node.keeping.holders import contacts_of, find_holders, read_descriptor
from node.keeping.shown import shown_leases
from node.progress import Progress
from node.publishing.content import Room
from node.publishing.publish import Options, Published, begin
from node.publishing.sealing import Sealer, Segment
from node.sharing.part import Part, choose_part
from protocol.hashing import digest
from protocol.leases import Policy
from protocol.links import Link
from protocol.manifest import Manifest, SegmentRef
from protocol.seal import commitment
from protocol.segment import Descriptor


async def share_part(
    client: Client,
    depositor: Depositor,
    journal: Journal,
    link: Link,
    path: bytes | None,
    options: Options,
    progress: Progress,
) -> Published:
    """Make a deposit of a part of another one, whose link opens this part and nothing else.

    Segments that hold bytes of the part alone get a lease of the new deposit; only others are fetched, and sealed
    anew. Run again, it sends only what the network lacks, and gives the same link.

    Args:
        client: Who asks.
        depositor: Who signs, and whose secret the new keys come from. Need not have published the whole.
        journal: Where the new deposit is noted.
        link: A read link.
        path: Of a file or folder in what it opens.
        options: How what is sealed anew is coded; how long, and where, all of it is kept.
        progress: Told of all that is done.

    Raises:
        ConfigError: A verify link; or the path is a symbolic link, or all of the deposit.
        NotFoundError: No such path; or a segment that is needed has too few chunks left.
        IntegrityFailure: Holders sent what does not match, or the deposit breaks the rules.
        RefusedError, NetworkError: A segment could not be placed.
    """
    downloader = Downloader(client, progress)
    manifest = await read_contents(downloader, link)
    part = await client.world.blocking(choose_part, manifest, path)
    progress.total = part.content_bytes
    source = digest("local", b"share", link.root, (path or b"").strip(b"/"))
    run = begin(client, depositor, journal, source, options, progress)
    kept = await run.refer(part.kept, partial(_referred, downloader, run.sealer))
    if part.inline:
        async with _plaintexts(downloader, manifest, part, _room) as plaintexts:
            inline = b"".join([bytes(plaintext) async for plaintext in plaintexts])
        return await run.finish(Manifest(entries=part.entries, inline=inline), part.skipped)
    async with _plaintexts(downloader, manifest, part, run.sealer.room) as plaintexts:
        sealed = await run.send(plaintexts)
    return await run.finish(Manifest(entries=part.entries, segments=kept + sealed), part.skipped)


async def inherited_policy(client: Client, depositor: Depositor, journal: Journal, link: Link) -> Policy:
    """Where a part should be kept, unless its depositor says otherwise: as the whole, if they published that.

    This home's journal knows; or the holders of the root, if another machine of the depositor's did: by the leases that
    they show, signed by the depositor.
    """
    for row in journal.deposits(link.root):
        return row.policy
    contacts = contacts_of(await find_holders(client, link.root))
    shown = await shown_leases(client, contacts, link.root, depositor.identity.key)
    return Policy() if shown.newest is None else shown.newest.policy


def _room(size: int) -> memoryview:
    return memoryview(bytearray(size))


@trio.as_safe_channel
async def _plaintexts(
    downloader: Downloader, manifest: Manifest, part: Part, room: Room
) -> AsyncGenerator[memoryview, None]:
    """The plaintext of each segment that is sealed anew: one is fetched while those before it are placed."""
    for pieces in part.packs:
        content = room(sum(piece.size for piece in pieces))
        done = 0
        async with read_runs(downloader, manifest, part.wanted(pieces)) as runs:
            async for run in runs:
                content[done : done + len(run.data)] = run.data
                done += len(run.data)
        yield content


async def _referred(downloader: Downloader, sealer: Sealer, ref: SegmentRef) -> Segment:
    """A segment of the whole deposit, to be kept for its part.

    Raises:
        NotFoundError, NetworkError, IntegrityFailure: As :meth:`Downloader.blocks`, when no holder describes it.
    """
    descriptor = sealer.known(ref.key, ref.length)
    if descriptor is None or descriptor.id != ref.id:
        descriptor = await _descriptor(downloader, ref)
    if (descriptor.layout.length, descriptor.commitment) != (ref.length, commitment(ref.key)):
        raise IntegrityFailure("the link leads to something else than a deposit: a segment has another size or key")
    return sealer.referred(ref.key, descriptor, partial(downloader.blocks, ref, 0, descriptor.layout.blocks))


async def _descriptor(downloader: Downloader, ref: SegmentRef) -> Descriptor:
    for _ in range(2):
        holders = await find_holders(downloader.client, ref.id)
        descriptor = await read_descriptor(downloader.client, ref.id, holders)
        if descriptor is not None:
            return descriptor
        await downloader.blocks(ref, 0, 1)  # which tells best who was asked, and why each failed
    raise NotFoundError("no holder of a segment describes it", hint="try again later: holders may come back")
