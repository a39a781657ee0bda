"""A node with the account's keys at hand keeps the drive and all that is in it, while nobody else does anything.

A day is a minute here: leases, records and intervals are shorter by the same factor, so that 200 of them are few enough
events. Nothing heals by itself: what comes back, the account has brought back.
"""

import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.account.held import Held
from node.account.vault import Vault
from node.drive import caretaker, service
from node.drive.caretaker import Caretaker
from node.drive.service import DriveService, open_drive
from node.drive.tree import put
from node.drive.versions import ends
from node.errors import NetworkError, NotFoundError
from node.home import Depositor, Home
from node.keeping.tender import LOCKED_SECONDS
from node.names.reading import read_version, resolve
from node.names.writing import publish_version
from node.publishing.publish import Options
from protocol.account import AccountKeys
from protocol.drive import Content, Drive, DriveEntry, EntryKind, deposit_entry, name_entry
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, NameLink, link_payload
from protocol.names import NameKeys
from tests.network.archipelago import STILL, Archipelago, User, archipelago
from tests.network.healing import remove
from tests.network.swarm import wall_clock
from tests.network.tending import MIB
from tests.vectors.make_account import CHEAP

ACCOUNT = AccountKeys(b"a" * 32)
DAY = 60
INTERVAL = 10 * DAY
BLOG = NameKeys(ACCOUNT.name_secret("blog"))


