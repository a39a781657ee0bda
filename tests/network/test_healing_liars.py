"""Holders that lie, flood or replay: noticed, and nothing is lost by it (docs/spec/healing.md section 2)."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.net.peers import PeerBroke, PeerRefused
from protocol.identity import Identity
from protocol.ids import Address, SegmentId
from protocol.messages import ErrorCode, Shared, Survey, SurveyReply
from protocol.records import NodeRecord, sign_node_record
from tests.network.archipelago import NETWORK, Node, archipelago
from tests.network.bending import (
    FOUND_OUT,
    LIVELY,
    Everybody,
    bendable,
    claims_all,
    honest,
    keeps_hashes_only,
    keeps_saying,
    publish_note,
    resigned,
    serves_junk,
    sid,
    unsigned_junk,
    whole_without,
)
from tests.network.healing import (
    asker,
    copies,
    holders_of,
    remove,
    until,
)
from tests.network.swarm import wall_clock
from tests.node.builders import ALICE, BOB


@pytest.mark.parametrize("lie", [keeps_hashes_only, serves_junk], ids=["keeps hashes", "serves junk"])
async def test_a_wrong_signed_answer_is_proof(
    autojump_clock: MockClock,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lie: Callable[..., Any],
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        link, segment = await publish_note(islands)
        liar = holders_of(islands, segment)[1]
        bent = insides[liar.node_id].server
        bent.on_audit, bent.gets_nothing = lie, True
        with caplog.at_level(logging.WARNING):
            await until(lambda: whole_without(islands, segment, liar), FOUND_OUT)
        assert "signed a wrong answer" in caplog.text
        assert sum(one.tally.audits_proven for one in honest(islands, insides, liar))
        assert sum(bool((seen := one.sees(liar)) and seen.distrusted) for one in honest(islands, insides, liar))
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy
        for one in honest(islands, insides, liar):
            seen = one.sees(liar)
            assert seen is None or not (seen.distrusted and seen.holdings)


async def gone_but(node: Node, insides: Everybody, segment: str) -> None:
    """A node drops what it has and goes on saying that it has it."""
    mine = node.chunks()
    store = insides[node.node_id].store
    store.lie = keeps_saying(mine)
    for name, index in mine:
        store.drop(sid(name), index)
    await insides[node.node_id].announce(sid(segment), [index for name, index in mine if name == segment])


async def test_who_signs_and_drops_is_counted_as_a_holder_no_more(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        link, segment = await publish_note(islands)
        liar = holders_of(islands, segment)[0]
        await gone_but(liar, insides, segment)
        async with islands.user("bob") as bob:
            assert not (await bob.check(link)).healthy
        await until(lambda: whole_without(islands, segment, liar), FOUND_OUT)
        assert not liar.chunks()
        assert sum(one.tally.audits_failed for one in honest(islands, insides, liar)) >= 2
        assert not sum(one.tally.audits_proven for one in honest(islands, insides, liar)), "a refusal is no lie"
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy
        put = insides[liar.node_id].store
        await trio.sleep(LIVELY.audit)
        assert not put.chunk_count(), "nobody gives it another"
        assert whole_without(islands, segment, liar)


async def test_an_unsigned_wrong_answer_costs_no_more_than_the_chunk(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        liar = holders_of(islands, segment)[0]
        insides[liar.node_id].server.on_audit = unsigned_junk
        await until(lambda: whole_without(islands, segment, liar), FOUND_OUT)
        found = [seen for one in honest(islands, insides, liar) if (seen := one.sees(liar))]
        assert not any(seen.distrusted for seen in found)
        assert any(seen.failed for seen in found)


@pytest.mark.parametrize("after", [False, True], ids=["while all is well", "of what is missed"])
async def test_who_claims_everything_is_not_believed(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        link, segment = await publish_note(islands)
        liar = next(node for node in islands.nodes if not node.chunks())
        gone = holders_of(islands, segment)[2:4]
        if after:
            remove(islands, *gone)
        bent = insides[liar.node_id]
        bent.store.lie = claims_all(5)
        bent.ledger.enter(sid(segment))
        await bent.announce(sid(segment), range(5))
        if not after:
            await trio.sleep(2 * LIVELY.survey)
            assert set(copies(islands).values()) == {1}, "no honest holder drops its own for it"
            assert len(copies(islands)) == 5
            remove(islands, *gone)
        for _ in range(3):
            await bent.announce(sid(segment), range(5))
            await trio.sleep(LIVELY.survey / 3)
        await until(lambda: whole_without(islands, segment, liar), FOUND_OUT)
        assert sum(one.tally.audits_failed for one in honest(islands, insides, liar))
        for one in honest(islands, insides, liar):
            if one.store.chunk_count():
                assert all(node.contact.key != liar.identity.key for _, node in one.ledger.holders(sid(segment)))
        async with islands.user("bob") as bob:
            assert (await bob.check(link)).healthy


Answer = Callable[[Any, Survey, SurveyReply], SurveyReply]


def _badly_signed(server: Any, asked: Survey, reply: SurveyReply) -> SurveyReply:
    return replace(reply, signature=bytes(64))


def _beyond_n(server: Any, asked: Survey, reply: SurveyReply) -> SurveyReply:
    told = tuple(replace(holds, indices=bytes(range(32))) for holds in reply.segments)
    return resigned(server, asked, replace(reply, segments=told))


def _other_leases(server: Any, asked: Survey, reply: SurveyReply) -> SurveyReply:
    told = tuple(replace(holds, leases=b"x" * 32, missing=32) for holds in reply.segments)
    return resigned(server, asked, replace(reply, segments=told))


@pytest.mark.parametrize("answer", [_badly_signed, _beyond_n, _other_leases])
async def test_answers_to_surveys_that_are_not_as_they_should_be(
    autojump_clock: MockClock,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        liar, *others = holders_of(islands, segment)
        bent = insides[liar.node_id].server
        bent.on_survey = answer
        before = {node: insides[node.node_id].ledger.standing(sid(segment)) for node in others}
        await until(lambda: sum(isinstance(message, Survey) for message in bent.asked) >= 4, 3 * LIVELY.survey)
        await trio.sleep(3 * LIVELY.tick)
        assert {node: insides[node.node_id].ledger.standing(sid(segment)) for node in others} == before
        for node in others:
            assert len(before[node].live) == before[node].n == 5
            assert insides[node.node_id].tally.leases_learned == 0
        assert copies(islands).total() == 5


async def test_surveys_that_say_too_much(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stranger: a record that is not its own, segments nobody knows, one segment again and again."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 6, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        node, *_ = holders_of(islands, segment)
        one = insides[node.node_id]
        before = one.ledger.standing(sid(segment))

        def record(identity: Identity) -> bytes:
            said = NodeRecord(
                network=NETWORK.id,
                key=identity.key,
                address=Address("10.9.9.9", 4110),
                country="XX",
                free_bytes=0,
                storing=True,
                time=int(wall_clock()),
                software="test",
            )
            return sign_node_record(identity, said)

        everything = bytes(range(32))
        async with asker(islands, BOB) as peers:
            for bad in (record(ALICE), record(BOB)[:-1] + b"x"):
                with suppress(PeerBroke):
                    with pytest.raises(PeerRefused) as caught:
                        await peers.request(node.contact, Survey(nonce=bytes(16), record=bad, segments=()))
                    assert caught.value.code is ErrorCode.MALFORMED
            unknown = tuple(Shared(segment=SegmentId(bytes([i]) * 32), indices=everything) for i in range(128))
            known = tuple(Shared(segment=sid(segment), indices=everything) for _ in range(128))
            for segments in (unknown, known):
                ask = Survey(nonce=bytes(16), record=record(BOB), segments=segments)
                reply, _ = await peers.request(node.contact, ask)
                assert isinstance(reply, SurveyReply) and len(reply.segments) == 128
            assert one.ledger.segments() == [sid(segment)]
        await trio.sleep(20 + 3 * LIVELY.tick)  # nobody answers there
        assert one.ledger.standing(sid(segment)) == before
        assert not one.ledger.claims
        assert copies(islands).total() == 5


async def test_silence_is_no_proof_but_a_node_that_answers_nothing_is_missing(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers every ping, and hears nothing by TCP."""
    insides = bendable(monkeypatch)
    async with archipelago(base, 8, intervals=LIVELY) as islands:
        _, segment = await publish_note(islands)
        mute = holders_of(islands, segment)[3]
        mute.host.mute()
        others = list(honest(islands, insides, mute))
        await until(lambda: any(one.tally.audits_silent >= 3 for one in others), FOUND_OUT)
        assert not whole_without(islands, segment, mute), "one that is silent has its grace"
        await until(lambda: any(one.tally.missing_nodes for one in others), 2 * LIVELY.ping)
        await until(lambda: whole_without(islands, segment, mute), LIVELY.grace + FOUND_OUT)
        assert not sum(one.tally.audits_failed for one in others)
        assert not any(seen.failed or seen.distrusted for one in others if (seen := one.sees(mute)))
        mute.host.mute(False)
        await until(lambda: not any(one.tally.missing_nodes for one in others), 4 * LIVELY.ping)
