"""Who asks for too much: repairs and surveys without end, chunks put on every node (docs/spec/wire.md section 5)."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.net.peers import PeerRefused, Peers
from protocol.identity import Identity
from protocol.leases import open_lease, sign_lease
from protocol.messages import ErrorCode, PutReply, Shared, Survey
from protocol.statements import permit_statement
from tests.network.archipelago import NETWORK, Node, archipelago
from tests.network.bending import FOUND_OUT, LIVELY, bendable, publish_note, sid, whole_without
from tests.network.healing import asker, copies, holders_of, offer, other_lease, remove, stays, until
from tests.node.builders import ALICE, BOB


async def test_who_floods_with_repairs_and_surveys_gets_nothing_stored(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held is refused, whoever's lease comes with it; and a real repair is not kept waiting."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        source = holders_of(islands, segment)[0]
        chunk = next(iter(source.chunks()))
        leases = (None, other_lease(islands, segment, BOB))
        survey = Survey(nonce=bytes(16), segments=tuple(Shared(segment=sid(segment)) for _ in range(128)))
        codes: list[ErrorCode] = []

        async def flood(node: Node, lease: bytes | None) -> None:
            put, body = offer(source, chunk, lease)
            for _ in range(3):
                try:
                    await peers.request(node.contact, put, body=(body,))
                except PeerRefused as exc:
                    codes.append(exc.code)
                await peers.request(node.contact, survey)

        others = [node for node in islands.nodes if chunk not in node.chunks()][-4:]
        used = {node: insides[node.node_id].store.used_bytes for node in others}
        async with asker(islands, BOB) as peers:
            async with trio.open_nursery() as nursery:
                for node in others:
                    for lease in leases:
                        nursery.start_soon(flood, node, lease)
            assert set(codes) <= {ErrorCode.REFUSED, ErrorCode.BUSY} and len(codes) == 6 * len(others)
            assert {node: insides[node.node_id].store.used_bytes for node in others} == used
            assert sum(insides[node.node_id].tally.take_overs_refused for node in others)
            async with trio.open_nursery() as nursery:
                remove(islands, source)
                for node in others:
                    nursery.start_soon(flood, node, None)
                await until(lambda: whole_without(islands, segment), FOUND_OUT)
        # What is lost anybody may bring, and several took it: one stays.
        await until(lambda: set(copies(islands).values()) == {1}, 8 * LIVELY.survey)


async def test_many_askers_from_one_neighbourhood_leave_places_for_others(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys cost nothing: who floods has many."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        source = holders_of(islands, segment)[0]
        stranger = next(node for node in islands.nodes if not node.chunks())
        put, body = offer(source, next(iter(source.chunks())))
        asked = insides[stranger.node_id]
        codes: Counter[ErrorCode] = Counter()

        async def ask(key: int, ip: str) -> None:
            peers = Peers(Identity(bytes([key]) * 32), NETWORK, islands.net.host(ip), islands.random.randbytes)
            try:
                await peers.request(stranger.contact, put, body=(body,))
            except PeerRefused as exc:
                codes[exc.code] += 1

        source.host.mute()  # so that it takes a while to find out
        async with trio.open_nursery() as nursery:
            for key in range(1, 21):
                nursery.start_soon(ask, key, f"5.9.8.{key}")
            await trio.sleep(2)
            assert codes == {ErrorCode.BUSY: 16}
            nursery.start_soon(ask, 99, "9.8.7.6")
        assert codes == {ErrorCode.BUSY: 16}, "the one from elsewhere had its turn"
        assert asked.tally.taken_over >= 5
        assert (segment, put.index) in stranger.chunks()


async def test_what_a_put_says_is_checked_before_others_are_asked(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        source = holders_of(islands, segment)[0]
        chunk = next(iter(source.chunks()))
        stranger = next(node for node in islands.nodes if not node.chunks())
        put, body = offer(source, chunk)
        lease = open_lease(put.lease, NETWORK.id)
        asked: list[str] = []

        async def take_over(*_: object) -> None:
            asked.append("take over")

        monkeypatch.setattr(insides[stranger.node_id].healing, "take_over", take_over)
        bad = {
            "index": replace(put, index=9),
            "hashes": replace(put, hashes=put.hashes[::-1]),
            "size": replace(put, lease=sign_lease(ALICE, replace(lease, depositor=ALICE.key, size=lease.size + 1))),
            "deletion": replace(put, lease=sign_lease(ALICE, replace(lease, depositor=ALICE.key, deleted=True))),
            "expired": replace(put, lease=sign_lease(ALICE, replace(lease, depositor=ALICE.key, expiry=1))),
        }
        async with asker(islands, BOB) as peers:
            for name, message in bad.items():
                with pytest.raises(PeerRefused) as caught:
                    await peers.request(stranger.contact, message, body=(body,))
                assert caught.value.code in (ErrorCode.MALFORMED, ErrorCode.BAD_LEASE), name
            with pytest.raises(PeerRefused):
                await peers.request(stranger.contact, put, body=(body[:-1],))
            assert not asked
            monkeypatch.setattr(insides[source.node_id].healing, "take_over", take_over)
            reply, _ = await peers.request(source.contact, put, body=(body,))
            assert isinstance(reply, PutReply) and not asked, "who holds it already asks nobody"
            await peers.request(stranger.contact, put, body=(body,))
            assert asked == ["take over"]


async def test_a_depositor_who_puts_everything_everywhere_fills_nobody(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lease and fresh permits for every node: it is their own share that is used up, and nothing else changes."""
    bendable(monkeypatch)
    async with archipelago(base, 6, intervals=LIVELY) as islands:
        link, segment = await publish_note(islands)
        offers = [
            offer(node, (name, index), sign_lease(ALICE, replace(node.lease((name, index)), depositor=ALICE.key)))
            for node in islands.nodes
            for name, index in node.chunks()
        ][:2]
        async with asker(islands, ALICE) as peers:
            for node in islands.nodes:
                for put, body in offers:
                    statement = permit_statement(
                        network=NETWORK.id, segment=sid(segment), index=put.index, holder=node.identity.key
                    )
                    permit = ALICE.sign("permit", statement)
                    await peers.request(node.contact, replace(put, permit=permit), body=(body,))
                    with pytest.raises(PeerRefused):  # a permit for another node
                        await peers.request(
                            islands.nodes[islands.nodes.index(node) - 1].contact,
                            replace(put, permit=permit),
                            body=(body,),
                        )
        assert sorted(copies(islands).values()) == [1, 1, 1, 6, 6]
        await stays(lambda: copies(islands), 6 * LIVELY.survey)
        assert whole_without(islands, segment)
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy
