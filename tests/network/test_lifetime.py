"""Renewing and deleting: at the holders, by the depositor alone, and without harm to other deposits."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.client import Client
from node.errors import NotFoundError, RefusedError
from node.keeping import change
from node.keeping.holders import find_holders
from node.publishing.publish import Options
from node.store.chunkindex import HeldChunk
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import SegmentId
from protocol.leases import Lease
from protocol.messages import ErrorCode, Have, HaveReply
from protocol.records import ProviderRecord
from tests.network.archipelago import Node, User, archipelago, failure
from tests.network.swarm import wall_clock

MIB = 1 << 20
DAY = 86_400


async def expiries(user: User, nodes: Iterable[Node], deposit: bytes) -> set[int]:
    """When the leases of a deposit end, at all these nodes for all they hold."""
    found = set()
    for node in nodes:
        segments = tuple(SegmentId(bytes.fromhex(segment)) for segment in sorted({s for s, _ in node.chunks()}))
        if segments:
            ask = Have(depositor=user.depositor.identity.key, deposit=deposit, segments=segments)
            reply, _ = await user.client.peers.request(node.contact, ask)
            assert isinstance(reply, HaveReply)
            found |= {held.expiry for held in reply.held}
    return found


async def test_renew_reaches_every_holder(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
        (row,) = alice.journal.deposits(link.root)
        (before,) = await expiries(alice, islands.nodes, row.deposit)
        assert abs(before - wall_clock() - DAY) < 10
        renewed = await alice.renew(link, 30 * DAY)
        assert (renewed.segments, renewed.holders, renewed.silent) == (2, 11, 0)
        (after,) = await expiries(alice, islands.nodes, row.deposit)
        assert after == renewed.expiry
        assert abs(after - wall_clock() - 30 * DAY) < 10
        assert {segment.expires for segment in (await alice.check(link)).segments} == {after}
        shorter = await alice.renew(link, DAY)
        assert shorter.expiry == after  # a renewal never shortens


def take_no_lease(monkeypatch: pytest.MonkeyPatch, *nodes: Node) -> None:
    """From now on they answer ``full``."""
    apply_lease = ChunkStore.apply_lease

    def refuse(self: ChunkStore, lease: Lease, data: bytes) -> list[HeldChunk]:
        if self._paths.root in {node.data for node in nodes}:
            raise Refusal(ErrorCode.FULL, "the quota is used up")
        return apply_lease(self, lease, data)

    monkeypatch.setattr(ChunkStore, "apply_lease", refuse)


async def test_one_segment_is_refused_somewhere_and_another_is_nowhere(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that is full, of a segment which others renew, is not why the other segment has nobody."""

    async def but_for_the_root(client: Client, segment: SegmentId) -> list[ProviderRecord]:
        return [] if segment == link.root else await find_holders(client, segment)

    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        (film,) = set(islands.holders()) - {link.root.hex()}
        take_no_lease(monkeypatch, islands.holders()[film][0][0])
        some_take_it = ChunkStore.apply_lease

        def without_the_root(store: ChunkStore, lease: Lease, data: bytes) -> list[HeldChunk]:
            if lease.segment == link.root:
                raise Refusal(ErrorCode.NOT_FOUND, "no chunk of the segment is held here")
            return some_take_it(store, lease, data)

        monkeypatch.setattr(ChunkStore, "apply_lease", without_the_root)
        monkeypatch.setattr(change, "find_holders", but_for_the_root)
        lost = await failure(alice.renew(link, 365 * DAY))
    assert isinstance(lost, NotFoundError)
    assert "1 of 2 segments have no holder that could be asked" in str(lost)


