"""Leases among holders: who was away learns of renewals and deletions; what was deleted stays so (section 6)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.keeping.lifetime import runs_until
from node.publishing.publish import Options
from protocol.identity import Identity
from protocol.ids import SegmentId
from protocol.leases import open_lease, sign_lease
from protocol.links import Link
from protocol.messages import LEASES_PAGE, MAX_LEASES, Audit, Get, Held, Leases, LeasesReply, Put, PutLease
from tests.network.archipelago import NETWORK, Archipelago, Node, archipelago
from tests.network.bending import LIVELY, Everybody, Server, bendable
from tests.network.healing import NOTE, asker, copies, holders_of, missing, only_segment, other_lease, remove, until
from tests.network.swarm import wall_clock
from tests.node.builders import ALICE, BOB

AWAY = replace(LIVELY, audit=10**6, scrub=10**6, grace=600, short_grace=600)
"""Nothing is audited, and who is away for a while has time to come back."""
EXCHANGED = 2 * LIVELY.survey + 3 * LIVELY.tick


async def publish(islands: Archipelago, lease_seconds: int = 10**7) -> tuple[Link, SegmentId]:
    """A deposit of one small segment, 1 of 5. Its holders know each other when this returns."""
    async with islands.user() as alice:
        published = await alice.publish(islands.file("note", NOTE), options=Options(lease_seconds=lease_seconds))
    await trio.sleep(5 * LIVELY.tick)
    assert not missing(islands)
    return published.link, SegmentId(bytes.fromhex(only_segment(islands)))


def kept(insides: Everybody, node: Node, segment: SegmentId) -> set[bytes]:
    return set(insides[node.node_id].store.leases(segment))


async def put_lease(islands: Archipelago, node: Node, lease: bytes) -> None:
    async with asker(islands, BOB) as peers:
        await peers.request(node.contact, PutLease(lease=lease))


async def test_what_differs_is_exchanged_both_ways(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands:
        _, segment = await publish(islands)
        nodes = holders_of(islands, segment.hex())
        await put_lease(islands, nodes[0], other_lease(islands, segment.hex(), ALICE))
        await put_lease(islands, nodes[1], other_lease(islands, segment.hex(), BOB))
        await until(lambda: all(len(kept(insides, node, segment)) == 3 for node in nodes), EXCHANGED)
        learned = sum(insides[node.node_id].tally.leases_learned for node in nodes)
        brought = sum(insides[node.node_id].server.count(PutLease) for node in nodes)
        assert learned and learned + brought - 2 >= 8, "two leases, at four more holders each"
        for node in nodes:
            insides[node.node_id].server.asked.clear()
        await trio.sleep(EXCHANGED)
        assert not sum(insides[node.node_id].server.count(Leases, PutLease) for node in nodes), "all know the same"


async def test_until_when_a_deposit_is_kept(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As most holders say; nobody knows when none is left."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands, islands.user("bob") as bob:
        link, segment = await publish(islands, 86_400)
        (expiry,) = {
            open_lease(lease, NETWORK.id).expiry
            for lease in kept(insides, holders_of(islands, segment.hex())[0], segment)
        }
        assert await runs_until(bob.client, link.root) == expiry
        for node, told in zip(holders_of(islands, segment.hex()), (1, 2**40), strict=False):
            held = Held(indices=b"\0", expiry=told)
            monkeypatch.setattr(insides[node.node_id].store, "have", lambda *_, held=held: (held,))
        assert await runs_until(bob.client, link.root) == expiry
        for node in list(islands.nodes):
            node.host.cut()
        assert await runs_until(bob.client, link.root) == 0


async def test_who_was_away_learns_of_a_renewal(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands:
        link, segment = await publish(islands, 86_400)
        away = holders_of(islands, segment.hex())[0]
        away.kill()
        async with islands.user() as alice:
            renewed = await alice.renew(link, 10**6)
        away = await islands.restart(away)
        known = insides[away.node_id].store
        await until(lambda: open_lease(known.leases(segment)[0], NETWORK.id).expiry == renewed.expiry, EXCHANGED)


async def test_a_renewal_asks_for_leases_and_brings_one_and_moves_nothing(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(AWAY, survey=10**6)) as islands:
        link, _ = await publish(islands, 86_400)
        for node in islands.nodes:
            insides[node.node_id].server.asked.clear()
        async with islands.user() as alice:
            await alice.renew(link, 10**6)
        for node in islands.nodes:
            server = insides[node.node_id].server
            assert server.count(PutLease) == len(node.chunks())
            assert server.count(Leases) >= len(node.chunks()), "others may have signed for longer"
            assert not server.count(Put, Get, Audit)
        async with islands.user() as alice:
            await alice.publish(base / "source" / "note", options=Options(lease_seconds=10**7))
        assert not sum(insides[node.node_id].server.count(Put) for node in islands.nodes), "it is all there"
        assert copies(islands).total() == 5


async def test_who_was_away_learns_of_a_deletion(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunk goes; the tombstone is kept there as well, until it expires, and by those who told it."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands:
        link, segment = await publish(islands, 500)
        nodes = holders_of(islands, segment.hex())
        away = nodes[0]
        await gone_while_deleted(islands, link, [away])
        assert copies(islands).total() == 1
        await trio.sleep(10)
        nodes[0] = await islands.restart(away)
        await until(lambda: not copies(islands), EXCHANGED)
        for node in nodes:
            (tombstone,) = kept(insides, node, segment)
            assert open_lease(tombstone, NETWORK.id).deleted
        await trio.sleep(500)
        assert not any(kept(insides, node, segment) for node in nodes)
        assert not copies(islands)


async def gone_while_deleted(islands: Archipelago, link: Link, away: list[Node]) -> None:
    """Nodes are away while a deposit is deleted by those who are there."""
    for node in away:
        node.kill()
    async with islands.user() as alice:
        (row,) = alice.journal.deposits(link.root)
        sequence, expiry = alice.journal.next_terms(row.deposit, row.sequence + 1, row.expiry)
        index, (there, *_) = next(
            (index, nodes) for index, nodes in islands.holders()[link.root.hex()].items() if not set(nodes) & set(away)
        )
        lease = replace(there.lease((link.root.hex(), index)), sequence=sequence, expiry=expiry, deleted=True)
        signed = sign_lease(alice.depositor.identity, lease)
        for node in islands.nodes:
            if node not in away and node.chunks():
                await alice.client.peers.request(node.contact, PutLease(lease=signed))


async def test_what_was_deleted_is_not_brought_back_by_those_who_were_away(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of five, where one is enough to rebuild, and nobody announces any more who has heard of the deletion."""
    bendable(monkeypatch)
    quick = replace(AWAY, announce=60, grace=8, short_grace=8, rank=4)
    async with archipelago(base, 10, intervals=quick) as islands:
        link, segment = await publish(islands)
        away = holders_of(islands, segment.hex())[:3]
        await gone_while_deleted(islands, link, away)
        for node in islands.nodes:  # those who know of it, and have been asked by nobody: as after a week
            if node not in away:
                node.kill()
        await trio.sleep(1)
        islands.nodes[:] = [await islands.restart(node) if node not in away else node for node in islands.nodes]
        await trio.sleep(3 * quick.announce)
        for node in away:
            await islands.restart(node)
        seen: set[int] = set()
        began = trio.current_time()
        while copies(islands):
            seen.add(copies(islands).total())
            assert trio.current_time() < began + 300
            await trio.sleep(2)
        assert max(seen) <= 3


