"""Leases that were signed elsewhere: on another machine, by tending, by a clock that was ahead, by a stranger."""

from collections.abc import Awaitable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import NotFoundError, RefusedError
from node.healing.survey import Surveys
from node.keeping.kept import Kept, delete_kept, renew_kept
from node.progress import Progress
from node.publishing.publish import Options
from node.store.refusal import Refusal
from protocol.identity import Identity
from protocol.messages import ErrorCode, Leases, LeasesReply, PutLease
from tests.network.archipelago import User, archipelago, failure
from tests.network.healing import other_lease
from tests.network.swarm import wall_clock
from tests.network.tending import DAY, MIB, kept_by, kinds_asked, own_leases, tended
from tests.network.test_lifetime import take_no_lease


async def renewed(user: User, kept: Kept, days: int) -> int:
    return (await renew_kept(user.client, user.depositor, kept, days * DAY, Progress())).expiry


async def test_deleted_by_the_journal_after_a_renewal_elsewhere(autojump_clock: MockClock, base: Path) -> None:
    """The journal knows of a shorter lease than there is: it is over for it, or not yet."""
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        for over in (False, True):
            link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=3600))).link
            await renewed(alice, kept_by(alice, link), 100)
            await trio.sleep(7200 if over else 0)
            deleted = await alice.delete(link)
            assert deleted.holders > 0
            assert not islands.holders()
            assert alice.journal.deposits(link.root) == []


async def test_the_journal_shortens_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
        kept = kept_by(alice, link)
        longest = await renewed(alice, kept, 300)
        assert (await alice.renew(link, 2 * DAY)).expiry == longest
        assert {lease[0] for lease in await own_leases(islands, alice, kept)} == {longest}
        assert alice.journal.deposits(link.root)[0].expiry == longest


async def test_renewed_after_a_clock_that_was_ahead(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=10 * DAY))).link
        kept = kept_by(alice, link)
        async with islands.user("alice", clock_error=7200) as ahead:
            await renewed(ahead, kept, 20)
        changed = await alice.renew(link, 100 * DAY)
        assert changed.silent == 0
        assert {lease[0] for lease in await own_leases(islands, alice, kept)} == {changed.expiry}
        async with islands.user("alice", clock_error=7200) as ahead:
            await renewed(ahead, kept, 200)
        await alice.delete(link)
        assert not islands.holders()


async def test_published_again_after_a_clock_that_was_ahead(autojump_clock: MockClock, base: Path) -> None:
    """Nothing is sent twice: the holders' leases are outdone. Nor is it in the way when more is to be placed."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        source = islands.file("film", MIB)
        link = (await alice.publish(source, options=Options(lease_seconds=10 * DAY))).link
        kept, before = kept_by(alice, link), islands.holders()
        async with islands.user("alice", clock_error=7200) as ahead:
            await renewed(ahead, kept, 20)
        again = await alice.publish(source, options=Options(lease_seconds=100 * DAY))
        assert (again.link, again.sent_bytes, again.placed) == (link, 0, again.chunks)
        assert islands.holders() == before
        expiry = alice.journal.deposits(link.root)[0].expiry
        assert {lease[0] for lease in await own_leases(islands, alice, kept)} == {expiry}
        await alice.renew(link, 200 * DAY)
        await alice.delete(link)
        assert not islands.holders()


async def test_published_again_after_a_clock_that_was_ahead_has_deleted_it(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who had it are asked for room again, and take it."""
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        source = islands.file("film", MIB)
        link = (await alice.publish(source)).link
        kept = kept_by(alice, link)
        async with islands.user("alice", clock_error=7200) as ahead:
            await delete_kept(ahead.client, ahead.depositor, kept, Progress())
        assert not islands.holders()
        asked = kinds_asked(alice, monkeypatch)
        again = await alice.publish(source)
        assert again.placed == again.chunks
        assert Leases in asked
        assert len(await own_leases(islands, alice, kept)) <= 2, "one for each segment"
        await alice.fetch(link, base / "copy")


