"""`archipel check`, `renew` and `delete`: what a deposit's life depends on."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial

import click

from node.account.depositor import Known, open_signer
from node.cli.links import Led, check_version, follow, read_link, read_unsealed, version_option
from node.cli.options import common_options, parsed, settings
from node.cli.output import note, progress_shown, show, survival_text
from node.cli.passphrase import ask_passphrase
from node.cli.recorded import recorded_fields, tell_recorded
from node.cli.refusals import refusal_fields, refusals_told
from node.cli.running import run_async
from node.cli.text import count_text, date_text
from node.client import Client, open_client
from node.config import parse_duration
from node.drive.stored import Recorded
from node.errors import NotFoundError
from node.home import Home, Signer
from node.journal import Journal
from node.keeping.change import Changed
from node.keeping.check import check as check_deposit
from node.keeping.counted import Health, SegmentHealth
from node.keeping.lifetime import delete as delete_deposit
from node.keeping.lifetime import renew as renew_deposit
from node.keeping.survival import survival_fields
from node.progress import Progress
from node.refusals import Refusals
from protocol.identity import Network
from protocol.links import Link


@click.command()
@click.argument("link")
@version_option
@common_options
def check(link: str, version: int | None) -> None:
    """Count the live chunks of every segment of LINK, each proved by an audit of a random block.

    A verify link is enough, and reads nothing. Exit code 3: some segment has fewer than k live chunks.

    \b
    Example:
      archipel check archipel:...
    """
    opened = read_unsealed(link)
    check_version(opened, version)

    async def work(progress: Progress) -> tuple[Led, Health]:
        async with open_client(settings().config(), hints=opened.hints) as client:
            led = await follow(client, opened, version)
            return led, await check_deposit(client, led.link, progress)

    with progress_shown("checking") as progress:
        led, health = run_async(partial(work, progress))
    show(
        _health_text(health),
        {
            "segments": [_segment_fields(segment) for segment in health.segments],
            "survives": survival_fields(health.survives),
            "healthy": health.healthy,
            **led.fields,
        },
    )
    if not health.readable:
        weak = sum(not segment.readable for segment in health.segments)
        raise NotFoundError(
            f"{weak} of {len(health.segments)} segments have fewer than k live chunks",
            hint="holders may come back; whoever has the files can publish them again",
        )


def _segment_fields(segment: SegmentHealth) -> dict[str, object]:
    return {
        "id": segment.id.hex(),
        "k": segment.k,
        "n": segment.n,
        "live": segment.live,
        "countries": segment.countries,
        "repairing": segment.noticed,
        "expires": segment.expires or None,
    }


def _health_text(health: Health) -> str:
    alike = Counter((s.live, s.n, s.k, tuple(s.countries.items()), s.noticed) for s in health.segments)
    lines = []
    for (live, n, k, countries, noticed), count in sorted(alike.items()):
        where = ", ".join(f"{country or '??'} {chunks}" for country, chunks in countries)
        there = f"{live} of {n or '?'} chunks live ({k or '?'} needed)"
        lines.append(
            f"{count_text(count, 'segment')}: {there}{': ' + where if where else ''}{_repair_text(live, k, n, noticed)}"
        )
    lines.append(survival_text(health.survives))
    if health.expires:
        lines.append(f"leases run until {date_text(health.expires)}")
    return "\n".join(lines)


def _repair_text(live: int, k: int, n: int, noticed: int) -> str:
    """What comes of missing chunks, as the holders say."""
    if not live:
        return "; nobody answers who has one"
    if live < k:
        return "; too few to rebuild: lost unless holders come back"
    if live >= n:
        return ""
    return f"; {noticed} being repaired" if noticed else "; rebuilt if their holders stay away"


@click.command()
@click.argument("link")
@click.option("--lease", default="180d", show_default=True, metavar="D", help="How long from now: 30d, 12h.")
@common_options
def renew(link: str, lease: str) -> None:
    """Extend the leases of a deposit that this home published. The drive of an account learns of it.

    What another machine of your account has published: archipel drive renew.

    \b
    Example:
      archipel renew archipel:... --lease 365d
    """
    seconds = parsed("--lease", parse_duration, lease)
    with refusals_told() as refusals:
        changed, recorded = _change(read_link(link), "renewing", partial(_renew, seconds), refusals)
    note(f"renewed {_reached(changed)}")
    tell_recorded(recorded)
    show(f"leases run until {date_text(changed.expiry)}", _fields(changed, recorded, refusals))


@click.command()
@click.argument("link")
@common_options
def delete(link: str) -> None:
    """End the leases of a deposit that this home published; other deposits of the same bytes stay whole. It leaves the
    drive of an account, too. What another machine of your account has published: archipel drive rm.

    \b
    Example:
      archipel delete archipel:...
    """
    with refusals_told() as refusals:
        changed, recorded = _change(read_link(link), "deleting", delete_deposit, refusals, deleting=True)
    tell_recorded(recorded)
    show(f"deleted {_reached(changed)}", _fields(changed, recorded, refusals))


async def _renew(
    seconds: int, client: Client, signer: Signer, journal: Journal, link: Link, progress: Progress
) -> Changed:
    return await renew_deposit(client, signer, journal, link, seconds, progress)


_Change = Callable[[Client, Signer, Journal, Link, Progress], Awaitable[Changed]]


def _change(
    link: Link, doing: str, change: _Change, refusals: Refusals, *, deleting: bool = False
) -> tuple[Changed, Recorded | None]:
    """Change the leases of a deposit, then its entry in the drive if the account signed them."""
    config = settings().config()
    home = Home(config.home)
    home.create()

    async def work(signer: Known, progress: Progress) -> tuple[Changed, Recorded | None]:
        async with open_client(config, hints=link.hints) as client:
            client.refusals = refusals
            changed = await change(client, signer, journal, link, progress)
            if signer.account is None:
                return changed, None
            from node.drive.publishing import record_deletion, record_renewal  # noqa: PLC0415 - 40 ms, if it is used
            from node.drive.service import open_drive  # noqa: PLC0415

            service = open_drive(client, home, signer.account, journal)
            record = record_deletion if deleting else record_renewal
            ours = [row.deposit for row in rows if row.depositor == signer.account.identity.key]
            return changed, await record(service, link, ours, changed)

    with closing(Journal(home.journal, Network(config.network).id)) as journal:
        rows = journal.deposits(link.root)
        signer = open_signer(home, [row.depositor for row in rows], ask_passphrase)
        with progress_shown(doing) as progress:
            return run_async(partial(work, signer, progress))


def _reached(changed: Changed) -> str:
    """``17 segments: 196 answers of holders, 8 gave none``."""
    silent = f", {changed.silent} gave none" if changed.silent else ""
    return f"{count_text(changed.segments, 'segment')}: {count_text(changed.holders, 'answer')} of holders{silent}"


def _fields(changed: Changed, recorded: Recorded | None, refusals: Refusals) -> dict[str, object]:
    return {
        "segments": changed.segments,
        "holders": changed.holders,
        "silent": changed.silent,
        "expires": changed.expiry,
        "seconds_left": max(0, changed.expiry - int(time.time())),
        "refusals": refusal_fields(refusals),
        "drive": recorded_fields(recorded),
    }
