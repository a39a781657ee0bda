"""`archipel share`."""

import os
from contextlib import closing
from dataclasses import replace

import click

from node.account.depositor import open_depositor
from node.cli.options import common_options, parsed, settings
from node.cli.output import progress_shown
from node.cli.passphrase import ask_passphrase
from node.cli.publish import show_published
from node.cli.refusals import refusals_told
from node.cli.running import read_link, run_async
from node.client import open_client
from node.config import parse_duration
from node.errors import ConfigError
from node.home import Home
from node.journal import Journal
from node.progress import Progress
from node.publishing.publish import Options, Published
from node.sharing.share import inherited_policy, share_part
from protocol.identity import Network


@click.command()
@click.argument("link")
@click.argument("path")
@click.option("--lease", default="180d", show_default=True, metavar="D", help="How long holders keep it: 30d, 12h.")
@common_options
def share(link: str, path: str, lease: str) -> None:
    """Make a link that opens one file or folder of what LINK leads to, and nothing else; prints it.

    PATH is a path in the deposit, as `archipel ls LINK` shows it. LINK may be - (read from standard input) or @FILE,
    and be anybody's. The part becomes a deposit of yours, with leases of its own: it outlives the whole, and `archipel
    renew` and `archipel delete` take its link. Large files are not moved for it, only small ones that lie among others.

    \b
    Examples:
      archipel share archipel:... Photos/2024
      archipel share @link.txt site/film.mp4 --lease 30d
    """
    opened = read_link(link)
    if not path.strip("/"):  # an unset variable: not to be taken for all of it
        raise ConfigError("a path is empty", hint="archipel ls LINK lists the paths; LINK itself opens all of them")
    lease_seconds = parsed("--lease", parse_duration, lease)
    config = settings().config()
    home = Home(config.home)
    depositor = open_depositor(home, ask_passphrase)
    network = Network(config.network).id

    async def work(journal: Journal, progress: Progress) -> Published:
        options = Options(lease_seconds=lease_seconds, policy=inherited_policy(journal, opened))
        async with open_client(config, hints=opened.hints) as client:
            client.refusals = refusals
            shared = await share_part(client, depositor, journal, opened, os.fsencode(path), options, progress)
            return replace(shared, link=replace(shared.link, hints=opened.hints))

    journal_open = closing(Journal(home.journal, network))
    with refusals_told() as refusals, journal_open as journal, progress_shown("sharing") as progress:
        shared = run_async(lambda: work(journal, progress))
    show_published("shared", shared, refusals)