async def test_publishing_again_asks_for_no_leases(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        source = islands.file("film", MIB)
        await alice.publish(source, options=Options(lease_seconds=10 * DAY))
        asked = kinds_asked(alice, monkeypatch)
        await alice.publish(source, options=Options(lease_seconds=100 * DAY))
        assert PutLease in asked
        assert Leases not in asked


async def test_what_too_few_took_is_not_renewed(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a segment of 8 in 12: seven holders are not enough, eight are."""
    async with archipelago(base, 20) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", 4 * MIB), options=Options(lease_seconds=10 * DAY))).link
        kept = kept_by(alice, link)
        (film,) = set(islands.holders()) - {link.root.hex()}
        holders = [nodes[0] for nodes in islands.holders()[film].values()]
        assert len(holders) == 12
        roots = {node for nodes in islands.holders()[link.root.hex()].values() for node in nodes}
        few = [node for node in holders if node not in roots][:5] + [node for node in holders if node in roots]
        with monkeypatch.context() as full:
            take_no_lease(full, *few[:5])
            works: list[Awaitable[object]] = [alice.renew(link, 100 * DAY), renewed(alice, kept, 100)]
            for work in works:
                refused = await failure(work)
                assert isinstance(refused, RefusedError)
                assert "have too few holders that took the lease (full: the quota is used up)" in str(refused)
            assert alice.journal.deposits(link.root)[0].expiry == kept.expiry
            done = await tended(alice, kept, 300 * DAY)
            assert done.expiry == kept.expiry
            assert any("its lease was not taken" in undone.why for undone in done.undone)
        with monkeypatch.context() as full:
            take_no_lease(full, *few[:4])
            assert (await alice.renew(link, 100 * DAY)).expiry > kept.expiry


def show_no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node says what leases it has."""

    async def refuse(*_: object) -> LeasesReply:
        raise Refusal(ErrorCode.FULL, "busy")

    monkeypatch.setattr(Surveys, "leases", refuse)


async def test_holders_that_show_no_leases(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have any, also after what is remembered has ended: no deletion is finished, and nothing renewed."""
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=3600))).link
        kept = kept_by(alice, link)
        await renewed(alice, kept, 100)
        for seconds in (0, 7200):
            await trio.sleep(seconds)
            before = await own_leases(islands, alice, kept)
            with monkeypatch.context() as mute:
                show_no_leases(mute)
                for deleting in (alice.delete(link), delete_kept(alice.client, alice.depositor, kept, Progress())):
                    unfinished = await failure(deleting)
                    assert isinstance(unfinished, NotFoundError)
                    assert "did not answer" in str(unfinished)
                renewing: list[Awaitable[object]] = [alice.renew(link, 300 * DAY), renewed(alice, kept, 300)]
                for work in renewing:
                    refused = await failure(work)
                    assert isinstance(refused, RefusedError)
                    assert "nobody shows them" in str(refused)
            assert await own_leases(islands, alice, kept) == before
        await alice.delete(link)
        assert not islands.holders()


async def test_a_strangers_lease_stops_nobody(autojump_clock: MockClock, base: Path) -> None:
    """A lease under the same deposit id, which anybody can sign, where ours has ended."""
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("note", 10_000), options=Options(lease_seconds=3600))).link
        kept = kept_by(alice, link)
        segment = link.root.hex()
        for nodes in islands.holders()[segment].values():
            lease = other_lease(
                islands, segment, Identity(b"m" * 32), expiry=int(wall_clock()) + 300 * DAY, deposit=kept.deposit
            )
            await alice.client.peers.request(nodes[0].contact, PutLease(lease=lease))
        await trio.sleep(2 * 3600)
        assert isinstance(
            await failure(renew_kept(alice.client, alice.depositor, kept, DAY, Progress())), RefusedError
        ), "but a person is told"
        done = await tended(alice, kept)
        assert (done.whole, done.renewed, done.undone) == (True, 1, ())
        assert {lease[0] for lease in await own_leases(islands, alice, kept)} == {done.expiry}
