"""Puts and permits: the depositor's word is enough, anybody else's is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing
from trio.testing import MockClock

from node.net.wire import Wire
from node.store.refusal import Refusal
from protocol.identity import Network
from protocol.messages import ErrorCode, ErrorReply, Message, Put, PutReply
from protocol.statements import permit_statement
from tests.node.builders import ALICE, BOB, NETWORK, NOW, lease_for, permit_for, sample
from tests.node.serving import NODE, Bench, bench, put_message

SEGMENT, OTHER = sample(), sample(9)
BODY = SEGMENT.columns[1]
GOOD = put_message(SEGMENT, 1)


HANDED = replace(GOOD, permit=b"")
"""As another holder puts it."""


async def answer_to_header(wire: Wire, message: Put) -> Message:
    """The reply to a put of whose body nothing was sent yet."""
    await wire.send_header(message, len(BODY))
    return await reply_on(wire)


async def put_on(wire: Wire, message: Put) -> Message:
    await wire.send(message, (memoryview(BODY),))
    return await reply_on(wire)


async def reply_on(wire: Wire) -> Message:
    header = await wire.receive_header()
    assert header is not None
    wire.end_body()
    return header.message


def nothing_is_kept(it: Bench) -> bool:
    return it.store.used_bytes == 0 and it.store._quota.reserved == 0 and not it.store.holdings()


def indices_held(it: Bench) -> list[int]:
    return [chunk.index for chunk in it.store.holdings()]


def other_label() -> bytes:
    statement = permit_statement(network=NETWORK.id, segment=SEGMENT.id, index=1, holder=NODE.key)
    return ALICE.sign("lease", statement)


BAD: dict[str, Callable[[], bytes]] = {
    "not the depositor's": lambda: permit_for(SEGMENT, 1, NODE.key, BOB),
    "the holder's own": lambda: permit_for(SEGMENT, 1, NODE.key, NODE),
    "another holder": lambda: permit_for(SEGMENT, 1, BOB.key),
    "another index": lambda: permit_for(SEGMENT, 0, NODE.key),
    "another segment": lambda: permit_for(OTHER, 1, NODE.key),
    "another network": lambda: permit_for(SEGMENT, 1, NODE.key, network=Network("other")),
    "another label": other_label,
    "flipped": lambda: GOOD.permit[:-1] + bytes([GOOD.permit[-1] ^ 1]),
    "cut": lambda: GOOD.permit[:-1],
    "zeros": lambda: bytes(64),
    "one byte": lambda: b"\0",
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
async def test_a_bad_permit_is_refused_before_the_body_is_read(
    autojump_clock: MockClock, tmp_path: Path, make: Callable[[], bytes]
) -> None:
    """And nobody is asked whether the chunk may be taken all the same."""
    async with bench(tmp_path) as it:
        wire = await it.wire()
        reply = await answer_to_header(wire, replace(GOOD, permit=make()))
        assert isinstance(reply, ErrorReply)
        assert reply.code is ErrorCode.BAD_LEASE
        assert "permit" in reply.text
        assert nothing_is_kept(it)
        await wire.send_body(memoryview(BODY))
        assert isinstance(await put_on(wire, GOOD), PutReply), "the connection goes on"
        assert it.offered == []
        assert indices_held(it) == [1]
        await wire.close()


async def test_a_permit_is_by_the_depositor_of_the_lease_that_comes_with_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with bench(tmp_path) as it:
        of_bob = replace(GOOD, lease=lease_for(SEGMENT, BOB)[1])
        assert await it.code(of_bob, BODY) is ErrorCode.BAD_LEASE
        assert nothing_is_kept(it)
        permitted = replace(of_bob, permit=permit_for(SEGMENT, 1, NODE.key, BOB))
        assert isinstance(await it.ask(permitted, BODY), PutReply)


async def test_with_a_permit_nobody_else_is_asked(autojump_clock: MockClock, tmp_path: Path) -> None:
    """By whichever way it comes: ALICE permits, BOB brings it."""
    async with bench(tmp_path) as it:
        it.refusal = Refusal(ErrorCode.REFUSED, "somebody has it")
        wire = await it.wire()
        assert isinstance(await put_on(wire, GOOD), PutReply)
        assert isinstance(await it.ask(put_message(SEGMENT, 0), SEGMENT.columns[0]), PutReply)
        assert it.offered == []
        assert it.kept == [(SEGMENT.id, 1, False), (SEGMENT.id, 0, False)]
        assert indices_held(it) == [0, 1]
        await wire.close()


async def test_without_a_permit_it_is_asked_whether_to_take_over(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Of the depositor too, who is then a holder like any other."""
    async with bench(tmp_path) as it:
        wire = await it.wire()
        assert isinstance(await put_on(wire, HANDED), PutReply)
        lease, data = lease_for(SEGMENT)
        assert it.offered == [(SEGMENT.id, 1, lease, BOB.key)]
        assert indices_held(it) == [1]
        own = replace(put_message(SEGMENT, 0, data), permit=b"")
        assert isinstance(await it.ask(own, SEGMENT.columns[0]), PutReply)
        assert it.offered[1:] == [(SEGMENT.id, 0, lease, ALICE.key)]
        assert it.kept == [(SEGMENT.id, 1, True), (SEGMENT.id, 0, True)]
        await wire.close()


