"""`archipel share`: a part of a deposit, or all of it, for others; for one account alone, or to be checked only."""

import os
import secrets
from contextlib import closing
from functools import partial

import click

from node.cli.drivelist import tell_known
from node.cli.links import is_link, read_unsealed, seen_names, version_notes
from node.cli.options import common_options, parsed, parsed_if_given, settings
from node.cli.output import note, progress_shown, show
from node.cli.own import account_if_any, own_account, own_home
from node.cli.publish import show_published
from node.cli.recorded import recorded_fields, tell_recorded
from node.cli.refusals import refusals_told
from node.cli.running import run_async
from node.client import Client, open_client
from node.config import parse_duration
from node.drive.known import Known
from node.drive.service import open_cache, open_drive
from node.drive.shareorder import LEASE_SECONDS, Order, Shared, Told, carry_out, from_copy, recipient
from node.drive.tree import drive_path
from node.errors import ConfigError, NetworkError, NodeError, NotFoundError, told
from node.journal import Journal
from node.names.reading import Shown
from node.progress import Progress
from node.refusals import Refusals
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key
from protocol.identity import Network
from protocol.links import Link, NameLink

_LEASE = f"{LEASE_SECONDS // 86_400}d"


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
    key = parsed("--to", recipient, to) if to is not None else None
    seconds = parsed_if_given("--lease", parse_duration, lease)
    link, wanted = _what(what, path)
    order = Order(link=link, path=wanted, to=key, verify=verify, lease_seconds=seconds)
    if link is not None and not wanted:
        if key is None and not verify:
            raise ConfigError("LINK itself opens all of it", hint="name a PATH in it, or say --to or --verify")
        order.check_whole()
    with refusals_told() as refusals:
        shared = Shared(link) if link is not None and order.is_at_hand else _carry_out(order, refusals)
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


def _carry_out(order: Order, refusals: Refusals) -> Shared:
    """What needs the network."""
    config, home = settings().config(), own_home()
    try:
        account = own_account() if order.link is None else account_if_any()
    except NotFoundError as exc:
        raise NotFoundError(
            "this home has no account, and so no drive to share from",
            hint="archipel share LINK PATH shares a part of what any link opens; archipel account new makes an account",
        ) from exc

    async def work(journal: Journal, progress: Progress) -> Shared:
        async with open_client(config, hints=() if order.link is None else order.link.hints) as client:
            client.refusals = refusals
            service = None if account is None else open_drive(client, home, account, journal)
            depositor = home.depositor() if service is None else service.depositor
            heard = Told(tell_known, lambda shown: _tell_version(shown, client))
            return await carry_out(order, client, journal, depositor, seen_names(client), service, progress, heard)

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


def _tell_version(shown: Shown, client: Client) -> None:
    for text in version_notes(shown, client.world.clock.wall(), newest=True):
        note(text)


def _offline(order: Order, account: AccountKeys, why: NodeError) -> Shared | None:
    if not isinstance(why, NetworkError):
        return None
    cache = open_cache(own_home(), account, Network(settings().config().network).id, secrets.token_bytes)
    known = Known(cache.load(), why)
    found = from_copy(order, known)
    if found is not None:
        tell_known(known)
    return found


def _show(shared: Shared, order: Order, refusals: Refusals) -> None:
    """Print the link, and on standard error what was done for it."""
    printed = order.printed(shared.link, secrets.token_bytes)
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
