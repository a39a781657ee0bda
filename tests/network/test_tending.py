"""Deposits kept whole and alive by their depositor alone, with what a drive remembers; nodes that heal nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.client import Client
from node.healing.rebuild import Column, rebuild
from node.keeping import change, check, restoring
from node.keeping import tend as module
from node.keeping.counted import Health, SegmentHealth
from node.keeping.holders import find_holders
from node.keeping.restoring import STALE_SECONDS
from node.keeping.tend import Tended
from node.net.peers import PeerRefused
from node.publishing.publish import Options
from protocol.identity import Identity
from protocol.ids import SegmentId
from protocol.leases import Policy
from protocol.messages import ErrorCode, Put, PutLease
from protocol.records import ProviderRecord
from protocol.segment import Descriptor
from protocol.statements import permit_statement
from tests.network.archipelago import NETWORK, STILL, User, archipelago, failure
from tests.network.healing import offer, other_lease
from tests.network.swarm import wall_clock
from tests.network.tending import DAY, HALF_A_YEAR, MIB, kept_by, kinds_asked, lose, own_leases, tended


async def test_what_was_lost_is_there_again(autojump_clock: MockClock, base: Path) -> None:
    """From a verify link, on nodes that heal nothing; under the same lease, and without a journal."""
    async with archipelago(base, 16) as islands:
        source = islands.file("film", 3 * MIB)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
            kept = kept_by(alice, link)
            before = await own_leases(islands, alice, kept)
        lose(islands, 3)
        async with islands.user("alice") as alice:
            hurt = await alice.check(link)
            assert not hurt.healthy
            done = await tended(alice, kept)
            whole = await alice.check(link)
            assert whole.healthy
            assert evenly(whole)
            assert await own_leases(islands, alice, kept) == before, "what was there will do: nothing new was signed"
        assert done.whole
        assert not done.undone
        assert (done.live_before, done.live_after) == (live(hurt), live(whole))
        assert done.restored == done.live_after - done.live_before > 0
        assert (done.renewed, done.expiry) == (0, kept.expiry)
        async with islands.user("bob") as bob:
            await bob.fetch(link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()


def live(health: Health) -> int:
    return sum(segment.live for segment in health.segments)


def evenly(health: Health) -> bool:
    """Whether any country may vanish."""
    return health.survives.not_country == ()


async def test_nothing_is_sent_when_all_is_well(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 14) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB))).link
            kept = kept_by(alice, link)
        async with islands.user("alice") as alice:
            asked = kinds_asked(alice, monkeypatch)
            done = await tended(alice, kept)
            sent = sum(alice.meter.sent.values())
        assert done.whole
        assert (done.restored, done.renewed, done.live_before) == (0, 0, done.live_after)
        assert not {Put, PutLease}.intersection(asked)
        assert sent < 40_000, "greetings and questions"


async def test_fewer_than_k_chunks_are_left(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, puts nothing, takes nothing away; another segment of the same deposit is restored all the same."""
    async with archipelago(base, 16) as islands:
        islands.file("album/one", MIB)
        folder = islands.file("album/other", MIB).parent
        async with islands.user("alice") as alice:
            link = (await alice.publish(folder)).link
            kept = kept_by(alice, link)
            first, other, *_ = (s for s in islands.holders() if s != link.root.hex())
            for number, (index, (node,)) in enumerate(sorted(islands.holders()[first].items())):
                if number < 5:
                    node.chunk_file((first, index)).unlink()
            (node,) = islands.holders()[other][0]
            node.chunk_file((other, 0)).unlink()
            left = islands.holders()[first]
            done = await tended(alice, kept)
            assert islands.holders()[first].keys() == left.keys()
            assert len(islands.holders()[other]) == 12
        assert done.lost == 1
        assert done.restored == 1
        assert not done.whole
        (undone,) = done.undone
        assert undone.segment.hex() == first
        assert undone.why == "7 chunks are live, 8 are needed"


