"""Sharing, as people order it: something in the drive, or what a link opens, whole or in part."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from node.client import Client
from node.drive.known import Known, read_known
from node.drive.service import DriveService
from node.drive.sharing import record_share, shared_link
from node.drive.stored import Recorded
from node.drive.tree import Tree
from node.errors import ConfigError
from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.home import Depositor
from node.journal import Journal
from node.names.reading import Shown, resolve
from node.names.seen import Seen
from node.progress import Progress
from node.publishing.publish import Options, Published
from node.sharing.part import find_part
from node.sharing.share import inherited_policy, share_part
from protocol.accountkey import parse_account_key
from protocol.drive import EntryKind
from protocol.errors import AccountKeyError
from protocol.identity import SEED_BYTES
from protocol.ids import PublicKey
from protocol.links import AnyLink, Link, NameLink, seal_link
from protocol.names import NameReader

LEASE_SECONDS = 180 * 86_400
"""For how long a part is kept, if nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
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

    def printed(self, link: Link | NameLink, random_bytes: Callable[[int], bytes]) -> AnyLink:
        """What is given away of ``link``."""
        if self.verify and isinstance(link, Link):
            link = link.verify_link()
        return link if self.to is None else seal_link(link, self.to, random_bytes(SEED_BYTES))

    @property
    def is_at_hand(self) -> bool:
        """Whether no network is needed for it: a link that is passed on as it is, or as what follows from it."""
        return self.link is not None and not self.path and not (self.verify and isinstance(self.link, NameLink))

    def check_whole(self) -> None:
        """Raises ConfigError: something is said that is for a part only, and this is none."""
        if self.lease_seconds is not None:
            raise ConfigError(
                "--lease is for a part, which gets leases of its own", hint="archipel renew LINK --lease D"
            )


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of an order."""

    link: Link | NameLink
    """What is shared."""
    published: Published | None = None
    """None: it is all that a link opens, and no new deposit."""
    recorded: Recorded | None = None
    """Whether the drive says it; None: it need not, or there is none."""


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears what was met on the way."""

    known: Callable[[Known], None] = lambda _: None
    """The drive as far as it could be read."""
    version: Callable[[Shown], None] = lambda _: None
    """Which version of a name it was."""


def recipient(text: str) -> PublicKey:
    """The account for which something is sealed. Raises ConfigError."""
    try:
        return parse_account_key(text)
    except AccountKeyError as exc:
        raise ConfigError(str(exc), hint="whoever is to get the link sees it with `archipel account show`") from exc


async def carry_out(
    order: Order,
    client: Client,
    journal: Journal,
    depositor: Depositor,
    seen: Seen,
    service: DriveService | None,
    progress: Progress,
    told: Told,
) -> Shared:
    """Share what is ordered.

    Args:
        order: What.
        client: On the network of the link.
        journal: Of the home.
        depositor: Whose a part will be.
        seen: What the home has seen of names.
        service: The drive; None: there is no account, and the order has a link.
        progress: Counts bytes of a part.
        told: Hears what was met.

    Raises:
        NodeError: Nothing was shared.
    """
    link, path, entry = order.link, order.path, None

    async def follow(found: Link | NameLink) -> Link:
        if isinstance(found, Link):
            return found
        shown = await resolve(client, NameReader(found.name, found.read_key), seen)
        told.version(shown)
        return shown.link

    if link is None:
        assert service is not None
        known = await read_known(service)
        told.known(known)
        entry, path = Tree(known.drive).split(order.path)
        link = shared_link(entry)
    if not path:
        order.check_whole()
        return Shared(await follow(link) if order.verify else link)
    whole = await follow(link)
    if entry is not None:
        path = find_part(await read_contents(Downloader(client, Progress()), whole), path)
    if entry is not None and entry.kind is EntryKind.DEPOSIT:
        policy = entry.content.policy
    else:
        policy = await inherited_policy(client, depositor, journal, whole)
    seconds = order.lease_seconds if order.lease_seconds is not None else LEASE_SECONDS
    options = Options(lease_seconds=seconds, policy=policy)
    shared = await share_part(client, depositor, journal, whole, path, options, progress)
    shared = replace(shared, link=replace(shared.link, hints=link.hints))
    recorded = None if service is None else await record_share(service, shared, order.path.strip(b"/"))
    return Shared(shared.link, shared, recorded)


def from_copy(order: Order, known: Known) -> Shared | None:
    """What can be shared of the drive without a network: the own link of what stood in it when it was last seen.

    Returns:
        None: for this the network is needed.

    Raises:
        NotFoundError, RefusedError: There is no such thing in the drive.
        ConfigError: As :meth:`Order.check_whole`.
    """
    if known.is_new:
        return None
    entry, rest = Tree(known.drive).split(order.path)
    if rest or (order.verify and isinstance(entry.link, NameLink)):
        return None
    order.check_whole()
    return Shared(shared_link(entry))
