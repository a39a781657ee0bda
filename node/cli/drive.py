"""`archipel drive`: what an account has published, its names, and links that others gave it."""

import os
from functools import partial

import click

from node.cli.drivekeep import renew, sync
from node.cli.drivelist import listing_fields, listing_text, path_text, tell_ending, tell_known
from node.cli.driveowner import open_owner
from node.cli.links import read_unsealed
from node.cli.options import common_options, settings
from node.cli.output import note, progress_shown, show
from node.cli.running import run_async
from node.cli.text import count_text
from node.drive.adding import add_link, describe
from node.drive.fields import known_fields
from node.drive.keeping import Removed, remove_at
from node.drive.known import Known
from node.drive.listing import list_drive
from node.drive.service import Change
from node.drive.tree import add_folder, drive_path, move
from node.errors import ConfigError


@click.group(invoke_without_command=True)
@common_options
@click.pass_context
def drive(context: click.Context) -> None:
    """Your drive: the deposits and names of your account, and links you keep, on whatever machine you are.

    Without a command it lists everything.

    \b
    Examples:
      archipel drive
      archipel drive ls Photos --links
      archipel drive add archipel:... --path films/holiday
      archipel drive renew --all
      archipel drive sync ~/Documents
    """
    if context.invoked_subcommand is None:
        _list(b"", links=False, counted=True)


@drive.command("ls")
@click.argument("path", default="")
@click.option("--links", is_flag=True, help="Show links, too: whoever sees one can read what it leads to.")
@click.option("--no-check", is_flag=True, help="Do not count live chunks.")
@common_options
def list_command(path: str, links: bool, no_check: bool) -> None:
    """List what is at PATH or below it: size, live chunks, until when it is kept.

    Chunks are counted as `archipel check` does, half a minute for each thing at most. Without the network the last copy
    is listed, and said to be that. With --json links are always there.

    \b
    Examples:
      archipel drive ls
      archipel drive ls films --links --no-check
    """
    _list(drive_path(path), links=links, counted=not no_check)


def _list(path: bytes, *, links: bool, counted: bool) -> None:
    with open_owner() as owner, progress_shown("checking") as progress:
        listing = run_async(partial(list_drive, owner, path, progress, counted=counted))
    tell_known(listing.known)
    tell_ending(listing.ending)
    if not listing.items and not listing.known.is_new:
        note("nothing is there")
    if listing.items or settings().json:
        show(listing_text(listing, links=links), listing_fields(listing))


@drive.command()
@click.argument("link")
@click.option("--path", metavar="PATH", help="Where to put it; else it is called what it is called itself.")
@common_options
def add(link: str, path: str | None) -> None:
    """Keep somebody else's LINK in the drive: - (standard input), @FILE, or itself. Theirs to renew, yours to find.

    \b
    Examples:
      archipel drive add archipel:...
      archipel drive add @link.txt --path films/holiday
    """
    if path is not None and not path.strip("/"):  # an unset variable
        raise ConfigError("a path is empty")
    wanted = None if path is None else drive_path(path)
    opened = read_unsealed(link)
    with open_owner() as owner:

        async def work() -> tuple[Known, bytes]:
            if wanted is None:
                place, size = await owner.online(lambda service: describe(service, opened))
            else:
                place, size = wanted, 0
            known = await owner.change(lambda drive, now_ms: add_link(drive, opened, place, size, now_ms))
            return known, place

        known, place = run_async(work)
    _changed(known, f"added {path_text(place)}", {"path": os.fsdecode(place)})


@drive.command()
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="A folder with all that is in it.")
@click.option(
    "--forget", is_flag=True, help="Leave the leases of deposits as they are: holders keep them until these end."
)
@common_options
def rm(path: str, recursive: bool, forget: bool) -> None:
    """Remove what is at PATH; the leases of a deposit of yours are ended, so that holders drop it.

    A deposit that some holder could not be told of stays in the drive (exit code 3): run it again later, or --forget.
    Names and other people's links just leave the drive; a name goes on until its record ends.

    \b
    Examples:
      archipel drive rm films/holiday
      archipel drive rm films -r
    """
    place = drive_path(path)
    with open_owner() as owner, progress_shown("removing") as progress:
        removed = run_async(partial(remove_at, owner, place, progress, whole=recursive, forget=forget))
    tell_known(removed.known)
    fields = {
        "removed": [os.fsdecode(entry.path) for entry in removed.gone],
        "left": [{"path": os.fsdecode(entry.path), "why": str(why)} for entry, why in removed.left],
        **known_fields(removed.known),
    }
    show(f"removed {count_text(len(removed.gone), 'thing')}", fields)
    _tell_left(removed)


def _tell_left(removed: Removed) -> None:
    if not removed.left:
        return
    for entry, why in removed.left[1:]:
        note(f"{path_text(entry.path)}: {why}")
    entry, why = removed.left[0]
    hint = "run it again later; --forget removes it from the list, and holders keep it until the leases end"
    raise type(why)(f"{os.fsdecode(entry.path)!r} stays in the drive: {why}", hint=hint)


@drive.command()
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@common_options
def mv(source: str, target: str) -> None:
    """Move or rename A to B; into B, if that is a folder.

    \b
    Example:
      archipel drive mv holiday films/2026
    """
    one, other = drive_path(source), drive_path(target)
    _change(
        lambda drive, now_ms: move(drive, one, other, now_ms), f"moved {path_text(one)}", {"path": os.fsdecode(one)}
    )


@drive.command()
@click.argument("path")
@common_options
def mkdir(path: str) -> None:
    """Make a folder that stays when it is empty. Others come with what is put into them.

    \b
    Example:
      archipel drive mkdir films
    """
    place = drive_path(path)
    _change(
        lambda drive, now_ms: add_folder(drive, place, now_ms),
        f"made {path_text(place)}/",
        {"path": os.fsdecode(place)},
    )


def _change(change: Change, done: str, fields: dict[str, object]) -> None:
    with open_owner() as owner:
        known = run_async(lambda: owner.change(change))
    _changed(known, done, fields)


def _changed(known: Known, done: str, fields: dict[str, object]) -> None:
    tell_known(known)
    show(done, fields | known_fields(known))


drive.add_command(renew)
drive.add_command(sync)
