"""Chunks change hands: to whom, when, and by whose leave (docs/spec/healing.md sections 4 and 5)."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.healing.handover import TAKE_OVERS_EACH
from node.net.peers import PeerRefused, Peers
from node.net.wire import Wire
from node.publishing.publish import Options
from protocol.ids import SegmentId
from protocol.leases import Policy
from protocol.messages import Audit, ErrorCode, ErrorReply, Holds, Message, Put, Survey, SurveyReply
from protocol.statements import survey_statement
from tests.network.archipelago import (
    NETWORK,
    Archipelago,
    Node,
    archipelago,
)
from tests.network.healing import (
    DONE,
    MIB,
    NOTE,
    NOTICED,
    QUICK,
    TIDY,
    asker,
    bystanders,
    copies,
    distance,
    holders_of,
    missing,
    most_in_a_country,
    offer,
    only_segment,
    other_lease,
    remove,
    stays,
    tally,
    until,
)
from tests.network.holder import (
    Holder,
    holder,
)
from tests.network.swarm import wall_clock
from tests.node.builders import BOB


async def publish(islands: Archipelago, size: int, options: Options | None = None) -> str:
    """A deposit; returns its largest segment. Its holders know each other when this returns."""
    before = islands.holders()
    async with islands.user("alice") as alice:
        await alice.publish(islands.file("film", size), options=options)
    await trio.sleep(3 * QUICK.tick)
    assert not missing(islands)
    new = {segment: len(held) for segment, held in islands.holders().items() if segment not in before}
    return max(new, key=lambda segment: new[segment])


# Duplicates


@pytest.mark.parametrize("late", ["nearer", "farther"])
async def test_of_two_copies_the_farther_goes(autojump_clock: MockClock, base: Path, late: str) -> None:
    async with archipelago(base, 9, intervals=TIDY) as islands:
        segment = await publish(islands, NOTE)
        away = sorted(holders_of(islands, segment), key=lambda node: distance(node, segment))[
            0 if late == "nearer" else -1
        ]
        if late == "farther":
            remove(islands, *(n for n in bystanders(islands) if distance(n, segment) > distance(away, segment)))
            assert bystanders(islands)
        ((_, index),) = away.chunks()
        away.kill()
        await trio.sleep(NOTICED + TIDY.grace + DONE)
        (new,) = set(islands.holders()[segment][index]) - {away}
        assert (distance(new, segment) < distance(away, segment)) == (late == "farther")
        back = await islands.restart(away)
        await until(lambda: len(copies(islands)) == copies(islands).total(), 4 * TIDY.survey)
        assert not missing(islands)
        keeps = back if late == "nearer" else new
        assert islands.holders()[segment][index] == [keeps]
        assert (await tally(islands))["duplicates_dropped"] == 1


class Claimant:
    """Says of every segment that it holds one chunk, and shows none."""

    def __init__(self, index: int) -> None:
        self.index = index

    async def __call__(self, liar: Holder, wire: Wire, message: Message) -> None:
        if not isinstance(message, Survey):
            await wire.send(ErrorReply(code=ErrorCode.NOT_FOUND))
            return
        segments = [shared.segment for shared in message.segments]
        answers = tuple(Holds(indices=bytes([self.index]), leases=bytes(32), missing=0) for _ in segments)
        now = int(wall_clock())
        statement = survey_statement(
            network=NETWORK.id, nonce=message.nonce, time=now, segments=segments, answers=answers
        )
        signature = liar.identity.sign("survey", statement)
        await wire.send(SurveyReply(segments=answers, time=now, signature=signature))


def liar_distance(liar: Holder, segment: str) -> int:
    return int.from_bytes(liar.identity.node_id, "big") ^ int(segment, 16)


async def test_no_copy_goes_for_one_that_is_not_there(autojump_clock: MockClock, base: Path) -> None:
    """Somebody nearer says it holds the chunk too, everywhere, and cannot show it."""
    async with archipelago(base, 8, intervals=TIDY) as islands:
        claimant = Claimant(0)
        async with islands.user("alice") as alice, holder(islands, claimant) as liar:
            await alice.publish(islands.file("film", NOTE))
            segment = only_segment(islands)
            honest = max(holders_of(islands, segment), key=lambda node: distance(node, segment))
            ((_, claimant.index),) = honest.chunks()
            assert liar_distance(liar, segment) < distance(honest, segment)
            await liar.announce(SegmentId(bytes.fromhex(segment)), claimant.index)
            before = copies(islands)
            await stays(lambda: copies(islands), 6 * TIDY.survey)
            assert liar.count(Audit)
            assert copies(islands) == before


# Spreading out


async def test_chunks_that_share_a_node_are_spread_out(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4, intervals=TIDY) as islands:
        segment = await publish(islands, MIB)
        assert all(len([c for c in node.chunks() if c[0] == segment]) == 3 for node in islands.nodes)
        await islands.grow(8)
        for _ in range(60):
            await trio.sleep(TIDY.survey / 4)
            assert not missing(islands)
            if len(set(holders_of(islands, segment))) == 12 and len(copies(islands)) == copies(islands).total():
                break
        held = islands.holders()[segment]
        assert Counter(node for nodes in held.values() for node in nodes) == Counter(islands.nodes)
        assert most_in_a_country(islands, segment) == 3


# What a receiver takes


async def code(peers: Peers, to: Node, put: tuple[Put, memoryview]) -> ErrorCode | None:
    """How a node answers a put; None: it has taken the chunk."""
    try:
        await peers.request(to.contact, put[0], body=(put[1],))
    except PeerRefused as exc:
        return exc.code
    return None


async def test_what_a_receiver_takes_without_a_permit(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8, intervals=QUICK) as islands:
        segment = await publish(islands, NOTE)
        giver, gone, *_ = holders_of(islands, segment)
        one, two, three = bystanders(islands)
        put = offer(giver, (segment, 0))
        async with asker(islands, BOB) as bob:
            assert await code(bob, one, put) is ErrorCode.REFUSED
            assert await code(bob, one, offer(gone, (segment, 1))) is ErrorCode.REFUSED
        async with asker(islands, giver.identity) as itself:
            assert await code(itself, one, put) is None  # it hands its own chunk on
            assert await code(itself, one, offer(gone, (segment, 1))) is ErrorCode.REFUSED
        lost = offer(gone, (segment, 1))
        gone.kill()
        async with asker(islands, BOB) as bob:
            avoiding = other_lease(islands, segment, BOB, policy=Policy(avoid=(two.country,)))
            assert await code(bob, two, (replace(lost[0], lease=avoiding), lost[1])) is ErrorCode.REFUSED
            assert await code(bob, two, lost) is None
            await trio.sleep(5 * QUICK.tick)
            assert await code(bob, three, lost) is ErrorCode.REFUSED  # now somebody has it, and says so in the DHT


async def test_nothing_is_stored_without_a_live_lease(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands:
        segment = await publish(islands, NOTE)
        other = await publish(islands, NOTE + 1)
        gone = holders_of(islands, segment)[0]
        (held,) = {c for c in gone.chunks() if c[0] == segment}
        put, body = offer(gone, held)
        leases = {
            "ended": other_lease(islands, segment, BOB, expiry=int(wall_clock()) - 1),
            "deleted": other_lease(islands, segment, BOB, deleted=True),
            "of another segment": other_lease(islands, other, BOB),
            "of another size": other_lease(islands, segment, BOB, size=NOTE - 1),
            "forged": other_lease(islands, segment, BOB)[:-1] + b"\0",
        }
        gone.kill()
        receiver = bystanders(islands)[0]
        async with asker(islands, BOB) as bob:
            for why, lease in leases.items():
                assert await code(bob, receiver, (replace(put, lease=lease), body)) is ErrorCode.BAD_LEASE, why
            assert not receiver.chunks()
            damaged = memoryview(bytes(body[:-1]) + b"\0")
            assert await code(bob, receiver, (put, damaged)) not in (None, ErrorCode.BUSY)
            assert not receiver.chunks()
            assert await code(bob, receiver, (put, body)) is None
        assert receiver.chunks() == {held}


async def test_a_flood_of_such_puts_is_bounded(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands:
        segment = await publish(islands, NOTE)
        node = holders_of(islands, segment)[0]
        put = offer(node, (segment, 0))
        receiver = bystanders(islands)[0]
        node.host.mute()  # its audit takes as long as one can
        answers: Counter[ErrorCode | None] = Counter()

        async def flood(bob: Peers) -> None:
            answers[await code(bob, receiver, put)] += 1

        began = trio.current_time()
        async with asker(islands, BOB) as bob, trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(flood, bob)
        assert answers == {ErrorCode.BUSY: 4 - TAKE_OVERS_EACH, None: TAKE_OVERS_EACH}
        assert trio.current_time() - began < 10
        assert receiver.chunks() == {(segment, 0)}
