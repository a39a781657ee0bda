"""Links as commands are given them, of every kind: read here, opened here, and followed here.

A sealed link is opened with the account of the home. The link of a name leads to a deposit as soon as there is a client
that can ask the network for its versions.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from node.cli.output import note
from node.cli.own import own_account, own_home
from node.cli.text import clock_text, date_text
from node.client import Client
from node.errors import ConfigError, NotFoundError, machine_error
from node.linktext import nobody_to_unseal, read_link_text, unseal
from node.names.reading import Shown, read_version, resolve
from node.names.seen import Seen
from protocol.errors import LinkError
from protocol.ids import short
from protocol.links import MAX_TEXT, SCHEME, AnyLink, Link, NameLink, SealedLink, parse_link
from protocol.names import MAX_NUMBER, NameReader

EXPIRES_SOON_SECONDS = 30 * 86_400
"""Of a name whose record ends sooner, that is said."""
_BEGINNINGS = (SCHEME, "http://", "https://", "@")

version_option = click.option(
    "--version",
    "version",
    type=click.IntRange(1, MAX_NUMBER),
    metavar="N",
    help="Of a name: version N instead of the newest, as `archipel name log` counts them.",
)


def is_link(text: str) -> bool:
    """Whether an argument stands for a link, where it might be a path or a label as well.

    It does if it begins as links do, with ``archipel:``, ``http://``, ``https://`` or ``@``; if it is ``-``; and if it
    is the word of a link. What is meant to be a path can begin with a slash.
    """
    if text == "-" or text.strip().lower().startswith(_BEGINNINGS):
        return True
    try:
        parse_link(text)
    except LinkError:
        return False
    return True


def read_any_link(text: str) -> AnyLink:
    """A link of any kind, as itself, behind a gateway's address, as ``-`` (standard input) or as ``@FILE``.

    Raises:
        ConfigError: It is no link.
        MachineError: The file cannot be read.
    """
    try:
        if text == "-":
            if sys.stdin is None:
                raise ConfigError("standard input is closed")
            text = sys.stdin.read(MAX_TEXT)
        elif text.startswith("@"):
            with Path(text[1:]).open(encoding="utf-8", errors="replace") as handle:
                text = handle.read(MAX_TEXT)
    except OSError as exc:
        raise machine_error("read the link from", exc) from exc
    return read_link_text(text)


def read_unsealed(text: str) -> Link | NameLink:
    """A link given as ``read_any_link`` takes it; a sealed one is opened with the account of the home.

    Raises:
        ConfigError, MachineError: As ``read_any_link``; the account file is damaged.
        RefusedError: It was sealed for another account, or there is none here, or it is locked.
    """
    link = read_any_link(text)
    return _unsealed(link) if isinstance(link, SealedLink) else link


def _unsealed(sealed: SealedLink) -> Link | NameLink:
    try:
        account = own_account()
    except NotFoundError as exc:
        raise nobody_to_unseal() from exc
    return unseal(sealed, account)


def read_link(text: str) -> Link:
    """The link of one deposit, for what is done to that deposit alone; given as ``read_unsealed`` takes it.

    Raises:
        ConfigError: It is no link, or that of a name.
        RefusedError, MachineError: As ``read_unsealed``.
    """
    link = read_unsealed(text)
    if isinstance(link, NameLink):
        raise ConfigError(
            "this link leads to a name: to whatever its owner published last, not to one deposit",
            hint="`archipel name log --links` prints the links of its versions",
        )
    return link


@dataclass(frozen=True, slots=True)
class Led:
    """Where a link leads."""

    link: Link
    shown: Shown | None = None
    """Which version of a name it is; None: the link was that of a deposit."""

    @property
    def fields(self) -> dict[str, object]:
        """What programs are told of the version."""
        return {} if self.shown is None else {"name": version_fields(self.shown)}


def check_version(link: Link | NameLink, version: int | None) -> None:
    """Raises ConfigError: a version of what has none."""
    if version is not None and isinstance(link, Link):
        raise ConfigError("this link leads to one deposit, which has no versions", hint="leave out --version")


async def follow(client: Client, link: Link | NameLink, version: int | None = None) -> Led:
    """The deposit that a link leads to. Of a name, notes say which version it is, and what is wrong with it.

    Args:
        client: On the network of the link.
        link: Of a deposit, or of a name.
        version: Of a name; None: the newest.

    Raises:
        NotFoundError: Nobody has the name, or this version; or only an older one than this home has seen.
        IntegrityFailure: The records of the name do not open with this link.
        NetworkError: No node near the name answers.
        MachineError: What this home has seen of names cannot be read or noted.
    """
    if isinstance(link, Link):
        return Led(link)
    reader = NameReader(link.name, link.read_key)
    seen = seen_names(client)
    shown = await (resolve(client, reader, seen) if version is None else read_version(client, reader, seen, version))
    for text in version_notes(shown, client.world.clock.wall(), newest=version is None):
        note(text)
    return Led(shown.link, shown)


def seen_names(client: Client) -> Seen:
    """What the home of the command has seen of names on the client's network."""
    return Seen(own_home().names, client.network.id)


def version_notes(shown: Shown, now: float, *, newest: bool) -> list[str]:
    """What a person is told of the version of a name that is shown. It has a value.

    Args:
        shown: The version.
        now: Seconds since 1970-01-01 UTC.
        newest: Whether it was asked for as the newest.
    """
    assert shown.value is not None
    lines = [f"version {shown.number} of the name, published {clock_text(shown.value.time)}"]
    if shown.forks:
        others = ", ".join(f"{short(fork.root)} of {clock_text(fork.time)}" for fork in shown.forks)
        lines.append(
            f"note: the name has forked: besides {short(shown.value.root)}, which is shown, there is another version "
            f"{shown.number}: {others}. Two machines published at once, or somebody else has the name's secret"
        )
    if shown.replaced:
        lines.append(
            f"note: in place of this version {shown.number} this machine saw another one before, which nobody shows now"
        )
    if not shown.verified:
        lines.append(f"note: nothing newer confirms version {shown.number}: versions after it are missing, or too many")
    if shown.expiry - now < EXPIRES_SOON_SECONDS:
        what = "the name" if newest else f"version {shown.number}"
        lines.append(f"note: {what} is kept until {date_text(shown.expiry)}, unless its owner renews it")
    return lines


def version_fields(shown: Shown) -> dict[str, object]:
    """The same for programs; without value what is not known is None."""
    value = shown.value
    return {
        "version": shown.number,
        "published": None if value is None else value.time,
        "expires": shown.expiry or None,
        "verified": shown.verified,
        "replaced": shown.replaced,
        "forks": fork_fields(shown),
    }


def fork_fields(shown: Shown) -> list[dict[str, object]]:
    """Other versions of the same number, for programs: when, and the root segment of what each leads to."""
    return [{"published": fork.time, "root": fork.root.hex()} for fork in shown.forks]
