"""Publishing what was published before: what the network still has is neither sealed nor sent."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.fetching.download import Downloader
from node.fetching.reader import read_contents
from node.home import Depositor, Home
from node.journal import Journal
from node.progress import Progress
from node.publishing import sealing
from node.publishing.publish import Options
from protocol.hashing import Bytes
from protocol.ids import SegmentId
from protocol.links import Link
from protocol.manifest import SegmentRef
from protocol.seal import SealedSegment, seal_segment
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Shares
from tests.network.archipelago import NETWORK, Archipelago, User, archipelago
from tests.network.test_lifetime import expiries

MIB = 1 << 20
DAY = 86_400


class Seals:
    """What was sealed, as it goes on."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, plaintext: Bytes, *more: object) -> SealedSegment:
        self.lengths.append(len(plaintext))
        return seal_segment(plaintext, *more)  # type: ignore[arg-type]  # passed on as they come

    def news(self) -> list[int]:
        """Lengths of the plaintexts sealed since the last time, but for roots and others below 128 KiB."""
        found, self.lengths = self.lengths, []
        return sorted(length for length in found if length > 131_072)


@pytest.fixture
def seals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seals]:
    found = Seals()
    monkeypatch.setattr(sealing, "seal_segment", found)
    yield found


def folder(islands: Archipelago) -> Path:
    """A folder of two segments, and a file of which is a third."""
    islands.file("films/one", MIB)
    islands.file("films/two", MIB + 1)
    return islands.file("films/note", 3000).parent


async def refs_of(user: User, link: Link) -> tuple[SegmentRef, ...]:
    return (await read_contents(Downloader(user.client, Progress()), link)).segments


def journal_of(islands: Archipelago, name: str = "alice") -> Path:
    return Home(islands.base / f"home-{name}").journal


def descriptors(islands: Archipelago) -> set[bytes]:
    """Segments whose descriptor the journal has, found by looking there."""
    with closing(sqlite3.connect(journal_of(islands))) as db:
        return {segment for (segment,) in db.execute("SELECT segment FROM placed")}


