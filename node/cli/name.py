"""`archipel name`: lasting links under a key of one's own, and what was published under anybody's."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import click
import trio

from node.cli.drivelist import tell_known
from node.cli.driveowner import open_owner
from node.cli.links import fork_fields, is_link, read_unsealed, seen_names, version_fields
from node.cli.options import common_options, settings
from node.cli.output import show
from node.cli.own import own_account
from node.cli.running import run_async
from node.cli.text import clock_text, date_text, visible
from node.client import open_client
from node.drive.entries import name_link_of
from node.drive.fields import known_fields
from node.drive.known import Known, Owner, read_known
from node.drive.service import DriveService
from node.drive.tree import put
from node.errors import ConfigError, NetworkError, NodeError, RefusedError, told
from node.names.reading import MAX_GAP, Shown, history, resolve
from protocol.account import AccountKeys
from protocol.drive import Content, Drive, DriveEntry, EntryKind, name_entry
from protocol.errors import LocalProtocolError
from protocol.ids import SegmentId, short
from protocol.links import Link, LinkKind, NameLink
from protocol.names import NameKeys, NameReader, NameValue
from protocol.paths import path_problem

_AT_ONCE = 8
"""Names that are looked up at the same time."""
_VERSIONS = 1_000
"""Shown of one name: whoever published more of them is told how many are left out."""


@click.group()
@common_options
def name() -> None:
    """Names: links that last, and lead to whatever you publish under them next.

    \b
    Example:
      archipel name new blog
      archipel name list
      archipel name log blog
    """


@name.command()
@click.argument("label")
@common_options
def new(label: str) -> None:
    """Make a name of your account, listed in its drive under LABEL, and print its link: it is what others follow.

    The name is derived from the account and LABEL, 1 to 64 bytes: it is the same on every machine of yours. Without the
    network the drive learns of it with the next change.

    \b
    Example:
      archipel name new blog
    """
    _check_label(label)
    link = _link_of(own_account(), label)

    def listed(drive: Drive, now_ms: int) -> Drive:
        entry = name_entry(link, label, label.encode(), Content(time=now_ms // 1000), now_ms)
        known = drive.by_id().get(entry.id)
        if known is not None and known.live:
            raise RefusedError(f"you have a name {label!r} already", hint="archipel name list shows its link")
        return put(drive, entry, now_ms)

    with open_owner() as owner:
        known = run_async(lambda: owner.change(listed))
    tell_known(known)
    show(str(link), {"label": label, "link": str(link), **known_fields(known)})


def _check_label(label: str) -> None:
    """Raises ConfigError: nothing can be called so."""
    try:
        problem = path_problem(label.encode())
    except UnicodeEncodeError:
        problem = "it is not UTF-8"
    if problem is not None:
        raise ConfigError(f"{label!r} cannot be a label: {problem}")
    if is_link(label):
        raise ConfigError("a label does not look like a link, nor begin as one does", hint="archipel name new blog")


def _link_of(account: AccountKeys, label: str) -> NameLink:
    """Raises ConfigError: the label is longer than 64 bytes, or none."""
    try:
        reader = NameKeys(account.name_secret(label)).reader
    except LocalProtocolError as exc:
        raise ConfigError(str(exc)) from exc
    return NameLink(reader.key, reader.read_key)


@name.command("list")
@common_options
def list_names() -> None:
    """List the names in your drive: label, newest version, when it was published, until when it is kept, link.

    \b
    Example:
      archipel name list
    """
    with open_owner() as owner:
        known, found = run_async(partial(_look_up, owner))
    tell_known(known)
    names = sorted(_names(known), key=lambda entry: entry.content.label)
    lines = [
        f"{visible(entry.content.label)}: {_newest_text(found.get(entry.id, _UNKNOWN))}\n  {entry.link}"
        for entry in names
    ]
    fields = [_name_fields(entry, found.get(entry.id, _UNKNOWN)) for entry in names]
    show("\n".join(lines) or "there are no names in the drive", {"names": fields, **known_fields(known)})


def _names(known: Known) -> list[DriveEntry]:
    return [entry for entry in known.drive.entries if entry.live and entry.kind is EntryKind.NAME]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the network has of a name."""

    newest: Shown | None
    problem: str = ""
    """Why it is not known which version is the newest."""


_UNKNOWN = _Found(None, "not looked up")


async def _look_up(owner: Owner) -> tuple[Known, dict[bytes, _Found]]:
    """The drive, and what there is of each name in it, by its id; of none, if the network cannot be reached."""

    async def work(service: DriveService) -> tuple[Known, dict[bytes, _Found]]:
        known = await read_known(service)
        found: dict[bytes, _Found] = {}
        async with trio.open_nursery() as nursery:
            limit = trio.CapacityLimiter(_AT_ONCE)
            for entry in _names(known):
                nursery.start_soon(_find, service, entry, limit, found)
        return known, found

    try:
        return await owner.online(work)
    except NetworkError as exc:
        return Known(await owner.world.blocking(owner.cache.load), exc), {}


