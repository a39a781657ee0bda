"""Renewing and deleting by what a drive remembers: without the journal, and by the depositor alone."""

from dataclasses import replace
from pathlib import Path

from trio.testing import MockClock

from node.errors import NotFoundError, RefusedError
from node.fetching.download import Downloader
from node.fetching.reader import read_segments
from node.keeping.kept import Kept, delete_kept, renew_kept
from node.progress import Progress
from node.publishing.publish import Options
from protocol.links import Link
from tests.network.archipelago import User, archipelago, failure
from tests.network.swarm import wall_clock
from tests.network.tending import DAY, MIB, kept_by, own_leases


async def renewed(user: User, kept: Kept, days: int) -> int:
    changed = await renew_kept(user.client, user.depositor, kept, days * DAY, Progress())
    assert changed.holders
    assert not changed.silent
    return changed.expiry


async def deleted(user: User, kept: Kept, *spare: Link) -> int:
    sizes = [await read_segments(Downloader(user.client, Progress()), link) for link in spare]
    others = {segment for found in sizes for segment in found}
    return (await delete_kept(user.client, user.depositor, kept, Progress(), others)).segments


async def test_renewed_without_a_journal(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
        kept = kept_by(alice, link)
        expiry = await renewed(alice, kept, 30)
        assert abs(expiry - wall_clock() - 30 * DAY) < 60
        assert {lease[:3] for lease in await own_leases(islands, alice, kept)} == {(expiry, False, kept.policy)}
        assert await renewed(alice, replace(kept, expiry=expiry), 1) == expiry, "a renewal never shortens"
        await alice.renew(link, 40 * DAY)
        ((longer, *_),) = {lease[:1] for lease in await own_leases(islands, alice, kept)}
        assert longer > expiry, "and the journal's come after"


async def test_deleted_without_a_journal(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        kept = kept_by(alice, link)
        await renewed(alice, kept, 300)
        assert await deleted(alice, kept) == 2, "although the leases run for longer than is remembered"
        assert not islands.holders()
        assert isinstance(
            await failure(renew_kept(alice.client, alice.depositor, kept, DAY, Progress())), NotFoundError
        )


async def test_deleting_spares_what_another_version_needs(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        folder = islands.file("work/large", MIB).parent
        islands.file("work/notes", 100_000)
        old = (await alice.publish(folder)).link
        kept = kept_by(alice, old)
        islands.file("work/notes", 100_001)
        new = (await alice.publish(folder)).link
        assert len(islands.holders()) == 5
        assert await deleted(alice, kept, new) == 2
        assert len(islands.holders()) == 3
        async with islands.user("bob") as bob:
            assert (await bob.check(new)).healthy


async def test_a_holder_is_away_while_it_is_deleted(autojump_clock: MockClock, base: Path) -> None:
    """The root goes last: until all others know, it can be found and the rest be told again."""
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB))).link
        kept = kept_by(alice, link)
        (film,) = set(islands.holders()) - {link.root.hex()}
        root = set(islands.holders()[link.root.hex()])
        away = islands.holders()[film][0][0]
        away.kill()
        assert isinstance(await failure(delete_kept(alice.client, alice.depositor, kept, Progress())), NotFoundError)
        assert set(islands.holders()[link.root.hex()]) == root
        await islands.restart(away)
        alice.client._suspects.clear()
        assert await deleted(alice, kept) == 2
        assert not islands.holders()


async def test_a_stranger_changes_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice, islands.user("mallory") as mallory:
        kept = kept_by(alice, (await alice.publish(islands.file("film", MIB))).link)
        before, there = await own_leases(islands, alice, kept), islands.holders()
        renewing = await failure(renew_kept(mallory.client, mallory.depositor, kept, 999 * DAY, Progress()))
        deleting = await failure(delete_kept(mallory.client, mallory.depositor, kept, Progress()))
        for refused in (renewing, deleting):
            assert isinstance(refused, RefusedError)
            assert "2 of 2 segments are left as they are: another depositor has signed them" in str(refused)
        assert (await own_leases(islands, alice, kept), islands.holders()) == (before, there)
