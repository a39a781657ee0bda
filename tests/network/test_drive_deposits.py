"""What is published, renewed, deleted and synced is in the drive, on whatever machine (node/drive/)."""

from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from node.config import Config
from node.drive import health as health_module
from node.drive.adding import add_link, describe
from node.drive.health import conditions
from node.drive.keeping import end_leases, renew_at
from node.drive.known import Owner, change_known, read_known
from node.drive.listing import list_drive
from node.drive.publishing import publish_to_drive, record_deletion, record_renewal
from node.drive.tree import Tree, add_folder, put
from node.errors import MachineError, NetworkError, NotFoundError, RefusedError
from node.home import Home
from node.names.reading import resolve
from node.names.writing import NameConflictError
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options
from node.publishing.source import scan
from node.syncing.drivepath import sync_with_drive
from node.syncing.workfolder import WORK_NAME
from protocol.drive import Content, EntryKind, name_entry
from protocol.hashing import plain_digest
from protocol.links import NameLink
from protocol.names import NameKeys
from tests.network.archipelago import NETWORK, Archipelago, archipelago, failure
from tests.network.test_drive import ACCOUNT, Machine, machine, shown

DAY = 86_400
BLOG = NameKeys(ACCOUNT.name_secret("blog"))


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


def content(*paths: Path) -> FileContent:
    return FileContent(scan(paths), plain_digest(b"\0".join(bytes(path) for path in paths)))


def home_of(islands: Archipelago, who: str) -> Home:
    return Home(islands.base / f"home-{who}")


async def publish(who: Machine, path: Path, label: str | None = None):  # type: ignore[no-untyped-def]  # Stored
    return await publish_to_drive(who.service, content(path), Options(), Progress(), label=label)


async def new_name(who: Machine) -> NameLink:
    link = NameLink(BLOG.identity.key, BLOG.read_key)
    entry = name_entry(link, "blog", b"blog", Content(), 0)
    await who.service.change(lambda drive, now_ms: put(drive, entry, now_ms))
    return link


def cut_off(islands: Archipelago, who: Machine) -> None:
    apart = who.user.host.ip
    islands.net.partition = lambda source, other: apart in (source, other)
    islands.net.changed()


def connect(islands: Archipelago) -> None:
    islands.net.partition = lambda source, other: False
    islands.net.changed()


async def test_what_is_published_is_listed_everywhere(autojump_clock: MockClock, islands: Archipelago) -> None:
    file = islands.file("photo", 50_000)
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        stored = await publish(one, file)
        assert (stored.recorded.path, stored.recorded.why) == (b"photo", None)
        assert await two.names() == ["photo"]
        (entry,) = Tree(two.cached().drive).shown.values()
        assert (entry.content.size, entry.link) == (50_000, stored.published.link)
        again = await publish(one, file)
        assert again.published.link == stored.published.link
        assert await two.names() == ["photo"], "once, however often it is published"
        row = one.user.journal.deposits(stored.published.link.root)[0]
        assert (row.deposit, row.expiry) == (entry.id, one.cached().drive.by_id()[entry.id].content.expiry)


async def test_a_publish_that_the_drive_cannot_be_told_of_succeeds(
    autojump_clock: MockClock, islands: Archipelago
) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        await one.add("before")
        with patch("node.drive.service.publish_version", side_effect=NetworkError("nobody keeps it")):
            stored = await publish(one, islands.file("photo", 1000))
        assert (stored.recorded.path, str(stored.recorded.why)) == (b"photo", "nobody keeps it")
        assert one.cached().unsent
        assert await two.names() == ["before"]
        assert (await read_known(one.service)).why is None, "sent as soon as it is looked at"
        assert await two.names() == ["before", "photo"]
        one.service.cache._path.write_bytes(b"damaged")
        stored = await publish(one, islands.file("other", 1000))
        assert stored.recorded.path is None
        assert isinstance(stored.recorded.why, MachineError)