async def test_what_is_not_to_be_taken_over_is_refused_before_the_body_is_read(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with bench(tmp_path) as it:
        it.refusal = Refusal(ErrorCode.REFUSED, "somebody has it")
        wire = await it.wire()
        await wire.send_header(HANDED, len(BODY))
        await trio.testing.wait_all_tasks_blocked()
        assert it.offered, "the question is under way"
        assert nothing_is_kept(it), "and takes no room"
        assert await reply_on(wire) == ErrorReply(code=ErrorCode.REFUSED, text="somebody has it")
        assert nothing_is_kept(it)
        await wire.send_body(memoryview(BODY))
        assert isinstance(await put_on(wire, GOOD), PutReply), "the connection goes on"
        assert len(it.offered) == 1
        assert it.kept == [(SEGMENT.id, 1, False)]
        await wire.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (replace(HANDED, descriptor=b"x"), ErrorCode.MALFORMED),
        (replace(HANDED, lease=bytes(80)), ErrorCode.BAD_LEASE),
        (replace(HANDED, lease=lease_for(SEGMENT, network=Network("other"))[1]), ErrorCode.BAD_LEASE),
    ],
    ids=["descriptor", "lease", "network"],
)
async def test_nobody_is_asked_about_what_cannot_be_read(
    autojump_clock: MockClock, tmp_path: Path, message: Put, code: ErrorCode
) -> None:
    async with bench(tmp_path) as it:
        assert await it.code(message, BODY) is code
        assert it.offered == []
        assert nothing_is_kept(it)


@pytest.mark.parametrize(("reachable", "leaving"), [(False, False), (True, True)])
async def test_a_node_that_does_not_store_asks_nobody(
    autojump_clock: MockClock, tmp_path: Path, reachable: bool, leaving: bool
) -> None:
    async with bench(tmp_path) as it:
        it.statements.reachable, it.statements.leaving = reachable, leaving
        for message in (HANDED, GOOD):
            assert await it.code(message, BODY) is ErrorCode.NOT_STORING
        assert it.offered == []


async def test_a_node_that_begins_to_leave_meanwhile_takes_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        wire = await it.wire()
        await wire.send_header(HANDED, len(BODY))
        await trio.testing.wait_all_tasks_blocked()
        assert it.offered, "the question is under way"
        it.statements.leaving = True
        reply = await reply_on(wire)
        assert isinstance(reply, ErrorReply)
        assert reply.code is ErrorCode.NOT_STORING
        assert nothing_is_kept(it)
        await wire.close()


async def test_leave_to_take_over_is_no_leave_to_send_anything(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What a holder hands on is checked as what a depositor puts is."""
    async with bench(tmp_path) as it:
        expired = replace(HANDED, lease=lease_for(SEGMENT, expiry=NOW)[1])
        assert await it.code(expired, BODY) is ErrorCode.BAD_LEASE
        assert await it.code(HANDED, BODY[:-1] + bytes([BODY[-1] ^ 1])) is ErrorCode.MALFORMED
        assert nothing_is_kept(it)
        assert it.kept == []
