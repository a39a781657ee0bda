"""`archipel drive renew` and `sync`."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from node.cli.drivelist import path_text, tell_known
from node.cli.driveowner import open_owner
from node.cli.options import common_options, parsed
from node.cli.output import note, progress_shown, show
from node.cli.recorded import BEGUN
from node.cli.refusals import refusal_fields, refusals_told
from node.cli.running import run_async
from node.cli.text import count_text, date_text, size_text, visible
from node.config import parse_duration
from node.drive.fields import known_fields, renewed_fields
from node.drive.keeping import Renewal, Renewed, renew_at
from node.drive.service import DriveService
from node.drive.tree import drive_path
from node.errors import ConfigError
from node.publishing.publish import Published
from node.syncing.drivepath import sync_with_drive
from node.syncing.sync import Synced


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--all", "everything", is_flag=True, help="All of the drive: deposits, shares, names, the drive itself.")
@click.option("--lease", default="180d", show_default=True, metavar="D", help="How long from now: 30d, 12h.")
@click.option("--forget-lost", is_flag=True, help="Put this machine's copy in place of a drive that cannot be read.")
@common_options
def renew(paths: tuple[str, ...], everything: bool, lease: str, forget_lost: bool) -> None:
    """Renew the leases of deposits and the records of names, and make missing chunks again.

    Works on any machine with the account: the drive says all that has to be known. A name's record lives for 400 days
    at most. Nothing ends sooner than before.

    If the list itself is lost - too many of its holders are gone for good - nothing can be changed any more. With
    --forget-lost this machine's last copy takes its place, and what only other machines had put into it is forgotten.

    \b
    Examples:
      archipel drive renew --all
      archipel drive renew Photos films --lease 365d
    """
    if bool(paths) == everything:
        raise ConfigError("want paths of the drive, or --all", hint="archipel drive renew --all")
    seconds = parsed("--lease", parse_duration, lease)
    places = [drive_path(path) for path in paths]

    with refusals_told() as refusals:
        with open_owner() as owner, progress_shown("renewing") as progress:

            async def work(service: DriveService) -> Renewal:
                service.client.refusals = refusals
                return await renew_at(service, places, seconds, progress, forget_lost=forget_lost)

            renewal = run_async(lambda: owner.online(work))
        fields = {
            "renewed": [renewed_fields(done) for done in renewal.done],
            "lost": None if renewal.lost is None else str(renewal.lost),
            "refusals": refusal_fields(refusals),
            **known_fields(renewal.known),
        }
    if renewal.lost is not None:
        note(f"note: this machine's copy of the drive is the newest now: {renewal.lost}")
    tell_known(renewal.known)
    show("\n".join(_renewed_text(done) for done in renewal.done) or "there is nothing to renew", fields)
    _raise_first(renewal.done)


def _renewed_text(done: Renewed) -> str:
    path = path_text(done.entry.path)
    if done.failure is not None:
        return f"{path}: NOT renewed: {visible(str(done.failure))}"
    restored = f"; {count_text(done.restored, 'chunk')} made again" if done.restored else ""
    undone = "".join(f"; left undone: {visible(why)}" for why in done.undone)
    return f"{path}: until {date_text(done.expiry)}{restored}{undone}"


def _raise_first(done: Sequence[Renewed]) -> None:
    failed = [item for item in done if item.failure is not None]
    if failed:
        (first, *_) = failed
        assert first.failure is not None
        message = f"{len(failed)} of {count_text(len(done), 'thing')} could not be renewed: {first.failure}"
        raise type(first.failure)(message, hint=first.failure.hint)


@click.command()
@click.argument("folder", metavar="DIR")
@click.argument("path", default="", metavar="[DRIVE-PATH]")
@common_options
def sync(folder: str, path: str) -> None:
    """Make the folder DIR and what the drive has at DRIVE-PATH equal; without DRIVE-PATH, at DIR's own name.

    What changed here goes up, what changed on another machine comes down. What both changed is kept twice: yours in its
    place, the drive's beside it. What one side deleted and the other left alone is deleted.

    \b
    Examples:
      archipel drive sync ~/Documents
      archipel drive sync ~/Bilder Photos
    """
    if not folder:  # an unset variable: not to be taken for the current folder
        raise ConfigError("a path is empty")
    place = Path(os.path.realpath(folder))
    there = drive_path(path) if path.strip("/") else drive_path(place.name)
    if not there:
        raise ConfigError(
            f"{str(place)!r} has no name", hint="say where in the drive: archipel drive sync DIR DRIVE-PATH"
        )
    with refusals_told() as refusals, open_owner() as owner, progress_shown("syncing") as progress:

        async def work(service: DriveService) -> tuple[Synced, Published | None]:
            service.client.refusals = refusals
            done = await sync_with_drive(service, owner.home, place, there, progress)
            if service.begun:
                note(BEGUN)
            return done

        synced, published = run_async(partial(owner.online, work))
    for ours, beside in synced.kept.items():
        note(f"both changed {path_text(ours)}: the drive's is kept as {path_text(beside)}")
    for text in synced.skipped:
        note(f"note: {text}")
    show(
        _synced_text(synced, published),
        {
            "path": os.fsdecode(there),
            "link": str(synced.link),
            "published": synced.published,
            "sent_bytes": 0 if published is None else published.sent_bytes,
            "up": _texts(synced.up),
            "removed_there": _texts(synced.removed_there),
            "down": _texts(synced.down),
            "removed_here": _texts(synced.removed_here),
            "kept": {os.fsdecode(ours): os.fsdecode(beside) for ours, beside in synced.kept.items()},
            "skipped": list(synced.skipped),
            "refusals": refusal_fields(refusals),
        },
    )


def _texts(paths: Sequence[bytes]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


def _synced_text(synced: Synced, published: Published | None) -> str:
    """``3 up (1.2 MB sent), 1 removed there; 2 down``."""
    sent = "" if published is None else f" ({size_text(published.sent_bytes)} sent)"
    parts = [f"{len(synced.up)} up{sent}"] if synced.up or published is not None else []
    parts += [f"{len(synced.removed_there)} removed there"] if synced.removed_there else []
    parts += [f"{len(synced.down)} down"] if synced.down else []
    parts += [f"{len(synced.removed_here)} removed here"] if synced.removed_here else []
    return ", ".join(parts) or "nothing to do: both are equal"