@dataclass
class Keys:
    """Who keeps the account unlocked."""

    locked: bool = False
    error: Exception | None = None
    looks: int = 0
    made: list[Caretaker] = field(default_factory=list)

    def ask(self, home: Home) -> Held | None:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return None if self.locked else Held(ACCOUNT, 2**40, "agent")

    @property
    def told(self) -> dict[str, int]:
        told = self.made[-1].told()
        assert told is not None
        return told


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Short days; and who keeps the account."""
    keys = Keys()

    def make(home: Home | None, *rest: object) -> Caretaker:
        made = Caretaker(home, *rest)  # type: ignore[arg-type]  # as they are
        if home is not None:
            keys.made.append(made)
        return made

    monkeypatch.setattr("node.app.Caretaker", make)
    monkeypatch.setattr("node.account.unlocked.ask_agent", keys.ask)
    monkeypatch.setattr("node.account.unlocked.find_backend", lambda: None)
    monkeypatch.setattr(caretaker, "LEASE_SECONDS", 180 * DAY)
    monkeypatch.setattr(caretaker, "MAX_LIFE_SECONDS", 400 * DAY)
    monkeypatch.setattr(caretaker, "NAME_FRESH_SECONDS", 200 * DAY)
    monkeypatch.setattr(service, "LEASE_SECONDS", 180 * DAY)
    monkeypatch.setattr(service, "FRESH_SECONDS", 90 * DAY)
    monkeypatch.setattr(service, "MAX_LIFE_SECONDS", 400 * DAY)
    return keys


@dataclass
class Owner:
    """A machine of the account."""

    islands: Archipelago
    user: User
    drive: DriveService

    async def publish(self, name: str, days: float, label: str = "", size: int = MIB) -> Link:
        """A deposit, which is in the drive."""
        path = self.islands.file(name, size)
        published = await self.user.publish(path, options=Options(lease_seconds=int(days * DAY)))
        (row,) = self.user.journal.deposits(published.link.root)
        content = Content(link=link_payload(published.link), size=row.size, expiry=row.expiry, label=label)
        await self.put(lambda now: deposit_entry(EntryKind.DEPOSIT, row.deposit, name.encode(), content, now))
        return published.link

    async def name(self, link: Link, days: float) -> None:
        """Publish under the name ``blog``, which is in the drive."""
        until = int(wall_clock() + days * DAY)
        written = await publish_version(self.user.client, BLOG, self.drive.seen, link, until)
        content = Content(expiry=written.expiry)
        await self.put(lambda now: name_entry(blog_link(), "blog", b"blog", content, now))

    async def put(self, make) -> None:  # type: ignore[no-untyped-def]  # from a time to an entry
        await self.drive.change(lambda drive, now: put(drive, make(now), now))


def blog_link() -> NameLink:
    return NameLink(BLOG.identity.key, BLOG.read_key)


@asynccontextmanager
async def owner(islands: Archipelago, name: str) -> AsyncIterator[Owner]:
    async with islands.user(name) as user:
        user.depositor = Depositor(ACCOUNT.identity, ACCOUNT.convergence_secret, account=True)
        yield Owner(islands, user, open_drive(user.client, Home(islands.base / f"home-{name}"), ACCOUNT, user.journal))


def node_home(islands: Archipelago) -> Home:
    home = Home(islands.base / "home-node")
    home.create()
    Vault.of(home).create(ACCOUNT, "correct horse battery", CHEAP)
    return home


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = ("node.drive.caretaker", "node.drive.service", "node.keeping.tender")
    found = [record.getMessage() for record in caplog.records if record.name in names]
    caplog.clear()
    return found


def by_path(drive: Drive) -> dict[bytes, DriveEntry]:
    return {entry.path: entry for entry in drive.entries if entry.live and entry.kind is not EntryKind.DRIVE}


async def test_two_hundred_days(
    autojump_clock: MockClock, base: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """Its owner's machine is gone for good; one holder after another dies, more than any segment could bear."""
    caplog.set_level(logging.INFO)
    async with archipelago(base, 16, intervals=replace(STILL, tend=2 * INTERVAL)) as islands:
        async with owner(islands, "alice") as alice:
            film = await alice.publish("film", 50)
            first = await alice.publish("first post", 100, "blog", 5000)
            await alice.name(first, 100)
            second = await alice.publish("second post", 100, "blog", 5000)
            await alice.name(second, 100)
        shutil.rmtree(base / "home-alice")
        keeper = await islands.start(home=node_home(islands))
        for _ in range(10):
            await trio.sleep(2 * INTERVAL)
            holders = [node for node in islands.nodes if node.chunks() and node is not keeper]
            remove(islands, *holders[:2])
            await islands.grow(2)
        told = keys.told
        assert told["rounds"] >= 9
        assert (told["deposits"], told["names"], told["weak"], told["lost_segments"]) == (4, 1, 0, 0)
        assert told["restored_chunks"] > 17
        assert told["renewed_segments"] >= 4
        assert told["renewed_names"] >= 2
        assert (told["failed"], told["failed_names"], told["failed_drive"], told["failed_rounds"]) == (0, 0, 0, 0)
        assert 0 < told["last_round"] <= wall_clock() < told["next_round"]
        await trio.sleep(8 * INTERVAL)  # what is missing for the first time may come back
        async with owner(islands, "restored") as again:
            drive = (await again.drive.read()).drive
            assert ends(drive) > wall_clock() + 60 * DAY
            found = by_path(drive)
            assert set(found) == {b"film", b"first post", b"second post", b"blog"}
            for link, path in ((film, b"film"), (first, b"first post"), (second, b"second post")):
                assert (await again.user.check(link)).healthy
                assert found[path].content.expiry > wall_clock() + 35 * DAY, "the drive says so"
            client, seen = again.user.client, again.drive.seen
            newest = await resolve(client, BLOG.reader, seen)
            assert (newest.number, newest.link.root) == (2, second.root)
            assert newest.expiry > wall_clock() + 150 * DAY
            assert found[b"blog"].content.expiry == newest.expiry
            before = await read_version(client, BLOG.reader, seen, 1)
            assert before.link.root == first.root
        said = "\n".join(lines(caplog))
        assert "all deposits had their turn in " in said
        assert "the record of version 1 is renewed" in said
        assert "blog" not in said, "labels are private"


