"""What a node does for the account of its home, while it is unlocked: the drive is kept, and all that is in it.

Once in an interval the drive is read and renewed, each deposit and share in it tended (node/keeping/tender.py), and the
records of its names renewed; new times of expiry go back into the drive with one change.

Goals: the keys are held while they are used, and not between two rounds; nobody is ever asked for a passphrase; the
node stores and serves as if this were not there: connections of its own, at the rate of repair at most, one deposit
after another, and no failure ends it. Non-goals: what the drive is to hold; what another account has published.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import trio

from dht.service import Dht
from node.account.unlocked import Watch
from node.account.vault import Vault
from node.client import Client, World, client_beside
from node.drive.service import DriveService, open_drive
from node.errors import MachineError, NodeError, NotFoundError, place_of, told
from node.home import Depositor, Home
from node.intervals import Intervals
from node.journal import Journal
from node.keeping.kept import Kept
from node.keeping.tend import Tended
from node.keeping.tender import LOCKED_SECONDS, Tender, TenderTally
from node.names.reading import Shown, history, resolve
from node.names.writing import renew_archived, renew_name
from node.net.throttle import MIN_BYTES_PER_SECOND, limited
from node.traffic import Counts
from protocol.account import AccountKeys
from protocol.drive import Drive, DriveEntry, EntryKind
from protocol.drivecache import CachedDrive
from protocol.identity import Network
from protocol.ids import SegmentId, short
from protocol.links import Link
from protocol.names import MAX_LIFE_SECONDS, NameKeys

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_SECONDS = 180 * 86_400
"""For how long leases are renewed, of whatever deposit: it is kept until it is taken out of the drive."""
NAME_FRESH_SECONDS = MAX_LIFE_SECONDS // 2
"""A record of a name that ends sooner is renewed, for as long as nodes keep one."""
CONNECTIONS = 32
_SHARE = 1 / 20
"""Of our descriptors, for these connections."""


@dataclass(slots=True)
class CaretakerTally(TenderTally):
    """What was done for the account, drive and names included."""

    names: int = 0
    """Gauge: names in the drive."""
    renewed_names: int = 0
    """Records of names that were given a later expiry, those of earlier versions included."""
    failed_names: int = 0
    """Times that a name could not be kept."""
    failed_drive: int = 0
    """Times that the drive could not be read, renewed or written."""
    failed_rounds: int = 0
    """Rounds that a bug has ended."""


@dataclass(slots=True)
class Caretaker:
    """Of one home, in one node. Start :meth:`run` as a task."""

    home: Home | None
    """None: there is nothing to do."""
    network: Network
    world: World
    dht: Dht
    """The node's: it knows everybody."""
    traffic: Counts
    """Where requests are counted."""
    intervals: Intervals
    tally: CaretakerTally = field(default_factory=CaretakerTally)
    _account: bool = False
    """Whether the home has an account, as of the last look."""
    _later: dict[bytes, int] = field(default_factory=dict)
    """Ids of entries of the drive -> expiry that is to be noted there."""
    _drive: bytes = b""
    """Deposit id of the drive itself, which is not noted there."""

    def told(self) -> dict[str, Any] | None:
        """For the node's status; None: the home has no account."""
        if not self._account:
            return None
        return {**asdict(self.tally), "locked": bool(self.tally.locked)}

    async def run(self) -> None:
        """Until cancelled. Neither the account, nor the network, nor a bug ends it."""
        if self.home is None:
            return
        while not await self._has_account(self.home):  # noqa: ASYNC110 - a file does not tell that it was made
            await trio.sleep(LOCKED_SECONDS)
        log.info("this home has an account: what is in its drive is kept while it is unlocked")
        at_work = _AtWork(self, self.home, Watch(self.home), self._client())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_work.client.peers.run)
            while True:
                try:
                    await at_work.run()  # which waits before it begins
                except Exception as exc:  # noqa: BLE001 - whatever it is, the node has others' chunks to look after
                    self.tally.failed_rounds += 1
                    log.error("a bug has ended this round of the drive's deposits: %s", place_of(exc))

    async def _has_account(self, home: Home) -> bool:
        try:
            self._account = await self.world.blocking(_has_account, home)
        except MachineError as exc:
            log.debug("%s", exc)
        return self._account

    def _client(self) -> Client:
        """At the rate of repair at most."""
        rate = max(int(self.intervals.repair_rate), MIN_BYTES_PER_SECOND)
        slow = replace(self.world, transport=limited(self.world.transport, up=rate, down=rate))
        return client_beside(self.dht, self.network, slow, self.traffic, connections=CONNECTIONS, part=_SHARE)


def _has_account(home: Home) -> bool:
    return Vault.of(home).exists


