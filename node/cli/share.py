"""`archipel share`: a part of a deposit, or all of it, for others; for one account alone, or to be checked only."""

import os
import secrets
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import click

from node.cli.drivelist import tell_known
from node.cli.links import follow, is_link, read_unsealed
from node.cli.options import common_options, parsed, parsed_if_given, settings
from node.cli.output import progress_shown, show
from node.cli.own import account_if_any, own_account, own_home
from node.cli.publish import show_published
from node.cli.recorded import recorded_fields, tell_recorded
from node.cli.refusals import refusals_told
from node.cli.running import run_async
from node.client import Client, open_client
from node.config import parse_duration
from node.drive.known import Known, read_known
from node.drive.service import DriveService, open_cache, open_drive
from node.drive.sharing import record_share, shared_link
from node.drive.stored import Recorded
from node.drive.tree import Tree, drive_path
from node.errors import ConfigError, NetworkError, NodeError, NotFoundError, told
from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.home import Depositor
from node.journal import Journal
from node.progress import Progress
from node.publishing.publish import Options, Published
from node.refusals import Refusals
from node.sharing.part import find_part
from node.sharing.share import inherited_policy, share_part
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key, parse_account_key
from protocol.drive import EntryKind
from protocol.errors import AccountKeyError
from protocol.identity import SEED_BYTES, Network
from protocol.ids import PublicKey
from protocol.links import AnyLink, Link, NameLink, seal_link

_LEASE = "180d"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be shared, and how."""

    link: Link | NameLink | None
    """What it is, or is part of; None: the drive."""
    path: bytes
    """In what the link opens, or in the drive; empty: all that the link opens."""
    to: PublicKey | None
    """For this account alone."""
    verify: bool
    """To be checked, not read."""
    lease_seconds: int | None
    """None: the default."""

    def printed(self, link: Link | NameLink) -> AnyLink:
        """What is given away of ``link``."""
        if self.verify and isinstance(link, Link):
            link = link.verify_link()
        return link if self.to is None else seal_link(link, self.to, secrets.token_bytes(SEED_BYTES))

    @property
    def is_at_hand(self) -> bool:
        """Whether no network is needed for it: a link that is passed on as it is, or as what follows from it."""
        return self.link is not None and not self.path and not (self.verify and isinstance(self.link, NameLink))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What came of an order."""

    link: Link | NameLink
    """What is shared."""
    published: Published | None = None
    """None: it is all that a link opens, and no new deposit."""
    recorded: Recorded | None = None
    """Whether the drive says it; None: it need not, or there is none."""


@click.command()
@click.argument("what", metavar="LINK|DRIVE-PATH")
@click.argument("path", required=False)
@click.option("--to", metavar="ACCOUNT-KEY", help="Seal the link for this account: it is useless to anybody else.")
@click.option("--verify", is_flag=True, help="Print a verify link: whoever has it can check, and reads nothing.")
@click.option("--lease", metavar="D", help=f"How long holders keep a part: 30d, 12h.  [default: {_LEASE}]")
@common_options
def share(what: str, path: str | None, to: str | None, verify: bool, lease: str | None) -> None:
    """Print a link that opens one thing of yours and nothing else, for anybody or for one account.

    DRIVE-PATH leads to something in your drive, whose own link is printed; or on to a file or folder in it, which gets
    a link of its own. LINK PATH is the same for what any link opens, with PATH as `archipel ls LINK` shows it. A LINK
    alone is passed on, sealed (--to) or as a verify link (--verify).

    What is -, or begins with archipel:, http://, https:// or @, is a link, and so is the bare word of one. A path in
    the drive that begins like that is written with a slash before it.

    A part becomes a deposit of yours, with leases of its own: it outlives the whole, and `archipel renew` and `archipel
    delete` take its link. Large files are not moved for it, only small ones that lie among others.

    \b
    Examples:
      archipel share Photos/2024
      archipel share Photos --to archipel-key:...
      archipel share archipel:... Photos/2024 --lease 30d
      archipel share @link.txt --verify
    """
    key = parsed("--to", _account_key, to) if to is not None else None
    seconds = parsed_if_given("--lease", parse_duration, lease)
    link, wanted = _what(what, path)
    order = _Order(link=link, path=wanted, to=key, verify=verify, lease_seconds=seconds)
    if link is not None and not wanted:
        if key is None and not verify:
            raise ConfigError("LINK itself opens all of it", hint="name a PATH in it, or say --to or --verify")
        _check_whole(order)
    with refusals_told() as refusals:
        shared = _Shared(link) if link is not None and order.is_at_hand else _carry_out(order, refusals)
    _show(shared, order, refusals)


