"""Names whose records end: nothing older comes back, and who publishes again is read (docs/spec/names.md)."""

from pathlib import Path

import trio
from trio.testing import MockClock

from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.names import name_id
from tests.network.archipelago import archipelago
from tests.network.naming import DAY, KEYS, Machine, in_days

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