async def test_what_is_all_there_is_not_sealed(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """Not even the root. And in the journal there is no key of what it knows."""
    async with archipelago(base, 16) as islands:
        source = folder(islands)
        async with islands.user() as alice:
            first = await alice.publish(source)
            assert len(seals.lengths) == first.segments == 4
            refs = await refs_of(alice, first.link)
        held = islands.holders()
        assert descriptors(islands) == {bytes.fromhex(segment) for segment in held}
        seals.lengths.clear()
        async with islands.user() as alice:
            progress = Progress()
            again = await alice.publish(source, progress=progress)
        assert not seals.lengths
        assert (again.link, again.sent_bytes, again.stored_bytes) == (first.link, 0, first.stored_bytes)
        assert again.placed == again.chunks == first.chunks
        assert again.survives == first.survives
        assert progress.done == again.bytes
        assert islands.holders() == held
        for written in base.glob("home-alice/deposits.sqlite*"):
            assert not any(ref.key in written.read_bytes() for ref in refs)


async def test_only_the_holders_are_asked(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks for nodes to put to, as long as nothing is missing."""
    looked_up: list[SegmentId] = []

    async with archipelago(base, 16) as islands, islands.user() as alice:
        source = folder(islands)
        await alice.publish(source)
        lookup = alice.client.dht.lookup

        async def counted(target: SegmentId) -> object:
            looked_up.append(target)
            return await lookup(target)

        monkeypatch.setattr(alice.client.dht, "lookup", counted)
        assert (await alice.publish(source)).sent_bytes == 0
        assert looked_up == []


async def test_what_was_lost_is_sealed_and_sent(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """A chunk that is gone, one that rotted: those two, of that segment."""
    async with archipelago(base, 16) as islands:
        source = folder(islands)
        async with islands.user() as alice:
            first = await alice.publish(source)
            held = islands.holders()
            hurt = next(ref.id.hex() for ref in await refs_of(alice, first.link) if ref.length == MIB)
            seals.news()
            held[hurt][2][0].chunk_file((hurt, 2)).unlink()
            rotten = held[hurt][9][0].chunk_file((hurt, 9))
            rotten.write_bytes(bytes(100) + rotten.read_bytes()[100:])
            again = await alice.publish(source)
            assert again.link == first.link
            assert again.sent_bytes == 2 * SEALED_BLOCK_BYTES
            assert again.placed == again.chunks
            assert seals.lengths == [MIB]
            assert (await alice.check(again.link)).healthy
            seals.news()
            assert (await alice.publish(source)).sent_bytes == 0
            assert not seals.lengths


async def test_leases_are_seen_to_without_sealing(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    async with archipelago(base, 16) as islands, islands.user() as alice:
        source = folder(islands)
        link = (await alice.publish(source, options=Options(lease_seconds=DAY))).link
        (row,) = alice.journal.deposits(link.root)
        (before,) = await expiries(alice, islands.nodes, row.deposit)
        seals.lengths.clear()
        again = await alice.publish(source, options=Options(lease_seconds=30 * DAY))
        (after,) = await expiries(alice, islands.nodes, row.deposit)
        assert after > before + 28 * DAY
        assert again.sent_bytes == 0
        assert not seals.lengths


async def test_nothing_is_taken_for_something_else(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """Other shares, ``--fresh``, or another secret in the same home give other segments."""
    async with archipelago(base, 16) as islands, islands.user() as alice:
        source = folder(islands)
        links = {(await alice.publish(source)).link}
        contents = seals.news()
        assert contents == [MIB, MIB + 1]
        for options in (Options(shares=Shares(4, 8)), Options(fresh=True), Options(fresh=True)):
            links.add((await alice.publish(source, options=options)).link)
            assert seals.news() == contents
        links.add((await alice.publish(source)).link)  # and none takes the place of another
        assert seals.news() == []
        alice.depositor = Depositor(alice.depositor.identity, Random("another").randbytes(32))
        links.add((await alice.publish(source)).link)
        assert seals.news() == contents
        assert len(links) == 5


async def test_another_depositor_has_leases_of_its_own(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """The same secret under another identity: the chunks are the same, and are not sent again."""
    async with archipelago(base, 16) as islands, islands.user() as alice, islands.user("bob") as bob:
        source = folder(islands)
        link = (await alice.publish(source)).link
        seals.lengths.clear()
        alice.depositor = Depositor(bob.depositor.identity, alice.depositor.convergence_secret)
        again = await alice.publish(source)
        assert (again.link, again.sent_bytes) == (link, 0)
        assert not seals.lengths
        (row,) = alice.journal.deposits(link.root)
        (expiry,) = await expiries(alice, islands.nodes, row.deposit)
        assert expiry == row.expiry


async def test_a_deletion_forgets_them(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """Those that another deposit has as well stay, and so does what they are good for."""
    async with archipelago(base, 16) as islands, islands.user() as alice:
        source = folder(islands)
        both = await alice.publish(source)
        one = await alice.publish(source / "one")
        shared = next(ref.id for ref in await refs_of(alice, both.link) if ref.length == MIB)
        assert len(descriptors(islands)) == 5
        await alice.delete(both.link)
        assert descriptors(islands) == {shared, one.link.root}
        seals.news()
        again = await alice.publish(source)
        assert seals.news() == [MIB + 1]
        assert again.link == both.link
        await alice.delete(again.link)
        await alice.delete(one.link)
        assert descriptors(islands) == set()


async def test_nothing_is_known_before_it_is_announced(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, seals: Seals
) -> None:
    """Ended when all chunks are placed and none is announced: as if killed there."""
    async with archipelago(base, 16) as islands:
        source = folder(islands)
        scope = trio.CancelScope()

        announced: list[SegmentId] = []

        async def ended(segment: SegmentId, *more: object) -> int:
            announced.append(segment)
            if len(announced) == 3:
                scope.cancel()
            await trio.sleep_forever()

        async with islands.user() as alice:
            with monkeypatch.context() as patch, scope:
                patch.setattr(alice.client.dht, "announce", ended)
                await alice.publish(source)
        assert scope.cancelled_caught
        assert sorted(map(len, islands.holders().values())) == [5, 9, 12]  # every chunk of the three
        assert descriptors(islands) == set()
        seals.news()
        async with islands.user() as alice:
            published = await alice.publish(source)
            assert seals.news() == [MIB, MIB + 1]
            assert len(descriptors(islands)) == published.segments
            await alice.fetch(published.link, base / "copy")


async def test_what_is_not_placed_whole_is_not_noted(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """Ten of twelve chunks are enough to end well, and not for a segment to be taken for known."""
    async with archipelago(base, 0) as islands:
        for _ in range(10):
            await islands.start(quota=250_000)  # room for one chunk each
        await trio.sleep(1)
        async with islands.user() as alice:
            published = await alice.publish(islands.file("film", MIB))
            assert published.chunks - published.placed == 2
            assert descriptors(islands) == {published.link.root}


async def test_a_descriptor_that_does_not_fit(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """Of another segment, of the same sealed otherwise, or rotten: it is sealed anew, and known rightly then."""
    async with archipelago(base, 16) as islands, islands.user() as alice:
        source = folder(islands)
        islands.file("films/three", MIB)
        first = await alice.publish(source)
        good = _rows(islands)
        one, foreign = [ref.id for ref in await refs_of(alice, first.link) if ref.length == MIB]
        token, data = next(row[::2] for row in good if row[1] == one)
        other = next(row[2] for row in good if row[1] == foreign)
        known = Descriptor.decode(data)
        otherwise = Descriptor(known.layout, known.commitment, tuple(reversed(known.chunk_ids)))
        seals.news()
        for segment, wrong in ((otherwise.id, otherwise.encode()), (foreign, other), (one, b"\xc1")):
            with closing(sqlite3.connect(journal_of(islands))) as db, db:
                db.execute("UPDATE placed SET segment = ?, descriptor = ? WHERE token = ?", (segment, wrong, token))
            again = await alice.publish(source)
            assert (again.link, again.sent_bytes) == (first.link, 0)
            assert seals.news() == [MIB]
            assert _rows(islands) == good


def _rows(islands: Archipelago) -> set[tuple[bytes, bytes, bytes]]:
    with closing(sqlite3.connect(journal_of(islands))) as db:
        return set(db.execute("SELECT token, segment, descriptor FROM placed"))


async def test_a_journal_of_the_format_before(autojump_clock: MockClock, base: Path, seals: Seals) -> None:
    """What was published with it is known to be there, is sealed once more, and not again."""
    async with archipelago(base, 16) as islands:
        source = folder(islands)
        async with islands.user() as alice:
            first = await alice.publish(source)
        with closing(sqlite3.connect(journal_of(islands))) as db, db:
            db.execute("DROP TABLE placed")
            db.execute("ALTER TABLE deposit DROP COLUMN depositor")
            db.execute("PRAGMA user_version = 2")
        seals.news()
        for contents in ([MIB, MIB + 1], []):
            with closing(Journal(journal_of(islands), NETWORK.id)) as journal:
                assert journal.segments(first.link.root)
            async with islands.user() as alice:
                again = await alice.publish(source)
            assert (again.link, again.sent_bytes) == (first.link, 0)
            assert seals.news() == contents