async def test_every_holder_refuses_to_renew(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        take_no_lease(monkeypatch, *islands.nodes)
        refused = await failure(alice.renew(link, 365 * DAY))
    assert isinstance(refused, RefusedError)
    assert "2 of 2 segments have no holder that took the lease (full: the quota is used up)" in str(refused)


async def test_what_is_not_renewed_ends(autojump_clock: MockClock, base: Path) -> None:
    """Two deposits, one of them renewed: after the lease only that one is there."""
    async with archipelago(base, 6) as islands:
        async with islands.user("alice") as alice:
            kept = islands.file("kept", MIB)
            link = (await alice.publish(kept, options=Options(lease_seconds=3600))).link
            held = set(islands.holders())
            await alice.publish(islands.file("left", MIB), options=Options(lease_seconds=3600))
            assert len(islands.holders()) == 4
            await alice.renew(link, DAY)
        await trio.sleep(2 * 3600)
        assert set(islands.holders()) == held
        async with islands.user("bob") as bob:
            await bob.fetch(link, base / "copy")
        assert (base / "copy").read_bytes() == kept.read_bytes()


async def test_deleting_frees_the_holders(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        source = islands.file("film", MIB)
        link = (await alice.publish(source)).link
        assert len(islands.holders()) == 2
        deleted = await alice.delete(link)
        assert (deleted.segments, deleted.holders, deleted.silent) == (2, 11, 0)
        assert not islands.holders()
        assert isinstance(await failure(alice.fetch(link, base / "copy")), NotFoundError)
        assert isinstance(await failure(alice.delete(link)), RefusedError)
        again = await alice.publish(source)
        assert again.link == link
        assert again.sent_bytes == again.stored_bytes
        await alice.fetch(link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("first", [True, False])
async def test_deposits_that_share_a_segment(autojump_clock: MockClock, base: Path, first: bool) -> None:
    """Deleting either leaves the other whole; deleting both leaves nothing."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        folder = islands.file("album/film", MIB).parent
        islands.file("album/cover", 100_000)
        one, other = (await alice.publish(folder)).link, (await alice.publish(folder / "film")).link
        assert len(islands.holders()) == 4  # the film, the cover, two roots
        if not first:
            one, other = other, one
        await alice.delete(one)
        assert len(islands.holders()) == (2 if first else 3)
        async with islands.user("bob") as bob:
            await bob.fetch(other, base / "copy")
            assert (await bob.check(other)).healthy
        film = base / ("copy" if first else "copy/film")
        assert film.read_bytes() == (folder / "film").read_bytes()
        await alice.delete(other)
        assert not islands.holders()


@pytest.mark.parametrize("older", [True, False])
async def test_versions_of_one_deposit(autojump_clock: MockClock, base: Path, older: bool) -> None:
    """A changed folder published again is the same deposit; deleting a version leaves the other's segments."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        folder = islands.file("work/large", MIB).parent
        islands.file("work/notes", 100_000)
        old = (await alice.publish(folder)).link
        islands.file("work/notes", 100_001)
        new = (await alice.publish(folder)).link
        assert len(islands.holders()) == 5
        gone, kept = (old, new) if older else (new, old)
        await alice.delete(gone)
        assert len(islands.holders()) == 3
        async with islands.user("bob") as bob:
            assert isinstance(await failure(bob.fetch(gone, base / "gone")), NotFoundError)
            await bob.fetch(kept, base / "copy")
            assert (await bob.check(kept)).healthy
        assert (base / "copy/large").read_bytes() == (folder / "large").read_bytes()
        assert (base / "copy/notes").stat().st_size == (100_001 if older else 100_000)
        await alice.delete(kept)
        assert not islands.holders()


async def test_only_the_depositor_may(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        held = islands.holders()
        async with islands.user("mallory") as mallory:
            assert isinstance(await failure(mallory.renew(link, DAY)), RefusedError)
            assert isinstance(await failure(mallory.delete(link)), RefusedError)
            # The same file under another home's secret is another deposit, which she may delete.
            own = (await mallory.publish(source)).link
            assert own != link
            assert len(islands.holders()) == 2 * len(held)
            await mallory.delete(own)
        assert islands.holders() == held


async def test_a_deletion_some_holders_missed(autojump_clock: MockClock, base: Path) -> None:
    """It is said, and nothing is forgotten: deleting again, once they are back, finishes it."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        away = islands.nodes[2]
        assert away.chunks()
        away.host.freeze()
        unfinished = await failure(alice.delete(link))
        assert isinstance(unfinished, NotFoundError)
        assert "deleted at 5 holders, 1 did not answer" in str(unfinished)
        (row,) = alice.journal.deposits(link.root)
        assert str(datetime.fromtimestamp(row.expiry, UTC).date()) in str(unfinished.hint)
        assert [node for node in islands.nodes if node.chunks()] == [away]
        away.host.freeze(False)
        await trio.sleep(60)
        deleted = await alice.delete(link)
        assert deleted.silent == 0
        assert not islands.holders()
        assert isinstance(await failure(alice.delete(link)), RefusedError)


async def test_leases_that_have_expired_are_deleted_without_those_who_had_them(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holders that never come back do not keep a deposit in the journal for ever; but somebody has to be asked, for
    another machine may have renewed it."""

    async def nobody(*_: object) -> list[object]:
        return []

    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=3600))).link
        islands.nodes[2].host.freeze()
        assert isinstance(await failure(alice.delete(link)), NotFoundError)
        await trio.sleep(2 * 3600)
        for node in islands.nodes:
            node.host.freeze()
        unknown = await failure(alice.delete(link))
        assert isinstance(unknown, NotFoundError)
        assert "could not be looked up" in str(unknown)
        assert unknown.hint == "until when they keep the chunks is not known"
        for node in islands.nodes:
            node.host.freeze(node is islands.nodes[2])
        missed = await failure(alice.delete(link))
        assert "1 did not answer" in str(missed)
        with monkeypatch.context() as later:  # when it is not announced any more
            later.setattr(change, "find_holders", nobody)
            deleted = await alice.delete(link)
        assert (deleted.holders, deleted.silent) == (0, 0)
        assert isinstance(await failure(alice.delete(link)), RefusedError)
        for node in islands.nodes:
            node.host.freeze(False)
        await trio.sleep(600)
        assert not islands.holders()


async def test_a_segment_nobody_announces_is_as_good_as_deleted(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless nobody could be asked at all: then nothing is known, and nothing forgotten."""

    async def nobody(*_: object) -> list[object]:
        return []

    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        monkeypatch.setattr(change, "find_holders", nobody)
        with monkeypatch.context() as deaf:
            deaf.setattr(alice.client.dht, "lookup", nobody)
            unfinished = await failure(alice.delete(link))
        assert isinstance(unfinished, NotFoundError)
        assert "could not be looked up" in str(unfinished)
        deleted = await alice.delete(link)
        assert (deleted.segments, deleted.holders, deleted.silent) == (2, 0, 0)
        assert alice.journal.deposits(link.root) == []


async def test_a_clock_that_was_set_back(autojump_clock: MockClock, base: Path) -> None:
    """Leases are numbered upwards all the same: what was deleted can be published again, and deleted again."""
    async with archipelago(base, 6) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
            await alice.delete(link)
        async with islands.user("alice", clock_error=-2 * DAY) as alice:
            again = await alice.publish(source)
            assert again.link == link
            assert again.placed == again.chunks
            await alice.fetch(link, base / "copy")
            await alice.renew(link, 365 * DAY)
            await alice.delete(link)
            assert not islands.holders()


async def test_the_same_thing_published_from_two_places(autojump_clock: MockClock, base: Path) -> None:
    """One link, two deposits of one home: renewing and deleting the link means both."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice:
        here = islands.file("here/film", MIB)
        there = here.parent.with_name("there") / "film"
        there.parent.mkdir()
        shutil.copy2(here, there)
        link = (await alice.publish(here)).link
        again = await alice.publish(there)
        assert again.link == link
        assert again.sent_bytes == 0
        await alice.renew(link, 365 * DAY)
        assert (await alice.check(link)).healthy
        await alice.delete(link)
        assert not islands.holders()
