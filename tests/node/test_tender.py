"""In which order deposits have their turn, which rounds audit, and what is told of those who refuse."""

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dht.contact import Contact
from node.errors import NotFoundError
from node.keeping.kept import Kept
from node.keeping.tend import Tended
from node.keeping.tender import AUDITED_ROUNDS, MOST_REASONS, Tender, TenderTally
from node.net.peers import PeerRefused
from node.refusals import MAX_REFUSALS, Refusals
from protocol.ids import Address, PublicKey, SegmentId
from protocol.links import Link, LinkKind
from protocol.messages import ErrorCode

INTERVAL = 900.0


class Deposits:
    """Three of them, and what came of tending them."""

    def __init__(self) -> None:
        self.turns: list[tuple[bytes, bool]] = []
        self.live = dict.fromkeys((b"a", b"b", b"c"), 12)
        self.expiry = {b"a": 300, b"b": 200, b"c": 100}
        self.gone: bytes | None = None
        self.refusals: list[tuple[int, ErrorCode, str]] = []
        self.tally = TenderTally()
        clock = SimpleNamespace(wall=lambda: 1_700_000_000 + trio.current_time())
        self.client: Any = SimpleNamespace(refusals=Refusals(), world=SimpleNamespace(clock=clock))

    async def what_is_kept(self) -> Sequence[Kept]:
        link = Link(LinkKind.READ, SegmentId(b"r" * 32), b"k" * 32).verify_link()
        return [Kept(link, name * 16, expiry=expiry) for name, expiry in self.expiry.items()]

    async def tend(self, client: Any, _: object, kept: Kept, *__: object, audited: bool, patience: object) -> Tended:
        name = kept.deposit[:1]
        self.turns.append((name, audited))
        for number, code, text in self.refusals:
            contact = Contact(PublicKey(number.to_bytes(32, "big")), Address("10.0.0.1", 4110))
            client.refusals.note(contact, "FR", PeerRefused(code, text))
        if name == self.gone:
            raise NotFoundError("its root is not found")
        live = self.live[name]
        common: dict[str, Any] = {"segments": 1, "chunks": 12, "restored": 0, "renewed": 0, "expiry": 1, "sequence": 1}
        return Tended(live_before=live, live_after=live, lost=int(live < 8), **common)

    async def nothing(self, *_: object) -> Any:
        return self


@pytest.fixture
def deposits(monkeypatch: pytest.MonkeyPatch) -> Deposits:
    deposits = Deposits()
    monkeypatch.setattr("node.keeping.tender.tend", deposits.tend)
    return deposits


async def rounds(deposits: Deposits, count: int) -> list[list[tuple[bytes, bool]]]:
    """The turns of so many rounds of one service."""
    done = []
    tender = Tender(
        deposits.client,
        deposits.nothing,
        deposits.what_is_kept,
        deposits.nothing,
        interval=INTERVAL,
        lease_seconds=1000,
        tally=deposits.tally,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tender.run)
        await trio.sleep(INTERVAL / 12)
        for _ in range(count):
            done.append(deposits.turns[:])
            deposits.turns.clear()
            await trio.sleep(INTERVAL)
        nursery.cancel_scope.cancel()
    return done


async def test_what_ends_first_or_was_not_well_has_its_turn_first(
    autojump_clock: MockClock, deposits: Deposits
) -> None:
    deposits.live[b"a"] = 10
    deposits.gone = b"b"
    first, second = await rounds(deposits, 2)
    assert [name for name, _ in first] == [b"c", b"b", b"a"]
    assert [name for name, _ in second] == [b"b", b"a", b"c"]


async def test_holders_are_audited_in_every_seventh_round(autojump_clock: MockClock, deposits: Deposits) -> None:
    """The first one after the start is one of them."""
    found = await rounds(deposits, 2 * AUDITED_ROUNDS)
    assert [turns[0][1] for turns in found] == ([True] + [False] * (AUDITED_ROUNDS - 1)) * 2


async def test_who_refuses_is_told_of_each_round(
    autojump_clock: MockClock, deposits: Deposits, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deposits.refusals = [(1, ErrorCode.FULL, ""), (2, ErrorCode.FULL, ""), (3, ErrorCode.REFUSED, "not\nyou")]
    await rounds(deposits, 1)
    told = [
        {"code": "full", "reason": "", "nodes": 2},
        {"code": "refused", "reason": "not\nyou", "nodes": 1},
    ]
    assert deposits.tally.refusals == told
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("deposit ")]
    assert lines[0].endswith("; refused by 2 nodes (full), 1 node (refused: 'not\\nyou')")
    deposits.refusals = [(number, ErrorCode.REFUSED, f"{number}") for number in range(2 * MAX_REFUSALS)]
    await rounds(deposits, 1)
    assert len(deposits.tally.refusals) == MOST_REASONS
    deposits.refusals = []
    await rounds(deposits, 1)
    assert deposits.tally.refusals == []
