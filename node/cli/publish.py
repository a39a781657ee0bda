"""`archipel publish`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import click

from node.account.depositor import depositor_of, open_account, open_account_if_any
from node.cli.options import common_options, parsed, settings
from node.cli.output import note, progress_shown, show, survival_text
from node.cli.passphrase import ask_passphrase
from node.cli.recorded import stored_fields, tell_stored, unnamed
from node.cli.refusals import refusal_fields, refusals_told
from node.cli.running import StandardInput, run_async
from node.cli.text import count_text, size_text
from node.client import Client, open_client
from node.config import parse_duration
from node.drive.stored import Stored
from node.errors import ConfigError
from node.home import Depositor, Home
from node.journal import Journal
from node.keeping.receiptfile import ReceiptBook, new_file
from node.keeping.survival import survival_fields
from node.progress import Progress
from node.publishing.content import Content, FileContent, StreamContent
from node.publishing.publish import Options, Published
from node.publishing.publish import publish as publish_content
from node.publishing.source import scan
from node.refusals import Refusals
from protocol.account import AccountKeys
from protocol.errors import LocalProtocolError
from protocol.hashing import digest
from protocol.identity import Network
from protocol.ids import Address, NetworkId
from protocol.leases import MAX_AVOIDED, Policy
from protocol.links import AnyLink
from protocol.paths import path_problem
from protocol.receipts import RECEIPTS
from protocol.records import is_country
from protocol.segment import Shares

_HINTS = 3
_NOTHING: Mapping[str, object] = {}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--name", help="What to call standard input (PATH is -).")
@click.option("--shares", default="8/12", show_default=True, metavar="K/N", help="Any K of N chunks rebuild a segment.")
@click.option("--lease", default="180d", show_default=True, metavar="D", help="How long holders keep it: 30d, 12h.")
@click.option(
    "--spread",
    type=click.Choice(["country", "none"]),
    default="country",
    show_default=True,
    help="Fill claimed countries evenly, or do not care.",
)
@click.option("--avoid", default="", metavar="CC,...", help="Claimed countries that must get nothing.")
@click.option("--fresh", is_flag=True, help="A new link even for bytes you published before.")
@click.option("--hints", is_flag=True, help="Put addresses of nodes into the link, for machines that know none.")
@click.option("--receipt", metavar="FILE", help="Write what the holders signed to a new FILE.")
@click.option("--as", "label", metavar="LABEL", help="Let a name of your account lead to it; prints the name's link.")
@common_options
def publish(
    paths: tuple[str, ...],
    name: str | None,
    shares: str,
    lease: str,
    spread: str,
    avoid: str,
    fresh: bool,
    hints: bool,
    receipt: str | None,
    label: str | None,
) -> None:
    """Publish files or folders, or standard input (-), and print the link.

    Run it again after an interruption, or when files have changed: it sends only what the network lacks. In a home
    with an account the deposit is listed in its drive.

    \b
    Examples:
      archipel publish ~/Photos
      archipel publish site/ --as blog
      tar c project | archipel publish - --name project.tar
      archipel publish thesis.pdf --avoid FR,DE --lease 365d
    """
    options = _options(shares, lease, spread, avoid, fresh)
    config = settings().config()
    home = Home(config.home)
    content = _content(paths, name)
    account, depositor = _who(home, named=label is not None)
    network = Network(config.network).id

    async def work(journal: Journal, book: ReceiptBook | None, progress: Progress) -> Stored:
        async with open_client(config) as client:
            client.refusals = refusals
            if account is None:
                stored = Stored(await publish_content(client, depositor, journal, content, options, progress, book))
            else:
                from node.drive.publishing import publish_to_drive  # noqa: PLC0415 - 40 ms that only an account costs
                from node.drive.service import open_drive  # noqa: PLC0415

                service = open_drive(client, home, account, journal)
                stored = await publish_to_drive(service, content, options, progress, book, label)
            return stored.with_hints(_hints(client)) if hints else stored

    with refusals_told() as refusals, _receipts(receipt, network) as book:
        with closing(Journal(home.journal, network)) as journal, progress_shown("publishing") as progress:
            progress.total = content.total_bytes
            stored = run_async(lambda: work(journal, book, progress))
        if book is not None:
            book.file.finish()
    tell_stored(stored)
    if stored.failure is not None:
        raise unnamed(stored)
    _show(stored, receipt, book, refusals)


def _who(home: Home, *, named: bool) -> tuple[AccountKeys | None, Depositor]:
    """Who publishes: the home's account, without which there are no names; else its unnamed identity, as it is told."""
    first = not home.has_depositor
    account = open_account(home, ask_passphrase) if named else open_account_if_any(home, ask_passphrase)
    if account is not None:
        return account, depositor_of(account)
    depositor = home.depositor()
    if first:
        note(
            "note: this home has no account: an unnamed identity, made now, signs for it. It is in this home alone; "
            "one that 24 words restore: archipel account new"
        )
    return None, depositor