async def test_locked_and_unlocked(
    autojump_clock: MockClock, base: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys.locked = True
    async with archipelago(base, 14, intervals=replace(STILL, tend=INTERVAL)) as islands:
        async with owner(islands, "alice") as alice:
            await alice.publish("film", 30)
        home = Home(base / "home-node")
        await islands.start(home=home)
        await trio.sleep(2 * INTERVAL)
        assert (keys.made[0].told(), keys.looks, lines(caplog)) == (None, 0, []), "it has no account"
        node_home(islands)
        await trio.sleep(2 * INTERVAL)
        assert lines(caplog) == [
            "this home has an account: what is in its drive is kept while it is unlocked",
            "deposits are not tended until their account is unlocked (locked)",
        ]
        assert keys.looks > 10
        assert (keys.told["locked"], keys.told["rounds"], keys.told["next_round"]) == (True, 0, 0)
        keys.locked = False
        await trio.sleep(2 * LOCKED_SECONDS)
        assert (keys.told["locked"], keys.told["rounds"], keys.told["renewed_segments"]) == (False, 1, 2)
        assert lines(caplog)[-1] == "the drive says until when 1 things are kept"


async def test_what_fails_is_told_and_ends_nothing(
    autojump_clock: MockClock, base: Path, keys: Keys, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is away, a name that is gone, a bug; and an account that has published nothing yet."""
    async with archipelago(base, 14, intervals=replace(STILL, tend=INTERVAL)) as islands:
        await islands.start(home=node_home(islands))
        await trio.sleep(2 * INTERVAL)
        told = keys.told
        assert (told["rounds"], told["deposits"], told["failed_drive"]) == (2, 0, 0)
        async with owner(islands, "alice") as alice:
            film = await alice.publish("film", 500)
            await alice.put(lambda now: name_entry(blog_link(), "blog", b"blog", Content(), now))
            gone = Content(link=link_payload(Link(LinkKind.READ, SegmentId(b"g" * 32), b"k" * 32)), expiry=1)
            await alice.put(lambda now: deposit_entry(EntryKind.SHARE, b"g" * 16, b"gone", gone, now))
        await trio.sleep(INTERVAL)
        told = keys.told
        assert (told["deposits"], told["names"], told["failed"], told["failed_names"]) == (3, 1, 1, 0)

        async def away(self: DriveService) -> None:
            raise ExceptionGroup("side by side", [NetworkError("nobody answers")])

        with monkeypatch.context() as patched:
            patched.setattr(DriveService, "keep", away)
            caplog.clear()
            await trio.sleep(INTERVAL)
        assert keys.told["failed_drive"] == 1
        assert "the drive cannot be kept: nobody answers" in lines(caplog)
        assert keys.told["deposits"] == 3, "those of the last copy"
        keys.error = ValueError("a secret")
        await trio.sleep(INTERVAL)
        assert keys.told["failed_rounds"] > 0
        said = lines(caplog)
        assert any(
            line.startswith("a bug has ended this round of the drive's deposits: ValueError in ") for line in said
        )
        assert not any("a secret" in line for line in said)
        keys.error = None
        rounds = keys.told["rounds"]
        await trio.sleep(INTERVAL)
        assert keys.told["rounds"] > rounds
        async with owner(islands, "alice") as alice:
            assert (await alice.user.check(film)).healthy


async def test_a_drive_that_the_network_has_forgotten(
    autojump_clock: MockClock, base: Path, keys: Keys, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record ended while the account was locked: it comes back from the node's last copy, once it is unlocked."""
    monkeypatch.setattr(service, "MAX_LIFE_SECONDS", 20 * DAY)
    async with archipelago(base, 14, intervals=replace(STILL, tend=INTERVAL)) as islands:
        async with owner(islands, "alice") as alice:
            await alice.publish("film", 500)
        await islands.start(home=node_home(islands))
        await trio.sleep(INTERVAL / 2)
        assert keys.told["rounds"] == 1
        keys.locked = True
        await trio.sleep(3 * INTERVAL)
        async with owner(islands, "restored") as again:
            with pytest.raises(NotFoundError):
                await again.drive.read()
            keys.locked = False
            await trio.sleep(INTERVAL)
            assert set(by_path((await again.drive.read()).drive)) == {b"film"}
        assert (keys.told["failed_drive"], keys.told["failed"]) == (0, 0)
        forgotten = "nobody has the newest version of the drive any more: its last copy is published again"
        assert forgotten in lines(caplog)
