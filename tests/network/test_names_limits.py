"""Names that are used up, refused, or have very many versions (docs/spec/names.md sections 4 to 6)."""

from collections.abc import Awaitable
from pathlib import Path

import pytest
from trio.testing import MockClock

from dht.names import NameRecords
from node.errors import NetworkError, RefusedError
from node.names import reading
from node.names.writing import renew_archived
from protocol.datagrams import ANY_SEQUENCE
from protocol.ids import NameId
from protocol.names import HEAD, MAX_NUMBER, MAX_SEQUENCE, NameValue, archive_salt, name_id
from tests.network.archipelago import NETWORK, archipelago, failure
from tests.network.naming import DAY, KEYS, Machine, in_days, link


async def put(machine: Machine, number: int, sequence: int, salt: bytes) -> None:
    """A record that the owner's key signed."""
    value = NameValue(number=number, kind=1, root=bytes(32), key=bytes(32), time=0, previous=bytes(32))
    data = KEYS.sign(NETWORK.id, value, sequence=sequence, expiry=in_days(9), nonce=bytes(16), salt=salt)
    found = await machine.client.dht.get_records(name_id(KEYS.identity.key, salt))
    await machine.client.dht.put_record(data, ANY_SEQUENCE, found)


@pytest.mark.parametrize(("number", "sequence"), [(7, MAX_SEQUENCE), (MAX_NUMBER, 7)])
async def test_a_name_that_is_used_up_is_told(
    autojump_clock: MockClock, base: Path, number: int, sequence: int
) -> None:
    async with archipelago(base, 4) as islands, islands.user("owner") as user:
        owner = Machine.of(islands, user, "owner")
        await put(owner, number, sequence, HEAD)
        error = await failure(owner.publish(1))
        assert isinstance(error, RefusedError)
        assert "the name is used up" in str(error)
        archived = await owner.client.dht.get_records(name_id(KEYS.identity.key, archive_salt(number)))
        assert archived.newest == (), "nothing was changed"
        if sequence == MAX_SEQUENCE:
            assert isinstance(await failure(owner.renew(60)), RefusedError)
        await put(owner, number, MAX_SEQUENCE, archive_salt(number))
        assert isinstance(await failure(renew_archived(owner.client, KEYS, number, in_days(60))), RefusedError)


@pytest.mark.parametrize(("ahead", "shown"), [(100, "2024-02-22"), (-60, "2023-09-15")])
async def test_who_is_refused_by_all_is_told_what_its_clock_says(
    autojump_clock: MockClock, base: Path, ahead: int, shown: str
) -> None:
    async with archipelago(base, 4) as islands, islands.user("owner", clock_error=ahead * DAY) as user:
        error = await failure(Machine.of(islands, user, "owner").publish(1, days=ahead + 350 if ahead > 0 else -10))
        assert isinstance(error, NetworkError)
        assert "all 4 nodes that answer refuse the record" in str(error)
        assert f"is this machine's clock right? it says {shown}" in str(error.hint)


async def test_a_version_is_asked_for_before_those_after_it(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 4) as islands, islands.user("owner") as user:
        owner = Machine.of(islands, user, "owner")
        await put(owner, 1000, 9, HEAD)
        await put(owner, 700, 1, archive_salt(700))
        asked: list[NameId] = []
        real = owner.client.dht.get_records

        def get_records(name: NameId) -> Awaitable[NameRecords]:
            asked.append(name)
            return real(name)

        monkeypatch.setattr(owner.client.dht, "get_records", get_records)
        for number, looked_up in ((1000, 1), (700, 2), (990, 2)):
            asked.clear()
            if number == 990:
                assert "nobody has version 990" in str(await failure(owner.version(number)))
            else:
                assert (await owner.version(number)).verified == (number == 1000)
            assert len(asked) == looked_up, number


async def test_a_version_is_compared_with_no_more_than_some_hundred(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_WALK", 3)
    async with archipelago(base, 4) as islands, islands.user("owner") as user:
        owner = Machine.of(islands, user, "owner")
        for number in range(1, 7):
            await owner.publish(number)
        assert [(await owner.version(number)).verified for number in range(1, 7)] == [False] * 2 + [True] * 4
        assert (await owner.version(1)).link == link(1)