@contextmanager
def _receipts(path: str | None, network: NetworkId) -> Iterator[ReceiptBook | None]:
    """Where receipts go: found out before anything is sent."""
    if path is None:
        yield None
        return
    with new_file(Path(path), RECEIPTS, network) as file:
        yield ReceiptBook(file)


def _options(shares: str, lease: str, spread: str, avoid: str, fresh: bool) -> Options:
    countries = tuple(sorted({part.strip().upper() for part in avoid.split(",") if part.strip()}))
    for country in countries:
        if not is_country(country):
            raise ConfigError(f"want countries as two letters each, such as FR,DE, got {country!r}")
    if len(countries) > MAX_AVOIDED:
        raise ConfigError(f"at most {MAX_AVOIDED} countries can be avoided, got {len(countries)}")
    try:
        wanted = Shares.parse(shares)
    except LocalProtocolError as exc:
        raise ConfigError(str(exc)) from exc
    policy = Policy(spread_countries=spread == "country", avoid=countries)
    return Options(shares=wanted, lease_seconds=parsed("--lease", parse_duration, lease), policy=policy, fresh=fresh)


def _content(paths: tuple[str, ...], name: str | None) -> Content:
    if "-" in paths:
        if len(paths) > 1 or not name:
            raise ConfigError(
                "standard input is published alone, and needs a name", hint="archipel publish - --name NAME"
            )
        path = os.fsencode(name)
        problem = "it holds a slash" if b"/" in path else path_problem(path)
        if problem is not None:
            raise ConfigError(f"{name!r} is no name for a file: {problem}")
        return StreamContent(StandardInput(), path, digest("local", b"stream", path))
    if name:
        raise ConfigError("--name goes with standard input only", hint="archipel publish - --name NAME")
    if "" in paths:  # an unset variable: not to be taken for the current folder
        raise ConfigError("a path is empty")
    source = scan([Path(path) for path in paths])
    places = b"\0".join(os.fsencode(os.path.abspath(path)) for path in paths)
    return FileContent(source, digest("local", b"files", places))


def _hints(client: Client) -> tuple[Address, ...]:
    return tuple(contact.address for contact in client.dht.contacts()[:_HINTS])


def _show(stored: Stored, receipt: str | None, book: ReceiptBook | None, refusals: Refusals) -> None:
    more = stored_fields(stored)
    signed = ""
    if book is not None:
        more["receipt"] = {"file": receipt, "receipts": book.receipts, "holders": len(book.holders)}
        signed = f"{count_text(book.receipts, 'receipt')} of {count_text(len(book.holders), 'holder')} in {receipt}"
    show_published("published", stored.published, refusals, signed, more, link=stored.name)


def show_published(
    done: str,
    published: Published,
    refusals: Refusals,
    last_note: str = "",
    more: Mapping[str, object] = _NOTHING,
    *,
    link: AnyLink | None = None,
) -> None:
    """Print a deposit's link, and on standard error what became of it.

    Args:
        done: What was done to it.
        published: The deposit.
        refusals: Of nodes, meanwhile.
        last_note: A last line for people; empty: none.
        more: Fields of the JSON object besides.
        link: To be printed instead: of a name that leads to the deposit, or the deposit's in another form.
    """
    for text in (*published.skipped, *published.notes):
        note(f"note: {text}")
    took = f"{size_text(published.bytes)} in {published.seconds:.1f} s"
    note(
        f"{done} {took}: {published.placed} of {published.chunks} chunks placed "
        f"({count_text(published.segments, 'segment')}), {size_text(published.sent_bytes)} sent"
    )
    note(survival_text(published.survives))
    if last_note:
        note(last_note)
    show(
        str(link or published.link),
        {
            "link": str(published.link),
            "verify_link": str(published.link.verify_link()),
            "bytes": published.bytes,
            "stored_bytes": published.stored_bytes,
            "sent_bytes": published.sent_bytes,
            "segments": published.segments,
            "chunks": published.chunks,
            "placed": published.placed,
            "seconds": round(published.seconds, 3),
            "survives": survival_fields(published.survives),
            "skipped": published.skipped,
            "notes": published.notes,
            "refusals": refusal_fields(refusals),
            **more,
        },
    )
