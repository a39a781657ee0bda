"""Names whose records end: nothing older comes back, and who publishes again is read (docs/spec/names.md)."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.names import name_id, open_record
from tests.network.archipelago import NETWORK, archipelago, failure
from tests.network.naming import DAY, KEYS, Machine, bendable, in_days, link

MINUTES = 0.02
"""Days: time flies on a mock clock, but not for nothing."""
NAME = name_id(KEYS.identity.key)


async def test_a_shorter_life_does_not_let_an_older_version_come_back(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("owner") as one, islands.user("evil") as other:
        owner, evil = Machine.of(islands, one, "owner"), Machine.of(islands, other, "evil")
        first = await owner.publish(1, days=100)
        old = (await evil.client.dht.get_records(NAME)).newest[0].data
        assert (await owner.publish(2, days=MINUTES)).expiry == first.expiry
        await trio.sleep(2 * MINUTES * DAY)
        found = await evil.client.dht.get_records(NAME)
        assert (await evil.client.dht.put_record(old, ANY_SEQUENCE, found)).count(PutCode.KEPT) == 0
        assert (await evil.resolve()).number == 2


async def test_a_life_that_was_signed_too_long_is_not_taken_over(autojump_clock: MockClock, base: Path) -> None:
    """The owner's clock was a day ahead: nodes took that, and would take no more."""
    async with archipelago(base, 6) as islands:
        async with islands.user("ahead", clock_error=DAY) as user:
            await Machine.of(islands, user, "ahead").publish(1, days=401)
        async with islands.user("owner") as user:
            owner = Machine.of(islands, user, "owner")
            expiry = (await owner.publish(2)).expiry
            assert in_days(399) < expiry <= in_days(400)


async def test_who_publishes_anew_when_a_name_has_ended_is_read(autojump_clock: MockClock, base: Path) -> None:
    """A restored machine knows nothing of what was there; those who do had seen more of it than there is now."""
    async with archipelago(base, 6) as islands, islands.user("owner") as one, islands.user("reader") as other:
        owner, reader = Machine.of(islands, one, "owner"), Machine.of(islands, other, "reader")
        await owner.publish(1, days=MINUTES)
        second = await owner.publish(2, days=MINUTES)
        assert (await reader.resolve()).number == 2
        await trio.sleep(2 * MINUTES * DAY)
        error = await failure(reader.resolve())
        assert "saw version 2" in str(error)
        assert "it has expired" in str(error.hint)
        async with islands.user("restored") as user:
            anew = await Machine.of(islands, user, "restored").publish(9)
        assert (anew.value.number, anew.sequence) == (1, 1) < (2, second.sequence)
        for machine in (reader, owner):
            shown = await machine.resolve()
            assert (shown.link, shown.replaced, shown.forks) == (link(9), False, ())
        third = await owner.publish(3)
        assert (third.value.number, third.value.previous) == (2, anew.value.hash)
        assert (await reader.resolve()).link == link(3)


async def test_what_a_renewal_made_live_longer_binds_for_longer(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 4) as islands, islands.user("owner") as one, islands.user("reader") as other:
        owner, reader = Machine.of(islands, one, "owner"), Machine.of(islands, other, "reader")
        await owner.publish(1, days=MINUTES)
        await owner.renew(50)
        old = stores.all[0].get(NAME, 0)
        await owner.publish(2, days=MINUTES)
        assert (await reader.resolve()).number == 2
        stores.bend(shows=lambda name, truth: old)
        await trio.sleep(2 * MINUTES * DAY)
        assert "older version of this name than this machine has seen" in str(await failure(reader.resolve()))
        stores.bend(shows=lambda name, truth: ())
        error = await failure(reader.resolve())
        assert "cannot be reached" in str(error.hint)
        third = await owner.publish(3, days=MINUTES)
        assert third.value.number == 3
        assert third.expiry > in_days(49), "what it remembers counts as what is there"


async def test_a_longer_record_that_nodes_hold_back_is_outlived_too(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines renewed at once, for different times."""
    stores = bendable(monkeypatch)
    async with archipelago(base, 4) as islands, islands.user("owner") as one, islands.user("other") as two:
        owner, other = Machine.of(islands, one, "owner"), Machine.of(islands, two, "other")
        await owner.publish(1)
        async with trio.open_nursery() as writers:
            writers.start_soon(owner.renew, 50)
            writers.start_soon(other.renew, 60)
        assert (await owner.resolve()).expiry == in_days(60)
        shorter = min(stores.all[0].get(NAME, 0), key=lambda data: open_record(data, NETWORK.id).expiry)
        stores.bend(shows=lambda name, truth: (shorter,))
        assert (await owner.publish(2)).expiry == in_days(60)