def _what(what: str, path: str | None) -> tuple[Link | NameLink | None, bytes]:
    """The link and the path in it that the arguments stand for; no link: the path is one in the drive."""
    if path is not None:
        if not path.strip("/"):  # an unset variable: not to be taken for all of it
            raise ConfigError("a path is empty", hint="archipel ls LINK lists the paths; LINK itself opens all of them")
        return read_unsealed(what), os.fsencode(path)
    if is_link(what):
        return read_unsealed(what), b""
    wanted = drive_path(what)
    if not wanted:
        raise ConfigError("a path is empty", hint="archipel drive lists what there is to share")
    return None, wanted


def _account_key(text: str) -> PublicKey:
    try:
        return parse_account_key(text)
    except AccountKeyError as exc:
        raise ConfigError(str(exc), hint="whoever is to get the link sees it with `archipel account show`") from exc


def _check_whole(order: _Order) -> None:
    if order.lease_seconds is not None:
        raise ConfigError("--lease is for a part, which gets leases of its own", hint="archipel renew LINK --lease D")


def _carry_out(order: _Order, refusals: Refusals) -> _Shared:
    """What needs the network."""
    config, home = settings().config(), own_home()
    try:
        account = own_account() if order.link is None else account_if_any()
    except NotFoundError as exc:
        raise NotFoundError(
            "this home has no account, and so no drive to share from",
            hint="archipel share LINK PATH shares a part of what any link opens; archipel account new makes an account",
        ) from exc

    async def work(journal: Journal, progress: Progress) -> _Shared:
        async with open_client(config, hints=() if order.link is None else order.link.hints) as client:
            client.refusals = refusals
            service = None if account is None else open_drive(client, home, account, journal)
            depositor = home.depositor() if service is None else service.depositor
            return await _share(client, order, journal, depositor, service, progress)

    home.create()
    journal_open = closing(Journal(home.journal, Network(config.network).id))
    try:
        with journal_open as journal, progress_shown("sharing") as progress:
            return run_async(partial(work, journal, progress))
    except (NodeError, ExceptionGroup) as exc:
        why = told(exc)
        found = None if order.link is not None or account is None else _offline(order, account, why)
        if found is None:
            raise
        return found


def _offline(order: _Order, account: AccountKeys, why: NodeError) -> _Shared | None:
    """What can be done without a network: the own link of what stood in the drive when it was last seen."""
    if not isinstance(why, NetworkError):
        return None
    cache = open_cache(own_home(), account, Network(settings().config().network).id, secrets.token_bytes)
    known = Known(cache.load(), why)
    if known.is_new:
        return None
    entry, rest = Tree(known.drive).split(order.path)
    if rest or (order.verify and isinstance(entry.link, NameLink)):
        return None
    _check_whole(order)
    tell_known(known)
    return _Shared(shared_link(entry))


async def _share(
    client: Client,
    order: _Order,
    journal: Journal,
    depositor: Depositor,
    service: DriveService | None,
    progress: Progress,
) -> _Shared:
    link, path, entry = order.link, order.path, None
    if link is None:
        assert service is not None
        known = await read_known(service)
        tell_known(known)
        entry, path = Tree(known.drive).split(order.path)
        link = shared_link(entry)
    if not path:
        _check_whole(order)
        return _Shared((await follow(client, link)).link if order.verify else link)
    whole = (await follow(client, link)).link
    if entry is not None:
        path = find_part(await read_contents(Downloader(client, Progress()), whole), path)
    own = entry is not None and entry.kind is EntryKind.DEPOSIT
    if entry is not None and own:
        policy = entry.content.policy
    else:
        policy = await inherited_policy(client, depositor, journal, whole)
    seconds = order.lease_seconds if order.lease_seconds is not None else parse_duration(_LEASE)
    options = Options(lease_seconds=seconds, policy=policy)
    shared = await share_part(client, depositor, journal, whole, path, options, progress)
    shared = replace(shared, link=replace(shared.link, hints=link.hints))
    recorded = None if service is None else await record_share(service, shared, order.path.strip(b"/"))
    return _Shared(shared.link, shared, recorded)


def _show(shared: _Shared, order: _Order, refusals: Refusals) -> None:
    """Print the link, and on standard error what was done for it."""
    printed = order.printed(shared.link)
    checks = shared.link.verify_link() if isinstance(shared.link, Link) and order.to is None else None
    fields: dict[str, object] = {
        "link": str(printed),
        "verify_link": None if checks is None else str(checks),
        "sealed_to": None if order.to is None else format_account_key(order.to),
        "whole": shared.published is None,
    }
    if shared.published is None:
        show(str(printed), fields)
        return
    tell_recorded(shared.recorded)
    fields["drive"] = recorded_fields(shared.recorded)
    show_published("shared", shared.published, refusals, more=fields, link=printed)