async def test_a_name_leads_to_the_newest_version(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        error = await failure(publish(one, islands.file("site", 1000), "blog"))
        assert isinstance(error, NotFoundError)
        assert not islands.holders(), "before anything is sent"
        await new_name(one)
        first = await publish(one, islands.file("site", 1000), "blog")
        second = await publish(one, islands.file("site", 2000), "blog")
        assert (first.written.value.number, second.written.value.number) == (1, 2)
        assert (await resolve(two.user.client, BLOG.reader, two.service.seen)).link == second.published.link
        found = Tree((await two.service.read()).drive).shown
        assert set(found) == {b"blog", b"site"}
        assert found[b"site"].content.label == "blog"
        assert found[b"blog"].content.expiry == second.written.expiry > 0

        with patch("node.drive.publishing.publish_version", side_effect=NameConflictError("at the same time")):
            third = await publish(one, islands.file("site", 3000), "blog")
        assert (third.written, str(third.failure)) == (None, "at the same time")
        found = Tree((await two.service.read()).drive).shown
        assert (found[b"site"].link, found[b"site"].content.label) == (third.published.link, "")


async def test_renewing_and_deleting_by_the_journal_is_told(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        stored = await publish(one, islands.file("photo", 1000))
        link, ids = stored.published.link, list(one.cached().drive.by_id())
        one.user.depositor = one.service.depositor
        changed = await one.user.renew(link, 300 * DAY)
        assert await record_renewal(one.service, link, [b"another"], changed) is None
        recorded = await record_renewal(one.service, link, ids, changed)
        assert recorded is not None
        assert (recorded.path, recorded.why) == (b"photo", None)
        assert Tree(one.cached().drive).shown[b"photo"].content.expiry == changed.expiry
        assert await record_deletion(one.service, link, ids, await one.user.delete(link)) is not None
        assert await one.names() == []


async def test_another_machine_renews_restores_and_ends(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        await new_name(one)
        stored = await publish(one, islands.file("site", 2_000_000), "blog")
        for node in islands.nodes[:2]:
            node.kill()
        await trio.sleep(3600)
        renewal = await renew_at(two.service, [], 200 * DAY, Progress())
        assert [done.failure for done in renewal.done] == [None, None]
        assert sum(done.restored for done in renewal.done) > 0
        found = Tree(renewal.known.drive).shown
        assert all(found[path].content.expiry > stored.written.expiry + 19 * DAY for path in (b"blog", b"site"))
        assert {done.expiry for done in renewal.done} == {found[path].content.expiry for path in (b"blog", b"site")}
        health = await conditions(two.user.client, two.service.seen, list(found.values()), Progress())
        assert health[found[b"site"].id].live > health[found[b"site"].id].chunks * 3 // 4
        assert health[found[b"blog"].id].newest is not None
        with pytest.raises(NotFoundError, match="nothing at 'nowhere'"):
            await renew_at(two.service, [b"nowhere"], DAY, Progress())

    async with machine(islands, "two") as two:
        entry = Tree(two.cached().drive).shown[b"site"]
        error = await failure(end_leases(two.service, entry, Progress()))
        assert isinstance(error, NotFoundError), "two holders are dead"


async def test_health_that_cannot_be_found_out_is_unknown(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await publish(one, islands.file("photo", 100_000))
        await one.add("lost")
        await new_name(one)
        items = list(Tree(one.cached().drive).shown.items())
        ids = {path: entry.id for path, entry in items}
        entries = [entry for _, entry in items]
        found = await conditions(one.user.client, one.service.seen, entries, Progress())
        assert found[ids[b"photo"]].whole
        assert found[ids[b"lost"]].lost
        assert found[ids[b"lost"]].why
        assert found[ids[b"blog"]].why == "nothing was published under it yet"
        with patch.object(health_module, "CHECK_SECONDS", 0.001):
            found = await conditions(one.user.client, one.service.seen, entries, Progress())
        assert not found[ids[b"photo"]].counted
        assert found[ids[b"photo"]].why.startswith("not counted within")


def owner(islands: Archipelago, who: Machine) -> Owner:
    """Whose commands begin with the home of "one"; each has a client of its own."""
    home, join = home_of(islands, "one"), tuple(str(node.info.address) for node in islands.nodes)
    return Owner.of_command(
        Config(home.path, NETWORK.name, join), home, ACCOUNT, who.user.journal, who.user.client.world
    )


async def test_without_the_network_the_last_copy(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        mine = owner(islands, one)
        await publish(one, islands.file("photo", 1000))
        listing = await list_drive(mine, b"", Progress(), counted=True)
        assert (listing.known.why, [item.path for item in listing.items]) == (None, [b"photo"])
        assert len(listing.conditions) == 1
        await trio.sleep(100)
        cut_off(islands, one)
        known = await mine.change(lambda drive, now_ms: add_folder(drive, b"films", now_ms))
        assert isinstance(known.why, NetworkError)
        assert [entry.path for entry in known.unsent] == [b"films"]
        listing = await list_drive(mine, b"", Progress(), counted=True)
        assert isinstance(listing.known.why, NetworkError)
        assert [item.path for item in listing.items] == [b"films", b"photo"]
        assert not listing.conditions
        error = await failure(mine.change(lambda drive, now_ms: add_folder(drive, b"photo", now_ms)))
        assert isinstance(error, RefusedError)
        connect(islands)
        await two.add("elsewhere")
        listing = await list_drive(mine, b"", Progress(), counted=False)
        assert (listing.known.why, listing.known.unsent) == (None, [])
        assert [item.path for item in listing.items] == [b"elsewhere", b"films", b"photo"]


async def test_a_drive_that_the_network_lost_is_brought_back(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one:
        await one.add("photos")
    for node in islands.nodes:
        node.kill()
    islands.nodes.clear()
    await islands.grow(6)  # others, who know nothing of it
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        assert isinstance(await failure(two.service.keep()), NotFoundError), "this machine has nothing to bring back"
        assert shown((await one.service.keep()).drive) == ["photos"]
        assert await two.names() == ["photos"]


async def test_somebody_elses_link(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with machine(islands, "one") as one, islands.user("stranger") as stranger:
        link = (await stranger.publish(islands.file("film", 5000))).link
        path, size = await describe(one.service, link)
        assert (path, size) == (b"film", 5000)
        known = await change_known(one.service, lambda drive, now_ms: add_link(drive, link, path, size, now_ms))
        assert known.why is None
        with pytest.raises(RefusedError, match="in the drive already"):
            await change_known(one.service, lambda drive, now_ms: add_link(drive, link, b"b", size, now_ms))


async def test_two_machines_that_sync_one_folder_at_once(autojump_clock: MockClock, islands: Archipelago) -> None:
    """One of the two is refused, and syncs again: nothing is lost."""
    folders = [islands.base / "here" / "docs", islands.base / "there" / "papers"]
    async with machine(islands, "one") as one, machine(islands, "two") as two:
        folders[0].mkdir(parents=True)
        folders[1].parent.mkdir()
        (folders[0] / "letter").write_text("dear")

        async def sync(number: int) -> None:
            who = (one, two)[number]
            home = home_of(islands, ("one", "two")[number])
            await sync_with_drive(who.service, home, folders[number], b"docs", Progress())

        await sync(0)
        await sync(1)
        assert (folders[1] / "letter").read_text() == "dear"
        (folders[0] / "mine").write_text("one")
        (folders[1] / "yours").write_text("two")
        refused: list[int] = []

        async def attempt(number: int) -> None:
            try:
                await sync(number)
            except RefusedError:
                refused.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, 0)
            nursery.start_soon(attempt, 1)
        assert len(refused) == 1
        for number in (*refused, 1 - refused[0]):
            await sync(number)
        for folder in folders:
            assert {path.name for path in folder.iterdir()} - {WORK_NAME.decode()} == {"letter", "mine", "yours"}
        assert shown((await one.service.read()).drive) == ["docs"]
        assert len([e for e in one.cached().drive.entries if e.kind is EntryKind.DEPOSIT]) == 1


async def test_a_sync_does_not_use_the_last_copy(autojump_clock: MockClock, islands: Archipelago) -> None:
    folder = islands.base / "docs"
    folder.mkdir()
    (folder / "letter").write_text("dear")
    async with machine(islands, "one") as one:
        home = home_of(islands, "one")
        await sync_with_drive(one.service, home, folder, b"docs", Progress())
        (folder / "letter").write_text("dear all")
        cut_off(islands, one)
        error = await failure(sync_with_drive(one.service, home, folder, b"docs", Progress()))
        assert isinstance(error, NetworkError | NotFoundError)
        connect(islands)
        await one.service.change(lambda drive, now_ms: add_folder(drive, b"films", now_ms))
        error = await failure(sync_with_drive(one.service, home, folder, b"films", Progress()))
        assert "is a folder of the drive itself" in str(error)