async def test_leases_are_renewed_at_all_holders(autojump_clock: MockClock, base: Path) -> None:
    """When less than a third is left: with the same deposit id and policy, a higher sequence, to the day asked for."""
    policy = Policy(spread_countries=False, avoid=("NZ",))
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        options = Options(lease_seconds=90 * DAY, policy=policy)
        link = (await alice.publish(islands.file("film", MIB), options=options)).link
        kept = kept_by(alice, link)
        ((before, _, _, sequence),) = await own_leases(islands, alice, kept)
        assert (await tended(alice, kept, 200 * DAY)).renewed == 0, "90 of 200 days are more than a third"
        done = await tended(alice, kept, 300 * DAY)
        leases = await own_leases(islands, alice, kept)
        ((after, deleted, found),) = {lease[:3] for lease in leases}
        assert done.whole
        assert (done.renewed, done.segments) == (2, 2)
        assert done.expiry == after > before
        assert abs(after - wall_clock() - 300 * DAY) < 60
        assert (deleted, found) == (False, policy)
        assert min(lease[3] for lease in leases) > sequence
        assert max(lease[3] for lease in leases) == done.sequence
        again = await tended(alice, replace(kept, expiry=done.expiry, sequence=done.sequence), 300 * DAY)
        assert (again.renewed, again.expiry) == (0, done.expiry)
        unmindful = await tended(alice, kept, 300 * DAY)
        assert (unmindful.renewed, unmindful.expiry) == (0, done.expiry), "holders show what was not remembered"
        short = await tended(alice, kept, 100 * DAY)
        assert abs(short.expiry - wall_clock() - 100 * DAY) < 60, "and are not believed beyond what would be asked for"


async def test_holders_that_do_not_answer(autojump_clock: MockClock, base: Path) -> None:
    """They are waited for a moment, and get the new lease at the next opportunity."""
    async with archipelago(base, 16) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
            kept = kept_by(alice, link)
        frozen = [node for node in islands.nodes if node.chunks()][:3]
        for node in frozen:
            node.host.freeze()
        async with islands.user("alice") as alice:
            began = trio.current_time()
            done = await tended(alice, kept)
            assert trio.current_time() - began < 60
        assert done.whole
        assert done.restored == sum(len(node.chunks()) for node in frozen)
        assert done.renewed == done.segments == 2
        for node in frozen:
            node.host.freeze(False)
        kept = replace(kept, expiry=done.expiry, sequence=done.sequence)
        async with islands.user("alice") as alice:
            assert min(await own_leases(islands, alice, kept))[0] < wall_clock() + DAY
            again = await tended(alice, kept)
            assert (again.whole, again.expiry) == (True, done.expiry)
            assert again.renewed == 0, "they are brought the lease that the others have"
            leases = await own_leases(islands, alice, kept)
            assert {lease[0] for lease in leases} == {done.expiry}
            assert max(lease[3] for lease in leases) == done.sequence


async def test_the_policy_is_kept(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 20) as islands, islands.user("alice") as alice:
        options = Options(policy=Policy(avoid=("NZ", "IS")))
        link = (await alice.publish(islands.file("film", MIB), options=options)).link
        kept = kept_by(alice, link)
        lose(islands, 2)
        done = await tended(alice, kept)
        assert done.restored
        assert {node.country for node in islands.nodes if node.chunks()} == {"DE", "FR"}


async def test_a_clock_behind_that_of_who_published(autojump_clock: MockClock, base: Path) -> None:
    """Renewed on a machine whose clock is behind: the sequence is one above what the holders show."""
    async with archipelago(base, 14) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=10 * DAY))).link
            kept = kept_by(alice, link)
            ((_, _, _, sequence),) = await own_leases(islands, alice, kept)
        async with islands.user("alice", clock_error=-DAY) as alice:
            done = await tended(alice, kept)
            ((expiry, _, _, newer),) = await own_leases(islands, alice, kept)
        assert done.whole
        assert done.renewed == 2
        assert newer == sequence + 1 == done.sequence
        assert expiry == done.expiry


