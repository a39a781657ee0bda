"""The service that tends all deposits of an account, round after round."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import MachineError, RefusedError
from node.home import Depositor
from node.keeping.kept import Kept
from node.keeping.tend import Tended
from node.keeping.tender import LOCKED_SECONDS, Tender, TenderTally
from node.publishing.publish import Options
from protocol.ids import SegmentId
from tests.network.archipelago import User, archipelago
from tests.network.swarm import START, wall_clock
from tests.network.tending import DAY, HALF_A_YEAR, MIB, kept_by, lose

INTERVAL = 900.0


@dataclass
class Account:
    """What the service asks."""

    user: User
    kept: list[Kept] = field(default_factory=list)
    locked: bool = False
    failing: bool = False
    told: list[Tended] = field(default_factory=list)
    tally: TenderTally = field(default_factory=TenderTally)

    async def unlock(self) -> Depositor | None:
        if self.failing:
            raise RefusedError("the account is locked", hint="archipel account unlock")
        return None if self.locked else self.user.depositor

    async def what_is_kept(self) -> Sequence[Kept]:
        if not self.kept:
            raise MachineError("the drive cannot be read")
        return list(self.kept)

    async def remember(self, kept: Kept, tended: Tended) -> None:
        self.told.append(tended)
        self.kept[self.kept.index(kept)] = replace(kept, expiry=tended.expiry, sequence=tended.sequence)


@asynccontextmanager
async def tending(account: Account) -> AsyncIterator[None]:
    tender = Tender(
        account.user.client,
        account.unlock,
        account.what_is_kept,
        account.remember,
        interval=INTERVAL,
        lease_seconds=HALF_A_YEAR,
        tally=account.tally,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tender.run)
        yield
        nursery.cancel_scope.cancel()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "node.keeping.tender"]
    caplog.clear()
    return found


async def test_round_after_round(autojump_clock: MockClock, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        first = (await alice.publish(islands.file("film", MIB), options=Options(lease_seconds=DAY))).link
        second = (await alice.publish(islands.file("song", MIB))).link
        account = Account(alice, [kept_by(alice, first), kept_by(alice, second)])
        names = [kept.deposit[:4].hex() for kept in account.kept]
        async with tending(account):
            await trio.sleep(INTERVAL / 2)
            tally = account.tally
            assert 0 < tally.last_round - START < INTERVAL / 4
            assert 0 < tally.next_round - tally.last_round <= INTERVAL
            expected = TenderTally(rounds=1, tended=2, renewed_segments=2, deposits=2)
            assert tally == replace(expected, last_round=tally.last_round, next_round=tally.next_round)
            *each, last = lines(caplog)
            assert each == [
                f"deposit {names[0]}: 17 of 17 chunks were live; 2 of 2 segments renewed",
                f"deposit {names[1]}: 17 of 17 chunks were live",
            ]
            assert last.startswith("all deposits had their turn in ")
            assert last.endswith(": 2, 0 of them not whole; 0 chunks restored, 2 segments renewed")
            assert account.kept[0].expiry > wall_clock() + HALF_A_YEAR - INTERVAL
            lose(islands, 2)
            await trio.sleep(INTERVAL)
            tally = account.tally
            assert (tally.rounds, tally.restored_chunks, tally.weak) == (2, 0, 0), "they may come back"
            assert any("may still come back" in line for line in lines(caplog))
            await trio.sleep(INTERVAL)
            assert (tally.rounds, tally.renewed_segments, tally.weak, tally.lost_segments) == (3, 2, 0, 0)
            assert tally.restored_chunks > 0
            assert all("restored" in line for line in lines(caplog))
        assert (await alice.check(first)).healthy
        assert (await alice.check(second)).healthy


async def test_locked(autojump_clock: MockClock, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; nobody is asked for anything meanwhile; a minute after it is unlocked, it goes on."""
    caplog.set_level(logging.INFO)
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        account = Account(alice, [kept_by(alice, (await alice.publish(islands.file("film", MIB))).link)], locked=True)
        async with tending(account):
            await trio.sleep(2 * INTERVAL)
            assert lines(caplog) == ["deposits are not tended until their account is unlocked (locked)"]
            account.failing = True
            await trio.sleep(INTERVAL)
            assert lines(caplog) == []
            assert account.tally == TenderTally(locked=1)
            account.locked = account.failing = False
            await trio.sleep(2 * LOCKED_SECONDS)
            assert lines(caplog)[0] == "deposits are tended again"
            assert (account.tally.locked, account.tally.rounds) == (0, 1)
            account.failing = True
            await trio.sleep(INTERVAL)
            assert lines(caplog) == ["deposits are not tended until their account is unlocked (the account is locked)"]


async def test_a_failure_ends_nothing(autojump_clock: MockClock, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        account = Account(alice)
        good = kept_by(alice, (await alice.publish(islands.file("film", MIB))).link)
        gone = replace(good, link=replace(good.link, root=SegmentId(b"g" * 32)), deposit=b"g" * 16)
        async with tending(account):
            await trio.sleep(INTERVAL / 2)
            assert set(lines(caplog)) == {"the deposits to be kept are not known: the drive cannot be read"}
            account.kept = [gone, good]
            caplog.clear()
            await trio.sleep(INTERVAL / 4)
            failed, done, _ = lines(caplog)
            assert failed.startswith("deposit 67676767 cannot be tended: ")
            assert done.endswith("17 of 17 chunks were live")
            tally = account.tally
            assert (tally.rounds, tally.tended, tally.failed, tally.weak, tally.deposits) == (1, 1, 1, 1, 2)
            assert len(account.told) == 1