async def test_what_has_expired_is_brought_back_by_a_renewal(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    soon = replace(AWAY, ping=60, survey=150, announce=50, grace=8, short_grace=8, rank=8, tick=8, trash=600)
    async with archipelago(base, 6, intervals=soon) as islands:
        link, segment = await publish(islands, 100)
        await trio.sleep(200)  # nobody announces it any more
        remove(islands, holders_of(islands, segment.hex())[0])
        await trio.sleep(150)
        assert copies(islands).total() == 4, "it is kept, and nobody repairs it"
        assert not any(insides[node.node_id].store.live_leases(segment) for node in islands.nodes)
        async with islands.user() as alice:
            renewed = await alice.renew(link, 500)
        assert renewed.holders and not renewed.silent
        await until(lambda: not missing(islands), 400)
        for node in holders_of(islands, segment.hex()):
            (lease,) = insides[node.node_id].store.live_leases(segment)
            assert open_lease(lease, NETWORK.id).expiry == renewed.expiry


async def test_what_has_expired_is_not_repaired_and_goes(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=replace(AWAY, grace=8, rank=8, tick=8, trash=400)) as islands:
        _, segment = await publish(islands, 60)
        await trio.sleep(60)
        remove(islands, holders_of(islands, segment.hex())[0])
        await trio.sleep(400 - 60)
        assert copies(islands).total() == 4
        assert not sum(insides[node.node_id].tally.repairs_pending for node in islands.nodes), "nobody wants it"
        await until(lambda: not copies(islands), 400)  # with the next sweep
        assert not any(insides[node.node_id].store.used_bytes for node in islands.nodes)


Answer = Callable[[Server, Leases, LeasesReply], LeasesReply]


def _made(change: Callable[[bytes], list[bytes]]) -> Answer:
    return lambda server, asked, reply: replace(reply, leases=tuple(change(reply.leases[0])), more=False)


def _deletion_by_another(signed: bytes) -> list[bytes]:
    lease = open_lease(signed, NETWORK.id)
    return [sign_lease(BOB, replace(lease, depositor=BOB.key, deleted=True)), signed[:-1] + bytes([signed[-1] ^ 1])]


def _of_another_segment(signed: bytes) -> list[bytes]:
    lease = replace(open_lease(signed, NETWORK.id), depositor=BOB.key, segment=SegmentId(b"x" * 32))
    return [sign_lease(BOB, lease)]


def _of_another_size(signed: bytes) -> list[bytes]:
    lease = open_lease(signed, NETWORK.id)
    return [sign_lease(BOB, replace(lease, depositor=BOB.key, size=lease.size + 1))]


def _of_another_network(signed: bytes) -> list[bytes]:
    lease = open_lease(signed, NETWORK.id)
    return [sign_lease(BOB, replace(lease, depositor=BOB.key, network=type(lease.network)(b"n" * 32)))]


@pytest.mark.parametrize(
    "forged", [_deletion_by_another, _of_another_segment, _of_another_size, _of_another_network, lambda _: [b"x"]]
)
async def test_forged_leases_change_nothing(
    autojump_clock: MockClock,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    forged: Callable[[bytes], list[bytes]],
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands:
        _, segment = await publish(islands)
        liar, *others = holders_of(islands, segment.hex())
        (before,) = {frozenset(kept(insides, node, segment)) for node in others}
        bent = insides[liar.node_id]
        bent.server.on_leases = _made(forged)
        bent.store.lie = lambda segments, truth: [(indices, b"d" * 32) for indices, _ in truth]
        with caplog.at_level(logging.DEBUG):
            await until(lambda: bent.server.count(Leases) >= 2, EXCHANGED)
            await trio.sleep(LIVELY.tick)
        assert {frozenset(kept(insides, node, segment)) for node in others} == {before}
        assert not sum(insides[node.node_id].tally.leases_learned for node in others)
        assert copies(islands).total() == 5


async def test_more_leases_than_fit_one_page(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=AWAY) as islands:
        _, segment = await publish(islands)
        nodes = holders_of(islands, segment.hex())
        many = 2 * LEASES_PAGE + 1
        assert many <= MAX_LEASES
        known = insides[nodes[0].node_id].store
        for number in range(1, many):
            signed = other_lease(islands, segment.hex(), Identity(bytes([number]) * 32))
            known.apply_lease(open_lease(signed, NETWORK.id), signed)
        await until(lambda: all(len(kept(insides, node, segment)) == many for node in nodes), EXCHANGED)
        skips = {message.skip for message in insides[nodes[0].node_id].server.asked if isinstance(message, Leases)}
        assert skips == {0, LEASES_PAGE, 2 * LEASES_PAGE}
        assert open_lease(known.leases(segment)[0], NETWORK.id).expiry > wall_clock()