async def test_nobody_can_take_the_chunks(autojump_clock: MockClock, base: Path) -> None:
    """Then none are read either, and what is there stays."""
    async with archipelago(base, 14) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB))).link
            kept = replace(kept_by(alice, link), policy=Policy(avoid=("DE", "FR", "IS", "NZ")))
            lose(islands, 1)
        async with islands.user("alice") as alice:
            await alice.check(link)
            checked = sum(alice.meter.received.values())
            done = await tended(alice, kept)
            assert sum(alice.meter.received.values()) - checked < checked + 30_000
        assert done.restored == 0
        assert {undone.why for undone in done.undone} == {"no node can take its chunks: avoided"}
        assert done.live_after == done.live_before


async def test_two_who_tend_at_once(autojump_clock: MockClock, base: Path) -> None:
    """They rebuild the same chunks and bring them to the same nodes: none is there twice, the leases are the same."""
    async with archipelago(base, 18) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", 2 * MIB))).link
            kept = kept_by(alice, link)
            before = await own_leases(islands, alice, kept)
        lose(islands, 3)
        results: list[Tended] = []

        async def one(user: User) -> None:
            results.append(await tended(user, kept))

        async with islands.user("alice") as here, islands.user("alice") as there, trio.open_nursery() as nursery:
            nursery.start_soon(one, here)
            nursery.start_soon(one, there)
        assert [done.whole for done in results] == [True, True]
        async with islands.user("alice") as alice:
            assert (await alice.check(link)).healthy
            assert await own_leases(islands, alice, kept) == before
        assert all(len(nodes) == 1 for held in islands.holders().values() for nodes in held.values())


async def test_two_who_renew_at_once(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 14) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
            kept = kept_by(alice, link)
        async with islands.user("alice") as here, islands.user("alice") as there, trio.open_nursery() as nursery:
            nursery.start_soon(tended, here, kept)
            nursery.start_soon(tended, there, kept)
        async with islands.user("alice") as alice:
            found = await own_leases(islands, alice, kept)
            assert all(expiry > wall_clock() + HALF_A_YEAR - 60 for expiry, *_ in found)
            assert (await tended(alice, kept)).renewed == 0


async def test_a_stranger_changes_no_lease(autojump_clock: MockClock, base: Path) -> None:
    """With all that a drive remembers, but another key, one keeps it on one's own account."""
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
        kept = kept_by(alice, link)
        before = await own_leases(islands, alice, kept)
        lose(islands, 1)
        there = islands.holders()
        async with islands.user("mallory") as mallory:
            await tended(mallory, kept)
        assert await own_leases(islands, alice, kept) - {(0, False, Policy(), 0)} == before
        # Nor by asking the holders directly: under the depositor's lease there has to be the depositor's permit.
        segment = link.root.hex()
        index, (node, *_) = next(iter(there[segment].items()))
        put, body = offer(node, (segment, index))
        free = next(node for node in islands.nodes if segment not in {s for s, _ in node.chunks()})
        statement = permit_statement(network=NETWORK.id, segment=link.root, index=index, holder=free.identity.key)
        forged = Identity(b"m" * 32).sign("permit", statement)
        with pytest.raises(PeerRefused) as refused:
            await alice.client.peers.request(free.contact, replace(put, permit=forged), body=(body,))
        assert refused.value.code is ErrorCode.BAD_LEASE