@dataclass(slots=True)
class _AtWork:
    """What the tender of the account's deposits asks."""

    caretaker: Caretaker
    home: Home
    watch: Watch
    client: Client

    @property
    def _tally(self) -> CaretakerTally:
        return self.caretaker.tally

    async def run(self) -> None:
        tender = Tender(
            self.client,
            self._depositor,
            self._deposits,
            self._remember,
            self._write,
            interval=self.caretaker.intervals.tend,
            lease_seconds=LEASE_SECONDS,
            tally=self._tally,
        )
        await tender.run()

    async def _keys(self) -> AccountKeys | None:
        return await self.client.world.blocking(self.watch.keys)

    async def _depositor(self) -> Depositor | None:
        keys = await self._keys()
        return None if keys is None else Depositor(keys.identity, keys.convergence_secret, account=True)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[DriveService | None]:
        """The drive, for a while; None: the account is locked."""
        keys = await self._keys()
        if keys is None:
            yield None
            return
        with closing(Journal(self.home.journal, self.client.network.id)) as journal:
            yield open_drive(self.client, self.home, keys, journal)

    async def _deposits(self) -> Sequence[Kept]:
        """Keep the drive and the names in it; then all deposits that are to be tended, the drive itself first."""
        async with self._opened() as drive:
            if drive is None:
                return []
            cached = await self._kept(drive)
            found = [] if cached.sequence == 0 else await self._itself(drive, cached)
            deposits = [entry for entry in cached.drive.entries if entry.live and entry.kind in _TENDED]
            await self._names(drive, cached.drive)
        for entry in deposits:
            if isinstance(entry.link, Link):
                content = entry.content
                found.append(Kept(entry.link.verify_link(), entry.id, content.policy, content.expiry))
        return found

    async def _kept(self, drive: DriveService) -> CachedDrive:
        """The drive, renewed if need be; if the network does not give it, as this home knows it."""
        cached = await self._tried("the drive cannot be kept", self._keep(drive), "failed_drive")
        if cached is None:
            cached = await self.client.world.blocking(drive.cache.load)
            if cached.sequence:
                log.info("the deposits of the drive's last copy are tended")
        return cached

    async def _keep(self, drive: DriveService) -> CachedDrive:
        try:
            return await drive.keep()
        except NotFoundError:
            cached = await self.client.world.blocking(drive.cache.load)
            if cached.drive.entries:
                raise
            return cached  # nothing has ever been published by this account

    async def _itself(self, drive: DriveService, cached: CachedDrive) -> list[Kept]:
        found = await self._tried("the drive's chunks cannot be counted", drive.kept(cached), "failed_drive")
        self.caretaker._drive = b"" if found is None else found.deposit
        return [] if found is None else [found]

    async def _tried(self, what: str, work: Awaitable[T], failures: str) -> T | None:
        """What ``work`` returns; None: it failed, which is said and counted."""
        try:
            return await work
        except (NodeError, ExceptionGroup) as exc:
            error = told(exc)
        setattr(self._tally, failures, getattr(self._tally, failures) + 1)
        log.warning("%s: %s", what, error)
        return None

    # Names

    async def _names(self, drive: DriveService, contents: Drive) -> None:
        names = [entry for entry in contents.entries if entry.live and entry.kind is EntryKind.NAME]
        self._tally.names = len(names)
        for entry in names:
            wanted = {
                other.link.root
                for other in contents.entries
                if other.live and other.content.label == entry.content.label and isinstance(other.link, Link)
            }
            what = f"name {short(entry.id)} cannot be kept"
            await self._tried(what, self._name(drive, entry, wanted), "failed_names")

    async def _name(self, drive: DriveService, entry: DriveEntry, wanted: set[SegmentId]) -> None:
        """Renew a name's newest version, and earlier ones that lead to what is kept.

        Args:
            drive: Whose names they are.
            entry: The name's.
            wanted: The roots of deposits in the drive that were published under it.
        """
        keys = NameKeys(drive.account.name_secret(entry.content.label))
        try:
            shown = await resolve(self.client, keys.reader, drive.seen)
        except NotFoundError:
            if entry.content.expiry == 0:
                return  # nothing was published under it yet
            raise
        if shown.forks:
            log.warning("name %s has forked: `archipel name log` shows how", short(entry.id))
        expiry = shown.expiry
        if self._ends_soon(shown):
            expiry = (await renew_name(self.client, keys, drive.seen, self._until())).expiry
            self._renewed(entry, shown)
        if expiry > entry.content.expiry:
            self.caretaker._later[entry.id] = expiry
        wanted.discard(shown.link.root)
        await self._earlier(keys, entry, shown, wanted)

    async def _earlier(self, keys: NameKeys, entry: DriveEntry, newest: Shown, wanted: set[SegmentId]) -> None:
        async with aclosing(history(self.client, keys.reader, newest)) as versions:
            async for shown in versions:
                if not wanted:
                    return
                if shown.number == newest.number or shown.value is None or shown.link.root not in wanted:
                    continue
                wanted.discard(shown.link.root)
                if self._ends_soon(shown):
                    await renew_archived(self.client, keys, shown.number, self._until())
                    self._renewed(entry, shown)

    def _ends_soon(self, shown: Shown) -> bool:
        return shown.expiry - self.client.world.clock.wall() < NAME_FRESH_SECONDS

    def _until(self) -> int:
        return int(self.client.world.clock.wall()) + MAX_LIFE_SECONDS

    def _renewed(self, entry: DriveEntry, shown: Shown) -> None:
        self._tally.renewed_names += 1
        log.info("name %s: the record of version %d is renewed", short(entry.id), shown.number)

    # What goes back into the drive

    async def _remember(self, kept: Kept, tended: Tended) -> None:
        if tended.expiry > kept.expiry and kept.deposit != self.caretaker._drive:
            self.caretaker._later[kept.deposit] = tended.expiry

    async def _write(self) -> None:
        """One change for a round. What cannot be written waits for the next one."""
        later = self.caretaker._later
        if not later:
            return
        async with self._opened() as drive:
            if drive is None:
                return
            change = partial(_with_expiries, dict(later))
            if await self._tried("the drive cannot be written", drive.change(change), "failed_drive") is not None:
                log.info("the drive says until when %d things are kept", len(later))
                later.clear()


_TENDED = frozenset((EntryKind.DEPOSIT, EntryKind.SHARE))


def _with_expiries(later: dict[bytes, int], drive: Drive, now_ms: int) -> Drive:
    """The drive with these times of expiry, where they are later than what it says. What was removed stays so."""
    changed = [
        entry.updated(replace(entry.content, expiry=later[entry.id]), now_ms)
        for entry in drive.entries
        if entry.live and entry.content.expiry < later.get(entry.id, 0)
    ]
    return drive.merge(Drive.of(changed))
