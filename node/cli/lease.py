"""`archipel lease`: what the holders of a deposit show about who keeps it, and until when."""

from collections.abc import Iterator
from functools import partial

import click

from node.cli.links import Led, follow, read_unsealed
from node.cli.options import common_options, settings
from node.cli.output import progress_shown, show
from node.cli.running import run_async
from node.cli.text import count_text, date_text, size_text
from node.client import open_client
from node.errors import NotFoundError
from node.keeping.leases import Shown, Spoken, Terms, show_leases
from node.progress import Progress
from protocol.accountkey import format_account_key
from protocol.ids import short

_DISAGREEMENTS = 20
"""Told of: the JSON has more."""


@click.group()
@common_options
def lease() -> None:
    """Leases: who has signed that a deposit be kept, until when, and under which policy.

    \b
    Example:
      archipel lease show archipel:...
    """


@lease.command("show")
@click.argument("link")
@common_options
def show_command(link: str) -> None:
    """Ask the holders of every segment of LINK which leases they know: depositors, expiry, policy.

    Anybody's deposit; a verify link is enough. Exit code 3: of some segment nobody said anything.

    \b
    Example:
      archipel lease show archipel:...
    """
    opened = read_unsealed(link)

    async def work(progress: Progress) -> tuple[Led, Shown]:
        async with open_client(settings().config(), hints=opened.hints) as client:
            led = await follow(client, opened)
            return led, await show_leases(client, led.link, progress)

    with progress_shown("asking") as progress:
        led, shown = run_async(partial(work, progress))
    show(shown_text(shown), {**shown_fields(shown), **led.fields})
    if shown.unanswered:
        raise NotFoundError(
            f"of {len(shown.unanswered)} of {shown.segments} segments nobody said which leases there are",
            hint="holders may come back; archipel check LINK shows what is live",
        )


def shown_text(shown: Shown) -> str:
    """Each depositor's key, and below it a line for what it says alike of many segments."""
    return "\n".join(_lines(shown))


def _lines(shown: Shown) -> Iterator[str]:
    depositor = None
    for terms, spoken in shown.leases:
        if terms.depositor != depositor:
            depositor = terms.depositor
            yield f"depositor {depositor.hex()}"
            yield f"  as an account {format_account_key(depositor)}"
        yield f"  deposit {terms.deposit.hex()}: {_lease_text(terms, spoken)}"
    if shown.more_leases:
        yield f"and {shown.more_leases} more, which fewer holders know"
    silent = f", {shown.silent} gave none" if shown.silent else ""
    yield f"{count_text(shown.segments, 'segment')}: {count_text(shown.answers, 'answer')} of holders{silent}"
    if not shown.disagreements:
        return
    yield "holders disagree:"
    for found in shown.disagreements[:_DISAGREEMENTS]:
        older = f", an older one at {found.older}" if found.older else ""
        without = f", none at {found.without}" if found.without else ""
        yield (
            f"  segment {found.segment.hex()}: of deposit {short(found.deposit)} the newest lease at "
            f"{count_text(found.newest, 'holder')}{older}{without}"
        )
    more = max(0, len(shown.disagreements) - _DISAGREEMENTS) + shown.more_disagreements
    if more:
        yield f"  and {more} more"


def _lease_text(terms: Terms, spoken: Spoken) -> str:
    size = f"{count_text(spoken.segments, 'segment')}, {size_text(spoken.bytes)}"
    until = f"{'DELETED, remembered ' if terms.deleted else ''}until {date_text(terms.expiry)}"
    said = f"{count_text(len(spoken.holders), 'holder')} ({spoken.answers} of {count_text(spoken.asked, 'answer')})"
    return "; ".join([size, until, *([] if terms.deleted else [_policy_text(terms)]), f"so say {said}"])


def _policy_text(terms: Terms) -> str:
    spread = "spread over countries" if terms.policy.spread_countries else "in whatever countries"
    return f"{spread}, but not {' or '.join(terms.policy.avoid)}" if terms.policy.avoid else spread


def shown_fields(shown: Shown) -> dict[str, object]:
    """The same for programs."""
    return {
        "segments": shown.segments,
        "answers": shown.answers,
        "silent": shown.silent,
        "unanswered": [segment.hex() for segment in shown.unanswered],
        "leases": [
            {
                "depositor": terms.depositor.hex(),
                "account_key": format_account_key(terms.depositor),
                "deposit": terms.deposit.hex(),
                "deleted": terms.deleted,
                "expires": terms.expiry,
                "spread": "country" if terms.policy.spread_countries else "none",
                "avoid": terms.policy.avoid,
                "segments": spoken.segments,
                "bytes": spoken.bytes,
                "holders": len(spoken.holders),
                "answers": spoken.answers,
                "asked": spoken.asked,
            }
            for terms, spoken in shown.leases
        ],
        "more_leases": shown.more_leases,
        "disagree": [
            {
                "segment": found.segment.hex(),
                "depositor": found.depositor.hex(),
                "deposit": found.deposit.hex(),
                "newest": found.newest,
                "older": found.older,
                "without": found.without,
            }
            for found in shown.disagreements
        ],
        "more_disagree": shown.more_disagreements,
    }