async def test_what_was_deleted_elsewhere_stays_deleted(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that was away while it was deleted is not enough to bring it back, when it is the only one announced."""

    async def the_one_that_was_away(client: Client, segment: SegmentId) -> list[ProviderRecord]:
        return [holder for holder in await find_holders(client, segment) if holder.key == again.identity.key]

    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("note", 10_000))).link
        kept = kept_by(alice, link)
        away = next(node for node in islands.nodes if node.chunks())
        away.kill()
        await failure(alice.delete(link))
        again = await islands.restart(away)
        assert set(islands.holders()) == {link.root.hex()}
        before = islands.holders()
        for place in (change, check, restoring):
            monkeypatch.setattr(place, "find_holders", the_one_that_was_away)
        for lease_seconds in (HALF_A_YEAR, 1000 * DAY):  # restored; renewed as well
            done = await tended(alice, kept, lease_seconds)
            assert done.restored == done.renewed == 0
            assert done.undone
            assert all("its depositor has deleted it" in undone.why for undone in done.undone)
        assert islands.holders() == before
        assert again.chunks()


async def test_somebody_elses_lease_is_not_enough(autojump_clock: MockClock, base: Path) -> None:
    """Of a segment that only another depositor keeps, ours is signed anew at all holders."""
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        link = (await alice.publish(islands.file("note", 10_000), options=Options(lease_seconds=3600))).link
        kept = kept_by(alice, link)
        bob = Identity(b"b" * 32)
        segment = link.root.hex()
        for nodes in islands.holders()[segment].values():
            lease = other_lease(islands, segment, bob, expiry=int(wall_clock()) + 300 * DAY)
            await alice.client.peers.request(nodes[0].contact, PutLease(lease=lease))
        await trio.sleep(2 * 3600)
        done = await tended(alice, kept)
        assert done.renewed == 1
        assert done.whole
        assert done.expiry > wall_clock() + 179 * DAY


async def test_what_is_in_the_trash_comes_back(autojump_clock: MockClock, base: Path) -> None:
    """Renewed while its holders still have it, although it is over and nobody announces it any more."""
    async with archipelago(base, 14, intervals=replace(STILL, trash=7 * DAY)) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=3600))).link
            kept = kept_by(alice, link)
            await trio.sleep(2 * 3600)
            done = await tended(alice, kept)
        assert done.renewed == 2
        assert done.whole
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy


async def test_what_was_miscounted_is_not_restored(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that was away only while chunks were counted."""
    count_chunks = check.count_chunks

    async def miscounted(*args: Any, **_: Any) -> tuple[SegmentHealth, ...]:
        found = await count_chunks(*args)
        return tuple(replace(s, holdings=s.holdings[1:], records=s.records[1:]) for s in found)

    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        kept = kept_by(alice, (await alice.publish(islands.file("film", MIB))).link)
        monkeypatch.setattr(module, "count_chunks", miscounted)
        asked = kinds_asked(alice, monkeypatch)
        done = await tended(alice, kept)
        assert (done.restored, done.live_before, done.live_after) == (0, 15, 17)
        assert done.whole
        assert Put not in asked


async def test_somebody_is_quicker(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While chunks are being rebuilt on a slow machine, another one restores them: the slow one puts nothing."""
    async with archipelago(base, 16) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("note", 10_000))).link
            kept = kept_by(alice, link)
        lose(islands, 1)
        async with islands.user("alice") as slow, islands.user("alice") as quick:

            async def slowly(client: Client, *rest: Any, **more: Any) -> list[Column]:
                columns = await rebuild(client, *rest, **more)
                if client is slow.client:
                    assert (await tended(quick, kept)).restored == 1
                    await trio.sleep(STALE_SECONDS)
                return columns

            monkeypatch.setattr(restoring, "rebuild", slowly)
            asked = kinds_asked(slow, monkeypatch)
            done = await tended(slow, kept)
        assert (done.restored, done.live_before, done.live_after) == (0, 4, 5)
        assert done.whole
        assert Put not in asked


async def test_one_segment_that_hangs_keeps_nobody_else(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(client: Client, descriptor: Descriptor, *rest: Any, **more: Any) -> list[Column]:
        if descriptor.id == stuck:
            await trio.sleep_forever()
        return await rebuild(client, descriptor, *rest, **more)

    monkeypatch.setattr(restoring, "rebuild", hanging)
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        for name in ("one", "two", "three"):
            folder = islands.file(f"album/{name}", MIB).parent
        link = (await alice.publish(folder)).link
        kept = kept_by(alice, link)
        lose(islands, 2)
        weak = [s.id for s in (await alice.check(link)).segments if s.live < s.n and s.id != link.root]
        stuck = SegmentId(weak[0])
        done = await tended(alice, kept)
        assert [(undone.segment, undone.why) for undone in done.undone] == [(stuck, "not done within 3600 s")]
        assert done.restored
        assert [s.id for s in (await alice.check(link)).segments if s.live < s.n] == [stuck]