async def _find(
    service: DriveService, entry: DriveEntry, limit: trio.CapacityLimiter, found: dict[bytes, _Found]
) -> None:
    link = name_link_of(entry)
    async with limit:
        try:
            newest = await resolve(service.client, NameReader(link.name, link.read_key), service.seen)
        except (NodeError, ExceptionGroup) as exc:
            found[entry.id] = _Found(None, str(told(exc)))
        else:
            found[entry.id] = _Found(newest)


def _newest_text(found: _Found) -> str:
    newest = found.newest
    if newest is None or newest.value is None:
        return found.problem
    forked = "; IT HAS FORKED: archipel name log" if newest.forks else ""
    published = clock_text(newest.value.time)
    return f"version {newest.number}, published {published}, kept until {date_text(newest.expiry)}{forked}"


def _name_fields(entry: DriveEntry, found: _Found) -> dict[str, object]:
    newest = None if found.newest is None else version_fields(found.newest)
    return {"label": entry.content.label, "link": str(entry.link), "newest": newest, "problem": found.problem or None}


@name.command()
@click.argument("what", metavar="LABEL|LINK")
@click.option("--links", is_flag=True, help="Print the link of each version: whoever has it reads that version.")
@common_options
def log(what: str, links: bool) -> None:
    """List the versions of a name, the newest first: of yours by LABEL, of anybody's by the LINK of the name.

    Of each its number, when it was published, the id of what it leads to, until when it is kept; and what is wrong:
    versions that nobody has any more, others of the same number, and what nothing newer confirms.

    \b
    Examples:
      archipel name log blog
      archipel name log archipel:... --links
    """
    if is_link(what):
        link = read_unsealed(what)
        if not isinstance(link, NameLink):
            raise ConfigError("this link leads to one deposit, which has no versions", hint="archipel ls LINK lists it")
    else:
        _check_label(what)
        link = _link_of(own_account(), what)
    versions, left = run_async(partial(_read_log, link))
    lines = list(_log_lines(versions, left, links=links))
    fields = [_version_fields(shown, links=links) for shown in versions]
    show("\n".join(lines), {"link": str(link), "versions": fields, "left_out": left})


async def _read_log(link: NameLink) -> tuple[list[Shown], int]:
    """The versions of a name, the newest first, and how many older ones are left out."""
    async with open_client(settings().config(), hints=link.hints) as client:
        reader = NameReader(link.name, link.read_key)
        newest = await resolve(client, reader, seen_names(client))
        versions: list[Shown] = []
        async with aclosing(history(client, reader, newest)) as found:
            async for shown in found:
                versions.append(shown)
                if len(versions) >= _VERSIONS:
                    break
    return versions, versions[-1].number - 1


def _log_lines(versions: Sequence[Shown], left: int, *, links: bool) -> Iterator[str]:
    """What a person is told of all versions; those in a row that nobody has make one line."""
    for gone, group in groupby(versions, lambda shown: shown.value is None and not shown.forks):
        if gone:
            numbers = [shown.number for shown in group]
            them = "it" if len(numbers) == 1 else "them"
            yield f"{_numbers_text(numbers[0], numbers[-1])}: nobody has {them} any more"
        else:
            for shown in group:
                yield from _version_lines(shown, links=links)
    if left and len(versions) >= _VERSIONS:
        yield f"{_numbers_text(left, 1)}: not shown"
    elif left:
        yield f"{_numbers_text(left, 1)}: not looked for, since nobody has the {MAX_GAP} after"


def _numbers_text(first: int, last: int) -> str:
    return f"version {first}" if first == last else f"versions {first} to {last}"


def _version_lines(shown: Shown, *, links: bool) -> Iterator[str]:
    head = f"version {shown.number}:"
    if shown.value is None:
        yield f"{head} nobody has the one that the version after it names"
    else:
        unsure = "; nothing newer confirms it" if not shown.verified else ""
        yield f"{head} {_value_text(shown.value)}, kept until {date_text(shown.expiry)}{unsure}"
        if links:
            yield f"  {_link_to(shown.value)}"
    if shown.replaced:
        yield "  this machine saw another one in its place before, which nobody shows now"
    for fork in shown.forks:
        yield f"  FORK, another version {fork.number}: {_value_text(fork)}"
        if links:
            yield f"  {_link_to(fork)}"


def _value_text(value: NameValue) -> str:
    verify = ", for checking only" if value.kind == LinkKind.VERIFY else ""
    return f"published {clock_text(value.time)}, leads to {short(value.root)}{verify}"


def _link_to(value: NameValue) -> Link:
    return Link(LinkKind(value.kind), SegmentId(value.root), value.key)


def _version_fields(shown: Shown, *, links: bool) -> dict[str, object]:
    value = shown.value
    fields = version_fields(shown) | {"root": None if value is None else value.root.hex()}
    if not links:
        return fields
    forks = [{**fork, "link": str(_link_to(of))} for fork, of in zip(fork_fields(shown), shown.forks, strict=True)]
    return fields | {"link": None if value is None else str(_link_to(value)), "forks": forks}
